//! The job that runs one tool call on a worker: fork, call, catch, encode, answer.
//!
//! Everything here happens on the worker's thread. Must not know which lane it is on, or how the answer travels.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::access::Outcome;
use crate::engine::catalogue::RegisteredTool;
use crate::engine::identity::Identity;
use crate::engine::in_flight::{Call, Responder, internal_error};
use crate::engine::lane::{Ended, Job};
use crate::engine::shutting_down;
use crate::handler::context::CallControl;
use crate::protocol::jsonrpc::{self, ErrorObject};
use crate::protocol::types::{CallToolResult, ContentBlock};
use crate::protocol::version::Era;

/// A call on its way to a worker.
pub(crate) struct CallJob {
    pub(crate) responder: Responder,
    pub(crate) tool: Arc<RegisteredTool>,
    /// `None` stands for `{}`.
    pub(crate) arguments: Option<Box<RawValue>>,
    pub(crate) identity: Arc<Identity>,
}

impl Job for CallJob {
    type Running = Arc<Call>;

    fn is_stale(&self) -> bool {
        self.responder.0.has_ended()
    }

    fn running(&self) -> Arc<Call> {
        Arc::clone(&self.responder.0)
    }

    fn run(self) -> Ended {
        let call = &self.responder.0;
        call.start();
        // Whoever cancels everything may have looked for this call after it left the queue and before it was seen running.
        if call.engine_is_hurried() {
            call.abort(&shutting_down());
        }
        // Whatever the handler leaves half done when it panics is its own fork of the state, dropped with it, or shared by its author's choice.
        let result = catch_unwind(AssertUnwindSafe(|| self.invoke()));
        match result {
            Err(panic) => {
                let text = panic_text(&*panic);
                log::error!(
                    "tool `{}` panicked: {text} request_id={}",
                    self.tool.name,
                    call.info.tag
                );
                call.fail(&internal_error(call), Outcome::Panicked);
                Ended::Panicked
            }
            _ if call.has_ended() => Ended::Cancelled,
            Ok(Ok(result)) => {
                let outcome = if result.is_error {
                    Outcome::ToolError
                } else {
                    Outcome::Ok
                };
                call.answer(self.encode(&result), None, outcome);
                Ended::Done
            }
            Ok(Err(error)) => {
                call.fail(&error, Outcome::Error);
                Ended::Done
            }
        }
    }
}

impl CallJob {
    fn invoke(&self) -> Result<CallToolResult, ErrorObject> {
        let call: Arc<dyn CallControl> = Arc::<Call>::clone(&self.responder.0);
        match &self.arguments {
            Some(arguments) => self.tool.handler.invoke(call, arguments),
            None => {
                let empty = RawValue::from_string("{}".into()).expect("an empty object is JSON");
                self.tool.handler.invoke(call, &empty)
            }
        }
    }

    /// The whole response, written into one buffer.
    fn encode(&self, result: &CallToolResult) -> Vec<u8> {
        let call = &self.responder.0;
        let mut out = Vec::with_capacity(256);
        jsonrpc::open_result(&mut out, &call.id);
        jsonrpc::write_json(
            &mut out,
            &wire_result(result, call.era, &self.identity.server_info),
        );
        jsonrpc::close_response(&mut out);
        out
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("(not a text)")
}

/// A result as its era wants it on the wire.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireResult<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    result_type: Option<&'a str>,
    content: &'a [ContentBlock],
    #[serde(skip_serializing_if = "Option::is_none")]
    structured_content: Option<&'a Value>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_error: bool,
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    meta: Option<WireMeta<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WireMeta<'a> {
    ServerInfo(&'a RawValue),
    Own(&'a Map<String, Value>),
    Both(Map<String, Value>),
}

fn wire_result<'a>(
    result: &'a CallToolResult,
    era: Era,
    server_info: &'a RawValue,
) -> WireResult<'a> {
    let modern = era == Era::Modern;
    let structured = result.structured_content.as_ref();
    WireResult {
        result_type: modern.then_some("complete"),
        content: &result.content,
        structured_content: structured.filter(|value| modern || value.is_object()),
        is_error: result.is_error,
        meta: match (&result.meta, modern) {
            (None, true) => Some(WireMeta::ServerInfo(server_info)),
            (None, false) => None,
            (Some(own), false) => Some(WireMeta::Own(own)),
            (Some(own), true) => {
                let mut both: Map<String, Value> =
                    serde_json::from_str(server_info.get()).unwrap_or_default();
                both.extend(own.clone());
                Some(WireMeta::Both(both))
            }
        },
    }
}
