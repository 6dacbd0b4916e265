//! Errands: what has become due and may hang, for it runs the embedder's code or waits for a job store. Neither the clock nor a shutdown does it itself,
//! and a thread that serves clients only what a request brings about.
//!
//! Threads of their own, `mcp-aside`, do one after the other, and another is started only when none is about to take the next. What stands behind one that hangs is taken up with
//! the next that comes, or by the next sweep, on another thread, until as many hang as may; then it is kept. Nothing is refused, for all of it is owed; so what makes errands has a bound, and lets nothing new in while too many are left. Must not know
//! what an errand does.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, at, bounded, never, select};

use crate::base::aside::AsideThreads;
use crate::base::counted::Counted;
use crate::base::lock::Lock;
use crate::base::log;
use crate::base::panics;

/// Errands that may hang at once. Each keeps a thread and its stack until the process ends, so it is a number that any machine bears; when so many hang
/// they have one fault in common, which no further thread mends.
pub(crate) const HANGING_MAX: usize = 64;

/// How long one waits for errands who would like to know them done.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) type Errand = Box<dyn FnOnce() + Send>;

/// What waits to be done, and the threads that do it.
pub(crate) struct Errands {
    aside: Arc<AsideThreads>,
    /// What they are, as the log names them when one panics.
    what: &'static str,
    /// Nobody has begun these.
    left: Lock<VecDeque<Errand>>,
    /// Threads that are about to take one. Counted off while `left` is locked, so that what comes behind finds nobody who has seen the end.
    takers: Arc<AtomicUsize>,
    /// Brought and not done.
    open: AtomicUsize,
    /// Says that another is done, to who waits for that.
    done: (Sender<()>, Receiver<()>),
}

/// Does one after the other.
struct Taker {
    errands: Arc<Errands>,
    /// `None` while it does one.
    about_to_take: Option<Counted>,
}

/// Drops this.
pub(crate) fn dropping(value: impl Send + 'static) -> Errand {
    Box::new(move || drop(value))
}

impl Errands {
    pub(crate) fn new(what: &'static str) -> Arc<Self> {
        Arc::new(Errands {
            aside: AsideThreads::new(what, HANGING_MAX),
            what,
            left: Lock::default(),
            takers: Arc::default(),
            open: AtomicUsize::new(0),
            done: bounded(1),
        })
    }

    /// Has these done, and what could not be begun before: each sweep comes here, with nothing if need be.
    pub(crate) fn run(self: &Arc<Self>, errands: impl IntoIterator<Item = Errand>) {
        self.bring(errands);
        if let Some(taker) = self.taker(0) {
            self.aside.try_run(move || taker.run());
        }
    }

    /// The last sweep: what is left is done here if no thread can be started, for nobody comes again, and it may hold what this belongs to.
    pub(crate) fn end(self: &Arc<Self>) {
        if !self.aside.is_stuck()
            && let Some(taker) = self.taker(0)
        {
            self.aside.run(move || taker.run());
        }
    }

    /// Has these done, as [`run`](Self::run) does, and waits until it is done, as a rule: not for what takes its time.
    pub(crate) fn run_and_wait(self: &Arc<Self>, errands: impl IntoIterator<Item = Errand>) {
        self.bring(errands);
        if !self.aside.is_stuck()
            && let Some(taker) = self.taker(usize::MAX)
        {
            let _in_time = self.aside.ask(PATIENCE, &never(), move || taker.run());
        }
    }

    /// Another thread, if there is something to do and are no more than so many that are about to take it.
    fn taker(self: &Arc<Self>, others_max: usize) -> Option<Taker> {
        let left = self.left.lock();
        let is_wanted = !left.is_empty() && self.takers.load(Ordering::Relaxed) <= others_max;
        is_wanted.then(|| Taker {
            errands: Arc::clone(self),
            about_to_take: Some(Counted::one(&self.takers)),
        })
    }

    pub(crate) fn bring(&self, errands: impl IntoIterator<Item = Errand>) {
        let mut left = self.left.lock();
        let before = left.len();
        left.extend(errands);
        let brought = left.len() - before;
        self.open.fetch_add(brought, Ordering::SeqCst);
    }

