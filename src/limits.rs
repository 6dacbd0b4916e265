//! Every bound the library keeps, in one place: its name, its unit, its default and the reason for it.
//!
//! Nothing here enforces anything; the room that owns a resource reads its bound from here. A value outside a bound is
//! answered with a clear error and costs nothing, so that no input can make the server grow or stall.

use std::time::Duration;

/// The bounds of a server. Start from [`Limits::default`] and change what you need:
///
/// ```
/// use mcp_threads::Limits;
/// let limits = Limits { body_bytes_max: 1024 * 1024, ..Limits::default() };
/// assert_eq!(limits.sessions_max, 1024);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest HTTP request body, in bytes. Default 4 MiB, what most peers accept. Beyond it: `413`.
    pub body_bytes_max: usize,
    /// Longest line on stdio, in bytes. Default 4 MiB, so that both transports carry the same messages. Beyond it the line is
    /// skipped and answered with `-32600`.
    pub line_bytes_max: usize,
    /// Deepest nesting of arrays and objects in one message. Default 64, at most 120: real arguments stay below 20, and a parser that
    /// recurses must never meet more than its stack holds.
    pub json_depth_max: usize,
    /// Most messages in one JSON-RPC batch (revision 2025-03-26 only). Default 64.
    pub batch_len_max: usize,
    /// Most legacy sessions alive at once. Default 1024. At the bound the longest idle session without a call in flight ends;
    /// when all are busy, `initialize` is refused with `503`.
    pub sessions_max: usize,
    /// A legacy session that has been silent this long ends. Default 30 minutes; most clients never send `DELETE`.
    pub session_idle_timeout: Duration,
    /// Most HTTP exchanges that may wait for their answer at once in the tiny_http front, each on its own I/O thread. Default 1024.
    /// The next one gets `503`.
    pub exchanges_max: usize,
    /// Progress and log events that wait for one slow reader before the oldest is dropped. Default 256 per HTTP answer or pipe.
    pub outbox_events_max: usize,
    /// Bytes of answers and events that wait for one slow reader. Default 4 MiB. Beyond it the oldest events are dropped; answers are
    /// kept, but on stdio no further request is read until some have been.
    pub outbox_bytes_max: usize,
    /// Answers on stdio that may wait to be read before the server stops reading stdin. Default 1024. Calls that are still running do not count.
    pub outbox_answers_max: usize,
    /// A call that has sent nothing for this long is answered with an event stream, so that clients and proxies see that it is alive. Default
    /// 1 s.
    pub stream_after: Duration,
    /// The longest silence on an open event stream before a comment line is sent. Default 10 s.
    pub heartbeat_interval: Duration,
    /// How long a cancelled handler may take to return during shutdown before its thread is left behind. Default 1 s.
    pub cancel_grace: Duration,
    /// How long a handler waits for a handshake-era client to answer a question. Default 5 minutes, because a person answers. Then:
    /// [`AskError::TimedOut`](crate::AskError::TimedOut).
    pub ask_timeout: Duration,
    /// Most bytes of answers and kept values in the request state, which a client sends with each further round of a call. Default 64 KiB. Beyond
    /// it: `-32602`.
    pub request_state_bytes_max: usize,
    /// How long a request state is valid, that is, how long a client may take to come back with answers. Default 1 hour. Then: `-32602`, and the
    /// client has to start the call again.
    pub request_state_ttl: Duration,
    /// Most streams of change notifications (`subscriptions/listen`) open on one pipe. Default 64. Beyond it: `503`. On HTTP
    /// they count among [`streams_max`](Self::streams_max).
    pub subscriptions_max: usize,
    /// Most resources that one `subscriptions/listen` may watch. Default 256. Beyond it: `-32602`.
    pub subscription_uris_max: usize,
    /// Longest URI of a resource that is watched, in bytes. Default 4 KiB. Beyond it: `-32602`.
    pub subscription_uri_bytes_max: usize,
    /// Most resources that one legacy session may watch. Default 1024. Beyond it: `-32602`.
    pub session_subscriptions_max: usize,
    /// Items on one page of a list. Default 100.
    pub page_len: usize,

    /// Longest HTTP request head, in bytes. Default 16 KiB. Beyond it: `431`. Guarded front.
    pub head_bytes_max: usize,
    /// Most header fields in one request. Default 100. Beyond it: `431`. Guarded front.
    pub header_count_max: usize,
    /// Longest request target, in bytes. Default 4 KiB. Beyond it: `414`. Guarded front.
    pub target_bytes_max: usize,
    /// Time for a whole request head, from its first byte to its last. Default 10 s, so a byte a second does not help.
    /// Then: `408`. Guarded front.
    pub head_timeout: Duration,
    /// Time for a body before the first byte counts; see [`body_bytes_per_second_min`](Self::body_bytes_per_second_min).
    /// Default 10 s. Then: `408`. Guarded front.
    pub body_timeout: Duration,
    /// A body earns one more second for every so many bytes that have arrived. Default 64 KiB, so that neither silence nor
    /// dripping holds a thread. Guarded front.
    pub body_bytes_per_second_min: usize,
    /// How long a connection may stay open between two requests. Default 60 s. Guarded front.
    pub idle_timeout: Duration,
    /// How long one write may wait for a reader that does not read. Default 30 s, then the connection is closed. Guarded front.
    pub write_timeout: Duration,
    /// Most connections at once. Default 1024. The next one gets `503` and is closed by the acceptor. Guarded front.
    pub connections_max: usize,
    /// Most requests on one connection before it is closed with `Connection: close`. Default 1,000,000. Guarded front.
    pub requests_per_connection_max: u64,
    /// Most event streams open at once. Default 512. A call beyond it sends no progress and is answered as plain JSON when it
    /// ends; a `GET` beyond it gets `503`.
    pub streams_max: usize,
    /// Most event streams of one legacy session that are kept for a client to come back with `Last-Event-ID`, their calls still in flight
    /// or just answered. Default 16. Beyond it the oldest is forgotten, one that has been answered first; its call goes on.
    pub parked_streams_max: usize,
    /// Bytes of answers and events in the parked streams of one legacy session together. Default 1 MiB. Beyond it the oldest of these
    /// streams is forgotten when the next one comes; the last may hold an answer of any length.
    pub parked_bytes_max: usize,
    /// Bytes of one legacy session that have been sent and are kept for a resumed stream, and bytes of notifications that wait until the client
    /// listens. Default 64 KiB each. Beyond it the oldest go; an answer longer than this is kept only until it has been sent.
    pub replay_bytes_max: usize,
    /// Notifications of one legacy session that wait until the client listens. Default 32. Beyond it the oldest go.
    pub announcements_max: usize,
    /// How long a client should wait before it reconnects for the rest of a stream (`retry` of the event stream). Default 1 s.
    pub retry_hint: Duration,
    /// How soon a client that has left is noticed while its call is in flight. Default 100 ms; looking starts only when a call
    /// has lasted this long, so that fast calls pay nothing. Guarded front.
    pub departure_interval: Duration,
    /// Longest line that announces a chunk, in bytes: its size and its extension. Default 256; real ones have under ten.
    /// Beyond it: `400`. Guarded front.
    pub chunk_line_bytes_max: usize,
    /// Most bytes that the chunk extensions of one body may have together. Default 16 KiB. They carry nothing, so without a
    /// bound a body of the allowed size could cost any number of bytes to read. Beyond it: `400`. Guarded front.
    pub chunk_extension_bytes_max: usize,
    /// Longest trailer section behind a chunked body, in bytes. Default 4 KiB; trailers are read and dropped. Beyond it:
    /// `400`. Guarded front.
    pub trailer_bytes_max: usize,
    /// The longest body that is read and dropped, in bytes, when a request was answered without it and it has arrived already.
    /// Default 64 KiB, which a rejected call rarely exceeds. For a longer one the connection is closed. Guarded front.
    pub unread_body_bytes_max: usize,
    /// How long a connection that the server closes goes on reading, so that the client can read the answer before a reset
    /// destroys it. Default 2 s. Guarded front.
    pub linger_timeout: Duration,
    /// A connection that has been silent this long gives its buffers back. Default 100 ms: short enough that even a crowd that
    /// comes at once soon holds none, long enough that busy connections never pay for it. Guarded front.
    pub buffer_idle_timeout: Duration,
    /// A peer that has vanished without closing its connection is noticed after this long. Default 90 s, by TCP keep-alive probes and, on
    /// Linux, the bound on unacknowledged data. Guarded front.
    pub dead_peer_timeout: Duration,
    /// Stack of a connection's thread, in bytes. Default 256 KiB of address space; only touched pages cost memory. It must
    /// hold the parser of a message [`json_depth_max`](Self::json_depth_max) deep. Guarded front.
    pub connection_stack_bytes: usize,
    /// Connections that may wait in the kernel to be accepted. Default 1024; the kernel may allow fewer. Guarded front.
    pub accept_backlog_len: usize,
    /// The first wait after accepting has failed, doubled with every further failure. Default 5 ms. Guarded front.
    pub accept_retry_min: Duration,
    /// The longest wait after accepting has failed. Default 1 s. Guarded front.
    pub accept_retry_max: Duration,
    /// Most refused connections kept open for [`refused_linger`](Self::refused_linger) at once, each costing a descriptor and
    /// no thread. Default 64; beyond it the oldest is closed. Guarded front.
    pub refused_connections_max: usize,
    /// How long a refused connection stays open so that the client can read the refusal. Default 250 ms. Guarded front.
    pub refused_linger: Duration,
}

