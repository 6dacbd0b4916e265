//! The HTTP rules of MCP as pure checks: method, `Content-Type`, `Accept`, version; and from an answer to its status.
//!
//! Must not know threads or sockets. Specification: `basic/transports/streamable-http` ("Security & Endpoint", "Sending Messages",
//! "Server Validation") of revision 2026-07-28.

use crate::outbox::{Admission, Answer};
use crate::protocol::errors::ErrorCode;
use crate::protocol::version::{Era, ProtocolVersion};
use crate::transport::http::exchange::{Exchange, Field};
use crate::transport::http::refusal::HttpRefusal;

/// What a request wants, once its head has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Post,
    Get,
    Delete,
    /// A browser asks what a page may send.
    Preflight,
    /// A health check, whatever its method.
    Health,
}

/// The methods the endpoint takes, for `Allow`.
pub(crate) const ALLOW: &str = "GET, POST, DELETE, OPTIONS";

/// Checks what each method needs in the head before more is read.
pub(crate) fn check<E: Exchange>(exchange: &E) -> Result<Verb, HttpRefusal> {
    match exchange.method() {
        "POST" => {
            check_content_encoding(exchange)?;
            Ok(Verb::Post)
        }
        "GET" => {
            check_version(exchange)?;
            check_accepts_events(exchange)?;
            Ok(Verb::Get)
        }
        "DELETE" => {
            check_version(exchange)?;
            Ok(Verb::Delete)
        }
        "OPTIONS" => Ok(Verb::Preflight),
        _ => Err(method_not_allowed(
            "The endpoint takes GET, POST and DELETE",
        )),
    }
}

/// Checks what the message of a `POST` needs, whose body has been read: so a refusal has its id.
pub(crate) fn check_message<E: Exchange>(exchange: &E) -> Result<(), HttpRefusal> {
    check_content_type(exchange)?;
    check_accept(exchange)
}

/// What a client hears that asks for a session where there is none.
pub(super) const NO_SESSIONS: &str = "This server keeps no sessions; send calls by POST";

/// The endpoint does not take this method.
pub(super) fn method_not_allowed(message: &'static str) -> HttpRefusal {
    HttpRefusal::new(405, message).with("Allow", ALLOW)
}

const JSON_TYPE: &str = "application/json";

/// What nearly every client accepts, in these words: not worth being taken apart for each request.
const JSON_AND_EVENTS: &str = "application/json, text/event-stream";

fn check_content_type<E: Exchange>(exchange: &E) -> Result<(), HttpRefusal> {
    let is_json = |value: &str| {
        let media = value.split(';').next().unwrap_or_default().trim();
        media.eq_ignore_ascii_case(JSON_TYPE)
    };
    match exchange.single("Content-Type") {
        Field::One(value) if value == JSON_TYPE || is_json(value) => Ok(()),
        _ => refuse(415, "Content-Type must be application/json"),
    }
}

/// Bodies are read as they come; the answer says so, as RFC 9110 §15.5.16 wants.
fn check_content_encoding<E: Exchange>(exchange: &E) -> Result<(), HttpRefusal> {
    let mut encodings = exchange
        .fields("Content-Encoding")
        .flat_map(|value| value.split(','));
    if encodings.all(|encoding| encoding.trim().eq_ignore_ascii_case("identity")) {
        return Ok(());
    }
    let message = "The body must not be compressed; the only Content-Encoding is identity";
    Err(HttpRefusal::new(415, message).with("Accept-Encoding", "identity"))
}

/// The streams that a `GET` opens and the sessions that a `DELETE` ends exist only in the handshake era.
fn check_version<E: Exchange>(exchange: &E) -> Result<(), HttpRefusal> {
    match exchange.single("MCP-Protocol-Version") {
        Field::Absent => Ok(()),
        Field::One(version) => match ProtocolVersion::parse(version).map(ProtocolVersion::era) {
            Some(Era::Legacy) => Ok(()),
            Some(Era::Modern) => Err(method_not_allowed(
                "This revision has no sessions, and so neither GET nor DELETE; its streams are opened with `subscriptions/listen`",
            )),
            None => refuse(400, "This MCP-Protocol-Version is not supported"),
        },
        Field::Repeated => refuse(400, "MCP-Protocol-Version is there twice"),
    }
}

