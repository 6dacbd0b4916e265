//! Workspaces as handlers have them: a value that the calls of one owner share, by turns.
//!
//! Which handlers take it stands in `in_workspace`, how a call gets its turn is the desk's. Must not know calls.

use std::any::{Any, TypeId, type_name};
use std::fmt::Display;
use std::sync::{Arc, Mutex, RwLock, Weak};

use crate::base::life::Span;

/// What an embedder keeps for each workspace.
pub(crate) type Value = Box<dyn Any + Send + Sync>;

/// Where a workspace's value stands: empty until the first call has made it, poisoned when a handler panicked while it changed it.
#[derive(Default)]
pub(crate) struct ValueCell {
    pub(crate) value: RwLock<Option<Value>>,
    /// Held by a reader that makes the value. Of several first readers none may ask for the write lock while another one already reads.
    making: Mutex<()>,
}

pub(crate) type Cell = Arc<ValueCell>;

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
    pub(crate) cell: Weak<ValueCell>,
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
        let mut value = cell.value.write().map_err(|_| self.broken())?;
        self.fill(&mut value)?;
        let value = value.as_mut().and_then(|value| value.downcast_mut());
        value.map(run).ok_or_else(|| self.broken())
    }

    /// Hands out the value to look at.
    pub(crate) fn read<W: 'static, T>(&self, run: impl FnOnce(&W) -> T) -> Result<T, String> {
        let cell = self.cell()?;
        let is_made = || Ok::<_, String>(cell.value.read().map_err(|_| self.broken())?.is_some());
        if !is_made()? {
            let _making = cell.making.lock().map_err(|_| self.broken())?;
            if !is_made()? {
                self.fill(&mut *cell.value.write().map_err(|_| self.broken())?)?;
            }
        }
        let value = cell.value.read().map_err(|_| self.broken())?;
        let value = value.as_ref().and_then(|value| value.downcast_ref());
        value.map(run).ok_or_else(|| self.broken())
    }

    /// It is there as long as the call has its turn.
    fn cell(&self) -> Result<Cell, String> {
        self.cell.upgrade().ok_or_else(|| self.broken())
    }

    fn fill(&self, value: &mut Option<Value>) -> Result<(), String> {
        if value.is_none() {
            let made = (self.maker.make)(&self.name, self.owner.as_deref());
            *value = Some(made.map_err(|problem| {
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use crossbeam_channel::{Receiver, Sender, bounded};

    use super::*;
    use crate::base::life::Life;

    /// Reads when both have come, and stays inside until the other one is inside, too.
    fn meet(inside: &Inside, start: &AtomicUsize, here: &Sender<()>, other: &Receiver<()>) -> bool {
        start.fetch_sub(1, Ordering::SeqCst);
        // Not asleep: both have to find nothing at the same moment.
        while start.load(Ordering::SeqCst) > 0 {
            thread::yield_now();
        }
        let met = inside.read(|_: &()| {
            here.send(()).expect("the other one listens");
            other.recv_timeout(Duration::from_secs(20)).is_ok()
        });
        met.expect("it is made")
    }

    #[test]
    fn the_first_readers_are_inside_together_whichever_of_them_makes_the_value() {
        for _ in 0..500 {
            let cell = Cell::default();
            let inside = Inside {
                name: "desk".into(),
                owner: None,
                cell: Arc::downgrade(&cell),
                span: Life::default().span(),
                maker: Arc::new(Maker::new(|_, _| Ok::<_, String>(()))),
            };
            let ((one, hears_one), (two, hears_two)) = (bounded(1), bounded(1));
            let start = AtomicUsize::new(2);
            thread::scope(|scope| {
                let second = scope.spawn(|| meet(&inside, &start, &two, &hears_one));
                let first = meet(&inside, &start, &one, &hears_two);
                let both = [first, second.join().expect("it reads")];
                assert_eq!(both, [true, true], "one of them waits for the other");
            });
        }
    }
}
