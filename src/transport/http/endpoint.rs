//! The MCP endpoint: what all its exchanges share.
//!
//! The engine, the paths, who may call, the bounds, and the places for event streams. What is done with an exchange stands in `serve`, which begins
//! the reading, then `get` and `write`. Must not know how bytes are read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::base::limits::Limits;
use crate::engine::Engine;
use crate::observe::access::Access;
use crate::outbox::{Bounds, Outbox, OutboxReceiver};
use crate::transport::http::callers::Callers;
use crate::transport::http::paths::Paths;
use crate::transport::http::policy::Overload;

/// The MCP endpoint.
pub(crate) struct Endpoint {
    pub(crate) engine: Arc<Engine>,
    pub(crate) paths: Paths,
    pub(super) callers: Callers,
    pub(super) overload: Overload,
    pub(crate) limits: Arc<Limits>,
    /// Event streams open now.
    streams: Arc<AtomicUsize>,
}

impl Endpoint {
    pub(crate) fn new(
        engine: &Arc<Engine>,
        paths: Paths,
        callers: Callers,
        overload: Overload,
        limits: &Arc<Limits>,
    ) -> Self {
        Endpoint {
            engine: Arc::clone(engine),
            paths,
            callers,
            overload,
            limits: Arc::clone(limits),
            streams: Arc::clone(engine.streams()),
        }
    }

    /// Tells of the end of a request.
    pub(super) fn ended(&self, access: &Access, status: u16) {
        self.engine.observer().ended(access, Some(status));
    }

    /// What one exchange reads from. A client that cannot be streamed to cannot be asked either.
    pub(super) fn outbox(&self, can_stream: bool) -> (Outbox, OutboxReceiver) {
        let (outbox, receiver) = self.engine.outbox(Bounds {
            answers_max: 1,
            bytes_max: self.limits.outbox_bytes_max,
        });
        if !can_stream {
            outbox.take_no_requests();
        }
        (outbox, receiver)
    }
}

/// One of the event streams that may be open at once, given back when it is dropped.
pub(super) struct StreamPlace(Arc<AtomicUsize>);

impl StreamPlace {
    pub(super) fn take(endpoint: &Endpoint) -> Option<Self> {
        let place = StreamPlace::insist(endpoint);
        let open = place.0.load(Ordering::Relaxed);
        (open <= endpoint.limits.streams_max).then_some(place)
    }

    /// Takes a place even beyond the bound.
    pub(super) fn insist(endpoint: &Endpoint) -> Self {
        endpoint.streams.fetch_add(1, Ordering::Relaxed);
        StreamPlace(Arc::clone(&endpoint.streams))
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
