//! What a lane takes, refuses, counts, and leaves behind.

use std::sync::OnceLock;
use std::time::Duration;

use crossbeam_channel::{Sender, never, unbounded};

use super::*;
use crate::base::pulse::Pulse;
use crate::lane::submit::LaneRefusal;
use crate::lane::worker::{Running, Silence, WorkEnd};

/// Says that it has begun, and waits until it is let go.
pub(in crate::lane) struct Gate {
    began: Sender<u32>,
    go: Receiver<()>,
    returned: Sender<()>,
    pub(in crate::lane) seen: AtGate,
    pub(in crate::lane) stale: bool,
    /// Dropped before it runs, it panics.
    pub(in crate::lane) bursts: bool,
}

/// An item at the gate, as others see it.
#[derive(Clone)]
pub(in crate::lane) struct AtGate {
    pub(in crate::lane) number: u32,
    pub(in crate::lane) pulse: Arc<Pulse>,
    pub(in crate::lane) given_up: Arc<OnceLock<String>>,
    /// What the watchdog has done, and how long it had been silent then.
    pub(in crate::lane) told: Sender<(u32, Told, Duration)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::lane) enum Told {
    Stalled,
    GivenUp,
    TurnedAway,
}

impl PartialEq<u32> for AtGate {
    fn eq(&self, number: &u32) -> bool {
        self.number == *number
    }
}

impl std::fmt::Debug for AtGate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.number)
    }
}

impl AtGate {
    fn tell(&self, told: Told, silent_for: Duration) {
        let _test_is_over = self.told.send((self.number, told, silent_for));
    }
}

impl Running for AtGate {
    fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    fn given_up(&self) -> Option<&str> {
        self.given_up.get().map(String::as_str)
    }

    fn stall(self, silence: &Silence<'_>) {
        self.tell(Told::Stalled, silence.silent_for);
    }

    fn abandon(self, silence: &Silence<'_>) {
        self.tell(Told::GivenUp, silence.silent_for);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        assert!(!self.bursts, "a capture panics when it is dropped");
    }
}

impl WorkItem for Gate {
    type Running = AtGate;

    fn is_stale(&self) -> bool {
        self.stale
    }

    fn turn_away(self, _: &str) {
        self.seen.tell(Told::TurnedAway, Duration::ZERO);
    }

    fn begin(self) -> (AtGate, impl FnOnce(&dyn Fn()) -> WorkEnd) {
        (self.seen.clone(), move |returned: &dyn Fn()| {
            self.run(returned)
        })
    }
}

impl Gate {
    fn run(self, returned: &dyn Fn()) -> WorkEnd {
        self.began.send(self.seen.number).expect("the test listens");
        assert!(
            self.go.recv().is_ok(),
            "let go by dropping the sender: panic"
        );
        if !self.seen.pulse.try_end() {
            return WorkEnd::GivenUp;
        }
        returned();
        let _nobody_counts = self.returned.send(());
        WorkEnd::Done
    }
}

pub(in crate::lane) struct Bench {
    pub(in crate::lane) lane: RunningLane<Gate>,
    pub(in crate::lane) began: (Sender<u32>, Receiver<u32>),
    pub(in crate::lane) go: (Sender<()>, Receiver<()>),
    returned: (Sender<()>, Receiver<()>),
    pub(in crate::lane) told: (Sender<End>, Receiver<End>),
}

/// Which item ended, how, and what it was told of its time.
type End = (u32, Told, Duration);

impl Bench {
    fn new(workers: usize, queue: usize) -> Self {
        Bench::of(Lane::new("test").workers(workers).queue(queue))
    }

    pub(in crate::lane) fn of(lane: Lane) -> Self {
        Bench {
            lane: RunningLane::start(lane).expect("threads can be started"),
            began: unbounded(),
            go: unbounded(),
            returned: unbounded(),
            told: unbounded(),
        }
    }

    pub(in crate::lane) fn item(&self, number: u32) -> Gate {
        Gate {
            began: self.began.0.clone(),
            go: self.go.1.clone(),
            returned: self.returned.0.clone(),
            seen: AtGate {
                number,
                pulse: Arc::default(),
                given_up: Arc::default(),
                told: self.told.0.clone(),
            },
            stale: false,
            bursts: false,
        }
    }

    /// Submits to an idle worker.
    pub(in crate::lane) fn start(&self, number: u32) {
        let submitted = self.lane.try_submit(self.item(number));
        assert!(submitted.is_ok(), "a worker is idle");
        assert_eq!(self.began.1.recv(), Ok(number));
    }

