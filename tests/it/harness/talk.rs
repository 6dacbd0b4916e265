//! A client that answers questions, in the way of its era: between rounds, or on the call's stream. What a handler hears must not depend on it.

use mcp_threads::{Fork, Server};
use serde_json::{Value, json};

use super::message::initialize;
use super::ways::{Route, Way, on_every_way};
#[cfg(any(feature = "http", feature = "tiny-http"))]
use super::{Http, Session};
use super::{PipeClient, legacy, modern, with_meta};

/// One conversation with a server.
pub(crate) struct Talk {
    pub(crate) name: &'static str,
    pub(crate) is_modern: bool,
    /// How often the server has asked, a round of the stateless era counting once.
    pub(crate) rounds: usize,
    /// The status of the last answer over HTTP; 200 on a pipe.
    pub(crate) status: u16,
    capabilities: Value,
    way: Way,
    last_id: u64,
}

/// Everything a client can be asked.
pub(crate) fn everything() -> Value {
    json!({ "elicitation": { "form": {}, "url": {} }, "sampling": { "tools": {} }, "roots": {} })
}

/// Runs the script once in each era over each transport, against a fresh server. The client declares these capabilities.
#[track_caller]
pub(crate) fn on_every_talk<S: Fork + Send + Sync + 'static>(
    make: impl Fn() -> Server<S>,
    capabilities: &Value,
    script: impl Fn(&mut Talk),
) {
    on_every_way(
        make,
        capabilities,
        |Route {
             name,
             is_modern,
             way,
         }| {
            let mut talk = Talk {
                name,
                is_modern,
                rounds: 0,
                status: 200,
                capabilities: capabilities.clone(),
                way,
                last_id: 0,
            };
            script(&mut talk);
            talk.way
        },
    );
}

/// `initialize` of a client that declares these capabilities.
pub(crate) fn introduction(capabilities: &Value) -> Value {
    let mut message = initialize("initialize", "2025-11-25");
    message["params"]["capabilities"] = capabilities.clone();
    message
}

/// Opens a legacy session on a pipe.
#[track_caller]
pub(crate) fn introduce(client: &mut PipeClient, capabilities: &Value) {
    client.ask(&introduction(capabilities));
    client.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
}

/// Opens a legacy session over HTTP.
#[cfg(any(feature = "http", feature = "tiny-http"))]
#[track_caller]
pub(crate) fn introduced(http: Http, capabilities: &Value) -> Session {
    let reply = http.post(introduction(capabilities).to_string()).send();
    let id = reply.field("Mcp-Session-Id").expect("a session has an id");
    Session {
        http,
        id: id.to_owned(),
        version: "2025-11-25".into(),
    }
}

/// Whether a message is a request of the server's.
pub(crate) fn is_question(message: &Value) -> bool {
    message.get("method").is_some() && message.get("id").is_some()
}

/// The answer to a request of the server's.
pub(crate) fn reply_to(question: &Value, result: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": question["id"], "result": result })
}

/// A request of a modern client that declares these capabilities.
pub(crate) fn modern_with(
    id: impl Into<Value>,
    method: &str,
    params: Value,
    capabilities: &Value,
) -> Value {
    let meta = json!({ "io.modelcontextprotocol/clientCapabilities": capabilities });
    with_meta(modern(id, method, params), meta)
}

impl Talk {
    /// Asks, answers whatever the server asks on the way, and reads the answer. `person` is given a question's method and its parameters.
    #[track_caller]
    pub(crate) fn ask(
        &mut self,
        method: &str,
        params: Value,
        mut person: impl FnMut(&str, &Value) -> Value,
    ) -> Value {
        self.rounds = 0;
        let answer = match self.is_modern {
            true => self.in_rounds(method, params, &mut person),
            false => self.on_the_stream(method, params, &mut person),
        };
        assert_eq!(answer["id"], self.last_id, "{}: {answer}", self.name);
        answer
    }

    /// Calls a tool.
    #[track_caller]
    pub(crate) fn call(
        &mut self,
        tool: &str,
        arguments: Value,
        person: impl FnMut(&str, &Value) -> Value,
    ) -> Value {
        let params = json!({ "name": tool, "arguments": arguments });
        self.ask("tools/call", params, person)
    }

    #[track_caller]
    fn in_rounds(
        &mut self,
        method: &str,
        mut params: Value,
        person: &mut dyn FnMut(&str, &Value) -> Value,
    ) -> Value {
        loop {
            self.last_id += 1;
            let request = modern_with(self.last_id, method, params.clone(), &self.capabilities);
            let answer = match &mut self.way {
                Way::Pipe(client) => client.ask(&request),
                #[cfg(any(feature = "http", feature = "tiny-http"))]
                Way::Http(http) => {
                    let reply = http.modern(&request).send();
                    self.status = reply.status;
                    reply.message()
                }
                #[cfg(any(feature = "http", feature = "tiny-http"))]
                Way::Session(_) => unreachable!("a session is of the handshake era"),
            };
            if answer["result"]["resultType"] != "input_required" {
                return answer;
            }
            self.rounds += 1;
            assert!(self.rounds < 10, "{}: it never ends: {answer}", self.name);
            let questions = answer["result"]["inputRequests"].as_object();
            let questions = questions.expect("there is something to answer").iter();
            let text = |question: &Value| question["method"].as_str().map(ToOwned::to_owned);
            let answers: serde_json::Map<_, _> = questions
                .map(|(key, question)| {
                    let method = text(question).expect("a question has a method");
                    (key.clone(), person(&method, &question["params"]))
                })
                .collect();
            params["inputResponses"] = answers.into();
            match &answer["result"]["requestState"] {
                Value::Null => {}
                state => params["requestState"] = state.clone(),
            }
        }
    }

    #[track_caller]
    fn on_the_stream(
        &mut self,
        method: &str,
        params: Value,
        person: &mut dyn FnMut(&str, &Value) -> Value,
    ) -> Value {
        self.last_id += 1;
        let request = legacy(self.last_id, method, params);
        let mut answered = |question: &Value| {
            let method = question["method"]
                .as_str()
                .expect("a question has a method");
            reply_to(question, person(method, &question["params"]))
        };
        match &mut self.way {
            Way::Pipe(client) => {
                client.send(&request);
                loop {
                    let message = client.recv();
                    if !is_question(&message) {
                        return message;
                    }
                    self.rounds += 1;
                    client.send(&answered(&message));
                }
            }
            #[cfg(any(feature = "http", feature = "tiny-http"))]
            Way::Session(session) => {
                let mut reply = session.post(&request).send();
                self.status = reply.status;
                if !reply.is_stream() {
                    return reply.json();
                }
                while let Some(event) = reply.event() {
                    let super::Event::Message(message) = event else {
                        continue;
                    };
                    if !is_question(&message) {
                        assert_eq!(reply.event(), None, "the answer comes last");
                        return message;
                    }
                    self.rounds += 1;
                    let taken = session.post(&answered(&message)).send();
                    assert_eq!(taken.status, 202);
                }
                panic!("{}: the stream ended without an answer", self.name);
            }
            #[cfg(any(feature = "http", feature = "tiny-http"))]
            Way::Http(_) => unreachable!("this way is of the stateless era"),
        }
    }
}
