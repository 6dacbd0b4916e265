//! Ends that a store refuses, or takes its time with, or for which others have left no memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::*;
use crate::desk::store::memory::MemoryStore;

/// A store in memory whose medium may fail.
#[derive(Clone, Default)]
struct Medium {
    kept: Arc<MemoryStore>,
    is_full: Arc<AtomicBool>,
    /// What is longer does not fit; 0 for no bound.
    room: Arc<AtomicUsize>,
    /// Whether what fails has been kept all the same, as after a write whose success nobody could tell.
    keeps_all: Arc<AtomicBool>,
    /// A replacement says that it has begun, and waits.
    gate: Option<(Sender<()>, Receiver<()>)>,
}

impl JobStore for Medium {
    fn insert(&self, job: &StoredJob) -> Result<bool, StoreError> {
        let inserted = self.kept.insert(job);
        match self.is_full.load(Ordering::Relaxed) {
            true => Err(StoreError::new("no room")),
            false => inserted,
        }
    }
    fn replace(&self, job: &StoredJob) -> Result<bool, StoreError> {
        if let Some((begun, go)) = &self.gate {
            begun.send(()).expect("the test listens");
            go.recv().expect("the test lets it go on");
        }
        let room = self.room.load(Ordering::Relaxed);
        let is_full = self.is_full.load(Ordering::Relaxed) || (room > 0 && job.body.len() > room);
        if !is_full || self.keeps_all.load(Ordering::Relaxed) {
            let replaced = self.kept.replace(job)?;
            if !is_full {
                return Ok(replaced);
            }
        }
        Err(StoreError::new("no room"))
    }
    fn load(&self, id: &str) -> Result<Option<StoredJob>, StoreError> {
        self.kept.load(id)
    }
    fn remove(&self, id: &str) -> Result<bool, StoreError> {
        self.kept.remove(id)
    }
    fn for_each(&self, visit: &mut dyn FnMut(StoredJob)) -> Result<(), StoreError> {
        self.kept.for_each(visit)
    }
}

fn create(jobs: &Jobs) -> Arc<str> {
    let id = jobs.create(order(), Carried::default());
    let id = id.expect("there is room");
    jobs.begin(&id, nothing()).expect("it can run");
    id
}

fn message(jobs: &Jobs, id: &str) -> Option<String> {
    jobs.look(id, |record| record.message.clone())?
}

#[test]
fn an_end_that_is_not_stored_is_not_told() {
    let medium = Medium::default();
    let jobs = jobs_on(rules(10), medium.clone());
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    jobs.on_change(move |record| {
        count.fetch_add(usize::from(record.status.is_final()), Ordering::Relaxed);
    });
    let [stays, lost] = [create(&jobs), create(&jobs)];
    medium.is_full.store(true, Ordering::Relaxed);
    assert!(jobs.end(&stays, done("kept")));
    jobs.cancel(&lost).expect("it is there");
    jobs.sweep();
    for id in [&stays, &lost] {
        assert_eq!(status(&jobs, id), Some(JobStatus::Working));
        let why = message(&jobs, id).expect("it says why");
        assert!(why.contains("cannot be stored"), "{why}");
        assert!(jobs.has_ended(id), "nothing of it runs any more");
        assert!(!jobs.end(id, done("late")), "it has ended once");
        assert!(jobs.begin(id, nothing()).is_none());
    }
    assert_eq!(told.load(Ordering::Relaxed), 0);
    // A crash here: both have failed, and nobody had been told otherwise.
    let after = jobs_on(
        rules(10),
        Medium {
            is_full: Arc::default(),
            ..medium.clone()
        },
    );
    assert_eq!(status(&after, &lost), Some(JobStatus::Failed));
}

#[test]
fn an_end_is_told_once_when_there_is_room_again_whether_or_not_it_had_been_kept() {
    for keeps_all in [false, true] {
        let medium = Medium::default();
        let jobs = jobs_on(rules(10), medium.clone());
        let told = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&told);
        jobs.on_change(move |record| {
            count.fetch_add(usize::from(record.status.is_final()), Ordering::Relaxed);
        });
        let [first, second] = [create(&jobs), create(&jobs)];
        medium.is_full.store(true, Ordering::Relaxed);
        medium.keeps_all.store(keeps_all, Ordering::Relaxed);
        assert!(jobs.end(&first, done("1")) && jobs.end(&second, done("2")));
        medium.is_full.store(false, Ordering::Relaxed);
        jobs.sweep();
        jobs.sweep();
        assert_eq!(told.load(Ordering::Relaxed), 2);
        for (id, text) in [(&first, "1"), (&second, "2")] {
            let kept = format!(r#"{{"content":"{text}"}}"#);
            assert_eq!(result(&jobs, id), Some(kept.clone()));
            let after = jobs_on(rules(10), medium.clone());
            assert_eq!(result(&after, id), Some(kept), "it has been kept");
        }
    }
}

