//! Jobs through their table: bounds, races, a restart.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::desk::record;
use crate::desk::record::tests::raw;
use crate::desk::store::memory::MemoryStore;

mod bounds;
mod left_alone;
mod unstored;

/// The same records for one server after another.
#[derive(Clone, Default)]
struct Shared(Arc<MemoryStore>);

impl JobStore for Shared {
    fn insert(&self, job: &StoredJob) -> Result<bool, StoreError> {
        self.0.insert(job)
    }
    fn replace(&self, job: &StoredJob) -> Result<bool, StoreError> {
        self.0.replace(job)
    }
    fn load(&self, id: &str) -> Result<Option<StoredJob>, StoreError> {
        self.0.load(id)
    }
    fn remove(&self, id: &str) -> Result<bool, StoreError> {
        self.0.remove(id)
    }
    fn for_each(&self, visit: &mut dyn FnMut(StoredJob)) -> Result<(), StoreError> {
        self.0.for_each(visit)
    }
}

const MANY_BYTES: usize = 1 << 20;

fn rules(jobs_max: usize) -> Limits {
    Limits::default()
        .job_ttl(Duration::from_secs(3600))
        .jobs_max(jobs_max)
        .jobs_of_one_max(jobs_max)
}

fn jobs(rules: Limits) -> Jobs {
    open(rules, &Shared::default()).0
}

fn jobs_on(rules: Limits, store: impl JobStore) -> Jobs {
    jobs_in(&Budget::whole(usize::MAX), rules, store)
}

/// In a server with this memory.
fn jobs_in(memory: &Arc<Budget>, rules: Limits, store: impl JobStore) -> Jobs {
    let bytes = memory.of_peer(MANY_BYTES);
    let opened = Jobs::open(Arc::new(rules), Guarded::new(Box::new(store)), bytes);
    opened.expect("it can be read").0
}

fn open(rules: Limits, store: &Shared) -> (Jobs, Vec<Arc<str>>) {
    let bytes = Budget::whole(usize::MAX).of_peer(MANY_BYTES);
    Jobs::open(
        Arc::new(rules),
        Guarded::new(Box::new(store.clone())),
        bytes,
    )
    .expect("memory does not fail")
}

fn accepted(what: impl serde::Serialize) -> Box<RawValue> {
    said(json!({ "action": "accept", "content": { "size": what } }))
}

fn said(what: impl serde::Serialize) -> Box<RawValue> {
    to_raw_value(&what).expect("it is JSON")
}

fn order() -> Order {
    Order {
        listed_in: Some("session".into()),
        ..record::tests::order()
    }
}

fn done(text: &str) -> JobOutcome {
    JobOutcome::Result(raw(&json!({ "content": text })))
}

fn nothing() -> Stop {
    Arc::new(|| ())
}

fn question(name: &str) -> Question {
    Question {
        name: name.into(),
        method: "elicitation/create".into(),
        params: json!({}),
    }
}

fn status(jobs: &Jobs, id: &str) -> Option<JobStatus> {
    jobs.look(id, |record| record.status)
}

fn result(jobs: &Jobs, id: &str) -> Option<String> {
    let shown = jobs.look(id, |record| match &record.outcome {
        Some(JobOutcome::Result(raw)) => raw.get().to_owned(),
        other => format!("{other:?}"),
    });
    shown.filter(|shown| shown != "None")
}

