//! Where handlers run: a lane is a name, a fixed number of worker threads, a bounded queue. The one concept of concurrency.

mod definition;
mod running;
mod waits;
mod worker;

pub use self::definition::Lane;
pub(crate) use self::running::{Meter, NoTicket, Refused, RunningLane, Ticket};
pub(crate) use self::waits::Waits;
pub(crate) use self::worker::{Ended, Job};
