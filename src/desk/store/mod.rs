//! Where background jobs are kept: [`JobStore`], and the store in memory.
//!
//! A store keeps records by id and replaces one only for the revision that its writer has seen; what a record means is not its business. Must not know
//! what a job does, or the wire.

pub(crate) mod contract;
#[cfg(feature = "durable")]
pub(crate) mod durable;
pub(crate) mod guarded;
pub(crate) mod memory;

use std::fmt;

use crate::desk::record::JobStatus;

/// A job as a store keeps it: a few columns to look at, and the rest as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredJob {
    /// Its key: letters, digits and hyphens, at most 64 bytes.
    pub id: String,
    /// Grows by one with each change, from 1.
    pub revision: u64,
    /// The running server that may change it: a random id, new with each start.
    pub boot: String,
    /// How far it is.
    pub status: JobStatus,
    /// When it may be forgotten, in milliseconds since 1970; `None` until it has ended.
    pub expires_ms: Option<u64>,
    /// Everything else, as JSON.
    pub body: Vec<u8>,
}

impl StoredJob {
    /// A record at its first revision.
    pub fn new(
        id: impl Into<String>,
        boot: impl Into<String>,
        status: JobStatus,
        body: Vec<u8>,
    ) -> Self {
        StoredJob {
            id: id.into(),
            revision: 1,
            boot: boot.into(),
            status,
            expires_ms: None,
            body,
        }
    }
}

/// Why a store could not do what it was asked. The job's client is told that there was an internal error, the log is told this text.
#[derive(Debug)]
pub struct StoreError(Box<dyn std::error::Error + Send + Sync>);

impl StoreError {
    /// From the error of what the store is built on, or from a text.
    pub fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        StoreError(source.into())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// Keeps background jobs. Two come with the library: in memory, the default, and, with the feature `durable`, in a file that survives a crash.
///
/// Each method is one atomic step: when it returns `Ok`, the change is visible to every other call and, in a durable store, survives a crash of the
/// process. It is called from many threads at once, by threads that serve clients and by workers, and so must not wait for anything but its own medium: while
/// a call of it hangs, so does the thread that made it, and if that reads a pipe, nothing else of it is read. A panic in it is like an error of the medium.
/// [`check_job_store`](crate::check_job_store) tests a store of yours.
///
/// # Several servers on one store
///
/// None of the stores that come with the library can be shared by several running servers, but the trait leaves room for one that is. `boot` names the
/// server whose job it is: a lease, which such a store would renew while that server lives, so that another one may take over a record by
/// replacing it with its own `boot`. A cancellation or an answer that arrives at another server is a `replace` by that server; the owner finds it because
/// its own next `replace` says `false`. This library does not take over what another server has changed: it treats that as an error.
pub trait JobStore: Send + Sync + 'static {
    /// Keeps a new record. `false` when there is one with this id already, which stays as it was.
    ///
    /// # Errors
    ///
    /// When the medium fails. The record may have been kept all the same; then it is removed, as far as that works, and its client is told that there is no
    /// such job.
    fn insert(&self, job: &StoredJob) -> Result<bool, StoreError>;

    /// Compare-and-swap: replaces the record with the same id if its revision precedes this one. `false` when there is none, or another revision: then
    /// nothing has changed.
    ///
    /// # Errors
    ///
    /// When the medium fails. Then nothing has changed.
    fn replace(&self, job: &StoredJob) -> Result<bool, StoreError>;

    /// The record with this id.
    ///
    /// # Errors
    ///
    /// When the medium fails.
    fn load(&self, id: &str) -> Result<Option<StoredJob>, StoreError>;

    /// Forgets a record. `false` when there is none.
    ///
    /// # Errors
    ///
    /// When the medium fails. Then it is still there.
    fn remove(&self, id: &str) -> Result<bool, StoreError>;

    /// Shows every record, in any order. Called when the server starts; what changes meanwhile may or may not be seen.
    ///
    /// # Errors
    ///
    /// When the medium fails.
    fn for_each(&self, visit: &mut dyn FnMut(StoredJob)) -> Result<(), StoreError>;
}
