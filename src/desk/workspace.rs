//! One workspace: its value, and the calls that want it, in the order of their arrival.
//!
//! A call that changes the value has it alone; calls that only read it share it. A call that has to wait stands in the workspace's own bounded queue and
//! holds no worker. Its turn is a value, [`Turn`]: when that is dropped, however the call has ended, the next in the queue gets it. Must not know
//! lanes, or what a call does.
//!
//! A panic ends the life of the value and begins another, and what is left of the old one goes when the call that broke it lets go of it. The same when a call in
//! it has been given up, whose thread may never let go.

use std::mem;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use crate::base::awake;
use crate::base::errands::{Errands, dropping};
use crate::base::life::{Life, Span};
use crate::base::lock::Lock;
use crate::handler::workspace::{AccessMode, Cell};

/// A call that wants a workspace.
pub(crate) trait Visitor: Send {
    /// Whether nobody wants it any more.
    fn is_stale(&self) -> bool;
    /// Whether it was let in before, so that a full queue must not refuse it: an attempt of a job, of which there are as many as there may be jobs.
    fn was_accepted(&self) -> bool;
    /// What it is, to be shown to others.
    fn label(&self) -> Arc<str>;
    /// Its turn has come: it goes on, and keeps its turn until it has ended. Never waits.
    fn go(self: Box<Self>, turn: Turn);
    /// Its turn will not come, because the workspace has been closed.
    fn turn_away(self: Box<Self>);
}

pub(crate) struct Workspace {
    pub(crate) name: Arc<str>,
    pub(crate) since: Instant,
    queue_len_max: usize,
    closes_broken: bool,
    /// Takes what a call leaves that was the last to have it: its worker must not run the destructor, which may hang after the answer.
    waste: Arc<Errands>,
    state: Lock<WorkspaceState>,
}

struct WorkspaceState {
    cell: Cell,
    /// That of the value: until the workspace is closed and takes no more calls, or has to have a new one.
    life: Life,
    /// Calls that have their turn: one that changes, or any number that read.
    inside: Vec<(Arc<str>, AccessMode)>,
    /// In the order of their arrival; few, for there is a bound.
    waiting: Vec<(AccessMode, Box<dyn Visitor>)>,
    last_used: Instant,
    /// A handler panicked in it, once or more.
    panics: usize,
}

/// The right to be in a workspace. Dropped, it is handed on to the next in the queue.
pub(crate) struct Turn {
    workspace: Arc<Workspace>,
    label: Arc<str>,
    access: AccessMode,
    pub(crate) cell: Cell,
    pub(crate) span: Span,
}

/// A turn as it is known to others, who can take it from a call that hangs.
pub(crate) struct Seat {
    workspace: Arc<Workspace>,
    span: Span,
}

/// Why a call did not get in.
pub(crate) enum Outside {
    Full(Box<dyn Visitor>),
    Closed(Box<dyn Visitor>),
}

/// What can be seen of a workspace.
pub(crate) struct WorkspaceStatus {
    pub(crate) idle_for: Duration,
    pub(crate) busy_with: Vec<Arc<str>>,
    pub(crate) waiting: usize,
    pub(crate) panics: usize,
    pub(crate) span: Span,
}

impl Workspace {
    pub(crate) fn new(
        name: Arc<str>,
        queue_len_max: usize,
        closes_broken: bool,
        waste: Arc<Errands>,
    ) -> Arc<Self> {
        Arc::new(Workspace {
            name,
            since: Instant::now(),
            queue_len_max,
            closes_broken,
            waste,
            state: Lock::new(WorkspaceState {
                cell: Cell::default(),
                life: Life::default(),
                inside: Vec::new(),
                waiting: Vec::new(),
                last_used: awake::now(),
                panics: 0,
            }),
        })
    }

    /// Lets a call in: now, which hands it on before this returns, or when its turn has come.
    pub(crate) fn enter(
        self: &Arc<Self>,
        access: AccessMode,
        visitor: Box<dyn Visitor>,
    ) -> Result<(), Outside> {
        let mut state = self.state.lock();
        if state.life.is_over() {
            return Err(Outside::Closed(visitor));
        }
        state.last_used = awake::now();
        // Behind those who wait, even if it only reads: else readers could keep a writer out for ever.
        let stale = state.take_stale();
        let result = if state.waiting.is_empty() && state.admits(access) {
            let turn = self.admit(&mut state, access, visitor.label());
            drop(state);
            visitor.go(turn);
            Ok(())
        } else {
            let has_room = visitor.was_accepted() || state.waiting.len() < self.queue_len_max;
            let outside = match has_room {
                true => {
                    state.waiting.push((access, visitor));
                    Ok(())
                }
                false => Err(Outside::Full(visitor)),
            };
            drop(state);
            outside
        };
        // Dropped without the lock: what they hold may come back here.
        drop(stale);
        result
    }

    fn admit(
        self: &Arc<Self>,
        state: &mut WorkspaceState,
        access: AccessMode,
        label: Arc<str>,
    ) -> Turn {
        state.inside.push((Arc::clone(&label), access));
        Turn {
            workspace: Arc::clone(self),
            label,
            access,
            cell: Arc::clone(&state.cell),
            span: state.life.span(),
        }
    }

