//! JSON-RPC errors, for the peer's program: the object and the codes.
//!
//! Data only. Must not know who sends one, or with which HTTP status. Specification: `basic/index` ("Error Codes").

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::base::setters::setters;
use crate::protocol::version::Era;

/// A JSON-RPC error, for the client program: a code, a message, and optional data.
///
/// The codes of MCP and JSON-RPC are in [`ErrorCode`]. When a tool fails and the *model* can do something about it, return a
/// [`ToolError`](crate::ToolError) instead. Specification: `basic/index` ("Error Responses").
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ErrorObject {
    /// The code, see [`ErrorCode`]. Your own codes should stay outside -32768 to -32000.
    pub code: i64,
    /// One sentence that says what to do.
    pub message: Cow<'static, str>,
    /// Details; their shape depends on the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
}

/// The error codes this library sends. Specification: `basic/index` ("Error Codes").
#[derive(Debug)]
pub enum ErrorCode {}

impl ErrorCode {
    /// The bytes are not JSON.
    pub const PARSE_ERROR: i64 = -32700;
    /// JSON, but not a JSON-RPC message that can be served here.
    pub const INVALID_REQUEST: i64 = -32600;
    /// No such method in this revision.
    pub const METHOD_NOT_FOUND: i64 = -32601;
    /// The parameters do not fit: missing metadata, an unknown tool, a bad cursor.
    pub const INVALID_PARAMS: i64 = -32602;
    /// The server failed. The text of a panic never leaves the process; the log has it under the request id.
    pub const INTERNAL_ERROR: i64 = -32603;
    /// Handshake era: there is no such resource. The modern era says [`INVALID_PARAMS`](Self::INVALID_PARAMS).
    pub const RESOURCE_NOT_FOUND: i64 = -32002;
    /// Modern: an HTTP header does not match the body.
    pub const HEADER_MISMATCH: i64 = -32020;
    /// Modern: the client did not declare a capability that the call needs.
    pub const MISSING_CLIENT_CAPABILITY: i64 = -32021;
    /// Modern: the server does not speak this protocol version.
    pub const UNSUPPORTED_PROTOCOL_VERSION: i64 = -32022;
    /// The lane of this call is full, or the server is shutting down: try again later. Outside the reserved range, and the same
    /// number as the HTTP status that carries it.
    pub const OVERLOADED: i64 = 503;
    /// The handler of this call gave no sign of life, or was given up; see [`Tool::liveness`](crate::Tool::liveness). Outside the reserved range. HTTP
    /// carries it with status 200.
    pub const STALLED: i64 = 504;
}

impl ErrorObject {
    /// An error with a code and a sentence.
    #[cold]
    pub fn new(code: i64, message: impl Into<Cow<'static, str>>) -> Self {
        ErrorObject {
            code,
            message: message.into(),
            data: None,
        }
    }

    setters! {
        /// The same with data.
        with_data(data: serde_json::Value) => data = Some(data);
    }

    /// There is no room now, and the client should come again.
    pub(crate) fn overloaded(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::OVERLOADED, message).with_data(json!({ "retryAfterMs": 1000 }))
    }

    /// What it would take does not fit the server's account. Of a call, only before its handler has done anything: a job begins again then.
    pub(crate) fn no_memory() -> Self {
        Self::overloaded("The server has no memory left for this; try again later")
    }

    #[cold]
    pub(crate) fn invalid_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::INVALID_REQUEST, message)
    }

    #[cold]
    pub(crate) fn invalid_params(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::INVALID_PARAMS, message)
    }

    #[cold]
    pub(crate) fn method_not_found(method: &str) -> Self {
        Self::new(
            ErrorCode::METHOD_NOT_FOUND,
            format!("Method not found: {}", shortened(method)),
        )
    }

    /// There is nothing at this URI. Specification: `server/resources` ("Error Handling") of each era.
    pub(crate) fn no_resource(uri: &str) -> Self {
        Self::new(ErrorCode::RESOURCE_NOT_FOUND, "Resource not found")
            .with_data(json!({ "uri": shortened(uri) }))
    }

    /// The same with the code that this era has for it: the modern one must not hear of the earlier one's missing resources.
    pub(crate) fn in_era(mut self, era: Era) -> Self {
        if era == Era::Modern && self.code == ErrorCode::RESOURCE_NOT_FOUND {
            self.code = ErrorCode::INVALID_PARAMS;
        }
        self
    }
}

impl fmt::Display for ErrorObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for ErrorObject {}

/// A peer's text, cut to a length that may stand in an error or a log line.
pub(crate) fn shortened(text: &str) -> Cow<'_, str> {
    cut(text, 128)
}

/// A text, or its first characters.
pub(crate) fn cut(text: &str, chars_max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(chars_max) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}...", &text[..end])),
    }
}
