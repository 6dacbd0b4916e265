//! Everything but tools alone: a notebook whose notes are resources, with a prompt, completion, and a tool that asks before it tears a page out.
//!
//! Start it with `cargo run --example notes`, or with `--stdio` behind a client. Read `notes://all`, complete `day` in `notes://{day}`, get the
//! prompt `summary`, and call `forget`: a client that shows forms is asked whether you are sure. The handler of `forget` is written once; it serves
//! clients of both eras, though one waits for the answer and the other comes back with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use mcp_threads::schemars::JsonSchema;
use mcp_threads::{Prompt, RequestContext, ResourceTemplate, Result, Server, ToolError};
use serde::Deserialize;

/// All calls share the notes, because they stand in an `Arc`.
#[derive(Clone)]
struct Notes(Arc<Mutex<BTreeMap<String, String>>>);

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Day {
    /// A day of the week, such as `monday`.
    day: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Sure {
    /// Yes, tear it out
    sure: bool,
}

impl Notes {
    fn open(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0
            .lock()
            .expect("no handler panics while it holds the notes")
    }
}

fn main() -> Result<()> {
    let notes = [("monday", "Water the plants."), ("friday", "Buy bread.")];
    let notes = notes.map(|(day, note)| (day.to_owned(), note.to_owned()));
    let server = Server::new("notes", "1.0.0")
        .with_state(Notes(Arc::new(Mutex::new(notes.into()))))
        .resource("notes://all", "all", |cx: &mut RequestContext<Notes>| {
            let notes = cx.state().open();
            let lines = notes.iter().map(|(day, note)| format!("{day}: {note}\n"));
            lines.collect::<String>()
        })
        .register(
            ResourceTemplate::new("notes://{day}", "note")
                .mime_type("text/plain")
                .complete("day", days)
                .handler(read),
        )
        .register(
            Prompt::new("summary")
                .description("Asks for a summary of one day's note.")
                .complete("day", days)
                .handler(|cx: &mut RequestContext<Notes>, about: Day| {
                    let note = cx.state().open().get(&about.day).cloned();
                    let note = note.ok_or_else(|| format!("there is no note for {}", about.day))?;
                    Ok::<_, ToolError>(format!("Summarise this note in three words: {note}"))
                }),
        )
        .tool("forget", "Tears a page out of the notebook.", forget);
    if std::env::args().any(|argument| argument == "--stdio") {
        return server.serve_stdio()?.run_until_ctrl_c();
    }
    let address = std::env::args().nth(1);
    let running = server.serve_http(address.as_deref().unwrap_or("127.0.0.1:8080"))?;
    eprintln!(
        "listening on http://{}/mcp",
        running.addr().expect("it serves HTTP")
    );
    running.run_until_ctrl_c()
}

/// `None` is how a handler says that there is no such resource.
fn read(cx: &mut RequestContext<Notes>, note: Day) -> Option<String> {
    cx.state().open().get(&note.day).cloned()
}

fn days(cx: &mut RequestContext<Notes>, typed: mcp_threads::Completing) -> Vec<String> {
    let notes = cx.state().open();
    let days = notes.keys().filter(|day| day.starts_with(&typed.value));
    days.cloned().collect()
}

/// What stands before the question runs once more when the client comes back with the answer: it must do no harm twice.
fn forget(cx: &mut RequestContext<Notes>, page: Day) -> std::result::Result<String, ToolError> {
    if !cx.state().open().contains_key(&page.day) {
        return Err(ToolError::new(format!("There is no page for {}", page.day)));
    }
    let question = format!("Tear out the page for {}?", page.day);
    let answer = cx.elicit::<Sure>("sure", &question)?.accepted();
    if !answer.is_some_and(|answer| answer.sure) {
        return Ok("The page stays.".into());
    }
    cx.state().open().remove(&page.day);
    Ok(format!("The page for {} is gone.", page.day))
}