    /// How many of so many items it takes.
    pub(in crate::lane) fn offer(&self, count: u32) -> u32 {
        let offers = (0..count).map(|number| self.lane.try_submit(self.item(number)));
        offers.map(|taken| u32::from(taken.is_ok())).sum()
    }

    /// Lets so many handlers return, and waits until they have.
    pub(in crate::lane) fn let_return(&self, count: u32) {
        for _ in 0..count {
            self.go.0.send(()).expect("the items listen");
        }
        for _ in 0..count {
            let returned = self.returned.1.recv_timeout(Duration::from_secs(60));
            returned.expect("it returns");
        }
    }
}

pub(in crate::lane) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

#[test]
fn law_2_a_full_lane_gives_the_job_back_at_once() {
    let bench = Bench::new(1, 1);
    bench.start(1);
    assert!(bench.lane.try_submit(bench.item(2)).is_ok());
    let Err((LaneRefusal::Full, back)) = bench.lane.try_submit(bench.item(3)) else {
        panic!("one runs and one waits: there is no room for a third");
    };
    assert_eq!(back.seen.number, 3);
    let stats = bench.lane.meter()();
    assert_eq!((stats.busy, stats.queued, stats.refused), (1, 1, 1));
    for _ in 0..2 {
        bench.go.0.send(()).expect("the items listen");
    }
    assert_eq!(bench.lane.close(soon(), &never()), 0);
    assert_eq!(bench.lane.meter()().done, 2);
}

#[test]
fn a_stale_job_is_dropped_before_it_runs() {
    let bench = Bench::new(1, 2);
    bench.start(1);
    let mut stale = bench.item(2);
    stale.stale = true;
    assert!(bench.lane.try_submit(stale).is_ok());
    bench.go.0.send(()).expect("the item listens");
    assert_eq!(bench.lane.close(soon(), &never()), 0);
    assert!(bench.began.1.try_recv().is_err());
    assert_eq!(bench.lane.meter()().cancelled, 1);
}

#[test]
fn law_8_a_stale_job_that_panics_when_it_is_dropped_leaves_its_worker_alive() {
    let bench = Bench::new(1, 2);
    bench.start(1);
    let mut stale = bench.item(2);
    (stale.stale, stale.bursts) = (true, true);
    assert!(bench.lane.try_submit(stale).is_ok());
    bench.go.0.send(()).expect("the item listens");
    bench.start(3);
    let stats = bench.lane.meter()();
    assert_eq!((stats.workers, stats.cancelled, stats.busy), (1, 1, 1));
    bench.go.0.send(()).expect("the item listens");
    assert_eq!(bench.lane.close(soon(), &never()), 0);
    assert_eq!(bench.lane.meter()().workers, 0, "none lives on");
}

#[test]
fn law_8_a_panicking_job_leaves_its_worker_alive() {
    let mut bench = Bench::new(1, 1);
    bench.start(1);
    bench.go = unbounded();
    bench.start(2);
    assert_eq!(bench.lane.running(), [2]);
    bench.go.0.send(()).expect("the item listens");
    assert_eq!(bench.lane.close(soon(), &never()), 0);
    let stats = bench.lane.meter()();
    assert_eq!((stats.panicked, stats.done, stats.busy), (1, 1, 0));
}

#[test]
fn law_12_emptying_the_queue_of_a_closed_lane_leaves_no_worker_behind() {
    let bench = Bench::new(2, 2);
    bench.start(1);
    bench.start(2);
    assert!(bench.lane.try_submit(bench.item(3)).is_ok());
    assert_eq!(bench.lane.close(Instant::now(), &never()), 2);
    let queued = bench.lane.take_queued();
    assert_eq!((queued.len(), bench.lane.meter()().cancelled), (1, 1));
    for _ in 0..2 {
        bench.go.0.send(()).expect("the items listen");
    }
    assert_eq!(bench.lane.close(soon(), &never()), 0);
}

#[test]
fn a_worker_that_does_not_return_is_counted_at_the_deadline() {
    let bench = Bench::new(2, 0);
    bench.start(1);
    assert_eq!(
        bench
            .lane
            .close(Instant::now() + Duration::from_millis(1), &never()),
        1
    );
    assert!(matches!(
        bench.lane.try_submit(bench.item(2)),
        Err((LaneRefusal::Closed | LaneRefusal::Full, _))
    ));
    drop(bench.go.0);
}

