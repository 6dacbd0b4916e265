//! The guard of a claim.
//!
//! Must not know how it was come by.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::handler::RequestContext;
use crate::pool::error::ClaimError;
use crate::pool::holder::{Holder, Scope};
use crate::pool::shelf::{Made, Shelf};
use crate::pool::slots::{Grant, Holding};

/// A resource of a [`ResourcePool`](crate::ResourcePool) that nobody else has. Dropped, it goes back: at the end of the handler, when that panics, when it leaves
/// because its call is cancelled.
///
/// It can be sent to other threads and kept beyond its call, in a workspace's value for example.
#[must_use = "a claim that is dropped is given back"]
pub struct Claim<T: Send + 'static, K = T> {
    shelf: Arc<Shelf<T, K>>,
    grant: Grant,
    /// There until it is dropped, and before that until it has been made.
    pub(super) made: Option<Made<T>>,
}

const THERE: &str = "a claim that can be seen has its resource";

impl<T: Send + 'static, K> Claim<T, K> {
    /// A claim on a slot that has been granted. Dropped without a resource, it leaves the slot empty.
    pub(super) fn of(shelf: &Arc<Shelf<T, K>>, grant: Grant) -> Self {
        Claim {
            shelf: Arc::clone(shelf),
            grant,
            made: None,
        }
    }

    /// What the resource was made from: in a pool of [`fixed`](crate::ResourcePool::fixed) resources itself, in a
    /// [`lazy`](crate::ResourcePool::lazy) one its number.
    pub fn key(&self) -> &K {
        &self.shelf.keys[self.grant.slot]
    }

    /// Says in lists and log lines what it is used for.
    pub fn label(&mut self, label: &str) {
        let label: Arc<str> = label.into();
        // The old one is dropped without the lock.
        let _old = self.change(|holding| std::mem::replace(&mut holding.label, label));
    }

    /// Keeps the claim for what the call is part of, beyond the call. When this guard is dropped, the resource stays claimed and waits for the next call of the same
    /// job, workspace or session: that gets it first when it claims something that fits. It is given back when the job, the workspace or the session
    /// ends, or by [`release`](Self::release).
    ///
    /// So a background job that asks its client keeps what it has claimed until it is answered, though its handler runs again from the beginning.
    ///
    /// # Errors
    ///
    /// [`ClaimError::NotIn`] when the call is part of no such thing, [`ClaimError::Unavailable`] when the claim [is lost](Self::is_lost).
    pub fn keep_for<S>(&mut self, cx: &RequestContext<S>, scope: Scope) -> Result<(), ClaimError> {
        let holder = Holder::of(cx.control(), scope).ok_or(ClaimError::NotIn(scope))?;
        let kept = self.change(|holding| holding.kept_for.replace(holder));
        kept.map(drop).ok_or_else(|| ClaimError::Unavailable {
            pool: self.shelf.table.name.to_string(),
            problem: "the claim has been taken back".into(),
        })
    }

    /// Gives it back, even if it is kept for something.
    pub fn release(self) {
        let _before = self.change(|holding| holding.kept_for.take());
    }

    /// Gives it back and says that it is of no use any more: it is dropped, and the next claim makes a new one. A claim that is kept for something stays
    /// claimed.
    ///
    /// The destructor runs on another thread. If it takes longer than [`patience`](crate::ResourcePool::patience), this does not wait for it.
    pub fn broken(mut self) {
        if let Some(made) = self.made.take() {
            self.shelf.throw_away(made);
        }
    }

    /// Whether the claim has been taken back: its lease was over, its owner was released, or its call was given up by the watchdog. Then somebody else may have
    /// claimed the same slot, with a resource that was made anew, and this one is dropped with the guard.
    pub fn is_lost(&self) -> bool {
        self.change(|_| ()).is_none()
    }

    /// Who holds it, as others see it; `None` when it [is lost](Self::is_lost).
    pub fn holder(&self) -> Option<Holder> {
        self.change(|holding| holding.holder().clone())
    }

    fn change<R>(&self, change: impl FnOnce(&mut Holding) -> R) -> Option<R> {
        self.shelf.table.change(self.grant, change)
    }
}

impl<T: Send + 'static, K> Deref for Claim<T, K> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.made.as_ref().expect(THERE).value
    }
}

impl<T: Send + 'static, K> DerefMut for Claim<T, K> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.made.as_mut().expect(THERE).value
    }
}

impl<T: Send + 'static, K> Drop for Claim<T, K> {
    fn drop(&mut self) {
        let made = self.made.take();
        if let Some(late) = self.shelf.give_back(self.grant, made) {
            self.shelf.abandon(late);
        }
    }
}

impl<T: fmt::Debug + Send + 'static, K: fmt::Debug> fmt::Debug for Claim<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("key", self.key())
            .field("resource", &self.made.as_ref().map(|made| &made.value))
            .finish_non_exhaustive()
    }
}
