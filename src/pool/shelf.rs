//! What lies in the slots of a pool: how a resource is made, looked after, put back and thrown away.
//!
//! Exclusive access: the holder of the claim on a slot has its slot alone. No lock is held while the embedder's code runs here. Must not know who waits.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::never;

use crate::base::cancel::CancellationToken;
use crate::base::lock::Lock;
use crate::pool::slots::Grant;
use crate::pool::table::{PoolSettings, PoolTable};

/// A pool with its resources.
pub(crate) struct Shelf<T, K> {
    pub(super) table: Arc<PoolTable>,
    pub(super) keys: Vec<K>,
    make: Box<MakeResource<T, K>>,
    slots: Vec<Lock<Option<Made<T>>>>,
    /// Whether it is still good; asked when it is claimed, not when it has just been made.
    check: Lock<Option<Arc<Check<T>>>>,
}

type MakeResource<T, K> = dyn Fn(&K) -> Result<T, String> + Send + Sync;

type Check<T> = dyn Fn(&mut T) -> bool + Send + Sync;

/// A resource, and since when there is it.
pub(super) struct Made<T> {
    pub(super) value: T,
    since: Instant,
}

impl<T: Send + 'static, K: Display> Shelf<T, K> {
    pub(super) fn new(
        name: &str,
        keys: Vec<K>,
        make: impl Fn(&K) -> Result<T, String> + Send + Sync + 'static,
    ) -> Self {
        Shelf {
            table: PoolTable::new(name, keys.iter().map(|key| key.to_string().into())),
            slots: keys.iter().map(|_| Lock::new(None)).collect(),
            keys,
            make: Box::new(make),
            check: Lock::new(None),
        }
    }
}

impl<T, K> Shelf<T, K> {
    /// Ends a claim. What it had goes back to its slot, or, when the claim has been taken back meanwhile, away.
    pub(super) fn give_back(&self, grant: Grant, made: Option<Made<T>>) -> Option<Made<T>> {
        let mut made = made;
        let is_whole = made.is_some();
        let put = || *self.slots[grant.slot].lock() = made.take();
        self.table.give_back(grant, is_whole.then_some(put));
        made
    }
}

impl<T: Send + 'static, K> Shelf<T, K> {
    pub(super) fn check_by(&self, check: Arc<Check<T>>) {
        *self.check.lock() = Some(check);
    }

    /// What lies in the slot that has been granted, if it is still good; else something new.
    ///
    /// # Errors
    ///
    /// Why nothing could be made.
    pub(super) fn take(&self, grant: Grant, call: &CancellationToken) -> Result<Made<T>, String> {
        let found = self.slots[grant.slot].lock().take();
        if let Some(good) = found.and_then(|found| self.checked(found, call)) {
            return Ok(good);
        }
        if self.table.aside.is_stuck() {
            return Err("as many as may hang hang while they are checked or closed".into());
        }
        let made = (self.make)(&self.keys[grant.slot]);
        match made {
            Ok(value) => {
                let since = Instant::now();
                let made = Made { value, since };
                if self.table.made(grant) {
                    return Ok(made);
                }
                self.abandon(made);
                Err("the claim was taken back while it was made".into())
            }
            Err(problem) => {
                self.table.failed(grant, &problem);
                Err(problem)
            }
        }
    }

    /// It, unless it is too old or its check fails, panics or hangs.
    fn checked(&self, mut found: Made<T>, call: &CancellationToken) -> Option<Made<T>> {
        let PoolSettings {
            age_max, patience, ..
        } = self.table.rules();
        if age_max.is_some_and(|most| found.since.elapsed() >= most) {
            self.throw_away(found);
            return None;
        }
        let Some(check) = self.check.lock().clone() else {
            return Some(found);
        };
        let checked = self.table.aside.ask(patience, call.channel(), move || {
            let is_good = check(&mut found.value);
            (found, is_good)
        });
        match checked? {
            (good, true) => Some(good),
            (bad, false) => {
                self.throw_away(bad);
                None
            }
        }
    }

    /// Drops it on another thread, after which a new one can be made, unless it hangs.
    pub(super) fn throw_away(&self, made: Made<T>) {
        let patience = self.table.rules().patience;
        let aside = &self.table.aside;
        let _dropped_or_left_behind = aside.ask(patience, &never(), move || drop(made));
    }

    /// Drops it on another thread, and does not wait for that.
    pub(super) fn abandon(&self, made: Made<T>) {
        self.table.aside.run(move || drop(made));
    }
}
