//! A job record through its states.

use proptest::prelude::*;
use serde_json::json;
use serde_json::value::to_raw_value;

use super::*;

const KEEP: u64 = 1000;

pub(in crate::desk) fn raw(value: &Value) -> Arc<RawValue> {
    to_raw_value(value).expect("it is JSON").into()
}

fn yes() -> Box<RawValue> {
    to_raw_value(&json!({ "action": "accept", "content": {} })).expect("it is JSON")
}

pub(in crate::desk) fn order() -> Order {
    Order {
        tool: "dig".into(),
        listed_in: None,
        arguments: Some(raw(&json!({ "depth": 3 }))),
        workspace: None,
        capabilities: None,
        client_info: None,
        is_legacy: false,
        restartable: false,
    }
}

fn question(name: &str) -> Question {
    Question {
        name: name.into(),
        method: "elicitation/create".into(),
        params: json!({}),
    }
}

fn result() -> JobOutcome {
    JobOutcome::Result(raw(&json!({ "content": [] })))
}

#[test]
fn a_job_asks_is_answered_in_parts_and_goes_on() {
    let mut job = JobRecord::new(order(), Carried::default(), 10);
    let both = [question("size"), question("name")];
    assert!(job.ask(both, Carried::default(), 20));
    assert_eq!(
        (job.status, job.questions.len()),
        (JobStatus::InputRequired, 2)
    );
    let keys: Vec<String> = job.questions.keys().cloned().collect();
    assert!(
        keys[0].starts_with("name-") && keys[1].starts_with("size-"),
        "{keys:?}"
    );
    let only = |wanted: String| move |key: &str| (key == wanted).then(yes);
    assert_eq!(job.take_answers(|_| None, 30), AnswerEffect::Nothing);
    assert_eq!(
        job.take_answers(only(keys[0].clone()), 30),
        AnswerEffect::Some
    );
    assert_eq!(
        job.take_answers(only(keys[0].clone()), 30),
        AnswerEffect::Nothing,
        "it has gone"
    );
    assert_eq!(
        job.take_answers(only(keys[1].clone()), 40),
        AnswerEffect::All
    );
    assert_eq!((job.status, job.updated_ms), (JobStatus::Working, 40));
    assert_eq!(job.carried.answers.len(), 2);
    assert!(job.ask([question("size")], Carried::clone(&job.carried), 50));
    assert!(
        !job.questions.contains_key(&keys[1]),
        "no key is used twice"
    );
}

#[test]
fn a_running_job_has_no_time_to_live_and_a_finished_one_keeps_its_promise() {
    let mut job = JobRecord::new(order(), Carried::default(), 100);
    assert_eq!(job.ttl_ms(), None);
    assert!(job.end(result(), 5000, KEEP));
    assert_eq!((job.ttl_ms(), job.expires_ms), (Some(5900), Some(6000)));
    assert_eq!(
        [0, 20_000, 60_000, 1 << 40].map(|age| job.poll_interval_ms(100 + age)),
        [500, 1000, 3000, 10_000]
    );
}

#[test]
fn a_long_message_is_cut_at_a_character() {
    let mut job = JobRecord::new(order(), Carried::default(), 0);
    assert!(job.tell("ü".repeat(MESSAGE_BYTES_MAX), 1));
    assert_eq!(job.message, Some("ü".repeat(MESSAGE_BYTES_MAX / 2)));
}

#[derive(Clone, Debug)]
enum Move {
    Tell,
    Ask,
    Answer,
    Finish,
    Fail,
    Cancel,
}

proptest! {
    #[test]
    fn nothing_leaves_an_end_and_no_question_stands_outside_of_input_required(
        moves in prop::collection::vec(
            prop::sample::select(vec![Move::Tell, Move::Ask, Move::Answer, Move::Finish, Move::Fail, Move::Cancel]),
            0..20,
        ),
    ) {
        let mut job = JobRecord::new(order(), Carried::default(), 0);
        let mut ended = None;
        for (now, step) in (1..).zip(moves) {
            match step {
                Move::Tell => { job.tell("on".into(), now); }
                Move::Ask => { job.ask([question("a")], Carried::default(), now); }
                Move::Answer => { job.take_answers(|_| Some(yes()), now); }
                Move::Finish => { job.end(result(), now, KEEP); }
                Move::Fail => {
                    let error = raw(&json!({ "code": 1, "message": "" }));
                    job.end(JobOutcome::Error(error, "it broke".into()), now, KEEP);
                }
                Move::Cancel => { job.end(JobOutcome::Cancelled, now, KEEP); }
            }
            prop_assert_eq!(job.status == JobStatus::InputRequired, !job.questions.is_empty());
            prop_assert_eq!(job.status.is_final(), job.outcome.is_some());
            prop_assert_eq!(job.status.is_final(), job.ttl_ms().is_some());
            let text = serde_json::to_string(&job).expect("it is JSON");
            let again: JobRecord = serde_json::from_str(&text).expect("it reads what it wrote");
            prop_assert_eq!(&serde_json::to_string(&again).expect("it is JSON"), &text);
            if let Some(ended) = &ended {
                prop_assert_eq!(ended, &text, "an end is an end");
            } else if job.status.is_final() {
                ended = Some(text);
            }
        }
    }
}
