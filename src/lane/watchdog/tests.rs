//! The watchdog's looks, one by one: what they accuse, what they excuse, and how many workers they replace.

use std::panic::Location;
use std::sync::Arc;

use super::*;
use crate::base::pulse::ALIVE;
use crate::lane::Lane;
use crate::lane::submit::LaneRefusal;
use crate::lane::threads::tests::{AtGate, Bench, Told, soon};

const LIVENESS: Duration = Duration::from_millis(80);
const GRACE: Duration = Duration::from_millis(40);
/// What a look is worth with this liveness, whatever the grace.
const LOOK: Duration = Duration::from_millis(10);
const ON_TIME: Due = Due::Late(Duration::ZERO);
const PATIENCE: Duration = Duration::from_secs(60);

/// A lane at whose gate items stand, and its watchdog, which looks when it is told.
struct Watched {
    bench: Bench,
    watchdog: Watchdog,
}

impl Watched {
    fn new(workers: usize, change: impl FnOnce(Lane) -> Lane) -> Self {
        let lane = Lane::new("test").workers(workers).queue(4);
        let mut watched = Watched {
            bench: Bench::of(change(lane.liveness(LIVENESS))),
            watchdog: Watchdog::new(GRACE),
        };
        // The first one is worth nothing: nothing has been planned before.
        watched.look(ON_TIME);
        watched
    }

    fn look(&mut self, due: Due) -> Duration {
        let lanes = std::slice::from_ref(&self.bench.lane);
        self.watchdog.look(lanes, Some(LIVENESS), due)
    }

    fn look_times(&mut self, count: usize) {
        for _ in 0..count {
            self.look(ON_TIME);
        }
    }

    /// Starts an item and says how others see it.
    fn start(&self, number: u32) -> AtGate {
        self.bench.start(number);
        let running = self.bench.lane.running();
        let found = running.into_iter().find(|item| *item == number);
        found.expect("it runs")
    }

    fn told(&self) -> Option<(u32, Told)> {
        let told = self.bench.told.1.try_recv().ok();
        told.map(|(number, told, _)| (number, told))
    }

    /// Looks until nothing more can happen to what runs.
    fn wedge_all(&mut self) {
        self.look_times(1 + 8 + 4);
    }

    /// Threads, as the lane counts them: living, busy, abandoned, replaced.
    fn count(&self) -> (usize, usize, usize, u64) {
        let stats = self.bench.lane.meter()();
        (stats.workers, stats.busy, stats.abandoned, stats.replaced)
    }

    fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < deadline, "{what}: {:?}", self.count());
            std::thread::yield_now();
        }
    }

    fn let_go(&self, count: usize) {
        for _ in 0..count {
            self.bench.go.0.send(()).expect("the items listen");
        }
    }
}

#[test]
fn law_7_silence_is_counted_in_looks_from_the_last_sign_of_life() {
    let mut watched = Watched::new(1, |lane| lane);
    let item = watched.start(1);
    watched.look_times(8);
    assert_eq!(watched.told(), None, "the first look only meets it");
    item.pulse.beat(ALIVE, Location::caller());
    watched.look_times(8);
    assert_eq!(watched.told(), None, "it has begun anew");
    watched.look(ON_TIME);
    let told = watched.bench.told.1.try_recv();
    assert_eq!(told, Ok((1, Told::Stalled, LIVENESS)));
    // A sign of life comes too late now: it has been told to leave.
    item.pulse.beat(ALIVE, Location::caller());
    watched.look_times(3);
    assert_eq!(watched.told(), None);
    watched.look(ON_TIME);
    let told = watched.bench.told.1.try_recv();
    assert_eq!(told, Ok((1, Told::GivenUp, LIVENESS + GRACE)));
    watched.let_go(1);
}

/// The interleaving in which only the compare-and-set decides: a handler has returned after all, and its worker has not come to empty its slot yet.
#[test]
fn law_4_a_worker_that_has_returned_is_not_given_up_while_its_slot_is_full() {
    let mut watched = Watched::new(1, |lane| lane);
    let item = watched.start(1);
    watched.look_times(1 + 8);
    assert_eq!(watched.told(), Some((1, Told::Stalled)));
    assert!(item.pulse.try_end());
    watched.look_times(8);
    assert_eq!(watched.told(), None, "its worker answers");
    assert_eq!(watched.count(), (1, 1, 0, 0));
    watched.let_go(1);
}

