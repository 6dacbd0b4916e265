//! The HTTP rules of MCP as pure checks: path, method, `Host`, `Origin`, `Content-Type`, `Accept`; and from an answer to its status.
//!
//! Must not know threads or sockets. Specification: `basic/transports/streamable-http` ("Security & Endpoint", "Sending Messages",
//! "Server Validation") of revision 2026-07-28.

use std::net::IpAddr;

use crate::outbox::{Answer, Standing};
use crate::protocol::jsonrpc::ErrorCode;
use crate::protocol::version::{Era, ProtocolVersion};
use crate::transport::http::exchange::{Exchange, Field, single};

/// What a request wants, once it has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Post,
    Get,
    Delete,
}

/// Why a request was refused before its body was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) message: &'static str,
}

/// The methods the endpoint takes, for `Allow`.
pub(crate) const ALLOW: &str = "GET, POST, DELETE";

/// Who may call the endpoint, and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    pub(crate) path: String,
    /// Accept any loopback name in `Host` and `Origin`.
    pub(crate) loopback: bool,
    /// Host names accepted besides, in lower case, without port.
    pub(crate) hosts: Vec<String>,
    /// Origins accepted besides, in lower case, whole.
    pub(crate) origins: Vec<String>,
}

impl Guard {
    /// Checks everything that stands in the head. Who may not call at all learns nothing else.
    pub(crate) fn check<E: Exchange>(&self, exchange: &E) -> Result<Verb, Refusal> {
        self.check_caller(exchange)?;
        let path = origin_form(exchange.target())
            .split(['?', '#'])
            .next()
            .unwrap_or_default();
        if path != self.path {
            return refuse(
                404,
                "There is no MCP endpoint at this path; by default it is /mcp",
            );
        }
        match exchange.method() {
            "POST" => {
                check_content_type(exchange)?;
                check_accept(exchange)?;
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
            _ => refuse(405, "The endpoint takes GET, POST and DELETE"),
        }
    }

    /// `Host` and `Origin`: what keeps a web page from talking to a local server through DNS rebinding.
    fn check_caller<E: Exchange>(&self, exchange: &E) -> Result<(), Refusal> {
        match single(exchange, "Host") {
            Field::One(host) if self.allows_host(host) => {}
            _ => {
                return refuse(
                    403,
                    "This Host is not allowed; the server's operator can allow it with `allowed_hosts`",
                );
            }
        }
        match single(exchange, "Origin") {
            Field::Absent => Ok(()),
            Field::One(origin) if self.allows_origin(origin) => Ok(()),
            _ => refuse(
                403,
                "This Origin is not allowed; the server's operator can allow it with `allowed_origins`",
            ),
        }
    }

    fn allows_host(&self, host: &str) -> bool {
        let Some(name) = host_name(host) else {
            return false;
        };
        (self.loopback && is_loopback_name(name))
            || self
                .hosts
                .iter()
                .any(|allowed| allowed.eq_ignore_ascii_case(name))
    }

    fn allows_origin(&self, origin: &str) -> bool {
        if self
            .origins
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(origin))
        {
            return true;
        }
        let host = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"));
        host.is_some_and(|host| self.allows_host(host))
    }
}

/// The target without scheme and authority, which a proxy may have left in (RFC 9112 §3.2.2). Whether they agree with `Host` is the front's to
/// see to; `Host` is what counts here.
fn origin_form(target: &str) -> &str {
    let rest = target
        .strip_prefix("http://")
        .or_else(|| target.strip_prefix("https://"));
    match rest.map(|rest| rest.find('/').map(|at| &rest[at..])) {
        None => target,
        Some(path) => path.unwrap_or("/"),
    }
}

/// The name in `name`, `name:port` or `[v6]:port`; `None` if it is none of these.
fn host_name(host: &str) -> Option<&str> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (name, port) = rest.split_once(']')?;
            name.parse::<std::net::Ipv6Addr>().ok()?;
            (
                name,
                if port.is_empty() {
                    None
                } else {
                    Some(port.strip_prefix(':')?)
                },
            )
        }
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    let port_fits =
        port.is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit()) && port.len() <= 5);
    (!name.is_empty() && port_fits).then_some(name)
}

fn is_loopback_name(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn check_content_type<E: Exchange>(exchange: &E) -> Result<(), Refusal> {
    if let Field::One(value) = single(exchange, "Content-Type") {
        let media = value.split(';').next().unwrap_or_default().trim();
        if media.eq_ignore_ascii_case("application/json") {
            return Ok(());
        }
    }
    refuse(415, "Content-Type must be application/json")
}

/// The streams that a `GET` opens and the sessions that a `DELETE` ends exist only in the handshake era.
fn check_version<E: Exchange>(exchange: &E) -> Result<(), Refusal> {
    match single(exchange, "MCP-Protocol-Version") {
        Field::Absent => Ok(()),
        Field::One(version) => match ProtocolVersion::parse(version).map(ProtocolVersion::era) {
            Some(Era::Legacy) => Ok(()),
            Some(Era::Modern) => refuse(
                405,
                "This revision has no sessions, and so neither GET nor DELETE; its streams are opened with `subscriptions/listen`",
            ),
            None => refuse(400, "This MCP-Protocol-Version is not supported"),
        },
        Field::Repeated => refuse(400, "MCP-Protocol-Version is there twice"),
    }
}

/// The client must take both kinds of answer. No `Accept` at all means anything.
fn check_accept<E: Exchange>(exchange: &E) -> Result<(), Refusal> {
    match accepted(exchange) {
        (true, true) => Ok(()),
        _ => refuse(
            406,
            "Accept must list both application/json and text/event-stream",
        ),
    }
}

fn check_accepts_events<E: Exchange>(exchange: &E) -> Result<(), Refusal> {
    match accepted(exchange) {
        (_, true) => Ok(()),
        _ => refuse(406, "Accept must list text/event-stream"),
    }
}

/// Whether the client takes JSON, and whether it takes event streams.
fn accepted<E: Exchange>(exchange: &E) -> (bool, bool) {
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
            json |= is("application/json") || is("application/*") || is("*/*");
            events |= is("text/event-stream") || is("text/*") || is("*/*");
        }
    }
    (absent || json, absent || events)
}

fn refuse<T>(status: u16, message: &'static str) -> Result<T, Refusal> {
    Err(Refusal { status, message })
}

/// The status of an answer.
///
/// Handshake-era clients take any status but 2xx for a broken transport and lose the error, so what their methods say rides on 200. In
/// the modern era the codes of the specification have their status, whoever sends them; any other code rides on 200 too.
pub(crate) fn status(answer: &Answer) -> u16 {
    match (answer.standing, answer.era, answer.error) {
        (_, _, Some(ErrorCode::OVERLOADED)) => 503,
        (Standing::UnknownSession, _, _) => 404,
        (_, _, None) => 200,
        (Standing::Served, Era::Legacy, Some(_)) => 200,
        (_, Era::Modern, Some(ErrorCode::METHOD_NOT_FOUND)) => 404,
        (Standing::Malformed, _, Some(_)) => 400,
        (Standing::Served, Era::Modern, Some(code)) => match code {
            ErrorCode::INVALID_REQUEST
            | ErrorCode::INVALID_PARAMS
            | ErrorCode::HEADER_MISMATCH
            | ErrorCode::MISSING_CLIENT_CAPABILITY
            | ErrorCode::UNSUPPORTED_PROTOCOL_VERSION => 400,
            _ => 200,
        },
    }
}

#[cfg(test)]
mod tests;
