//! The MCP endpoint: what all its exchanges share.
//!
//! The engine, who may call, the bounds, and the places for event streams. What is done with an exchange stands in `serve`, `get` and `reply`. Must not
//! know how bytes are read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::base::limits::Limits;
use crate::engine::Engine;
use crate::observe::access::{Access, Outcome, RequestTag};
use crate::outbox::{Bounds, Outbox, OutboxReader, outbox};
use crate::transport::http::policy::Guard;

/// The MCP endpoint.
pub(crate) struct Endpoint {
    pub(crate) engine: Arc<Engine>,
    pub(super) guard: Guard,
    pub(crate) limits: Arc<Limits>,
    /// Event streams open now.
    streams: Arc<AtomicUsize>,
}

impl Endpoint {
    pub(crate) fn new(engine: &Arc<Engine>, guard: Guard, limits: &Arc<Limits>) -> Self {
        Endpoint {
            engine: Arc::clone(engine),
            guard,
            limits: Arc::clone(limits),
            streams: Arc::clone(engine.streams()),
        }
    }

    /// Tells of the end of a request that is over with its head.
    pub(super) fn ended(
        &self,
        tag: &RequestTag,
        method: &'static str,
        outcome: Outcome,
        status: u16,
    ) {
        let access = Access::immediate(tag.clone(), method, outcome);
        self.engine.observer().ended(&access, Some(status));
    }

    /// What one exchange reads from. A client that cannot be streamed to cannot be asked either.
    pub(super) fn outbox(&self, can_stream: bool) -> (Outbox, OutboxReader) {
        let (outbox, reader) = outbox(
            Bounds {
                answers_max: 1,
                events_max: self.limits.outbox_events_max,
                bytes_max: self.limits.outbox_bytes_max,
            },
            self.engine.observer(),
        );
        if !can_stream {
            outbox.take_no_requests();
        }
        (outbox, reader)
    }
}

/// One of the event streams that may be open at once.
pub(super) struct StreamPlace<'a>(&'a AtomicUsize);

impl<'a> StreamPlace<'a> {
    pub(super) fn take(endpoint: &'a Endpoint) -> Option<Self> {
        let streams = &endpoint.streams;
        if streams.fetch_add(1, Ordering::Relaxed) < endpoint.limits.streams_max {
            return Some(StreamPlace(streams));
        }
        streams.fetch_sub(1, Ordering::Relaxed);
        None
    }

    /// Takes a place even beyond the bound.
    pub(super) fn insist(endpoint: &'a Endpoint) -> Self {
        endpoint.streams.fetch_add(1, Ordering::Relaxed);
        StreamPlace(&endpoint.streams)
    }
}

impl Drop for StreamPlace<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
