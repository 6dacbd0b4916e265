//! The table of a pool: its slots and its line under one lock, and what has to happen around them without it.
//!
//! To register as a waiter and to look again is one step under the lock. An external lock is given back between two steps: a slot is *leaving* meanwhile and
//! nobody's. Must not know what lies in a slot.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};

use crate::base::aside::AsideThreads;
use crate::base::cancel::CancellationToken;
use crate::base::life::Span;
use crate::base::lock::Lock;
use crate::base::log;
use crate::base::panics;
use crate::base::waiting::after;
use crate::pool::external::ExternalLock;
use crate::pool::holder::Holder;
use crate::pool::report::PoolReport;
use crate::pool::slots::{Failed, Grant, Holding, PoolState, ResourceSlot, Want};

/// A pool, whatever lies in its slots.
pub(crate) struct PoolTable {
    pub(crate) name: Arc<str>,
    state: Lock<PoolState>,
    rules: Lock<PoolSettings>,
    pub(super) aside: Arc<AsideThreads>,
    /// Whether a server looks it over from time to time.
    is_swept: AtomicBool,
}

/// What its author has set.
#[derive(Clone)]
pub(super) struct PoolSettings {
    pub(super) age_max: Option<Duration>,
    /// How long a check or a destructor may take.
    pub(super) patience: Duration,
    pub(super) warn_after: Option<Duration>,
    pub(super) lease: Option<Duration>,
    pub(super) lock: Option<Arc<dyn ExternalLock>>,
    /// How often an external lock is asked for that somebody else has.
    pub(super) poll: Duration,
    /// How long to wait after a resource could not be made: at first, and at most.
    pub(super) back_off: [Duration; 2],
}

/// A claim in the line; dropped, it is given up, with whatever it has got.
pub(super) struct InLine {
    table: Arc<PoolTable>,
    ticket: u64,
    pub(super) woken: Receiver<()>,
}

/// How often those who wait look at a pool that no server looks over.
const UNSWEPT_INTERVAL: Duration = Duration::from_millis(250);

impl PoolTable {
    pub(super) fn new(name: &str, slots: impl Iterator<Item = Arc<str>>) -> Arc<Self> {
        let state = PoolState::new(slots);
        Arc::new(PoolTable {
            name: name.into(),
            // As many checks as there are slots may run, and as much may hang.
            aside: AsideThreads::new("a resource", 2 * state.slots.len()),
            state: Lock::new(state),
            rules: Lock::new(PoolSettings {
                age_max: None,
                patience: Duration::from_secs(5),
                warn_after: None,
                lease: None,
                lock: None,
                poll: Duration::from_millis(200),
                back_off: [Duration::from_millis(100), Duration::from_secs(30)],
            }),
            is_swept: AtomicBool::new(false),
        })
    }

    pub(super) fn set(&self, set: impl FnOnce(&mut PoolSettings)) {
        set(&mut self.rules.lock());
    }

    pub(super) fn rules(&self) -> PoolSettings {
        self.rules.lock().clone()
    }

    /// A server will call [`sweep`](Self::sweep) now and then.
    pub(crate) fn mark_swept(&self) {
        self.is_swept.store(true, Ordering::Relaxed);
    }

    /// Joins the line, and gets at once what is free.
    pub(super) fn line_up(self: &Arc<Self>, want: Arc<Want>) -> InLine {
        self.sweep();
        let (wake, woken) = bounded(1);
        InLine {
            ticket: self.state.lock().line_up(want, wake),
            table: Arc::clone(self),
            woken,
        }
    }

    pub(super) fn holders(&self, want: &Want, said: fn(&ResourceSlot) -> String) -> String {
        self.state.lock().holders(want, said)
    }

