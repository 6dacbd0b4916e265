//! Runs, on threads of its own, code of the embedder that may hang: checks, destructors, locks that are given back. While it hangs it holds up no clock and no
//! connection.
//!
//! A thread that is idle is used again and ends after a while; one that hangs is left behind, and how many of those there are is what a pool must not let
//! grow. Must not know what it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::base::counted::Counted;
use crate::base::lock::Lock;
use crate::base::log;
use crate::base::panics;

type Work = Box<dyn FnOnce() + Send>;

/// The threads `mcp-aside` of one pool, or of one list of errands.
pub(crate) struct AsideThreads {
    /// Without a buffer: what can be sent has an idle thread at the other end.
    hand_over: Sender<Work>,
    take: Receiver<Work>,
    /// Whose code it is, as the log names it when that panics.
    what: &'static str,
    /// Work that has not returned.
    running: Arc<AtomicUsize>,
    /// More than this must not run at once.
    most: usize,
}

/// How long an idle thread waits for more.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

impl AsideThreads {
    pub(crate) fn new(what: &'static str, most: usize) -> Arc<Self> {
        let (hand_over, take) = bounded(0);
        Arc::new(AsideThreads {
            hand_over,
            take,
            what,
            running: Arc::default(),
            most,
        })
    }

    /// Whether as much hangs as may: then nothing should be begun that may have to be thrown away.
    pub(crate) fn is_stuck(&self) -> bool {
        self.running.load(Ordering::Relaxed) >= self.most
    }

    /// Runs it elsewhere; here when no thread can be started.
    pub(crate) fn run(self: &Arc<Self>, work: impl FnOnce() + Send + 'static) {
        let counted = Counted::one(&self.running);
        if let Err(work) = self.start(counted, |_| work()) {
            work();
        }
    }

    /// Runs it elsewhere, or not at all: when as much hangs as may, or no thread can be started. Then it is dropped.
    pub(crate) fn try_run(self: &Arc<Self>, work: impl FnOnce() + Send + 'static) {
        if let Some(counted) = Counted::one_of(&self.running, self.most) {
            drop(self.start(counted, |_| work()));
        }
    }

    /// The same for what is counted by now. It comes back when no thread can be started.
    fn start(
        self: &Arc<Self>,
        counted: Counted,
        work: impl FnOnce(Counted) + Send + 'static,
    ) -> Result<(), Work> {
        let what = self.what;
        let work: Work = Box::new(move || {
            if let Err(panic) = panics::catch(|| work(counted)) {
                log::error!(detail: panic.backtrace(), "{what} panicked: {panic}");
            }
        });
        let Err(refused) = self.hand_over.try_send(work) else {
            return Ok(());
        };
        // In a cell, so that it comes back when the thread cannot be started.
        let first = Arc::new(Lock::new(Some(refused.into_inner())));
        let theirs = Arc::clone(&first);
        let take = self.take.clone();
        let spawned = thread::Builder::new()
            .name("mcp-aside".into())
            .spawn(move || {
                if let Some(work) = take_first(&theirs) {
                    work();
                }
                while let Ok(work) = take.recv_timeout(IDLE_TIMEOUT) {
                    work();
                }
            });
        match spawned {
            Ok(_thread) => Ok(()),
            Err(_) => take_first(&first).map_or(Ok(()), Err),
        }
    }

    /// Runs it elsewhere and waits so long for what it returns. `None` when it has panicked, or hangs, or cannot be run, for which it would need a thread of
    /// its own; `give_up` ends the wait as well.
    pub(crate) fn ask<R: Send + 'static>(
        self: &Arc<Self>,
        patience: Duration,
        give_up: &Receiver<std::convert::Infallible>,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Option<R> {
        // Without a buffer: what comes too late is dropped there and not here.
        let (answer, answered) = bounded(0);
        // An error means that nobody waits: then it counts until what came out has been dropped, too.
        let answer = move |counted| drop(answer.send((work(), counted)));
        if let Err(unrun) = self.start(Counted::one(&self.running), answer) {
            // Run here it would wait for ever for this thread to take the answer. What it holds is dropped.
            if let Err(panic) = panics::catch(|| drop(unrun)) {
                log::error!("{} panicked while it was dropped: {panic}", self.what);
            }
            return None;
        }
        let result = crossbeam_channel::select! {
            recv(answered) -> result => result.ok(),
            recv(give_up) -> _ => None,
            default(patience) => None,
        };
        // Counted off before the next step of this thread, which may depend on the count.
        result.map(|(result, _counted)| result)
    }
}

fn take_first(first: &Lock<Option<Work>>) -> Option<Work> {
    first.lock().take()
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Instant;

    use crossbeam_channel::never;
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);
    const ALONE: &str = "MCP_THREADS_TEST_ALONE";

    /// Says when it is dropped.
    struct Resourceful(Sender<()>);

    impl Drop for Resourceful {
        fn drop(&mut self) {
            self.0.send(()).expect("the test listens");
        }
    }

    /// In a process of its own, all of which gets no memory for another stack.
    #[test]
    fn nobody_waits_for_a_thread_that_cannot_be_started() {
        if std::env::var_os(ALONE).is_some() {
            return without_threads();
        }
        let name = concat!(
            module_path!(),
            "::nobody_waits_for_a_thread_that_cannot_be_started"
        );
        let (_, name) = name.split_once("::").expect("behind that of the crate");
        let mut command = Command::new(std::env::current_exe().expect("it has a path"));
        command.args(["--exact", name]).env(ALONE, "1");
        let mut child = command.spawn().expect("it can be started");
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = child.try_wait().expect("it is our child") {
                break Some(status);
            }
            if Instant::now() >= end {
                child.kill().expect("it is our child");
                child.wait().expect("it is our child");
                break None;
            }
            thread::sleep(Duration::from_millis(5));
        };
        assert!(status.is_some_and(|status| status.success()), "{status:?}");
    }

    fn without_threads() {
        let aside = AsideThreads::new("a test", 1);
        let (dropped, is_dropped) = bounded(2);
        let (ran, has_run) = bounded(1);
        let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
        let pages = statm.split(' ').next().and_then(|pages| pages.parse().ok());
        let bytes: u64 = pages.map(|pages: u64| pages * 4096).expect("a number");
        let before = getrlimit(Resource::As);
        let scarce = Rlimit {
            current: Some(bytes + 256 * 1024),
            ..before
        };
        setrlimit(Resource::As, scarce).expect("a limit can be lowered");
        let is_scarce = thread::Builder::new().spawn(|| ()).is_err();
        let (found, thrown) = (Resourceful(dropped.clone()), Resourceful(dropped));
        let asked = aside.ask(PATIENCE, &never(), move || found);
        aside.run(move || drop(thrown));
        aside.try_run(move || ran.send(()).expect("the test listens"));
        setrlimit(Resource::As, before).expect("and be raised again");
        assert!(is_scarce, "else this tests nothing");
        assert!(asked.is_none());
        assert!(has_run.try_recv().is_err(), "it may wait for a thread");
        assert!(is_dropped.try_iter().count() == 2, "nothing is kept");
        assert!(!aside.is_stuck());
    }
}
