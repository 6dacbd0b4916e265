//! One script over every way to the server: both eras, over HTTP and over a pipe. What is answered must not depend on the way.

use mcp_threads::{Fork, Server};
use serde_json::{Value, json};

use super::ways::{Route, Way, on_every_way};
use super::{legacy, modern};

/// One way to a server.
pub(crate) struct Wire {
    pub(crate) name: &'static str,
    pub(crate) is_modern: bool,
    way: Way,
    last_id: u64,
}

/// Runs the script once over each, against a fresh server.
#[track_caller]
pub(crate) fn on_every_wire<S: Fork + Send + Sync + 'static>(
    make: impl Fn() -> Server<S>,
    script: impl Fn(&mut Wire),
) {
    on_every_way(
        make,
        &json!({}),
        |Route {
             name,
             is_modern,
             way,
         }| {
            let mut wire = Wire {
                name,
                is_modern,
                way,
                last_id: 0,
            };
            script(&mut wire);
            wire.way
        },
    );
}

impl Wire {
    /// Asks, and sees to it that the answer has the request's id.
    #[track_caller]
    pub(crate) fn ask(&mut self, method: &str, params: Value) -> Value {
        let (events, answer) = self.ask_with_events(method, params);
        assert_eq!(events, [] as [Value; 0], "{}", self.name);
        answer
    }

    /// The same, with the notifications that came before the answer.
    #[track_caller]
    pub(crate) fn ask_with_events(&mut self, method: &str, params: Value) -> (Vec<Value>, Value) {
        self.last_id += 1;
        let id = json!(self.last_id);
        let message = if self.is_modern {
            let meta = params["_meta"].clone();
            let message = modern(id.clone(), method, params);
            match meta {
                Value::Null => message,
                meta => super::with_meta(message, meta),
            }
        } else {
            legacy(id.clone(), method, params)
        };
        let (events, answer) = match &mut self.way {
            Way::Pipe(client) => {
                client.send(&message);
                let mut events = Vec::new();
                loop {
                    let message = client.recv();
                    if message.get("method").is_none() {
                        break (events, message);
                    }
                    events.push(message);
                }
            }
            #[cfg(any(feature = "http", feature = "tiny-http"))]
            Way::Http(http) => split(http.modern(&message).send().messages()),
            #[cfg(any(feature = "http", feature = "tiny-http"))]
            Way::Session(session) => split(session.post(&message).send().messages()),
        };
        assert_eq!(answer["id"], id, "{}: {answer}", self.name);
        assert_eq!(answer["jsonrpc"], "2.0");
        (events, answer)
    }

    /// Calls a tool.
    #[track_caller]
    pub(crate) fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.ask(
            "tools/call",
            json!({ "name": tool, "arguments": arguments }),
        )
    }
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[track_caller]
fn split(mut messages: Vec<Value>) -> (Vec<Value>, Value) {
    let answer = messages.pop().expect("there is an answer");
    assert!(
        messages
            .iter()
            .all(|message| message.get("method").is_some()),
        "{messages:?}"
    );
    (messages, answer)
}
