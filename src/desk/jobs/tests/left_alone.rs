//! Jobs that wait for an answer and that nobody looks at: they make room for new ones, and no others do.

use super::*;

const SIZE: usize = MANY_BYTES / 10;

/// One that waits for an answer, with arguments of so many bytes.
fn asks(jobs: &Jobs, listed_in: &str, bytes: usize) -> Arc<str> {
    let id = newcomer(jobs, listed_in, bytes).expect("there is room");
    assert!(jobs.ask(&id, [question("size")], Carried::default()));
    id
}

fn newcomer(jobs: &Jobs, listed_in: &str, bytes: usize) -> Result<Arc<str>, NotKept> {
    let order = Order {
        listed_in: Some(listed_in.into()),
        arguments: Some(raw(&json!("x".repeat(bytes)))),
        ..order()
    };
    jobs.create(order, Carried::default())
}

/// Makes it one that was last looked at so many milliseconds after 1970.
fn leave_alone(jobs: &Jobs, id: &str, looked_ms: u64) {
    let mut table = jobs.table.lock();
    let entry = Arc::clone(&table.by_id[id]);
    table.look(&entry.seen, looked_ms);
}

fn is_refused(made: Result<Arc<str>, NotKept>) -> bool {
    matches!(made, Err(NotKept::Full))
}

#[test]
fn law_9_a_job_that_is_left_alone_makes_room_and_says_so() {
    let store = Shared::default();
    let (jobs, _) = open(rules(10), &store);
    // What lives is charged three times.
    let [looked, alone, longest] = [2, 1, 0].map(|at| {
        let id = asks(&jobs, "a", SIZE);
        leave_alone(&jobs, &id, at);
        id
    });
    assert_eq!(status(&jobs, &looked), Some(JobStatus::InputRequired));
    let works = newcomer(&jobs, "b", 10).expect("there is room");
    newcomer(&jobs, "b", SIZE).expect("one makes room");
    let statuses = || [&looked, &alone, &longest, &works].map(|id| status(&jobs, id));
    let (asks, works) = (Some(JobStatus::InputRequired), Some(JobStatus::Working));
    // All of them looked at: but for the longest, which has ended.
    assert_eq!(statuses(), [asks, asks, Some(JobStatus::Failed), works]);
    assert!(is_refused(newcomer(&jobs, "b", SIZE)), "{:?}", statuses());
    leave_alone(&jobs, &alone, 0);
    newcomer(&jobs, "b", SIZE).expect("one makes room");
    let told = |jobs: &Jobs| jobs.look(&alone, |record| record.message.clone());
    let why = told(&jobs).flatten().expect("it says why");
    assert!(why.contains("start it again"), "{why}");
    let stored = store.load(&alone).expect("memory does not fail");
    assert_eq!(stored.expect("it is kept").status, JobStatus::Failed);
    drop(jobs);
    assert_eq!(told(&open(rules(10), &store).0), Some(Some(why)));
}

#[test]
fn law_9_jobs_that_are_left_alone_take_no_entry_for_good() {
    let jobs = jobs(rules(3).jobs_of_one_max(2));
    let (first, second) = (asks(&jobs, "a", 10), asks(&jobs, "a", 10));
    leave_alone(&jobs, &first, 0);
    leave_alone(&jobs, &second, 1);
    newcomer(&jobs, "b", 10).expect("there is an entry");
    let third = asks(&jobs, "a", 10);
    assert_eq!(status(&jobs, &first), None, "the first of its owner's");
    leave_alone(&jobs, &third, 0);
    newcomer(&jobs, "b", 10).expect("the longest of all");
    assert_eq!(status(&jobs, &third), None);
    assert!(is_refused(newcomer(&jobs, "b", 10)), "its own work");
    assert_eq!(status(&jobs, &second), Some(JobStatus::InputRequired));
}

#[test]
fn a_result_that_has_just_come_stays_where_a_job_that_is_left_alone_can_go() {
    let jobs = jobs(rules(2));
    let alone = asks(&jobs, "a", 10);
    leave_alone(&jobs, &alone, 0);
    let done = newcomer(&jobs, "b", 10).expect("there is an entry");
    assert!(jobs.end(&done, super::done("ore")));
    newcomer(&jobs, "c", 10).expect("the other makes room");
    assert_eq!(
        [&alone, &done].map(|id| status(&jobs, id)),
        [None, Some(JobStatus::Completed)]
    );
    newcomer(&jobs, "c", 10).expect("now that does");
    assert_eq!(status(&jobs, &done), None);
}

#[test]
fn who_watches_a_job_looks_at_it_all_the_time() {
    let jobs = Arc::new(jobs(rules(1)));
    let watched = asks(&jobs, "a", 10);
    let watching = jobs.watch(&watched).expect("it is there");
    leave_alone(&jobs, &watched, 0);
    assert!(is_refused(newcomer(&jobs, "b", 10)));
    leave_alone(&jobs, &watched, 0);
    drop(watching);
    assert!(is_refused(newcomer(&jobs, "b", 10)), "until just now");
    leave_alone(&jobs, &watched, 0);
    newcomer(&jobs, "b", 10).expect("nobody watches it any more");
    assert!(jobs.watch(&watched).is_none());
}

#[test]
fn law_4_a_job_that_is_left_alone_is_answered_or_ended_and_never_both() {
    for round in 0..200 {
        let jobs = jobs(rules(1));
        let told = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&told);
        jobs.on_change(move |record| {
            count.fetch_add(usize::from(record.status.is_final()), Ordering::Relaxed);
        });
        let id = asks(&jobs, "a", 10);
        leave_alone(&jobs, &id, 0);
        let gate = Barrier::new(2);
        let (made, answered) = thread::scope(|scope| {
            let made = scope.spawn(|| {
                gate.wait();
                newcomer(&jobs, "b", 10).is_ok()
            });
            gate.wait();
            (0..100 * (round % 50)).for_each(|_| std::hint::spin_loop());
            let answered = jobs.take_answers(&id, |_| Some(accepted("big")));
            let answered = matches!(answered, Some(Ok(AnswerEffect::All)));
            (made.join().expect("it does not panic"), answered)
        });
        assert_ne!(made, answered);
        assert_eq!(jobs.begin(&id, nothing()).is_some(), answered);
        assert_eq!(told.load(Ordering::Relaxed), usize::from(made));
    }
}