#[test]
fn a_job_lives_from_its_order_to_its_result() {
    let jobs = jobs(rules(10));
    let id = jobs
        .create(order(), Carried::default())
        .expect("there is room");
    assert_eq!(status(&jobs, &id), Some(JobStatus::Working));
    let (order, _) = jobs.begin(&id, nothing()).expect("it waits to be run");
    assert_eq!(order.arguments.expect("as ordered").get(), r#"{"depth":3}"#);
    assert!(
        jobs.begin(&id, nothing()).is_none(),
        "it runs once at a time"
    );
    assert!(jobs.say(&id, "half".into()).is_some());
    assert_eq!(
        jobs.list("session", |record| record.message.clone())[0].as_deref(),
        Some("half")
    );
    assert!(jobs.list("another", |_| ()).is_empty());
    assert!(jobs.end(&id, done("ore")));
    assert!(!jobs.end(&id, done("late")));
    assert_eq!(result(&jobs, &id).as_deref(), Some(r#"{"content":"ore"}"#));
    assert_eq!(jobs.counts().completed, 1);
}

#[test]
fn a_question_frees_the_worker_and_its_answer_queues_the_job_again() {
    let jobs = jobs(rules(10));
    let id = jobs
        .create(order(), Carried::default())
        .expect("there is room");
    jobs.begin(&id, nothing()).expect("it waits to be run");
    let kept = Carried {
        kept: [("number".to_owned(), said(7))].into(),
        ..Carried::default()
    };
    assert!(jobs.ask(&id, [question("size")], kept));
    assert!(
        jobs.begin(&id, nothing()).is_none(),
        "it waits for an answer"
    );
    let answered = jobs.take_answers(&id, |key| key.starts_with("size-").then(|| accepted("big")));
    assert!(
        matches!(answered, Some(Ok(AnswerEffect::All))),
        "{answered:?}"
    );
    let (_, carried) = jobs.begin(&id, nothing()).expect("it can go on");
    assert_eq!(carried.answers["size"].get(), accepted("big").get());
    assert_eq!(carried.kept["number"].get(), "7");
}

#[test]
fn a_job_whose_question_or_answer_the_store_does_not_take_says_so() {
    let store = Shared::default();
    let (jobs, _) = open(rules(10), &store);
    let create = || {
        let id = jobs.create(order(), Carried::default());
        id.expect("there is room")
    };
    let asks = create();
    jobs.begin(&asks, nothing()).expect("it can run");
    assert!(store.remove(&asks).expect("memory does not fail"));
    assert!(jobs.ask(&asks, [question("size")], Carried::default()));
    assert_eq!(
        status(&jobs, &asks),
        Some(JobStatus::Failed),
        "nobody runs it, and nobody could answer it"
    );
    let waits = create();
    assert!(jobs.ask(&waits, [question("size")], Carried::default()));
    assert!(store.remove(&waits).expect("memory does not fail"));
    let answered = jobs.take_answers(&waits, |_| Some(accepted("big")));
    assert!(
        matches!(answered, Some(Err(NotKept::Store(_)))),
        "{answered:?}"
    );
    assert_eq!(status(&jobs, &waits), Some(JobStatus::InputRequired));
}

#[test]
fn a_waiting_job_is_cancelled_at_once_and_a_running_one_is_told() {
    let jobs = jobs(rules(10));
    let waiting = jobs
        .create(order(), Carried::default())
        .expect("there is room");
    jobs.cancel(&waiting).expect("it is there");
    assert_eq!(status(&jobs, &waiting), Some(JobStatus::Cancelled));
    assert!(
        jobs.begin(&waiting, nothing()).is_none(),
        "it does not begin any more"
    );
    jobs.cancel(&waiting)
        .expect("it is there, and stays as it is");

    let running = jobs
        .create(order(), Carried::default())
        .expect("there is room");
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    let stop: Stop = Arc::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
    });
    jobs.begin(&running, stop).expect("it waits to be run");
    jobs.cancel(&running).expect("it is there");
    assert_eq!(
        (told.load(Ordering::Relaxed), status(&jobs, &running)),
        (1, Some(JobStatus::Cancelled))
    );
    let asked = jobs.ask(&running, [question("late")], Carried::default());
    assert!(!asked, "nobody is there to be asked");
    assert!(!jobs.end(&running, done("late")), "nor to be answered");
    jobs.cancel(&running)
        .expect("it is there, and is told once");
    assert_eq!(told.load(Ordering::Relaxed), 1);
    assert_eq!(jobs.cancel("unknown"), None);
}

#[test]
fn a_restart_keeps_what_ended_and_what_waits_and_fails_what_ran() {
    let store = Shared::default();
    let (before, again) = open(rules(10), &store);
    assert!(again.is_empty());
    let ids: Vec<_> = (0..4)
        .map(|_| {
            before
                .create(order(), Carried::default())
                .expect("there is room")
        })
        .collect();
    let restartable = before
        .create(
            Order {
                restartable: true,
                ..order()
            },
            Carried::default(),
        )
        .expect("there is room");
    before
        .begin(&ids[0], nothing())
        .expect("it waits to be run");
    assert!(before.end(&ids[0], done("1")));
    before
        .begin(&ids[1], nothing())
        .expect("it waits to be run");
    assert!(before.ask(&ids[1], [question("size")], Carried::default()));
    before
        .begin(&ids[2], nothing())
        .expect("it waits to be run");
    // The fourth and the restartable one are still in the queue.
    drop(before);
    let (after, again) = open(rules(10), &store);
    assert_eq!(again, [restartable]);
    assert_eq!(
        result(&after, &ids[0]).as_deref(),
        Some(r#"{"content":"1"}"#)
    );
    let lost = after.look(&ids[2], |record| (record.status, record.message.clone()));
    let (status_of_lost, why) = lost.expect("it is there");
    assert_eq!(status_of_lost, JobStatus::Failed);
    assert!(
        why.expect("it says why").contains("server ended"),
        "and what to do"
    );
    assert_eq!(status(&after, &ids[3]), Some(JobStatus::Failed));
    let answered = after.take_answers(&ids[1], |_| Some(accepted("big")));
    assert!(
        matches!(answered, Some(Ok(AnswerEffect::All))),
        "it has waited through the restart: {answered:?}"
    );
    assert!(after.begin(&ids[1], nothing()).is_some());
}

#[test]
fn law_4_one_of_many_ends_wins_and_each_change_is_told_once() {
    const ENDS: usize = 4;
    let jobs = Arc::new(jobs(rules(1000)));
    let told = Arc::new(Mutex::new(HashMap::<Arc<str>, usize>::new()));
    let log = Arc::clone(&told);
    jobs.on_change(move |record| {
        if record.status.is_final() {
            *log.lock()
                .expect("not poisoned")
                .entry(Arc::clone(&record.id))
                .or_default() += 1;
        }
    });
    for _ in 0..100 {
        let id = jobs
            .create(order(), Carried::default())
            .expect("there is room");
        let gate = Barrier::new(ENDS);
        let won = AtomicUsize::new(0);
        thread::scope(|scope| {
            for end in 0..ENDS {
                let (jobs, id, gate, won) = (&jobs, &id, &gate, &won);
                scope.spawn(move || {
                    gate.wait();
                    match end {
                        0 => {
                            let _there = jobs.cancel(id);
                        }
                        1 => {
                            jobs.sweep();
                        }
                        _ if jobs.end(id, done(&end.to_string())) => {
                            won.fetch_add(1, Ordering::Relaxed);
                        }
                        _ => {}
                    }
                });
            }
        });
        let cancelled = status(&jobs, &id) == Some(JobStatus::Cancelled);
        assert_eq!(won.load(Ordering::Relaxed) + usize::from(cancelled), 1);
        assert_eq!(told.lock().expect("not poisoned")[&id], 1);
    }
}
