//! How to wait: until when, and, by adaptive yielding, not at once in the kernel.
//!
//! A thread that expects work in a moment yields before it sleeps, which saves a wake-up, for as long as yielding is cheap.
//!
//! Beside threads that only wait, a yield returns at once. Beside threads that compute it returns after their time slices, milliseconds later, where a
//! thread that sleeps would have been woken in front of them. So each yield is timed, and one that was slow ends yielding in the whole process for a
//! while. Must not know what is expected.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Now and this much later. A wait too long for the clock, such as `Duration::MAX`, ends in a year.
pub(crate) fn after(wait: Duration) -> Instant {
    const NEVER: Duration = Duration::from_secs(60 * 60 * 24 * 365);
    let now = Instant::now();
    now.checked_add(wait).unwrap_or(now + NEVER)
}

/// The time slice of a thread that computes is longer; the turns of many threads that only pass something on are shorter.
const SLOW: Duration = Duration::from_millis(2);

/// How long nobody yields after one that was slow: so seldom does a machine that computes make anybody wait for it.
const PAUSE: Duration = Duration::from_secs(1);

/// When yielding may be tried again, in milliseconds after [`START`]. Written seldom, so that threads which read it do not disturb each other.
struct ResumesAt(AtomicU64);

static RESUMES_AT: ResumesAt = ResumesAt(AtomicU64::new(0));
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// How often one yields before it sleeps.
const YIELDS: usize = 4;

/// Looks for something, and yields before it looks again, as long as that is cheap. `None` if it has not come, and the caller should sleep.
pub(crate) fn look_and_yield<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..YIELDS {
        let found = look();
        if found.is_some() || !yield_if_cheap() {
            return found;
        }
    }
    None
}

/// Lets other threads run, if that is cheap. False if it is not.
fn yield_if_cheap() -> bool {
    let before = Instant::now();
    if !RESUMES_AT.has_come(before) {
        return false;
    }
    thread::yield_now();
    RESUMES_AT.note(before, Instant::now());
    true
}

impl ResumesAt {
    fn has_come(&self, now: Instant) -> bool {
        millis(now) >= self.0.load(Ordering::Relaxed)
    }

    /// Notes how long a yield took.
    fn note(&self, before: Instant, after: Instant) {
        if after.saturating_duration_since(before) >= SLOW {
            self.0.store(millis(after + PAUSE), Ordering::Relaxed);
        }
    }
}

fn millis(at: Instant) -> u64 {
    let since = at.saturating_duration_since(*START);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_yield_ends_yielding_for_a_while() {
        let resumes_at = ResumesAt(AtomicU64::new(0));
        let now = *START;
        resumes_at.note(now, now + SLOW / 2);
        assert!(resumes_at.has_come(now + SLOW / 2), "it was cheap");
        resumes_at.note(now, now + SLOW);
        assert!(!resumes_at.has_come(now + PAUSE));
        assert!(resumes_at.has_come(now + SLOW + PAUSE));
    }
}