    /// Takes the external lock of a slot that has been granted, unless it is ours already. `None` when somebody else has it: then the claim is back in the line.
    ///
    /// # Errors
    ///
    /// Why that cannot be known.
    pub(super) fn take_lock(
        self: &Arc<Self>,
        grant: Grant,
        line: &InLine,
        label: &str,
    ) -> Option<Result<(), String>> {
        let PoolSettings { lock, poll, .. } = self.rules();
        let Some(lock) = lock else {
            return Some(Ok(()));
        };
        let name = {
            let slot = &self.state.lock().slots[grant.slot];
            if slot.is_locked {
                return Some(Ok(()));
            }
            Arc::clone(&slot.name)
        };
        match lock.try_lock(&name, label) {
            Ok(true) => {
                let mut state = self.state.lock();
                if state.holding(grant).is_some() {
                    state.slots[grant.slot].is_locked = true;
                    return Some(Ok(()));
                }
                drop(state);
                lock.unlock(&name);
                Some(Err("the claim was taken back".into()))
            }
            Ok(false) => {
                let holder = lock.holder(&name);
                let holder = holder.unwrap_or_else(|| "somebody outside of this server".into());
                let mut state = self.state.lock();
                if state.holding(grant).is_some() {
                    state.vacate(grant.slot);
                    state.slots[grant.slot].elsewhere = Some(holder);
                }
                if let Some(waiter) = state.line.get_mut(&line.ticket) {
                    waiter.pause(grant.slot, after(poll));
                }
                state.deal();
                None
            }
            Err(error) => Some(Err(error.to_string())),
        }
    }

    /// A resource has been made for this claim. `false` when that is no longer good.
    pub(super) fn made(&self, grant: Grant) -> bool {
        let mut state = self.state.lock();
        let is_good = state.holding(grant).is_some();
        if is_good {
            let slot = &mut state.slots[grant.slot];
            slot.is_made = true;
            slot.failed = None;
        }
        is_good
    }

    /// It could not be made: the next try is later each time.
    pub(super) fn failed(&self, grant: Grant, problem: &str) {
        let [least, most] = self.rules().back_off;
        let mut state = self.state.lock();
        if state.holding(grant).is_none() {
            return;
        }
        let slot = &mut state.slots[grant.slot];
        let times = slot.failed.as_ref().map_or(0, |failed| failed.times);
        let wait = least.saturating_mul(1 << times.min(20)).min(most);
        slot.failed = Some(Failed {
            problem: problem.into(),
            times: times + 1,
            again: after(wait),
        });
        // Those who wait have to know when to look again.
        state.wake_all();
    }

    /// Ends the use of a slot: it stays with what it is kept for, or becomes free. `put` puts the resource back, if there is one to put back, and runs under the
    /// lock. `false`, and nothing has happened, when the claim has been taken back.
    pub(super) fn give_back(self: &Arc<Self>, grant: Grant, put: Option<impl FnOnce()>) -> bool {
        let mut state = self.state.lock();
        if state.holding(grant).is_none() {
            return false;
        }
        let slot = &mut state.slots[grant.slot];
        slot.is_made = put.is_some();
        if let Some(put) = put {
            put();
        }
        let leaving = state.end_use(grant.slot);
        state.deal();
        drop(state);
        self.unlock(leaving);
        true
    }

    /// Gives back the external locks of these slots, which are free then.
    fn unlock(&self, leaving: impl IntoIterator<Item = usize>) {
        for at in leaving {
            let name = Arc::clone(&self.state.lock().slots[at].name);
            if let Some(lock) = self.rules().lock {
                // Unwind safety: it may run in the destructor of a claim, while its handler panics; and the slot must not stay locked.
                if let Err(panic) = panics::catch(|| lock.unlock(&name)) {
                    log::error!(
                        "pool `{}`: giving back the lock of {name} panicked: {panic}",
                        self.name
                    );
                }
            }
            let mut state = self.state.lock();
            state.slots[at].is_locked = false;
            state.deal();
        }
    }

    /// Changes a claim that is still good.
    pub(super) fn change<R>(
        &self,
        grant: Grant,
        change: impl FnOnce(&mut Holding) -> R,
    ) -> Option<R> {
        self.state.lock().holding(grant).map(change)
    }

    /// Takes back everything that a call uses, whatever it is kept for: its thread will not return. What it has put down stays with what it is kept for.
    pub(crate) fn forfeit(self: &Arc<Self>, call: &CancellationToken) {
        self.take_back(|holding| holding.in_use && holding.call.is_call(call));
    }

