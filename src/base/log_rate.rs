//! Rate limiting for log lines that a peer can cause as often as it likes: a full disk of them is a second failure.
//!
//! Must not know what is logged.

use std::time::{Duration, Instant};

use crate::base::waiting::after;

/// One kind of line, written at most once a second.
#[derive(Debug, Default)]
pub(crate) struct LogRate {
    /// What has happened and not been told.
    untold: u64,
    /// Not before this.
    next: Option<Instant>,
}

const EVERY: Duration = Duration::from_secs(1);

impl LogRate {
    /// It has happened again. How often since the last line, if a line may be written now.
    pub(crate) fn again(&mut self) -> Option<u64> {
        self.untold += 1;
        self.rest()
    }

    /// How often it has happened since the last line, if it has and a line may be written now.
    pub(crate) fn rest(&mut self) -> Option<u64> {
        let waits = self.next.is_some_and(|next| Instant::now() < next);
        if self.untold == 0 || waits {
            return None;
        }
        self.next = Some(after(EVERY));
        Some(std::mem::take(&mut self.untold))
    }

    /// When to ask for the [`rest`](Self::rest), if there is one.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.next.filter(|_| self.untold > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_others_together_a_second_later() {
        let mut rate = LogRate::default();
        assert_eq!((rate.due(), rate.rest()), (None, None));
        assert_eq!(rate.again(), Some(1));
        assert_eq!((rate.due(), rate.rest()), (None, None), "nothing is untold");
        for _ in 0..291 {
            assert_eq!(rate.again(), None);
        }
        let due = rate.due().expect("some are untold");
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        assert_eq!((rate.rest(), rate.due()), (Some(291), None));
    }
}
