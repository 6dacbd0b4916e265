//! What every store promises, as a test that can be run against any of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::desk::record::JobStatus;
use crate::desk::store::{JobStore, StoredJob};

/// Tests a [`JobStore`]: call it from a test of yours with a function that makes an empty store.
///
/// ```
/// use mcp_threads::{MemoryStore, check_job_store};
/// check_job_store(MemoryStore::new);
/// ```
///
/// # Panics
///
/// When the store breaks a promise; the message says which.
pub fn check_job_store<S: JobStore>(new: impl Fn() -> S) {
    keeps_what_it_was_given(&new());
    replaces_only_the_revision_that_was_seen(&new());
    lets_one_of_many_writers_win(new());
}

fn job(id: &str) -> StoredJob {
    StoredJob::new(
        id,
        "boot-1",
        JobStatus::Working,
        b"{\"a\":\"\xc3\xbc\"}".to_vec(),
    )
}

fn keeps_what_it_was_given(store: &impl JobStore) {
    let load = |id: &str| store.load(id).expect("`load` works");
    let insert = |job: &StoredJob| store.insert(job).expect("`insert` works");
    let remove = |id: &str| store.remove(id).expect("`remove` works");
    assert_eq!(load("a"), None, "an empty store has nothing");
    assert!(!remove("a"), "there was nothing to remove");
    let (a, mut b) = (job("a"), job("b"));
    b.body = vec![b' '; 1 << 20];
    assert!(insert(&a), "a new record is kept");
    assert!(insert(&b), "a body of 1 MiB is kept");
    let other = StoredJob {
        boot: "boot-2".into(),
        ..job("a")
    };
    assert!(!insert(&other), "an id is taken once");
    assert_eq!(
        load("a").as_ref(),
        Some(&a),
        "a record comes back as it was, and a refused one left no trace"
    );
    assert_eq!(
        load("b").as_ref(),
        Some(&b),
        "a long record comes back as it was"
    );
    let mut seen = Vec::new();
    store
        .for_each(&mut |job| seen.push(job))
        .expect("`for_each` works");
    seen.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(seen, [a, b], "`for_each` shows every record once");
    assert!(remove("a"), "it was there");
    assert_eq!(load("a"), None, "what was removed has gone");
}

fn replaces_only_the_revision_that_was_seen(store: &impl JobStore) {
    let first = job("a");
    let second = StoredJob {
        revision: 2,
        status: JobStatus::Completed,
        expires_ms: Some(7),
        body: b"{}".to_vec(),
        ..first.clone()
    };
    let replace = |job: &StoredJob| store.replace(job).expect("`replace` works");
    assert!(!replace(&second), "what is not there is not replaced");
    assert!(store.insert(&first).expect("`insert` works"));
    assert!(!replace(&first), "the same revision replaces nothing");
    assert!(
        !replace(&StoredJob {
            revision: 3,
            ..second.clone()
        }),
        "a revision is not skipped"
    );
    assert!(replace(&second), "the next revision replaces");
    assert!(!replace(&second), "once");
    let kept = store.load("a").expect("`load` works");
    assert_eq!(kept, Some(second), "every column is replaced");
}

fn lets_one_of_many_writers_win(store: impl JobStore) {
    const WRITERS: usize = 4;
    const ROUNDS: u64 = 50;
    let store = Arc::new(store);
    assert!(store.insert(&job("a")).expect("`insert` works"));
    let won = AtomicUsize::new(0);
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (store, won) = (&store, &won);
            scope.spawn(move || {
                for revision in 2..2 + ROUNDS {
                    let next = StoredJob {
                        revision,
                        boot: format!("boot-{writer}"),
                        ..job("a")
                    };
                    // Until one of the writers has made this step.
                    loop {
                        if store.replace(&next).expect("`replace` works") {
                            won.fetch_add(1, Ordering::Relaxed);
                        }
                        let kept = store.load("a").expect("`load` works").expect("it is there");
                        if kept.revision >= revision {
                            break;
                        }
                    }
                }
            });
        }
    });
    let won = won.load(Ordering::Relaxed);
    assert_eq!(
        won as u64, ROUNDS,
        "each revision is written by exactly one of {WRITERS} writers"
    );
}
