//! The table of a pool: its places and its line under one lock, and what has to happen around them without it.
//!
//! To register as a waiter and to look again is one step under the lock. An external lock is given back between two steps: a place is *leaving* meanwhile and
//! nobody's. Must not know what lies in a place.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};

use crate::base::cancel::CancellationToken;
use crate::base::life::Span;
use crate::base::lock::Lock;
use crate::base::log;
use crate::base::waiting::after;
use crate::pool::aside::AsideThreads;
use crate::pool::external::ExternalLock;
use crate::pool::holder::Holder;
use crate::pool::places::{Failed, Grant, Occupancy, PoolState, Want};
use crate::pool::report::PoolReport;

/// A pool, whatever lies in its places.
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
    pub(super) warn_after: Option<Duration>,
    pub(super) lease: Option<Duration>,
    pub(super) lock: Option<Arc<dyn ExternalLock>>,
    /// How often an external lock is asked for that somebody else has.
    pub(super) poll: Duration,
    /// How long to wait after a resource could not be made: at first, and at most.
    pub(super) back_off: [Duration; 2],
}

/// Why a grant could not be used.
pub(super) enum NotLocked {
    /// Somebody else has the external lock: back into the line.
    Elsewhere,
    /// It cannot be known.
    Failed(String),
}

/// A place in the line; dropped, it is given up, with whatever it has got.
pub(super) struct InLine {
    table: Arc<PoolTable>,
    ticket: u64,
    pub(super) woken: Receiver<()>,
}

/// How often those who wait look at a pool that no server looks over.
const UNSWEPT_INTERVAL: Duration = Duration::from_millis(250);

