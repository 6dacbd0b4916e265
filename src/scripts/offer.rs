//! What a server offers because of a file: its tools, resources and prompts.
//!
//! Must not know which file, or what happens when they are called.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::base::setters::set;
use crate::handler::{Execution, Fork, Prompt, RequestContext, Resource, Tool, ToolError};
use crate::protocol::errors::ErrorObject;
use crate::scripts::argument::check_all;
use crate::scripts::argument::schema::schema;
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
    prompt
        .handler(
            move |cx: &mut RequestContext<S>, given: BTreeMap<String, String>| {
                let mut read = Map::new();
                for (name, text) in given {
                    let argument = arguments.iter().find(|argument| argument.name == name);
                    let value = match argument {
                        Some(argument) => {
                            argument.read_text(cx, text).map_err(ToolError::protocol)?
                        }
                        None => text.into(),
                    };
                    read.insert(name, value);
                }
                let values = check_all(&arguments, Value::Object(read));
                let values = values
                    .map_err(|problem| ToolError::protocol(ErrorObject::invalid_params(problem)))?;
                Ok::<_, ToolError>(text.text(&fillings(&arguments, &values, usize::MAX)))
            },
        )
        .arguments_schema(&schema(&spec.arguments))
}
