//! Drives the server as its client does, over stdio.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// No wait is longer.
const PATIENCE: Duration = Duration::from_secs(60);

struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    messages: Receiver<Value>,
    /// What came before an answer that was waited for.
    passed: VecDeque<Value>,
    directory: PathBuf,
}

impl Client {
    fn start(name: &str) -> Self {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _first_run = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).expect("a directory can be made");
        let mut child = Command::new(env!("CARGO_BIN_EXE_database"))
            .arg(directory.join("data.sqlite"))
            .arg("--stdio")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it can be started");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (send, messages) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let message = serde_json::from_str(&line).expect("a line is a message");
                let _test_is_over = send.send(message);
            }
        });
        let mut client = Client {
            stdin: child.stdin.take(),
            child,
            messages,
            passed: VecDeque::new(),
            directory,
        };
        let hello = json!({ "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "drive", "version": "1" } });
        client.send(json!({ "id": 0, "method": "initialize", "params": hello }));
        client.answer(&json!(0));
        client.send(json!({ "method": "notifications/initialized" }));
        client
    }

    fn send(&mut self, mut message: Value) {
        message["jsonrpc"] = json!("2.0");
        let stdin = self.stdin.as_mut().expect("it is open");
        writeln!(stdin, "{message}").expect("the server reads");
    }

    /// Calls a tool; its progress comes under its id.
    fn call(&mut self, id: &str, tool: &str, arguments: Value) {
        let params =
            json!({ "name": tool, "arguments": arguments, "_meta": { "progressToken": id } });
        self.send(json!({ "id": id, "method": "tools/call", "params": params }));
    }

    #[track_caller]
    fn next(&mut self) -> Value {
        self.passed.pop_front().unwrap_or_else(|| self.read())
    }

    #[track_caller]
    fn read(&self) -> Value {
        let read = self.messages.recv_timeout(PATIENCE);
        read.expect("something comes")
    }

    /// The answer to this request; what comes before it can be read afterwards.
    #[track_caller]
    fn answer(&mut self, id: &Value) -> Value {
        loop {
            let message = self.read();
            if message["id"] == *id {
                return message["result"].clone();
            }
            self.passed.push_back(message);
        }
    }

    #[track_caller]
    fn ask(&mut self, tool: &str, arguments: Value) -> Value {
        self.call(tool, tool, arguments);
        self.answer(&json!(tool))
    }

    #[track_caller]
    fn query(&mut self, sql: &str) -> Value {
        let result = self.ask("query", json!({ "sql": sql }));
        assert_eq!(result.get("isError"), None, "{result}");
        result["structuredContent"].clone()
    }

    #[track_caller]
    fn status(&mut self) -> Value {
        self.ask("status", json!({}))["structuredContent"].clone()
    }

    #[track_caller]
    fn until(&mut self, what: &str, holds: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if holds(&status) {
                return;
            }
            assert!(Instant::now() < deadline, "in vain until {what}: {status}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Closes its stdin, and waits until it has ended.
    fn end(mut self) {
        self.stdin = None;
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "{status}");
        std::fs::remove_dir_all(&self.directory).expect("it can be removed");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _has_ended = self.child.kill();
    }
}

const FOR_EVER: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_default()
}

#[test]
fn it_runs_statements_and_says_what_is_wrong_with_one() {
    let mut client = Client::start("statements");
    client.query("CREATE TABLE t (a INTEGER, b TEXT)");
    let inserted = client.query("INSERT INTO t VALUES (1, 'one'), (2, NULL)");
    assert_eq!(inserted["changed"], 2, "{inserted}");
    let table = client.query("SELECT * FROM t ORDER BY a");
    assert_eq!(
        table,
        json!({ "columns": ["a", "b"], "rows": [[1, "one"], [2, null]], "more": false, "changed": 0 })
    );
    let wrong = client.ask("query", json!({ "sql": "SELEKT" }));
    assert_eq!(wrong["isError"], true);
    assert!(text(&wrong).contains("syntax error"), "{wrong}");
    let status = client.status();
    assert_eq!(
        (&status["done"], &status["failed"]),
        (&json!(3), &json!(1)),
        "{status}"
    );
    client.end();
}

#[test]
fn a_query_that_never_ends_says_that_it_lives_and_obeys_its_cancellation() {
    let mut client = Client::start("long");
    client.call("long", "query", json!({ "sql": FOR_EVER }));
    let steps = [client.next(), client.next()].map(|progress| {
        assert_eq!(progress["params"]["progressToken"], "long", "{progress}");
        progress["params"]["progress"].as_f64().expect("a number")
    });
    assert!(steps[1] > steps[0], "{steps:?}");
    client.until("it is shown", |status| {
        status["running"] == json!([FOR_EVER])
    });
    assert_eq!(
        client.query("SELECT 1")["rows"],
        json!([[1]]),
        "others run beside it"
    );
    client.send(json!({ "method": "notifications/cancelled", "params": { "requestId": "long" } }));
    client.until("it has ended", |status| status["running"] == json!([]));
    let status = client.status();
    assert_eq!(status["last_error"], "interrupted", "{status}");
    // Its connection is whole, and so are the others.
    for _ in 0..8 {
        client.query("SELECT 1");
    }
    client.end();
}

#[test]
fn four_run_and_the_fifth_waits_and_says_for_what() {
    let mut client = Client::start("pool");
    for id in ["1", "2", "3", "4"] {
        client.call(id, "query", json!({ "sql": FOR_EVER }));
    }
    client.until("all run", |status| {
        status["running"]
            .as_array()
            .is_some_and(|all| all.len() == 4)
    });
    client.call("5", "query", json!({ "sql": "SELECT 5" }));
    let told = loop {
        let message = client.next();
        if message["params"]["progressToken"] == "5" {
            break message["params"]["message"]
                .as_str()
                .expect("a text")
                .to_owned();
        }
    };
    assert!(
        told.starts_with("waiting for `connections`: 1 is held by `query` "),
        "{told}"
    );
    client.send(json!({ "method": "notifications/cancelled", "params": { "requestId": "2" } }));
    let answer = client.answer(&json!("5"));
    assert_eq!(
        answer["structuredContent"]["rows"],
        json!([[5]]),
        "{answer}"
    );
    for id in ["1", "3", "4"] {
        client.send(json!({ "method": "notifications/cancelled", "params": { "requestId": id } }));
    }
    client.end();
}

#[test]
fn a_peer_that_never_answers_costs_its_own_lane_and_nothing_else() {
    let mut client = Client::start("stall");
    let refused = client.ask("stall", json!({}));
    assert_eq!(refused["isError"], true, "{refused}");
    assert!(
        text(&refused).contains("did not answer within 1s"),
        "{refused}"
    );
    // Without a timeout every worker of the lane is lost, until the watchdog replaces it.
    for id in ["a", "b"] {
        client.call(id, "stall", json!({ "timeout": false }));
    }
    assert_eq!(client.query("SELECT 1")["rows"], json!([[1]]));
    assert_eq!(client.status()["running"], json!([]));
    client.send(json!({ "id": "ping", "method": "ping" }));
    client.answer(&json!("ping"));
    for _ in 0..2 {
        let given_up = client.next();
        assert_eq!(given_up["error"]["code"], 504, "{given_up}");
    }
    let refused = client.ask("stall", json!({}));
    assert!(
        text(&refused).contains("did not answer within 1s"),
        "there are workers again: {refused}"
    );
    // And it ends all the same.
    client.end();
}