/// On a disk with little room.
#[test]
fn a_long_end_that_the_store_refuses_keeps_no_other_back() {
    let medium = Medium::default();
    let jobs = jobs_on(rules(10), medium.clone());
    let ids: Vec<_> = (0..5).map(|_| create(&jobs)).collect();
    let [long, longer, short @ ..] = &ids[..] else {
        unreachable!("there are five")
    };
    medium.is_full.store(true, Ordering::Relaxed);
    for id in [long, longer] {
        assert!(jobs.end(id, done(&"x".repeat(4000))));
    }
    for id in short {
        assert!(jobs.end(id, done("short")));
    }
    medium.is_full.store(false, Ordering::Relaxed);
    medium.room.store(2000, Ordering::Relaxed);
    // One for each that is refused, and the one that stores the others.
    for _ in 0..3 {
        jobs.sweep();
    }
    let statuses = || ids.iter().map(|id| status(&jobs, id)).collect::<Vec<_>>();
    let (working, completed) = (Some(JobStatus::Working), Some(JobStatus::Completed));
    assert_eq!(
        statuses(),
        [working, working, completed, completed, completed]
    );
    medium.room.store(0, Ordering::Relaxed);
    jobs.sweep();
    assert_eq!(statuses(), [completed; 5]);
    assert!(!jobs.has_to_be_swept());
}

#[test]
fn law_13_a_result_that_can_neither_be_stored_nor_charged_is_not_kept() {
    let medium = Medium::default();
    let jobs = jobs_on(rules(10), medium.clone());
    let id = create(&jobs);
    medium.is_full.store(true, Ordering::Relaxed);
    assert!(jobs.end(&id, done(&"x".repeat(MANY_BYTES))));
    medium.is_full.store(false, Ordering::Relaxed);
    jobs.sweep();
    assert_eq!(status(&jobs, &id), Some(JobStatus::Failed));
    let why = message(&jobs, &id).expect("it says why");
    assert!(why.contains("no room"), "{why}");
}

/// What is seen while the store takes its time with the end of a job.
#[track_caller]
fn seen_while_stored<T: Send>(see: impl FnOnce(&Jobs, &str) -> T + Send) -> T {
    let ((begun, starts), (go, goes)) = (unbounded(), bounded(1));
    let medium = Medium {
        gate: Some((begun, goes)),
        ..Medium::default()
    };
    let jobs = jobs_on(rules(10), medium);
    let id = create(&jobs);
    let seen = thread::scope(|scope| {
        let ending = scope.spawn(|| jobs.end(&id, done("slow")));
        starts.recv().expect("it writes");
        let (told, tells) = bounded(1);
        let (jobs, id) = (&jobs, &id);
        scope.spawn(move || told.send(see(jobs, id)).expect("the test listens"));
        let patience = Duration::from_secs(20);
        let seen = tells.recv_timeout(patience);
        go.send(()).expect("it waits");
        assert!(ending.join().expect("it does not panic"));
        seen.expect("nobody waits for a disk")
    });
    assert_eq!(jobs.counts().completed, 1);
    seen
}

#[test]
fn a_count_of_the_jobs_waits_for_no_store() {
    let seen = seen_while_stored(|jobs, id| (jobs.counts().working, jobs.changes(id)));
    assert_eq!(seen, (1, Some(0)));
}

#[test]
fn law_6_a_list_waits_for_no_store_that_has_a_job_of_somebody_else() {
    let listed = seen_while_stored(|jobs, _| jobs.list("another", |_| ()));
    assert_eq!(listed, []);
}

#[test]
fn law_13_an_end_that_is_stored_late_is_charged_like_any() {
    let charged = |is_full: bool| {
        let (memory, medium) = (Budget::whole(usize::MAX), Medium::default());
        let jobs = jobs_in(&memory, rules(10), medium.clone());
        let order = Order {
            arguments: Some(raw(&json!("x".repeat(10_000)))),
            ..order()
        };
        let id = jobs.create(order, Carried::default());
        let id = id.expect("there is room");
        medium.is_full.store(is_full, Ordering::Relaxed);
        assert!(jobs.end(&id, done("1")));
        medium.is_full.store(false, Ordering::Relaxed);
        jobs.sweep();
        assert!(result(&jobs, &id).is_some());
        memory.used()
    };
    // Both records are as long: ids and times have as many digits.
    assert_eq!(charged(true), charged(false));
}

#[test]
fn law_13_no_result_goes_because_others_have_taken_the_memory() {
    let memory = Budget::whole(MANY_BYTES);
    let jobs = jobs_in(&memory, rules(10), Medium::default());
    let (ended, lives) = (create(&jobs), create(&jobs));
    assert!(jobs.end(&ended, done("1")));
    let rest = MANY_BYTES - memory.used();
    let others = memory.try_charge(rest).expect("it is the rest");
    let refused = jobs.create(order(), Carried::default());
    assert!(matches!(refused, Err(NotKept::Full)), "{refused:?}");
    assert!(jobs.end(&lives, done(&"x".repeat(10_000))), "it is owed");
    for id in [&ended, &lives] {
        assert_eq!(status(&jobs, id), Some(JobStatus::Completed));
    }
    drop(others);
    create(&jobs);
}

#[test]
fn a_job_whose_client_is_told_that_there_is_none_is_none() {
    let medium = Medium::default();
    let jobs = jobs_on(rules(8), medium.clone());
    medium.is_full.store(true, Ordering::Relaxed);
    assert!(jobs.create(order(), Carried::default()).is_err());
    let mut kept = 0;
    let counted = medium.kept.for_each(&mut |_| kept += 1);
    counted.expect("memory does not fail");
    assert_eq!(kept, 0, "the store had kept it all the same");
}
