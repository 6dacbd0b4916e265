//! A job as the tasks extension shows it: flat members beside the result's own.
//!
//! Specification: `io.modelcontextprotocol/tasks` (repository `ext-tasks`). Must not know who asks, or where it goes.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use httpdate::HttpDate;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::desk::jobs::now_ms;
use crate::desk::record::{JobOutcome, JobRecord};

/// The extension's name among the capabilities.
pub(crate) const EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// Where a task is shown, which decides what is said besides its members.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum TaskView {
    /// As the answer to the call that made it: nothing of how it ended.
    Created,
    /// As the answer to `tasks/get`.
    Looked,
    /// In `notifications/tasks`.
    Announced,
}

/// A task, to be serialised.
pub(crate) struct Task<'a> {
    record: &'a JobRecord,
    shown: TaskView,
    meta: &'a RawValue,
    now_ms: u64,
}

impl<'a> Task<'a> {
    /// As it is at this moment.
    pub(crate) fn now(record: &'a JobRecord, shown: TaskView, meta: &'a RawValue) -> Self {
        Task {
            record,
            shown,
            meta,
            now_ms: now_ms(),
        }
    }
}

impl Serialize for Task<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = self.record;
        let mut map = serializer.serialize_map(None)?;
        match self.shown {
            TaskView::Created => map.serialize_entry("resultType", "task")?,
            TaskView::Looked => map.serialize_entry("resultType", "complete")?,
            TaskView::Announced => {}
        }
        map.serialize_entry("taskId", &*record.id)?;
        map.serialize_entry("status", &record.status)?;
        if let Some(message) = &record.message {
            map.serialize_entry("statusMessage", message)?;
        }
        map.serialize_entry("createdAt", &timestamp(record.created_ms))?;
        map.serialize_entry("lastUpdatedAt", &timestamp(record.updated_ms))?;
        // Required, and `null` while it lives.
        map.serialize_entry("ttlMs", &record.ttl_ms())?;
        map.serialize_entry("pollIntervalMs", &record.poll_interval_ms(self.now_ms))?;
        if self.shown != TaskView::Created {
            if !record.questions.is_empty() {
                let requests = record.questions.iter().map(|(key, asked)| {
                    let (method, params) = (&*asked.method, &asked.params);
                    (key, InputRequest { method, params })
                });
                let requests: BTreeMap<_, _> = requests.collect();
                map.serialize_entry("inputRequests", &requests)?;
            }
            match &record.outcome {
                Some(JobOutcome::Result(result)) => map.serialize_entry("result", result)?,
                Some(JobOutcome::Error(error, _)) => map.serialize_entry("error", error)?,
                Some(JobOutcome::Cancelled) | None => {}
            }
        }
        map.serialize_entry("_meta", self.meta)?;
        map.end()
    }
}

/// An outstanding question.
#[derive(Serialize)]
struct InputRequest<'a> {
    method: &'a str,
    params: &'a serde_json::Value,
}

/// RFC 3339, in UTC, with milliseconds.
pub(crate) fn timestamp(ms: u64) -> String {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    // The calendar is that of the HTTP date, `Sun, 06 Nov 1994 08:49:37 GMT`, which ends with the year 9999.
    const LAST: u64 = 253_402_300_799;
    let time = UNIX_EPOCH + Duration::from_secs((ms / 1000).min(LAST));
    let date = HttpDate::from(time).to_string();
    let (day, month, year, clock) = (&date[5..7], &date[8..11], &date[12..16], &date[17..25]);
    let month = MONTHS.find(month).map_or(1, |at| at / 3 + 1);
    format!("{year}-{month:02}-{day}T{clock}.{:03}Z", ms % 1000)
}

#[cfg(test)]
mod tests {
    use serde_json::value::to_raw_value;
    use serde_json::{Value, json};

    use super::*;
    use crate::desk::record::tests::order;
    use crate::desk::record::{Carried, Question};

    fn record() -> JobRecord {
        JobRecord {
            id: "one".into(),
            ..JobRecord::new(order(), Carried::default(), 1_795_651_200_007)
        }
    }

    fn shown(record: &JobRecord, shown: TaskView) -> Value {
        let meta = to_raw_value(&json!({ "by": "test" })).expect("it is JSON");
        let task = Task {
            record,
            shown,
            meta: &meta,
            now_ms: record.created_ms,
        };
        serde_json::to_value(&task).expect("it is JSON")
    }

    fn looked(record: &JobRecord) -> Value {
        shown(record, TaskView::Looked)
    }

    #[test]
    fn a_new_task_is_flat_and_has_no_end() {
        let created = shown(&record(), TaskView::Created);
        let expected = json!({
            "resultType": "task", "taskId": "one", "status": "working",
            "createdAt": "2026-11-26T00:00:00.007Z", "lastUpdatedAt": "2026-11-26T00:00:00.007Z",
            "ttlMs": null, "pollIntervalMs": 500, "_meta": { "by": "test" },
        });
        assert_eq!(created, expected);
    }

    #[test]
    fn each_state_has_its_own_member_and_no_other() {
        let raw = |value: Value| to_raw_value(&value).expect("it is JSON").into();
        let now = 1_795_651_201_007;
        let ends = [
            (
                JobOutcome::Result(raw(json!({ "content": [] }))),
                "completed",
                json!({ "result": { "content": [] } }),
            ),
            (
                JobOutcome::Error(raw(json!({ "code": -1, "message": "no" })), "no".into()),
                "failed",
                json!({ "error": { "code": -1, "message": "no" }, "statusMessage": "no" }),
            ),
            (JobOutcome::Cancelled, "cancelled", json!({})),
        ];
        for (end, status, members) in ends {
            let mut record = record();
            assert!(record.end(end, now, 5000));
            let mut expected = json!({
                "resultType": "complete", "taskId": "one", "status": status,
                "createdAt": "2026-11-26T00:00:00.007Z", "lastUpdatedAt": "2026-11-26T00:00:01.007Z",
                "ttlMs": 6000, "pollIntervalMs": 500, "_meta": { "by": "test" },
            });
            let Value::Object(members) = members else {
                unreachable!("each is an object")
            };
            expected.as_object_mut().expect("it is one").extend(members);
            assert_eq!(looked(&record), expected);
            let announced = shown(&record, TaskView::Announced);
            expected
                .as_object_mut()
                .expect("it is one")
                .remove("resultType");
            assert_eq!(announced, expected);
        }
        let mut asking = record();
        let question = Question {
            name: "size".into(),
            method: "elicitation/create".into(),
            params: json!({ "message": "?" }),
        };
        assert!(asking.ask([question], Carried::default(), now));
        let seen = looked(&asking);
        let requests = seen["inputRequests"].as_object().expect("it is one");
        let requests: Vec<_> = requests.values().collect();
        assert_eq!(
            requests,
            [&json!({ "method": "elicitation/create", "params": { "message": "?" } })]
        );
    }

    #[test]
    fn times_are_written_as_rfc_3339() {
        for (ms, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_999, "2000-02-29T00:00:00.999Z"),
            (1_767_225_599_000, "2025-12-31T23:59:59.000Z"),
            (u64::MAX, "9999-12-31T23:59:59.615Z"),
        ] {
            assert_eq!(timestamp(ms), expected);
        }
    }
}