impl Limits {
    /// The first value that cannot work, in a sentence that says what can.
    pub(crate) fn problem(&self) -> Option<String> {
        let at_least_one = [
            ("line_bytes_max", self.line_bytes_max),
            ("batch_len_max", self.batch_len_max),
            ("sessions_max", self.sessions_max),
            ("exchanges_max", self.exchanges_max),
            ("outbox_bytes_max", self.outbox_bytes_max),
            ("outbox_answers_max", self.outbox_answers_max),
            ("page_len", self.page_len),
            ("head_bytes_max", self.head_bytes_max),
            ("header_count_max", self.header_count_max),
            ("target_bytes_max", self.target_bytes_max),
            ("connections_max", self.connections_max),
        ];
        if let Some((name, _)) = at_least_one.into_iter().find(|(_, value)| *value == 0) {
            return Some(format!("`Limits::{name}` is 0; it must be at least 1"));
        }
        let not_zero = [
            ("heartbeat_interval", self.heartbeat_interval),
            ("departure_interval", self.departure_interval),
        ];
        if let Some((name, _)) = not_zero.into_iter().find(|(_, value)| value.is_zero()) {
            return Some(format!(
                "`Limits::{name}` is zero, which would never let a thread rest"
            ));
        }
        if !(1..=JSON_DEPTH_MAX).contains(&self.json_depth_max) {
            return Some(format!(
                "`Limits::json_depth_max` is {}; it must be from 1 to {JSON_DEPTH_MAX}",
                self.json_depth_max
            ));
        }
        None
    }
}

