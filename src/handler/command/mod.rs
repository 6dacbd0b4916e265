//! Running a child process from a handler: no shell, no inherited descriptors or terminal, ended as a group, bounded in what it may say.
//!
//! [`run`] is what handlers write and how a command ends; [`child`] follows one process whose bytes [`plumbing`] moves, [`launch`] starts it and [`culprit`] says why it could not;
//! [`lines`] and [`kept`] are what becomes of its output. [`children`] knows every process group of a server that is alive, and [`supervisor`] is
//! the process that outlives the server to end them. Must not know tools or dispatch.

mod child;
pub(crate) mod children;
mod culprit;
mod kept;
mod launch;
mod lines;
mod plumbing;
mod run;
mod supervisor;

#[cfg(feature = "scripts")]
pub(crate) use culprit::find as find_program;
#[cfg(feature = "scripts")]
pub(crate) use kept::gap;
pub use run::{CommandError, CommandOutput, RunCommand};
