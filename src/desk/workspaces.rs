//! Which workspaces there are, and whose: found, opened by their first use, closed when they are idle or their owner has gone.
//!
//! An owner with an identity (a session, a pipe) names its workspaces as it likes; nobody else can find them. Without an identity a
//! workspace is found by its handle alone, which cannot be guessed and is minted here. Must not know what is kept in one, or what a call does.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use crate::base::errands::Errands;
use crate::base::limits::Limits;
use crate::base::lock::Lock;
use crate::base::owner::PIPE;
use crate::desk::workspace::Workspace;
use crate::handler::workspace::Cell;

/// Whose it is, and its name. Without an owner the name is a handle.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) owner: Option<Arc<str>>,
    pub(crate) name: Arc<str>,
}

pub(crate) struct Workspaces {
    limits: Arc<Limits>,
    /// Whether one is closed in which a handler has panicked, and not given a new value.
    closes_broken: bool,
    by_key: Lock<HashMap<Key, Arc<Workspace>>>,
    /// What they were.
    pub(crate) waste: Arc<Errands>,
}

/// A workspace that has been closed, and its value, unless a call is still inside: then that goes to the waste with the call.
pub(crate) type Closed = (Arc<Workspace>, Cell);

/// Why there is no workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoWorkspace {
    /// There is none of this name for this owner: unknown, foreign and expired are the same.
    Unknown,
    /// The owner has as many as one may have.
    TooManyOfOne(usize),
    /// The server has as many as there may be.
    TooMany,
}

/// The longest name of a workspace, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 64;

impl Workspaces {
    pub(crate) fn new(limits: Arc<Limits>, closes_broken: bool) -> Self {
        Workspaces {
            limits,
            closes_broken,
            by_key: Lock::default(),
            waste: Errands::new("the destructor of a workspace"),
        }
    }

    /// The workspace of this name. An owner with an identity makes it by using it first.
    pub(crate) fn find_or_open(&self, key: &Key) -> Result<Arc<Workspace>, NoWorkspace> {
        let mut by_key = self.by_key.lock();
        match by_key.get(key) {
            Some(found) if !found.is_closed() => Ok(Arc::clone(found)),
            _ if key.owner.is_some() => {
                by_key.remove(key);
                self.open(&mut by_key, key.clone())
            }
            _ => Err(NoWorkspace::Unknown),
        }
    }

    /// Mints a handle and opens a workspace under it, for one without an identity.
    pub(crate) fn mint(&self) -> Result<Arc<Workspace>, NoWorkspace> {
        let name = format!("ws-{}", Uuid::new_v4()).into();
        self.open(&mut self.by_key.lock(), Key { owner: None, name })
    }

    fn open(
        &self,
        by_key: &mut HashMap<Key, Arc<Workspace>>,
        key: Key,
    ) -> Result<Arc<Workspace>, NoWorkspace> {
        let limits = &self.limits;
        if key.owner.is_some() {
            let own = by_key
                .keys()
                .filter(|other| other.owner == key.owner)
                .count();
            if own >= limits.workspaces_of_one_max {
                return Err(NoWorkspace::TooManyOfOne(limits.workspaces_of_one_max));
            }
        }
        // What cannot be dropped takes memory as well.
        if by_key.len().max(self.waste.len()) >= limits.workspaces_max {
            return Err(NoWorkspace::TooMany);
        }
        let name = Arc::clone(&key.name);
        let opened = Workspace::new(
            name,
            limits.workspace_queue_len_max,
            self.closes_broken,
            Arc::clone(&self.waste),
        );
        by_key.insert(key, Arc::clone(&opened));
        Ok(opened)
    }

    /// The workspaces of an owner, by name.
    pub(crate) fn of(&self, owner: &Arc<str>) -> Vec<Arc<Workspace>> {
        let by_key = self.by_key.lock();
        let theirs = by_key
            .iter()
            .filter(|(key, _)| key.owner.as_ref() == Some(owner));
        let mut theirs: Vec<_> = theirs.map(|(_, workspace)| Arc::clone(workspace)).collect();
        theirs.sort_by(|a, b| a.name.cmp(&b.name));
        theirs
    }

