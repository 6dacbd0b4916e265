//! The queue of a lane: what waits for a worker, and the workers that wait for something to do.
//!
//! Who hands something in wakes a worker that sleeps, but not while one is on its way already: that one wakes the next, if there is more than it takes. So
//! nothing waits while a worker sleeps and none comes, and a burst of short calls costs a wake-up or two, for a worker that is awake takes the next
//! one anyway. One lock, held for as long as it takes to move an item. Must not know what waits, or what a worker does with it.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Condvar, MutexGuard};

use crate::base::lock::{HELD, Lock};
use crate::base::waiting::look_and_yield;

/// Why a lane takes no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaneRefusal {
    Full,
    Closed,
    /// Every worker is wedged.
    Wedged,
}

/// The queue of one lane.
pub(super) struct WorkQueue<W> {
    /// How many may wait that have been submitted; with 0, as many as workers are idle.
    len_max: usize,
    state: Lock<WorkQueueState<W>>,
    /// Signalled for a worker that sleeps.
    wake: Condvar,
}

struct WorkQueueState<W> {
    submitted: VecDeque<W>,
    /// What was accepted before and goes on: a call whose turn has come, a background job. Bounded where it waited, and goes first.
    resumed: VecDeque<W>,
    /// How many may yet be resumed, and how many of these have a place promised to them.
    tickets: usize,
    promised: usize,
    /// Nothing more is submitted.
    closed: bool,
    /// Workers that look for something to do. Of these, those that sleep; and whether one of those has been woken and has not come yet.
    idle: usize,
    sleeping: usize,
    waking: bool,
}

impl<W> WorkQueue<W> {
    pub(super) fn new(len_max: usize) -> Self {
        WorkQueue {
            len_max,
            state: Lock::new(WorkQueueState {
                submitted: VecDeque::new(),
                resumed: VecDeque::new(),
                tickets: 0,
                promised: 0,
                closed: false,
                idle: 0,
                sleeping: 0,
                waking: false,
            }),
            wake: Condvar::new(),
        }
    }

    /// Takes an item, or gives it back at once.
    pub(super) fn submit(&self, item: W) -> Result<(), (LaneRefusal, W)> {
        let mut state = self.state.lock();
        if state.closed {
            return Err((LaneRefusal::Closed, item));
        }
        let is_full = match self.len_max {
            0 => state.len() >= state.idle,
            most => state.submitted.len() >= most,
        };
        if is_full {
            return Err((LaneRefusal::Full, item));
        }
        state.submitted.push_back(item);
        self.settle(state);
        Ok(())
    }

    /// Notes that an item may be [resumed](Self::resume), with a place in the queue if it `needs_place`.
    pub(super) fn admit(&self, needs_place: bool) -> Result<(), LaneRefusal> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(LaneRefusal::Closed);
        }
        if needs_place && state.resumed.len() + state.promised >= self.len_max.max(1) {
            return Err(LaneRefusal::Full);
        }
        state.tickets += 1;
        state.promised += usize::from(needs_place);
        Ok(())
    }

    /// Ends what [`admit`](Self::admit) began, with the item if there is one.
    pub(super) fn resume(&self, item: Option<W>, had_place: bool) {
        let mut state = self.state.lock();
        state.tickets -= 1;
        state.promised -= usize::from(had_place);
        state.resumed.extend(item);
        self.settle(state);
    }

    /// Takes no more. What waits is still taken out, and then the workers are sent home.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        self.settle(state);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.state.lock().len()
    }

    /// Takes out everything that waits.
    pub(super) fn take_all(&self) -> Vec<W> {
        let mut state = self.state.lock();
        let mut all = mem::take(&mut state.submitted);
        all.append(&mut state.resumed);
        self.settle(state);
        all.into()
    }

    /// The next item for a worker, which waits for it. `None` when there will be none.
    pub(super) fn next(&self) -> Option<W> {
        let mut is_idle = false;
        let item = look_and_yield(|| {
            let mut state = self.state.lock();
            state.idle += usize::from(!mem::replace(&mut is_idle, true));
            let item = state.take();
            self.settle(state);
            item
        });
        if item.is_some() {
            return item;
        }
        let mut state = self.state.lock();
        loop {
            let item = state.take();
            if item.is_some() || state.is_over() {
                self.settle(state);
                return item;
            }
            state.sleeping += 1;
            while !state.waking && !state.is_over() {
                state = self.wake.wait(state).expect(HELD);
            }
            state.waking = false;
        }
    }

    /// Wakes a worker if there is something to do for it and none is on its way; or all, if there will be nothing more.
    fn settle(&self, mut state: MutexGuard<'_, WorkQueueState<W>>) {
        if state.is_over() {
            self.wake.notify_all();
        } else if !state.waking && state.sleeping > 0 && state.len() > 0 {
            state.sleeping -= 1;
            state.waking = true;
            drop(state);
            self.wake.notify_one();
        }
    }
}

impl<W> WorkQueueState<W> {
    fn len(&self) -> usize {
        self.submitted.len() + self.resumed.len()
    }

    /// Hands an item to a worker that looked for one.
    fn take(&mut self) -> Option<W> {
        let item = self.resumed.pop_front();
        let item = item.or_else(|| self.submitted.pop_front())?;
        self.idle -= 1;
        Some(item)
    }

    /// Whether nothing waits and nothing will.
    fn is_over(&self) -> bool {
        self.closed && self.tickets == 0 && self.len() == 0
    }
}
