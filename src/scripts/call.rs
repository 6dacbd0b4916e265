//! What happens when a tool of a file is called, or a resource of it is read.
//!
//! Everything that can be refused without waiting is refused before the person is asked, so that nobody confirms what cannot be done. Must not know the file's syntax.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::base::log;
use crate::handler::{AskError, Elicited, RequestContext, ToolError};
use crate::pool::{ClaimError, ResourcePool};
use crate::protocol::errors::ErrorObject;
use crate::protocol::results::ReadResourceResult;
use crate::protocol::tree::Unread;
use crate::protocol::types::{CallToolResult, ResourceContents};
use crate::scripts::argument::check_all;
use crate::scripts::command::{ITEMS_MAX, Prepared, fillings, json};
use crate::scripts::environment::open;
use crate::scripts::spec::{Output, Requirement, ResourceSpec, Source, ToolSpec};
use crate::scripts::template::Filling;

/// The pools of a file, by name. Their places stand for things that only the file's author knows. Each has as many as any file may give it, so that a
/// newer file can give it another size; a call that claims looks no further than the size that it knows.
pub(super) type Pools = Arc<BTreeMap<String, ResourcePool<(), usize>>>;

/// The longest question, in characters: a person reads all of it.
const QUESTION_CHARS_MAX: usize = 2000;

/// Under which a call keeps, for the job that it becomes, that it runs without having asked.
const UNASKED: &str = "unasked";

/// The longest file that is read as a resource.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Runs a tool's program.
pub(super) fn call<S>(
    spec: &ToolSpec,
    pools: &Pools,
    cx: &mut RequestContext<S>,
    given: Value,
) -> Result<CallToolResult, ToolError> {
    // Its own turn first, so that it holds nothing of others while it waits for that.
    let turns = spec.turns();
    let waits = spec.confirm.is_some() || turns.is_some() || !spec.claims.is_empty();
    let confirmed = waits.then(|| ready(spec, cx, &given)).transpose()?;
    let claimed = turns.iter().map(|(name, size)| (name, size));
    // One for all of them: two that give it to each other in between could go on for ever.
    let mut permit = cx.control().handed_permit();
    let mut claims = Vec::new();
    for (name, size) in claimed.chain(&spec.claims) {
        let claim = pools[name].claim_with(cx, &mut permit, Duration::MAX, |place| place <= size);
        let mut claim = claim.map_err(|error| {
            if matches!(error, ClaimError::TooMany { .. }) {
                // Nothing has been run.
                cx.control().postpone();
            }
            ToolError::new(error.to_string())
        })?;
        claim.label(&spec.name);
        claims.push(claim);
    }
    drop(permit);
    // A person and a pool take their time, and a link may point elsewhere by now.
    let (values, prepared) = prepare(spec, given)?;
    if confirmed.is_some_and(|confirmed| confirmed != digest(&values)) {
        return Err(ToolError::new(
            "What the arguments name has changed meanwhile. Nothing was run.",
        ));
    }
    drop(values);
    let ended = prepared.run(cx, &spec.output)?;
    ended.answer(spec, cx)
}

/// Of the arguments that a program gets.
fn digest(values: &Map<String, Value>) -> [u8; 32] {
    hmac_sha256::Hash::hash(json(values).as_bytes())
}

/// What a copy of a tree takes, or a little more.
fn tree_bytes(value: &Value) -> usize {
    let below: usize = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(tree_bytes).sum(),
        Value::Object(members) => {
            let member = |(name, value): (&String, _)| 64 + name.len() + tree_bytes(value);
            members.iter().map(member).sum()
        }
        _ => 0,
    };
    size_of::<Value>() + below
}

/// Checks and asks; a digest of the arguments that the program is to get.
pub(super) fn ready<S>(
    spec: &ToolSpec,
    cx: &mut RequestContext<S>,
    given: &Value,
) -> Result<[u8; 32], ToolError> {
    let charged = cx.control().tree_room().hold(tree_bytes(given));
    let charged = charged.map_err(|unread| match unread {
        Unread::NoMemory => ToolError::protocol(ErrorObject::no_memory()),
        never => ToolError::new(format!("Invalid arguments: {}", never.into_sentence())),
    })?;
    let (values, _) = prepare(spec, given.clone())?;
    let seen = digest(&values);
    let question = question(spec, &values);
    drop((values, charged));
    question.map_or(Ok(()), |question| confirm(spec, cx, &question))?;
    Ok(seen)
}

/// Everything that nobody has to be asked for.
fn prepare(spec: &ToolSpec, given: Value) -> Result<(Map<String, Value>, Prepared), ToolError> {
    let values = check_all(&spec.arguments, given).map_err(ToolError::new)?;
    let missing = requirements(spec);
    if !missing.is_empty() {
        let (name, missing) = (&spec.name, missing.join("; "));
        return Err(ToolError::new(format!("`{name}` cannot run: {missing}")));
    }
    let prepared = Prepared::new(&spec.command, &spec.arguments, &values);
    Ok((values, prepared.map_err(ToolError::new)?))
}

