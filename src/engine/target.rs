//! What a call runs, and where; and how a registration becomes one.
//!
//! Must not know what is registered under which name, or who asks.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::engine::listing::Style;
use crate::handler::draft::Draft;
use crate::handler::invoke::Invoke;
use crate::protocol::param_headers::ParamHeaders;
use crate::protocol::results::CacheHint;

/// What a call runs, and where.
pub(crate) struct Target {
    /// As it was registered: never a client's text.
    pub(crate) name: Arc<str>,
    /// The index of its lane in the engine.
    pub(crate) lane: usize,
    pub(crate) handler: Box<dyn Invoke>,
    /// The parameters of a tool that HTTP header fields mirror.
    pub(crate) mirrors: Option<ParamHeaders>,
}

/// What turns registrations into the catalogue.
pub(crate) struct Rules<'a> {
    /// The index of the lane with this name.
    pub(crate) lane: &'a dyn Fn(&str) -> Option<usize>,
    pub(crate) page_len: usize,
    pub(crate) list_cache: CacheHint,
    pub(crate) server_info: &'a RawValue,
}

impl Rules<'_> {
    /// How a list is rendered that has changed so often.
    pub(crate) fn style(&self, member: &'static str, generation: u64) -> Style<'_> {
        Style {
            member,
            generation,
            page_len: self.page_len.max(1),
            cache: self.list_cache,
            server_info: self.server_info,
        }
    }
}

pub(super) fn target(what: &str, draft: Draft, rules: &Rules<'_>) -> Result<Arc<Target>, String> {
    resolve(what, draft, rules).map(Arc::new)
}

/// Resolves the lane, and insists on a handler.
pub(super) fn resolve(what: &str, draft: Draft, rules: &Rules<'_>) -> Result<Target, String> {
    let Draft {
        name,
        lane,
        handler,
    } = draft;
    let handler = handler.ok_or_else(|| format!("{what} `{name}` has no handler"))?;
    let lane = (rules.lane)(&lane).ok_or_else(|| {
        format!(
            "{what} `{name}` runs on lane `{lane}`, which does not exist; add it with `Server::lane`"
        )
    })?;
    Ok(Target {
        name,
        lane,
        handler,
        mirrors: None,
    })
}