/// The parser that reads arguments recurses and refuses more by itself.
const JSON_DEPTH_MAX: usize = 120;

impl Default for Limits {
    fn default() -> Self {
        Limits {
            body_bytes_max: 4 * 1024 * 1024,
            line_bytes_max: 4 * 1024 * 1024,
            json_depth_max: 64,
            batch_len_max: 64,
            sessions_max: 1024,
            session_idle_timeout: Duration::from_secs(30 * 60),
            exchanges_max: 1024,
            outbox_events_max: 256,
            outbox_bytes_max: 4 * 1024 * 1024,
            outbox_answers_max: 1024,
            stream_after: Duration::from_secs(1),
            heartbeat_interval: Duration::from_secs(10),
            cancel_grace: Duration::from_secs(1),
            ask_timeout: Duration::from_secs(5 * 60),
            request_state_bytes_max: 64 * 1024,
            request_state_ttl: Duration::from_secs(60 * 60),
            subscriptions_max: 64,
            subscription_uris_max: 256,
            subscription_uri_bytes_max: 4 * 1024,
            session_subscriptions_max: 1024,
            page_len: 100,
            head_bytes_max: 16 * 1024,
            header_count_max: 100,
            target_bytes_max: 4 * 1024,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            body_bytes_per_second_min: 64 * 1024,
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            connections_max: 1024,
            requests_per_connection_max: 1_000_000,
            streams_max: 512,
            parked_streams_max: 16,
            parked_bytes_max: 1024 * 1024,
            replay_bytes_max: 64 * 1024,
            announcements_max: 32,
            retry_hint: Duration::from_secs(1),
            departure_interval: Duration::from_millis(100),
            chunk_line_bytes_max: 256,
            chunk_extension_bytes_max: 16 * 1024,
            trailer_bytes_max: 4 * 1024,
            unread_body_bytes_max: 64 * 1024,
            linger_timeout: Duration::from_secs(2),
            buffer_idle_timeout: Duration::from_millis(100),
            dead_peer_timeout: Duration::from_secs(90),
            connection_stack_bytes: 256 * 1024,
            accept_backlog_len: 1024,
            accept_retry_min: Duration::from_millis(5),
            accept_retry_max: Duration::from_secs(1),
            refused_connections_max: 64,
            refused_linger: Duration::from_millis(250),
        }
    }
}
