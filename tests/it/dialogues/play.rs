//! Plays a dialogue on every way, and compares what comes with what is written down and with what came before.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::replies::{blank, called, difference, error, hello, result};
use super::script::{Beat, Line, parse};
use super::server::everything;
use super::way::{Channel, Way};
use crate::harness::Served;
#[cfg(all(feature = "http", feature = "ctrlc"))]
use crate::harness::child;
#[cfg(any(feature = "http", feature = "tiny-http"))]
use crate::harness::on_every_front;
use crate::harness::talk::{is_question, reply_to};

/// What came first, line by line, and on which way.
type Heard = BTreeMap<usize, (String, Value)>;

/// In memory, over stdio and over each HTTP front, in both eras, each time with a fresh server that is ended in order.
#[track_caller]
pub(super) fn on_every_way(file: &str, text: &str) {
    let heard = RefCell::new(Heard::new());
    let play = |name: &str, is_modern: bool, channel: Channel, end: &mut dyn FnMut()| {
        let script = parse(text, is_modern);
        Play::new(file, name, script, is_modern, channel).run(&mut heard.borrow_mut(), end);
    };
    for is_modern in [true, false] {
        let (served, client) = Served::pipe(everything());
        let mut served = Some(served);
        play("in memory", is_modern, Channel::Pipe(client), &mut || {
            let report = served.take().map(|served| served.take().join());
            let report = report.expect("it ends once");
            assert_eq!(report.abandoned_handlers, 0);
        });
        // The program needs these features.
        #[cfg(all(feature = "http", feature = "ctrlc"))]
        {
            let mut command = child::example("everything");
            command.arg("--stdio");
            let (mut running, client) = child::stdio(command);
            play("stdio", is_modern, Channel::Pipe(client), &mut || {
                running.exits_well();
            });
        }
    }
    #[cfg(any(feature = "http", feature = "tiny-http"))]
    on_every_front(|front| {
        for is_modern in [true, false] {
            let (served, http) = front.serve(everything());
            let mut served = Some(served);
            play(front.name, is_modern, Channel::web(http), &mut || {
                served.take().expect("it ends once").stop();
            });
        }
    });
}

/// One way through a dialogue.
struct Play<'a> {
    file: &'a str,
    script: std::iter::Peekable<std::vec::IntoIter<Line>>,
    way: Way,
}

/// A request under way.
struct Call {
    method: String,
    params: Value,
    id: Value,
    /// Said in an earlier round. A handler begins anew in each, and says it again.
    said: Vec<Value>,
    is_first_round: bool,
}

impl<'a> Play<'a> {
    #[track_caller]
    fn new(
        file: &'a str,
        name: &str,
        script: Vec<Line>,
        is_modern: bool,
        channel: Channel,
    ) -> Self {
        let mut script = script.into_iter().peekable();
        let declares = script.next_if(|(_, beat)| matches!(beat, Beat::Client(_)));
        let capabilities = match declares {
            Some((_, Beat::Client(capabilities))) => capabilities,
            _ => json!({}),
        };
        Play {
            file,
            script,
            way: Way::new(name, is_modern, channel, capabilities),
        }
    }

    #[track_caller]
    fn run(mut self, heard: &mut Heard, end: &mut dyn FnMut()) {
        while let Some((number, beat)) = self.script.next() {
            match beat {
                Beat::Log(level) => self.way.log_from(&level),
                Beat::Listen(wanted) => self.way.listen(&wanted),
                Beat::Hello => self.hello(heard),
                Beat::Request { method, params } => self.request(method, params, heard),
                Beat::Change(due) => {
                    let change = called(&self.way.change());
                    self.compare(heard, number, &due, change);
                }
                beat => panic!("line {number} stands outside a request: {beat:?}"),
            }
        }
        self.way.close(end);
    }

    #[track_caller]
    fn hello(&mut self, heard: &mut Heard) {
        let is_modern = self.way.is_modern;
        let answer = match self.way.hello.clone() {
            Some(answer) => answer,
            None => {
                self.way.ask("server/discover", json!({}));
                let answer = self.way.next();
                self.way.ends();
                answer
            }
        };
        match self.script.next() {
            Some((number, Beat::Result(due))) => {
                self.compare(heard, number, &due, hello(&answer, is_modern));
            }
            other => panic!("`hello` has a result: {other:?}"),
        }
    }

