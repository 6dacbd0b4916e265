//! What the runnable benches share: a server in a process of its own, a cheap client, and the arithmetic.
//!
//! A bench binary starts itself again with `--serve` to get the server process, so that the CPU time and the memory of the server can be
//! read apart from the client's, and so that the load generator competes with it as any other process would.

pub(crate) mod child;
pub(crate) mod client;
pub(crate) mod load;
pub(crate) mod measure;
pub(crate) mod tools;

use std::env;

/// What the command line asks for.
pub(crate) enum Role {
    /// Measure; shorter with `--quick`.
    Measure { quick: bool },
    /// Be the server process that this specification describes.
    Serve(tools::Spec),
    /// Started by `cargo test --all-targets`: measuring is not testing.
    Nothing,
}

/// Whether the command line has this flag.
pub(crate) fn has(flag: &str) -> bool {
    env::args().skip(1).any(|argument| argument == flag)
}

/// The number behind this flag, if the command line has it.
pub(crate) fn number(flag: &str) -> Option<usize> {
    let mut arguments = env::args().skip_while(|argument| argument != flag);
    arguments.nth(1)?.parse().ok()
}

pub(crate) fn role() -> Role {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--serve") {
        return Role::Serve(tools::Spec::from_arguments(&arguments[at + 1..]));
    }
    let quick = has("--quick");
    // `cargo bench` says `--bench`, `cargo test` says nothing.
    if quick || has("--bench") {
        Role::Measure { quick }
    } else {
        Role::Nothing
    }
}
