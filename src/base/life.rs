//! How long something lives, as a value: a [`Life`] belongs to it, a [`Span`] lets others see whether it is over.
//!
//! What is kept for a session, a workspace or a job carries a span, so that nobody has to be told of its end. Must not know what lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The life of something. It ends when it is ended, or dropped.
#[derive(Debug, Default)]
pub(crate) struct Life(Arc<AtomicBool>);

/// A view of it. Two are equal when they are of the same life.
#[derive(Clone, Debug)]
pub(crate) struct Span(Arc<AtomicBool>);

impl Life {
    pub(crate) fn span(&self) -> Span {
        Span(Arc::clone(&self.0))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn end(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.end();
    }
}

impl Span {
    pub(crate) fn is_over(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl PartialEq for Span {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
