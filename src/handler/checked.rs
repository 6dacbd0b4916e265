//! A tool's handler behind the schema of its results: what comes out is checked, on the worker, as part of the call.
//!
//! Must not know how a schema is checked.

use std::sync::Arc;

use crate::base::log;
use crate::handler::registration::{BoundHandler, Registration, Reply};
use crate::handler::validation::Validator;
use crate::protocol::types::CallToolResult;

/// Puts a tool's handler behind the schema of its results, in debug builds.
///
/// # Errors
///
/// A sentence that names the tool, when the schema does not compile.
pub(crate) fn checked(mut registration: Registration) -> Result<Registration, String> {
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
    let handler = registration.callable.handler;
    registration.callable.handler = BoundHandler::new(move |call, arguments| {
        let reply = handler.call(Arc::clone(&call), arguments)?;
        let Err(problem) = check_reply(&output, &reply) else {
            return Ok(reply);
        };
        let info = call.info();
        log::error!(
            "tool `{}` breaks its own output schema: {problem} request_id={}",
            info.target,
            info.tag
        );
        let problem = format!("The tool's result does not match its output schema: {problem}");
        Ok(Reply::Tool(CallToolResult::error(problem)))
    });
    Ok(registration)
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
