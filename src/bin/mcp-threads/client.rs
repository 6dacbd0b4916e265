//! A client of our own, for the tools that are called here and the server that is looked at: one JSON message a line, revision 2026-07-28.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Problem;

/// A client on a pair of byte streams.
pub(crate) struct StdioClient<R, W> {
    read: BufReader<R>,
    write: W,
    last_id: u64,
    /// Whether a person can be asked here.
    can_ask: bool,
}

impl<R: Read, W: Write> StdioClient<R, W> {
    pub(crate) fn new(read: R, write: W, can_ask: bool) -> Self {
        let read = BufReader::new(read);
        StdioClient {
            read,
            write,
            last_id: 0,
            can_ask,
        }
    }

    /// Asks and waits for the answer; progress is shown meanwhile.
    pub(crate) fn ask(
        &mut self,
        method: &str,
        mut params: Value,
        mut progress: impl FnMut(&str),
    ) -> Result<Value, Problem> {
        self.last_id += 1;
        let id = self.last_id;
        let mut capabilities = json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } });
        if self.can_ask {
            capabilities["elicitation"] = json!({ "form": {} });
        }
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "mcp-threads", "version": env!("CARGO_PKG_VERSION") },
            "io.modelcontextprotocol/clientCapabilities": capabilities,
            "progressToken": id,
        });
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))?;
        loop {
            let message = self.receive()?;
            if message["id"] == id {
                return match message.get("error") {
                    Some(error) => Err(error["message"]
                        .as_str()
                        .unwrap_or("the server failed")
                        .into()),
                    None => Ok(message["result"].clone()),
                };
            }
            if let Some(said) = message["params"]["message"].as_str() {
                progress(said);
            }
        }
    }

    /// Calls a tool, round by round while the server asks: `answer` says yes or no to each question.
    pub(crate) fn call(
        &mut self,
        name: &str,
        arguments: &Value,
        mut progress: impl FnMut(&str),
        mut answer: impl FnMut(&str) -> bool,
    ) -> Result<Value, Problem> {
        let mut params = json!({ "name": name, "arguments": arguments });
        loop {
            let result = self.ask("tools/call", params.clone(), &mut progress)?;
            match result["resultType"].as_str() {
                Some("input_required") => {}
                Some("task") => return self.follow(result, &mut progress),
                _ => return Ok(result),
            }
            let mut answers = json!({});
            for (key, request) in result["inputRequests"].as_object().into_iter().flatten() {
                let message = request["params"]["message"].as_str().unwrap_or_default();
                answers[key] = match answer(message) {
                    true => json!({ "action": "accept", "content": { "confirm": true } }),
                    false => json!({ "action": "decline" }),
                };
            }
            params["inputResponses"] = answers;
            params["requestState"] = result["requestState"].clone();
        }
    }

    /// Waits for the end of a background job.
    fn follow(
        &mut self,
        mut task: Value,
        mut progress: impl FnMut(&str),
    ) -> Result<Value, Problem> {
        let id = task["taskId"].clone();
        let mut shown = Value::Null;
        loop {
            let message = &task["statusMessage"];
            match task["status"].as_str() {
                Some("completed") => return Ok(task["result"].take()),
                Some("working") if *message == shown => {}
                Some("working") => {
                    shown = message.clone();
                    progress(message.as_str().unwrap_or_default());
                }
                _ => {
                    let problem = task["error"]["message"].as_str().or(message.as_str());
                    return Err(problem.unwrap_or("the job has not ended well").into());
                }
            }
            let interval = task["pollIntervalMs"].as_u64().unwrap_or(1000);
            thread::sleep(Duration::from_millis(interval.min(1000)));
            task = self.ask("tasks/get", json!({ "taskId": id }), |_| {})?;
        }
    }

    /// Sends one message and waits for the answer with this id, as clients of the handshake era begin.
    pub(crate) fn initialize(&mut self) -> Result<Value, Problem> {
        let params = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": { "name": "mcp-threads", "version": env!("CARGO_PKG_VERSION") },
        });
        self.send(
            &json!({ "jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": params }),
        )?;
        let answer = self.receive()?;
        match answer.get("result") {
            Some(result) => Ok(result.clone()),
            None => Err(format!("the server answered a handshake with {answer}").into()),
        }
    }

    fn send(&mut self, message: &Value) -> Result<(), Problem> {
        writeln!(self.write, "{message}")
            .and_then(|()| self.write.flush())
            .map_err(|error| format!("the server does not listen: {error}").into())
    }

    fn receive(&mut self) -> Result<Value, Problem> {
        let mut line = String::new();
        match self.read.read_line(&mut line) {
            Ok(0) => Err("the server has ended without an answer".into()),
            Ok(_) => serde_json::from_str(&line)
                .map_err(|error| format!("the server did not send JSON: {error}: {line}").into()),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(error.into()),
            Err(error) => Err(format!("the server cannot be heard: {error}").into()),
        }
    }
}
