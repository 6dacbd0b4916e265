//! Messages as clients of both eras send them, and what one looks for in an answer.

use serde_json::{Value, json};

/// A request of the revision 2026-07-28, with the metadata it must carry.
pub(crate) fn modern(id: impl Into<Value>, method: &str, params: Value) -> Value {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "it", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    with_meta(legacy(id, method, params), meta)
}

/// A modern `tools/call`.
pub(crate) fn call(id: impl Into<Value>, tool: &str, arguments: Value) -> Value {
    modern(
        id,
        "tools/call",
        json!({ "name": tool, "arguments": arguments }),
    )
}

/// A request of the handshake era.
pub(crate) fn legacy(id: impl Into<Value>, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id.into(), "method": method, "params": params })
}

/// A handshake-era `tools/call`.
pub(crate) fn legacy_call(id: impl Into<Value>, tool: &str, arguments: Value) -> Value {
    legacy(
        id,
        "tools/call",
        json!({ "name": tool, "arguments": arguments }),
    )
}

/// `initialize` for this version.
pub(crate) fn initialize(id: impl Into<Value>, version: &str) -> Value {
    let client = json!({ "name": "it", "version": "1" });
    legacy(
        id,
        "initialize",
        json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": client }),
    )
}

/// `notifications/cancelled` for the request with this id.
pub(crate) fn cancel(id: impl Into<Value>) -> Value {
    json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": id.into(), "reason": "the test says so" } })
}

/// The same message with more in its `_meta`.
pub(crate) fn with_meta(mut message: Value, more: Value) -> Value {
    let meta = &mut message["params"]["_meta"];
    if meta.is_null() {
        *meta = json!({});
    }
    let (Some(meta), Value::Object(more)) = (meta.as_object_mut(), more) else {
        panic!("`_meta` is an object");
    };
    meta.extend(more);
    message
}

/// The code of an error response; panics if it is none.
#[track_caller]
pub(crate) fn code(answer: &Value) -> i64 {
    match answer["error"]["code"].as_i64() {
        Some(code) => code,
        None => panic!("this is not an error response: {answer}"),
    }
}

/// The text of a result's first block; panics if there is none.
#[track_caller]
pub(crate) fn text(answer: &Value) -> &str {
    match answer["result"]["content"][0]["text"].as_str() {
        Some(text) => text,
        None => panic!("this is not a result with text: {answer}"),
    }
}
