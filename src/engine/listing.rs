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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn render(member: &'static str, items: &[u32], page_len: usize) -> Listing {
        let server_info = RawValue::from_string("{}".into()).expect("it is JSON");
        let style = Style {
            member,
            generation: 0,
            page_len,
            cache: CacheHint::NONE,
            server_info: &server_info,
        };
        let legacy: Vec<_> = items.iter().map(|item| item.wrapping_add(1)).collect();
        Listing::render(&style, items, &legacy)
    }

    /// Everything from the first page to the last, and the cursors on the way.
    fn walk(listing: &Listing, era: Era) -> (Vec<Value>, Vec<String>) {
        let (mut items, mut cursors) = (Vec::new(), Vec::<String>::new());
        loop {
            let cursor = cursors.last().map(String::as_str);
            let page = listing.page(cursor, era).expect("the cursor was given out");
            let page: Value = serde_json::from_slice(page).expect("a page is JSON");
            assert_eq!(page.get("resultType").is_some(), era == Era::Modern);
            items.extend(page["items"].as_array().expect("a list").clone());
            match page.get("nextCursor").and_then(Value::as_str) {
                Some(next) => cursors.push(next.to_owned()),
                None => return (items, cursors),
            }
        }
    }

    proptest! {
        #[test]
        fn the_pages_together_are_the_list(
            items in prop::collection::vec(any::<u32>(), 0..50),
            page_len in 1_usize..60,
        ) {
            let listing = render("items", &items, page_len);
            let (modern, cursors) = walk(&listing, Era::Modern);
            prop_assert_eq!(modern, items.iter().map(|item| Value::from(*item)).collect::<Vec<_>>());
            prop_assert_eq!(cursors.len() + 1, items.len().div_ceil(page_len).max(1));
            let (legacy, same) = walk(&listing, Era::Legacy);
            prop_assert_eq!(same, cursors);
            prop_assert_eq!(legacy, items.iter().map(|item| Value::from(item.wrapping_add(1))).collect::<Vec<_>>());
        }

        #[test]
        fn a_cursor_of_another_list_or_none_at_all_is_refused(text in ".*|[A-Za-z0-9_-]*") {
            let listing = render("items", &[1, 2, 3], 1);
            let other = walk(&render("items", &[1, 2], 1), Era::Modern).1;
            let own = walk(&listing, Era::Modern).1;
            prop_assert_eq!(listing.page(Some(&text), Era::Modern).is_some(), own.contains(&text));
            // The same page of a shorter list of the same kind: a tool more or less does not matter.
            prop_assert!(listing.page(Some(&other[0]), Era::Modern).is_some());
        }
    }

    #[test]
    fn lists_do_not_share_cursors() {
        let server_info = RawValue::from_string("{}".into()).expect("it is JSON");
        let one = |member| {
            let style = Style {
                member,
                generation: 0,
                page_len: 1,
                cache: CacheHint::NONE,
                server_info: &server_info,
            };
            Listing::render(&style, &[1, 2], &[1, 2])
        };
        let (tools, prompts) = (one("tools"), one("prompts"));
        for (listing, other) in [(&tools, &prompts), (&prompts, &tools)] {
            let cursor = &listing.pages[1].cursor;
            assert!(listing.page(Some(cursor), Era::Legacy).is_some());
            assert!(other.page(Some(cursor), Era::Legacy).is_none());
            // The first page's is never given out.
            assert!(
                listing
                    .page(Some(&listing.pages[0].cursor), Era::Legacy)
                    .is_none()
            );
        }
    }
}
