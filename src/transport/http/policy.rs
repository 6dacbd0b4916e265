//! The HTTP rules of MCP as pure checks: path, method, `Host`, `Origin`, `Content-Type`, `Accept`; and from an answer to its status.
//!
//! Must not know threads or sockets. Specification: `basic/transports/streamable-http` ("Security & Endpoint", "Sending Messages",
//! "Server Validation") of revision 2026-07-28.

use std::net::IpAddr;

use crate::outbox::{Answer, Standing};
use crate::protocol::jsonrpc::ErrorCode;
use crate::protocol::version::Era;
use crate::transport::http::exchange::{Exchange, Field, single};

/// What a request wants, once it has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Post,
    Delete,
}

/// Why a request was refused before its body was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) message: &'static str,
}

/// The methods the endpoint takes, for `Allow`.
pub(crate) const ALLOW: &str = "POST, DELETE";

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
            return refuse(404, "There is nothing at this path");
        }
        match exchange.method() {
            "POST" => {
                check_content_type(exchange)?;
                check_accept(exchange)?;
                Ok(Verb::Post)
            }
            "DELETE" => Ok(Verb::Delete),
            _ => refuse(405, "The endpoint takes POST and DELETE"),
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

/// The client must take both kinds of answer. No `Accept` at all means anything.
fn check_accept<E: Exchange>(exchange: &E) -> Result<(), Refusal> {
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
    if absent || (json && events) {
        return Ok(());
    }
    refuse(
        406,
        "Accept must list both application/json and text/event-stream",
    )
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
mod tests {
    use std::io;

    use super::*;
    use crate::transport::http::exchange::{BodyError, Response};

    struct Head(
        &'static str,
        &'static str,
        Vec<(&'static str, &'static str)>,
    );

    impl Exchange for Head {
        fn method(&self) -> &str {
            self.0
        }
        fn target(&self) -> &str {
            self.1
        }
        fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
            self.2
                .iter()
                .filter(move |field| field.0.eq_ignore_ascii_case(name))
                .map(|field| field.1)
        }
        fn read_body(&mut self, _: usize) -> Result<Vec<u8>, BodyError> {
            Err(BodyError::Gone)
        }
        fn respond(&mut self, _: &Response<'_>) -> io::Result<()> {
            Ok(())
        }
        fn begin_stream(&mut self, _: &[(&str, &str)]) -> io::Result<()> {
            Ok(())
        }
        fn send(&mut self, _: &[u8]) -> io::Result<()> {
            Ok(())
        }
        fn finish(&mut self, _: &[u8]) -> io::Result<()> {
            Ok(())
        }
        fn client_left(&mut self) -> bool {
            false
        }
        fn close_after(&mut self) {}
    }

    fn check(
        method: &'static str,
        target: &'static str,
        changes: &[(&'static str, Option<&'static str>)],
    ) -> u16 {
        let mut fields = vec![
            ("host", "127.0.0.1:80"),
            ("content-type", "application/json"),
            ("accept", "*/*"),
        ];
        for (name, value) in changes {
            fields.retain(|field| field.0 != *name);
            fields.extend(value.map(|value| (*name, value)));
        }
        let guard = Guard {
            path: "/mcp".into(),
            loopback: true,
            hosts: vec!["mcp.example".into()],
            origins: vec!["https://app.example".into()],
        };
        guard
            .check(&Head(method, target, fields))
            .map_or_else(|refusal| refusal.status, |_| 0)
    }

    #[test]
    fn every_refusal_of_the_head_has_its_status() {
        type Row = (
            &'static str,
            &'static str,
            &'static [(&'static str, Option<&'static str>)],
            u16,
        );
        let rows: &[Row] = &[
            ("POST", "/mcp", &[], 0),
            ("POST", "/mcp?x=1", &[], 0),
            ("POST", "http://localhost/mcp", &[], 0),
            ("POST", "http://localhost", &[], 404),
            (
                "DELETE",
                "/mcp",
                &[("content-type", None), ("accept", None)],
                0,
            ),
            ("POST", "/", &[], 404),
            ("POST", "/mcp/", &[], 404),
            ("GET", "/mcp", &[], 405),
            ("POST", "/mcp", &[("host", None)], 403),
            ("POST", "/mcp", &[("host", Some("evil.example"))], 403),
            (
                "POST",
                "/mcp",
                &[("host", Some("localhost.evil.example"))],
                403,
            ),
            ("POST", "/mcp", &[("host", Some("127.0.0.1:80:80"))], 403),
            (
                "POST",
                "/mcp",
                &[("host", Some("127.0.0.1@evil.example"))],
                403,
            ),
            ("POST", "/mcp", &[("host", Some("LOCALHOST:8080"))], 0),
            ("POST", "/mcp", &[("host", Some("[::1]:8080"))], 0),
            ("POST", "/mcp", &[("host", Some("[::1]8080"))], 403),
            ("POST", "/mcp", &[("host", Some("MCP.example:443"))], 0),
            (
                "POST",
                "/mcp",
                &[("origin", Some("http://localhost:5173"))],
                0,
            ),
            (
                "POST",
                "/mcp",
                &[("origin", Some("https://app.example"))],
                0,
            ),
            (
                "POST",
                "/mcp",
                &[("origin", Some("https://app.example:444"))],
                403,
            ),
            (
                "POST",
                "/mcp",
                &[("origin", Some("http://evil.example"))],
                403,
            ),
            ("POST", "/mcp", &[("origin", Some("null"))], 403),
            (
                "POST",
                "/mcp",
                &[("origin", Some("http://127.0.0.1/path"))],
                403,
            ),
            ("POST", "/mcp", &[("content-type", None)], 415),
            ("POST", "/mcp", &[("content-type", Some("text/plain"))], 415),
            (
                "POST",
                "/mcp",
                &[("content-type", Some("Application/JSON; charset=utf-8"))],
                0,
            ),
            ("POST", "/mcp", &[("accept", None)], 0),
            ("POST", "/mcp", &[("accept", Some("application/json"))], 406),
            (
                "POST",
                "/mcp",
                &[("accept", Some("text/event-stream"))],
                406,
            ),
            (
                "POST",
                "/mcp",
                &[("accept", Some("application/json, text/event-stream"))],
                0,
            ),
            (
                "POST",
                "/mcp",
                &[("accept", Some("application/json;q=0, text/event-stream"))],
                406,
            ),
        ];
        for (method, target, changes, status) in rows {
            assert_eq!(
                check(method, target, changes),
                *status,
                "{method} {target} {changes:?}"
            );
        }
    }
}
