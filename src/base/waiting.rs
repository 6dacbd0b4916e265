//! How to wait: until when, and, by adaptive yielding, not at once in the kernel.
//!
//! A thread that expects work in a moment yields before it sleeps, which saves a wake-up, for as long as yielding is cheap.
//!
//! Beside threads that only wait, a yield returns at once. Beside threads that compute it returns after their time slices, milliseconds later, where a
//! thread that sleeps would have been woken in front of them. So each yield is timed, and one that was slow ends yielding in the whole process for a
//! while.
//!
//! A thread that others depend on says that it is about to wait, and is relieved of that first: *leader/followers*. Must not know what is expected.

use std::cell::RefCell;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A year: when a wait ends that is too long for the clock, such as `Duration::MAX`.
pub(super) const NEVER: Duration = Duration::from_secs(60 * 60 * 24 * 365);

/// Now and this much later.
pub(crate) fn after(wait: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(wait).unwrap_or(now + NEVER)
}

thread_local! {
    /// What relieves this thread of those who depend on it.
    static RELIEVE: RefCell<Option<Relieve>> = const { RefCell::new(None) };
}

/// Has another thread do what others depend on, once. False if there is none for it.
pub(crate) type Relieve = Box<dyn Fn() -> bool>;

/// To be called before a thread waits for what may take long: a peer, a disk, code of the embedder's. False if it must not, because others wait for this thread.
pub(crate) fn about_to_wait() -> bool {
    RELIEVE.with_borrow(|relieve| relieve.as_ref().is_none_or(|relieve| relieve()))
}

/// Others depend on this thread until it is relieved, or no more.
pub(crate) fn relieve_with(relieve: Option<Relieve>) {
    RELIEVE.set(relieve);
}

/// The time slice of a thread that computes is longer; the turns of many threads that only pass something on are shorter.
const SLOW: Duration = Duration::from_millis(2);

/// How long nobody yields after one that was slow: twice as long as the last time, up to a bound, unless yields have stayed cheap for as long in between: a
/// machine that computes all the time is tried once a second, and a hiccup costs one short pause.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// When yielding may be tried again, and how long that was forbidden. Written seldom, so that threads which read it do not disturb each other.
struct YieldPause {
    /// In milliseconds after [`START`].
    until: AtomicU64,
    /// In milliseconds. Written by a thread that has moved `until`, and by none after it before that has come.
    length: AtomicU64,
}

static PAUSE: YieldPause = YieldPause::none();
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// How often one yields before it sleeps.
const YIELDS: usize = 10;

/// Looks for something, and yields before it looks again, as long as that is cheap. `None` if it has not come, and the caller should sleep.
pub(crate) fn look_and_yield<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let mut found = look();
    let mut now = None;
    for _ in 0..YIELDS {
        if found.is_some() {
            break; // what is there already does not ask the clock
        }
        let before = now.unwrap_or_else(Instant::now);
        if !PAUSE.is_over(before) {
            break;
        }
        thread::yield_now();
        let after = Instant::now();
        PAUSE.note(before, after);
        now = Some(after);
        found = look();
    }
    found
}

impl YieldPause {
    const fn none() -> YieldPause {
        YieldPause {
            until: AtomicU64::new(0),
            length: AtomicU64::new(0),
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        since_start(now) >= self.until.load(Ordering::Relaxed)
    }

    /// Notes how long a yield took. Of several that were slow together the first counts.
    fn note(&self, before: Instant, after: Instant) {
        if after.saturating_duration_since(before) < SLOW {
            return;
        }
        let until = self.until.load(Ordering::Relaxed);
        let length = self.length.load(Ordering::Relaxed);
        let Some(cheap) = since_start(before).checked_sub(until) else {
            return;
        };
        let next = match cheap >= length {
            true => PAUSE_MIN,
            false => PAUSE_MAX.min(Duration::from_millis(2 * length)),
        };
        let moved = since_start(after + next);
        let relaxed = Ordering::Relaxed;
        let is_first = self.until.compare_exchange(until, moved, relaxed, relaxed);
        if is_first.is_ok() {
            self.length.store(millis(next), relaxed);
        }
    }
}

fn since_start(at: Instant) -> u64 {
    millis(at.saturating_duration_since(*START))
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Yields slowly from then on; when yielding may be tried again.
    fn slow(pause: &YieldPause, at: Instant) -> Instant {
        pause.note(at, at + SLOW);
        *START + Duration::from_millis(pause.until.load(Ordering::Relaxed))
    }

    #[test]
    fn a_slow_yield_ends_yielding_for_a_while() {
        let pause = YieldPause::none();
        let now = *START;
        pause.note(now, now + SLOW / 2);
        assert!(pause.is_over(now + SLOW / 2), "it was cheap");
        assert_eq!(slow(&pause, now), now + SLOW + PAUSE_MIN);
        assert!(!pause.is_over(now + PAUSE_MIN));
        assert!(pause.is_over(now + SLOW + PAUSE_MIN));
    }

    #[test]
    fn yields_that_stay_slow_are_tried_more_and_more_seldom() {
        let pause = YieldPause::none();
        let mut at = *START;
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let over = slow(&pause, at);
            assert_eq!(
                slow(&pause, at),
                over,
                "another that began before the pause changes nothing"
            );
            pauses.push((over - at - SLOW).as_millis());
            at = over;
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        // Cheap for as long as the last pause.
        at += PAUSE_MAX;
        assert_eq!(slow(&pause, at), at + SLOW + PAUSE_MIN);
    }
}
