//! The time in which this process was awake: it stands still while the process is suspended, by `SIGSTOP`, by a frozen container, with a virtual machine.
//!
//! What others did meanwhile could not be read, so none of it may count against them. Nobody is told of a suspension, so it is found: a clock's thread notes several
//! times a second that it runs, and the first who asks for the time when that note is old has found one. Must not know who is judged by it.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::base::lock::Lock;
use crate::base::waiting::{NEVER, millis};

/// Longer than a thread waits for its turn on a machine that is busy, and more than time enough to read what has come while nobody could: so much is given on top.
const SUSPENDED: Duration = Duration::from_secs(1);

/// What has been seen of the time, in milliseconds.
struct Awake {
    /// When a clock ran last; 0 if none has since a suspension was found.
    seen: AtomicU64,
    lost: AtomicU64,
    /// Held by who has found a suspension, so that it counts once.
    finding: Lock<()>,
}

static AWAKE: Awake = Awake::new();
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Now, to be compared with what was asked for here and with nothing else.
pub(crate) fn now() -> Instant {
    AWAKE.at(Instant::now())
}

/// This much later.
pub(crate) fn after(wait: Duration) -> Instant {
    let now = now();
    now.checked_add(wait).unwrap_or(now + NEVER)
}

/// A clock's thread runs.
pub(super) fn note() {
    AWAKE.note(Instant::now());
}

impl Awake {
    const fn new() -> Self {
        Awake {
            seen: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            finding: Lock::new(()),
        }
    }

    fn at(&self, now: Instant) -> Instant {
        self.find(since_start(now));
        let lost = Duration::from_millis(self.lost.load(Ordering::Relaxed));
        now.checked_sub(lost).unwrap_or(now)
    }

    fn note(&self, now: Instant) {
        let now = since_start(now);
        self.find(now);
        self.seen.fetch_max(now, Ordering::Release);
    }

    fn find(&self, now: u64) {
        let gap = || match self.seen.load(Ordering::Acquire) {
            0 => None,
            seen => now.checked_sub(seen).filter(|gap| *gap > millis(SUSPENDED)),
        };
        if gap().is_none() {
            return;
        }
        let _one = self.finding.lock();
        if let Some(gap) = gap() {
            // Happens-before: who sees the new note sees what was lost before it.
            self.lost
                .fetch_add(gap + millis(SUSPENDED), Ordering::Relaxed);
            // One for each note, so that the time goes on where no clock runs any more.
            self.seen.store(0, Ordering::Release);
        }
    }
}

/// Never 0.
fn since_start(at: Instant) -> u64 {
    millis(at.saturating_duration_since(*START)) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_still_while_nothing_runs() {
        let (awake, start) = (Awake::new(), *START);
        let at = |millis: u64| start + Duration::from_millis(millis);
        assert_eq!(awake.at(at(60_000)), at(60_000), "there is no clock yet");
        awake.note(at(60_000));
        assert_eq!(awake.at(at(61_000)), at(61_000), "a busy machine");
        // From the last note on, and a moment on top; however many ask.
        assert_eq!(awake.at(at(161_000)), at(59_000));
        assert_eq!(awake.at(at(161_500)), at(59_500));
        awake.note(at(162_000));
        awake.note(at(262_000));
        assert_eq!(awake.at(at(262_100)), at(59_100));
    }
}
