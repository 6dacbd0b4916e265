//! The bounded way out: where handlers and the engine put what a transport will write.

mod answer;
mod queue;
mod reader;
mod short;
mod writer;

pub(crate) use self::answer::{Answer, Rest, ShortWay, Standing, Taken};
pub(crate) use self::queue::{EventKind, EventSource};
pub(crate) use self::reader::{OutboxReader, Pending, outbox};
pub(crate) use self::writer::{Accounts, AnswerSlot, Bounds, Item, Outbox, Wake};

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use self::tests::{new_outbox, source};
