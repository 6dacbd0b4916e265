//! What HTTP refuses before there is a message, or a session to give it to: one builder for all of it.
//!
//! Must not know what was asked for, or how an answer is written.

use std::borrow::Cow;

use crate::protocol::errors::{ErrorCode, ErrorObject};
use crate::protocol::id::RequestId;
use crate::protocol::jsonrpc::{error_response, glimpse};

/// The field of every body that is one message.
pub(crate) const JSON: (&str, &str) = ("Content-Type", "application/json");

/// A refusal: its status, the sentence that stands in its body, and the header fields that say what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpRefusal {
    pub(crate) status: u16,
    message: Cow<'static, str>,
    fields: Vec<(&'static str, Cow<'static, str>)>,
    /// What the log may know besides; the message if there is nothing.
    reason: Option<String>,
    /// Of the request that it refuses, where its body has been read.
    id: Option<RequestId>,
}

impl HttpRefusal {
    #[cold]
    pub(crate) fn new(status: u16, message: impl Into<Cow<'static, str>>) -> Self {
        HttpRefusal {
            status,
            message: message.into(),
            fields: Vec::new(),
            reason: None,
            id: None,
        }
    }

    /// There is no room for it now: `503`, and when to come again.
    pub(crate) fn busy(message: &'static str) -> Self {
        HttpRefusal::new(503, message).with("Retry-After", "1")
    }

    /// Adds a header field.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Tells the log more than the client.
    pub(crate) fn because(mut self, reason: String) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Refuses the request in this body, as far as that can be read.
    pub(crate) fn of(mut self, body: &[u8]) -> Self {
        self.id = glimpse(body);
        self
    }

    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (*name, &**value))
    }

    /// What stands on the access line.
    pub(crate) fn reason(&self) -> &str {
        self.reason.as_deref().unwrap_or(&self.message)
    }

    /// A JSON-RPC error; without an id where nothing has been read that could have one.
    pub(crate) fn body(&self) -> Vec<u8> {
        let message = self.message.clone().into_owned();
        let error = match self.status {
            503 => ErrorObject::overloaded(message),
            500.. => ErrorObject::new(ErrorCode::INTERNAL_ERROR, message),
            _ => ErrorObject::new(ErrorCode::INVALID_REQUEST, message),
        };
        error_response(self.id.as_ref(), &error)
    }
}
