//! A list that clients page through, made of items that were rendered once for each era.
//!
//! A page is put together when it is first asked for, and then served by copying bytes. A cursor is opaque to the client
//! and only one that was given out is taken back. Specification: `server/utilities/pagination`, `server/utilities/caching`.

use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use crate::handler::shown::Shown;
use crate::protocol::results::{CacheHint, CacheScope};
use crate::protocol::text::write_json;
use crate::protocol::version::Era;

/// One item of a list, as each era is shown it. Clones are cheap.
#[derive(Clone)]
pub(crate) struct ListItem([Arc<RawValue>; ERAS]);

/// What is rendered for each era stands at its number.
const ERAS: usize = Era::Legacy as usize + 1;

/// One list.
pub(crate) struct Listing {
    style: Arc<Style>,
    /// How often the list has changed, so that a cursor leads to a page of the list it came from or to none.
    generation: u64,
    items: Vec<ListItem>,
    /// The whole result object of each, once it has been asked for.
    pages: Vec<[OnceLock<Vec<u8>>; ERAS]>,
}

/// How the lists of a kind are rendered.
pub(crate) struct Style {
    /// The member of the result that holds the items.
    pub(crate) member: &'static str,
    /// At least 1.
    pub(crate) page_len: usize,
    pub(crate) cache: CacheHint,
    pub(crate) server_info: Box<RawValue>,
}

impl ListItem {
    pub(crate) fn render(shown: &Shown) -> Self {
        let raw = |shown: &Shown| {
            let mut shown = json!(shown);
            let is_said = |said: &Value| !said.is_null() && *said != json!([]);
            let members = shown.as_object_mut().expect("a definition is an object");
            members.retain(|_, said| is_said(said));
            Arc::from(to_raw_value(&shown).expect("it is JSON"))
        };
        let modern = raw(shown);
        let legacy = legacy(shown).map_or_else(|| Arc::clone(&modern), |shown| raw(&shown));
        ListItem([modern, legacy])
    }
}

#[cfg(test)]
impl ListItem {
    /// Whether the two were rendered together.
    pub(crate) fn is_same(&self, other: &ListItem) -> bool {
        Arc::ptr_eq(&self.0[0], &other.0[0])
    }
}

impl Listing {
    pub(crate) fn new(style: Arc<Style>, generation: u64, items: Vec<ListItem>) -> Self {
        let count = items.len().div_ceil(style.page_len).max(1);
        Listing {
            style,
            generation,
            items,
            pages: (0..count).map(|_| Default::default()).collect(),
        }
    }

    /// The result for this cursor, or `None` if no page ever gave it out.
    pub(crate) fn page(&self, cursor: Option<&str>, era: Era) -> Option<&[u8]> {
        let at = match cursor {
            None => 0,
            Some(cursor) => self.page_of(cursor)?,
        };
        let once = &self.pages[at][era as usize];
        Some(once.get_or_init(|| self.render(at, era)))
    }

    fn render(&self, at: usize, era: Era) -> Vec<u8> {
        let style = &*self.style;
        let first = at * style.page_len;
        let last = self.items.len().min(first + style.page_len);
        let items = self.items[first..last].iter();
        let items = items.map(|item| &item.0[era as usize]);
        let mut out = vec![b'{'];
        write_json(&mut out, style.member);
        out.push(b':');
        write_json(&mut out, &items.collect::<Vec<_>>());
        if at + 1 < self.pages.len() {
            out.extend_from_slice(b",\"nextCursor\":");
            write_json(&mut out, &self.cursor(at + 1));
        }
        match era {
            Era::Modern => {
                let brace = out.len();
                write_json(&mut out, &Cacheable::new(style.cache, &style.server_info));
                out[brace] = b',';
            }
            Era::Legacy => out.push(b'}'),
        }
        out
    }

