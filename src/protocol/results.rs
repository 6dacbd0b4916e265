//! The schema's types for what prompts, resources and completions answer, and how long a client may keep an answer.
//!
//! Data only. Must not know who computes a result. Specification: `server/prompts`, `server/resources`, `server/utilities/completion` and
//! `server/utilities/caching` of revision 2026-07-28.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::base::setters::setters;
use crate::protocol::types::{ContentBlock, ResourceContents, Role};

/// The most values one completion may have.
const COMPLETION_VALUES_MAX: usize = 100;

/// One message of a prompt. Specification: `server/prompts` ("PromptMessage").
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PromptMessage {
    /// Who speaks.
    pub role: Role,
    /// The content.
    pub content: ContentBlock,
}

impl PromptMessage {
    /// A message of any content.
    pub fn new(role: Role, content: ContentBlock) -> Self {
        PromptMessage { role, content }
    }

    /// A text message from the user.
    pub fn user(text: impl Into<String>) -> Self {
        Self::new(Role::User, ContentBlock::text(text))
    }

    /// A text message from the model.
    pub fn assistant(text: impl Into<String>) -> Self {
        Self::new(Role::Assistant, ContentBlock::text(text))
    }
}

/// What `prompts/get` answers. Specification: `server/prompts` ("Getting a Prompt").
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct GetPromptResult {
    /// What the prompt is for, if it differs from what its definition says.
    pub description: Option<String>,
    /// The messages, in order.
    pub messages: Vec<PromptMessage>,
    /// The result's `_meta` object.
    pub meta: Option<Map<String, Value>>,
}

impl From<Vec<PromptMessage>> for GetPromptResult {
    fn from(messages: Vec<PromptMessage>) -> Self {
        GetPromptResult {
            messages,
            ..Self::default()
        }
    }
}

impl GetPromptResult {
    setters! {
        /// The same with what the prompt is for.
        with_description(description: impl Into<String>) => description = Some(description.into());

        /// The same with a `_meta` object.
        with_meta(meta: Map<String, Value>) => meta = Some(meta);
    }
}

/// What `resources/read` answers. Specification: `server/resources` ("Reading Resources").
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ReadResourceResult {
    /// What the resource holds; several pieces when it is a collection.
    pub contents: Vec<ResourceContents>,
    /// How long the client may cache it, if that differs from what was set for the resource.
    pub cache: Option<CacheHint>,
    /// The result's `_meta` object.
    pub meta: Option<Map<String, Value>>,
}

impl From<Vec<ResourceContents>> for ReadResourceResult {
    fn from(contents: Vec<ResourceContents>) -> Self {
        ReadResourceResult {
            contents,
            ..Self::default()
        }
    }
}

impl ReadResourceResult {
    setters! {
        /// The same with how long the client may cache it.
        with_cache(hint: CacheHint) => cache = Some(hint);

        /// The same with a `_meta` object.
        with_meta(meta: Map<String, Value>) => meta = Some(meta);
    }
}

/// What `completion/complete` answers. Specification: `server/utilities/completion`.
///
/// Made from a list of values with `into()`. Of more than 100 values the first 100 are sent, with the number of all.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Completion {
    values: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<usize>,
    has_more: bool,
}

impl<T: Into<String>> From<Vec<T>> for Completion {
    fn from(values: Vec<T>) -> Self {
        let total = values.len();
        Completion {
            values: values
                .into_iter()
                .take(COMPLETION_VALUES_MAX)
                .map(Into::into)
                .collect(),
            total: Some(total),
            has_more: total > COMPLETION_VALUES_MAX,
        }
    }
}

/// How long a client may cache an answer, and whether the cache may be shared between users. Clients of revision 2026-07-28 only. Specification: `server/utilities/caching`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheHint {
    pub(crate) ttl: Duration,
    pub(crate) scope: CacheScope,
}

/// Who may be given a kept answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CacheScope {
    Public,
    #[default]
    Private,
}

impl CacheHint {
    /// Do not cache it.
    pub const NONE: CacheHint = CacheHint::private(Duration::ZERO);

    /// Cache it this long, for all users: it contains nothing that belongs to one of them.
    pub const fn public(ttl: Duration) -> Self {
        CacheHint {
            ttl,
            scope: CacheScope::Public,
        }
    }

    /// Cache it this long, for this user only.
    pub const fn private(ttl: Duration) -> Self {
        CacheHint {
            ttl,
            scope: CacheScope::Private,
        }
    }

    pub(crate) fn ttl_ms(&self) -> u64 {
        // Beyond this a client that reads numbers as doubles would read another one.
        const EXACT_MAX: u64 = (1 << 53) - 1;
        u64::try_from(self.ttl.as_millis()).map_or(EXACT_MAX, |ttl| ttl.min(EXACT_MAX))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_completion_sends_a_hundred_values_and_the_true_total() {
        let many: Completion = (0..101).map(|n| n.to_string()).collect::<Vec<_>>().into();
        let wire = serde_json::to_value(&many).expect("a completion is JSON");
        assert_eq!(wire["values"].as_array().map(Vec::len), Some(100));
        assert_eq!(
            (&wire["total"], &wire["hasMore"]),
            (&json!(101), &json!(true))
        );
        let few: Completion = vec!["a"].into();
        assert_eq!(
            serde_json::to_value(&few).expect("a completion is JSON"),
            json!({"values": ["a"], "total": 1, "hasMore": false})
        );
    }
}