    /// Waits until everything is done, `until` has passed or `hurry` disconnects. One waits at a time. Says how many are not done.
    pub(crate) fn settle(&self, until: Instant, hurry: &Receiver<Infallible>) -> usize {
        while self.open.load(Ordering::SeqCst) > 0 {
            select! {
                recv(self.done.1) -> _ => {}
                recv(hurry) -> _ => break,
                recv(at(until)) -> _ => break,
            }
        }
        self.open.load(Ordering::SeqCst)
    }

    /// How many nobody has begun.
    pub(crate) fn len(&self) -> usize {
        self.left.lock().len()
    }
}

impl Taker {
    fn run(mut self) {
        while let Some(errand) = self.take() {
            let errands = &self.errands;
            if let Err(panic) = panics::catch(errand) {
                log::error!(detail: panic.backtrace(), "{} panicked: {panic}", errands.what);
            }
            errands.open.fetch_sub(1, Ordering::SeqCst);
            let _told_already = errands.done.0.try_send(());
            self.about_to_take = Some(Counted::one(&errands.takers));
        }
    }

    /// The next, or nothing more.
    fn take(&mut self) -> Option<Errand> {
        let mut left = self.errands.left.lock();
        self.about_to_take = None;
        left.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::unbounded;

    use super::*;

    const TEST_PATIENCE: Duration = Duration::from_secs(20);

    /// Says that it is being dropped, hangs until it may, says that it was, and panics.
    struct Hanging {
        says: Sender<&'static str>,
        may: Receiver<()>,
    }

    impl Drop for Hanging {
        fn drop(&mut self) {
            self.says.send("begins").expect("the test listens");
            // An error: the test has released all of them.
            let _released = self.may.recv();
            self.says.send("ends").expect("the test listens");
            panic!("on purpose");
        }
    }

    #[test]
    fn no_thread_is_started_while_one_is_about_to_take_what_comes() {
        let errands = Errands::new("a test");
        let (says, said) = unbounded();
        let errand = || {
            let says = says.clone();
            Box::new(move || says.send(()).expect("the test listens")) as Errand
        };
        errands.bring([errand()]);
        let first = errands.taker(0).expect("somebody has to do it");
        for _ in 1..256 {
            errands.run([errand()]);
        }
        assert_eq!((errands.len(), said.len()), (256, 0), "the first takes all");
        drop(first);
        errands.run([]);
        let end = Instant::now() + TEST_PATIENCE;
        assert_eq!(errands.settle(end, &never()), 0);
        assert_eq!(said.len(), 256);
    }

    #[test]
    fn errands_that_hang_cost_a_bounded_number_of_threads_and_nothing_is_lost() {
        let (says, said) = unbounded();
        let (release, may) = unbounded();
        let errand = || {
            dropping(Hanging {
                says: says.clone(),
                may: may.clone(),
            })
        };
        let hear = || said.recv_timeout(TEST_PATIENCE).expect("it goes on");
        let errands = Errands::new("a test");
        // One sweep takes one thread, however much it brings.
        errands.run((0..100).map(|_| errand()));
        assert_eq!((hear(), errands.len()), ("begins", 99));
        for _ in 1..HANGING_MAX {
            errands.run([]);
            assert_eq!(hear(), "begins", "what stands behind is not held up");
        }
        // Nothing is done here, and no more is begun.
        for _ in 0..100 {
            errands.run([errand()]);
        }
        assert_eq!(errands.len(), 200 - HANGING_MAX);
        assert!(errands.aside.is_stuck() && said.is_empty(), "{said:?}");
        assert_eq!(errands.settle(Instant::now(), &never()), 200);
        drop(release);
        let end = Instant::now() + TEST_PATIENCE;
        assert_eq!(errands.settle(end, &never()), 0);
        let (begun, ended): (Vec<_>, Vec<_>) = said.try_iter().partition(|what| *what == "begins");
        assert_eq!((begun.len(), ended.len()), (200 - HANGING_MAX, 200));
    }
}
