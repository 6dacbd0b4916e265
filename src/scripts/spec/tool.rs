//! Reads a `[[tool]]`: what clients see of it and how it behaves.
//!
//! Must not know what its program is.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::handler::Execution;
use crate::scripts::argument::Argument;
use crate::scripts::mistake::nearest;
use crate::scripts::spec::command::{Defaults, arguments, template};
use crate::scripts::spec::{Output, PLACES_MAX, ToolSpec};
use crate::scripts::table::{At, Table};

/// What a tool without a name is called until that is mended.
const UNNAMED: &str = "?";

pub(super) fn read(
    mut table: Table<'_>,
    defaults: &Defaults<'_>,
    pools: &BTreeMap<String, usize>,
) -> Option<ToolSpec> {
    let name = name(&mut table);
    let description = table.said("description");
    if name != UNNAMED && table.place("description").is_none() {
        let problem =
            format!("the tool `{name}` has no description; a model cannot know when to call it");
        table.notes.warning(table.at, problem);
    }
    let arguments = arguments("tool", &table, defaults.base);
    let output = output(&table);
    let requires = table.strings("requires").unwrap_or_default();
    let spec = ToolSpec {
        title: table.said("title"),
        description,
        command: defaults.command(&table, &arguments)?,
        concurrency: table.count("concurrency", 1..=PLACES_MAX),
        claims: claims(&table, pools),
        execution: execution(&table, &arguments),
        read_only: table.boolean("read_only"),
        destructive: table.boolean("destructive"),
        idempotent: table.boolean("idempotent"),
        open_world: table.boolean("open_world"),
        confirm: template(&table, "confirm", &arguments),
        runs_unasked: runs_unasked(&table),
        requires: requires.into_iter().map(|word| word.value).collect(),
        output_schema: output_schema(&table, &output),
        output,
        arguments,
        name,
    };
    table.finish();
    Some(spec)
}

/// The name, which the table bears in what is said of it from now on.
fn name(table: &mut Table<'_>) -> String {
    let Some(At { value: name, at }) = table.text("name") else {
        table.require("tool", "name");
        return UNNAMED.to_owned();
    };
    table.rename(format!("the tool `{name}`"));
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if name.len() > 128 || !name.bytes().all(allowed) {
        let problem =
            format!("`{name}` is no name; it has 1 to 128 of the characters A-Z a-z 0-9 _ - .");
        table.notes.error(at, problem);
    } else if name.len() > 64 || name.contains('.') {
        let problem = format!(
            "some clients refuse the name `{name}`; they take at most 64 of A-Z a-z 0-9 _ -"
        );
        table.notes.warning(at, problem);
    }
    name
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
    match output.value.as_str() {
        "text" => Output::Text,
        "json" => Output::Json,
        "lines" => Output::Lines,
        image if image.starts_with("image/") => Output::Image(image.to_owned()),
        _ => {
            let problem = "`output` is \"text\", \"json\", \"lines\", or the media type of an image, such as \"image/png\"";
            table.notes.error(output.at, problem);
            Output::Text
        }
    }
}

fn output_schema(table: &Table<'_>, output: &Output) -> Option<Value> {
    let schema = table.any("output_schema")?;
    if *output != Output::Json {
        let problem = "`output_schema` is for output = \"json\"";
        table.notes.error(schema.at, problem);
    }
    if schema.value.get("type") != Some(&Value::from("object")) {
        let problem = "`output_schema` describes an object: begin with type = \"object\"";
        table.notes.error(schema.at, problem);
    }
    Some(schema.value)
}

/// Whether a tool with a `confirm` runs when the client cannot ask.
fn runs_unasked(table: &Table<'_>) -> bool {
    let Some(word) = table.text("confirm_else") else {
        return false;
    };
    if !matches!(word.value.as_str(), "refuse" | "run") {
        let problem = "`confirm_else`, for clients that cannot ask, is \"refuse\" or \"run\"";
        table.notes.error(word.at, problem);
    }
    word.value == "run"
}

fn execution(table: &Table<'_>, arguments: &[Argument]) -> Execution {
    let Some(job) = table.any("job") else {
        return Execution::Inline;
    };
    if job.value == false {
        return Execution::Inline;
    }
    if job.value == true {
        return Execution::Background;
    }
    if job.value != "either" {
        let problem = "`job` is true, false or \"either\"";
        table.notes.error(job.at, problem);
    }
    if arguments
        .iter()
        .any(|argument| argument.name == "background")
    {
        let problem = "a tool with job = \"either\" has an argument `background` already; name yours otherwise";
        table.notes.error(job.at, problem);
    }
    Execution::EitherWay
}
