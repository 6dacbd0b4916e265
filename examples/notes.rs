//! More than tools: a notebook whose notes are resources, with a prompt, completion, and a tool that asks the user before it tears a page out.
//!
//! Start it with `cargo run --example notes`, then call `forget` from a second terminal, as a client that can show forms:
//!
//! ```sh
//! curl -s http://127.0.0.1:8080/mcp \
//!   -H 'Content-Type: application/json' -H 'MCP-Protocol-Version: 2026-07-28' \
//!   -H 'Mcp-Method: tools/call' -H 'Mcp-Name: forget' \
//!   -d '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"forget","arguments":{"day":"monday"},
//!        "_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"elicitation":{}}}}}'
//! ```
//!
//! The result is the question (`"resultType":"input_required"`). Call again with the answer beside `"arguments"`, and the page is gone:
//! `"inputResponses":{"sure":{"action":"accept","content":{"sure":true}}}`. A client of an earlier revision is asked while the call waits; the handler
//! is the same for both.
//!
//! Another address can be given as the only argument; with `--stdio` it serves stdin and stdout for a client that starts it.
//! Also try reading `notes://all`, completing `day` in `notes://{day}`, and getting the prompt `summary`.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard};

use mcp_threads::schemars::{self, JsonSchema};
use mcp_threads::{Prompt, RequestContext, ResourceTemplate, Result, Server, ToolError};
use serde::Deserialize;

/// All calls share the notes, because they are in an `Arc`.
#[derive(Clone)]
struct Notes(Arc<Mutex<BTreeMap<String, String>>>);

#[derive(Deserialize, JsonSchema)]
struct Day {
    /// A day of the week, such as `monday`.
    day: String,
}

#[derive(Deserialize, JsonSchema)]
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

fn notebook() -> Server<Notes> {
    let notes = [("monday", "Water the plants."), ("friday", "Buy bread.")];
    let notes = notes.map(|(day, note)| (day.to_owned(), note.to_owned()));
    Server::new("notes", "1.0.0")
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
        .tool("forget", "Tears a page out of the notebook.", forget)
}

fn main() -> Result<()> {
    env_logger::Builder::from_default_env()
        .target(env_logger::Target::Pipe(Box::new(mcp_threads::log_lossy())))
        .init();
    let server = notebook();
    if std::env::args().any(|argument| argument == "--stdio") {
        let running = server.serve_stdio()?;
        let _never_fails = writeln!(mcp_threads::log_lossy(), "serving on stdin and stdout");
        return running.run_until_ctrl_c();
    }
    let address = std::env::args().nth(1);
    let running = server.serve_http(address.as_deref().unwrap_or("127.0.0.1:8080"))?;
    let url = running.url().expect("it serves HTTP");
    let _never_fails = writeln!(mcp_threads::log_lossy(), "listening on {url}");
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

/// For a client of 2026-07-28 it runs again from the beginning when the answer is there, so what stands before the question must do no harm twice.
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

#[cfg(test)]
mod tests {
    use mcp_threads::TestClient;
    use mcp_threads::serde_json::json;

    use super::notebook;

    fn client() -> TestClient {
        notebook().test_client().expect("it starts")
    }

    #[test]
    fn a_note_is_read_completed_and_prompted_for() {
        let mut client = client();
        let read = client.read("notes://friday").expect("there is a note");
        let note =
            json!([{ "uri": "notes://friday", "mimeType": "text/plain", "text": "Buy bread." }]);
        assert_eq!(read["contents"], note);
        let typed = json!({
            "ref": { "type": "ref/resource", "uri": "notes://{day}" },
            "argument": { "name": "day", "value": "m" },
        });
        let days = client.request("completion/complete", typed);
        assert_eq!(
            days.expect("it completes")["completion"]["values"],
            json!(["monday"])
        );
        let prompt = client.get("summary", json!({ "day": "monday" }));
        let text = &prompt.expect("there is a note")["messages"][0]["content"]["text"];
        assert_eq!(
            text,
            "Summarise this note in three words: Water the plants."
        );
    }

    #[test]
    fn a_page_is_torn_out_once_the_user_is_sure() {
        let mut client = client();
        let forget = json!({ "day": "monday" });
        let asked = client.call("forget", &forget).expect("a question");
        let question = &asked["inputRequests"]["sure"]["params"]["message"];
        assert_eq!(question, "Tear out the page for monday?");
        client.decline("sure");
        let kept = client.call("forget", &forget).expect("an answer");
        assert_eq!(kept["content"][0]["text"], "The page stays.");
        client.accept("sure", json!({ "sure": true }));
        let gone = client.call("forget", &forget).expect("an answer");
        assert_eq!(gone["content"][0]["text"], "The page for monday is gone.");
        client
            .read("notes://monday")
            .expect_err("there is no such note");
    }
}