#[test]
fn law_7_a_wait_in_the_library_pauses_the_count_and_does_not_reset_it() {
    let mut watched = Watched::new(1, |lane| lane);
    let item = watched.start(1);
    watched.look_times(1 + 7);
    let wait = item.pulse.begin_wait("its turn".into());
    watched.look_times(100);
    assert_eq!(watched.told(), None);
    item.pulse.end_wait(wait);
    watched.look(ON_TIME);
    assert_eq!(watched.told(), Some((1, Told::Stalled)));
    watched.let_go(1);
}

#[test]
fn law_7_a_look_that_comes_late_or_early_accuses_nobody() {
    let mut watched = Watched::new(1, |lane| lane);
    watched.start(1);
    watched.look_times(1 + 7);
    for _ in 0..100 {
        watched.look(Due::Late(3 * LIVENESS));
        watched.look(Due::Nudged);
    }
    assert_eq!(watched.told(), None);
    assert_eq!(watched.look(ON_TIME), LOOK, "as soon as the grace wants");
    assert_eq!(watched.told(), Some((1, Told::Stalled)));
    watched.let_go(1);
}

#[test]
fn law_7_what_has_no_liveness_is_never_accused() {
    let mut watched = Watched::new(1, |lane| lane);
    watched.bench = Bench::of(Lane::new("test").workers(1));
    let item = watched.start(1);
    watched.look_times(1000);
    assert_eq!(watched.told(), None);
    item.given_up
        .set("the engine is gone".into())
        .expect("it is said once");
    watched.look(Due::Nudged);
    assert_eq!(watched.told(), Some((1, Told::GivenUp)), "at once");
    assert_eq!(watched.count(), (1, 0, 1, 1));
    watched.let_go(1);
    watched.until("its thread has ended", |watched| watched.count().2 == 0);
}

#[test]
fn law_3_a_wedged_worker_is_replaced_and_the_lane_keeps_its_size() {
    let mut watched = Watched::new(2, |lane| lane);
    watched.start(1);
    watched.wedge_all();
    assert_eq!(watched.told(), Some((1, Told::Stalled)));
    assert_eq!(watched.told(), Some((1, Told::GivenUp)));
    assert_eq!(watched.count(), (2, 0, 1, 1), "before anybody is told");
    watched.start(2);
    watched.start(3);
    assert_eq!(watched.count(), (2, 2, 1, 1));
    assert_eq!(watched.bench.lane.running().len(), 2);
    watched.let_go(3);
    watched.until("the abandoned thread has ended", |watched| {
        watched.count() == (2, 0, 0, 1)
    });
    assert_eq!(watched.bench.offer(9), 2 + 4, "with a place for each");
    watched.let_go(6);
    let left = watched
        .bench
        .lane
        .close(soon(), &crossbeam_channel::never());
    let stats = watched.bench.lane.meter()();
    assert_eq!((left, stats.done, stats.cancelled), (0, 8, 1));
}

#[test]
fn law_3_the_abandoned_are_bounded_in_number_and_a_place_is_free_again_when_one_returns() {
    let mut watched = Watched::new(2, |lane| lane.abandoned_workers_max(1));
    watched.start(1);
    watched.start(2);
    assert!(watched.bench.lane.try_submit(watched.bench.item(3)).is_ok());
    watched.wedge_all();
    assert_eq!(watched.bench.began.1.recv_timeout(PATIENCE), Ok(3));
    assert_eq!(
        watched.count(),
        (1, 2, 1, 1),
        "one replaced, one wedged in its place, and a fresh one at work"
    );
    // Any of the three may return first: the wedged one goes on in its place, the abandoned one makes room to replace the wedged one.
    watched.let_go(3);
    watched.until("all have returned", |watched| {
        let (living, busy, abandoned, _) = watched.count();
        (living, busy, abandoned) == (2, 0, 0)
    });
    watched.look(ON_TIME);
    assert_eq!(watched.bench.offer(9), 2 + 4, "with a place for each");
    watched.let_go(6);
    let left = watched
        .bench
        .lane
        .close(soon(), &crossbeam_channel::never());
    assert_eq!(left, 0);
}

