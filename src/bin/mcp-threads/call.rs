//! `call`: the command-line face. A tool runs as a client would see it.

use std::io::{IsTerminal, Write, stderr, stdin, stdout};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use mcp_threads::{ScriptTool, Scripts};
use serde_json::{Map, Value, json};

use crate::client::StdioClient;
use crate::terminal::ProgressLine;
use crate::{ExitResult, enter, file_argument, flag, load_file};

pub(crate) fn command(trust: Arg) -> Command {
    Command::new("call")
        .about("Call a tool")
        .arg(file_argument("The file of scripts").long("file"))
        .arg(trust)
        .arg(flag("json", "Print the whole result as JSON"))
        .arg(flag("yes", "Confirm what the tool asks").short('y'))
        .arg(
            // What stands behind the tool's name is the tool's, whatever it looks like.
            Arg::new("words")
                .value_name("TOOL [ARGUMENTS]")
                .required(true)
                .num_args(1..)
                .trailing_var_arg(true)
                .allow_hyphen_values(false)
                .help("The tool's name and its arguments; `call TOOL --help` lists them"),
        )
}

pub(crate) fn run(matches: &ArgMatches) -> ExitResult {
    let file: &PathBuf = matches.get_one("file").ok_or("no file")?;
    let scripts = load_file(file, matches.get_flag("trust"))?;
    enter(file)?;
    let words = matches.get_many::<String>("words").into_iter().flatten();
    let words: Vec<String> = words.cloned().collect();
    let (name, words) = words.split_first().ok_or("no tool")?;
    let tool = scripts.tools().find(|tool| tool.name() == name);
    let Some(tool) = tool else {
        let names: Vec<_> = scripts.tools().map(|tool| tool.name().to_owned()).collect();
        return Err(format!(
            "there is no tool `{name}`; there are {}",
            names.join(", ")
        ));
    };
    let arguments = arguments(&tool, words)?;
    let result = call(scripts.clone(), name, &arguments, matches.get_flag("yes"))?;
    show(&result, matches.get_flag("json"))
}

