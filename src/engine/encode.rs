//! Results as their era wants them on the wire, written into one buffer with the envelope around them.
//!
//! Must not know who computed a result, or where it goes.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::handler::registration::Reply;
use crate::protocol::id::RequestId;
use crate::protocol::jsonrpc;
use crate::protocol::results::{CacheScope, Completion, PromptMessage};
use crate::protocol::text::write_json;
use crate::protocol::text::write_text;
use crate::protocol::types::{ContentBlock, ResourceContents};
use crate::protocol::version::Era;

/// The whole response.
pub(crate) fn response(
    id: &RequestId,
    reply: &Reply,
    era: Era,
    server_info: &RawValue,
    dropped: usize,
) -> Vec<u8> {
    // Room at once for what most answers are, a short text; a long one would give its pages back each time (see `benches/README.md`).
    let mut out = Vec::with_capacity(1024);
    jsonrpc::open_result(&mut out, id);
    write_result(&mut out, reply, era, server_info, dropped);
    jsonrpc::close_response(&mut out);
    out
}

/// The result alone.
pub(crate) fn result(reply: &Reply, era: Era, server_info: &RawValue) -> Vec<u8> {
    let mut out = Vec::new();
    write_result(&mut out, reply, era, server_info, 0);
    out
}

/// The key under which a client is told how many events of its call were dropped.
const DROPPED_KEY: &str = "mcp-threads/droppedEvents";

fn write_result(
    out: &mut Vec<u8>,
    reply: &Reply,
    era: Era,
    server_info: &RawValue,
    dropped: usize,
) {
    let around = |meta| Around::new(era, meta, server_info, dropped);
    let modern = era == Era::Modern;
    match reply {
        Reply::Tool(result) => {
            let structured = result.structured_content.as_ref();
            write_content(out, &result.content);
            write_rest(
                out,
                &ToolResult {
                    structured_content: structured.filter(|value| modern || value.is_object()),
                    is_error: result.is_error,
                    around: around(result.meta.as_ref()),
                },
            )
        }
        Reply::Prompt(result) => write_json(
            out,
            &PromptResult {
                description: result.description.as_deref(),
                messages: &result.messages,
                around: around(result.meta.as_ref()),
            },
        ),
        Reply::Resource(result) => {
            let cache = result.cache.filter(|_| modern);
            write_json(
                out,
                &ResourceResult {
                    contents: &result.contents,
                    ttl_ms: cache.map(|cache| cache.ttl_ms()),
                    cache_scope: cache.map(|cache| cache.scope),
                    around: around(result.meta.as_ref()),
                },
            )
        }
        Reply::Rendered(result) => out.extend_from_slice(result.get().as_bytes()),
        Reply::Completion(completion) => write_json(
            out,
            &CompleteResult {
                completion,
                around: around(None),
            },
        ),
    }
}

/// The beginning of a tool's result. Text, which most of them are, takes the fast way.
fn write_content(out: &mut Vec<u8>, content: &[ContentBlock]) {
    out.extend_from_slice(b"{\"content\":[");
    for (at, block) in content.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        match block.plain_text() {
            Some(text) => {
                out.extend_from_slice(b"{\"type\":\"text\",\"text\":");
                write_text(out, text);
                out.push(b'}');
            }
            None => write_json(out, block),
        }
    }
    out.push(b']');
}

/// Adds these members to the object that is open, and ends it.
fn write_rest(out: &mut Vec<u8>, members: &impl Serialize) {
    let at = out.len();
    write_json(out, members);
    match out.len() - at {
        2 => drop(out.remove(at)), // `{}` has no member to be parted from the others
        _ => out[at] = b',',
    }
}

/// A response around this result.
pub(crate) fn write(id: &RequestId, result: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    jsonrpc::open_result(&mut out, id);
    write_json(&mut out, result);
    jsonrpc::close_response(&mut out);
    out
}

/// What stands behind the content.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolResult<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    structured_content: Option<&'a Value>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_error: bool,
    #[serde(flatten)]
    around: Around<'a>,
}

#[derive(Serialize)]
struct PromptResult<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    messages: &'a [PromptMessage],
    #[serde(flatten)]
    around: Around<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceResult<'a> {
    contents: &'a [ResourceContents],
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_scope: Option<CacheScope>,
    #[serde(flatten)]
    around: Around<'a>,
}

#[derive(Serialize)]
struct CompleteResult<'a> {
    completion: &'a Completion,
    #[serde(flatten)]
    around: Around<'a>,
}

/// What every result carries, as far as its era knows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Around<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    result_type: Option<&'a str>,
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    meta: Option<ResultMeta<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ResultMeta<'a> {
    ServerInfo(&'a RawValue),
    Own(&'a Map<String, Value>),
    Both(Map<String, Value>),
}

impl<'a> Around<'a> {
    fn new(
        era: Era,
        own: Option<&'a Map<String, Value>>,
        server_info: &'a RawValue,
        dropped: usize,
    ) -> Self {
        let modern = era == Era::Modern;
        Around {
            result_type: modern.then_some("complete"),
            meta: match (own, modern) {
                (None, true) if dropped == 0 => Some(ResultMeta::ServerInfo(server_info)),
                (None, false) if dropped == 0 => None,
                (Some(own), false) if dropped == 0 => Some(ResultMeta::Own(own)),
                _ => {
                    let mut both: Map<String, Value> = match modern {
                        true => serde_json::from_str(server_info.get()).unwrap_or_default(),
                        false => Map::new(),
                    };
                    both.extend(own.cloned().unwrap_or_default());
                    if dropped > 0 {
                        both.insert(DROPPED_KEY.to_owned(), dropped.into());
                    }
                    Some(ResultMeta::Both(both))
                }
            },
        }
    }
}
