//! The module list is the architecture: what the source must look like whatever it does.
//!
//! Dependencies run one way, threads start in a few named files, every file says why it exists and stays short, and nothing panics on what a
//! peer can cause.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Every room with its rank. A `crate::` path points to a lower rank or stays in its room.
const RANKS: &[(&str, u32)] = &[
    ("base", 0),
    ("observe", 1),
    ("protocol", 2),
    ("outbox", 3),
    ("lane", 3),
    ("handler", 4),
    ("desk", 5),
    ("pool", 5),
    ("legacy", 5),
    ("engine", 6),
    ("transport", 7),
    ("server", 8),
    ("scripts", 9),
    ("lib", 10),
    // A crate of its own, so that the compiler holds it to the public API.
    ("bin", 11),
];

/// The whole concurrency of the library: the files that start threads.
const THREAD_FILES: &[&str] = &[
    "base/aside.rs",
    "base/clock.rs",
    "base/lossy.rs",
    "desk/store/contract.rs",
    "engine/stalled.rs",
    "lane/threads.rs",
    "handler/command/child.rs",
    "transport/pipe.rs",
    "transport/stdio.rs",
    "transport/http/tiny/mod.rs",
    "transport/http/guarded/mod.rs",
    "transport/http/guarded/registry.rs",
    "server/running.rs",
    "server/signals.rs",
    "bin/mcp-threads/doctor.rs",
    "bin/mcp-threads/serve.rs",
];

const LINES_MAX: usize = 450;

/// Lines of code, from the signature to the brace that ends it.
const FUNCTION_LINES_MAX: usize = 48;

/// Comments put the term of art where these stand, so that it can be searched for.
const VAGUE: &[&str] = &[
    "whoever",
    "the way",
    "what it is that",
    "the one that",
    "the one who",
    "the one before",
    "the one made",
    "the one it",
];

/// What a file says at its head that it must not know, and the path by which it would.
const UNKNOWN: &[(&str, &str)] = &[
    ("lanes", "crate::lane::"),
    ("handlers", "crate::handler::"),
    ("transports", "crate::transport::"),
    ("the engine", "crate::engine::"),
    ("HTTP", "crate::transport::http::exchange"),
];

/// Every path by which a file knows what it says that it must not.
fn lies<'t>(head: &str, code: impl Iterator<Item = &'t str> + Clone) -> Vec<String> {
    let unknown = head.split("ust not know ").nth(1).unwrap_or_default();
    let unknown = unknown.split('.').next().unwrap_or_default();
    let words = unknown.split(", ").flat_map(|part| part.split(" or "));
    let mut lies = Vec::new();
    for (word, path) in UNKNOWN {
        if words.clone().any(|said| said == *word) && code.clone().any(|line| line.contains(path)) {
            lies.push(format!(
                "says that it must not know {word}, and names `{path}`"
            ));
        }
    }
    lies
}

/// What is wrong with one file, if anything; `path` is relative to `src`.
fn slips(path: &str, text: &str) -> Vec<String> {
    let mut slips = Vec::new();
    if !text.starts_with("//!") {
        slips.push("does not begin by saying why it exists".to_owned());
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        slips.push(format!("has {lines} lines, {LINES_MAX} are allowed"));
    }
    let tests_from = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    for (number, name, lines) in functions(&text[..tests_from]) {
        if lines > FUNCTION_LINES_MAX {
            slips.push(format!(
                "{number}: `{name}` has {lines} lines of code, {FUNCTION_LINES_MAX} are allowed"
            ));
        }
    }
    for (number, line) in (1..).zip(text.lines()) {
        let code = line.trim_start();
        if code.starts_with("//") {
            let comment = code.to_lowercase();
            let vague = VAGUE.iter().filter(|phrase| comment.contains(**phrase));
            slips.extend(vague.map(|phrase| format!("{number}: says \"{phrase}\"")));
        } else {
            slips.extend(upward(path, code).map(|slip| format!("{number}: {slip}")));
        }
    }
    let logs = ["log::error!", "log::warn!", "log::info!", "log::debug!"];
    let code = |line: &&str| !line.trim_start().starts_with("//");
    let mut code = text[..tests_from].lines().filter(code);
    let head = text.lines().map_while(|line| line.strip_prefix("//!"));
    slips.extend(lies(
        &head.map(str::trim).collect::<Vec<_>>().join(" "),
        code.clone(),
    ));
    if path != "base/log.rs"
        && room(path) != "bin"
        && code.any(|line| logs.iter().any(|call| line.contains(call)))
        && !text.contains("\nuse crate::base::log;\n")
    {
        slips.push("logs without `use crate::base::log`, and so waits for the logger".to_owned());
    }
    for (number, line) in (1..).zip(text[..tests_from].lines()) {
        let code = line.trim_start();
        if code.starts_with("//") {
            continue;
        }
        let starts_thread = ["thread::Builder", "thread::spawn", "thread::scope"];
        if starts_thread.iter().any(|call| code.contains(call)) && !THREAD_FILES.contains(&path) {
            slips.push(format!(
                "{number}: starts a thread; the files that may are named in tests/it/tidy.rs"
            ));
        }
        for word in [".unwrap()", "todo!(", "unimplemented!(", "dbg!("] {
            if code.contains(word) {
                slips.push(format!("{number}: {word}"));
            }
        }
    }
    slips
}

