//! One script, every way: each text file beside this one is a conversation with the reference server, played in memory, over stdio and over each
//! HTTP front, in both eras. Every reply must be the one that is written down, and the same on every way.
//!
//! A file has one thing a line, and a line that is indented continues the one above:
//!
//! ```text
//! # a remark
//! client {"elicitation":{}}       what the client can do; in front of everything else
//! log info                        the client wants log messages from this level on
//! hello                           what the server says of itself: `server/discover`, or the answer to `initialize`
//! listen {"toolsListChanged":true}  what the client wants to hear of: `subscriptions/listen`, or a stream that listens and `resources/subscribe`
//! -> tools/call {"name":"echo"}   the client asks; ids, metadata, header fields and the handshake are added
//! <~ notifications/progress {...} a notification on the way to the answer
//! <? key elicitation/create {...} the server asks, and calls it `key`
//! >? {"action":"decline"}         what the client answers: on the wire, or as `inputResponses` in the next round
//! <- {...}                        the result
//! <! {...}                        instead of a result: the error
//! -x                              instead of an answer: the client cancels, and none comes
//! <* notifications/tools/list_changed {}  a change, from where the client listens
//! ```
//!
//! `"..."` stands for any value, as long as it is the same on every way, and `"???"` for any value at all. A line behind `modern:` or `legacy:` is of that era alone: there the eras
//! differ on purpose. What they only spell differently is made equal before it is compared; `replies` says what that is.

mod play;
mod replies;
mod script;
mod way;

#[path = "../../../examples/everything/server.rs"]
mod server;

use std::fs;
use std::path::{Path, PathBuf};

/// One test for each file, with its name.
macro_rules! dialogues {
    ($($(#[$when:meta])* $name:ident,)*) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];
        $(
            $(#[$when])*
            #[test]
            fn $name() {
                play::on_every_way(stringify!($name), &text(stringify!($name)));
            }
        )*
    };
}

dialogues! {
    arguments,
    asked_in_rounds,
    asked_together,
    cancelled,
    changes,
    completion,
    content,
    #[cfg_attr(not(feature = "schema-order"), ignore = "a text in it is JSON")]
    elicitation,
    errors,
    greeting,
    incapable,
    lists,
    logging,
    progress,
    prompts,
    #[cfg_attr(not(feature = "schema-order"), ignore = "a text in it is JSON")]
    resources,
    roots,
    sampling,
    tools,
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/dialogues")
}

fn text(name: &str) -> String {
    fs::read_to_string(directory().join(format!("{name}.txt"))).expect("it is beside this file")
}

#[test]
fn every_dialogue_is_played() {
    let files = fs::read_dir(directory()).expect("a directory can be read");
    let mut found: Vec<String> = files
        .map(|file| file.expect("a directory can be read").file_name())
        .filter_map(|name| Some(name.to_str()?.strip_suffix(".txt")?.to_owned()))
        .collect();
    found.sort();
    assert_eq!(found, NAMES, "the list in {}", file!());
}
