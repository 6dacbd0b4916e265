//! [`TestClient`]: a client without a transport, to test one's own tools with.
//!
//! It hands messages to the engine and reads its own outbox, on the caller's thread; all between (checks, lanes, workers, rounds of questions) is what
//! a client over HTTP or stdio meets. Must not know what its tools do.

use std::collections::BTreeMap;
use std::fmt;
use std::mem;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::base::error::Error;
use crate::engine::{Pipe, Via};
use crate::handler::Fork;
use crate::observe::access::{Peer, RequestTag};
use crate::outbox::Item;
use crate::protocol::errors::{ErrorCode, ErrorObject};
use crate::protocol::version::ProtocolVersion;
use crate::server::builder::Server;
use crate::server::running::RunningServer;

/// A client in the same process and without a transport, for tests of one's own tools; made by [`Server::test_client`].
///
/// It speaks revision 2026-07-28, and no handshake, which a handler could not tell from it; declares that it can answer questions of all kinds; and asks
/// for progress and every log message. Dropping it shuts the server down.
///
/// ```
/// use mcp_threads::serde_json::json;
/// use mcp_threads::{RequestContext, Server};
///
/// #[derive(serde::Deserialize, mcp_threads::schemars::JsonSchema)]
/// #[schemars(crate = "mcp_threads::schemars")]
/// struct Add { a: i64, b: i64 }
///
/// let mut client = Server::new("calculator", "1.0.0")
///     .tool("add", "Adds two integers.", |cx: &mut RequestContext, args: Add| {
///         cx.progress(1.0);
///         args.a + args.b
///     })
///     .test_client()?;
/// assert_eq!(client.list("tools")?[0]["name"], "add");
/// let result = client.call("add", json!({ "a": 2, "b": 40 }))?;
/// assert_eq!(result["content"][0]["text"], "42");
/// assert_eq!(client.events()[0]["method"], "notifications/progress");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TestClient {
    running: RunningServer,
    /// Its requests belong to one conversation, as those of a client on stdio.
    pipe: Pipe,
    last_id: u64,
    /// What it answers, by the key of the question.
    answers: BTreeMap<String, Value>,
    events: Vec<Value>,
}

impl<S: Fork + Send + Sync + 'static> Server<S> {
    /// Starts the lanes and returns a client to test the server with, without a transport.
    ///
    /// # Errors
    ///
    /// When a thread cannot be started, and when the configuration is wrong.
    pub fn test_client(self) -> Result<TestClient, Error> {
        Ok(TestClient {
            running: self.start()?,
            pipe: Pipe::new(),
            last_id: 0,
            answers: BTreeMap::new(),
            events: Vec::new(),
        })
    }
}

impl TestClient {
    /// Calls a tool and blocks until it has answered: the result as the client's program gets it. A tool that fails answers with `isError`.
    ///
    /// A question of the tool is answered with what [`accept`](Self::accept), [`decline`](Self::decline) or [`respond`](Self::respond) prepared under its
    /// key, and the tool called again. If an answer is missing, the result is the question itself, with `resultType` `input_required`.
    ///
    /// # Errors
    ///
    /// The JSON-RPC error, when that is the answer: no such tool, a full lane, a panic.
    ///
    /// # Panics
    ///
    /// When the arguments cannot be JSON.
    pub fn call(&mut self, tool: &str, arguments: impl Serialize) -> Result<Value, ErrorObject> {
        self.request("tools/call", named(tool, arguments))
    }

    /// Gets a prompt, as [`call`](Self::call) calls a tool.
    ///
    /// # Errors
    ///
    /// The JSON-RPC error, when that is the answer.
    ///
    /// # Panics
    ///
    /// When the arguments cannot be JSON.
    pub fn get(&mut self, prompt: &str, arguments: impl Serialize) -> Result<Value, ErrorObject> {
        self.request("prompts/get", named(prompt, arguments))
    }

    /// Reads a resource, as [`call`](Self::call) calls a tool.
    ///
    /// # Errors
    ///
    /// The JSON-RPC error, when that is the answer.
    pub fn read(&mut self, uri: &str) -> Result<Value, ErrorObject> {
        self.request("resources/read", json!({ "uri": uri }))
    }

    /// Everything of one kind that the server offers: `tools`, `prompts` or `resources`. Follows the list from page to page.
    ///
    /// # Errors
    ///
    /// The JSON-RPC error, when that is the answer.
    pub fn list(&mut self, kind: &str) -> Result<Vec<Value>, ErrorObject> {
        let (mut all, mut params) = (Vec::new(), json!({}));
        loop {
            let mut page = self.request(&format!("{kind}/list"), params)?;
            if let Value::Array(items) = page[kind].take() {
                all.extend(items);
            }
            match page["nextCursor"].take() {
                Value::Null => return Ok(all),
                cursor => params = json!({ "cursor": cursor }),
            }
        }
    }

