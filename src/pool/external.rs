//! Locks that are held elsewhere: by another process, another program, another machine.
//!
//! Must not know which.

use std::io;

/// A lock outside of this process that goes with each resource of a pool; see [`ResourcePool::with_lock`](crate::ResourcePool::with_lock).
///
/// `name` is the resource's name in all three. The pool asks for no lock that it has, and calls them without a lock of its own; still, none of them
/// should wait: while one does, so does the call that claims.
pub trait ExternalLock: Send + Sync + 'static {
    /// Takes the lock if it is free, or its holder is dead. `label` is for others to read. `false` when somebody else has it.
    ///
    /// # Errors
    ///
    /// When it cannot be known. The claim fails with this text.
    fn try_lock(&self, name: &str, label: &str) -> io::Result<bool>;

    /// Gives the lock back.
    fn unlock(&self, name: &str);

    /// Who has the lock, as far as that can be known.
    fn holder(&self, name: &str) -> Option<String>;
}