/// What `requires` names and is not there.
pub(super) fn requirements(spec: &ToolSpec) -> Vec<String> {
    let missing = spec.requires.iter().filter_map(|needed| match needed {
        Requirement::Program(program) => spec.command.missing_program(program),
        Requirement::Variable(name) => {
            let problem = || format!("the environment variable `{name}` is not set");
            std::env::var_os(name).is_none().then(problem)
        }
    });
    missing.collect()
}

/// What a person is asked, if the file says so.
fn question(spec: &ToolSpec, values: &Map<String, Value>) -> Option<String> {
    let question = spec.confirm.as_ref()?;
    let shown = fillings(&spec.arguments, values, ITEMS_MAX).into_iter();
    Some(question.text(&shown.map(|(name, given)| (name, given.shown())).collect()))
}

/// Asks the person.
fn confirm<S>(
    spec: &ToolSpec,
    cx: &mut RequestContext<S>,
    question: &str,
) -> Result<(), ToolError> {
    #[derive(Deserialize)]
    struct Confirmed {
        confirm: bool,
    }
    if question.chars().count() > QUESTION_CHARS_MAX {
        return Err(ToolError::new(format!(
            "A person has to confirm this, and the question is longer than {QUESTION_CHARS_MAX} characters. Nothing was run."
        )));
    }
    let schema = serde_json::json!({
        "type": "object",
        "properties": { "confirm": { "type": "boolean", "title": "Yes, do it" } },
        "required": ["confirm"],
    });
    // By what was asked: an answer to another question, from before a link or the file changed, is none to this one.
    let [a, b, c, d, ..] = hmac_sha256::Hash::hash(question.as_bytes());
    let key = format!("confirm-{:08x}", u32::from_be_bytes([a, b, c, d]));
    // Asked before it is known who can be: a job has the answer that its call was given, and may have no client any more.
    let is_unheard = match cx.elicit_with::<Confirmed>(&key, question, schema) {
        Ok(Elicited::Accepted(Confirmed { confirm: true })) => return Ok(()),
        Ok(_) => {
            return Err(ToolError::new(format!(
                "The person did not confirm \"{question}\". Nothing was run."
            )));
        }
        Err(AskError::Unsupported { .. }) => false,
        Err(AskError::NotHere) => true,
        Err(error) => return Err(error.into()),
    };
    // Who was asked something else has not let this run, so a job runs unasked only if its call would have.
    if spec.runs_unasked && cx.keep(UNASKED, || !is_unheard) {
        return Ok(());
    }
    let why = match is_unheard {
        true => "nobody can be asked any more",
        false => "this client cannot ask one: it does not support elicitation",
    };
    Err(ToolError::new(format!(
        "A person has to confirm this (\"{question}\"), and {why}. Nothing was run."
    )))
}

impl Filling {
    /// As a person is shown it, who must not be shown something else than what will be run: one item is told from two.
    fn shown(self) -> Filling {
        match self {
            Filling::One(text) => Filling::One(plainly(&text)),
            Filling::Many(items) => {
                let is_odd = |char: char| char.is_whitespace() || matches!(char, ',' | '"' | '\'');
                let items =
                    items
                        .iter()
                        .map(|item| match item.is_empty() || item.contains(is_odd) {
                            true => plainly(&Value::from(item.as_str()).to_string()),
                            false => plainly(item),
                        });
                Filling::Many(items.collect())
            }
        }
    }
}

/// Characters that cannot be seen, or that turn what is around them, are written out.
fn plainly(text: &str) -> String {
    let shown = text.chars().map(|char| match log::is_unseen(char) {
        true => char.escape_default().to_string(),
        false => char.to_string(),
    });
    shown.collect()
}

/// Reads a resource: a file, or what a command says.
pub(super) fn read<S>(
    spec: &ResourceSpec,
    cx: &mut RequestContext<S>,
) -> Result<ReadResourceResult, ToolError> {
    let bytes = match &spec.source {
        Source::File(path) => read_file(path),
        Source::Command(command) => {
            let prepared = Prepared::new(command, &[], &Map::new()).map_err(ToolError::new)?;
            prepared.run(cx, &Output::Text)?.bytes(&command.ok_codes)
        }
    };
    let contents = match String::from_utf8(bytes.map_err(ToolError::new)?) {
        Ok(text) => ResourceContents::text(&*spec.uri, text),
        Err(error) => ResourceContents::blob(&*spec.uri, error.into_bytes()),
    };
    Ok(vec![contents].into())
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    let shown = path.display();
    match read {
        Err(error) => Err(format!("`{shown}` cannot be read: {error}")),
        Ok(_) if bytes.len() as u64 > FILE_BYTES_MAX => {
            Err(format!("`{shown}` has more than {FILE_BYTES_MAX} bytes"))
        }
        Ok(_) => Ok(bytes),
    }
}
