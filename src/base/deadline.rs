//! The moment that is so long from now, however long that is.

use std::time::{Duration, Instant};

/// Now and this much later. A wait too long for the clock, such as `Duration::MAX`, ends in a year.
pub(crate) fn after(wait: Duration) -> Instant {
    const NEVER: Duration = Duration::from_secs(60 * 60 * 24 * 365);
    let now = Instant::now();
    now.checked_add(wait).unwrap_or(now + NEVER)
}
