//! Tool parameters that header fields mirror: a modern call over HTTP whose two halves differ is refused before its handler hears of it.

use mcp_threads::{Server, Tool};
use serde_json::{Value, json};

#[cfg(any(feature = "http", feature = "tiny-http"))]
use crate::harness::{Http, code, legacy_call, on_every_front};
use crate::harness::{Served, call, text};

/// `place` says its arguments; four of its parameters are mirrored, one of them in an object.
fn server() -> Server {
    let inner = json!({
        "type": "object",
        "properties": { "zone": { "type": "string", "x-mcp-header": "Zone" } }
    });
    let schema = json!({
        "type": "object",
        "properties": {
            "region": { "type": "string", "x-mcp-header": "Region" },
            "count": { "type": "integer", "x-mcp-header": "Count" },
            "dry": { "type": "boolean", "x-mcp-header": "dry-run" },
            "inner": inner,
            "free": { "type": "string" }
        }
    });
    let place = Tool::new("place").input_schema(schema);
    Server::new("it", "1").register(place.handler(|args: Value| args.to_string()))
}

type Fields = &'static [&'static str];

/// Arguments, fields as `name: value`, and the part of the error that says what is wrong; `None` if nothing is.
fn rows() -> Vec<(Value, Fields, Option<&'static str>)> {
    vec![
        // Both say the same, or neither says anything.
        (json!({}), &[], None),
        (json!({ "free": "x" }), &["Mcp-Param-Free: y"], None),
        (
            json!({ "region": "us-west1", "count": 7, "dry": true, "inner": { "zone": "a" } }),
            &[
                "Mcp-Param-Region: us-west1",
                "Mcp-Param-Count: 7",
                "Mcp-Param-dry-run: true",
                "Mcp-Param-Zone: a",
            ],
            None,
        ),
        // Names have no case, values do; blanks around a value are not part of it.
        (json!({ "region": "a" }), &["mcp-PARAM-region:  a "], None),
        (
            json!({ "region": "a" }),
            &["Mcp-Param-Region: A"],
            Some("'A' does not match body value 'a'"),
        ),
        // They differ.
        (
            json!({ "region": "a" }),
            &["Mcp-Param-Region: b"],
            Some("Mcp-Param-Region header value 'b'"),
        ),
        (
            json!({ "inner": { "zone": "a" } }),
            &["Mcp-Param-Zone: b"],
            Some("Mcp-Param-Zone"),
        ),
        (
            json!({ "dry": true }),
            &["Mcp-Param-Dry-Run: false"],
            Some("'false'"),
        ),
        (
            json!({}),
            &["Mcp-Param-Region: a"],
            Some("no value in the body"),
        ),
        // One is missing, or stands twice.
        (
            json!({ "region": "a" }),
            &[],
            Some("Mcp-Param-Region is missing"),
        ),
        (
            json!({ "region": "" }),
            &[],
            Some("Mcp-Param-Region is missing"),
        ),
        (
            json!({ "region": "a" }),
            &["Mcp-Param-Region: a", "Mcp-Param-region: a"],
            Some("more than once"),
        ),
        // What a field cannot say is said in Base64, and only between both marks.
        (
            json!({ "region": "Zürich" }),
            &["Mcp-Param-Region: =?base64?WsO8cmljaA==?="],
            None,
        ),
        (
            json!({ "region": "Zurich" }),
            &["Mcp-Param-Region: =?base64?WsO8cmljaA==?="],
            Some("does not match"),
        ),
        (
            json!({ "region": "Hello" }),
            &["Mcp-Param-Region: =?base64?SGVsbG8?="],
            Some("not valid Base64"),
        ),
        (
            json!({ "region": "Hello" }),
            &["Mcp-Param-Region: =?base64?SGVs!!!bG8=?="],
            Some("not valid Base64"),
        ),
        (
            json!({ "region": "=?base64?SGVsbG8=" }),
            &["Mcp-Param-Region: =?base64?SGVsbG8="],
            None,
        ),
        // Integers are compared as numbers.
        (json!({ "count": 42.0 }), &["Mcp-Param-Count: 42"], None),
        (json!({ "count": 42 }), &["Mcp-Param-Count: 42.0"], None),
        (
            json!({ "count": 42 }),
            &["Mcp-Param-Count: 43"],
            Some("'43'"),
        ),
        (
            json!({ "count": 42 }),
            &["Mcp-Param-Count: forty-two"],
            Some("Mcp-Param-Count"),
        ),
        // Arguments of the wrong kind have no such parameters; what they are is said after the fields.
        (
            json!([]),
            &["Mcp-Param-Region: a"],
            Some("no value in the body"),
        ),
    ]
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn fields_and_arguments_must_say_the_same() {
    on_every_front(|front| {
        let (served, http) = front.serve(server());
        for (arguments, fields, wrong) in rows() {
            let mut reply = ask(http, &arguments, fields).send();
            let answer = reply.json();
            let row = format!("{arguments} {fields:?} became {} {answer}", reply.status);
            assert_eq!(answer["id"], "row", "{row}");
            match wrong {
                None => {
                    assert_eq!(reply.status, 200, "{row}");
                    let said: Value = serde_json::from_str(text(&answer)).expect("it is JSON");
                    assert_eq!(said, arguments, "{row}");
                }
                Some(part) => {
                    assert_eq!((reply.status, code(&answer)), (400, -32020), "{row}");
                    let message = answer["error"]["message"].as_str().expect("it has one");
                    assert!(message.contains(part), "{part:?}: {row}");
                }
            }
        }
        served.stop();
    });
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
fn ask(http: Http, arguments: &Value, fields: Fields) -> crate::harness::http::Ask {
    let mut ask = http.modern(&call("row", "place", arguments.clone()));
    for field in fields {
        let (name, value) = field.split_once(": ").expect("a row is name and value");
        ask = ask.and_field(name, value);
    }
    ask
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn the_nearest_mistake_is_named_first() {
    on_every_front(|front| {
        let (served, http) = front.serve(server());
        let named = |ask: crate::harness::http::Ask| {
            let mut reply = ask.send();
            let answer = reply.json();
            // What is wrong with the header fields is the envelope's; what is wrong with the arguments is the method's.
            let status = if code(&answer) == -32020 { 400 } else { 200 };
            assert_eq!(reply.status, status, "{answer}");
            (
                code(&answer),
                answer["error"]["message"].as_str().unwrap_or("").to_owned(),
            )
        };
        // `Mcp-Name` comes before the parameters, and they before what the arguments are.
        let both = ask(http, &json!({ "region": "a" }), &[]).field("Mcp-Name", "other");
        let (number, message) = named(both);
        assert_eq!(number, -32020);
        assert!(message.contains("Mcp-Name"), "{message}");
        assert_eq!(
            named(ask(http, &json!([]), &["Mcp-Param-Region: a"])).0,
            -32020
        );
        assert_eq!(named(ask(http, &json!([]), &[])).0, -32602);
        served.stop();
    });
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn the_handshake_era_has_no_such_rule() {
    on_every_front(|front| {
        let (served, http) = front.serve(server());
        let session = http.initialize("2025-11-25");
        let message = legacy_call(1, "place", json!({ "region": "a" }));
        assert_eq!(text(&session.ask(&message)), r#"{"region":"a"}"#);
        let other = session.post(&message).field("Mcp-Param-Region", "b").send();
        assert_eq!(text(&other.message()), r#"{"region":"a"}"#);
        served.stop();
    });
}

#[test]
fn a_pipe_has_no_fields() {
    let (served, mut client) = Served::pipe(server());
    let answer = client.ask(&call(1, "place", json!({ "region": "a" })));
    assert_eq!(text(&answer), r#"{"region":"a"}"#);
    client.close();
    served.stop();
}

#[test]
fn an_invalid_annotation_is_refused_at_the_start() {
    let twin = json!({ "type": "string", "x-mcp-header": "A" });
    let rows = [
        (
            json!({ "a": { "type": "string", "x-mcp-header": "" } }),
            "property `a`: `x-mcp-header` is \"\"",
        ),
        (
            json!({ "a": { "type": "number", "x-mcp-header": "A" } }),
            "property `a`: `x-mcp-header` needs a \"type\"",
        ),
        (
            json!({ "a": twin, "b": { "type": "integer", "x-mcp-header": "a" } }),
            "another property has already",
        ),
        (
            json!({ "a": { "type": "array", "items": twin } }),
            "reached through `properties` alone",
        ),
    ];
    for (properties, part) in rows {
        let schema = json!({ "type": "object", "properties": properties });
        let tool = Tool::new("odd")
            .input_schema(schema)
            .handler(|_: Value| "ok");
        let server = Server::new("it", "1").register(tool);
        let Err(error) = server.serve_pipe(std::io::empty(), std::io::sink()) else {
            panic!("this must not start; it should say {part}");
        };
        assert!(error.is_configuration(), "{error}");
        let said = error.to_string();
        assert!(
            said.contains("tool `odd`") && said.contains(part),
            "{said} says {part}"
        );
    }
}