    /// One request with everything on the way to its answer.
    #[track_caller]
    fn request(&mut self, method: String, params: Value, heard: &mut Heard) {
        let id = self.way.ask(&method, params.clone());
        let mut call = Call {
            method,
            params,
            id,
            said: Vec::new(),
            is_first_round: true,
        };
        loop {
            let (number, beat) = self.script.next().expect("a request has an end");
            match beat {
                Beat::Notification(due) => {
                    let message = self.next(&call);
                    let notification = called(&message);
                    call.said.push(notification.clone());
                    assert_eq!(message.get("id"), None, "{message}");
                    self.compare(heard, number, &due, notification);
                }
                Beat::Question { .. } if self.way.is_modern => {
                    self.round((number, beat), &mut call, heard);
                }
                Beat::Question {
                    question, answer, ..
                } => {
                    let message = self.next(&call);
                    self.compare(heard, number, &question, called(&message));
                    assert!(is_question(&message), "{message}");
                    self.way.say(&reply_to(&message, answer));
                }
                Beat::Cancel => {
                    let token = &call.params["_meta"]["progressToken"];
                    return self.way.cancel(&call.id, token);
                }
                Beat::Result(due) => {
                    let message = self.answer(&call, number, &due);
                    if message.get("result").is_none() {
                        self.fail(number, &format!("a result was due, {message} came"));
                    }
                    let got = result(&message, self.way.is_modern);
                    return self.compare(heard, number, &due, got);
                }
                Beat::Error(due) => {
                    let message = self.answer(&call, number, &due);
                    return self.compare(heard, number, &due, error(&message));
                }
                beat => panic!("line {number} stands inside a request: {beat:?}"),
            }
        }
    }

    /// What is asked in one round of the modern era, and the request for the next.
    #[track_caller]
    fn round(&mut self, first: Line, call: &mut Call, heard: &mut Heard) {
        let message = self.next(call);
        self.way.ends();
        assert_eq!(message["id"], call.id, "{message}");
        let (number, _) = first;
        let asked = message["result"]["inputRequests"].as_object();
        let Some(mut asked) = asked.cloned() else {
            self.fail(number, &format!("a question was due, {message} came"));
        };
        let mut answers = Map::new();
        let mut line = Some(first);
        // The members of an object have no order.
        while let Some((
            number,
            Beat::Question {
                key,
                question,
                answer,
            },
        )) = line
        {
            let Some(came) = asked.remove(&key) else {
                self.fail(number, &format!("`{key}` was not asked: {message}"));
            };
            self.compare(heard, number, &question, called(&came));
            answers.insert(key, answer);
            line = match asked.is_empty() {
                true => None,
                false => self.script.next(),
            };
        }
        if !asked.is_empty() {
            self.fail(number, &format!("asked, too: {asked:?}"));
        }
        call.params["inputResponses"] = answers.into();
        match &message["result"]["requestState"] {
            Value::Null => {}
            state => call.params["requestState"] = state.clone(),
        }
        call.id = self.way.ask(&call.method, call.params.clone());
        call.is_first_round = false;
    }

    /// The next message of a request that was not heard in an earlier round.
    #[track_caller]
    fn next(&mut self, call: &Call) -> Value {
        loop {
            let message = self.way.next();
            if call.is_first_round || !call.said.contains(&called(&message)) {
                return message;
            }
        }
    }

    #[track_caller]
    fn answer(&mut self, call: &Call, number: usize, due: &Value) -> Value {
        let message = self.next(call);
        if message.get("method").is_some() {
            self.fail(number, &format!("{due} was due, {message} came"));
        }
        self.way.ends();
        assert_eq!(
            (&message["id"], &message["jsonrpc"]),
            (&call.id, &json!("2.0"))
        );
        message
    }

    /// Compares with what is written and with what came on the ways before this one.
    #[track_caller]
    fn compare(&self, heard: &mut Heard, number: usize, due: &Value, mut got: Value) {
        if let Some(difference) = difference(due, &got) {
            self.fail(number, &difference);
        }
        blank(due, &mut got);
        match heard.get(&number) {
            None => {
                heard.insert(number, (self.way.name(), got));
            }
            Some((way, before)) => {
                // Not by `difference` alone: what came may be what means anything there.
                if *before != got {
                    let place = difference(before, &got).unwrap_or_default();
                    self.fail(number, &format!("not as on the way `{way}`: {place}"));
                }
            }
        }
    }

    #[track_caller]
    fn fail(&self, number: usize, why: &str) -> ! {
        panic!(
            "tests/it/dialogues/{}.txt:{number}: {}: {why}",
            self.file,
            self.way.name()
        );
    }
}