    /// What the page before this one gives as `nextCursor`.
    fn cursor(&self, page: usize) -> String {
        let (member, generation) = (self.style.member, self.generation);
        URL_SAFE_NO_PAD.encode(format!("{member} {generation} {page}"))
    }

    fn page_of(&self, cursor: &str) -> Option<usize> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
        let page = text.rsplit(' ').next()?.parse().ok()?;
        let is_given_out = (1..self.pages.len()).contains(&page) && self.cursor(page) == cursor;
        is_given_out.then_some(page)
    }
}

/// What handshake-era clients understand, where that differs: structured content is an object there, and so is its schema, and the schema of each
/// member.
fn legacy(shown: &Shown) -> Option<Shown> {
    let is_object = |schema: &Value| schema.get("type") == Some(&Value::from("object"));
    shown.input_schema.as_ref()?;
    let mut shown = shown.clone();
    shown.output_schema = shown.output_schema.filter(is_object);
    let schemas = [&mut shown.input_schema, &mut shown.output_schema];
    schemas
        .into_iter()
        .flatten()
        .for_each(properties_as_objects);
    Some(shown)
}

/// Says in objects what a schema says of its properties with `true` and `false`.
fn properties_as_objects(schema: &mut Value) {
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for property in properties.into_iter().flat_map(Map::values_mut) {
        match property {
            Value::Bool(true) => *property = json!({}),
            Value::Bool(false) => *property = json!({ "not": {} }),
            _ => {}
        }
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

    fn listing(member: &'static str, items: &[u32], page_len: usize) -> Listing {
        let style = Style {
            member,
            page_len,
            cache: CacheHint::NONE,
            server_info: RawValue::from_string("{}".into()).expect("it is JSON"),
        };
        let raw = |item: u32| Arc::from(to_raw_value(&item).expect("a number is JSON"));
        let item = |item: &u32| ListItem([raw(*item), raw(item.wrapping_add(1))]);
        Listing::new(Arc::new(style), 0, items.iter().map(item).collect())
    }

    /// Everything from the first page to the last, and the cursors between them.
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
            let listing = listing("items", &items, page_len);
            let (modern, cursors) = walk(&listing, Era::Modern);
            prop_assert_eq!(modern, items.iter().map(|item| Value::from(*item)).collect::<Vec<_>>());
            prop_assert_eq!(cursors.len() + 1, items.len().div_ceil(page_len).max(1));
            let (legacy, same) = walk(&listing, Era::Legacy);
            prop_assert_eq!(same, cursors);
            prop_assert_eq!(legacy, items.iter().map(|item| Value::from(item.wrapping_add(1))).collect::<Vec<_>>());
        }

        #[test]
        fn a_cursor_of_another_list_or_none_at_all_is_refused(text in ".*|[A-Za-z0-9_-]*") {
            let other = walk(&listing("items", &[1, 2], 1), Era::Modern).1;
            let listing = listing("items", &[1, 2, 3], 1);
            let own = walk(&listing, Era::Modern).1;
            prop_assert_eq!(listing.page(Some(&text), Era::Modern).is_some(), own.contains(&text));
            // The same page of a shorter list of the same kind: a tool more or less does not matter.
            prop_assert!(listing.page(Some(&other[0]), Era::Modern).is_some());
        }
    }

    #[test]
    fn lists_do_not_share_cursors() {
        let (tools, prompts) = (listing("tools", &[1, 2], 1), listing("prompts", &[1, 2], 1));
        for (listing, other) in [(&tools, &prompts), (&prompts, &tools)] {
            let cursor = listing.cursor(1);
            assert!(listing.page(Some(&cursor), Era::Legacy).is_some());
            assert!(other.page(Some(&cursor), Era::Legacy).is_none());
            // The first page's is never given out, and a page that is not there has none.
            for page in [0, 2] {
                let cursor = listing.cursor(page);
                assert!(listing.page(Some(&cursor), Era::Legacy).is_none());
            }
        }
    }
}
