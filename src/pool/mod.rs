//! What handlers share without a global lock: resources that are claimed, waited for and given back, and state that is read beside a busy engine.
//!
//! A pool is a [`table`] of slots (who holds which, who waits) under one lock, and a shelf with what lies in the slots that nobody uses. Code of the
//! embedder (what makes, checks and drops a resource, a lock held elsewhere) runs without that lock. Must not know how calls are run or answered.

mod claim;
mod error;
mod external;
#[cfg(unix)]
mod file_lock;
pub(crate) mod holder;
mod report;
mod resource_pool;
mod shelf;
mod slots;
mod snapshot;
pub(crate) mod table;

pub use self::claim::Claim;
pub use self::error::ClaimError;
pub use self::external::ExternalLock;
#[cfg(unix)]
pub use self::file_lock::FileLock;
pub use self::holder::{Holder, Scope};
pub use self::report::{Claimed, PoolReport, PoolWaiter, PooledResource};
pub use self::resource_pool::ResourcePool;
pub use self::snapshot::Snapshot;
