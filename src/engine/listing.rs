//! A list that clients page through, every page rendered once for each era.
//!
//! Rendering beforehand means that a list is served by copying bytes. A cursor is opaque to the client
//! and only one that was given out is taken back. Specification: `server/utilities/pagination`, `server/utilities/caching`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::protocol::jsonrpc::write_json;
use crate::protocol::results::{CacheHint, CacheScope};
use crate::protocol::version::Era;

/// One list.
#[derive(Default)]
pub(crate) struct Listing {
    pages: Vec<Page>,
}

/// One page: the whole result object for each era.
struct Page {
    /// What the page before it gives as `nextCursor`; empty for the first.
    cursor: String,
    modern: Vec<u8>,
    legacy: Vec<u8>,
}

/// How a list is rendered.
pub(crate) struct Style<'a> {
    /// The member of the result that holds the items.
    pub(crate) member: &'static str,
    /// How often the list has changed, so that a cursor leads to a page of the list it came from or to none.
    pub(crate) generation: u64,
    pub(crate) page_len: usize,
    pub(crate) cache: CacheHint,
    pub(crate) server_info: &'a RawValue,
}

impl Listing {
    /// Renders these items; `legacy` is what handshake-era clients are shown of them, one for one.
    pub(crate) fn render<T: Serialize>(style: &Style<'_>, modern: &[T], legacy: &[T]) -> Self {
        let cursor_of = |page: usize| {
            URL_SAFE_NO_PAD.encode(format!("{} {} {page}", style.member, style.generation))
        };
        let count = modern.len().div_ceil(style.page_len).max(1);
        let page = |page: usize| {
            let range = page * style.page_len..modern.len().min((page + 1) * style.page_len);
            let next_cursor = (page + 1 < count).then(|| cursor_of(page + 1));
            let render = |items, modern| {
                let mut out = Vec::new();
                let result = ListResult {
                    member: style.member,
                    items,
                    next_cursor: next_cursor.as_deref(),
                    modern,
                };
                write_json(&mut out, &result);
                out
            };
            let cacheable = Cacheable::new(style.cache, style.server_info);
            Page {
                cursor: if page == 0 {
                    String::new()
                } else {
                    cursor_of(page)
                },
                modern: render(&modern[range.clone()], Some(cacheable)),
                legacy: render(&legacy[range], None),
            }
        };
        Listing {
            pages: (0..count).map(page).collect(),
        }
    }

    /// The result for this cursor, or `None` if no page ever gave it out.
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

/// `ListToolsResult` and its like.
struct ListResult<'a, T> {
    member: &'static str,
    items: &'a [T],
    next_cursor: Option<&'a str>,
    modern: Option<Cacheable<'a>>,
}

impl<T: Serialize> Serialize for ListResult<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(self.member, self.items)?;
        if let Some(next_cursor) = self.next_cursor {
            map.serialize_entry("nextCursor", next_cursor)?;
        }
        if let Some(modern) = &self.modern {
            map.serialize_entry("resultType", modern.result_type)?;
            map.serialize_entry("ttlMs", &modern.ttl_ms)?;
            map.serialize_entry("cacheScope", &modern.cache_scope)?;
            map.serialize_entry("_meta", modern.meta)?;
        }
        map.end()
    }
}

/// What every cacheable result of the modern era carries.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cacheable<'a> {
    result_type: &'a str,
    ttl_ms: u64,
    cache_scope: CacheScope,
    #[serde(rename = "_meta")]
    meta: &'a RawValue,
}

impl<'a> Cacheable<'a> {
    pub(crate) fn new(cache: CacheHint, server_info: &'a RawValue) -> Self {
        Cacheable {
            result_type: "complete",
            ttl_ms: cache.ttl_ms(),
            cache_scope: cache.scope,
            meta: server_info,
        }
    }
}
