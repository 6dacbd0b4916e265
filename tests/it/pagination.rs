//! Pagination: the pages together are the list, and only a cursor that was given out is taken back.

use mcp_threads::{Limits, Prompt, Resource, ResourceTemplate, Server, Tool};
use serde_json::{Value, json};

use crate::harness::wire::Wire;
use crate::harness::{code, on_every_wire};

const LISTS: [(&str, &str); 4] = [
    ("tools/list", "tools"),
    ("prompts/list", "prompts"),
    ("resources/list", "resources"),
    ("resources/templates/list", "resourceTemplates"),
];

/// A server with as many of everything.
fn many(count: usize, page_len: usize) -> Server {
    let limits = Limits::default().page_len(page_len);
    // Counted down, so that an order by name would show.
    (0..count)
        .rev()
        .fold(Server::new("it", "1").limits(limits), |server, number| {
            let name = format!("item-{number}");
            let (uri, template) = (format!("it://{number}"), format!("it://{number}/{{x}}"));
            server
                .register(Tool::new(&*name).handler(|_: Value| "tool"))
                .register(Prompt::new(&*name).handler(|| "prompt"))
                .register(Resource::new(uri, &*name).handler(|| "resource"))
                .register(ResourceTemplate::new(template, &*name).handler(|_: Value| "template"))
        })
}

fn expected(count: usize) -> Vec<String> {
    (0..count)
        .rev()
        .map(|number| format!("item-{number}"))
        .collect()
}

/// The names on each page, and the cursors between them.
#[track_caller]
fn pages(wire: &mut Wire, method: &str, member: &str) -> (Vec<Vec<String>>, Vec<String>) {
    let (mut pages, mut cursors) = (Vec::new(), Vec::new());
    let mut params = json!({});
    loop {
        let answer = wire.ask(method, params);
        let result = &answer["result"];
        let items = result[member].as_array().expect("a page has a list").iter();
        let names = items.map(|item| item["name"].as_str().expect("a name").to_owned());
        pages.push(names.collect());
        if wire.is_modern {
            assert!(
                result["ttlMs"].is_u64() && result["cacheScope"] == "public",
                "{answer}"
            );
        }
        let Some(cursor) = result.get("nextCursor") else {
            return (pages, cursors);
        };
        cursors.push(cursor.as_str().expect("a cursor is a string").to_owned());
        params = json!({ "cursor": cursor });
        assert!(pages.len() < 100, "it never ends");
    }
}

#[test]
fn the_pages_together_are_the_list() {
    for (count, page_len, lens) in [
        (0, 3, &[0][..]),
        (1, 3, &[1]),
        (3, 3, &[3]),
        (4, 3, &[3, 1]),
        (6, 3, &[3, 3]),
        (7, 3, &[3, 3, 1]),
        (2, 1, &[1, 1]),
        (5, usize::MAX, &[5]),
    ] {
        on_every_wire(
            || many(count, page_len),
            |wire| {
                // A server may be without tools and still have them; without any of the others it has no such list.
                let lists = if count == 0 { 1 } else { LISTS.len() };
                for (method, member) in LISTS.into_iter().take(lists) {
                    let (pages, cursors) = pages(wire, method, member);
                    let found: Vec<_> = pages.iter().map(Vec::len).collect();
                    assert_eq!(found, lens, "{method} of {count}");
                    assert_eq!(pages.concat(), expected(count), "{method}");
                    assert_eq!(cursors.len() + 1, lens.len());
                }
            },
        );
    }
}

#[test]
fn only_a_cursor_that_was_given_out_is_taken_back() {
    on_every_wire(
        || many(7, 3),
        |wire| {
            let cursors = LISTS.map(|(method, member)| pages(wire, method, member).1);
            for (index, (method, _)) in LISTS.into_iter().enumerate() {
                let own = &cursors[index];
                let foreign = cursors
                    .iter()
                    .enumerate()
                    .filter(|(other, _)| *other != index);
                let mut refused: Vec<_> =
                    foreign.flat_map(|(_, cursors)| cursors.clone()).collect();
                let first = &own[0];
                refused.extend(["", "0", "1", "3", "null", "é", "bm9uZQ"].map(Into::into));
                refused.extend([
                    format!("{first}="),
                    format!(" {first}"),
                    first.to_lowercase(),
                ]);
                refused.push(first[..first.len() - 1].to_owned());
                for cursor in refused {
                    let answer = wire.ask(method, json!({ "cursor": cursor }));
                    assert_eq!(code(&answer), -32602, "{method} {cursor:?}: {answer}");
                }
                for cursor in [json!(1), json!({}), json!([])] {
                    assert_eq!(code(&wire.ask(method, json!({ "cursor": cursor }))), -32602);
                }
                // A cursor is good for as often as one likes, in any order.
                for cursor in [&own[1], &own[0], &own[1]] {
                    let answer = wire.ask(method, json!({ "cursor": cursor }));
                    assert!(answer["result"].is_object(), "{answer}");
                }
                let answer = wire.ask(method, json!({ "cursor": null }));
                assert!(
                    answer["result"].is_object(),
                    "none at all begins at the beginning: {answer}"
                );
            }
        },
    );
}