    /// Forgets a workspace, takes no more calls in it and turns away those who wait. What it was comes back, to be dropped where that may take time.
    pub(crate) fn close(&self, key: &Key) -> Option<Closed> {
        let workspace = self.by_key.lock().remove(key)?;
        let value = workspace.close();
        Some((workspace, value))
    }

    /// Closes all of them, because the server ends. What they were comes back, to be dropped where that may take time.
    pub(crate) fn close_all(&self) -> Vec<Cell> {
        let all = std::mem::take(&mut *self.by_key.lock());
        all.into_values()
            .map(|workspace| workspace.close())
            .collect()
    }

    /// Closes what has been idle too long, or whose owner has gone, and frees the places of calls that nobody waits for any more. Says which were closed.
    pub(crate) fn sweep(&self, has_gone: impl Fn(&str) -> bool) -> Vec<Closed> {
        let all: Vec<_> = self.by_key.lock().values().map(Arc::clone).collect();
        all.iter().for_each(|workspace| workspace.drop_stale());
        let most = self.limits.workspace_idle_timeout;
        let (mut closed, mut orphans) = (Vec::new(), Vec::new());
        self.by_key.lock().retain(|key, workspace| {
            let is_lasting = key
                .owner
                .as_ref()
                .is_some_and(|owner| owner.starts_with(PIPE));
            let is_orphan = key.owner.as_ref().is_some_and(|owner| has_gone(owner));
            if is_orphan {
                orphans.push(Arc::clone(workspace));
                return false;
            }
            let idle = || workspace.close_if_idle_for(most);
            let value = (!is_lasting).then(idle).flatten();
            let is_open = value.is_none();
            closed.extend(value.map(|value| (Arc::clone(workspace), value)));
            is_open
        });
        // Without the lock: who waits in one is answered.
        for orphan in orphans {
            let value = orphan.close();
            closed.push((orphan, value));
        }
        closed
    }

