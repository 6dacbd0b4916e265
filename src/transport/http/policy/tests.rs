//! What each method needs in the head, with the status of its refusal.

use super::*;
use crate::transport::http::exchange::tests::TestExchange;

fn check_head(
    method: &'static str,
    changes: &[(&'static str, Option<&'static str>)],
) -> Result<Verb, u16> {
    let mut fields = vec![("content-type", "application/json"), ("accept", "*/*")];
    for (name, value) in changes {
        fields.retain(|field| field.0 != *name);
        fields.extend(value.map(|value| (*name, value)));
    }
    let head = TestExchange::head(method, "/mcp", fields);
    let checked = check(&head).and_then(|verb| match verb {
        Verb::Post => check_message(&head).map(|()| verb),
        verb => Ok(verb),
    });
    checked.map_err(|refusal| refusal.status)
}

#[test]
fn every_refusal_of_the_head_has_its_status() {
    type Row = (
        &'static str,
        &'static [(&'static str, Option<&'static str>)],
        Result<Verb, u16>,
    );
    let rows: &[Row] = &[
        ("POST", &[], Ok(Verb::Post)),
        (
            "DELETE",
            &[("content-type", None), ("accept", None)],
            Ok(Verb::Delete),
        ),
        ("GET", &[], Ok(Verb::Get)),
        ("GET", &[("content-type", None)], Ok(Verb::Get)),
        (
            "GET",
            &[("accept", Some("text/event-stream"))],
            Ok(Verb::Get),
        ),
        ("GET", &[("accept", Some("application/json"))], Err(406)),
        (
            "GET",
            &[("mcp-protocol-version", Some("2025-06-18"))],
            Ok(Verb::Get),
        ),
        (
            "GET",
            &[("mcp-protocol-version", Some("2026-07-28"))],
            Err(405),
        ),
        (
            "GET",
            &[("mcp-protocol-version", Some("1999-12-31"))],
            Err(400),
        ),
        (
            "OPTIONS",
            &[("content-type", None), ("accept", None)],
            Ok(Verb::Preflight),
        ),
        ("PUT", &[], Err(405)),
        ("POST", &[("content-type", None)], Err(415)),
        ("POST", &[("content-type", Some("text/plain"))], Err(415)),
        (
            "POST",
            &[("content-type", Some("Application/JSON; charset=utf-8"))],
            Ok(Verb::Post),
        ),
        ("POST", &[("content-encoding", Some("gzip"))], Err(415)),
        (
            "POST",
            &[("content-encoding", Some("identity, br"))],
            Err(415),
        ),
        (
            "POST",
            &[("content-encoding", Some("Identity"))],
            Ok(Verb::Post),
        ),
        ("POST", &[("accept", None)], Ok(Verb::Post)),
        ("POST", &[("accept", Some("application/json"))], Err(406)),
        ("POST", &[("accept", Some("text/event-stream"))], Err(406)),
        (
            "POST",
            &[("accept", Some("application/json, text/event-stream"))],
            Ok(Verb::Post),
        ),
        (
            "POST",
            &[("accept", Some("application/json;q=0, text/event-stream"))],
            Err(406),
        ),
    ];
    for (method, changes, expected) in rows {
        let checked = check_head(method, changes);
        assert_eq!(checked, *expected, "{method} {changes:?}");
    }
}
