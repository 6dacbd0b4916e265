//! What every room may use: errors, bounds and budgets, cancellation, how to wait, the clock, the time in which the process was awake, what may hang, the heap, panics, signs of life, how long
//! something lives, what is under way and for whom, what the kernel says of a thread, takes at once, and fails in for a moment, the mutex, counters, the log and stderr, the setters of builders.
//!
//! Must not know what a request is.

pub(crate) mod aside;
pub(crate) mod awake;
pub(crate) mod budget;
pub(crate) mod cancel;
pub(crate) mod clock;
pub(crate) mod counted;
pub(crate) mod errands;
pub(crate) mod error;
pub(crate) mod heap;
pub(crate) mod in_flight;
pub(crate) mod kernel;
pub(crate) mod life;
pub(crate) mod limits;
pub(crate) mod lock;
pub(crate) mod log;
pub(crate) mod log_rate;
pub(crate) mod lossy;
pub(crate) mod owner;
pub(crate) mod panics;
#[cfg(unix)]
pub(crate) mod passing;
pub(crate) mod pulse;
#[cfg(unix)]
pub(crate) mod send;
pub(crate) mod setters;
pub(crate) mod stats;
pub(crate) mod stderr;
pub(crate) mod waiting;
