//! [`ResourcePool`]: how its author describes it, and how handlers claim.
//!
//! Must not know how slots are handed out.

use std::fmt::{self, Display};
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{at, select};

use crate::base::setters::setters;
use crate::base::waiting::after;
use crate::handler::RequestContext;
use crate::lane::Permit;
use crate::pool::claim::Claim;
use crate::pool::error::ClaimError;
use crate::pool::external::ExternalLock;
use crate::pool::holder::Holder;
use crate::pool::report::PoolReport;
use crate::pool::shelf::Shelf;
use crate::pool::slots::{Grant, ResourceSlot, Want};
use crate::pool::table::{InLine, PoolTable};

/// A set of independent resources (connections, hosts, devices) that handlers claim, wait for and give back. Clones are the same pool; tell the server of it with
/// [`Server::pool`](crate::Server::pool).
///
/// `T` is what is claimed. `K` is what it is made from and found by: for [`fixed`](Self::fixed) resources the resource itself.
///
/// - A claim gets the first free resource that fits. When none is free it waits in a fair (first-come, first-served) line for the first that fits. It waits
///   without limit ([`claim`](Self::claim)), for a time ([`claim_for`](Self::claim_for)) or not at all (a time of zero).
/// - A call that waits keeps its worker, so at most half of a lane's workers wait ([`Lane::waiting`](crate::Lane::waiting)). It is cancellable, it tells its client in a
///   progress report for what it waits and who has it, and its lane's watchdog does not count the time.
/// - The guard gives the resource back, however the handler ends. A claim can be [kept](Claim::keep_for) for a background job, a workspace or a session.
/// - [`Claim::broken`], a failed [`check`](Self::check) and [`age_max`](Self::age_max) drop a resource, and the next claim makes a new one. When making fails, that
///   claim fails, and the slot is tried again later, each time later than before: after 100 ms at first, after 30 s at most.
/// - No lock is held while your code runs: what makes, checks and drops a resource, what chooses one, what asks for an external lock.
///
/// ```
/// use std::time::Duration;
/// use mcp_threads::{ClaimError, RequestContext, ResourcePool, Server};
///
/// let hosts = ResourcePool::fixed("hosts", ["alpha", "beta", "gamma"]);
///
/// let pool = hosts.clone();
/// let update = move |cx: &mut RequestContext, _: mcp_threads::serde_json::Value| {
///     let host = pool.claim_for(cx, Duration::from_secs(60))?; // given back at the end
///     Ok::<_, ClaimError>(format!("{} is up to date", *host))
/// };
/// let server = Server::new("updates", "1.0.0")
///     .pool(&hosts)
///     .tool("update", "Updates a host.", update);
/// ```
pub struct ResourcePool<T: Send + 'static, K = T> {
    shelf: Arc<Shelf<T, K>>,
}

impl<T: Clone + Display + Send + Sync + 'static> ResourcePool<T> {
    /// A pool of these. What is broken is replaced by a clone of the original.
    pub fn fixed(name: &str, resources: impl IntoIterator<Item = T>) -> Self {
        let make = |resource: &T| Ok::<_, String>(resource.clone());
        ResourcePool::keyed(name, resources, make)
    }
}

impl<T: Send + 'static> ResourcePool<T, usize> {
    /// A pool of so many, numbered from 1, each made by `make` when it is first needed.
    pub fn lazy<E: Display>(
        name: &str,
        size: usize,
        make: impl Fn() -> Result<T, E> + Send + Sync + 'static,
    ) -> Self {
        ResourcePool::keyed(name, 1..=size, move |_| make())
    }
}

impl<T: Send + 'static, K: Display + Send + Sync + 'static> ResourcePool<T, K> {
    /// A pool with a slot for each key, which is what `make` makes the resource from when it is first needed, and what
    /// [`claim_where`](Self::claim_where) chooses by. Shown, the key is the resource's name.
    ///
    /// `make` runs on the thread of the call that claims, without a lock. Give what it waits for a timeout, as everywhere.
    pub fn keyed<E: Display>(
        name: &str,
        keys: impl IntoIterator<Item = K>,
        make: impl Fn(&K) -> Result<T, E> + Send + Sync + 'static,
    ) -> Self {
        let make = move |key: &K| make(key).map_err(|error| error.to_string());
        let shelf = Shelf::new(name, keys.into_iter().collect(), make);
        ResourcePool {
            shelf: Arc::new(shelf),
        }
    }

