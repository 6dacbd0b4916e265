//! What is compared: replies without what the eras spell differently, and the first place where two of them differ.

use serde_json::{Value, json};

const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// The result of a message, as both eras mean it. A modern one says that it is complete, who serves it, and perhaps for how long it holds.
#[track_caller]
pub(super) fn result(message: &Value, is_modern: bool) -> Value {
    let mut result = message["result"].clone();
    if !is_modern {
        return result;
    }
    let members = result.as_object_mut().expect("a result is an object");
    assert_eq!(
        members.remove("resultType"),
        Some(json!("complete")),
        "{message}"
    );
    assert_eq!(
        members.remove("ttlMs").is_some(),
        members.remove("cacheScope").is_some(),
        "one without the other: {message}"
    );
    let served_by = remove_meta(&mut result, SERVER_INFO);
    assert_eq!(served_by["name"], "everything", "{message}");
    result
}

/// What the server says of itself.
#[track_caller]
pub(super) fn hello(message: &Value, is_modern: bool) -> Value {
    let mut said = result(message, is_modern);
    if is_modern {
        said["serverInfo"] = message["result"]["_meta"][SERVER_INFO].clone();
    }
    let members = said.as_object_mut().expect("a result is an object");
    let version = match is_modern {
        true => members
            .remove("supportedVersions")
            .map(|all| all[0].clone()),
        false => members.remove("protocolVersion"),
    };
    let expected = if is_modern {
        "2026-07-28"
    } else {
        "2025-11-25"
    };
    assert_eq!(version, Some(json!(expected)), "{message}");
    said
}

/// The error of a message. The id of a failed request is another one each time.
pub(super) fn error(message: &Value) -> Value {
    let error = &message["error"];
    match error["data"]["requestId"].as_str() {
        None => error.clone(),
        Some(id) => {
            let text = error.to_string().replace(id, "REQUEST-ID");
            serde_json::from_str(&text).expect("it was JSON before")
        }
    }
}

/// Method and parameters of a notification or question. The modern era's name their subscription.
pub(super) fn called(message: &Value) -> Value {
    let mut message = message.clone();
    remove_meta(&mut message["params"], SUBSCRIPTION);
    let params = match &message["params"] {
        Value::Null => json!({}),
        params => params.clone(),
    };
    json!({ "method": message["method"], "params": params })
}

/// Takes a member out of `_meta`, which goes too when nothing else is in it.
fn remove_meta(holder: &mut Value, name: &str) -> Value {
    let Some(meta) = holder.get_mut("_meta").and_then(Value::as_object_mut) else {
        return Value::Null;
    };
    let value = meta.remove(name).unwrap_or_default();
    if meta.is_empty()
        && let Some(holder) = holder.as_object_mut()
    {
        holder.remove("_meta");
    }
    value
}

/// Makes equal what need not be: where `"???"` is expected.
pub(super) fn blank(expected: &Value, got: &mut Value) {
    match (expected, got) {
        (Value::String(text), got) if text == "???" => *got = Value::Null,
        (Value::Object(due), Value::Object(came)) => {
            for (name, came) in came {
                blank(&due[name], came);
            }
        }
        (Value::Array(due), Value::Array(came)) => {
            for (due, came) in due.iter().zip(came) {
                blank(due, came);
            }
        }
        _ => {}
    }
}

/// Where the two differ first, and how. An expected `"..."` or `"???"` is anything.
pub(super) fn difference(expected: &Value, got: &Value) -> Option<String> {
    differs("", expected, got)
}

fn differs(path: &str, expected: &Value, got: &Value) -> Option<String> {
    let whole = || Some(format!("at `{path}`: {expected} was due, {got} came"));
    match (expected, got) {
        (Value::String(text), _) if text == "..." || text == "???" => None,
        (Value::Object(due), Value::Object(came)) => {
            let lost = due.iter().find(|(name, _)| !came.contains_key(*name));
            let new = came.iter().find(|(name, _)| !due.contains_key(*name));
            match (lost, new) {
                (Some((name, value)), _) => {
                    Some(format!("at `{path}`: `{name}` is missing: {value}"))
                }
                (_, Some((name, value))) => Some(format!("at `{path}`: `{name}` is new: {value}")),
                _ => due.iter().find_map(|(name, value)| {
                    differs(&format!("{path}/{name}"), value, &came[name])
                }),
            }
        }
        (Value::Array(due), Value::Array(came)) if due.len() == came.len() => (0..)
            .zip(due.iter().zip(came))
            .find_map(|(at, (due, came))| differs(&format!("{path}/{at}"), due, came)),
        _ if expected == got => None,
        _ => whole(),
    }
}

#[test]
fn the_first_difference_is_found() {
    let rows = [
        (json!({ "a": [1, { "b": 2 }] }), None),
        (json!("..."), None),
        (json!({ "a": "..." }), None),
        (json!({ "a": [1, { "b": 3 }] }), Some("/a/1/b")),
        (json!({ "a": [1] }), Some("/a")),
        (json!({}), Some("`a` is new")),
        (json!({ "a": "...", "c": 1 }), Some("`c` is missing")),
    ];
    for (expected, place) in rows {
        let found = difference(&expected, &json!({ "a": [1, { "b": 2 }] }));
        match place {
            None => assert_eq!(found, None),
            Some(place) => assert!(
                found.as_ref().is_some_and(|found| found.contains(place)),
                "{found:?}"
            ),
        }
    }
}
