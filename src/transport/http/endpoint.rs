//! The MCP endpoint: what all its exchanges share.
//!
//! The engine, the table of paths, who may call, the bounds, and the places for event streams. What is done with an exchange stands in `serve`, which begins
//! the reading, then `get` and `write`. Must not know how bytes are read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::base::limits::Limits;
use crate::engine::Engine;
use crate::observe::access::Access;
use crate::outbox::{Bounds, OutboxReceiver};
use crate::transport::http::callers::Callers;
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
    pub(super) fn outbox(&self, can_stream: bool) -> OutboxReceiver {
        let (outbox, receiver) = self.engine.outbox(Bounds {
            answers_max: 1,
            bytes_max: self.limits.outbox_bytes_max,
        });
        if !can_stream {
            outbox.take_no_requests();
        }
        receiver
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

/// What is served at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// The MCP endpoint.
    Mcp,
    /// Whether the server takes calls, for probes.
    Health,
}

/// Every path with what is served there. A slash at the end makes no other path.
#[derive(Clone, Debug)]
pub(crate) struct Paths(Vec<(String, Route)>);

impl Paths {
    /// Takes the paths, or says in a sentence which of them could never be asked for.
    pub(crate) fn new<'a>(
        paths: impl IntoIterator<Item = (&'a str, Route)>,
    ) -> Result<Self, String> {
        let mut table: Vec<(String, Route)> = Vec::new();
        for (path, route) in paths {
            let is_sent = |byte: u8| byte.is_ascii_graphic() && !b"?#".contains(&byte);
            if !path.starts_with('/') || !path.bytes().all(is_sent) {
                return Err(format!(
                    "the path `{path}` must begin with `/` and have only visible ASCII characters other than `?` and `#`"
                ));
            }
            let path = without_slash(path).to_owned();
            if table.iter().any(|(taken, _)| *taken == path) {
                return Err(format!("the path `{path}/` is to serve two things"));
            }
            table.push((path, route));
        }
        Ok(Paths(table))
    }

    /// What is served at a request's target, if anything is.
    pub(crate) fn find(&self, target: &str) -> Option<Route> {
        let path = origin_form(target).split(['?', '#']).next()?;
        let path = without_slash(path);
        let mut table = self.0.iter();
        table.find(|(known, _)| known == path).map(|entry| entry.1)
    }
}

fn without_slash(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

/// The target without scheme and authority, which a proxy may have left in (RFC 9112 §3.2.2). Whether they agree with `Host` is the front's to
/// see to; `Host` is what counts here.
fn origin_form(target: &str) -> &str {
    let rest = target
        .strip_prefix("http://")
        .or_else(|| target.strip_prefix("https://"));
    match rest.map(|rest| rest.find('/').map(|at| &rest[at..])) {
        None => target,
        Some(path) => path.unwrap_or("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_leads_to_what_is_served_there() {
        let paths = Paths::new([("/mcp", Route::Mcp), ("/up/", Route::Health)]);
        let paths = paths.expect("these can be asked for");
        for (target, route) in [
            ("/mcp", Some(Route::Mcp)),
            ("/mcp/", Some(Route::Mcp)),
            ("/mcp?x=1", Some(Route::Mcp)),
            ("/mcp/?x=/", Some(Route::Mcp)),
            ("http://localhost/mcp", Some(Route::Mcp)),
            ("/up", Some(Route::Health)),
            ("/up/", Some(Route::Health)),
            ("/mcp//", None),
            ("//mcp", None),
            ("/MCP", None),
            ("/mcp/x", None),
            ("/", None),
            ("http://localhost", None),
            ("", None),
        ] {
            assert_eq!(paths.find(target), route, "{target}");
        }
        let root = Paths::new([("/", Route::Mcp)]).expect("the root is a path");
        assert_eq!(root.find("/?x"), Some(Route::Mcp));
        assert_eq!(root.find("http://localhost"), Some(Route::Mcp));
    }

    #[test]
    fn a_path_that_nobody_could_ask_for_is_a_mistake() {
        for path in ["mcp", "", "/a b", "/é", "/a?b", "/a#b", "/a\n"] {
            let mistake = Paths::new([(path, Route::Mcp)]).expect_err("it cannot be asked for");
            assert!(mistake.contains(path), "{mistake}");
        }
        let twice = Paths::new([("/a", Route::Mcp), ("/a/", Route::Health)]);
        assert!(twice.is_err_and(|mistake| mistake.contains("`/a/`")));
    }
}
