//! What can be seen of a pool at a moment. Data only.

use std::panic::Location;
use std::time::Duration;

use crate::pool::holder::Holder;

/// Who holds what of a pool, and who waits; see [`ResourcePool::list`](crate::ResourcePool::list).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolReport {
    /// The pool's name.
    pub name: String,
    /// Every resource, in the order of the pool.
    pub resources: Vec<PooledResource>,
    /// Everybody who waits, in the order in which they are served.
    pub waiting: Vec<PoolWaiter>,
}

/// One resource of a pool; a part of [`PoolReport`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PooledResource {
    /// Its name.
    pub name: String,
    /// Who holds it; `None` when it is free, or held outside of this process.
    pub claimed: Option<Claimed>,
    /// Who holds it outside of this process, as its lock said when it was last asked.
    pub held_elsewhere: Option<String>,
    /// Why it could not be made when that was last tried.
    pub problem: Option<String>,
    /// How many wait whom it fits.
    pub waiting: usize,
}

/// A claim, as others see it; a part of [`PooledResource`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Claimed {
    /// Who holds it: the call, or what it is kept for.
    pub holder: Holder,
    /// What it was given as a label; empty unless the handler has set one.
    pub label: String,
    /// For how long.
    pub held_for: Duration,
    /// Where in the program it was claimed.
    pub at: &'static Location<'static>,
    /// Whether a call uses it now. A claim that is kept for a job, a workspace or a session is not always in use.
    pub in_use: bool,
}

/// Somebody who waits for a resource; a part of [`PoolReport`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolWaiter {
    /// Which call.
    pub call: Holder,
    /// For how long it has waited.
    pub waits_for: Duration,
    /// Where in the program it claims.
    pub at: &'static Location<'static>,
}
