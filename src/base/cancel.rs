//! Cancellation as a value: [`CancellationToken`] observes it, [`Canceller`] is the right to cause it.
//!
//! A token can be asked, waited for and put into a `select!`; nothing polls. Must not know requests, handlers or transports.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::base::heap::FREED_ELSEWHERE_MAX;
use crate::base::lock::Lock;
use crate::base::waiting::after;

/// Says whether a call has been cancelled. Clones belong to the same call.
///
/// ```
/// use mcp_threads::{RequestContext, crossbeam_channel};
///
/// fn handler(cx: &mut RequestContext) {
///     let work = crossbeam_channel::after(std::time::Duration::from_secs(5));
///     crossbeam_channel::select! {
///         recv(work) -> _ => {}
///         recv(cx.cancellation().channel()) -> _ => return, // cancelled
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct CancellationToken(Arc<TokenState>);

/// The right to cancel. Dropped without [`cancel`](Canceller::cancel), it leaves `is_cancelled` false.
pub(crate) struct Canceller(Arc<TokenState>);

#[derive(Debug, Default)]
struct TokenState {
    /// 0 until it is one of [`ANSWERED`], [`CANCELLED`] and [`STALLED`].
    state: AtomicU8,
    /// Why the call has been given up by somebody who knows that it hangs. Boxed, like what hears of it, because hardly a call needs either; see
    /// [`FREED_ELSEWHERE_MAX`].
    given_up: OnceLock<Box<Box<str>>>,
    /// Who is to hear of that at once.
    hears: OnceLock<Box<Sender<()>>>,
    /// Made when somebody first waits; most calls end before anybody does.
    gate: OnceLock<Receiver<Infallible>>,
    /// Never sent on: dropping it is the signal.
    held: Lock<Option<Sender<Infallible>>>,
}

const _: () = assert!(size_of::<TokenState>() <= FREED_ELSEWHERE_MAX);

const ANSWERED: u8 = 1;
const CANCELLED: u8 = 2;
const STALLED: u8 = 3;

/// A fresh pair.
pub(crate) fn cancellation() -> (Canceller, CancellationToken) {
    let shared = Arc::new(TokenState::default());
    (Canceller(Arc::clone(&shared)), CancellationToken(shared))
}

impl TokenState {
    fn make_gate(&self) -> Receiver<Infallible> {
        let (sender, gate) = bounded(0);
        let mut held = self.held.lock();
        // Else the gate is open.
        if self.state.load(Ordering::Acquire) == 0 {
            *held = Some(sender);
        }
        gate
    }
}

impl Canceller {
    /// Cancels: every token says so from now on, and every wait on one ends.
    pub(crate) fn cancel(self) {
        self.0.state.store(CANCELLED, Ordering::Release);
    }

    /// The same because the call gives no sign of life.
    pub(crate) fn stall(self) {
        self.0.state.store(STALLED, Ordering::Release);
    }
}

impl Drop for Canceller {
    fn drop(&mut self) {
        let mut held = self.0.held.lock();
        self.0.state.fetch_max(ANSWERED, Ordering::AcqRel);
        *held = None;
    }
}

impl CancellationToken {
    /// Whether it has been cancelled. Never blocks.
    pub fn is_cancelled(&self) -> bool {
        self.0.state.load(Ordering::Acquire) > ANSWERED
    }

    /// Whether it has been cancelled because the call gave no sign of life; see [`Tool::liveness`](crate::Tool::liveness). Never blocks.
    pub fn is_stalled(&self) -> bool {
        self.0.state.load(Ordering::Acquire) == STALLED
    }

    /// Declares that the handler hangs and will not return, from another thread that knows: one that watches the engine behind it, for example. The call
    /// is answered at once with the error `504`, without grace; its worker is given up and replaced, and if the handler returns after all, what it
    /// returns is dropped. The reason stands in the log and in the answer. Nothing happens if the handler has returned, and only the first reason counts.
    pub fn give_up(&self, reason: impl Into<String>) {
        let reason: String = reason.into();
        if self.0.given_up.set(Box::new(reason.into())).is_ok()
            && let Some(hears) = self.0.hears.get()
        {
            // Full means that a look is due already.
            let _looks_soon = hears.try_send(());
        }
    }

    /// Who is told when it is given up.
    pub(crate) fn tell(&self, hears: &Sender<()>) -> &Self {
        self.0.hears.get_or_init(|| Box::new(hears.clone()));
        self
    }

    /// Why it has been given up, if it has.
    pub(crate) fn given_up(&self) -> Option<&str> {
        self.0.given_up.get().map(|reason| &***reason)
    }

    /// Whether both belong to the same call.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// A channel that never carries a message and disconnects on cancellation, for [`select!`](crate::crossbeam_channel::select).
    ///
    /// It also disconnects once the call has been answered, so that a thread which outlives its call does not wait forever.
    pub fn channel(&self) -> &Receiver<Infallible> {
        self.0.gate.get_or_init(|| self.0.make_gate())
    }

    /// Waits for the cancellation, at most this long. Returns whether the call has been cancelled.
    pub fn wait(&self, longest: Duration) -> bool {
        let Err(_) = self.channel().recv_deadline(after(longest));
        self.is_cancelled()
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
    fn a_gate_made_after_the_cancellation_is_open() {
        let (canceller, token) = cancellation();
        canceller.cancel();
        assert!(token.wait(Duration::MAX));
    }

    #[test]
    fn a_dropped_canceller_ends_the_wait_without_cancelling() {
        let (canceller, token) = cancellation();
        drop(canceller);
        assert!(!token.wait(Duration::MAX));
    }
}
