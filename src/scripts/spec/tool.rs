//! Reads a `[[tool]]`: what clients see of it and how it behaves.
//!
//! Must not know what its program is.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::handler::Execution;
use crate::scripts::argument::Argument;
use crate::scripts::mistake::nearest;
use crate::scripts::spec::command::{Settings, arguments, template};
use crate::scripts::spec::{Output, PLACES_MAX, Requirement, ToolSpec};
use crate::scripts::table::{At, Table, is_name};

pub(super) fn read(
    table: &Table<'_>,
    name: Option<&str>,
    settings: &Settings<'_>,
    pools: &BTreeMap<String, usize>,
) -> Option<ToolSpec> {
    if let Some(name) = name {
        check_name(table, name);
        if !table.has("description") {
            let problem = format!(
                "the tool `{name}` has no description; a model cannot know when to call it"
            );
            table.notes.warning(table.at, problem);
        }
    }
    let arguments = arguments("tool", table, settings.base);
    let command = settings.command(table, &arguments);
    let output = output(table);
    let requires = table.strings("requires").unwrap_or_default().into_iter();
    let requires = requires.map(|word| requirement(&word.value, settings));
    let wanted = "`confirm_else`, for clients that cannot ask, is \"refuse\" or \"run\"";
    let ways = [("refuse", false), ("run", true)];
    let runs_unasked = table.word("confirm_else", wanted, ways).unwrap_or(false);
    Some(ToolSpec {
        title: table.text("title"),
        description: table.text("description"),
        concurrency: table.count("concurrency", 1..=PLACES_MAX),
        claims: claims(table, pools),
        execution: execution(table, &arguments),
        read_only: table.boolean("read_only"),
        destructive: table.boolean("destructive"),
        idempotent: table.boolean("idempotent"),
        open_world: table.boolean("open_world"),
        confirm: template(table, "confirm", &arguments),
        runs_unasked,
        requires: requires.collect(),
        output_schema: output_schema(table, &output),
        output,
        name: name.unwrap_or_default().to_owned(),
        command: command?,
        arguments,
    })
}

fn requirement(word: &str, settings: &Settings<'_>) -> Requirement {
    match word.strip_prefix('$') {
        Some(name) => Requirement::Variable(name.to_owned()),
        None => Requirement::Program(settings.program(word)),
    }
}

fn check_name(table: &Table<'_>, name: &str) {
    if name.len() > 128 || !is_name(name, "_-.") {
        let problem =
            format!("`{name}` is no name; it has 1 to 128 of the characters A-Z a-z 0-9 _ - .");
        table.wrong("name", problem);
    } else if name.len() > 64 || name.contains('.') {
        let problem = format!(
            "some clients refuse the name `{name}`; they take at most 64 of A-Z a-z 0-9 _ -"
        );
        table.doubtful("name", problem);
    }
}

/// The pools that it has to have a place in, with their sizes.
fn claims(table: &Table<'_>, pools: &BTreeMap<String, usize>) -> BTreeMap<String, usize> {
    let known = || pools.keys().map(String::as_str);
    let claims = table.strings("claims").unwrap_or_default().into_iter();
    let claims = claims.filter_map(|At { value: name, at }| {
        if let Some(size) = pools.get(&name) {
            return Some((name, *size));
        }
        let hint = match nearest(&name, known()) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => format!("write [pools.{name}] with its size"),
        };
        let problem = format!("there is no pool `{name}`; {hint}");
        table.notes.error(at, problem);
        None
    });
    claims.collect()
}

fn output(table: &Table<'_>) -> Output {
    let Some(output) = table.text("output") else {
        return Output::Text;
    };
    match output.as_str() {
        "text" => Output::Text,
        "json" => Output::Json,
        "lines" => Output::Lines,
        image if image.starts_with("image/") => Output::Image(output),
        _ => {
            let problem = "`output` is \"text\", \"json\", \"lines\", or the media type of an image, such as \"image/png\"";
            table.wrong("output", problem);
            Output::Text
        }
    }
}

fn output_schema(table: &Table<'_>, output: &Output) -> Option<Value> {
    let schema = table.any("output_schema")?;
    if *output != Output::Json {
        let problem = "`output_schema` is for output = \"json\"";
        table.wrong("output_schema", problem);
    }
    if schema["type"] != "object" {
        let problem = "`output_schema` describes an object: begin with type = \"object\"";
        table.wrong("output_schema", problem);
    }
    Some(schema)
}

fn execution(table: &Table<'_>, arguments: &[Argument]) -> Execution {
    match table.any("job") {
        None | Some(Value::Bool(false)) => return Execution::Inline,
        Some(Value::Bool(true)) => return Execution::Background,
        Some(job) if job == "either" => {}
        Some(_) => table.wrong("job", "`job` is true, false or \"either\""),
    }
    if arguments
        .iter()
        .any(|argument| argument.name == "background")
    {
        let problem = "a tool with job = \"either\" has an argument `background` already; name yours otherwise";
        table.wrong("job", problem);
    }
    Execution::EitherWay
}
