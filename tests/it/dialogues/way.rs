//! The ways to the reference server, behind one face: say something, and read what comes next.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::harness::message::cancel;
use crate::harness::talk::{introduction, modern_with};
#[cfg(any(feature = "http", feature = "tiny-http"))]
use crate::harness::{Event, Http, Reply, Session};
use crate::harness::{PipeClient, legacy};

/// One way in one era, and everything that has been said on it.
pub(super) struct Way {
    pub(super) is_modern: bool,
    /// What answered the handshake.
    pub(super) hello: Option<Value>,
    name: String,
    channel: Channel,
    capabilities: Value,
    /// Of modern requests; a session knows it.
    log_level: Option<String>,
    last_id: u64,
    /// The stream of the modern era that listens, on a pipe.
    listening: Option<u64>,
    /// Heard while something else was due, on a pipe.
    changes: VecDeque<Value>,
    /// What may still say something on a pipe though it was cancelled.
    cancelled: Vec<Value>,
    story: Vec<String>,
}

pub(super) enum Channel {
    Pipe(PipeClient),
    #[cfg(any(feature = "http", feature = "tiny-http"))]
    Web {
        http: Http,
        /// In the handshake era.
        session: Option<Session>,
        /// The answer that is being read.
        exchange: Option<Box<Reply>>,
        /// Where changes come from.
        listening: Option<Box<Reply>>,
    },
}

impl Channel {
    #[cfg(any(feature = "http", feature = "tiny-http"))]
    pub(super) fn web(http: Http) -> Self {
        Channel::Web {
            http,
            session: None,
            exchange: None,
            listening: None,
        }
    }
}

impl Way {
    /// With the handshake behind it.
    #[track_caller]
    pub(super) fn new(name: &str, is_modern: bool, channel: Channel, capabilities: Value) -> Self {
        let mut way = Way {
            is_modern,
            hello: None,
            name: name.to_owned(),
            channel,
            capabilities,
            log_level: None,
            last_id: 0,
            listening: None,
            changes: VecDeque::new(),
            cancelled: Vec::new(),
            story: Vec::new(),
        };
        if !is_modern {
            way.shake_hands();
        }
        way
    }

    pub(super) fn name(&self) -> String {
        let era = if self.is_modern { "modern" } else { "legacy" };
        format!("{}, {era}", self.name)
    }

    #[track_caller]
    fn shake_hands(&mut self) {
        let hello = introduction(&self.capabilities);
        self.tell("->", &hello);
        let answer = match &mut self.channel {
            Channel::Pipe(client) => client.ask(&hello),
            #[cfg(any(feature = "http", feature = "tiny-http"))]
            Channel::Web { http, session, .. } => {
                let mut reply = http.post(hello.to_string()).send();
                let id = reply.field("Mcp-Session-Id").expect("a session has an id");
                *session = Some(Session {
                    http: *http,
                    id: id.to_owned(),
                    version: "2025-11-25".into(),
                });
                reply.json()
            }
        };
        self.tell("<-", &answer);
        self.hello = Some(answer);
        self.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    }

    /// Sends what has no answer: a notification, or an answer.
    #[track_caller]
    pub(super) fn say(&mut self, message: &Value) {
        self.tell("->", message);
        match &mut self.channel {
            Channel::Pipe(client) => client.send(message),
            #[cfg(any(feature = "http", feature = "tiny-http"))]
            Channel::Web { session, .. } => {
                let session = session.as_ref().expect("only the handshake era says this");
                assert_eq!(session.post(message).send().status, 202, "{message}");
            }
        }
    }

    /// Sends a request; its id.
    #[track_caller]
    pub(super) fn ask(&mut self, method: &str, params: Value) -> Value {
        let request = self.request(method, params);
        match &mut self.channel {
            Channel::Pipe(client) => client.send(&request),
            #[cfg(any(feature = "http", feature = "tiny-http"))]
            Channel::Web {
                http,
                session,
                exchange,
                ..
            } => {
                let ask = match session {
                    None => http.modern(&request),
                    Some(session) => session.post(&request),
                };
                *exchange = Some(Box::new(ask.send()));
            }
        }
        request["id"].clone()
    }

    fn request(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let request = if self.is_modern {
            let own = params["_meta"].clone();
            let mut request = modern_with(self.last_id, method, params, &self.capabilities);
            let meta = &mut request["params"]["_meta"];
            if let Value::Object(own) = own {
                meta.as_object_mut()
                    .expect("a modern request has metadata")
                    .extend(own);
            }
            if let Some(level) = &self.log_level {
                meta["io.modelcontextprotocol/logLevel"] = json!(level);
            }
            request
        } else {
            legacy(self.last_id, method, params)
        };
        self.tell("->", &request);
        request
    }

    /// The next message for the request that was sent last.
    #[track_caller]
    pub(super) fn next(&mut self) -> Value {
        let message = loop {
            match &mut self.channel {
                Channel::Pipe(client) => {
                    let message = client.recv();
                    if is_change(&message) {
                        self.tell("<*", &message);
                        self.changes.push_back(message);
                    } else if !self.cancelled.contains(&message["params"]["progressToken"]) {
                        break message;
                    }
                }
                #[cfg(any(feature = "http", feature = "tiny-http"))]
                Channel::Web { exchange, .. } => {
                    let reply = exchange.as_mut().expect("something was asked");
                    match reply.is_stream() {
                        true => break streamed(reply).expect("the answer is still due"),
                        false => break reply.json(),
                    }
                }
            }
        };
        self.tell("<-", &message);
        message
    }

