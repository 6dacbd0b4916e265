//! Where handlers run: a lane is a name, a fixed number of worker threads, a bounded queue. The one concept of concurrency.
//!
//! The states of a worker, and who moves it on: itself, or (in brackets) the watchdog on the clock's thread.
//!
//! ```text
//!                 takes an item               [silent past its liveness: cancelled]
//!     idle ───────────────────────> running ────────────────────────────────────────> stalled
//!      ▲ ▲                            │ ▲                                                │
//!      │ └── its handler returns ─────┘ │ one that is given up by name is not stalled      │ [past the grace]
//!      │                                └────────────────────────────────────────────────┤
//!      ├──── its handler returns in the grace: that is the answer, or 504 for an error ──┘
//!      │                                                                                 │
//!      │                                             [answered 504; the worker's result  ▼
//!      │                                              is dropped whenever it comes]    wedged
//!      │                                                                                 │
//!      └──── its handler returns after all, and there was no room for another worker ────┤
//!                                                                                        │ [its slot is a fresh worker's]
//!                          its handler returns after all                                 ▼
//!     ended <──────────────────────────────────────────────────────────────────────── abandoned
//! ```
//!
//! A lane has as many slots as workers. A worker that is idle, running, stalled or wedged has one; so the threads of a lane are its size and the abandoned
//! ones, which are bounded in number and in rate. With every worker wedged the lane refuses what comes and what waits.

mod definition;
mod submit;
mod threads;
mod waits;
mod watchdog;
mod worker;

pub use self::definition::Lane;
pub(crate) use self::submit::{LaneRefusal, RunningLane, Ticket};
pub(crate) use self::threads::Meter;
pub(crate) use self::waits::{Permit, Waits};
pub(crate) use self::watchdog::Watchdog;
pub(crate) use self::worker::{Running, Silence, WorkEnd, WorkItem};
