//! What a handler's return value has become: one kind of result for each kind of call.
//!
//! Data only. Must not know how a result is written for its era, or how it travels.

use serde_json::value::RawValue;

use crate::protocol::results::{Completion, GetPromptResult, ReadResourceResult};
use crate::protocol::types::{CallToolResult, ContentBlock};

/// The result of a call.
#[derive(Debug)]
pub(crate) enum Reply {
    Tool(CallToolResult),
    Prompt(GetPromptResult),
    Resource(ReadResourceResult),
    Completion(Completion),
    /// The result of a tool that was rendered before, by a background job.
    Rendered(Box<RawValue>),
}

impl Reply {
    /// Says links to resources in words, for clients that know no links.
    pub(crate) fn links_as_text(&mut self) {
        match self {
            Reply::Tool(result) => result
                .content
                .iter_mut()
                .for_each(ContentBlock::link_as_text),
            Reply::Prompt(result) => {
                let messages = result.messages.iter_mut();
                messages.for_each(|message| message.content.link_as_text());
            }
            Reply::Resource(_) | Reply::Completion(_) | Reply::Rendered(_) => {}
        }
    }
}
