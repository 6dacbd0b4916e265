//! Every task that a test's client reads is held to the schema of the tasks extension, whatever the test is about.
//!
//! The schema is the extension's own, in `tests/it/schemas/`. It is looked at with the feature `validate`, which brings what can read it.

use serde_json::Value;

/// Panics when a message shows a task in another form than the extension's.
#[cfg(not(feature = "validate"))]
pub(crate) fn check(_message: &Value) {}

/// Panics when a message shows a task in another form than the extension's.
#[cfg(feature = "validate")]
#[track_caller]
pub(crate) fn check(message: &Value) {
    let result = &message["result"];
    let is_task = result.get("taskId").is_some();
    match (message["method"].as_str(), result["resultType"].as_str()) {
        (Some("notifications/tasks"), _) => hold(message, "TaskStatusNotification"),
        (_, Some("task")) => hold(result, "CreateTaskResult"),
        (_, Some("complete")) if is_task => hold(result, "GetTaskResult"),
        _ => assert!(!is_task, "a task that does not say so: {message}"),
    }
}

#[cfg(feature = "validate")]
#[track_caller]
fn hold(shown: &Value, definition: &str) {
    use std::collections::HashMap;
    use std::sync::{LazyLock, Mutex, PoisonError};

    static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
        let text = include_str!("../schemas/ext-tasks.json");
        serde_json::from_str(text).expect("the schema is JSON")
    });
    static VALIDATORS: Mutex<Option<HashMap<String, jsonschema::Validator>>> = Mutex::new(None);

    let mut validators = VALIDATORS.lock().unwrap_or_else(PoisonError::into_inner);
    let validators = validators.get_or_insert_default();
    let validator = validators.entry(definition.to_owned()).or_insert_with(|| {
        let mut schema = SCHEMA.clone();
        schema["$ref"] = format!("#/$defs/{definition}").into();
        jsonschema::validator_for(&schema).expect("the schema is one")
    });
    let mistakes: Vec<String> = validator
        .iter_errors(shown)
        .map(|mistake| format!("{}: {mistake}", mistake.instance_path()))
        .collect();
    assert!(
        mistakes.is_empty(),
        "no {definition}: {mistakes:#?} in {shown:#}"
    );
}

#[cfg(feature = "validate")]
#[test]
fn the_schema_refuses_what_is_no_task() {
    let task = serde_json::json!({ "result": {
        "resultType": "complete", "taskId": "a", "status": "completed", "createdAt": "", "lastUpdatedAt": "",
        "ttlMs": 1, "result": {},
    } });
    check(&task);
    for (member, wrong) in [
        ("ttlMs", Value::Null),
        ("status", "failed".into()),
        ("result", 7.into()),
    ] {
        let mut broken = task.clone();
        broken["result"][member] = wrong;
        if member == "ttlMs" {
            broken["result"]
                .as_object_mut()
                .expect("it is one")
                .remove(member);
        }
        let refused = std::panic::catch_unwind(|| check(&broken));
        assert!(refused.is_err(), "{member}");
    }
}
