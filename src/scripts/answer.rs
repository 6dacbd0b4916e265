//! From how a command ended to what the model reads.
//!
//! A failure is a tool error with the tail of stderr first. Must not know how the command was put together.

use serde_json::{Value, json};

use crate::protocol::types::{CallToolResult, ContentBlock};
use crate::scripts::command::CommandEnd;
use crate::scripts::spec::Output;

/// What is shown of an output that went wrong, to the model; programs have all of it.
const FAILURE_CHARS_MAX: usize = 4000;

impl CommandEnd {
    /// What the caller of the tool gets.
    pub(super) fn answer(self, kind: &Output, ok_codes: &[i32]) -> CallToolResult {
        if let Some(why) = self.failed(ok_codes) {
            return self.failure(&why);
        }
        match kind {
            Output::Text | Output::Lines => self.text(),
            Output::Json => self.json(),
            Output::Image(mime_type) => self.image(mime_type),
        }
    }

    /// The bytes that it wrote, if it did well.
    pub(super) fn bytes(self, ok_codes: &[i32]) -> Result<Vec<u8>, String> {
        match self.failed(ok_codes) {
            Some(why) => Err(format!("{why} {}", tail(self.stderr().trim_end()))),
            None if self.mask.is_empty() => Ok(self.output.stdout_bytes().to_vec()),
            None => Ok(self.stdout().into_bytes()),
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

    fn stdout(&self) -> String {
        self.mask.apply_around_gap(&self.output.stdout)
    }

    fn stderr(&self) -> String {
        self.mask.apply_around_gap(&self.output.stderr)
    }

    fn structured(&self, stdout: &str) -> Value {
        let duration_ms = u64::try_from(self.output.duration.as_millis()).unwrap_or(u64::MAX);
        json!({
            "exit_code": self.output.code,
            "signal": self.output.signal,
            "stdout": stdout,
            "stderr": self.stderr(),
            "duration_ms": duration_ms,
            "truncated": self.output.truncated,
        })
    }

    fn text(&self) -> CallToolResult {
        CallToolResult {
            structured_content: Some(self.structured(&self.stdout())),
            ..CallToolResult::text(self.mask.apply_around_gap(&self.output.text()))
        }
    }

    fn failure(&self, why: &str) -> CallToolResult {
        let (stdout, stderr) = (self.stdout(), self.stderr());
        let mut text = why.to_owned();
        for (name, said) in [("stderr", &stderr), ("stdout", &stdout)] {
            if !said.trim().is_empty() {
                text += &format!("\n\n{name}:\n{}", tail(said.trim_end()));
            }
        }
        CallToolResult {
            structured_content: Some(self.structured(&stdout)),
            ..CallToolResult::error(text)
        }
    }

    fn json(&self) -> CallToolResult {
        if let Some(problem) = self.cut("JSON") {
            return self.failure(&problem);
        }
        let stdout = self.stdout();
        match serde_json::from_str::<Value>(&stdout) {
            Ok(value) => CallToolResult {
                structured_content: Some(value),
                ..CallToolResult::text(stdout.trim_end())
            },
            Err(error) => self.failure(&format!("It did not say JSON: {error}.")),
        }
    }

    fn image(&self, mime_type: &str) -> CallToolResult {
        if let Some(problem) = self.cut("image") {
            return CallToolResult::error(problem);
        }
        if self.output.stdout.is_empty() {
            return self.failure("It made no image.");
        }
        CallToolResult {
            content: vec![ContentBlock::image(self.output.stdout_bytes(), mime_type)],
            structured_content: Some(self.structured("")),
            ..CallToolResult::default()
        }
    }

    /// Why an output that is worth nothing in parts is not whole.
    fn cut(&self, what: &str) -> Option<String> {
        let left_out = self.output.stdout_left_out;
        (left_out > 0).then(|| format!(
            "Its {what} is longer than is kept: {left_out} bytes were left out. Raise `output_max` in the file."
        ))
    }
}

/// The end of a long text.
fn tail(text: &str) -> &str {
    let cut = text.char_indices().rev().nth(FAILURE_CHARS_MAX);
    cut.map_or(text, |(at, _)| &text[at..])
}