impl PoolTable {
    pub(super) fn new(name: &str, places: impl Iterator<Item = Arc<str>>) -> Arc<Self> {
        let state = PoolState::new(places);
        Arc::new(PoolTable {
            name: name.into(),
            // As many checks as there are places may run, and as much may hang.
            aside: AsideThreads::new(2 * state.places.len()),
            state: Lock::new(state),
            rules: Lock::new(PoolSettings {
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

    fn rules(&self) -> PoolSettings {
        self.rules.lock().clone()
    }

    /// A server will call [`sweep`](Self::sweep) now and then.
    pub(crate) fn is_swept(&self) {
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

    pub(super) fn holders(&self, want: &Want, with_times: bool) -> String {
        self.state.lock().holders(want, with_times)
    }

    /// Takes the external lock of a place that has been granted, unless it is ours already.
    pub(super) fn take_lock(
        self: &Arc<Self>,
        grant: Grant,
        line: &InLine,
        label: &str,
    ) -> Result<(), NotLocked> {
        let PoolSettings { lock, poll, .. } = self.rules();
        let Some(lock) = lock else { return Ok(()) };
        let name = {
            let place = &self.state.lock().places[grant.place];
            if place.is_locked {
                return Ok(());
            }
            Arc::clone(&place.name)
        };
        match lock.try_lock(&name, label) {
            Ok(true) => {
                let mut state = self.state.lock();
                if state.holding(grant).is_some() {
                    state.places[grant.place].is_locked = true;
                    return Ok(());
                }
                drop(state);
                lock.unlock(&name);
                Err(NotLocked::Failed("the claim was taken back".into()))
            }
            Ok(false) => {
                let holder = lock.holder(&name);
                let holder = holder.unwrap_or_else(|| "somebody outside of this server".into());
                let mut state = self.state.lock();
                let is_ours = state.holding(grant).is_some();
                if is_ours {
                    state.vacate(grant.place);
                    state.places[grant.place].elsewhere = Some(holder);
                }
                if let Some(waiter) = state.line.get_mut(&line.ticket) {
                    waiter.pause(grant.place, after(poll));
                }
                state.deal();
                Err(NotLocked::Elsewhere)
            }
            Err(error) => Err(NotLocked::Failed(error.to_string())),
        }
    }

    /// A resource has been made for this claim. `false` when that is no longer good.
    pub(super) fn made(&self, grant: Grant) -> bool {
        let mut state = self.state.lock();
        let is_good = state.holding(grant).is_some();
        if is_good {
            let place = &mut state.places[grant.place];
            place.is_made = true;
            place.failed = None;
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
        let place = &mut state.places[grant.place];
        let times = place.failed.as_ref().map_or(0, |failed| failed.times);
        let wait = least.saturating_mul(1 << times.min(20)).min(most);
        place.failed = Some(Failed {
            problem: problem.into(),
            times: times + 1,
            again: after(wait),
        });
        // Those who wait have to know when to look again.
        state.wake_all();
    }

    /// Ends the use of a place: it stays with what it is kept for, or becomes free. `put` puts the resource back, if there is one to put back, and runs under the
    /// lock. `false`, and nothing has happened, when the claim has been taken back.
    pub(super) fn give_back(self: &Arc<Self>, grant: Grant, put: Option<impl FnOnce()>) -> bool {
        let mut state = self.state.lock();
        if state.holding(grant).is_none() {
            return false;
        }
        let place = &mut state.places[grant.place];
        place.is_made = put.is_some();
        if let Some(put) = put {
            put();
        }
        let leaving = state.end_use(grant.place);
        state.deal();
        drop(state);
        self.unlock(leaving);
        true
    }

    /// Gives back the external locks of these places, which are free then.
    fn unlock(&self, leaving: impl IntoIterator<Item = usize>) {
        for at in leaving {
            let name = Arc::clone(&self.state.lock().places[at].name);
            if let Some(lock) = self.rules().lock {
                lock.unlock(&name);
            }
            let mut state = self.state.lock();
            state.places[at].is_locked = false;
            state.places[at].occupancy = Occupancy::Free;
            state.deal();
        }
    }

    /// Changes a claim that is still good.
    pub(super) fn change<R>(
        &self,
        grant: Grant,
        change: impl FnOnce(&mut crate::pool::places::Holding) -> R,
    ) -> Option<R> {
        self.state.lock().holding(grant).map(change)
    }

    /// Takes back everything that a call uses, whatever it is kept for: its thread will not return.
    pub(crate) fn forfeit(self: &Arc<Self>, call: &CancellationToken) {
        self.take_back(|_, user| user.is_call(call));
    }

    /// Takes back everything that is held by this one.
    pub(super) fn release(self: &Arc<Self>, owner: &Holder) -> usize {
        self.take_back(|holder, user| holder == owner || user == owner)
    }

    fn take_back(self: &Arc<Self>, is_wanted: impl Fn(&Holder, &Holder) -> bool) -> usize {
        let mut state = self.state.lock();
        let wanted: Vec<usize> = (0..state.places.len())
            .filter(|at| {
                let holding = state.places[*at].holding();
                holding.is_some_and(|holding| is_wanted(holding.holder(), &holding.call))
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

    /// Frees what was kept for something that has ended, takes back what has been held longer than its lease, and warns of what is held long.
    pub(crate) fn sweep(self: &Arc<Self>) {
        let PoolSettings {
            warn_after, lease, ..
        } = self.rules();
        let mut lines = Vec::new();
        let mut leaving = Vec::new();
        let mut is_changed = false;
        let mut state = self.state.lock();
        for at in 0..state.places.len() {
            let place = &mut state.places[at];
            let name = Arc::clone(&place.name);
            let is_kept = matches!(place.occupancy, Occupancy::Kept(_));
            let Some(holding) = place.holding_mut() else {
                continue;
            };
            let held_for = holding.since.elapsed();
            let said = |what: &str, holding: &crate::pool::places::Holding| {
                let at: &Location<'_> = holding.at;
                let holder = holding.holder();
                let seconds = held_for.as_secs_f32();
                format!("{name} {what} by {holder} for {seconds:.1} s, claimed at {at}")
            };
            if lease.is_some_and(|lease| held_for >= lease) {
                lines.push(said("is taken back, its lease is over: held", holding));
                leaving.extend(state.take_back(at));
                is_changed = true;
                continue;
            }
            if !holding.is_warned && warn_after.is_some_and(|most| held_for >= most) {
                holding.is_warned = true;
                lines.push(said("has been held", holding));
            }
            if is_kept && holding.holder().is_over() {
                leaving.extend(state.vacate(at));
                is_changed = true;
            }
        }
        if is_changed {
            state.deal();
        }
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

    /// Looks again for what became free because time has passed, and not because anybody gave it back.
    pub(super) fn look_again(&self) {
        self.table.sweep();
        self.table.state.lock().deal();
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
            let soon = after(
                rules
                    .lease
                    .unwrap_or(UNSWEPT_INTERVAL)
                    .min(UNSWEPT_INTERVAL),
            );
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
            leaving = state.end_use(grant.place);
        }
        state.deal();
        drop(state);
        self.table.unlock(leaving);
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
