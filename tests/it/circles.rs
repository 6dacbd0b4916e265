//! No two files of the source know each other, however long the way round.
//!
//! A room's `mod.rs` is a file like any other: it names what is inside, so nothing inside may name it, or what it lets out. All of them form a graph
//! that must have an order.

use std::collections::{BTreeMap, BTreeSet};

use crate::tidy::texts;

/// Module path to the module paths it names.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// The module of a file; `None` for the root, which nothing names.
fn module(path: &str) -> Option<String> {
    let path = path.strip_suffix(".rs")?.replace('/', "::");
    let path = path.strip_suffix("::mod").unwrap_or(&path);
    (path != "lib").then(|| path.to_owned())
}

/// The paths that the code of a module names, from the root of the crate, with whatever stands behind the module in them. A visibility names nobody.
fn named(module: &str, text: &str) -> Vec<String> {
    let tests = [
        "#[cfg(test)]\nmod tests",
        "#[cfg(test)]\npub(crate) mod tests",
    ];
    let end = tests.iter().filter_map(|tests| text.find(tests)).min();
    let code = &text[..end.unwrap_or(text.len())];
    let lines = code.lines().map(str::trim_start);
    let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
    let inner = lines.clone().filter_map(|line| {
        let declared = line.strip_suffix(';')?;
        let (_, name) = declared.split_once("mod ")?;
        Some((format!("{name}::"), format!("{module}::{name}")))
    });
    let roots = [("crate::", ""), ("super::", parent), ("self::", module)];
    let roots = roots.map(|(word, from)| (word.to_owned(), from.to_owned()));
    let words: Vec<_> = roots.into_iter().chain(inner).collect();
    let mut found = Vec::new();
    for line in lines.filter(|line| !line.starts_with("//")) {
        for (word, from) in &words {
            for (at, _) in line.match_indices(word) {
                let before = &line[..at];
                let is_whole_word =
                    !before.ends_with(|char: char| char.is_alphanumeric() || "_$:".contains(char));
                let rest = &line[at + word.len()..];
                let end = rest.find(|char: char| !char.is_alphanumeric() && !"_:".contains(char));
                let path = rest[..end.unwrap_or(rest.len())].trim_end_matches(':');
                if is_whole_word && !before.ends_with("(in ") {
                    found.push(format!("{from}::{path}").trim_start_matches(':').to_owned());
                }
            }
        }
    }
    found
}

/// Who knows whom. A path belongs to the longest module that begins it.
fn graph(files: &[(String, String)]) -> Graph {
    let texts: BTreeMap<_, _> = files
        .iter()
        .filter_map(|(path, text)| Some((module(path)?, text)))
        .collect();
    let owner = |path: &str| {
        let ends = path
            .match_indices("::")
            .map(|(at, _)| at)
            .chain([path.len()]);
        let begun = ends
            .map(|end| &path[..end])
            .filter(|begun| texts.contains_key(*begun));
        begun.last().map(str::to_owned)
    };
    let mut graph = Graph::new();
    for (module, text) in &texts {
        let known = named(module, text)
            .into_iter()
            .filter_map(|path| owner(&path));
        let others = known.filter(|known| known != module).collect();
        graph.insert(module.clone(), others);
    }
    graph
}

/// The circles: what is left when modules that know no other, and modules that no other knows, have been taken away, again and again.
fn circles(mut graph: Graph) -> Graph {
    loop {
        let ends: Vec<_> = graph
            .iter()
            .filter(|(module, known)| {
                let is_known = graph.values().any(|known| known.contains(*module));
                known.is_empty() || !is_known
            })
            .map(|(module, _)| module.clone())
            .collect();
        if ends.is_empty() {
            return graph;
        }
        graph.retain(|module, _| !ends.contains(module));
        for known in graph.values_mut() {
            known.retain(|module| !ends.contains(module));
        }
    }
}

#[test]
fn no_files_know_each_other() {
    let graph = graph(&texts());
    let edges: usize = graph.values().map(BTreeSet::len).sum();
    assert!(edges > 100, "the paths have been found: {graph:#?}");
    let circles = circles(graph);
    assert!(circles.is_empty(), "these know each other: {circles:#?}");
}

/// Files by path, and which of them are in a circle.
type Row = (
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
);

#[test]
fn a_circle_is_found_however_it_is_spelled() {
    let rows: &[Row] = &[
        (
            &[("a.rs", "use crate::b::B;"), ("b.rs", "use std::fmt;")],
            &[],
        ),
        (
            &[
                ("a.rs", "use crate::b::B;"),
                ("b.rs", "fn f() -> crate::a::A {}"),
            ],
            &["a", "b"],
        ),
        (
            &[
                ("r/a.rs", "use super::b::{B, C};"),
                ("r/b.rs", "use crate::r::a::A;"),
            ],
            &["r::a", "r::b"],
        ),
        (
            &[("a.rs", "use self::b::B;"), ("a/b.rs", "use crate::a::A;")],
            &["a", "a::b"],
        ),
        (
            &[
                ("a.rs", "use crate::b::B;"),
                ("b.rs", "use crate::c::C;"),
                ("c.rs", "use crate::a::A;"),
            ],
            &["a", "b", "c"],
        ),
        (
            &[
                ("r/mod.rs", "pub use self::a::A;"),
                ("r/a.rs", "use crate::r::R;"),
            ],
            &["r", "r::a"],
        ),
        (
            &[
                ("r/mod.rs", "mod a;\nfn f() -> a::A {}"),
                ("r/a.rs", "use super::R;"),
            ],
            &["r", "r::a"],
        ),
        (
            &[
                ("r/mod.rs", "mod a;\nmod b;\npub use self::a::A;"),
                ("r/a.rs", "use crate::r::b::B;"),
                ("r/b.rs", "pub(in crate::r) struct B;"),
            ],
            &[],
        ),
        (
            &[
                ("a.rs", "// crate::b\nuse crate::bb::B;"),
                ("b.rs", "use crate::a::A;"),
            ],
            &[],
        ),
        (
            &[
                ("a.rs", "use crate::b::B;"),
                ("b.rs", "#[cfg(test)]\nmod tests {\nuse crate::a::A;\n}"),
            ],
            &[],
        ),
    ];
    for (files, expected) in rows {
        let files: Vec<_> = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
            .collect();
        let found: Vec<_> = circles(graph(&files)).into_keys().collect();
        assert_eq!(found, *expected, "{files:?}");
    }
}