    /// How many calls wait for their turn in one.
    pub(crate) fn waiting(&self) -> usize {
        let all: Vec<_> = self.by_key.lock().values().map(Arc::clone).collect();
        all.iter().map(|workspace| workspace.look().waiting).sum()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_key.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::thread;
    use std::time::{Duration, Instant};

    use crossbeam_channel::{Receiver, unbounded};

    use super::*;
    use crate::base::errands::{HANGING_MAX, dropping};
    use crate::desk::workspace::{Turn, Visitor, WorkspaceStatus};
    use crate::handler::workspace::AccessMode;

    type Happened = Arc<Mutex<Vec<Option<Turn>>>>;

    struct Call(Happened);

    impl Visitor for Call {
        fn is_stale(&self) -> bool {
            false
        }
        fn was_accepted(&self) -> bool {
            false
        }
        fn label(&self) -> Arc<str> {
            "call".into()
        }
        fn go(self: Box<Self>, turn: Turn) {
            self.0.lock().expect("not poisoned").push(Some(turn));
        }
        fn turn_away(self: Box<Self>) {
            self.0.lock().expect("not poisoned").push(None);
        }
    }

    fn workspaces(idle_timeout: Duration) -> Workspaces {
        let limits = Limits::default()
            .workspaces_max(3)
            .workspaces_of_one_max(2)
            .workspace_queue_len_max(1)
            .workspace_idle_timeout(idle_timeout);
        Workspaces::new(Arc::new(limits), false)
    }

    fn key(owner: Option<&str>, name: &str) -> Key {
        Key {
            owner: owner.map(Into::into),
            name: name.into(),
        }
    }

    fn refused(workspaces: &Workspaces, key: &Key) -> Option<NoWorkspace> {
        workspaces.find_or_open(key).err()
    }

    #[test]
    fn an_owner_opens_by_using_and_nobody_else_finds_it() {
        let workspaces = workspaces(Duration::MAX);
        let alice = workspaces
            .find_or_open(&key(Some("alice"), "default"))
            .expect("there is room");
        let again = workspaces
            .find_or_open(&key(Some("alice"), "default"))
            .expect("it is there");
        assert!(Arc::ptr_eq(&alice, &again));
        let bob = workspaces
            .find_or_open(&key(Some("bob"), "default"))
            .expect("there is room");
        assert!(!Arc::ptr_eq(&alice, &bob));
        assert_eq!(
            refused(&workspaces, &key(None, "default")),
            Some(NoWorkspace::Unknown)
        );
        let minted = workspaces.mint().expect("there is room");
        assert!(
            refused(&workspaces, &key(None, &minted.name)).is_none(),
            "the handle finds it"
        );
        assert_eq!(
            refused(&workspaces, &key(Some("carol"), &minted.name)),
            Some(NoWorkspace::TooMany)
        );
        assert_eq!(workspaces.of(&"alice".into()).len(), 1);
    }

    #[test]
    fn law_9_neither_one_owner_nor_all_have_more_than_they_may() {
        let workspaces = workspaces(Duration::MAX);
        for name in ["a", "b"] {
            assert_eq!(refused(&workspaces, &key(Some("alice"), name)), None);
        }
        assert_eq!(
            refused(&workspaces, &key(Some("alice"), "c")),
            Some(NoWorkspace::TooManyOfOne(2))
        );
        assert_eq!(refused(&workspaces, &key(Some("bob"), "c")), None);
        assert_eq!(workspaces.mint().err(), Some(NoWorkspace::TooMany));
        let gone = workspaces.sweep(|owner| owner == "alice");
        assert_eq!((gone.len(), workspaces.len()), (2, 1));
        assert!(workspaces.mint().is_ok());
    }

    #[test]
    fn law_9_none_is_opened_while_as_many_as_may_be_open_cannot_be_dropped() {
        struct Hanging(Receiver<()>);

        impl Drop for Hanging {
            fn drop(&mut self) {
                let _released = self.0.recv();
            }
        }

        let workspaces = workspaces(Duration::MAX);
        let (release, may) = unbounded();
        for _ in 0..HANGING_MAX + 3 {
            let value = Hanging(may.clone());
            let cell = Cell::default();
            *cell.value.write().expect("nobody has it") = Some(Box::new(value));
            workspaces.waste.run([dropping(cell)]);
        }
        assert_eq!(workspaces.mint().err(), Some(NoWorkspace::TooMany));
        drop(release);
        let end = Instant::now() + Duration::from_secs(20);
        while workspaces.mint().is_err() {
            assert!(Instant::now() < end, "they are dropped");
            thread::yield_now();
        }
    }

    #[test]
    fn one_that_is_used_is_not_idle_and_one_that_closes_gives_back_who_waits() {
        let workspaces = workspaces(Duration::ZERO);
        let happened = Happened::default();
        let desk = key(Some("alice"), "desk");
        let workspace = workspaces.find_or_open(&desk).expect("there is room");
        for _ in 0..2 {
            let call = Box::new(Call(Arc::clone(&happened)));
            assert!(workspace.enter(AccessMode::Change, call).is_ok());
        }
        assert!(workspaces.sweep(|_| false).is_empty(), "it is busy");
        let WorkspaceStatus { waiting, .. } = workspace.look();
        workspaces.close(&desk).expect("it is there");
        let heard: Vec<bool> = happened
            .lock()
            .expect("not poisoned")
            .iter()
            .map(Option::is_some)
            .collect();
        assert_eq!((waiting, heard), (1, vec![true, false]));
        assert!(workspaces.close(&desk).is_none());
        let another = workspaces.find_or_open(&desk).expect("there is room");
        assert!(!Arc::ptr_eq(&workspace, &another));
        assert_eq!(workspaces.sweep(|_| false).len(), 1);
        assert_eq!(workspaces.len(), 0);
    }
}
