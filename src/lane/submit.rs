//! How work is handed in to a lane, now or by a ticket later.
//!
//! A lane is a bulkhead: what happens on one cannot use up another. Submitting never waits; a full lane gives the item back at once. Must not know what an
//! item means.

use std::convert::Infallible;
use std::mem;
use std::sync::atomic::Ordering;
use std::sync::{Arc, RwLock};

use crossbeam_channel::{Receiver, Sender};

use crate::lane::worker::{SharedLane, WorkItem};

/// A lane at work. Owns its threads; [`close`](RunningLane::close) ends them.
pub(crate) struct RunningLane<W: WorkItem> {
    pub(super) shared: Arc<SharedLane<W>>,
    /// `None` once closed. An item is sent under the lock, so each one was sent before the close, and is run, or is given back.
    pub(super) submit: RwLock<Option<Sender<W>>>,
    /// Disconnects once every worker has left its loop.
    pub(super) left: Receiver<Infallible>,
}

pub(super) const SENDING: &str = "no code panics while it hands in an item";

/// Why a lane takes no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaneRefusal {
    Full,
    Closed,
    /// Every worker is wedged.
    Wedged,
}

/// The right to hand in one item later that has been accepted now: the lane does not end before it has come, or this is dropped.
pub(crate) struct Ticket<W: WorkItem> {
    resume: Sender<W>,
    shared: Arc<SharedLane<W>>,
    /// Whether it has a permit already.
    has_permit: bool,
}

impl<W: WorkItem> Ticket<W> {
    /// Another one, for the same item when it has run and comes back.
    pub(crate) fn another(&self) -> Self {
        Ticket {
            resume: self.resume.clone(),
            shared: Arc::clone(&self.shared),
            has_permit: false,
        }
    }

    /// The same with a permit: what waits for its lane elsewhere takes a place of its queue.
    pub(crate) fn hold(mut self) -> Self {
        self.shared.permits.take_anyway();
        self.has_permit = true;
        self
    }

    /// Hands the item in. Never waits, never refused.
    pub(crate) fn submit(mut self, item: W) {
        if !mem::take(&mut self.has_permit) {
            self.shared.permits.take_anyway();
        }
        // The workers hold the other end for as long as this one lives.
        let _workers_live = self.resume.send(item);
    }
}

impl<W: WorkItem> Drop for Ticket<W> {
    fn drop(&mut self) {
        if self.has_permit {
            self.shared.permits.give_back();
        }
    }
}

impl<W: WorkItem> RunningLane<W> {
    /// Hands an item to a worker, or gives it back at once, so that its owner can answer for it.
    pub(crate) fn try_submit(&self, item: W) -> Result<(), (LaneRefusal, W)> {
        let submit = self.submit.read().expect(SENDING);
        match self.admit(&submit) {
            Ok(submit) => {
                // The workers' end lives as long as this lane.
                let _workers_live = submit.send(item);
                Ok(())
            }
            Err(refusal) => Err((refusal, item)),
        }
    }

    /// Takes a permit. Or why there is none, which is counted.
    fn admit<'a>(&self, submit: &'a Option<Sender<W>>) -> Result<&'a Sender<W>, LaneRefusal> {
        let refusal = match submit {
            None => LaneRefusal::Closed,
            // One that comes when the last worker has just been found wedged is turned away by the next look.
            Some(_) if self.is_wedged() => LaneRefusal::Wedged,
            Some(_) if !self.shared.permits.take() => LaneRefusal::Full,
            Some(submit) => return Ok(submit),
        };
        self.shared.refused.fetch_add(1, Ordering::Relaxed);
        Err(refusal)
    }

    /// The right to hand in an item that is accepted now and waits elsewhere first. `None` when the lane is closed.
    pub(crate) fn ticket(&self) -> Option<Ticket<W>> {
        let submit = self.submit.read().expect(SENDING);
        Some(Ticket {
            resume: submit.as_ref()?.clone(),
            shared: Arc::clone(&self.shared),
            has_permit: false,
        })
    }

    /// The same with a permit, if there is one.
    pub(crate) fn reserve(&self) -> Result<Ticket<W>, LaneRefusal> {
        let submit = self.submit.read().expect(SENDING);
        Ok(Ticket {
            resume: self.admit(&submit)?.clone(),
            shared: Arc::clone(&self.shared),
            has_permit: true,
        })
    }

    /// Whether no worker is left that could take an item.
    pub(super) fn is_wedged(&self) -> bool {
        self.shared.living.load(Ordering::Relaxed) == 0
    }
}
