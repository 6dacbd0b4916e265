//! A tool's handler behind the schema of its results: what comes out is checked, on the worker, as part of the call.
//!
//! Must not know how a schema is checked.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::base::log;
use crate::handler::control::CallControl;
use crate::handler::invoke::Invoke;
use crate::handler::registration::Registration;
use crate::handler::reply::Reply;
use crate::handler::validation::Validator;
use crate::protocol::jsonrpc::ErrorObject;
use crate::protocol::types::CallToolResult;

/// A handler, and the schema that its results are held to.
struct Checked {
    handler: Box<dyn Invoke>,
    output: Validator,
}

/// Puts a tool's handler behind the schema of its results, in debug builds.
///
/// # Errors
///
/// A sentence that names the tool, when the schema does not compile.
pub(crate) fn checked(registration: Registration) -> Result<Registration, String> {
    let shown = &registration.shown;
    let output = shown
        .output_schema
        .as_ref()
        .map(Validator::compile)
        .transpose();
    let output =
        output.map_err(|problem| format!("tool `{}`: its output schema: {problem}", shown.name))?;
    let Some(output) = output.filter(|_| cfg!(debug_assertions)) else {
        return Ok(registration);
    };
    let target = registration
        .target
        .behind(|handler| Box::new(Checked { handler, output }));
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
        let reply = self.handler.invoke(Arc::clone(&call), arguments)?;
        match check_reply(&self.output, &reply) {
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
