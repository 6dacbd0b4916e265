//! One HTTP exchange from head to last byte, told once for every front.
//!
//! Runs on the thread that owns the connection: checks the head, reads the body, hands the message to the engine and what it answers to
//! `reply`. Must not know how bytes are read, which lane runs what, or what a method means.

use std::io;

use crate::engine::{Accepted, Origin};
use crate::observe::access::{Outcome, RequestTag};
use crate::protocol::jsonrpc::{ErrorCode, ErrorObject, error_response};
use crate::protocol::modern::Mirrored;
use crate::transport::http::endpoint::Endpoint;
use crate::transport::http::exchange::{BodyError, Exchange, Field, Response, Serve, single};
use crate::transport::http::policy::{ALLOW, Verb};
use crate::transport::http::reply::Reply;

/// What a header that may stand only once says; `Err` when it stands twice.
pub(super) fn optional<'a, E: Exchange>(
    exchange: &'a E,
    name: &'a str,
) -> Result<Option<&'a str>, &'static str> {
    match single(exchange, name) {
        Field::Absent => Ok(None),
        Field::One(value) => Ok(Some(value)),
        Field::Repeated => Err("A header field that may be given once is there twice"),
    }
}

impl Serve for Endpoint {
    /// Serves one exchange. Errors of writing mean that the client has gone, and end it.
    fn serve<E: Exchange>(&self, exchange: &mut E) {
        let tag = match single(exchange, "X-Request-Id") {
            Field::One(id) => RequestTag::from_client(Some(id)),
            _ => RequestTag::fresh(),
        };
        if self.engine.is_draining() {
            exchange.close_after();
        }
        let outcome = match self.guard.check(exchange) {
            Ok(Verb::Post) => self.post(exchange, &tag),
            Ok(Verb::Get) => self.get(exchange, &tag),
            Ok(Verb::Delete) => self.delete(exchange, &tag),
            Err(refusal) => refuse(self, exchange, &tag, refusal.status, refusal.message),
        };
        if let Err(error) = outcome {
            log::debug!("the client has gone: {error} request_id={tag}");
        }
    }
}

impl Endpoint {
    /// Ends the session the request names.
    fn delete<E: Exchange>(&self, exchange: &mut E, tag: &RequestTag) -> io::Result<()> {
        let ended = match single(exchange, "Mcp-Session-Id") {
            Field::One(id) => self.engine.end_session(id),
            _ => {
                return refuse(
                    self,
                    exchange,
                    tag,
                    400,
                    "DELETE needs the Mcp-Session-Id of the session to end",
                );
            }
        };
        if !ended {
            return refuse(self, exchange, tag, 404, "No such session");
        }
        let response = Response {
            status: 204,
            fields: &[("X-Request-Id", tag.as_str())],
            body: b"",
        };
        exchange.respond(&response)?;
        self.ended(tag, "DELETE", Outcome::Ok, 204);
        Ok(())
    }

    fn post<E: Exchange>(&self, exchange: &mut E, tag: &RequestTag) -> io::Result<()> {
        let body = match exchange.read_body(self.limits.body_bytes_max) {
            Ok(body) => body,
            Err(error) => return refuse_body(self, exchange, tag, &error),
        };
        let (outbox, reader) = self.outbox(exchange.can_stream());
        let slot = outbox.reserve().expect("the reader is still here");
        let origin = match origin(exchange) {
            Ok(origin) => origin,
            Err(message) => return refuse(self, exchange, tag, 400, message),
        };
        let accepted = self.engine.accept(&body, tag.clone(), origin, slot);
        drop(body);
        let Accepted {
            call,
            opened,
            streams,
        } = accepted;
        let mut reply = Reply::new(self, exchange, tag, reader);
        reply.opened = opened;
        reply.streams = streams;
        let looks = call.as_ref().map(|_| self.limits.departure_interval);
        reply.call = call;
        let written = reply.write(looks);
        if written.is_err()
            && let Some(call) = &reply.call
        {
            // Closing the response stream is how a modern client cancels.
            call.cancel();
        }
        reply.part(written)
    }
}

/// The header fields that matter to the engine.
fn origin<E: Exchange>(exchange: &E) -> Result<Origin<'_>, &'static str> {
    Ok(Origin::Http {
        mirrored: mirrored(exchange),
        session_id: optional(exchange, "Mcp-Session-Id")?,
        fields: exchange,
    })
}

/// The fields that mirror the body. Of one that stands twice there is no value, which is no version either.
fn mirrored<E: Exchange>(exchange: &E) -> Mirrored<'_> {
    let mut repeated = None;
    let mut value = |name| match single(exchange, name) {
        Field::Absent => None,
        Field::One(value) => Some(value),
        Field::Repeated => {
            repeated.get_or_insert(name);
            Some("")
        }
    };
    let (version, method, name) = (
        value("MCP-Protocol-Version"),
        value("Mcp-Method"),
        value("Mcp-Name"),
    );
    Mirrored {
        version,
        method,
        name,
        repeated,
    }
}

fn refuse_body<E: Exchange>(
    endpoint: &Endpoint,
    exchange: &mut E,
    tag: &RequestTag,
    error: &BodyError,
) -> io::Result<()> {
    exchange.close_after();
    match error {
        BodyError::TooLarge => refuse(
            endpoint,
            exchange,
            tag,
            413,
            "The body is longer than this server takes",
        ),
        BodyError::TooSlow => refuse(
            endpoint,
            exchange,
            tag,
            408,
            "The body did not come in time",
        ),
        BodyError::Malformed(message) => refuse(endpoint, exchange, tag, 400, message),
        BodyError::Gone => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

/// Answers what never became a message.
pub(super) fn refuse<E: Exchange>(
    endpoint: &Endpoint,
    exchange: &mut E,
    tag: &RequestTag,
    status: u16,
    message: &'static str,
) -> io::Result<()> {
    let body = error_response(None, &ErrorObject::new(ErrorCode::INVALID_REQUEST, message));
    let fields = [
        ("Content-Type", "application/json"),
        ("X-Request-Id", tag.as_str()),
        match status {
            405 => ("Allow", ALLOW),
            _ => ("Retry-After", "1"),
        },
    ];
    let count = match status {
        405 | 409 | 503 => 3,
        _ => 2,
    };
    endpoint.ended(tag, "-", Outcome::Refused, status);
    exchange.respond(&Response {
        status,
        fields: &fields[..count],
        body: &body,
    })
}