/// Reads the words behind the tool's name.
fn arguments(tool: &ScriptTool<'_>, words: &[String]) -> Result<Value, String> {
    let schema = tool.input_schema();
    let properties = schema["properties"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let mut command = Command::new(tool.name().to_owned())
        .no_binary_name(true)
        .bin_name(format!("mcp-threads call {}", tool.name()))
        .disable_version_flag(true);
    if let Some(about) = tool.description().or(tool.title()) {
        command = command.about(about.to_owned());
    }
    if properties.contains_key("help") {
        command = command.disable_help_flag(true);
    }
    for (name, property) in &properties {
        command = command.arg(option(name, property, required.contains(&json!(name))));
    }
    // All at once as JSON, unless the tool has an argument of this name.
    let has_all = !properties.contains_key("args");
    if has_all {
        command = command.arg(
            Arg::new("all as JSON")
                .long("args")
                .value_name("JSON")
                .conflicts_with_all(properties.keys())
                .help("All arguments as one JSON object"),
        );
    }
    let matches = command
        .try_get_matches_from(words)
        .unwrap_or_else(|error| error.exit());
    if has_all && let Some(text) = matches.get_one::<String>("all as JSON") {
        return serde_json::from_str(text).map_err(|error| format!("--args is no JSON: {error}"));
    }
    let given = properties.iter().filter_map(|(name, property)| {
        let words: Vec<&String> = matches.get_many(name)?.collect();
        let value = match property["type"].as_str() {
            Some("array") => words
                .iter()
                .map(|word| value(word, &property["items"]))
                .collect(),
            _ => value(words.last()?, property),
        };
        Some((name.clone(), value))
    });
    Ok(Value::Object(given.collect::<Map<_, _>>()))
}

fn option(name: &str, property: &Value, is_required: bool) -> Arg {
    let kind = match property["type"].as_str() {
        Some("array") => property["items"]["type"].as_str(),
        kind => kind,
    };
    let kind = kind.unwrap_or("string");
    let mut option = Arg::new(name.to_owned())
        .long(name.to_owned())
        .value_name(kind.to_uppercase())
        .action(ArgAction::Append)
        .allow_hyphen_values(true)
        .required(is_required)
        .help(help(property));
    if is_required {
        option = option
            .required_unless_present_any(["all as JSON"])
            .required(false);
    }
    if name.contains('_') {
        option = option.alias(name.replace('_', "-"));
    }
    if kind == "boolean" {
        option = option
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true");
    }
    option
}

/// What an argument is for, and what it may be.
fn help(property: &Value) -> String {
    let mut help: Vec<String> = Vec::new();
    help.extend(property["description"].as_str().map(ToOwned::to_owned));
    let values = property.get("enum").or(property["items"].get("enum"));
    if let Some(values) = values.and_then(Value::as_array) {
        let values: Vec<_> = values.iter().map(plain).collect();
        help.push(format!("[one of: {}]", values.join(", ")));
    }
    if let Some(default) = property.get("default") {
        help.push(format!("[default: {}]", plain(default)));
    }
    if property["type"] == "array" {
        help.push("[may be repeated]".to_owned());
    }
    help.join(" ")
}

/// A word as its type says; one that does not fit is left as it is, and the tool says why it does not.
fn value(word: &str, property: &Value) -> Value {
    let parsed = match property["type"].as_str() {
        Some("integer" | "number" | "boolean" | "object") => serde_json::from_str(word).ok(),
        _ => None,
    };
    parsed.unwrap_or_else(|| word.into())
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// Calls the tool on a server of our own, over a pair of sockets.
fn call(scripts: Scripts, name: &str, arguments: &Value, confirmed: bool) -> Result<Value, String> {
    let plain = |error: std::io::Error| error.to_string();
    let (ours, theirs) = UnixStream::pair().map_err(plain)?;
    let write = theirs.try_clone().map_err(plain)?;
    let running = scripts
        .into_server()
        .serve_pipe(theirs, write)
        .map_err(|error| error.to_string())?;
    let is_watched = stdin().is_terminal() && stderr().is_terminal();
    let ours_to_write = ours.try_clone().map_err(plain)?;
    let mut client = StdioClient::new(ours, ours_to_write, confirmed || is_watched);
    let mut line = ProgressLine::default();
    let result = client.call(
        name,
        arguments,
        |said| line.show(said),
        |question| confirmed || confirm(question),
    );
    drop(line);
    drop(client);
    running.shutdown(Duration::from_secs(5));
    result
}

fn confirm(message: &str) -> bool {
    eprint!("{message} [y/N] ");
    let _unread = stderr().flush();
    let mut line = String::new();
    let read = stdin().read_line(&mut line);
    read.is_ok() && matches!(line.trim(), "y" | "Y" | "yes" | "Yes")
}

/// Prints the result, and ends as the tool did.
fn show(result: &Value, as_json: bool) -> ExitResult {
    let failed = result["isError"] == true;
    if as_json {
        println!("{result:#}");
    } else {
        for block in result["content"].as_array().into_iter().flatten() {
            show_block(block, failed)?;
        }
    }
    if !failed {
        return Ok(ExitCode::SUCCESS);
    }
    // A tool with an `output_schema` says it beside its result, for the result is promised to be something else.
    let codes = [
        &result["structuredContent"]["exit_code"],
        &result["_meta"]["mcp-threads/run"]["exit_code"],
    ];
    let mut codes = codes.into_iter().filter_map(Value::as_u64);
    let code = codes.find_map(|code| u8::try_from(code).ok().filter(|code| *code > 0));
    Ok(ExitCode::from(code.unwrap_or(1)))
}

fn show_block(block: &Value, failed: bool) -> Result<(), String> {
    let text = match block["text"].as_str() {
        Some(text) => text.to_owned(),
        None => {
            let kind = block["mimeType"].as_str().unwrap_or("data");
            let length = block["data"].as_str().map_or(0, str::len) / 4 * 3;
            format!("[{kind}, about {length} bytes; --json prints it]")
        }
    };
    let line_end = match text.is_empty() || text.ends_with('\n') {
        true => "",
        false => "\n",
    };
    let mut to: Box<dyn Write> = match failed {
        true => Box::new(stderr()),
        false => Box::new(stdout()),
    };
    let written = write!(to, "{text}{line_end}").and_then(|()| to.flush());
    written.map_err(|error| format!("the result cannot be written: {error}"))
}
