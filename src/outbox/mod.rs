//! The bounded way out: where handlers and the engine put what a transport will write.

mod answer;
mod queue;
mod receiver;
mod short;
mod writer;

pub(crate) use self::answer::{Admission, Answer, Pace, Rest, ShortSent, ShortWay};
pub(crate) use self::queue::{EventKind, EventSource};
pub(crate) use self::receiver::{OutboxReceiver, Pending, Rings, outbox};
pub(crate) use self::short::short_way_is_on;
pub(crate) use self::writer::{Accounts, AnswerSlot, Bounds, Item, Outbox, Wake};

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use self::tests::{new_outbox, source};
