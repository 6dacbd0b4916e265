//! Every rule of the head with the status of its refusal.

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
        ("GET", "/mcp", &[], 0),
        ("GET", "/mcp", &[("content-type", None)], 0),
        ("GET", "/mcp", &[("accept", Some("text/event-stream"))], 0),
        ("GET", "/mcp", &[("accept", Some("application/json"))], 406),
        (
            "GET",
            "/mcp",
            &[("mcp-protocol-version", Some("2025-06-18"))],
            0,
        ),
        (
            "GET",
            "/mcp",
            &[("mcp-protocol-version", Some("2026-07-28"))],
            405,
        ),
        (
            "GET",
            "/mcp",
            &[("mcp-protocol-version", Some("1999-12-31"))],
            400,
        ),
        ("PUT", "/mcp", &[], 405),
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
