//! [`Pulse`], the signs of life that a running call gives, for the watchdog to look at.
//!
//! Progress *resets*: it is counted, and a count that has not moved between two looks is silence. Waiting only *pauses*: silence does not grow while it lasts,
//! and is not forgotten after it. The hot path is two atomics that nobody but the call's own worker writes; a lock is taken only to say which sign it was,
//! and for what the call waits. Must not know who looks, or what becomes of it.

use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::base::lock::Lock;

/// The signs of life of one call.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// How long it may be silent, if it says so itself. Immutable.
    pub(crate) liveness: Option<Duration>,
    /// [`RETURNED`], [`GIVEN_UP`], or 0 as long as it is neither. It changes once, by a compare-and-set.
    end: AtomicU8,
    /// How many signs it has given. Only ever grows.
    signs: AtomicU64,
    /// How many waits it is in now; see [`Pulse::begin_wait`].
    waits: AtomicUsize,
    said: Lock<PulseDetails>,
}

/// What is only read when a call is found silent.
#[derive(Debug, Default)]
struct PulseDetails {
    last: Option<Sign>,
    /// What it waits for now, the newest last, each with a number of its own.
    waits_for: Vec<(u64, Cow<'static, str>)>,
    next: u64,
}

/// A sign of life: what it was, and the line of the handler that gave it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sign {
    pub(crate) what: &'static str,
    pub(crate) location: &'static Location<'static>,
}

/// Progress by way of [`RequestContext::alive`](crate::RequestContext::alive) and its like.
pub(crate) const ALIVE: &str = "alive";
pub(crate) const PROGRESS: &str = "progress";
pub(crate) const OUTPUT: &str = "output of a command";

const RETURNED: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Pulse {
    pub(crate) fn new(liveness: Option<Duration>) -> Self {
        Pulse {
            liveness,
            ..Pulse::default()
        }
    }

    /// The handler has returned. False if it had been given up before: then what it returned is nobody's.
    pub(crate) fn try_return(&self) -> bool {
        self.end_as(RETURNED)
    }

    /// The handler is given up. False if it had returned before: then its worker answers.
    pub(crate) fn give_up(&self) -> bool {
        self.end_as(GIVEN_UP)
    }

    /// The one decision between a worker and the watchdog.
    fn end_as(&self, end: u8) -> bool {
        self.end
            .compare_exchange(0, end, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// A sign of life.
    pub(crate) fn beat(&self, what: &'static str, location: &'static Location<'static>) {
        self.said.lock().last = Some(Sign { what, location });
        self.signs.fetch_add(1, Ordering::Relaxed);
    }

    /// How many signs there have been.
    pub(crate) fn signs(&self) -> u64 {
        self.signs.load(Ordering::Relaxed)
    }

    /// The last of them.
    pub(crate) fn last(&self) -> Option<Sign> {
        self.said.lock().last
    }

    /// Begins a wait for this of the library itself; [`end_wait`](Self::end_wait) ends it.
    pub(crate) fn begin_wait(&self, what: Cow<'static, str>) -> u64 {
        let mut said = self.said.lock();
        let number = said.next;
        said.next += 1;
        said.waits_for.push((number, what));
        self.waits.fetch_add(1, Ordering::Relaxed);
        number
    }

    pub(crate) fn end_wait(&self, number: u64) {
        self.said
            .lock()
            .waits_for
            .retain(|(other, _)| *other != number);
        self.waits.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether it waits in the library itself.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waits.load(Ordering::Relaxed) > 0
    }

    /// What it waits for, as the newest wait calls it.
    pub(crate) fn waits_for(&self) -> Option<String> {
        let said = self.said.lock();
        said.waits_for.last().map(|(_, what)| what.to_string())
    }
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.what, self.location)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn law_4_one_of_worker_and_watchdog_has_the_last_word() {
        for _ in 0..1000 {
            let pulse = Pulse::default();
            let (returned, given_up) = std::thread::scope(|scope| {
                let worker = scope.spawn(|| pulse.try_return());
                let watchdog = scope.spawn(|| pulse.give_up());
                (worker.join(), watchdog.join())
            });
            let won = [returned, given_up].map(|won| won.expect("no thread panics"));
            assert_ne!(won[0], won[1]);
        }
    }

    #[test]
    fn a_sign_is_counted_and_a_wait_is_not() {
        let pulse = Pulse::default();
        pulse.beat(ALIVE, Location::caller());
        let [outer, inner] = ["a host", "a sleep"].map(|what| pulse.begin_wait(what.into()));
        assert_eq!((pulse.signs(), pulse.is_waiting()), (1, true));
        assert_eq!(pulse.waits_for().as_deref(), Some("a sleep"));
        pulse.end_wait(outer);
        assert_eq!(pulse.waits_for().as_deref(), Some("a sleep"));
        pulse.end_wait(inner);
        assert_eq!((pulse.signs(), pulse.is_waiting()), (1, false));
        let last = pulse.last().expect("there was one").to_string();
        assert!(last.starts_with("alive at src/base/pulse.rs:"), "{last}");
    }
}
