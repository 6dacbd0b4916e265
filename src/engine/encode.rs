//! Results as their era wants them on the wire, written into one buffer with the envelope around them.
//!
//! Must not know who computed a result, or where it goes.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::base::heap;
use crate::handler::registration::Reply;
use crate::protocol::id::RequestId;
use crate::protocol::jsonrpc;
use crate::protocol::meta::SERVER_INFO_KEY;
use crate::protocol::raw;
use crate::protocol::text::{escapes_len, json_len, write_json, write_text};
use crate::protocol::types::{CallToolResult, ContentBlock};
use crate::protocol::version::Era;

/// What is no longer than this is written without looking at its escapes.
const UNSEEN_BYTES_MAX: usize = 64 * 1024;

/// How long a result becomes at most, but for what stands around it; 0 if that is not long. A byte that is escaped takes six.
pub(super) fn long_len(reply: &Reply) -> usize {
    match len_of(reply, str::len) {
        ..=UNSEEN_BYTES_MAX => 0,
        _ => len_of(reply, |text| text.len() + escapes_len(text)),
    }
}

fn len_of(reply: &Reply, text: fn(&str) -> usize) -> usize {
    match reply {
        Reply::Tool(result) => {
            let blocks = result.content.iter();
            let content =
                blocks.map(|block| block.plain_text().map_or_else(|| json_len(block), text));
            let structured = result.structured_content.as_ref();
            content.sum::<usize>() + structured.map_or(0, |value| len_of_value(value, text))
        }
        Reply::Prompt(result) => json_len(&result.messages),
        Reply::Resource(result) => json_len(&result.contents),
        Reply::Rendered(result) => result.get().len(),
        Reply::Completion(_) => 0,
    }
}

fn len_of_value(value: &Value, text: fn(&str) -> usize) -> usize {
    match value {
        Value::String(string) => text(string),
        Value::Array(items) => items.iter().map(|item| len_of_value(item, text)).sum(),
        Value::Object(members) => {
            let of_member =
                |(name, value): (&String, &Value)| text(name) + len_of_value(value, text);
            members.iter().map(of_member).sum()
        }
        _ => 0,
    }
}

/// The whole response, of which so much is known to be long.
pub(super) fn response(
    id: &RequestId,
    reply: &Reply,
    era: Era,
    server_info: &RawValue,
    dropped: usize,
    long: usize,
) -> Vec<u8> {
    // Room at once for what most answers are, a short text; a long one would give its pages back each time (see `benches/README.md`). A little less than 1 KiB,
    // from which on glibc tidies up before it allocates.
    let out = heap::room(1000 + long);
    jsonrpc::result_response(out, id, |out| {
        write_result(out, reply, era, server_info, dropped);
    })
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
    let modern = era == Era::Modern;
    let meta = match reply {
        Reply::Tool(result) => {
            write_tool_result(out, result, era);
            result.meta.as_ref()
        }
        Reply::Prompt(result) => {
            write_member(out, "{\"messages\":", &result.messages);
            if let Some(description) = &result.description {
                write_member(out, ",\"description\":", description);
            }
            result.meta.as_ref()
        }
        Reply::Resource(result) => {
            write_member(out, "{\"contents\":", &result.contents);
            if let Some(cache) = result.cache.filter(|_| modern) {
                write_member(out, ",\"ttlMs\":", &cache.ttl_ms());
                write_member(out, ",\"cacheScope\":", &cache.scope);
            }
            result.meta.as_ref()
        }
        Reply::Rendered(result) if modern => return heap::append(out, result.get().as_bytes()),
        Reply::Rendered(result) => return write_for_legacy(out, result),
        Reply::Completion(completion) => {
            write_member(out, "{\"completion\":", completion);
            None
        }
    };
    if modern {
        out.extend_from_slice(b",\"resultType\":\"complete\"");
    }
    write_meta(out, meta, modern.then_some(server_info), dropped);
    out.push(b'}');
}

fn write_tool_result(out: &mut Vec<u8>, result: &CallToolResult, era: Era) {
    write_content(out, &result.content);
    let structured = result.structured_content.as_ref();
    if let Some(value) = structured.filter(|value| era == Era::Modern || value.is_object()) {
        write_member(out, ",\"structuredContent\":", value);
    }
    if result.is_error {
        out.extend_from_slice(b",\"isError\":true");
    }
}

/// A tool's result as it was rendered for the modern era, without what only that era knows.
fn write_for_legacy(out: &mut Vec<u8>, result: &RawValue) {
    out.push(b'{');
    raw::each(result.get(), |name, value| {
        let name = name.unwrap_or_default();
        let mut meta = BTreeMap::<String, &RawValue>::new();
        match &*name {
            "resultType" => return,
            "structuredContent" if !value.get().starts_with('{') => return,
            "_meta" => {
                meta = serde_json::from_str(value.get()).unwrap_or_default();
                meta.remove(SERVER_INFO_KEY);
                if meta.is_empty() {
                    return;
                }
            }
            _ => {}
        }
        if !out.ends_with(b"{") {
            out.push(b',');
        }
        write_text(out, &name);
        out.push(b':');
        match meta.is_empty() {
            true => heap::append(out, value.get().as_bytes()),
            false => write_json(out, &meta),
        }
    });
    out.push(b'}');
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

fn write_member(out: &mut Vec<u8>, name: &str, value: &impl Serialize) {
    out.extend_from_slice(name.as_bytes());
    write_json(out, value);
}

/// Adds what a result says beside itself to the object that is open: its own, who the server is, and what was dropped.
fn write_meta(
    out: &mut Vec<u8>,
    own: Option<&Map<String, Value>>,
    server_info: Option<&RawValue>,
    dropped: usize,
) {
    const MEMBER: &[u8] = b",\"_meta\":";
    match (own, server_info) {
        (None, None) if dropped == 0 => {}
        (None, Some(server_info)) if dropped == 0 => {
            out.extend_from_slice(MEMBER);
            out.extend_from_slice(server_info.get().as_bytes());
        }
        _ => {
            let server_info = server_info.map(|info| serde_json::from_str(info.get()));
            let mut all: Map<String, Value> = server_info.and_then(Result::ok).unwrap_or_default();
            all.extend(own.cloned().unwrap_or_default());
            if dropped > 0 {
                all.insert(DROPPED_KEY.to_owned(), dropped.into());
            }
            out.extend_from_slice(MEMBER);
            write_json(out, &all);
        }
    }
}

/// A response around this result.
pub(crate) fn write(id: &RequestId, result: &impl Serialize) -> Vec<u8> {
    jsonrpc::result_response(Vec::with_capacity(256), id, |out| write_json(out, result))
}