    /// Sends any request and blocks until it is answered; its `_meta` and its questions are taken care of. When a prepared answer is not taken, the result
    /// that asks again is what comes back.
    ///
    /// # Errors
    ///
    /// The JSON-RPC error, when that is the answer.
    ///
    /// # Panics
    ///
    /// When `params` is no object.
    pub fn request(&mut self, method: &str, mut params: Value) -> Result<Value, ErrorObject> {
        loop {
            let result = self.attempt(method, &mut params)?;
            let Some(responses) = self.responses(&result) else {
                return Ok(result);
            };
            let was_not_taken = |key: &String| params["inputResponses"].get(key).is_some();
            if responses.keys().any(was_not_taken) {
                return Ok(result);
            }
            params["inputResponses"] = Value::Object(responses);
            match &result["requestState"] {
                Value::Null => {}
                state => params["requestState"] = state.clone(),
            }
        }
    }

    /// From now on fills in the form that is asked for under this key, as a user who accepts.
    pub fn accept(&mut self, key: &str, content: impl Into<Value>) -> &mut Self {
        self.respond(
            key,
            json!({ "action": "accept", "content": content.into() }),
        )
    }

    /// From now on says no to what is asked under this key.
    pub fn decline(&mut self, key: &str) -> &mut Self {
        self.respond(key, json!({ "action": "decline" }))
    }

    /// From now on answers what is asked under this key with this result, whatever it is: that of `sampling/createMessage` or `roots/list`.
    pub fn respond(&mut self, key: &str, result: Value) -> &mut Self {
        self.answers.insert(key.to_owned(), result);
        self
    }

    /// The notifications that came with answers since this was called last, in order: progress, log messages.
    pub fn events(&mut self) -> Vec<Value> {
        mem::take(&mut self.events)
    }

    /// The server: its stats, and its handle.
    pub fn server(&self) -> &RunningServer {
        &self.running
    }

    /// One message there, and what comes back.
    fn attempt(&mut self, method: &str, params: &mut Value) -> Result<Value, ErrorObject> {
        params["_meta"] = self.meta();
        let message =
            json!({ "jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params });
        let shared = &self.running.shared;
        let (outbox, reader) = shared.engine.outbox(shared.limits().outbox_answers_max);
        let slot = outbox.reserve().expect("the reader is still here");
        let tag = RequestTag::fresh(Peer::Pipe);
        let bytes = message.to_string().into_bytes();
        let via = Via::Pipe(&self.pipe);
        shared.engine.accept(&bytes, tag, via, slot);
        outbox.close();
        loop {
            match reader.recv(None) {
                Item::Event(event)
                | Item::Request { message: event, .. }
                | Item::Opening { message: event, .. } => {
                    self.events.push(parsed(&event));
                }
                Item::Answer(answer) => {
                    answer.access.ended(None);
                    return outcome(parsed(&answer.body));
                }
                Item::NoAnswer(access) => {
                    access.inspect(|access| access.ended(None));
                }
                Item::Finished => {
                    let message = "The request was cancelled and has no answer";
                    return Err(ErrorObject::new(ErrorCode::INTERNAL_ERROR, message));
                }
                _ => {}
            }
        }
    }

    /// What a client of revision 2026-07-28 says with each request.
    fn meta(&mut self) -> Value {
        self.last_id += 1;
        json!({
            "io.modelcontextprotocol/protocolVersion": ProtocolVersion::V2026_07_28.as_str(),
            "io.modelcontextprotocol/clientInfo": { "name": "test-client", "version": env!("CARGO_PKG_VERSION") },
            "io.modelcontextprotocol/clientCapabilities":
                { "elicitation": { "form": {}, "url": {} }, "sampling": {}, "roots": {} },
            "io.modelcontextprotocol/logLevel": "debug",
            "progressToken": self.last_id,
        })
    }

    /// The answers to what a result asks, if it asks and there is one to each.
    fn responses(&self, result: &Value) -> Option<Map<String, Value>> {
        let asked = result["inputRequests"].as_object()?;
        let prepared = |key: &String| Some((key.clone(), self.answers.get(key)?.clone()));
        asked.keys().map(prepared).collect()
    }
}

fn named(name: &str, arguments: impl Serialize) -> Value {
    let arguments = serde_json::to_value(arguments).expect("arguments can be JSON");
    json!({ "name": name, "arguments": arguments })
}

fn parsed(message: &[u8]) -> Value {
    serde_json::from_slice(message).expect("the server writes JSON")
}

fn outcome(mut message: Value) -> Result<Value, ErrorObject> {
    match message["error"].take() {
        Value::Null => Ok(message["result"].take()),
        error => Err(serde_json::from_value(error).expect("the server writes an error object")),
    }
}

impl fmt::Debug for TestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TestClient").field(&self.running).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;
    use crate::base::waiting::relieve_with;
    use crate::handler::Tool;

    #[test]
    fn law_6_a_long_call_on_the_thread_that_has_read_it_relieves_that_first() {
        let tool = Tool::new("here").inline().handler(|_: Value| "here");
        let server = Server::new("it", "1").register(tool);
        let mut client = server.test_client().expect("a server");
        let count = Rc::new(Cell::new(0));
        let relieved = Rc::clone(&count);
        relieve_with(Some(Box::new(move || {
            relieved.set(relieved.get() + 1);
            true
        })));
        for (bytes, times) in [(10, 0), (60_000, 1), (10, 1)] {
            let answer = client.call("here", json!({ "text": "x".repeat(bytes) }));
            assert_eq!((answer.is_ok(), count.get()), (true, times));
        }
        relieve_with(None);
    }
}
