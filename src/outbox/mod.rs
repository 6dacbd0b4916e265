//! The bounded way out. `producer` has its policy, and what producers hold; `receiver` what a transport drains; `queue` what waits between them; `short` how
//! a worker sends an answer itself. Must not know HTTP or pipes.

mod answer;
mod producer;
mod queue;
mod receiver;
mod short;

pub(crate) use self::answer::{Admission, Answer, Pace, Rest, ShortSent, ShortWay};
pub(crate) use self::producer::{Accounts, AnswerSlot, Bounds, Outbox, Wake};
pub(crate) use self::queue::{EventKind, EventSource, Events, Item};
pub(crate) use self::receiver::{OutboxReceiver, Pending, Rings, outbox};
pub(crate) use self::short::short_way_is_on;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use self::tests::{answer, new_outbox, outbox_on, source};
