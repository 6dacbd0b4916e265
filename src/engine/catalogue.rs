//! Everything the server offers, frozen at start: tools by name, and every page of their list rendered once.
//!
//! Rendering at start means that a list is served by copying bytes, and that its order never changes. Must not know who asks.
//! Specification: `server/tools` ("Listing Tools"), `server/utilities/pagination`, `server/utilities/caching`.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::Error;
use crate::handler::invoke::Invoke;
use crate::handler::tool::Definition;
use crate::protocol::jsonrpc::write_json;
use crate::protocol::version::Era;

/// How long a client may keep a list, in milliseconds. Lists do not change while the server runs; five minutes bound what a restart leaves behind.
pub(crate) const LIST_TTL_MS: u64 = 300_000;

/// A tool, ready to be called.
pub(crate) struct RegisteredTool {
    pub(crate) name: Arc<str>,
    /// The index of its lane in the engine.
    pub(crate) lane: usize,
    pub(crate) handler: Box<dyn Invoke>,
}

/// The tools and their list.
pub(crate) struct Catalogue {
    tools: HashMap<Arc<str>, Arc<RegisteredTool>>,
    pages: Vec<Page>,
}

/// One page of `tools/list`: the whole result object for each era.
struct Page {
    /// What the page before it gives as `nextCursor`; empty for the first.
    cursor: String,
    modern: Vec<u8>,
    legacy: Vec<u8>,
}

/// A tool as it is registered: what clients see and what the engine runs.
pub(crate) struct Entry {
    pub(crate) definition: Definition,
    pub(crate) tool: RegisteredTool,
}

impl Catalogue {
    /// Freezes the tools in the order they were registered.
    ///
    /// # Errors
    ///
    /// When a definition is invalid or a name stands twice; the error names it.
    pub(crate) fn new(
        entries: Vec<Entry>,
        page_len: usize,
        server_info: &RawValue,
    ) -> Result<Self, Error> {
        let mut tools = HashMap::new();
        let mut definitions = Vec::new();
        for Entry { definition, tool } in entries {
            if let Some(problem) = definition.problem() {
                return Err(Error::configuration(problem));
            }
            if tools
                .insert(Arc::clone(&tool.name), Arc::new(tool))
                .is_some()
            {
                return Err(Error::configuration(format!(
                    "tool `{}` is registered twice",
                    definition.name
                )));
            }
            definitions.push(definition);
        }
        Ok(Catalogue {
            tools,
            pages: render(&definitions, page_len.max(1), server_info),
        })
    }

    pub(crate) fn tool(&self, name: &str) -> Option<&Arc<RegisteredTool>> {
        self.tools.get(name)
    }

    /// The result of `tools/list` for this cursor, or `None` if no page ever gave it out.
    pub(crate) fn page(&self, cursor: Option<&str>, era: Era) -> Option<&[u8]> {
        let page = match cursor {
            None => self.pages.first(),
            Some(cursor) => self.pages.iter().skip(1).find(|page| page.cursor == cursor),
        }?;
        Some(match era {
            Era::Modern => &page.modern,
            Era::Legacy => &page.legacy,
        })
    }
}

fn render(definitions: &[Definition], page_len: usize, server_info: &RawValue) -> Vec<Page> {
    let legacy: Vec<Definition> = definitions.iter().map(legacy_definition).collect();
    let cursor_of = |page: usize| URL_SAFE_NO_PAD.encode(format!("tools {page}"));
    let count = definitions.len().div_ceil(page_len).max(1);
    (0..count)
        .map(|page| {
            let range = page * page_len..definitions.len().min((page + 1) * page_len);
            let next_cursor = (page + 1 < count).then(|| cursor_of(page + 1));
            let render = |tools, modern| {
                let mut out = Vec::new();
                write_json(
                    &mut out,
                    &ListToolsResult {
                        tools,
                        next_cursor: next_cursor.as_deref(),
                        modern,
                    },
                );
                out
            };
            let hints = Modern {
                result_type: "complete",
                ttl_ms: LIST_TTL_MS,
                cache_scope: "public",
                meta: server_info,
            };
            Page {
                cursor: if page == 0 {
                    String::new()
                } else {
                    cursor_of(page)
                },
                modern: render(&definitions[range.clone()], Some(hints)),
                legacy: render(&legacy[range], None),
            }
        })
        .collect()
}

/// What handshake-era clients understand: structured content is an object there, and so is its schema.
fn legacy_definition(definition: &Definition) -> Definition {
    let is_object = |schema: &Value| schema.get("type") == Some(&Value::from("object"));
    let mut definition = definition.clone();
    definition.output_schema = definition.output_schema.filter(is_object);
    definition
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListToolsResult<'a> {
    tools: &'a [Definition],
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<&'a str>,
    #[serde(flatten)]
    modern: Option<Modern<'a>>,
}

/// What every cacheable result of the modern era carries.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Modern<'a> {
    pub(crate) result_type: &'a str,
    pub(crate) ttl_ms: u64,
    pub(crate) cache_scope: &'a str,
    #[serde(rename = "_meta")]
    pub(crate) meta: &'a RawValue,
}