    /// Takes out those whose turn it is now.
    fn next(self: &Arc<Self>, state: &mut WorkspaceState) -> Vec<(Box<dyn Visitor>, Turn)> {
        let mut next = Vec::new();
        while let Some((access, _)) = state.waiting.first()
            && state.admits(*access)
        {
            let (access, visitor) = state.waiting.remove(0);
            let turn = self.admit(state, access, visitor.label());
            next.push((visitor, turn));
        }
        next
    }

    /// Drops those who wait and are not wanted any more, so that their places are free.
    pub(crate) fn drop_stale(&self) {
        let stale = self.state.lock().take_stale();
        drop(stale);
    }

    /// The value cannot be used any more: the next call makes a new one, or nobody does. What is left of it comes back.
    fn renew(self: &Arc<Self>, mut state: MutexGuard<'_, WorkspaceState>) -> Cell {
        let is_closed = state.life.is_over();
        state.life = Life::default();
        // The others that read it at that moment have it to their end.
        state.inside.clear();
        if is_closed || self.closes_broken {
            return Self::close_now(state);
        }
        let cell = mem::take(&mut state.cell);
        self.hand_on(state);
        cell
    }

    /// Lets in the next of the queue.
    fn hand_on(self: &Arc<Self>, mut state: MutexGuard<'_, WorkspaceState>) {
        state.last_used = awake::now();
        let next = self.next(&mut state);
        drop(state);
        next.into_iter()
            .for_each(|(visitor, turn)| visitor.go(turn));
    }

    /// Takes no more calls, and turns away those who wait; the value goes with the last call that is inside.
    pub(crate) fn close(&self) -> Cell {
        Self::close_now(self.state.lock())
    }

    fn close_now(mut state: MutexGuard<'_, WorkspaceState>) -> Cell {
        state.life.end();
        let cell = mem::take(&mut state.cell);
        let waiting = mem::take(&mut state.waiting);
        drop(state);
        waiting
            .into_iter()
            .for_each(|(_, visitor)| visitor.turn_away());
        cell
    }

    /// Closes it if nobody is inside or waits, and nothing has happened for so long.
    pub(crate) fn close_if_idle_for(&self, most: Duration) -> Option<Cell> {
        let state = self.state.lock();
        let is_idle = state.inside.is_empty() && state.waiting.is_empty();
        if !state.life.is_over() && (!is_idle || state.unused_for() < most) {
            return None;
        }
        Some(Self::close_now(state))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().life.is_over()
    }

    pub(crate) fn look(&self) -> WorkspaceStatus {
        let state = self.state.lock();
        let is_idle = state.inside.is_empty() && state.waiting.is_empty();
        WorkspaceStatus {
            idle_for: match is_idle {
                true => state.unused_for(),
                false => Duration::ZERO,
            },
            busy_with: state
                .inside
                .iter()
                .map(|(label, _)| Arc::clone(label))
                .collect(),
            waiting: state
                .waiting
                .iter()
                .filter(|(_, visitor)| !visitor.is_stale())
                .count(),
            panics: state.panics,
            span: state.life.span(),
        }
    }
}

impl WorkspaceState {
    /// Whether a call like this may be inside with those who are.
    fn admits(&self, access: AccessMode) -> bool {
        match access {
            AccessMode::Change => self.inside.is_empty(),
            AccessMode::Read => self
                .inside
                .iter()
                .all(|(_, other)| *other == AccessMode::Read),
        }
    }

    fn unused_for(&self) -> Duration {
        awake::now().saturating_duration_since(self.last_used)
    }

    fn take_stale(&mut self) -> Vec<Box<dyn Visitor>> {
        let stale = self
            .waiting
            .extract_if(.., |(_, visitor)| visitor.is_stale());
        stale.map(|(_, visitor)| visitor).collect()
    }
}

impl Turn {
    pub(crate) fn workspace(&self) -> &Arc<Workspace> {
        &self.workspace
    }

    pub(crate) fn seat(&self) -> Seat {
        Seat {
            workspace: Arc::clone(&self.workspace),
            span: self.span.clone(),
        }
    }
}

impl Seat {
    /// The call hangs with the value, or may: the next one makes a new one. The old one comes back, to be dropped where that may take time; if the call
    /// still has it, it goes when that lets go.
    pub(crate) fn give_up(&self) -> Option<Cell> {
        let state = self.workspace.state.lock();
        (state.life.span() == self.span).then(|| self.workspace.renew(state))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let cell = mem::take(&mut self.cell);
        let mut state = self.workspace.state.lock();
        if state.life.span() != self.span {
            drop(state);
            self.workspace.waste.run([dropping(cell)]);
            return;
        }
        if cell.value.is_poisoned() {
            state.panics += 1;
            let left = self.workspace.renew(state);
            self.workspace.waste.run([left, cell].map(dropping));
            return;
        }
        if let Some(at) = state
            .inside
            .iter()
            .position(|(label, access)| *label == self.label && *access == self.access)
        {
            state.inside.remove(at);
        }
        // Even where another call has it as well: of two that leave at once, each would see the other.
        let left = state.life.is_over().then_some(cell);
        self.workspace.hand_on(state);
        if let Some(cell) = left {
            self.workspace.waste.run([dropping(cell)]);
        }
    }
}

#[cfg(test)]
mod tests;