/// Every function that has a body of several lines: where it begins, its name, its lines of code. What is inside of it counts for both.
fn functions(text: &str) -> impl Iterator<Item = (usize, &str, usize)> {
    let mut lines = text.lines().enumerate();
    std::iter::from_fn(move || {
        loop {
            let (at, line) = lines.next()?;
            let Some((indent, name)) = function(line) else {
                continue;
            };
            let rest = || std::iter::once(line).chain(lines.clone().map(|(_, line)| line));
            // Nothing in a signature ends so, and a declaration without a body has nothing else.
            let begins = rest().find(|line| line.ends_with([';', '{', '}']));
            if !begins.is_some_and(|line| line.ends_with('{')) {
                continue;
            }
            let is_end = |line: &&str| line.strip_prefix(indent) == Some("}");
            let code = rest().take_while(|line| !is_end(line)).filter(|line| {
                let code = line.trim_start();
                !code.is_empty() && !code.starts_with("//")
            });
            return Some((at + 1, name, code.count() + 1));
        }
    })
}

/// The indent and the name of the function that this line begins.
fn function(line: &str) -> Option<(&str, &str)> {
    let code = line.trim_start();
    let indent = &line[..line.len() - code.len()];
    let (before, rest) = code.split_once("fn ")?;
    let is_signature = before
        .split_whitespace()
        .all(|word| word == "const" || word == "unsafe" || word.starts_with("pub"));
    let name = rest
        .split(|char: char| !char.is_alphanumeric() && char != '_')
        .next()?;
    (is_signature && !name.is_empty()).then_some((indent, name))
}

/// Every path of this line that points up, or to a neighbour of the same rank.
fn upward(path: &str, code: &str) -> impl Iterator<Item = String> {
    let own = room(path);
    let own_rank = rank(&own);
    let paths = code
        .match_indices("crate::")
        .filter(|(at, _)| !code[..*at].ends_with('$'));
    let targets: Vec<String> = paths
        .map(|(at, found)| {
            let rest = &code[at + found.len()..];
            let end = rest
                .find(|char: char| !char.is_alphanumeric() && char != '_')
                .unwrap_or(rest.len());
            rest[..end].to_owned()
        })
        .collect();
    let path = path.to_owned();
    targets
        .into_iter()
        .filter_map(move |target| match (rank(&target), own_rank) {
            _ if own == "lib" || own == "bin" => None,
            _ if target.is_empty() => Some("`crate::{...}`: one line for each room".to_owned()),
            (None, _) => Some(format!(
                "`crate::{target}` is no room; name the one it lives in"
            )),
            (Some(_), _) if target == own => None,
            (Some(target_rank), Some(own_rank)) if target_rank < own_rank => None,
            _ => Some(format!("`crate::{target}` points up from {path}")),
        })
}

fn room(path: &str) -> String {
    let first = path.split('/').next().unwrap_or(path);
    first.trim_end_matches(".rs").to_owned()
}

fn rank(room: &str) -> Option<u32> {
    RANKS
        .iter()
        .find(|(name, _)| *name == room)
        .map(|(_, rank)| *rank)
}

/// Every source file below `directory` that is not a test.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(directory).expect("the source is beside the tests");
    for entry in entries.map(|entry| entry.expect("a directory can be read").path()) {
        if entry.is_dir() {
            if !entry.ends_with("tests") {
                sources(&entry, found);
            }
        } else if entry.extension().is_some_and(|extension| extension == "rs")
            && !entry.ends_with("tests.rs")
        {
            found.push(entry);
        }
    }
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every source file that is not a test, by its path below `src`, with its text.
pub(crate) fn texts() -> Vec<(String, String)> {
    let mut paths = Vec::new();
    sources(&src(), &mut paths);
    let read = |path: &PathBuf| {
        let below = path.strip_prefix(src()).expect("it is below src");
        let text = fs::read_to_string(path).expect("a source file can be read");
        (below.to_string_lossy().into_owned(), text)
    };
    paths.iter().map(read).collect()
}

