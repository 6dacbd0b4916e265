//! `call`: the command-line face. A tool runs as a client would see it.

use std::io::{self, IsTerminal, Read, Write, stderr, stdin, stdout};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, Args, Command};
use mcp_threads::{ScriptTool, Scripts};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use serde_json::{Map, Value, json};

use crate::client::StdioClient;
use crate::terminal::{ProgressLine, is_unread, say};
use crate::{DEFAULT_FILE, ExitResult, Problem, Trust, enter};

/// Under which clap knows the option `--args`, which no argument of a tool is called.
const ALL_AS_JSON: &str = "all as JSON";

#[derive(Args)]
pub(crate) struct CallCommand {
    /// The file of scripts
    #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
    file: PathBuf,
    #[command(flatten)]
    trust: Trust,
    /// Print the whole result as JSON
    #[arg(long)]
    json: bool,
    /// Confirm what the tool asks
    #[arg(long, short)]
    yes: bool,
    /// The tool's name and its arguments; `call TOOL --help` lists them
    // What stands behind the tool's name is the tool's, whatever it looks like.
    #[arg(
        value_name = "TOOL [ARGUMENTS]",
        required = true,
        trailing_var_arg = true
    )]
    words: Vec<String>,
}

impl CallCommand {
    pub(crate) fn run(self) -> ExitResult {
        let scripts = self.trust.load(&self.file)?;
        enter(&self.file)?;
        let (name, words) = self.words.split_first().ok_or("no tool")?;
        let Some(tool) = scripts.tools().find(|tool| tool.name() == name) else {
            let names: Vec<_> = scripts.tools().map(|tool| tool.name().to_owned()).collect();
            let names = names.join(", ");
            return Err(format!("there is no tool `{name}`; there are {names}").into());
        };
        let arguments = arguments(&tool, words)?;
        match call(scripts.clone(), name, &arguments, self.yes) {
            // As a shell says of what SIGPIPE has ended: the tool has not come to its end.
            Err(problem) if is_unread(&problem) => Ok(ExitCode::from(141)),
            result => show(&result?, self.json),
        }
    }
}

/// Reads the words behind the tool's name.
fn arguments(tool: &ScriptTool<'_>, words: &[String]) -> Result<Value, Problem> {
    let schema = tool.input_schema();
    let properties = schema["properties"].as_object();
    let properties = properties.cloned().unwrap_or_default();
    let matches = command_of(tool, &schema, &properties)
        .try_get_matches_from(words)
        .unwrap_or_else(|error| error.exit());
    if let Ok(Some(text)) = matches.try_get_one::<String>(ALL_AS_JSON) {
        let all = serde_json::from_str(text);
        return all.map_err(|error| format!("--args is no JSON: {error}").into());
    }
    let given = properties.iter().filter_map(|(name, property)| {
        let mut words = matches.get_many::<String>(name)?;
        let value = match property["type"].as_str() {
            Some("array") => words.map(|word| value(word, &property["items"])).collect(),
            _ => value(words.next_back()?, property),
        };
        Some((name.clone(), value))
    });
    Ok(Value::Object(given.collect::<Map<_, _>>()))
}

/// The tool as a command of its own.
fn command_of(tool: &ScriptTool<'_>, schema: &Value, properties: &Map<String, Value>) -> Command {
    let about = tool.description().or(tool.title()).map(ToOwned::to_owned);
    let mut command = Command::new(tool.name().to_owned())
        .no_binary_name(true)
        .bin_name(format!("mcp-threads call {}", tool.name()))
        .disable_version_flag(true)
        .disable_help_flag(properties.contains_key("help"))
        .about(about.unwrap_or_default());
    // All at once as JSON, unless the tool has an argument of this name.
    let has_all = !properties.contains_key("args");
    let required = schema["required"].as_array();
    let options = properties.iter().map(|(name, property)| {
        let option = option(name, property);
        match required.is_some_and(|required| required.contains(&json!(name))) {
            true if has_all => option.required_unless_present(ALL_AS_JSON),
            is_required => option.required(is_required),
        }
    });
    command = command.args(options);
    if has_all {
        command = command.arg(
            Arg::new(ALL_AS_JSON)
                .long("args")
                .value_name("JSON")
                .conflicts_with_all(properties.keys())
                .help("All arguments as one JSON object"),
        );
    }
    command
}

fn option(name: &str, property: &Value) -> Arg {
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
        .help(help(property));
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
pub(crate) fn help(property: &Value) -> String {
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
fn call(
    scripts: Scripts,
    name: &str,
    arguments: &Value,
    confirmed: bool,
) -> Result<Value, Problem> {
    let (ours, theirs) = UnixStream::pair()?;
    let running = scripts
        .into_server()
        .serve_pipe(theirs.try_clone()?, theirs)?;
    let is_watched = stdin().is_terminal() && stderr().is_terminal();
    let heard = WhileRead(ours.try_clone()?);
    let mut client = StdioClient::new(heard, ours, confirmed || is_watched);
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

/// What the server says, as long as somebody may read the result.
struct WhileRead(UnixStream);

impl Read for WhileRead {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let stdout = stdout();
        let watched = [
            (&stdout as &dyn AsFd, PollFlags::HUP), // macOS does not tell of it unasked
            (&self.0, PollFlags::IN),
        ];
        let mut watched = watched.map(|(fd, events)| PollFd::from_borrowed_fd(fd.as_fd(), events));
        retry_on_intr(|| poll(&mut watched, None))?;
        match watched[0].revents().is_empty() {
            true => self.0.read(into),
            false => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

fn confirm(message: &str) -> bool {
    let mut stderr = stderr();
    let _unread = write!(stderr, "{message} [y/N] ").and_then(|()| stderr.flush());
    let mut line = String::new();
    let read = stdin().read_line(&mut line);
    read.is_ok() && matches!(line.trim(), "y" | "Y" | "yes" | "Yes")
}

/// Prints the result, and ends as the tool did, if it failed whether or not somebody has read that.
fn show(result: &Value, as_json: bool) -> ExitResult {
    let failed = result["isError"] == true;
    let printed = if as_json {
        say(format!("{result:#}"))
    } else {
        let mut to: Box<dyn Write> = match failed {
            true => Box::new(stderr()),
            false => Box::new(stdout()),
        };
        let mut blocks = result["content"].as_array().into_iter().flatten();
        blocks.try_for_each(|block| show_block(block, &mut *to))
    };
    if !failed {
        printed?;
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

fn show_block(block: &Value, to: &mut dyn Write) -> io::Result<()> {
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
    write!(to, "{text}{line_end}")?;
    to.flush()
}
