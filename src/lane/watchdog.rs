//! The watchdog of the lanes: it looks at every running item from time to time, and sees to it that one that gives no sign of life costs its lane no worker.
//!
//! It adds up *looks*, not time that has passed. Each look that finds nothing new is worth the interval it was planned after, and one that comes late (its
//! own thread was not run, the process or the machine was suspended) is worth nothing: what has not been run cannot be accused of silence. An item that
//! waits in the library itself is not charged for that look either. Past its liveness an item is told to leave; past the grace after that
//! it is given up, which is one compare-and-set against its worker's return, and then its slot is another worker's.
//!
//! How many slots change hands is bounded, in number and in rate: a server whose handlers all hang must not grow a thread for each call. Must not know
//! what an item means.

use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::base::clock::Due;
use crate::base::log;
use crate::lane::submit::RunningLane;
use crate::lane::worker::{Running, Silence, WorkItem};

/// The shortest and the longest interval between two looks while anybody has a liveness.
const INTERVALS: [Duration; 2] = [Duration::from_millis(5), Duration::from_secs(1)];

/// Looks in one liveness. The last one finds an item silent for at most so much longer.
const LOOKS: u32 = 8;

/// Between two looks at a lane with a worker that is wedged and could not be replaced.
const WEDGED_INTERVAL: Duration = Duration::from_millis(250);

/// Between two looks when nobody has a liveness: until somebody nudges the clock.
const IDLE_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// A look is late by more than its interval, and at least this.
const LATE: Duration = Duration::from_millis(50);

/// A lane replaces at most as many workers as it has in this time.
const RATE_WINDOW: Duration = Duration::from_secs(60);

/// The watchdog of all lanes of one server, kept by the clock's thread alone.
pub(crate) struct Watchdog {
    grace: Duration,
    /// What the next look is worth.
    interval: Duration,
    lanes: Vec<LaneWatch>,
}

/// What is remembered of one lane.
#[derive(Default)]
struct LaneWatch {
    slots: Vec<SlotWatch>,
    /// When its workers were replaced, within the window.
    replaced_at: VecDeque<Instant>,
    /// It has said that it replaces no more, and has not replaced any since.
    has_stopped: bool,
}

/// What is remembered of the item in one slot.
#[derive(Default)]
struct SlotWatch {
    item: u64,
    signs: u64,
    /// What the looks were worth since its last sign of life, or since it was told to leave.
    silent: Duration,
    /// The same when it was told.
    stalled_after: Duration,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Alive,
    /// It has been told to leave.
    Stalled,
    /// It has been ended, by the watchdog or by its worker.
    Over,
}

impl Watchdog {
    pub(crate) fn new(grace: Duration) -> Self {
        Watchdog {
            grace,
            interval: Duration::ZERO,
            lanes: Vec::new(),
        }
    }

    /// Looks at every running item. `shortest` is the shortest liveness that any may have. Says how soon to look again.
    pub(crate) fn look<W: WorkItem>(
        &mut self,
        lanes: &[RunningLane<W>],
        shortest: Option<Duration>,
        due: Due,
    ) -> Duration {
        let worth = worth(due, self.interval);
        self.lanes.resize_with(lanes.len(), LaneWatch::default);
        for (lane, watch) in lanes.iter().zip(&mut self.lanes) {
            watch.look(lane, worth, self.grace);
        }
        let next = self.next_interval(shortest);
        // A nudge that comes between two looks makes the next one worth less, never more.
        self.interval = match due {
            Due::Nudged => next.min(self.interval),
            Due::Late(_) => next,
        };
        next
    }

    fn next_interval(&self, shortest: Option<Duration>) -> Duration {
        let [least, most] = INTERVALS;
        let shortest = shortest.map(|liveness| (liveness / LOOKS).clamp(least, most));
        let is_any = |stage| {
            let mut slots = self.lanes.iter().flat_map(|lane| &lane.slots);
            slots.any(|watch| watch.stage == stage)
        };
        let grace = is_any(Stage::Stalled).then(|| (self.grace / 4).clamp(least, most));
        let has_stopped = self.lanes.iter().any(|lane| lane.has_stopped);
        let wedged = has_stopped.then_some(WEDGED_INTERVAL);
        let intervals = [shortest, grace, wedged].into_iter().flatten();
        intervals.min().unwrap_or(IDLE_INTERVAL)
    }
}

/// What a look is worth that was planned so long after its predecessor.
fn worth(due: Due, interval: Duration) -> Duration {
    match due {
        Due::Late(late) if late <= interval.max(LATE) => interval,
        Due::Late(_) | Due::Nudged => Duration::ZERO,
    }
}