#[test]
fn law_3_a_lane_with_no_living_worker_refuses_what_comes_and_what_waits() {
    let mut watched = Watched::new(1, |lane| lane.abandoned_workers_max(0));
    watched.start(1);
    assert!(watched.bench.lane.try_submit(watched.bench.item(2)).is_ok());
    let ticket = watched.bench.lane.ticket().expect("it is open");
    watched.wedge_all();
    let told: Vec<_> = std::iter::from_fn(|| watched.told()).collect();
    let expected = [
        (1, Told::Stalled),
        (1, Told::GivenUp),
        (2, Told::TurnedAway),
    ];
    assert_eq!(told, expected);
    assert_eq!(watched.count(), (0, 1, 0, 0));
    let refused = watched.bench.lane.try_submit(watched.bench.item(3));
    assert!(matches!(refused, Err((LaneRefusal::Wedged, _))));
    let reserved = watched.bench.lane.reserve();
    assert!(matches!(reserved, Err(LaneRefusal::Wedged)));
    ticket.submit(watched.bench.item(4));
    watched.look(Due::Nudged);
    assert_eq!(watched.told(), Some((4, Told::TurnedAway)));
    // Its handler returns after all, and the lane is as it was.
    watched.let_go(1);
    watched.until("the worker lives", |watched| {
        watched.count() == (1, 0, 0, 0)
    });
    assert_eq!(watched.bench.offer(9), 1 + 4);
    watched.let_go(5);
    let left = watched
        .bench
        .lane
        .close(soon(), &crossbeam_channel::never());
    assert_eq!(left, 0);
}

#[test]
fn law_3_the_abandoned_are_bounded_in_rate() {
    let mut watched = Watched::new(1, |lane| lane.abandoned_workers_max(10));
    watched.start(1);
    watched.wedge_all();
    assert_eq!(watched.count(), (1, 0, 1, 1));
    watched.start(2);
    watched.wedge_all();
    assert_eq!(watched.count(), (0, 1, 1, 1), "one in a minute for one");
    // A minute later.
    let at = &mut watched.watchdog.lanes[0].replaced_at;
    let before = Instant::now().checked_sub(2 * RATE_WINDOW);
    at[0] = before.expect("the machine has run for two minutes");
    watched.look(Due::Nudged);
    assert_eq!(watched.count(), (1, 0, 2, 2), "it is made up for");
    watched.start(3);
    watched.let_go(3);
    watched.until("all threads have ended", |watched| watched.count().2 == 0);
}

/// A worker that comes back and the watchdog that gives it up meet again and again: one of them has the item, and no worker is lost.
#[test]
fn law_4_a_worker_that_returns_at_the_last_moment_answers_or_is_dropped() {
    let mut answered = [0, 0];
    for _ in 0..100 {
        let mut watched = Watched::new(1, |lane| lane);
        let item = watched.start(1);
        watched.look_times(1 + 8 + 3);
        assert_eq!(watched.told(), Some((1, Told::Stalled)));
        watched.let_go(1);
        watched.look(ON_TIME);
        let is_given_up = watched.told() == Some((1, Told::GivenUp));
        watched.until("it is settled", |watched| {
            watched.count().1 + watched.count().2 == 0
        });
        assert_eq!(watched.bench.offer(9), 1 + 4, "{is_given_up}");
        watched.let_go(5);
        let left = watched
            .bench
            .lane
            .close(soon(), &crossbeam_channel::never());
        let stats = watched.bench.lane.meter()();
        let done = u64::from(!is_given_up);
        assert_eq!((left, stats.done, stats.cancelled), (0, 5 + done, 1 - done));
        assert!(!item.pulse.try_end() && !item.pulse.try_end());
        assert_eq!(Arc::strong_count(&item.pulse), 1, "nobody keeps it");
        answered[usize::from(is_given_up)] += 1;
    }
    eprintln!("answered by the worker and by the watchdog: {answered:?}");
}