#[test]
fn the_source_keeps_its_own_rules() {
    let files = texts();
    assert!(files.len() > 30, "the source has been found: {files:?}");
    let mut wrong = Vec::new();
    for (path, text) in &files {
        if rank(&room(path)).is_none() {
            wrong.push(format!(
                "src/{path}: this room has no rank in tests/it/tidy.rs"
            ));
        }
        wrong.extend(
            slips(path, text)
                .into_iter()
                .map(|slip| format!("src/{path}: {slip}")),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for file in THREAD_FILES {
        assert!(
            files.iter().any(|(path, _)| path == file),
            "src/{file} has gone; take it off the list"
        );
    }
}

/// The types that a file defines for its room. One inside a function is nobody else's, nor is one of the file's tests.
fn types(text: &str) -> impl Iterator<Item = &str> {
    let code = &text[..text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len())];
    code.lines().filter_map(|line| {
        let item = match line.split_once(") ") {
            Some((visible, rest)) if visible.starts_with("pub(") => rest,
            _ => line.trim_start_matches("pub "),
        };
        let kinds = ["struct ", "enum ", "trait ", "type ", "union "];
        let name = kinds.iter().find_map(|kind| item.strip_prefix(kind))?;
        name.split(|char: char| !char.is_alphanumeric()).next()
    })
}

/// Names of types that stand in more than one room, with the rooms.
fn homonyms(files: &[(String, String)]) -> Vec<String> {
    let mut rooms: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in files {
        for name in types(text) {
            rooms.entry(name).or_default().insert(room(path));
        }
    }
    let twice = rooms.into_iter().filter(|(_, rooms)| rooms.len() > 1);
    twice
        .map(|(name, rooms)| format!("{name} is defined in {rooms:?}"))
        .collect()
}

#[test]
fn no_type_name_is_defined_in_two_rooms() {
    let files = texts();
    let types: usize = files.iter().map(|(_, text)| types(text).count()).sum();
    assert!(types > 400, "only {types} types have been found");
    let wrong = homonyms(&files);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_type_name_in_two_rooms_is_found() {
    let rows = [
        (["struct A;", "pub(crate) enum B {"], 0),
        (["struct A;", "pub(crate) enum A {"], 1),
        (["type A<T> = B<T>;", "pub trait A: B {}"], 1),
        (["struct A;", "fn f() {\n    struct A;\n}"], 0),
        (["struct A;", "#[cfg(test)]\nmod tests {\nstruct A;\n}"], 0),
    ];
    for ([base, lane], expected) in rows {
        let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
        let same_room = [file("base/a.rs", base), file("base/b.rs", lane)];
        assert_eq!(homonyms(&same_room), Vec::<String>::new());
        let two_rooms = [file("base/a.rs", base), file("lane/b.rs", lane)];
        assert_eq!(homonyms(&two_rooms).len(), expected, "{base} {lane}");
    }
}

#[test]
fn lib_lists_the_rooms_in_the_order_of_their_ranks() {
    let lib = fs::read_to_string(src().join("lib.rs")).expect("there is a lib.rs");
    let rooms: Vec<_> = lib
        .lines()
        .filter_map(|line| {
            line.trim_start_matches("pub ")
                .strip_prefix("mod ")?
                .strip_suffix(';')
        })
        .collect();
    let ranks: Vec<_> = rooms
        .iter()
        .map(|room| rank(room).expect("every room has a rank"))
        .collect();
    assert!(ranks.is_sorted(), "{rooms:?} have the ranks {ranks:?}");
    assert_eq!(rooms.len(), RANKS.len() - 2, "every room but lib and bin");
}

#[test]
fn the_rules_find_what_they_forbid() {
    let rows = [
        (
            "outbox/mod.rs",
            "//! Why.\nuse crate::observe::access::Access;\n",
            0,
        ),
        ("outbox/mod.rs", "//! Why.\nuse crate::engine::Engine;\n", 1),
        (
            "engine/mod.rs",
            "//! Why.\nuse crate::engine::route;\nuse crate::outbox::Outbox;\n",
            0,
        ),
        (
            "engine/mod.rs",
            "//! Why.\nfn f(_: crate::transport::Pipe) {}\n",
            1,
        ),
        (
            "base/stats.rs",
            "//! Why.\nuse crate::observe::access::Access;\n",
            1,
        ),
        ("engine/mod.rs", "//! Why.\nuse crate::{outbox, base};\n", 1),
        ("engine/mod.rs", "//! Why.\nuse crate::Server;\n", 1),
        (
            "engine/mod.rs",
            "//! [a](crate::Server)\n/// [`b`](crate::Server)\n",
            0,
        ),
        ("base/error.rs", "use std::fmt;\n", 1),
        (
            "base/error.rs",
            "//! Why.\nfn f() { std::thread::spawn(|| ()); }\n",
            1,
        ),
        (
            "lane/threads.rs",
            "//! Why.\nfn f() { std::thread::spawn(|| ()); }\n",
            0,
        ),
        ("base/error.rs", "//! Why.\nfn f() { g().unwrap() }\n", 1),
        (
            "base/error.rs",
            "//! Why.\nfn f() { log::warn!(\"a\") }\n",
            1,
        ),
        (
            "base/error.rs",
            "//! Why.\nuse crate::base::log;\nfn f() { log::warn!(\"a\") }\n",
            0,
        ),
        (
            "engine/mod.rs",
            "//! Why. Must not know what\n//! it is, lanes or who asks.\nuse crate::lane::Lane;\n",
            1,
        ),
        (
            "engine/mod.rs",
            "//! Why. Must not know how lanes work, or transports.\n/// crate::transport::a\nuse crate::lane::Lane;\n",
            0,
        ),
        (
            "base/error.rs",
            "//! Why.\n/// g().unwrap()\nfn f() { todo!() }\n",
            1,
        ),
        (
            "base/error.rs",
            "//! Why.\n// Whoever asks.\nlet a = \"the way\";\n",
            1,
        ),
        (
            "base/error.rs",
            "//! Why.\n/// The one that asks the way.\n",
            2,
        ),
        (
            "base/error.rs",
            "//! Why.\n#[cfg(test)]\nmod tests {\n    fn f() { g().unwrap(); std::thread::spawn(h); }\n}\n",
            0,
        ),
    ];
    for (path, text, expected) in rows {
        let found = slips(path, text);
        assert_eq!(found.len(), expected, "{path}: {text} has {found:?}");
    }
    let long = "//! Why.\n".repeat(LINES_MAX + 1);
    assert_eq!(slips("base/error.rs", &long).len(), 1);
    for (statements, expected) in [(FUNCTION_LINES_MAX - 2, 0), (FUNCTION_LINES_MAX - 1, 1)] {
        let statements = "        let a = 1;\n\n        // Why.\n".repeat(statements);
        let text =
            format!("//! Why.\nimpl A {{\n    pub(crate) fn f() {{\n{statements}    }}\n}}\n");
        let found = slips("base/error.rs", &text);
        assert_eq!(found.len(), expected, "{found:?}");
    }
}

/// Every file below `directory`.
fn all_files(directory: &Path, found: &mut Vec<String>) {
    let entries = fs::read_dir(directory).expect("the source is beside the tests");
    for entry in entries.map(|entry| entry.expect("a directory can be read").path()) {
        if entry.is_dir() {
            all_files(&entry, found);
        } else {
            found.push(entry.to_string_lossy().into_owned());
        }
    }
}

#[test]
fn the_pages_about_the_inside_name_the_files_that_there_are() {
    let mut files = Vec::new();
    all_files(&src(), &mut files);
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    all_files(&tests, &mut files);
    let mut pages = vec![src().join("lib.rs")];
    let inside = fs::read_dir(src().join("internals")).expect("there are pages");
    pages.extend(inside.map(|page| page.expect("a directory can be read").path()));
    let mut named = Vec::new();
    for page in pages {
        let text = fs::read_to_string(page).expect("a page can be read");
        let spans = text.split('`').skip(1).step_by(2);
        named.extend(
            spans
                .filter(|span| span.ends_with(".rs"))
                .map(str::to_owned),
        );
    }
    assert!(named.len() > 60, "the names have been found: {named:?}");
    for name in &named {
        let end = format!("/{name}");
        assert!(
            files.iter().any(|file| file.ends_with(&end)),
            "there is no {name}"
        );
    }
    for law in files.iter().filter(|file| file.contains("/tests/it/law_")) {
        let (_, law) = law.rsplit_once('/').expect("it is in a folder");
        assert!(
            named.iter().any(|name| name == law),
            "lib.rs does not name {law}"
        );
    }
}
