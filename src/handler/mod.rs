//! What users write: tools, prompts, resources, their handlers, their results, and the context a handler sees.
//!
//! Must not know how calls are dispatched, on which thread they run, or how their results travel.

mod alternatives;
pub(crate) mod arguments;
pub(crate) mod ask;
mod ask_schema;
mod asking;
#[cfg(feature = "validate")]
mod checked;
pub(crate) mod client;
#[cfg(unix)]
pub(crate) mod command;
mod completion;
pub(crate) mod context;
pub(crate) mod control;
mod draft;
mod fork;
mod in_workspace;
pub(crate) mod invoke;
pub(crate) mod lenient;
#[cfg(feature = "validate")]
mod metered;
mod place;
pub(crate) mod portable;
pub(crate) mod progress;
mod prompt;
pub(crate) mod registration;
mod resource;
mod result;
mod schema_check;
pub(crate) mod shown;
mod text_arguments;
mod tool;
pub(crate) mod type_schema;
#[cfg(feature = "validate")]
mod validation;
pub(crate) mod workspace;

pub use ask::{AskError, Elicited, Root, Sampled, Sampling};
pub use client::Client;
#[cfg(unix)]
pub use command::{CommandError, CommandOutput, RunCommand};
pub use completion::Completing;
pub use context::{Cancelled, Reporter, RequestContext};
pub use fork::Fork;
pub use invoke::Handler;
pub use progress::Progress;
pub use prompt::{IntoPromptResult, Prompt};
pub use registration::{Execution, Register};
pub use resource::{IntoResourceResult, Resource, ResourceTemplate};
pub use result::{IntoToolResult, Json, ToolError};
pub use tool::Tool;
