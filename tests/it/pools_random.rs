//! Pools under random claims, drops, panics, breakages and cancellations by several threads: two calls never share a resource, and nobody who waits is forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mcp_threads::{Claim, ClaimError, Lane, RequestContext, ResourcePool, Server};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;
use serde_json::{Value, json};

use crate::harness::message::cancel;
use crate::harness::{Served, call};

const PLACES: usize = 3;
const WORKERS: usize = 6;

/// What a handler does next.
#[derive(Clone, Debug)]
enum Step {
    /// Claims one of the places whose bit is set. With something in its hands it does not wait long: two that wait for each other would wait for ever.
    Claim {
        fits: u8,
        wait_ms: u64,
    },
    Drop(usize),
    Break(usize),
    Work,
    Panic,
}

/// How often each place is in somebody's hands now, and how often one was in two.
#[derive(Default)]
struct Hands {
    on: [AtomicUsize; PLACES],
    shared: AtomicUsize,
}

/// A resource that is counted while it is used.
struct Held {
    claim: Claim<usize, usize>,
    hands: Arc<Hands>,
}

impl Held {
    fn new(claim: Claim<usize, usize>, hands: &Arc<Hands>) -> Self {
        if hands.on[*claim].fetch_add(1, Ordering::SeqCst) > 0 {
            hands.shared.fetch_add(1, Ordering::SeqCst);
        }
        let hands = Arc::clone(hands);
        Held { claim, hands }
    }

    fn put_down(self) -> Claim<usize, usize> {
        let Held { claim, hands } = self;
        hands.on[*claim].fetch_sub(1, Ordering::SeqCst);
        claim
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1_u8..8, prop_oneof![Just(0), Just(2), Just(u64::MAX)])
            .prop_map(|(fits, wait_ms)| Step::Claim { fits, wait_ms }),
        4 => any::<usize>().prop_map(Step::Drop),
        1 => any::<usize>().prop_map(Step::Break),
        3 => Just(Step::Work),
        1 => Just(Step::Panic),
    ]
}

/// What a call does, and whether its client cancels it at some time.
fn script() -> impl Strategy<Value = (Vec<Step>, bool)> {
    (vec(step(), 1..12), prop::bool::weighted(0.2))
}

/// Puts everything down that is held, however the handler ends.
#[derive(Default)]
struct Holding(Vec<Held>);

impl Drop for Holding {
    fn drop(&mut self) {
        self.0.drain(..).for_each(|held| drop(held.put_down()));
    }
}

fn play(
    cx: &mut RequestContext,
    pool: &ResourcePool<usize, usize>,
    hands: &Arc<Hands>,
    script: &[Step],
) -> Result<&'static str, ClaimError> {
    let mut holding = Holding::default();
    for step in script {
        match step {
            Step::Claim { fits, wait_ms } => {
                let longest = match holding.0.is_empty() {
                    true => u64::MAX,
                    false => 2,
                };
                let wait = Duration::from_millis((*wait_ms).min(longest));
                let claimed = pool.claim_where(cx, wait, |place| fits & (1 << place) != 0);
                match claimed {
                    Ok(claim) => holding.0.push(Held::new(claim, hands)),
                    Err(ClaimError::Busy { .. } | ClaimError::Unavailable { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            Step::Drop(which) | Step::Break(which) => {
                if !holding.0.is_empty() {
                    let claim = holding.0.swap_remove(which % holding.0.len()).put_down();
                    match step {
                        Step::Break(_) => claim.broken(),
                        _ => drop(claim),
                    }
                }
            }
            Step::Work => std::thread::yield_now(),
            Step::Panic => panic!("on purpose"),
        }
    }
    Ok("done")
}

/// A pool in which every seventh making fails, and every fifth check.
fn pool() -> ResourcePool<usize, usize> {
    let (made, checked) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let make = move |place: &usize| match made.fetch_add(1, Ordering::Relaxed) % 7 {
        6 => Err("not this time"),
        _ => Ok(*place),
    };
    ResourcePool::keyed("places", 0..PLACES, make)
        .check(move |_| checked.fetch_add(1, Ordering::Relaxed) % 5 != 4)
}

fn run(scripts: Vec<(Vec<Step>, bool)>) {
    let (pool, hands) = (pool(), Arc::new(Hands::default()));
    let cancelled: Vec<bool> = scripts.iter().map(|(_, cancelled)| *cancelled).collect();
    let count = scripts.len();
    let (claimed, counted) = (pool.clone(), Arc::clone(&hands));
    let main = Lane::new("main").workers(WORKERS).waiting(WORKERS);
    let server = Server::new("it", "1.0.0").lane(main).pool(&pool).tool(
        "play",
        "Plays a script.",
        move |cx: &mut RequestContext, args: Value| {
            let which = args["which"].as_u64().expect("a number") as usize;
            play(cx, &claimed, &counted, &scripts[which].0)
        },
    );
    let (served, mut client) = Served::pipe(server);
    // A cancellation comes two calls later, when its call may be anywhere.
    for which in 0..count + 2 {
        if which < count {
            client.send(&call(which, "play", json!({ "which": which })));
        }
        if which >= 2 && cancelled[which - 2] {
            client.send(&cancel(which - 2));
        }
    }
    served.until_main("everybody has ended", |main| {
        main.done + main.panicked + main.cancelled == count as u64
    });
    let report = pool.list();
    assert!(report.waiting.is_empty(), "{report:?}");
    let held = report
        .resources
        .iter()
        .find(|place| place.claimed.is_some());
    assert!(held.is_none(), "{report:?}");
    assert_eq!(hands.shared.load(Ordering::SeqCst), 0, "two had the same");
    client.close();
    let answers = client.rest().len();
    let never = cancelled.iter().filter(|yes| **yes).count();
    assert!((count - never..=count).contains(&answers), "{answers}");
    served.stop();
}

#[test]
fn two_calls_never_share_a_resource_and_nobody_who_waits_is_forgotten() {
    let config = Config {
        cases: 48,
        failure_persistence: None,
        ..Config::default()
    };
    proptest!(config, |(scripts in vec(script(), 1..24))| run(scripts));
}
