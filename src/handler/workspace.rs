//! Workspaces as handlers have them: a value that the calls of one owner share, by turns.
//!
//! Which handlers take it stands in `in_workspace`, how a call gets its turn is the desk's. Must not know calls.

use std::any::{Any, TypeId, type_name};
use std::fmt::Display;
use std::sync::{Arc, RwLock, Weak};

use crate::base::life::Span;

/// What an embedder keeps for each workspace.
pub(crate) type Value = Box<dyn Any + Send + Sync>;

/// Where a workspace's value stands: empty until the first call has made it, poisoned when a handler panicked while it changed it.
pub(crate) type Cell = Arc<RwLock<Option<Value>>>;

/// What a call wants of a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccessMode {
    /// It alone, one call after another.
    Change,
    /// It beside others that only read.
    Read,
}

/// Which value a handler's function takes.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct WorkspaceParam {
    pub(crate) access: AccessMode,
    id: TypeId,
    name: &'static str,
}

/// How the values of a server's workspaces are made.
pub(crate) struct Maker {
    id: TypeId,
    name: &'static str,
    make: Box<MakeValue>,
}

type MakeValue = dyn Fn(&str, Option<&str>) -> Result<Value, String> + Send + Sync;

/// A call's place in a workspace, while it has its turn.
pub(crate) struct Inside {
    pub(crate) name: Arc<str>,
    pub(crate) owner: Option<Arc<str>>,
    /// Weak: the value belongs to the workspace and to the call's turn, and who still looks at the call afterwards must not be the last to drop it.
    pub(crate) cell: Weak<RwLock<Option<Value>>>,
    /// How long the workspace lives, or its value, if that goes first.
    pub(crate) span: Span,
    pub(crate) maker: Arc<Maker>,
}

impl Maker {
    pub(crate) fn new<W: Send + Sync + 'static, E: Display>(
        make: impl Fn(&str, Option<&str>) -> Result<W, E> + Send + Sync + 'static,
    ) -> Self {
        Maker {
            id: TypeId::of::<W>(),
            name: type_name::<W>(),
            make: Box::new(move |name, owner| match make(name, owner) {
                Ok(value) => Ok(Box::new(value)),
                Err(error) => Err(error.to_string()),
            }),
        }
    }

    /// What is wrong with a handler that takes this, in a sentence.
    pub(crate) fn problem(&self, wanted: &WorkspaceParam) -> Option<String> {
        (wanted.id != self.id).then(|| {
            format!(
                "its handler takes the workspace's value as `{}`, and `Server::workspaces` makes `{}`",
                wanted.name, self.name
            )
        })
    }
}

impl WorkspaceParam {
    pub(crate) fn of<W: 'static>(access: AccessMode) -> Self {
        WorkspaceParam {
            access,
            id: TypeId::of::<W>(),
            name: type_name::<W>(),
        }
    }
}

impl Inside {
    /// Hands out the value to change, which the first call makes. A panic in `run` poisons it.
    pub(crate) fn change<W: 'static, T>(&self, run: impl FnOnce(&mut W) -> T) -> Result<T, String> {
        let cell = self.cell()?;
        let mut cell = cell.write().map_err(|_| self.broken())?;
        self.fill(&mut cell)?;
        let value = cell.as_mut().and_then(|value| value.downcast_mut());
        value.map(run).ok_or_else(|| self.broken())
    }

    /// Hands out the value to look at.
    pub(crate) fn read<W: 'static, T>(&self, run: impl FnOnce(&W) -> T) -> Result<T, String> {
        let cell = self.cell()?;
        if cell.read().map_err(|_| self.broken())?.is_none() {
            self.fill(&mut *cell.write().map_err(|_| self.broken())?)?;
        }
        let cell = cell.read().map_err(|_| self.broken())?;
        let value = cell.as_ref().and_then(|value| value.downcast_ref());
        value.map(run).ok_or_else(|| self.broken())
    }

    /// It is there as long as the call has its turn.
    fn cell(&self) -> Result<Cell, String> {
        self.cell.upgrade().ok_or_else(|| self.broken())
    }

    fn fill(&self, cell: &mut Option<Value>) -> Result<(), String> {
        if cell.is_none() {
            let made = (self.maker.make)(&self.name, self.owner.as_deref());
            *cell = Some(made.map_err(|problem| {
                format!("The workspace `{}` cannot be opened: {problem}", self.name)
            })?);
        }
        Ok(())
    }

    fn broken(&self) -> String {
        format!(
            "The workspace `{}` is broken; close it and open a new one",
            self.name
        )
    }
}
