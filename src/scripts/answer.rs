//! From how a command ended to what the model reads.
//!
//! A failure is a tool error with the tail of stderr first. Must not know how the command was put together.

use std::mem::take;

use serde_json::json;

use crate::base::waiting::millis;
use crate::handler::{RequestContext, ToolError};
use crate::protocol::errors::ErrorObject;
use crate::protocol::tree::Unread;
use crate::protocol::types::{CallToolResult, ContentBlock};
use crate::scripts::command::CommandEnd;
use crate::scripts::spec::{Output, ToolSpec};

/// What is shown of an output that went wrong, to the model; programs have all of it.
const FAILURE_CHARS_MAX: usize = 4000;

/// What is charged to nobody: its program has run, and may have changed something.
const FREE_BYTES: usize = 4096;

/// Where a failure says how it ended if its tool promises something else as structured content: a client may hold the failure to that as well.
const RUN: &str = "mcp-threads/run";

impl CommandEnd {
    /// What the caller of the tool gets. What it said, and the text that says it again, is charged until the call has been answered.
    pub(super) fn answer<S>(
        mut self,
        spec: &ToolSpec,
        cx: &RequestContext<S>,
    ) -> Result<CallToolResult, ToolError> {
        let said = self.output.stdout.len() + self.output.stderr.len();
        if 2 * said > FREE_BYTES {
            let charged = cx.control().tree_room().hold(2 * said);
            cx.control().keep_charged(charged.map_err(|_| no_room())?);
        }
        let answer = match (self.failed(&spec.command.ok_codes), &spec.output) {
            (Some(why), _) => Err(why),
            (None, Output::Text | Output::Lines) => {
                let text = CallToolResult::text(self.output.text());
                let stdout = take(&mut self.output.stdout);
                Ok(self.told(stdout, text))
            }
            (None, Output::Json) if matches!(self.json, Some(Err(Unread::NoMemory))) => {
                return Err(no_room());
            }
            (None, Output::Json) => self.json(spec.output_schema.is_some()),
            (None, Output::Image(mime_type)) => self.image(mime_type),
        };
        let mut failure = match answer {
            Ok(result) => return Ok(result),
            Err(why) => self.failure(&why),
        };
        if spec.output_schema.is_some() {
            let run = failure.structured_content.take().unwrap_or_default();
            failure.meta = Some([(RUN.to_owned(), run)].into_iter().collect());
        }
        Ok(failure)
    }

    /// The bytes that it wrote, if it did well.
    pub(super) fn bytes(self, ok_codes: &[i32]) -> Result<Vec<u8>, String> {
        match self.failed(ok_codes) {
            Some(why) => Err(format!("{why} {}", tail(self.output.stderr.trim_end()))),
            None => Ok(self.kept("contents")?.to_vec()),
        }
    }

    /// Why it is a failure, in a sentence.
    fn failed(&self, ok_codes: &[i32]) -> Option<String> {
        if let Some(problem) = &self.problem {
            return Some(problem.clone());
        }
        match (self.output.code, self.output.signal) {
            (Some(code), _) if ok_codes.contains(&code) => None,
            (Some(code), _) => Some(format!("It failed with exit code {code}.")),
            (None, Some(signal)) => Some(format!("It was ended by signal {signal}.")),
            (None, None) => Some("It has ended, and the system does not tell how.".to_owned()),
        }
    }

    /// The result, with how it ended as structured content.
    fn told(&mut self, stdout: String, result: CallToolResult) -> CallToolResult {
        let mut structured = json!({
            "exit_code": self.output.code,
            "signal": self.output.signal,
            "stdout": null,
            "stderr": null,
            "duration_ms": millis(self.output.duration),
            "truncated": self.output.truncated,
        });
        // The macro would copy them.
        structured["stdout"] = stdout.into();
        structured["stderr"] = take(&mut self.output.stderr).into();
        CallToolResult {
            structured_content: Some(structured),
            ..result
        }
    }

    fn failure(&mut self, why: &str) -> CallToolResult {
        let (stdout, stderr) = (&self.output.stdout, &self.output.stderr);
        let mut text = why.to_owned();
        for (name, said) in [("stderr", stderr), ("stdout", stdout)] {
            if !said.trim().is_empty() {
                text += &format!("\n\n{name}:\n{}", tail(said.trim_end()));
            }
        }
        let stdout = take(&mut self.output.stdout);
        self.told(stdout, CallToolResult::error(text))
    }

    fn json(&mut self, is_promised: bool) -> Result<CallToolResult, String> {
        self.check_whole("JSON")?;
        let read = self.json.take();
        let value = read.unwrap_or_else(|| Err(Unread::Unfit("it was ended".into())));
        let value = value.map_err(|unread| match unread {
            Unread::Unfit(problem) => format!("It did not say JSON: {problem}."),
            too_large => format!(
                "Its JSON has too many values: {}.",
                too_large.into_sentence()
            ),
        })?;
        if is_promised && !value.is_object() {
            return Err(
                "It did not say a JSON object, which its `output_schema` promises.".to_owned(),
            );
        }
        let mut text = take(&mut self.output.stdout);
        match self.mask.is_empty() {
            true => text.truncate(text.trim_end().len()),
            false => text = value.to_string(),
        }
        Ok(CallToolResult {
            structured_content: Some(value),
            ..CallToolResult::text(text)
        })
    }

    fn image(&mut self, mime_type: &str) -> Result<CallToolResult, String> {
        let bytes = self.kept("image")?;
        if bytes.is_empty() {
            return Err("It made no image.".to_owned());
        }
        let image = ContentBlock::image(bytes, mime_type);
        let result = CallToolResult {
            content: vec![image],
            ..CallToolResult::default()
        };
        Ok(self.told(String::new(), result))
    }

    /// Its output as bytes: whole, and without a secret, which cannot be masked where they are no text.
    fn kept(&self, what: &str) -> Result<&[u8], String> {
        self.check_whole(what)?;
        let bytes = self.output.stdout_bytes();
        // A text has been masked.
        match std::str::from_utf8(bytes).is_err() && self.mask.is_in(bytes) {
            true => Err(format!(
                "There is a secret in its {what}, where it cannot be masked."
            )),
            false => Ok(bytes),
        }
    }

    /// An output that is worth nothing in parts has to be whole.
    fn check_whole(&self, what: &str) -> Result<(), String> {
        match self.output.stdout_left_out {
            0 => Ok(()),
            left_out => Err(format!(
                "Its {what} is longer than is kept: {left_out} bytes were left out. Raise `output_max` in the file."
            )),
        }
    }
}

/// Its program has run, so that nothing begins anew.
fn no_room() -> ToolError {
    let message = "The command has run, and the server has no memory left for what it said";
    ToolError::protocol(ErrorObject::overloaded(message))
}

/// The end of a long text.
fn tail(text: &str) -> &str {
    let cut = text.char_indices().rev().nth(FAILURE_CHARS_MAX);
    cut.map_or(text, |(at, _)| &text[at..])
}
