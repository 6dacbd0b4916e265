//! The watchdog's listeners, and its nudge: the hook for stalled calls, of [`Server::on_stalled`](crate::Server::on_stalled) on a thread of its own.
//!
//! Must not know how a call is found to be stalled.

use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::base::error::Error;
use crate::base::log;
use crate::base::panics;
use crate::observe::stalled::StalledCall;

/// What an embedder wants to be called with.
pub(crate) type OnStalled = Box<dyn Fn(&StalledCall) + Send + Sync>;

/// Where the watchdog reports stalled calls, and what brings its next look forward.
pub(crate) struct Liveness {
    /// Brings the next look forward.
    pub(crate) nudge: Sender<()>,
    hook: Option<Sender<StalledCall>>,
}

/// Stalled calls that the hook may be behind with.
const UNTOLD_MAX: usize = 64;

impl Liveness {
    /// Starts the hook's thread, if there is a hook. It ends when the engine does, or later if the hook hangs.
    pub(super) fn start(hook: Option<OnStalled>) -> Result<(Self, Receiver<()>), Error> {
        let (nudge, nudges) = bounded(1);
        let hook = hook.map(start_hook).transpose()?;
        Ok((Liveness { nudge, hook }, nudges))
    }

    /// Looks at the running calls soon.
    pub(super) fn look_soon(&self) {
        // Full means that it is due already.
        let _due = self.nudge.try_send(());
    }

    pub(super) fn tell(&self, stalled: StalledCall) {
        if let Some(hook) = &self.hook
            && hook.try_send(stalled).is_err()
        {
            log::warn!("`on_stalled` is {UNTOLD_MAX} calls behind and is not told of another one");
        }
    }
}

fn start_hook(hook: OnStalled) -> Result<Sender<StalledCall>, Error> {
    let (tell, told) = bounded::<StalledCall>(UNTOLD_MAX);
    let name = "mcp-on-stalled";
    let run = move || {
        for stalled in told {
            if let Err(panic) = panics::catch(|| hook(&stalled)) {
                log::error!(detail: panic.backtrace(), "`on_stalled` panicked: {panic}");
            }
        }
    };
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(|source| Error::spawn(name, source))?;
    Ok(tell)
}