impl LaneWatch {
    fn look<W: WorkItem>(&mut self, lane: &RunningLane<W>, worth: Duration, grace: Duration) {
        let shared = &lane.shared;
        let count = shared.slots.len();
        self.slots.resize_with(count, SlotWatch::default);
        let mut is_any_wedged = false;
        for index in 0..count {
            let held = shared.slots[index].0.lock();
            let Some(running) = &held.running else {
                self.slots[index] = SlotWatch::default();
                continue;
            };
            let (item, is_wedged) = (held.item, held.is_wedged);
            is_any_wedged |= is_wedged;
            let liveness = running.pulse().liveness.or(shared.lane.liveness);
            let entered = self.slots[index].look(item, running, liveness, worth, grace);
            let found = entered.map(|stage| (stage, running.clone(), held.thread_id));
            drop(held);
            match found {
                // There may be room by now.
                None if is_wedged => self.replace(lane, index, item),
                None => {}
                Some((stage, running, thread)) => {
                    let silence = Silence {
                        lane: &shared.lane.name,
                        silent_for: self.slots[index].silent_for(),
                        thread,
                    };
                    self.carry_out(stage, lane, (index, item), running, &silence);
                }
            }
        }
        if !is_any_wedged {
            self.has_stopped = false;
        }
        if lane.is_wedged() {
            lane.turn_away();
        }
    }

    /// Does what is due for the item in this slot, which has entered this stage.
    fn carry_out<W: WorkItem>(
        &mut self,
        stage: Stage,
        lane: &RunningLane<W>,
        (index, item): (usize, u64),
        running: W::Running,
        silence: &Silence<'_>,
    ) {
        match stage {
            Stage::Alive => {}
            Stage::Stalled => running.stall(silence),
            // Its worker has come back just now, and answers.
            Stage::Over if !running.pulse().try_end() => {}
            Stage::Over => {
                lane.shared.cancelled.fetch_add(1, Ordering::Relaxed);
                // Before its client can read the answer, so that the next call finds a worker.
                self.replace(lane, index, item);
                running.abandon(silence);
            }
        }
    }

    /// Gives the slot of an item that has been given up to another worker, if it may have one; else the slot is wedged until the handler returns.
    fn replace<W: WorkItem>(&mut self, lane: &RunningLane<W>, index: usize, item: u64) {
        let shared = &lane.shared;
        let refused = self.refused(lane);
        let mut held = shared.slots[index].0.lock();
        if held.item != item || held.running.is_none() {
            // Its handler has returned, and the worker lives on.
            return;
        }
        let generation = held.generation + 1;
        // Started under the lock: the first thing that the new worker does is to wait for it.
        let started = match refused {
            Some(why) => Err(why),
            None => lane
                .start_worker(index, generation)
                .map_err(|error| error.to_string()),
        };
        match started {
            Ok(thread) => {
                held.generation = generation;
                held.thread = Some(thread);
                let was = held.running.take();
                if mem::take(&mut held.is_wedged) {
                    shared.living.fetch_add(1, Ordering::Relaxed);
                }
                shared.abandoned.fetch_add(1, Ordering::Relaxed);
                shared.replaced.fetch_add(1, Ordering::Relaxed);
                shared.permits.give_back(); // that of the item, for the new worker has none
                drop(held);
                drop(was);
                self.replaced_at.push_back(Instant::now());
                self.has_stopped = false;
            }
            Err(why) => {
                if !mem::replace(&mut held.is_wedged, true) {
                    shared.living.fetch_sub(1, Ordering::Relaxed);
                }
                drop(held);
                if !mem::replace(&mut self.has_stopped, true) {
                    let name = &shared.lane.name;
                    log::error!("lane `{name}` replaces no more wedged workers: {why}");
                }
            }
        }
    }

    /// Why no worker of this lane may be replaced now, if so.
    fn refused<W: WorkItem>(&mut self, lane: &RunningLane<W>) -> Option<String> {
        while let Some(first) = self.replaced_at.front()
            && first.elapsed() > RATE_WINDOW
        {
            self.replaced_at.pop_front();
        }
        let most = lane.shared.lane.abandoned_max();
        let workers = lane.shared.slots.len();
        if lane.abandoned() >= most {
            return Some(format!(
                "{most} threads have been left behind, which is the most (`Lane::abandoned_workers_max`)"
            ));
        }
        (self.replaced_at.len() >= workers)
            .then(|| format!("it has {workers} workers, and has replaced as many within a minute"))
    }
}

impl SlotWatch {
    /// Takes in what a look has seen. The stage that the item has entered by it, if it has.
    fn look(
        &mut self,
        item: u64,
        running: &impl Running,
        liveness: Option<Duration>,
        worth: Duration,
        grace: Duration,
    ) -> Option<Stage> {
        let signs = running.pulse().signs();
        if self.item != item {
            *self = SlotWatch {
                item,
                signs,
                ..SlotWatch::default()
            };
        } else if self.stage == Stage::Stalled {
            self.silent += worth;
        } else if self.signs != signs {
            self.signs = signs;
            self.silent = Duration::ZERO;
        } else if !running.pulse().is_waiting() {
            self.silent += worth;
        }
        let entered = match self.stage {
            Stage::Over => return None,
            _ if running.given_up().is_some() => Stage::Over,
            Stage::Alive if liveness.is_some_and(|most| self.silent >= most) => {
                self.stalled_after = mem::take(&mut self.silent);
                Stage::Stalled
            }
            Stage::Stalled if self.silent >= grace => Stage::Over,
            Stage::Alive | Stage::Stalled => return None,
        };
        self.stage = entered;
        Some(entered)
    }

    fn silent_for(&self) -> Duration {
        self.stalled_after + self.silent
    }
}

#[cfg(test)]
mod tests;
