//! A file of scripts as tools, resources and prompts: [`Scripts`].
//!
//! [`spec`] is what a file can say, read with [`table`] and [`mistake`]; [`argument`] checks what a call gives, [`template`] and [`environment`] put it
//! where a program finds it, [`command`] runs the program and [`answer`] says how it ended, [`call`] is all of that in order; [`offer`] makes tools of it,
//! [`loaded`] is the whole, and [`trust`] says whose file it is. Must not know which server they are registered with.

mod answer;
mod argument;
mod call;
mod command;
mod environment;
mod loaded;
mod mistake;
mod offer;
mod spec;
mod table;
mod template;
mod trust;

pub use loaded::{ScriptTool, Scripts};
pub use mistake::{Mistake, Mistakes};
