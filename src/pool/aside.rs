//! Runs code of the embedder that may hang on a thread of its own: checks, destructors, locks that are given back.
//!
//! A thread that is idle is used again and ends after a while; one that hangs is left behind, and how many of those there are is what a pool must not let
//! grow. Must not know what it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::base::log;
use crate::base::panics;

type Work = Box<dyn FnOnce() + Send>;

/// The threads `mcp-aside` of one pool.
pub(crate) struct AsideThreads {
    /// Without a buffer: what can be sent has an idle thread at the other end.
    hand_over: Sender<Work>,
    take: Receiver<Work>,
    /// Work that has not returned.
    running: AtomicUsize,
    /// More than this must not run at once.
    most: usize,
}

/// How long an idle thread waits for more.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

impl AsideThreads {
    pub(super) fn new(most: usize) -> Arc<Self> {
        let (hand_over, take) = bounded(0);
        Arc::new(AsideThreads {
            hand_over,
            take,
            running: AtomicUsize::new(0),
            most,
        })
    }

    /// Whether as much hangs as may: then nothing should be begun that may have to be thrown away.
    pub(super) fn is_stuck(&self) -> bool {
        self.running.load(Ordering::Relaxed) >= self.most
    }

    /// Runs it elsewhere; here when no thread can be started.
    pub(super) fn run(self: &Arc<Self>, work: impl FnOnce() + Send + 'static) {
        self.start(move || {
            work();
            true
        });
    }

    /// The same for what says whether it is to be counted off here, or by somebody else.
    fn start(self: &Arc<Self>, work: impl FnOnce() -> bool + Send + 'static) {
        self.running.fetch_add(1, Ordering::Relaxed);
        let aside = Arc::clone(self);
        let work: Work = Box::new(move || {
            let ends_here = panics::catch(work).unwrap_or_else(|panic| {
                log::error!(detail: &panic.backtrace().to_string(), "a resource panicked: {panic}");
                // What was thrown may panic again when it is dropped.
                std::mem::forget(panic);
                true
            });
            if ends_here {
                aside.running.fetch_sub(1, Ordering::Relaxed);
            }
        });
        let Err(refused) = self.hand_over.try_send(work) else {
            return;
        };
        // In a cell, so that it comes back when the thread cannot be started.
        let first = Arc::new(std::sync::Mutex::new(Some(refused.into_inner())));
        let theirs = Arc::clone(&first);
        let take = self.take.clone();
        let spawned = thread::Builder::new()
            .name("mcp-aside".into())
            .spawn(move || {
                run_first(&theirs);
                while let Ok(work) = take.recv_timeout(IDLE_TIMEOUT) {
                    work();
                }
            });
        if spawned.is_err() {
            run_first(&first);
        }
    }

    /// Runs it elsewhere and waits so long for what it returns. `None` when it has panicked, or hangs; `give_up` ends the wait as well.
    pub(super) fn ask<R: Send + 'static>(
        self: &Arc<Self>,
        patience: Duration,
        give_up: &Receiver<std::convert::Infallible>,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Option<R> {
        // Without a buffer: what comes too late is dropped there and not here.
        let (answer, answered) = bounded(0);
        // An error means that nobody waits: then it hangs until what came out has been dropped as well.
        self.start(move || answer.send(work()).is_err());
        let result = crossbeam_channel::select! {
            recv(answered) -> result => result.ok(),
            recv(give_up) -> _ => None,
            default(patience) => None,
        };
        // Counted off before the next step of this thread, which may depend on the count.
        if result.is_some() {
            self.running.fetch_sub(1, Ordering::Relaxed);
        }
        result
    }
}

fn run_first(first: &std::sync::Mutex<Option<Work>>) {
    let work = first.lock().ok().and_then(|mut first| first.take());
    if let Some(work) = work {
        work();
    }
}