    setters! {
        /// Asks at each claim whether the resource is still good, unless it has just been made. It runs on a thread of its own; if it panics, or takes longer than
        /// [`patience`](Self::patience), the resource is not good. Default: none.
        check(is_good: impl Fn(&mut T) -> bool + Send + Sync + 'static) => shelf.check_by(Arc::new(is_good));

        /// A resource that is older when it is claimed is dropped, and made anew. Default: none is too old.
        age_max(age: Duration) => shelf.table.set(|rules| rules.age_max = Some(age));

        /// How long a check or a destructor may take before it is left behind, on its own thread, and a new resource is made. Twice as many as the pool has slots may
        /// hang; then no new ones are made. Default 5 s.
        patience(patience: Duration) => shelf.table.set(|rules| rules.patience = patience);

        /// Logs a warning, once, for a claim that is held longer, with its holder and where in the program it was claimed. Default: none.
        warn_after(time: Duration) => shelf.table.set(|rules| rules.warn_after = Some(time));

        /// Takes a claim back that is held longer, from a holder that has forgotten it, and logs that. Its guard knows ([`Claim::is_lost`]); the resource stays with the
        /// guard, and for the next claim a new one is made. Default: none is taken back.
        lease(time: Duration) => shelf.table.set(|rules| rules.lease = Some(time));

        /// Takes this lock, which others outside of this process may have, with each resource. Who waits for a resource that is locked elsewhere asks again from time to
        /// time; see [`poll_interval`](Self::poll_interval).
        with_lock(lock: impl ExternalLock) => shelf.table.set(|rules| rules.lock = Some(Arc::new(lock)));

        /// How often a lock is asked for that is held elsewhere. Default 200 ms.
        poll_interval(interval: Duration) => shelf.table.set(|rules| rules.poll = interval.max(Duration::from_millis(1)));
    }

    /// Claims the first resource that is free, and waits for one as long as it takes.
    ///
    /// # Errors
    ///
    /// See [`ClaimError`]; leave the handler with `?`.
    #[track_caller]
    pub fn claim<S>(&self, cx: &mut RequestContext<S>) -> Result<Claim<T, K>, ClaimError> {
        self.claim_where(cx, Duration::MAX, |_| true)
    }

    /// The same, and waits no longer than this; with zero it does not wait.
    ///
    /// # Errors
    ///
    /// See [`ClaimError`]; leave the handler with `?`.
    #[track_caller]
    pub fn claim_for<S>(
        &self,
        cx: &mut RequestContext<S>,
        wait: Duration,
    ) -> Result<Claim<T, K>, ClaimError> {
        self.claim_where(cx, wait, |_| true)
    }

    /// The same, of those resources whose key fits. Each key is looked at once, before the wait, claimed or not.
    ///
    /// # Errors
    ///
    /// See [`ClaimError`]; leave the handler with `?`.
    #[track_caller]
    pub fn claim_where<S>(
        &self,
        cx: &mut RequestContext<S>,
        wait: Duration,
        fits: impl Fn(&K) -> bool,
    ) -> Result<Claim<T, K>, ClaimError> {
        self.claim_with(cx, &mut None, wait, fits)
    }

    /// The same with this permit to wait. One that is taken stays there for the next claim.
    #[track_caller]
    pub(crate) fn claim_with<S>(
        &self,
        cx: &mut RequestContext<S>,
        permit: &mut Option<Permit>,
        wait: Duration,
        fits: impl Fn(&K) -> bool,
    ) -> Result<Claim<T, K>, ClaimError> {
        cx.check()?;
        let want = Arc::new(Want {
            fits: self.shelf.keys.iter().map(fits).collect(),
            call: Holder::call(cx.control()),
            part_of: Holder::all_of(cx.control()),
            at: Location::caller(),
        });
        let table = &self.shelf.table;
        let pool = || table.name.to_string();
        if !want.fits.contains(&true) {
            return Err(ClaimError::NothingFits { pool: pool() });
        }
        let deadline = after(wait);
        let line = table.line_up(Arc::clone(&want));
        loop {
            let grant = match line.got() {
                Some(grant) => grant,
                None => {
                    if permit.is_none() && Instant::now() < deadline {
                        let taken = cx.control().waits().take();
                        let none = |(lane, most)| ClaimError::TooMany { lane, most };
                        *permit = Some(taken.map_err(none)?);
                    }
                    wait_in(&line, cx, table, &want, deadline)?
                }
            };
            // From here on the slot is given back, whatever happens.
            let mut claim = Claim::of(&self.shelf, grant);
            let Some(locked) = table.take_lock(grant, &line, &want.call.to_string()) else {
                continue;
            };
            line.leave_with(grant);
            let made = locked.and_then(|()| self.shelf.take(grant, cx.cancellation()));
            let pool = pool();
            let made = made.map_err(|problem| ClaimError::Unavailable { pool, problem })?;
            claim.made = Some(made);
            return Ok(claim);
        }
    }

    /// Takes back everything that is held by this one, in use or not, whose guards then [are lost](Claim::is_lost). Says how many claims that were. The end of a job, of a
    /// workspace and of a session needs no such call.
    pub fn release_owner(&self, owner: &Holder) -> usize {
        self.shelf.table.release(owner)
    }

    /// Who holds what, since when and from where in the program, and who waits. Never waits for any of them.
    pub fn list(&self) -> PoolReport {
        self.shelf.table.report()
    }

    pub(crate) fn table(&self) -> &Arc<PoolTable> {
        &self.shelf.table
    }
}

/// Waits in line until it has got something.
fn wait_in<S>(
    line: &InLine,
    cx: &mut RequestContext<S>,
    table: &Arc<PoolTable>,
    want: &Want,
    deadline: Instant,
) -> Result<Grant, ClaimError> {
    let mut told = String::new();
    loop {
        if let Some(grant) = line.got() {
            return Ok(grant);
        }
        if Instant::now() >= deadline {
            return Err(ClaimError::Busy {
                pool: table.name.to_string(),
                holders: table.holders(want, ResourceSlot::sentence_with_time),
            });
        }
        let waits_for = format!(
            "waiting for `{}`: {}",
            table.name,
            table.holders(want, ResourceSlot::sentence)
        );
        if waits_for != told {
            cx.report_wait(waits_for.clone());
            told.clone_from(&waits_for);
        }
        let _paused = cx.waiting(waits_for);
        select! {
            recv(line.woken) -> _ => {}
            recv(cx.cancellation().channel()) -> _ => return Err(ClaimError::Cancelled),
            // What became free because time has passed, and not because anybody gave it back.
            recv(at(deadline.min(line.next_look()))) -> _ => table.sweep(),
        }
    }
}

impl<T: Send + 'static, K> Clone for ResourcePool<T, K> {
    fn clone(&self) -> Self {
        ResourcePool {
            shelf: Arc::clone(&self.shelf),
        }
    }
}

impl<T: Send + 'static, K> fmt::Debug for ResourcePool<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourcePool")
            .field("name", &self.shelf.table.name)
            .finish_non_exhaustive()
    }
}
