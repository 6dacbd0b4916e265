//! A lane as the embedder describes it: its name, its size, the length of its queue.
//!
//! Must not know how it runs.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::base::setters::setters;

/// A lane: a name, a fixed number of worker threads, and a bounded queue in front of them. Add it with [`Server::lane`](crate::Server::lane), and
/// name it in [`Tool::lane`](crate::Tool::lane).
///
/// Two lanes always exist: `main` (32 workers, or four per core if that is more, and a queue of 256) and `urgent` (2 workers, queue 64) for
/// diagnostics that must answer when `main` is full. A server with background jobs has a third, `jobs` (4 workers, queue 256). A `Lane` with one of these names
/// changes what it sets and leaves the rest.
///
/// When all workers are busy and the queue is full, a call is refused at once by the JSON-RPC error code `503`, to be tried again; over HTTP with
/// that status in the modern era, see [`Server::overload`](crate::Server::overload).
///
/// Tool calls mostly wait (for a disk, a child, another server), so the number of workers is how many calls may wait at once, not
/// how many may compute. An idle worker costs one parked thread: no CPU, its stack's touched pages (about 10 KiB), and address space.
#[derive(Clone, Debug)]
pub struct Lane {
    pub(crate) name: Arc<str>,
    workers: Option<usize>,
    queue_len_max: Option<usize>,
    waiting_max: Option<usize>,
    pub(crate) liveness: Option<Duration>,
    abandoned_workers_max: Option<usize>,
    pub(super) stack_bytes: Option<usize>,
}

/// A queue longer than this is a mistake: so many calls would wait longer than any client does.
const QUEUE_LEN_MAX: usize = 1 << 20;

/// More workers than this are a mistake: each is a thread, which is started when the server is.
const WORKERS_MAX: usize = 1 << 16;

impl Lane {
    /// A lane of this name with 4 workers and a queue of 64.
    pub fn new(name: &str) -> Self {
        Lane {
            name: name.into(),
            workers: None,
            queue_len_max: None,
            waiting_max: None,
            liveness: None,
            abandoned_workers_max: None,
            stack_bytes: None,
        }
    }

    setters! {
        /// How many calls may run at once. Default 4; at least 1, at most 65,536.
        workers(workers: usize) => workers = Some(workers);

        /// How many calls may wait for a worker when all are busy. Default 64, at most 1,048,576. With 0 a call is taken only when a worker is idle. A call that is
        /// cancelled while it waits keeps its place until a worker takes it, and is then dropped without being run.
        queue(queue_len_max: usize) => queue_len_max = Some(queue_len_max);

        /// How many handlers may wait at once for a handshake-era client to answer a question or for a resource of a pool, for each of them keeps its worker. Default
        /// half of the workers; at least 1. The next one gets [`AskError::TooMany`](crate::AskError::TooMany) or
        /// [`ClaimError::TooMany`](crate::ClaimError::TooMany); a background job of a file of scripts goes back to the lane's queue.
        waiting(waiting_max: usize) => waiting_max = Some(waiting_max);

        /// How long a handler of this lane may give no sign of life before its call is cancelled and, if it does not return, its worker is replaced. Default
        /// that of the server; a tool's own counts before it. See [`Tool::liveness`](crate::Tool::liveness).
        liveness(longest_silence: Duration) => liveness = Some(longest_silence);

        /// How many threads may be left behind because their handler has been given up; each has been replaced by another worker. Default as many as there
        /// are workers. Beyond it a wedged worker keeps its place until its handler returns, and when all workers are wedged, the lane refuses calls, those
        /// that wait included, with `503`. The same when more workers than the lane has would be replaced within a minute.
        abandoned_workers_max(most: usize) => abandoned_workers_max = Some(most);

        /// The size of each worker's stack, in bytes, for handlers that recurse deeply. Default: that of `std`, 2 MiB unless `RUST_MIN_STACK` says otherwise.
        stack_bytes(bytes: usize) => stack_bytes = Some(bytes);
    }

    pub(crate) fn main() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Lane::new("main").workers(32.max(4 * cores)).queue(256)
    }

    pub(crate) fn urgent() -> Self {
        Lane::new("urgent").workers(2)
    }

    /// Takes over what `other` sets.
    pub(crate) fn change(&mut self, other: Lane) {
        self.workers = other.workers.or(self.workers);
        self.queue_len_max = other.queue_len_max.or(self.queue_len_max);
        self.waiting_max = other.waiting_max.or(self.waiting_max);
        self.liveness = other.liveness.or(self.liveness);
        self.abandoned_workers_max = other.abandoned_workers_max.or(self.abandoned_workers_max);
        self.stack_bytes = other.stack_bytes.or(self.stack_bytes);
    }

    /// What is wrong with it, in a sentence.
    pub(crate) fn problem(&self) -> Option<String> {
        let name = &self.name;
        if name.is_empty() {
            return Some("a lane needs a name".into());
        }
        if name.contains(char::is_control) {
            return Some(format!(
                "lane {name:?}: its threads have its name, so it must not contain a control character"
            ));
        }
        if self.worker_count() == 0 {
            return Some(format!(
                "lane `{name}` has no workers; it needs at least one"
            ));
        }
        if self.worker_count() > WORKERS_MAX {
            return Some(format!(
                "lane `{name}`: it may have at most {WORKERS_MAX} workers"
            ));
        }
        if self.capacity() > QUEUE_LEN_MAX {
            return Some(format!(
                "lane `{name}`: a queue may hold at most {QUEUE_LEN_MAX} calls"
            ));
        }
        if self.liveness.is_some_and(|liveness| liveness.is_zero()) {
            return Some(format!(
                "lane `{name}`: a liveness of zero is one that no handler could keep"
            ));
        }
        None
    }

    pub(super) fn abandoned_max(&self) -> usize {
        self.abandoned_workers_max.unwrap_or(self.worker_count())
    }

    pub(super) fn worker_count(&self) -> usize {
        self.workers.unwrap_or(4)
    }

    pub(super) fn waiting_max(&self) -> usize {
        self.waiting_max.unwrap_or(self.worker_count() / 2).max(1)
    }

    pub(super) fn capacity(&self) -> usize {
        self.queue_len_max.unwrap_or(64)
    }
}
