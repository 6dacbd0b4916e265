//! A file of scripts as tools, resources and prompts: [`Scripts`].
//!
//! [`spec`] is what a file can say, read with [`table`] and [`mistake`]; [`argument`] checks what a call gives, [`template`] and [`environment`] put it
//! where a program finds it, [`command`] runs the program and [`answer`] says how it ended, [`call`] is all of that in order; [`offer`] makes tools of it,
//! [`loaded`] is the whole, and the only one that knows a server, and [`trust`] says whose file it is.
//!
//! - Loading: `loaded` ▶ `spec/file` ▶ `spec/tool`, `spec/command` ▶ `table`; `trust` before and after.
//! - Registering: `loaded` (`registrations`, `lanes`) ▶ `offer` ▶ a `Tool` whose handler is `call::call`; with `concurrency` it has a lane and a pool `tool NAME`.
//! - A call: `call` ▶ the question and the claims, if it has any, after a first check ▶ `argument` ▶ `command` (`Prepared::new`: `template`, `environment`) ▶
//!   `handler/command` ▶ `answer`.

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
