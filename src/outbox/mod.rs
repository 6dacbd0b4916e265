//! The bounded way out: where handlers and the engine put what a transport will write.

mod reader;
mod writer;

pub(crate) use self::reader::{OutboxReader, outbox};
pub(crate) use self::writer::{Answer, AnswerSlot, Bounds, Item, Outbox, Standing};

#[cfg(test)]
mod tests;
