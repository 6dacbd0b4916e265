//! How many jobs are kept, how much of them and how long: what ends makes room, what works never does.

use super::*;

#[test]
fn law_9_the_oldest_end_makes_room_and_what_lives_never_does() {
    let jobs = jobs(rules(2));
    let first = jobs
        .create(order(), Carried::default())
        .expect("there is room");
    let second = jobs
        .create(order(), Carried::default())
        .expect("there is room");
    assert!(
        matches!(jobs.create(order(), Carried::default()), Err(NotKept::Full)),
        "both live"
    );
    assert!(jobs.end(&first, done("1")));
    let third = jobs
        .create(order(), Carried::default())
        .expect("the first makes room");
    assert_eq!(status(&jobs, &first), None);
    assert_eq!(
        [&second, &third].map(|id| status(&jobs, id)),
        [Some(JobStatus::Working); 2]
    );
    assert!(
        jobs.end(&second, done(&"x".repeat(MANY_BYTES))),
        "a result that was worked for is kept"
    );
    assert!(result(&jobs, &second).is_some());
    assert!(jobs.end(&third, done("3")));
    jobs.create(order(), Carried::default())
        .expect("what has ended makes room");
}

/// However many end with however much: all that is kept is charged, but for one result that is longer than all the room there is.
#[test]
fn law_13_results_that_nobody_fetches_make_room_for_each_other() {
    let jobs = jobs(rules(100));
    let end = |bytes: usize| {
        let id = jobs.create(order(), Carried::default());
        let id = id.expect("there is room");
        assert!(jobs.end(&id, done(&"x".repeat(bytes))));
        id
    };
    let kept = |ids: &[Arc<str>]| ids.iter().filter(|id| result(&jobs, id).is_some()).count();
    let short: Vec<_> = (0..40).map(|_| end(MANY_BYTES / 10)).collect();
    assert_eq!((kept(&short[39..]), kept(&short)), (1, 9));
    let long: Vec<_> = (0..4).map(|_| end(2 * MANY_BYTES)).collect();
    assert_eq!((kept(&short), kept(&long[..3]), kept(&long)), (0, 0, 1));
    let waits = jobs.create(order(), Carried::default());
    let waits = waits.expect("there is room");
    assert!(jobs.ask(&waits, [question("long")], Carried::default()));
    let long = accepted("x".repeat(MANY_BYTES));
    let mut answer = |_: &str| Some(long.clone());
    let refused = jobs.take_answers(&waits, &mut answer);
    assert!(
        matches!(refused, Some(Err(NotKept::Full))),
        "an answer is not owed room, and its client is told: {refused:?}"
    );
    assert_eq!(status(&jobs, &waits), Some(JobStatus::InputRequired));
}

#[test]
fn law_13_no_result_goes_for_what_would_not_fit_all_the_same() {
    let jobs = jobs(rules(10));
    let create = |bytes: usize| {
        let arguments = raw(&json!("x".repeat(bytes)));
        let order = Order {
            arguments: Some(arguments),
            ..order()
        };
        jobs.create(order, Carried::default())
    };
    let kept = create(10).expect("there is room");
    assert!(jobs.end(&kept, done("kept")));
    // What lives is charged three times.
    let lives = create(MANY_BYTES / 4).expect("there is room");
    let refused = create(MANY_BYTES / 10);
    assert!(matches!(refused, Err(NotKept::Full)), "{refused:?}");
    assert!(jobs.ask(&lives, [question("long")], Carried::default()));
    let long = accepted("x".repeat(MANY_BYTES / 10));
    let refused = jobs.take_answers(&lives, |_| Some(long.clone()));
    assert!(matches!(refused, Some(Err(NotKept::Full))), "{refused:?}");
    assert!(result(&jobs, &kept).is_some(), "it was promised");

    let fits = MANY_BYTES / 13;
    let others: Vec<_> = (0..2).map(|_| create(fits)).collect();
    assert!(
        matches!(&others[..], [Ok(_), Err(NotKept::Full)]),
        "{others:?}"
    );
    let first = others[0].as_ref().expect("it fits");
    assert!(jobs.end(first, done(&"x".repeat(100_000))));
    create(fits).expect("what has ended makes room");
    assert_eq!(status(&jobs, first), None);
}

#[test]
fn law_9_one_owner_cannot_take_every_entry() {
    let jobs = jobs(rules(3).jobs_of_one_max(1));
    let of = |session: &str| Order {
        listed_in: Some(session.into()),
        ..order()
    };
    let greedy = jobs
        .create(of("greedy"), Carried::default())
        .expect("there is room");
    assert!(matches!(
        jobs.create(of("greedy"), Carried::default()),
        Err(NotKept::Full)
    ));
    let other = jobs
        .create(of("other"), Carried::default())
        .expect("there is room for others");
    assert!(jobs.end(&other, done("1")));
    assert!(
        matches!(
            jobs.create(of("greedy"), Carried::default()),
            Err(NotKept::Full)
        ),
        "others do not make room for it"
    );
    assert_eq!(status(&jobs, &other), Some(JobStatus::Completed));
    assert!(jobs.end(&greedy, done("2")));
    jobs.create(of("greedy"), Carried::default())
        .expect("its own does");
}

#[test]
fn what_has_expired_is_gone() {
    let store = Shared::default();
    let (jobs, _) = open(rules(10).job_ttl(Duration::ZERO), &store);
    let id = jobs
        .create(order(), Carried::default())
        .expect("there is room");
    jobs.sweep();
    assert_eq!(
        status(&jobs, &id),
        Some(JobStatus::Working),
        "age ends no job"
    );
    assert!(jobs.end(&id, done("1")));
    assert_eq!(status(&jobs, &id), None);
    jobs.sweep();
    assert_eq!(store.load(&id).expect("memory does not fail"), None);
    assert_eq!(jobs.counts(), JobCounts::default());
}

#[test]
fn law_13_a_job_that_lives_is_charged_for_the_message_that_it_may_get() {
    let (memory, store) = (Budget::whole(usize::MAX), Shared::default());
    let jobs = jobs_in(&memory, rules(1), store.clone());
    let id = jobs
        .create(order(), Carried::default())
        .expect("there is room");
    let stored = store
        .load(&id)
        .expect("memory does not fail")
        .expect("it is there");
    assert_eq!(
        memory.used(),
        3 * stored.body.len() + record::MESSAGE_BYTES_MAX
    );
}
