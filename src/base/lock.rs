//! The library's own mutex, [`Lock`], which is never poisoned, because nothing that may panic runs under it.
//!
//! Must not know what it guards.

use std::sync::{Mutex, MutexGuard, TryLockError};

/// Why a lock is never poisoned: what is said where the standard library asks.
pub(crate) const HELD: &str = "no code panics while it holds a lock of the library";

/// A mutex under which no code panics.
#[derive(Debug, Default)]
pub(crate) struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Lock(Mutex::new(value))
    }

    /// The lock, if nobody holds it.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Poisoned(_)) => panic!("{HELD}"),
        }
    }

    /// Waits for the lock.
    #[track_caller]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect(HELD)
    }
}
