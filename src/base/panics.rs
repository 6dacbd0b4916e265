//! Unwind safety: a handler's panic, caught, with its message, and its backtrace if the program has asked for that.
//!
//! Only the process's panic hook sees a backtrace, and a library does not take over the process: the hook is installed when
//! [`log_backtraces`] is called by name, never by serving. Must not know what panicked.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::{fmt, mem};

/// What a handler threw.
pub(crate) struct Panic {
    thrown: Box<dyn Any + Send>,
    trace: String,
}

thread_local! {
    /// Whether this thread's panics are caught by [`catch`].
    static CATCHES: Cell<bool> = const { Cell::new(false) };
    /// Where this thread's newest panic happened, from the hook to [`catch`].
    static TRACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs something that may panic.
pub(crate) fn catch<T>(run: impl FnOnce() -> T) -> Result<T, Panic> {
    let outer = CATCHES.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    CATCHES.set(outer);
    let trace = TRACE.take();
    result.map_err(|thrown| Panic { thrown, trace })
}

/// Whether this thread is inside of [`catch`], that is, one of a server's own that runs somebody's code.
pub(crate) fn is_catching() -> bool {
    CATCHES.get()
}

/// From now on the log says where each handler's panic happened, with its backtrace, beside what it said.
///
/// It installs a panic hook, which is the whole process's; that is why nobody but you calls this, once, at the start of `main`. The hook calls
/// its predecessor, so what a panic prints stays as it was. A backtrace takes time to make, and only handlers'
/// panics have one. Clients never see any of it. Calling it again does nothing.
///
/// ```
/// mcp_threads::log_backtraces();
/// ```
///
/// # Panics
///
/// On a thread that is panicking.
pub fn log_backtraces() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if CATCHES.get() {
                let location = info.location().map(ToString::to_string);
                let location = location.unwrap_or_default();
                TRACE.set(format!(" at {location}\n{}", Backtrace::force_capture()));
            }
            before(info);
        }));
    });
}

impl Drop for Panic {
    /// What was thrown may panic again when it is dropped, and nobody may be left to catch that.
    fn drop(&mut self) {
        let thrown = mem::replace(&mut self.thrown, Box::new(()));
        if let Err(again) = panic::catch_unwind(AssertUnwindSafe(|| drop(thrown))) {
            mem::forget(again);
        }
    }
}

impl fmt::Display for Panic {
    /// What it said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.thrown.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| self.thrown.downcast_ref::<&str>().copied());
        f.write_str(text.unwrap_or("(not a text)"))
    }
}

impl Panic {
    /// Where it happened, with the backtrace that leads there, for the end of a log line; nothing if nobody asked for it.
    pub(crate) fn backtrace(&self) -> &str {
        &self.trace
    }
}
