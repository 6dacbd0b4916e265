//! What users write: tools, their handlers, their results, and the context a handler sees.
//!
//! Must not know how calls are dispatched, on which thread they run, or how their results travel.

#[cfg(unix)]
mod command;
pub(crate) mod context;
mod fork;
pub(crate) mod invoke;
mod result;
pub(crate) mod tool;
#[cfg(feature = "validate")]
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the calls that it checks do not ask it yet")
)]
pub(crate) mod validation;

#[cfg(unix)]
pub use command::{CommandOutput, RunCommand};
pub use context::{Cancelled, Client, Progress, RequestContext};
pub use fork::Fork;
pub use invoke::Handler;
pub use result::{IntoToolResult, Json, ToolError};
pub use tool::Tool;