/// The client must take both kinds of answer. No `Accept` at all means anything.
fn check_accept<E: Exchange>(exchange: &E) -> Result<(), HttpRefusal> {
    match accepted(exchange) {
        (true, true) => Ok(()),
        _ => refuse(
            406,
            "Accept must list both application/json and text/event-stream",
        ),
    }
}

fn check_accepts_events<E: Exchange>(exchange: &E) -> Result<(), HttpRefusal> {
    match accepted(exchange) {
        (_, true) => Ok(()),
        _ => refuse(406, "Accept must list text/event-stream"),
    }
}

/// Whether the client takes JSON, and whether it takes event streams.
fn accepted<E: Exchange>(exchange: &E) -> (bool, bool) {
    if exchange.single("Accept") == Field::One(JSON_AND_EVENTS) {
        return (true, true);
    }
    let (mut json, mut events, mut absent) = (false, false, true);
    for value in exchange.fields("Accept") {
        absent = false;
        for range in value.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            if parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000")) {
                continue;
            }
            let is = |name: &str| media.eq_ignore_ascii_case(name);
            json |= is(JSON_TYPE) || is("application/*") || is("*/*");
            events |= is("text/event-stream") || is("text/*") || is("*/*");
        }
    }
    (absent || json, absent || events)
}

fn refuse<T>(status: u16, message: &'static str) -> Result<T, HttpRefusal> {
    Err(HttpRefusal::new(status, message))
}

/// With which status HTTP says that there was no room for a call; see [`Server::overload`](crate::Server::overload).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OverloadStatus {
    /// `200 OK`: the error is an answer like any other. Clients of the handshake era need it; the Python SDK 1.x and what is built on it
    /// give up the whole session on any other status.
    Ok,
    /// `503 Service Unavailable`, which proxies and balancers understand.
    ServiceUnavailable,
}

/// The status of an overload in each era.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overload {
    pub(crate) modern: OverloadStatus,
    pub(crate) legacy: OverloadStatus,
}

impl Default for Overload {
    fn default() -> Self {
        Overload {
            modern: OverloadStatus::ServiceUnavailable,
            legacy: OverloadStatus::Ok,
        }
    }
}

/// The status of an answer.
///
/// Handshake-era clients take any status but 2xx for a broken transport and lose the error, so what their methods say rides on 200. In
/// the modern era, too, what a method says is 200, because a client that speaks both eras reads a 400 as "an old server, fall back to
/// `initialize`"; what is wrong with the envelope (version, header fields, capability, malformed JSON-RPC) has the status of the specification.
pub(crate) fn status(answer: &Answer, overload: &Overload) -> u16 {
    match (answer.admission, answer.era, answer.error) {
        (_, era, Some(ErrorCode::OVERLOADED)) => {
            let status = match era {
                Era::Modern => overload.modern,
                Era::Legacy => overload.legacy,
            };
            match status {
                OverloadStatus::Ok => 200,
                OverloadStatus::ServiceUnavailable => 503,
            }
        }
        (Admission::UnknownSession, _, _) => 404,
        (_, _, None) => 200,
        (Admission::Admitted, Era::Legacy, Some(_)) => 200,
        (_, Era::Modern, Some(ErrorCode::METHOD_NOT_FOUND)) => 404,
        (Admission::Malformed, _, Some(_)) => 400,
        (Admission::Admitted, Era::Modern, Some(code)) => match code {
            ErrorCode::INVALID_REQUEST
            | ErrorCode::HEADER_MISMATCH
            | ErrorCode::MISSING_CLIENT_CAPABILITY
            | ErrorCode::UNSUPPORTED_PROTOCOL_VERSION => 400,
            _ => 200,
        },
    }
}

#[cfg(test)]
mod tests;
