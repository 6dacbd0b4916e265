//! What a server offers because of a file: its tools, resources and prompts.
//!
//! Must not know which file, or what happens when they are called.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::base::setters::set;
use crate::handler::{Execution, Fork, Prompt, RequestContext, Resource, Tool, ToolError};
use crate::protocol::errors::ErrorObject;
use crate::scripts::argument::schema::schema;
use crate::scripts::argument::{Argument, check_all};
use crate::scripts::call::{Pools, call, read, ready};
use crate::scripts::command::fillings;
use crate::scripts::spec::{PromptSpec, ResourceSpec, ToolSpec};

/// A tool, on a server that has these lanes from its start, with so many workers.
pub(super) fn tool<S: Fork + Send + Sync + 'static>(
    spec: &ToolSpec,
    pools: &Pools,
    lanes: &BTreeMap<String, usize>,
) -> Tool<S> {
    let mut tool = Tool::new(&*spec.name)
        .input_schema(schema(&spec.arguments))
        .execution(spec.execution);
    set!(tool, spec, title, description, output_schema);
    set!(tool, spec, read_only, destructive, idempotent, open_world);
    if let Some((turns, size)) = spec.turns()
        && lanes.get(&turns).is_some_and(|workers| *workers >= size)
    {
        tool = tool.lane(&turns);
    }
    let (spec, pools) = (Arc::new(spec.clone()), Arc::clone(pools));
    // A job asks before it is one: who calls still listens then.
    if spec.execution != Execution::Inline && spec.confirm.is_some() {
        let spec = Arc::clone(&spec);
        tool = tool.before_job(move |cx: &mut RequestContext<S>, given: Value| {
            ready(&spec, cx, &given).map(drop)
        });
    }
    tool.handler(move |cx: &mut RequestContext<S>, given: Value| call(&spec, &pools, cx, given))
}

pub(super) fn resource<S: Fork + Send + Sync + 'static>(spec: &ResourceSpec) -> Resource<S> {
    let mut resource = Resource::new(&*spec.uri, &*spec.name);
    set!(resource, spec, title, description, mime_type);
    let spec = spec.clone();
    resource.handler(move |cx: &mut RequestContext<S>| read(&spec, cx))
}

pub(super) fn prompt<S: Fork + Send + Sync + 'static>(spec: &PromptSpec) -> Prompt<S> {
    let mut prompt = Prompt::new(&*spec.name);
    set!(prompt, spec, title, description);
    let (text, arguments) = (spec.text.clone(), spec.arguments.clone());
    let filled = move |cx: &mut RequestContext<S>, given: BTreeMap<String, String>| {
        let values = values(cx, &arguments, given).map_err(ToolError::protocol)?;
        Ok::<_, ToolError>(text.text(&fillings(&arguments, &values, usize::MAX)))
    };
    prompt
        .handler(filled)
        .arguments_schema(&schema(&spec.arguments))
}

/// What the texts stand for that a prompt is given, checked.
fn values<S>(
    cx: &mut RequestContext<S>,
    arguments: &[Argument],
    given: BTreeMap<String, String>,
) -> Result<Map<String, Value>, ErrorObject> {
    let mut read = Map::new();
    for (name, text) in given {
        let value = match arguments.iter().find(|argument| argument.name == name) {
            Some(argument) => argument.read_text(cx, text)?,
            None => text.into(),
        };
        read.insert(name, value);
    }
    check_all(arguments, Value::Object(read)).map_err(ErrorObject::invalid_params)
}
