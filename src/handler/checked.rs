//! A tool's handler behind its schemas: what goes in is checked before it runs, what comes out after.
//!
//! Both happen on the worker, as part of the call. Must not know how a schema is checked.

use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::base::log;
use crate::handler::context::CallControl;
use crate::handler::invoke::{Invoke, NotCalled};
use crate::handler::registration::Registration;
use crate::handler::reply::Reply;
use crate::handler::validation::Validator;
use crate::protocol::jsonrpc::ErrorObject;
use crate::protocol::tree::{TreeRoom, Unread};
use crate::protocol::types::CallToolResult;

/// A handler, and the schemas it is held to.
struct Checked {
    handler: Box<dyn Invoke>,
    input: Option<Validator>,
    output: Option<Validator>,
}

/// Puts a tool's handler behind its schemas: the one its author wrote for the arguments and, in debug builds, the one of its results.
///
/// # Errors
///
/// A sentence that names the tool, when one of its schemas does not compile. The one made from the handler's type is not compiled: reading
/// the arguments into the type is the check.
pub(crate) fn checked(
    registration: Registration,
    written: Option<Value>,
) -> Result<Registration, String> {
    let shown = &registration.shown;
    let compile = |what: &str, schema: Option<&Value>| {
        let compiled = schema.map(Validator::compile).transpose();
        compiled.map_err(|problem| format!("tool `{}`: its {what} schema: {problem}", shown.name))
    };
    let input = compile("input", written.as_ref())?;
    let output = compile("output", shown.output_schema.as_ref())?;
    let output = output.filter(|_| cfg!(debug_assertions));
    if input.is_none() && output.is_none() {
        return Ok(registration);
    }
    let target = registration.target.behind(|handler| {
        Box::new(Checked {
            handler,
            input,
            output,
        })
    });
    Ok(Registration {
        target,
        ..registration
    })
}

impl Invoke for Checked {
    fn invoke(
        &self,
        call: Arc<dyn CallControl>,
        arguments: &RawValue,
    ) -> Result<Reply, ErrorObject> {
        if let Some(input) = &self.input
            && let Err(not_called) = check_arguments(input, arguments, &call.tree_room())
        {
            let told = not_called.problem().map(CallToolResult::error);
            return told.map(Reply::Tool);
        }
        let Some(output) = &self.output else {
            return self.handler.invoke(call, arguments);
        };
        let reply = self.handler.invoke(Arc::clone(&call), arguments)?;
        match check_reply(output, &reply) {
            Ok(()) => Ok(reply),
            Err(problem) => {
                let info = call.info();
                log::error!(
                    "tool `{}` breaks its own output schema: {problem} request_id={}",
                    info.target,
                    info.tag
                );
                let problem =
                    format!("The tool's result does not match its output schema: {problem}");
                Ok(Reply::Tool(CallToolResult::error(problem)))
            }
        }
    }
}

fn check_arguments(
    input: &Validator,
    arguments: &RawValue,
    room: &TreeRoom,
) -> Result<(), NotCalled> {
    let (arguments, _charged) = room.read::<Value>(arguments.get())?;
    let checked = input.check(&arguments);
    checked.map_err(|problem| Unread::Unfit(problem).into())
}

/// A failure needs no structured content; any other result of a tool that promises some does.
fn check_reply(output: &Validator, reply: &Reply) -> Result<(), String> {
    match reply {
        Reply::Tool(result) if !result.is_error => match &result.structured_content {
            Some(content) => output.check(content),
            None => Err("there is no structured content".into()),
        },
        _ => Ok(()),
    }
}
