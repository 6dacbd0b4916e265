//! What workspaces were, to be dropped: destructors are the embedder's code, which may hang or panic, and neither the clock nor a connection waits for that.
//!
//! Threads aside drop one value after the other. What stands behind a destructor that hangs is taken up by the next sweep, on another thread, until as many
//! hang as may; then it is kept. Must not know why something is thrown away.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::base::aside::AsideThreads;
use crate::base::log;
use crate::base::panics;
use crate::base::panics::Lock;
use crate::handler::workspace::Cell;

/// Destructors that may hang at once. Each keeps a thread and its stack until the process ends, so it is a number that any machine bears; when so many hang
/// they have one fault in common, which no further thread mends.
pub(super) const HANGING_MAX: usize = 64;

/// How long one waits for destructors who would like to know them done.
const PATIENCE: Duration = Duration::from_secs(1);

/// What waits to be dropped, and the threads that drop it.
pub(crate) struct Waste {
    aside: Arc<AsideThreads>,
    kept: Arc<Lock<VecDeque<Cell>>>,
}

impl Default for Waste {
    fn default() -> Self {
        Waste {
            aside: AsideThreads::new("a workspace", HANGING_MAX),
            kept: Arc::default(),
        }
    }
}

impl Waste {
    /// Has these dropped, and what could not be dropped before: each sweep comes here, with nothing if need be.
    pub(crate) fn throw_away(&self, cells: Vec<Cell>) {
        let mut kept = self.kept.lock();
        kept.extend(cells);
        let is_clean = kept.is_empty();
        drop(kept);
        if !is_clean {
            let kept = Arc::clone(&self.kept);
            self.aside.try_run(move || drop_all(&kept));
        }
    }

    /// The same, and waits until it is done, as a rule: not for what takes its time.
    pub(crate) fn throw_away_and_wait(&self, cells: Vec<Cell>) {
        self.kept.lock().extend(cells);
        let kept = Arc::clone(&self.kept);
        if !self.aside.is_stuck() {
            let _in_time = self
                .aside
                .ask(PATIENCE, &crossbeam_channel::never(), move || {
                    drop_all(&kept);
                });
        }
    }

    /// How many nobody has begun to drop.
    pub(crate) fn len(&self) -> usize {
        self.kept.lock().len()
    }
}

fn drop_all(kept: &Lock<VecDeque<Cell>>) {
    let next = || kept.lock().pop_front();
    while let Some(cell) = next() {
        if let Err(panic) = panics::catch(|| drop(cell)) {
            log::error!(detail: &panic.backtrace(), "a workspace panicked while it was dropped: {panic}");
        }
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{Receiver, Sender, unbounded};

    use super::*;
    use crate::handler::workspace::ValueCell;

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
    fn destructors_that_hang_cost_a_bounded_number_of_threads_and_nothing_is_lost() {
        let (says, said) = unbounded();
        let (release, may) = unbounded();
        let cell = || -> Cell {
            let value = Hanging {
                says: says.clone(),
                may: may.clone(),
            };
            ValueCell::holding(Box::new(value))
        };
        let hear = || said.recv_timeout(TEST_PATIENCE).expect("it goes on");
        let waste = Waste::default();
        // One sweep takes one thread, however much it throws away.
        waste.throw_away((0..100).map(|_| cell()).collect());
        assert_eq!((hear(), waste.len()), ("begins", 99));
        for _ in 1..HANGING_MAX {
            waste.throw_away(Vec::new());
            assert_eq!(hear(), "begins", "what stands behind is not held up");
        }
        // Nothing is dropped here, and no more is begun.
        for _ in 0..100 {
            waste.throw_away(vec![cell()]);
        }
        assert_eq!(waste.len(), 200 - HANGING_MAX);
        assert!(waste.aside.is_stuck() && said.is_empty(), "{said:?}");
        drop(release);
        let (begun, ended): (Vec<_>, Vec<_>) = (0..400 - HANGING_MAX)
            .map(|_| hear())
            .partition(|what| *what == "begins");
        assert_eq!((begun.len(), ended.len()), (200 - HANGING_MAX, 200));
        assert_eq!(waste.len(), 0);
    }
}
