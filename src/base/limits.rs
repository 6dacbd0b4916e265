//! Every bound the library keeps, in one place: its name, its unit, its default and the reason for it.
//!
//! Nothing here enforces anything; the room that owns a resource reads its bound from here. A value outside a bound is
//! answered with a clear error and costs nothing, so that input makes the server neither grow beyond them nor stall.

use std::time::Duration;

use crate::base::setters::setters;

/// Declares each bound once: its documentation, its type and its default make the field, the setter and [`Limits::default`].
macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $default:expr,)*) => {
        /// The bounds of a server. Start from [`Limits::default`] and change what you need:
        ///
        /// ```
        /// use mcp_threads::Limits;
        /// let limits = Limits::default().body_bytes_max(1024 * 1024).sessions_max(64);
        /// ```
        ///
        /// A bound that cannot work, such as a length of 0, is reported when the server starts.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Limits {
            $(pub(crate) $name: $type,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Limits { $($name: $default,)* }
            }
        }

        impl Limits {
            setters! {
                $(
                    $(#[$doc])*
                    $name($name: $type) => $name = $name;
                )*
            }
        }
    };
}

limits! {
    /// Bytes that the server keeps for all its peers together: bodies that arrive and wait, answers and events that wait to be read, sessions and
    /// what they keep. Default 512 MiB: more than a hundred of the largest bodies at once, and a machine of 1 GiB still stands. Bodies that have
    /// not arrived whole have half of it, so that short requests are served beside them; then one that stalls makes room for the next (guarded front). Over
    /// it, what may be dropped is dropped, the oldest first; then requests are refused with `503`. The calls of one legacy session over HTTP have half of
    /// it, so that others are served beside them.
    memory_bytes_max: usize = 512 * 1024 * 1024,
    /// Longest HTTP request body, in bytes. Default 4 MiB, what most peers accept. Beyond it: `413`.
    body_bytes_max: usize = 4 * 1024 * 1024,
    /// Longest line on stdio, in bytes. Default 4 MiB, so that both transports carry the same messages. Beyond it the line is
    /// skipped and answered with `-32600`.
    line_bytes_max: usize = 4 * 1024 * 1024,
    /// Deepest nesting of arrays and objects in one message. Default 64, at most 120: real arguments stay below 20, and a parser that
    /// recurses must never meet more than its stack holds.
    json_depth_max: usize = 64,
    /// Most values in one message: the outermost, each item and each member. Default 2 Mi: as many digits as fit into the largest body, so that an honest
    /// list of any numbers passes; it bounds the work of a message where [`body_bytes_max`](Self::body_bytes_max) is raised. Beyond it: `-32600`.
    json_values_max: usize = JSON_VALUES_MAX,
    /// Bytes that the JSON of one call may take as a tree: where a handler takes a `serde_json::Value`, or a schema is checked. Default: as many values as
    /// [`json_values_max`](Self::json_values_max) by default, so that the longest list of numbers that fits into the largest body passes, while lists in
    /// lists can take a hundred and fifty times their text. A value takes 32 bytes, which makes 64 MiB; where objects keep the order of their members
    /// (the feature `schema-order`, or serde_json's `preserve_order` in any crate of the program) it takes 72, which makes 144 MiB. Estimated while it
    /// is read, and charged to [`memory_bytes_max`](Self::memory_bytes_max) until the handler has returned: beyond this limit the call fails with an
    /// error that names it, beyond that one with `503`.
    json_tree_bytes_max: usize = JSON_VALUES_MAX * size_of::<serde_json::Value>(),
    /// Most messages in one JSON-RPC batch (revision 2025-03-26 only). Default 64.
    batch_len_max: usize = 64,
    /// Most legacy sessions alive at once. Default 1024. At the bound one without a call in flight ends: the oldest of those whose client has
    /// never sent a second message, or else the longest idle; when all are busy, `initialize` is refused with `503`.
    sessions_max: usize = 1024,
    /// Bytes that one legacy session keeps: what its client says about itself, the resources it watches, what waits for its client to come back or to
    /// listen. Default 8 MiB, so that an answer as long as a body may be fits. Beyond it the oldest of what waits goes, and what else is to be kept is refused with `503`.
    /// All sessions and subscriptions together have half of [`memory_bytes_max`](Self::memory_bytes_max).
    session_bytes_max: usize = 8 * 1024 * 1024,
    /// Event streams of one legacy session that were opened by `GET`, at once. Default 16: a client needs one, and a few more while the server has not
    /// noticed yet that it left others. Beyond it: `503`.
    session_streams_max: usize = 16,
    /// A legacy session that has been silent this long ends. Default 30 minutes; most clients never send `DELETE`. Time in which the process was suspended counts neither
    /// here nor for [`ask_timeout`](Self::ask_timeout) and [`workspace_idle_timeout`](Self::workspace_idle_timeout).
    session_idle_timeout: Duration = Duration::from_secs(30 * 60),
    /// Most HTTP exchanges that may wait for their answer at once in the tiny_http front, each on its own I/O thread, and most calls of `job_status`
    /// that may wait for a job to change. Default 1024. The next exchange gets `503`; for the next such call that which has
    /// waited longest is answered, with the job as it is.
    exchanges_max: usize = 1024,
    /// Bytes of answers and events that wait for one slow reader. Default 16 MiB: a hundred thousand progress events. Beyond it older progress of the
    /// same call goes first, then other progress, log messages and changes of lists last; answers are kept, but on stdio no further request is read until some have
    /// been. What was dropped is told with the answer. All events that wait have a quarter of [`memory_bytes_max`](Self::memory_bytes_max).
    outbox_bytes_max: usize = 16 * 1024 * 1024,
    /// Answers on stdio that may wait to be read before the server stops reading stdin. Default 1024. Calls that are still running do not count.
    outbox_answers_max: usize = 1024,
    /// A call that has sent nothing for this long is answered with an event stream, so that clients and proxies see that it is alive. Default
    /// 1 s.
    stream_after: Duration = Duration::from_secs(1),
    /// The longest silence on an open event stream before a comment line is sent. Default 10 s.
    heartbeat_interval: Duration = Duration::from_secs(10),
    /// How long a cancelled handler may take to return during shutdown before its thread is left behind. Default 1 s.
    cancel_grace: Duration = Duration::from_secs(1),
    /// How long a call that was cancelled because it gave no sign of life may take to return before it is given up, its client is answered with `504`
    /// and its worker is replaced. Default 2 s. See [`Tool::liveness`](crate::Tool::liveness).
    stall_grace: Duration = Duration::from_secs(2),
    /// How long a handler waits for a handshake-era client to answer a question. Default 5 minutes, because a person answers. Then:
    /// [`AskError::TimedOut`](crate::AskError::TimedOut).
    ask_timeout: Duration = Duration::from_secs(5 * 60),
    /// Most bytes of answers and kept values in the request state, which a client sends with each further round of a call. Default 64 KiB. Beyond
    /// it: `-32602`.
    request_state_bytes_max: usize = 64 * 1024,
    /// How long a request state is valid, that is, how long a client may take to come back with answers. Default 1 hour. Then: `-32602`, and the
    /// client has to start the call again.
    request_state_ttl: Duration = Duration::from_secs(60 * 60),
    /// Most streams of change notifications (`subscriptions/listen`) open on one pipe. Default 64. Beyond it: `503`. On HTTP
    /// they count among [`streams_max`](Self::streams_max).
    subscriptions_max: usize = 64,
    /// Most resources that one `subscriptions/listen` may watch. Default 256. Beyond it: `-32602`.
    subscription_uris_max: usize = 256,
    /// Longest URI of a resource that is watched, in bytes. Default 4 KiB. Beyond it: `-32602`.
    subscription_uri_bytes_max: usize = 4 * 1024,
    /// Most resources that one legacy session may watch. Default 1024. Beyond it: `-32602`.
    session_subscriptions_max: usize = 1024,
    /// Items on one page of a list. Default 100.
    page_len: usize = 100,

    /// Longest HTTP request head, in bytes. Default 16 KiB. Beyond it: `431`. Guarded front.
    head_bytes_max: usize = 16 * 1024,
    /// Time for a whole request head, from its first byte to its last. Default 10 s, so a byte a second does not help.
    /// Then: `408`. Guarded front.
    head_timeout: Duration = Duration::from_secs(10),
    /// Time for a body before the first byte counts; see [`body_bytes_per_second_min`](Self::body_bytes_per_second_min).
    /// Default 10 s. Then: `408`. Guarded front.
    body_timeout: Duration = Duration::from_secs(10),
    /// A body earns one more second for every so many bytes that have arrived. Default 64 KiB, so that neither silence nor
    /// dripping holds a thread. Guarded front.
    body_bytes_per_second_min: usize = 64 * 1024,
    /// How long a connection may stay open between two requests. Default 75 s, longer than the 60 s after which load balancers give theirs up, so
    /// that they never send a request on one that is just being closed. Guarded front.
    idle_timeout: Duration = Duration::from_secs(75),
    /// How long one write may wait for its reader before the first byte counts; see
    /// [`write_bytes_per_second_min`](Self::write_bytes_per_second_min). Default 30 s, then the connection is closed. Guarded front.
    write_timeout: Duration = Duration::from_secs(30),
    /// A reader earns one more second for every so many bytes of an answer that it has taken, those included that wait in the kernel. Default
    /// 16 KiB: a phone's worst link reads an answer of any length, one that has stopped reading is closed. Guarded front.
    write_bytes_per_second_min: usize = 16 * 1024,
    /// Most connections at once, for each address that is served. Default 1024. The next one gets `503` and is closed by the acceptor, unread; a web page sees it as a network error, because
    /// nobody has read which page asks. Guarded front.
    connections_max: usize = 1024,
    /// Most requests on one connection before it is closed with `Connection: close`. Default 1,000,000. Guarded front.
    requests_per_connection_max: u64 = 1_000_000,
    /// Most event streams open at once. Default 512. A call beyond it sends no progress and is answered as plain JSON when it
    /// ends; a `GET` beyond it gets `503`, unless its session has none and another listens on several: then the one of
    /// these that has been quiet the longest ends.
    streams_max: usize = 512,
    /// Most event streams of one legacy session that are kept for a client to come back with `Last-Event-ID`, their calls still in flight
    /// or just answered. Default 16. Beyond it the oldest is forgotten, one that has been answered first; its call goes on.
    parked_streams_max: usize = 16,
    /// Bytes of answers and events in the parked streams of one legacy session together. Default 1 MiB. Beyond it the oldest of these
    /// streams is forgotten; the last may hold an answer as long as fits [`session_bytes_max`](Self::session_bytes_max).
    parked_bytes_max: usize = 1024 * 1024,
    /// Bytes of one legacy session that have been sent and are kept for a resumed stream, and bytes of notifications that wait until the client
    /// listens. Default 64 KiB each. Beyond it the oldest go; an answer longer than this is kept only until it has been sent.
    replay_bytes_max: usize = 64 * 1024,
    /// Notifications of one legacy session that wait until the client listens. Default 32. Beyond it the oldest go.
    announcements_max: usize = 32,
    /// How long a client should wait before it reconnects for the rest of a stream (`retry` of the event stream). Default 1 s.
    retry_hint: Duration = Duration::from_secs(1),
    /// How long a connection that the server closes goes on reading, so that the client can read the answer before a reset
    /// destroys it. Default 2 s. Guarded front.
    linger_timeout: Duration = Duration::from_secs(2),
    /// A connection that has been silent this long gives its buffers back. Default 100 ms: short enough that even a crowd that
    /// comes at once soon holds none, long enough that busy connections never pay for it. Guarded front.
    buffer_idle_timeout: Duration = Duration::from_millis(100),
    /// How long a refused connection stays open so that the client can read the refusal. Default 250 ms. Guarded front.
    refused_linger: Duration = Duration::from_millis(250),
    /// Background jobs that are kept at once, ended ones included. Default 20,000. Beyond it the job that ended first is forgotten, or one that nobody looks
    /// at is ended ([`job_unwatched_min`](Self::job_unwatched_min)); when there is neither, a new one is refused with `503`.
    jobs_max: usize = 20_000,
    /// Background jobs of one session or pipe, and of all those together that are nobody's. Default 10,000. Beyond it as for
    /// [`jobs_max`](Self::jobs_max), among their own.
    jobs_of_one_max: usize = 10_000,
    /// Bytes of background jobs: arguments, answers, results. Default 128 MiB; what has not ended counts three times, as often as it is kept. Beyond it
    /// what has ended is forgotten, the oldest first, and for a new one as for [`jobs_max`](Self::jobs_max); then a new one is refused with `503`. A result that
    /// was worked for is kept, however long, until the next one comes.
    job_bytes_max: usize = 128 * 1024 * 1024,
    /// How long the result of a background job can be fetched. Default 1 hour. What runs or waits for an answer is never ended for its age.
    job_ttl: Duration = Duration::from_secs(60 * 60),
    /// A background job that waits for an answer, and that nobody has looked at for so long, has failed when a new one finds no room: of those that which was
    /// looked at least recently. Default 5 minutes. `tasks/get`, `tasks/update`, `job_status` and `job_result` look at it, and who waits for it to change or
    /// follows it on a stream does so all the time. A result that is not as old yet is forgotten after it.
    job_unwatched_min: Duration = Duration::from_secs(5 * 60),
    /// Workspaces that are open at once. Default 256. Beyond it none can be opened, nor while as many closed ones wait to be dropped because the destructors
    /// of others hang.
    workspaces_max: usize = 256,
    /// Workspaces of one owner. Default 16.
    workspaces_of_one_max: usize = 16,
    /// Calls that wait for one workspace. Default 32. The next one gets `503`.
    workspace_queue_len_max: usize = 32,
    /// A workspace in which nothing has happened for so long is closed. Default 30 minutes. On a pipe it never is.
    workspace_idle_timeout: Duration = Duration::from_secs(30 * 60),
}

