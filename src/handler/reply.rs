//! What a handler's return value has become: one kind of result for each kind of call.
//!
//! Data only. Must not know how a result is written for its era, or how it travels.

use crate::protocol::results::{Completion, GetPromptResult, ReadResourceResult};
use crate::protocol::types::CallToolResult;

/// The result of a call.
#[derive(Debug)]
pub(crate) enum Reply {
    Tool(CallToolResult),
    Prompt(GetPromptResult),
    Resource(ReadResourceResult),
    /// The resource's handler says that there is nothing at this URI.
    NoResource,
    Completion(Completion),
}
