//! [`Snapshot`]: cheap read-only state that is published now and then and read without waiting for anybody.
//!
//! Its lock is held while a pointer is copied or exchanged, and for nothing else. Must not know what is published.

use std::mem;
use std::sync::Arc;

use crate::base::lock::Lock;

/// The newest state of something that is busy, for those who must not wait for it: `status` from what an engine last said of itself.
///
/// [`publish`](Self::publish) replaces the state, [`read`](Self::read) returns what was published last, and neither waits for longer
/// than a pointer takes to be copied. A state that was read stays as it is, and lives as long as somebody has it. Share a snapshot in an `Arc`.
///
/// ```
/// use std::sync::Arc;
/// use mcp_threads::{RequestContext, Server, Snapshot, Tool};
///
/// #[derive(Default)]
/// struct Status { rows: u64, last_error: Option<String> }
///
/// let status = Arc::new(Snapshot::new(Status::default()));
///
/// // What works behind a lock says now and then how it is ...
/// let publisher = Arc::clone(&status);
/// let import = move |_: mcp_threads::serde_json::Value| {
///     for rows in 1..=3 {
///         publisher.publish(Status { rows, last_error: None });
///     }
///     "imported"
/// };
/// // ... and who asks has the answer at once, however long the import takes.
/// let shown = Arc::clone(&status);
/// let server = Server::new("imports", "1.0.0")
///     .tool("import", "Imports everything.", import)
///     .register(Tool::new("status").lane("urgent").handler(move |_: mcp_threads::serde_json::Value| {
///         format!("{} rows", shown.read().rows)
///     }));
///
/// status.publish(Status { rows: 7, last_error: None });
/// assert_eq!(status.read().rows, 7);
/// assert!(status.read().last_error.is_none());
/// ```
#[derive(Debug, Default)]
pub struct Snapshot<T>(Lock<Arc<T>>);

impl<T> Snapshot<T> {
    /// A snapshot in which this is published.
    pub fn new(state: T) -> Self {
        Snapshot(Lock::new(Arc::new(state)))
    }

    /// Replaces the state. Waits, at most, while others copy a pointer.
    pub fn publish(&self, state: T) {
        let state = Arc::new(state);
        let old = mem::replace(&mut *self.0.lock(), state);
        // Dropping it may be anything, so the lock is not held any more.
        drop(old);
    }

    /// What was published last. Waits, at most, while others copy a pointer.
    pub fn read(&self) -> Arc<T> {
        Arc::clone(&self.0.lock())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;
    use std::time::Duration;

    use crossbeam_channel::{Receiver, Sender, unbounded};

    use super::*;

    #[test]
    fn a_reader_sees_whole_states_and_never_an_older_one_than_before() {
        let snapshot = Snapshot::new((0_u64, 0_u64));
        let ends = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut last = 0;
                    while !ends.load(Ordering::Relaxed) {
                        let (state, twice) = *snapshot.read();
                        assert_eq!(twice, 2 * state, "it is torn");
                        assert!(state >= last, "{state} after {last}");
                        last = state;
                    }
                });
            }
            for state in 1..=20_000 {
                snapshot.publish((state, 2 * state));
            }
            ends.store(true, Ordering::Relaxed);
        });
        assert_eq!(*snapshot.read(), (20_000, 40_000));
    }

    #[test]
    fn nobody_who_reads_waits_for_a_publisher_that_stands_still() {
        struct Slow(Sender<()>, Receiver<()>);
        impl Drop for Slow {
            fn drop(&mut self) {
                let _the_test_listens = self.0.send(());
                // Until the test lets it go.
                let _ = self.1.recv();
            }
        }
        let (begin, begun) = unbounded();
        let (go, gate) = unbounded();
        let snapshot = Snapshot::new(Some(Slow(begin, gate)));
        thread::scope(|scope| {
            // The first of these drops the first state, which hangs.
            let publishing = scope.spawn(|| (0..2).for_each(|_| snapshot.publish(None)));
            let patience = Duration::from_secs(60);
            begun.recv_timeout(patience).expect("it is dropped");
            assert!(snapshot.read().is_none());
            snapshot.publish(None);
            assert!(snapshot.read().is_none());
            drop(go);
            publishing.join().expect("it ends");
        });
    }
}
