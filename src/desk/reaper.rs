//! Drops what its author's code takes down, on a thread of its own: a destructor that hangs must hold neither a clock nor a connection.
//!
//! One thread, `mcp-reaper`, from the first thing to drop until nothing is left. Must not know what is dropped.

use std::any::Any;
use std::mem;
use std::sync::Arc;
use std::thread;

use crate::base::lock::Lock;
use crate::base::log;
use crate::base::panics;

/// Something to drop.
type Grave = Box<dyn Any + Send>;

#[derive(Default)]
pub(crate) struct Reaper(Arc<Lock<ReaperState>>);

#[derive(Default)]
struct ReaperState {
    waiting: Vec<Grave>,
    is_at_work: bool,
}

impl Reaper {
    /// Drops it elsewhere, or here when no thread can be started.
    pub(crate) fn drop(&self, value: impl Any + Send) {
        let mut state = self.0.lock();
        state.waiting.push(Box::new(value));
        if mem::replace(&mut state.is_at_work, true) {
            return;
        }
        drop(state);
        let shared = Arc::clone(&self.0);
        let spawned = thread::Builder::new()
            .name("mcp-reaper".into())
            .spawn(move || reap(&shared));
        if spawned.is_err() {
            reap(&self.0);
        }
    }
}

fn reap(shared: &Lock<ReaperState>) {
    loop {
        let mut state = shared.lock();
        let graves = mem::take(&mut state.waiting);
        if graves.is_empty() {
            state.is_at_work = false;
            return;
        }
        drop(state);
        for grave in graves {
            if let Err(panic) = panics::catch(|| drop(grave)) {
                log::error!(
                    "a workspace panicked while it was dropped: {panic}{}",
                    panic.backtrace()
                );
            }
        }
    }
}
