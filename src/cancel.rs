//! Cancellation as a value: [`CancellationToken`] observes it, [`Canceller`] is the right to cause it.
//!
//! A token can be asked, waited for and put into a `select!`; nothing polls. Must not know requests, handlers or transports.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

/// Sees whether something has been cancelled. Clones see the same cancellation.
///
/// ```
/// # use mcp_threads::RequestContext;
/// fn handler(cx: &mut RequestContext) {
///     let work = crossbeam_channel::after(std::time::Duration::from_secs(5));
///     crossbeam_channel::select! {
///         recv(work) -> _ => {}
///         recv(cx.cancellation().channel()) -> _ => return, // cancelled
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct CancellationToken {
    cancelled: Arc<AtomicBool>,
    gate: Receiver<Infallible>,
}

/// The right to cancel. Dropped without [`cancel`](Canceller::cancel), it leaves `is_cancelled` false.
#[derive(Debug)]
pub(crate) struct Canceller {
    cancelled: Arc<AtomicBool>,
    /// Never sent on: dropping it is the signal.
    _gate: Sender<Infallible>,
}

/// A fresh pair.
pub(crate) fn cancellation() -> (Canceller, CancellationToken) {
    let cancelled = Arc::new(AtomicBool::new(false));
    let (sender, gate) = bounded(0);
    (
        Canceller {
            cancelled: Arc::clone(&cancelled),
            _gate: sender,
        },
        CancellationToken { cancelled, gate },
    )
}

impl Canceller {
    /// Cancels: every token says so from now on, and every wait on one ends.
    pub(crate) fn cancel(self) {
        self.cancelled.store(true, Ordering::Release);
    }
}

impl CancellationToken {
    /// Whether it has been cancelled. Never blocks.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// A channel that never carries a message and disconnects on cancellation, for `crossbeam_channel::select!`.
    ///
    /// It also disconnects once the call has been answered, so that a thread which outlives its call does not wait for ever.
    pub fn channel(&self) -> &Receiver<Infallible> {
        &self.gate
    }

    /// Waits for the cancellation, at most this long, and says whether it came.
    pub fn wait(&self, longest: Duration) -> bool {
        let Some(deadline) = Instant::now().checked_add(longest) else {
            let Err(_) = self.gate.recv();
            return self.is_cancelled();
        };
        match self.gate.recv_deadline(deadline) {
            Err(RecvTimeoutError::Timeout) => self.is_cancelled(),
            Err(RecvTimeoutError::Disconnected) => self.is_cancelled(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_with_the_cancellation_and_not_before() {
        let (canceller, token) = cancellation();
        assert!(!token.wait(Duration::from_millis(1)));
        let observer = token.clone();
        let waiting = std::thread::spawn(move || observer.wait(Duration::MAX));
        canceller.cancel();
        assert!(waiting.join().expect("the waiting thread does not panic"));
        assert!(token.is_cancelled());
    }

    #[test]
    fn a_dropped_canceller_ends_the_wait_without_cancelling() {
        let (canceller, token) = cancellation();
        drop(canceller);
        assert!(!token.wait(Duration::MAX));
    }
}