#[test]
fn law_15_a_ticket_is_a_promise_that_a_closing_lane_keeps() {
    let bench = Bench::new(1, 1);
    let ticket = bench.lane.reserve().expect("there is a permit");
    let other = bench.lane.reserve().expect("there is one more");
    let full = bench.lane.reserve();
    assert!(matches!(full, Err(LaneRefusal::Full)), "both are promised");
    drop(other);
    bench.lane.refuse_more();
    assert!(matches!(bench.lane.reserve(), Err(LaneRefusal::Closed)));
    ticket.submit(bench.item(7));
    assert_eq!(
        bench.began.1.recv_timeout(Duration::from_secs(60)),
        Ok(7),
        "it runs all the same"
    );
    bench.go.0.send(()).expect("it waits");
    let left_behind = bench.lane.close(soon(), &never());
    assert_eq!((left_behind, bench.lane.shared.stats().done), (0, 1));
}

#[test]
fn a_lane_does_not_wait_for_a_ticket_that_was_given_up() {
    let bench = Bench::new(1, 1);
    let ticket = bench.lane.ticket();
    bench.lane.refuse_more();
    drop(ticket);
    assert_eq!(bench.lane.close(soon(), &never()), 0);
}

/// However close together they come, each wakes a worker.
#[test]
fn law_15_nothing_waits_while_a_worker_is_idle() {
    for _ in 0..100 {
        let bench = Bench::new(4, 4);
        for number in 0..4 {
            assert!(bench.lane.try_submit(bench.item(number)).is_ok());
        }
        let mut began: Vec<_> = (0..4)
            .map(|_| bench.began.1.recv_timeout(Duration::from_secs(60)))
            .collect();
        began.sort_unstable_by_key(|number| number.unwrap_or(u32::MAX));
        assert_eq!(began, [Ok(0), Ok(1), Ok(2), Ok(3)], "each has its worker");
        drop(bench.go.0);
        assert_eq!(bench.lane.close(soon(), &never()), 0);
    }
}

/// Exactly, from the moment it is there, and again when all handlers have returned, whether their workers have come so far or not.
#[test]
fn law_2_a_lane_takes_as_much_as_its_queue_and_its_idle_workers_hold() {
    for (workers, queue) in [(4, 4), (4, 0), (1, 0), (2, 1)] {
        let most = u32::try_from(workers + queue).expect("few");
        for _ in 0..25 {
            let bench = Bench::new(workers, queue);
            for _ in 0..3 {
                assert_eq!(bench.offer(most + 4), most, "{workers} and {queue}");
                bench.let_return(most);
            }
            assert_eq!(bench.lane.close(soon(), &never()), 0);
        }
    }
}

#[test]
fn law_2_without_a_queue_no_more_is_taken_at_once_than_there_are_idle_workers() {
    for _ in 0..100 {
        let bench = Bench::new(2, 0);
        let taken: u32 = thread::scope(|scope| {
            let offers: Vec<_> = (0..4).map(|_| scope.spawn(|| bench.offer(1))).collect();
            let taken = offers.into_iter().map(|offer| offer.join());
            taken.map(|taken| taken.expect("no panic")).sum()
        });
        assert_eq!(taken, 2);
        drop(bench.go.0);
        assert_eq!(bench.lane.close(soon(), &never()), 0);
    }
}

/// Whatever has had a permit, and however it has gone: given out, given up, turned away, taken out, come back.
#[test]
fn law_2_a_place_is_lost_in_no_way_and_never_given_back_twice() {
    let bench = Bench::new(2, 2);
    drop(bench.lane.reserve().expect("there is a permit"));
    let ticket = bench.lane.reserve().expect("there is a permit");
    let again = bench.lane.ticket().expect("it is open");
    assert_eq!(bench.offer(9), 3, "one is promised");
    ticket.submit(bench.item(8));
    again.submit(bench.item(9));
    assert_eq!(bench.offer(1), 0);
    for _ in 0..2 {
        bench.began.1.recv().expect("two workers");
    }
    let taken_out = bench.lane.take_queued();
    assert_eq!((taken_out.len(), bench.offer(9)), (3, 2));
    bench.let_return(4);
    let mut stale = bench.item(7);
    stale.stale = true;
    assert!(bench.lane.try_submit(stale).is_ok());
    let cancelled = || bench.lane.meter()().cancelled;
    while cancelled() < 4 {
        thread::yield_now();
    }
    assert_eq!(bench.offer(9), 4);
    drop(bench.go.0);
    assert_eq!(bench.lane.close(soon(), &never()), 0);
}