impl Limits {
    /// The first value that cannot work, in a sentence that says what can.
    pub(crate) fn problem(&self) -> Option<String> {
        macro_rules! named {
            ($limits:ident: $($name:ident)+) => { [$((stringify!($name), $limits.$name)),+] };
        }
        let at_least_one = named!(self: memory_bytes_max body_bytes_max line_bytes_max json_values_max json_tree_bytes_max batch_len_max
            sessions_max exchanges_max outbox_bytes_max outbox_answers_max page_len head_bytes_max connections_max);
        if let Some((name, _)) = at_least_one.into_iter().find(|(_, value)| *value == 0) {
            return Some(format!("`Limits::{name}` is 0; it must be at least 1"));
        }
        if self.heartbeat_interval.is_zero() {
            let message =
                "`Limits::heartbeat_interval` is zero, which would never let a thread rest";
            return Some(message.into());
        }
        let in_time =
            named!(self: head_timeout body_timeout write_timeout session_idle_timeout ask_timeout);
        if let Some((name, _)) = in_time.into_iter().find(|(_, value)| value.is_zero()) {
            return Some(format!(
                "`Limits::{name}` is zero, which no client could keep"
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

/// As many digits as fit into the largest body.
const JSON_VALUES_MAX: usize = 2 * 1024 * 1024;

/// The parser that reads arguments recurses and refuses more by itself.
const JSON_DEPTH_MAX: usize = 120;
