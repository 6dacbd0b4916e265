//! [`Children`]: every process group that a server's commands have started and not ended, so that a shutdown can end what is left.
//!
//! A group's number is the process id of its leader, and stays its own until the leader is reaped; so groups are signalled and reaped only here,
//! and never signalled afterwards. Where the process was started with `SIGCHLD` ignored, the kernel reaps children by itself: what is gone is then
//! not signalled, but something that the leader has left behind cannot be ended, and an exit code is never known. Must not know commands.

use std::os::fd::{BorrowedFd, RawFd};
use std::sync::{Arc, Condvar};
use std::time::Instant;

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, waitid,
};

use crate::base::lock::{HELD, Lock};
use crate::base::log;
use crate::handler::command::launch::Launch;
use crate::handler::command::supervisor::Supervisor;

/// The live process groups of one server.
#[derive(Default)]
pub(crate) struct Children {
    state: Lock<ChildrenState>,
    changed: Condvar,
}

#[derive(Default)]
struct ChildrenState {
    /// Nothing is started any more.
    closed: bool,
    /// How many are being started, and will be in `live`.
    starting: usize,
    /// Leaders that have not been reaped.
    live: Vec<Pid>,
    /// Started with the first of them.
    supervisor: Option<Supervisor>,
    /// Whether it was said that there is none.
    is_warned: bool,
    /// Descriptors that this process would pass on to any program. Looked up once: the standard library makes none.
    inherited: Option<Arc<[RawFd]>>,
}

/// A leader that has not been reaped, with its group. Dropped, it is killed and reaped.
pub(super) struct Group {
    pid: Pid,
    children: Arc<Children>,
    is_reaped: bool,
}

/// What a leader does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Running,
    /// Stopped by this signal: neither running nor ended.
    Stopped(i32),
    Ended,
}

impl Children {
    /// Starts a process in a group of its own.
    pub(super) fn start(
        self: &Arc<Self>,
        launch: &Launch,
        descriptors: [BorrowedFd<'_>; 3],
    ) -> Result<Group, String> {
        let inherited = self.begin()?;
        let started = launch.start(descriptors, &inherited);
        let mut state = self.state.lock();
        state.starting -= 1;
        let group = started.map(|pid| Group {
            pid,
            children: Arc::clone(self),
            is_reaped: false,
        });
        if let Ok(group) = &group {
            state.live.push(group.pid);
            state.tell("add", group.pid);
            if state.closed {
                signal(group.pid, Signal::KILL);
            }
        }
        self.changed.notify_all();
        group
    }

    fn begin(&self) -> Result<Arc<[RawFd]>, String> {
        let mut state = self.state.lock();
        if state.closed {
            return Err("the server is shutting down".to_owned());
        }
        let inherited = state.inherited.get_or_insert_with(inherited).clone();
        if state.supervisor.is_none() {
            state.supervise();
        }
        state.starting += 1;
        Ok(inherited)
    }

    /// Starts nothing any more, kills every group that is left, and waits until the last is reaped or the deadline has passed. Says how many were
    /// left then.
    pub(crate) fn end_all(&self, deadline: Instant) -> usize {
        let mut state = self.state.lock();
        state.closed = true;
        for pid in &state.live {
            signal(*pid, Signal::KILL);
        }
        while !state.live.is_empty() || state.starting > 0 {
            let patience = deadline.saturating_duration_since(Instant::now());
            if patience.is_zero() {
                break;
            }
            state = self.changed.wait_timeout(state, patience).expect(HELD).0;
        }
        let left = state.live.len() + state.starting;
        let supervisor = state.supervisor.take();
        drop(state);
        // It ends what could not be reaped in time.
        if let Some(supervisor) = supervisor {
            supervisor.dismiss(deadline);
        }
        left
    }
}

impl ChildrenState {
    fn supervise(&mut self) {
        let inherited = self.inherited.as_deref().unwrap_or_default();
        match Supervisor::start(inherited, &self.live) {
            Ok(supervisor) => self.supervisor = Some(supervisor),
            Err(problem) if !self.is_warned => {
                self.is_warned = true;
                log::warn!(
                    "commands run without a supervisor, and survive this process if it is killed: {problem}"
                );
            }
            Err(_) => {}
        }
    }

    /// Tells the supervisor; if it is gone or stuck, another one is told everything.
    fn tell(&mut self, what: &str, group: Pid) {
        self.supervise_again_unless(|supervisor| supervisor.tell(what, group));
    }

    fn supervise_again_unless(&mut self, is_there: impl FnOnce(&Supervisor) -> bool) {
        if let Some(gone) = self.supervisor.take_if(|supervisor| !is_there(supervisor)) {
            log::warn!("the supervisor of child processes has ended; another takes over");
            gone.replace();
            self.supervise();
        }
    }
}

impl Group {
    /// What the leader does now. It is not reaped. Looks after the supervisor, too, which may be killed before the server is.
    pub(super) fn look(&self) -> Look {
        let mut state = self.children.state.lock();
        state.supervise_again_unless(|supervisor| !supervisor.is_lost());
        drop(state);
        let options = WaitIdOptions::EXITED
            | WaitIdOptions::STOPPED
            | WaitIdOptions::NOHANG
            | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(self.pid), options) {
            Ok(None) | Err(Errno::INTR) => Look::Running,
            Ok(Some(status)) => status.stopping_signal().map_or(Look::Ended, Look::Stopped),
            // No such child: the kernel has reaped it.
            Err(_) => Look::Ended,
        }
    }

    /// Signals the whole group, if its number is still its own.
    pub(super) fn signal(&self, what: Signal) {
        if !self.is_reaped {
            signal(self.pid, what);
        }
    }

    /// Kills what is left of the group and takes the leader's status, waiting for its end if it has not come. `None` when the kernel has reaped it.
    pub(super) fn reap(&mut self) -> Option<WaitIdStatus> {
        if self.is_reaped {
            return None;
        }
        self.is_reaped = true;
        signal(self.pid, Signal::KILL);
        // A zombie keeps the number until the last line.
        wait(self.pid, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        {
            let mut state = self.children.state.lock();
            let pid = self.pid;
            state.live.retain(|live| *live != pid);
            // Said before its leader is reaped, because its number may be another's afterwards.
            state.tell("end", pid);
        }
        let status = wait(self.pid, WaitIdOptions::EXITED);
        self.children.changed.notify_all();
        status
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.reap();
    }
}

/// Signals a group whose leader has not been reaped by us; not if the kernel has.
fn signal(pid: Pid, signal: Signal) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    if matches!(waitid(WaitId::Pid(pid), options), Err(Errno::CHILD)) {
        return;
    }
    if let Err(errno) = kill_process_group(pid, signal) {
        log::debug!("signalling a group that has gone: {errno}");
    }
}

fn wait(pid: Pid, options: WaitIdOptions) -> Option<WaitIdStatus> {
    loop {
        match waitid(WaitId::Pid(pid), options) {
            Err(Errno::INTR) => {}
            status => return status.ok().flatten(),
        }
    }
}

/// The descriptors above stderr that are not closed when a program starts. Only Linux tells; elsewhere none are known.
fn inherited() -> Arc<[RawFd]> {
    let Ok(entries) = std::fs::read_dir("/proc/self/fdinfo") else {
        return Arc::default();
    };
    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    let passed_on = |number: &RawFd| {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}"));
        let flags = info.ok().and_then(|info| {
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
            u32::from_str_radix(flags.trim(), 8).ok()
        });
        *number > 2 && flags.is_some_and(|flags| flags & CLOSE_ON_EXEC == 0)
    };
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    numbers.filter(passed_on).collect()
}