    /// Sees to it that nothing comes after the answer.
    #[track_caller]
    pub(super) fn ends(&mut self) {
        #[cfg(any(feature = "http", feature = "tiny-http"))]
        if let Channel::Web { exchange, .. } = &mut self.channel {
            let mut reply = exchange.take().expect("something was asked");
            if reply.is_stream() {
                assert_eq!(streamed(&mut reply), None, "the answer comes last");
            }
        }
    }

    /// Asks what has nothing but an empty result.
    #[track_caller]
    fn settle(&mut self, method: &str, params: Value) {
        let id = self.ask(method, params);
        assert_eq!(
            self.next(),
            json!({ "jsonrpc": "2.0", "id": id, "result": {} })
        );
        self.ends();
    }

    #[track_caller]
    pub(super) fn log_from(&mut self, level: &str) {
        match self.is_modern {
            true => self.log_level = Some(level.to_owned()),
            false => self.settle("logging/setLevel", json!({ "level": level })),
        }
    }

    /// Cancels the request that was sent last, and sees to it that no answer comes as far as that can be seen at once: on a pipe the rest shows it.
    #[track_caller]
    pub(super) fn cancel(&mut self, id: &Value, token: &Value) {
        assert!(!token.is_null(), "a call that is cancelled has a token");
        self.story.push("   (the client cancels)".into());
        match &mut self.channel {
            Channel::Pipe(_) => {
                self.cancelled.push(token.clone());
                self.say(&cancel(id.clone()));
            }
            #[cfg(any(feature = "http", feature = "tiny-http"))]
            Channel::Web {
                exchange, session, ..
            } => {
                // Dropped, a stream is closed, and that is all of a modern cancellation.
                let mut reply = exchange.take().expect("something was asked");
                if session.is_some() {
                    self.say(&cancel(id.clone()));
                    while let Some(message) = streamed(&mut reply) {
                        assert_eq!(message["params"]["progressToken"], *token, "{message}");
                    }
                }
            }
        }
    }

    /// Begins to listen for changes.
    #[track_caller]
    pub(super) fn listen(&mut self, wanted: &Value) {
        if self.is_modern {
            self.subscribe(wanted);
            return;
        }
        #[cfg(any(feature = "http", feature = "tiny-http"))]
        if let Channel::Web {
            session: Some(session),
            listening,
            ..
        } = &mut self.channel
        {
            let mut reply = session.get().send();
            assert_eq!(reply.event(), Some(Event::Comment), "it is open");
            *listening = Some(Box::new(reply));
        }
        for uri in wanted["resourceSubscriptions"]
            .as_array()
            .into_iter()
            .flatten()
        {
            self.settle("resources/subscribe", json!({ "uri": uri }));
        }
    }

    #[track_caller]
    fn subscribe(&mut self, wanted: &Value) {
        let params = json!({ "notifications": wanted });
        let id = self.ask("subscriptions/listen", params);
        let acknowledged = self.next();
        assert_eq!(
            (
                &acknowledged["method"],
                &acknowledged["params"]["notifications"]
            ),
            (&json!("notifications/subscriptions/acknowledged"), wanted)
        );
        self.listening = id.as_u64();
        #[cfg(any(feature = "http", feature = "tiny-http"))]
        if let Channel::Web {
            exchange,
            listening,
            ..
        } = &mut self.channel
        {
            *listening = exchange.take();
        }
    }

    /// The next change.
    #[track_caller]
    pub(super) fn change(&mut self) -> Value {
        if let Some(change) = self.changes.pop_front() {
            return change;
        }
        let change = match &mut self.channel {
            Channel::Pipe(client) => client.recv(),
            #[cfg(any(feature = "http", feature = "tiny-http"))]
            Channel::Web { listening, .. } => {
                let reply = listening.as_mut().expect("the client listens");
                streamed(reply).expect("the stream is still open")
            }
        };
        self.tell("<*", &change);
        assert!(is_change(&change), "a change is due: {change}");
        change
    }

    /// Leaves, lets the server end, and sees to it that nothing more has come.
    #[track_caller]
    pub(super) fn close(mut self, end: &mut dyn FnMut()) {
        let mut left_over: Vec<Value> = self.changes.drain(..).collect();
        match &mut self.channel {
            Channel::Pipe(client) => {
                client.close();
                end();
                left_over.extend(client.rest());
            }
            #[cfg(any(feature = "http", feature = "tiny-http"))]
            Channel::Web { listening, .. } => {
                drop(listening.take());
                end();
            }
        }
        left_over.retain(|message| {
            let ends_listening = message["id"].is_u64() && message["id"].as_u64() == self.listening;
            let is_cancelled = self.cancelled.contains(&message["params"]["progressToken"]);
            !ends_listening && !is_cancelled
        });
        assert_eq!(left_over, [] as [Value; 0], "left over");
    }

    fn tell(&mut self, arrow: &str, message: &Value) {
        self.story.push(format!("{arrow} {message}"));
    }
}

/// Whatever went wrong, the conversation so far says more.
impl Drop for Way {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}:\n{}", self.name(), self.story.join("\n"));
        }
    }
}

/// Whether a message comes because the client listens.
fn is_change(message: &Value) -> bool {
    let method = message["method"].as_str().unwrap_or_default();
    method.ends_with("/list_changed") || method == "notifications/resources/updated"
}

/// The next message of a stream.
#[cfg(any(feature = "http", feature = "tiny-http"))]
#[track_caller]
fn streamed(reply: &mut Reply) -> Option<Value> {
    loop {
        if let Event::Message(message) = reply.event()? {
            return Some(message);
        }
    }
}