    /// Takes back everything that is held by this one.
    pub(super) fn release(self: &Arc<Self>, owner: &Holder) -> usize {
        self.take_back(|holding| {
            holding.holder() == owner || (holding.in_use && holding.call == *owner)
        })
    }

    fn take_back(self: &Arc<Self>, is_wanted: impl Fn(&Holding) -> bool) -> usize {
        let mut state = self.state.lock();
        let wanted: Vec<usize> = (0..state.slots.len())
            .filter(|at| {
                let holding = state.slots[*at].holding.as_ref();
                holding.is_some_and(&is_wanted)
            })
            .collect();
        let leaving: Vec<usize> = wanted
            .iter()
            .filter_map(|at| state.take_back(*at))
            .collect();
        state.deal();
        drop(state);
        self.unlock_aside(leaving);
        wanted.len()
    }

    fn unlock_aside(self: &Arc<Self>, leaving: Vec<usize>) {
        if !leaving.is_empty() {
            let table = Arc::clone(self);
            self.aside.run(move || table.unlock(leaving));
        }
    }

    /// Hands out what is free by now: frees what was kept for something that has ended, takes back what has been held longer than its lease, and warns of what is held long.
    pub(crate) fn sweep(self: &Arc<Self>) {
        let PoolSettings {
            warn_after, lease, ..
        } = self.rules();
        let (mut lines, mut leaving) = (Vec::new(), Vec::new());
        let mut state = self.state.lock();
        for at in 0..state.slots.len() {
            let slot = &mut state.slots[at];
            let Some(holding) = &mut slot.holding else {
                continue;
            };
            let held_for = holding.since.elapsed();
            let is_past = |most: Option<Duration>| most.is_some_and(|most| held_for >= most);
            let is_kept_in_vain = !holding.in_use && holding.holder().is_over();
            let mut say = |what| lines.push(format!("{} {}", slot.name, holding.said(what)));
            if is_past(lease) {
                say("is taken back, its lease is over: held");
            } else if !holding.is_warned && is_past(warn_after) {
                say("has been held");
                holding.is_warned = true;
            }
            if is_past(lease) || is_kept_in_vain {
                leaving.extend(state.take_back(at));
            }
        }
        state.deal();
        drop(state);
        for line in lines {
            log::warn!("pool `{}`: {line}", self.name);
        }
        self.unlock_aside(leaving);
    }

    pub(super) fn report(self: &Arc<Self>) -> PoolReport {
        self.sweep();
        let state = self.state.lock();
        PoolReport {
            name: self.name.to_string(),
            resources: state.resources(),
            waiting: state.waiting(),
        }
    }

    /// What is held by what has this life, and for how long.
    pub(crate) fn held_by(self: &Arc<Self>, span: &Span) -> Vec<(Arc<str>, Duration)> {
        self.sweep();
        self.state.lock().held_by(span)
    }
}

impl InLine {
    /// What it has got.
    pub(super) fn got(&self) -> Option<Grant> {
        self.table.state.lock().line.get(&self.ticket)?.got
    }

    /// Leaves the line with what it has got.
    pub(super) fn leave_with(self, grant: Grant) {
        let left = self.table.state.lock().line.remove(&self.ticket);
        debug_assert!(left.is_some_and(|waiter| waiter.got == Some(grant)));
    }

    /// When to look again without having been woken.
    pub(super) fn next_look(&self) -> Instant {
        let rules = self.table.rules();
        let mut next = self.table.state.lock().next_look(self.ticket);
        if !self.table.is_swept.load(Ordering::Relaxed) {
            let interval = rules.lease.unwrap_or(UNSWEPT_INTERVAL);
            let soon = after(interval.min(UNSWEPT_INTERVAL));
            next = Some(next.map_or(soon, |next| next.min(soon)));
        }
        next.unwrap_or_else(|| after(Duration::MAX))
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        let mut state = self.table.state.lock();
        let left = state.line.remove(&self.ticket);
        let mut leaving = None;
        // It has got something and not noticed.
        if let Some(grant) = left.and_then(|waiter| waiter.got)
            && state.holding(grant).is_some()
        {
            leaving = state.end_use(grant.slot);
        }
        state.deal();
        drop(state);
        self.table.unlock(leaving);
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
