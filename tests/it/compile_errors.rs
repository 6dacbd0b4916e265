//! A program that does not compile is told what to write: the texts of compile errors, each with the mistake that brings it.
//!
//! Each program is given to `rustc` by itself, against the library that this test is linked with. Which file that is, cargo says: it has just built it,
//! builds nothing more, and needs no network.

use std::collections::BTreeSet;
use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use serde_json::Value;

/// Before each program.
const PREFACE: &str = "#![allow(unused)]
use mcp_threads::{Json, Prompt, RequestContext, Resource, ResourceTemplate, Server, Tool, ToolError};
use mcp_threads::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};
#[derive(Deserialize, JsonSchema)] struct Add { a: i64, b: i64 }
struct Own;
fn server() -> Server { Server::new(\"calculator\", \"1.0.0\") }
";

/// The handler that a program means, and what has to stand in its error.
const OF_A_HANDLER: &[(&str, &[&str])] = &[
    (
        "async fn add(args: Add) -> String { String::new() } fn main() { server().tool(\"add\", \"\", add); }",
        &["a handler is no `async fn`: it may block, and returns the value itself"],
    ),
    (
        "async fn add(cx: &mut RequestContext, args: Add) -> i64 { args.a } fn main() { server().tool(\"add\", \"\", add); }",
        &["with every argument's type written out, and not `async`"],
    ),
    (
        "async fn add() -> &'static str { \"\" } fn main() { server().prompt(\"add\", \"\", add); }",
        &["a handler is no `async fn`"],
    ),
    (
        "async fn add() -> &'static str { \"\" } fn main() { server().resource(\"a:b\", \"add\", add); }",
        &["a handler is no `async fn`"],
    ),
    (
        "#[derive(JsonSchema)] struct Mute { a: i64 } fn main() { server().tool(\"add\", \"\", |args: Mute| args.a); }",
        &[
            "this function cannot be a handler on a `Server<()>`",
            "if it is one of these already, its `A` has no `serde::Deserialize`: `A` is a struct with `#[derive(serde::Deserialize, schemars::JsonSchema)]`",
        ],
    ),
    (
        "#[derive(JsonSchema)] struct Mute { a: String }
         fn main() { server().register(Prompt::new(\"add\").handler(|args: Mute| args.a)); }",
        &["its `A` has no `serde::Deserialize`"],
    ),
    (
        "#[derive(JsonSchema)] struct Mute { a: i64 }
         fn main() { server().tool(\"add\", \"\", |cx: &mut RequestContext| { cx.elicit::<Mute>(\"key\", \"\")?; Ok::<_, ToolError>(()) }); }",
        &["the trait bound `Mute: serde::de::DeserializeOwned` is not satisfied"],
    ),
    (
        "#[derive(Deserialize)] struct Bare { a: i64 } fn main() { server().tool(\"add\", \"\", |args: Bare| args.a); }",
        &["the trait `JsonSchema` is not implemented for `Bare`"],
    ),
    (
        "#[derive(Deserialize)] struct Bare { a: i64 }
         fn add(cx: &mut RequestContext, args: Bare) -> i64 { args.a } fn main() { server().tool(\"add\", \"\", add); }",
        &["the trait `JsonSchema` is not implemented for `Bare`"],
    ),
    (
        "#[derive(Deserialize)] struct Bare { a: String }
         fn main() { server().register(Prompt::new(\"add\").handler(|args: Bare| args.a)); }",
        &["the trait `JsonSchema` is not implemented for `Bare`"],
    ),
    (
        "fn add(args: Add, cx: &mut RequestContext) -> i64 { args.a } fn main() { server().tool(\"add\", \"\", add); }",
        &["or `|cx: &mut RequestContext<()>, args: A| -> R`: in this order"],
    ),
    (
        "fn main() { server().tool(\"add\", \"\", |cx, args| 1); }",
        &["with every argument's type written out"],
    ),
    (
        "#[derive(Clone)] struct Db; fn main() { server().tool(\"add\", \"\", |cx: &mut RequestContext<Db>| 1); }",
        &["call `with_state` before registering handlers that use it"],
    ),
    (
        "fn main() { server().with_state(Own).tool(\"add\", \"\", || 1); }",
        &["`Own` cannot be a server's state: derive `Clone` for it"],
    ),
    (
        "fn main() { let n = std::rc::Rc::new(1); server().tool(\"add\", \"\", move || *n); }",
        &["`Rc<i32>` cannot be sent between threads safely", "to implement `Handler<(), fn() -> i32>`"],
    ),
    (
        "fn main() { let n = std::cell::Cell::new(1); server().tool(\"add\", \"\", move || n.get()); }",
        &["`Cell<i32>` cannot be shared between threads safely", "use `std::sync::RwLock`"],
    ),
    (
        "fn main() { let n = String::new(); server().tool(\"add\", \"\", || n.len() as u64); }",
        &["use the `move` keyword"],
    ),
    (
        "fn main() { let n = String::new(); let n = &n; server().tool(\"add\", \"\", move || n.len() as u64); }",
        &["is borrowed for `'static`"],
    ),
    (
        "fn main() { let mut n = 0; server().tool(\"add\", \"\", move || { n += 1; n }); }",
        &["this closure implements `FnMut`, not `Fn`"],
    ),
    (
        "impl mcp_threads::Handler<(), ()> for Own {} fn main() {}",
        &["missing: `Arguments`, `Output`, `call`"],
    ),
];

/// What a handler returns, and other things handed in.
const OF_A_VALUE: &[(&str, &[&str])] = &[
    (
        "fn main() { server().tool(\"add\", \"\", || Own); }",
        &[
            "a tool's handler cannot return `Own`",
            "return `Json(value)` for a type with `#[derive(serde::Serialize, schemars::JsonSchema)]`",
        ],
    ),
    (
        "fn main() { server().tool(\"add\", \"\", || Ok::<_, String>(Own)); }",
        &[
            "a tool's handler cannot return `Own`",
            "return `Json(value)`",
        ],
    ),
    (
        "fn main() { server().tool(\"add\", \"\", || Json(Own)); }",
        &[
            "is not implemented for `Own`",
            "for `Json<Own>` to implement `IntoToolResult`",
        ],
    ),
    (
        "fn main() { server().prompt(\"add\", \"\", || 7); }",
        &[
            "a prompt's handler cannot return `{integer}`",
            "return text, a `PromptMessage`",
        ],
    ),
    (
        "fn main() { server().resource(\"a:b\", \"add\", || 7); }",
        &[
            "a resource's handler cannot return `{integer}`",
            "return text, bytes, `Json(value)`",
        ],
    ),
    (
        "fn main() { server().tool(\"add\", \"\", || Err::<(), _>(Own)); }",
        &[
            "`Own` doesn't implement `std::fmt::Display`",
            "to implement `From<Own>`",
        ],
    ),
    (
        "fn add() -> Result<(), ToolError> { Err(Own)? } fn main() {}",
        &[
            "`std::fmt::Display` is not implemented for `Own`",
            "to implement `From<Own>`",
        ],
    ),
    (
        "fn main() { server().tool(\"add\", \"\", |cx: &mut RequestContext| { cx.elicit::<Own>(\"key\", \"\")?; Ok::<_, ToolError>(()) }); }",
        &["the trait `JsonSchema` is not implemented for `Own`"],
    ),
    (
        "fn add() -> i64 { 1 } fn main() { server().register(add); }",
        &["a function becomes a tool by `.tool(name, description, function)`"],
    ),
    (
        "fn main() { server().register(Tool::<u8>::new(\"add\").handler(|| 1)); }",
        &["of the server's state"],
    ),
];

/// The derive of a schema without the name `schemars`: its error says how to have it.
const NAMELESS: &str =
    "#[derive(serde::Deserialize, mcp_threads::schemars::JsonSchema)] struct Add { a: i64 }
     fn main() { mcp_threads::Server::new(\"n\", \"1\").tool(\"add\", \"\", |args: Add| args.a); }";

#[test]
fn a_handler_that_cannot_be_one_is_told_what_one_is() {
    for (program, texts) in OF_A_HANDLER {
        COMPILER.refuses(&format!("{PREFACE}{program}"), texts);
    }
}

#[test]
fn a_value_that_does_not_fit_is_told_what_does() {
    for (program, texts) in OF_A_VALUE {
        COMPILER.refuses(&format!("{PREFACE}{program}"), texts);
    }
}

#[test]
fn a_derive_without_the_name_schemars_is_mended_as_the_docs_and_its_error_say() {
    COMPILER.refuses(
        NAMELESS,
        &["cannot find", "`schemars`", "`cargo add schemars`"],
    );
    // `cargo add schemars` gives the same crate as the import does.
    for mended in [
        format!("use mcp_threads::schemars; {NAMELESS}"),
        format!("extern crate schemars; {NAMELESS}"),
        NAMELESS.replace(
            "struct",
            "#[schemars(crate = \"mcp_threads::schemars\")] struct",
        ),
        format!(
            "{PREFACE}fn main() {{ server().tool(\"add\", \"\", |args: Add| args.a + args.b); }}"
        ),
    ] {
        let (compiles, said) = COMPILER.check(&mended);
        assert!(compiles, "{mended}\n{said}");
    }
}

/// A program names what stands in a signature of the library, and has no dependency but this one and serde.
const NAMES_ITS_TYPES: &str =
    "fn main() { server().tool(\"wait\", \"\", |cx: &mut RequestContext| {
    use mcp_threads::crossbeam_channel::{self, Receiver};
    let cancelled: &Receiver<std::convert::Infallible> = cx.cancellation().channel();
    crossbeam_channel::select! { recv(cancelled) -> _ => (), default => () }
    let revisions: &[mcp_threads::ProtocolVersion] = mcp_threads::ProtocolVersion::ALL;
    mcp_threads::serde_json::Value::Null
}); }";

#[test]
fn what_stands_in_a_signature_can_be_named_without_another_dependency() {
    #[cfg_attr(not(feature = "tiny-http"), allow(unused_mut))]
    let mut program = format!("{PREFACE}{NAMES_ITS_TYPES}");
    #[cfg(feature = "tiny-http")]
    program.push_str(
        "fn front(mcp: &mcp_threads::Mount, request: mcp_threads::tiny_http::Request) { mcp.handle(request); }",
    );
    let (compiles, said) = COMPILER.check(&program);
    assert!(compiles, "{said}");
}

static COMPILER: LazyLock<Compiler> = LazyLock::new(Compiler::of_this_test);

/// `rustc`, and the files of the libraries that this test is linked with.
struct Compiler {
    rustc: PathBuf,
    libraries: Vec<(String, PathBuf)>,
    folders: BTreeSet<PathBuf>,
}

impl Compiler {
    /// Asks cargo for what it has built this test from, which is what builds this test: with the same features, and with the dependencies of tests.
    fn of_this_test() -> Self {
        let cargo = PathBuf::from(env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
        let mut command = Command::new(&cargo);
        command.args([
            "test",
            "--no-run",
            "--offline",
            "--test",
            "it",
            "--message-format=json",
        ]);
        command.args(["--no-default-features", "--features", &features().join(",")]);
        if !cfg!(debug_assertions) {
            command.arg("--release");
        }
        command
            .arg("--manifest-path")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
        let built = command.stdin(Stdio::null()).output().expect("cargo runs");
        let told = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "{told}");

        let messages = built.stdout.split(|byte| *byte == b'\n');
        let messages = messages.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
        let (mut libraries, mut folders) = (Vec::new(), BTreeSet::new());
        for message in messages {
            for file in message["filenames"].as_array().into_iter().flatten() {
                let file = Path::new(file.as_str().expect("a path"));
                folders.extend(file.parent().map(Path::to_owned));
                if file
                    .extension()
                    .is_some_and(|extension| extension == "rlib")
                {
                    let name = message["target"]["name"].as_str().expect("a name");
                    libraries.push((name.to_owned(), file.to_owned()));
                }
            }
        }
        let beside = cargo.with_file_name("rustc");
        let found = if beside.exists() {
            beside
        } else {
            "rustc".into()
        };
        Compiler {
            rustc: env::var_os("RUSTC").map_or(found, PathBuf::from),
            libraries,
            folders,
        }
    }

    /// Whether a program compiles, and what the compiler says of it.
    fn check(&self, program: &str) -> (bool, String) {
        let mut command = Command::new(&self.rustc);
        command.args([
            "-",
            "--edition=2024",
            "--crate-name=program",
            "--emit=metadata",
        ]);
        command.arg("--out-dir").arg(env!("CARGO_TARGET_TMPDIR"));
        // As cargo sets it; with it the compiler tells of `cargo add`.
        command.env("CARGO_CRATE_NAME", "program");
        for folder in &self.folders {
            command
                .arg("-L")
                .arg(format!("dependency={}", folder.display()));
        }
        for (name, file) in &self.libraries {
            let file = file.display();
            match &**name {
                "mcp_threads" | "serde" => command.arg(format!("--extern={name}={file}")),
                // In scope as it is for a program whose manifest names it.
                "schemars" if program.contains("extern crate schemars") => {
                    command.arg(format!("--extern={name}={file}"))
                }
                _ => continue,
            };
        }
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("rustc runs");
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        stdin.write_all(program.as_bytes()).expect("rustc reads");
        drop(stdin);
        let output = child.wait_with_output().expect("rustc ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), said)
    }

    #[track_caller]
    fn refuses(&self, program: &str, texts: &[&str]) {
        let (compiles, said) = self.check(program);
        assert!(!compiles, "it compiles: {program}");
        for text in texts {
            assert!(
                said.contains(text),
                "no `{text}` in what is said of {program}\n{said}"
            );
        }
    }
}

/// The features that this test was built with. Were one left out, cargo would build this test anew, without it.
fn features() -> Vec<&'static str> {
    let mut features = Vec::new();
    macro_rules! features {
        ($($name:literal)+) => { $(if cfg!(feature = $name) { features.push($name); })+ };
    }
    features!("default" "http" "tiny-http" "ctrlc" "schema-order" "validate" "anyhow" "durable" "scripts" "cli");
    features
}
