//! [`Pulse`], the signs of life that a running call gives, for the watchdog to look at.
//!
//! Progress *resets*: it is counted, and a count that has not moved between two looks is silence. Waiting only *pauses*: silence does not grow while it lasts,
//! and is not forgotten after it. All of it but the end stands under one lock, which the call's own worker has nearly to itself: the watchdog looks now and then.
//! Must not know who looks, or what becomes of it.

use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::base::lock::Lock;

/// The signs of life of one call.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// How long it may be silent, if it says so itself. Immutable.
    pub(crate) liveness: Option<Duration>,
    /// Whether its handler has returned, or been given up: which of them came first.
    has_ended: AtomicBool,
    said: Lock<PulseDetails>,
}

/// What is read by who looks whether a call is silent.
#[derive(Debug, Default)]
struct PulseDetails {
    /// How many signs it has given. Only ever grows.
    signs: u64,
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

impl Pulse {
    pub(crate) fn new(liveness: Option<Duration>) -> Self {
        Pulse {
            liveness,
            ..Pulse::default()
        }
    }

    /// The one decision between a worker whose handler has returned and the watchdog that gives it up: true for the first of them, who answers. What the
    /// other has is nobody's.
    pub(crate) fn try_end(&self) -> bool {
        !self.has_ended.swap(true, Ordering::AcqRel)
    }

    /// A sign of life.
    pub(crate) fn beat(&self, what: &'static str, location: &'static Location<'static>) {
        let mut said = self.said.lock();
        said.last = Some(Sign { what, location });
        said.signs += 1;
    }

    /// How many signs there have been.
    pub(crate) fn signs(&self) -> u64 {
        self.said.lock().signs
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
        number
    }

    pub(crate) fn end_wait(&self, number: u64) {
        self.said
            .lock()
            .waits_for
            .retain(|(other, _)| *other != number);
    }

    /// Whether it waits in the library itself.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.said.lock().waits_for.is_empty()
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
                let worker = scope.spawn(|| pulse.try_end());
                let watchdog = scope.spawn(|| pulse.try_end());
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
