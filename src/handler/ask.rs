//! What can be asked of a client, and what comes back.
//!
//! Data only. How a handler asks stands in `asking`; how an answer travels is the engine's. Specification: `client/elicitation`,
//! `client/sampling`, `client/roots` and `basic/patterns/mrtr` of revision 2026-07-28.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::protocol::errors::{ErrorCode, ErrorObject};
use crate::protocol::raw;
use crate::protocol::sentence::Sentence;
use crate::protocol::text::Text;
use crate::protocol::types::Role;
use crate::protocol::version::Era;

/// A request to the client, whatever the era.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Ask {
    pub(crate) method: &'static str,
    pub(crate) params: Value,
}

/// Whether this can be an answer to such a request at all. What cannot is not taken, so that the client is asked again; whether an answer fits its question
/// is for the handler's types to say.
pub(crate) fn is_answer_to(method: &str, answer: &RawValue) -> bool {
    let (mark, fits): (_, fn(&RawValue) -> bool) = match method {
        "elicitation/create" => ("action", is_action),
        "sampling/createMessage" => ("content", is_content),
        _ => ("roots", |roots| roots.get().starts_with('[')),
    };
    raw::member(answer, mark).is_some_and(fits)
}

/// Whether it is a block, or a list of blocks.
fn is_content(content: &RawValue) -> bool {
    let mut fits = true;
    match content.get().starts_with('[') {
        true => raw::each(content.get(), |_, block| fits &= is_block(block)).is_some() && fits,
        false => is_block(content),
    }
}

/// Whether it has a text, or is of another kind than one that must have it.
fn is_block(block: &RawValue) -> bool {
    let string = |name| raw::member(block, name).filter(|value| value.get().starts_with('"'));
    let is_text = |kind: &RawValue| {
        serde_json::from_str::<Text>(kind.get()).is_ok_and(|Text(kind)| kind == "text")
    };
    string("text").is_some() || string("type").is_some_and(|kind| !is_text(kind))
}

fn is_action(action: &RawValue) -> bool {
    let text = serde_json::from_str::<Text>(action.get());
    text.is_ok_and(|Text(action)| matches!(&*action, "accept" | "decline" | "cancel"))
}

/// Why a question to the client has no answer (yet). Leave the handler with `?`: the library asks the client, or answers the call with the right
/// error.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum AskError {
    /// Not an error: the client is asked as soon as the handler returns, and the handler is called again with the answer. Revision 2026-07-28 only.
    Unanswered,
    /// The client did not declare the capability that this question needs.
    Unsupported {
        /// The capabilities that it would have to declare, as an object.
        required: Value,
        /// The era of the request.
        era: Era,
    },
    /// A completer cannot ask the client, nor a background job one that follows no tasks, nor a tool that runs inline one of the handshake era.
    NotHere,
    /// The call was cancelled.
    Cancelled,
    /// The client did not answer within [`Limits::ask_timeout`](crate::Limits::ask_timeout). Handshake era only.
    TimedOut,
    /// The client cannot answer any more: it has closed its side of the pipe, begun a new session on it, or left its HTTP request and cannot come back
    /// for it; on HTTP/1.0 none can carry a question. Handshake era only.
    Left,
    /// As many handlers of this lane wait for their clients as may; see [`Lane::waiting`](crate::Lane::waiting). Handshake era only.
    TooMany {
        /// The lane's name.
        lane: String,
        /// How many may wait.
        most: usize,
    },
    /// The server has no memory left for the question or its answer ([`Limits::memory_bytes_max`](crate::Limits::memory_bytes_max)). Handshake era only.
    NoRoom,
    /// The client answered with an error.
    Refused {
        /// The error's code.
        code: i64,
        /// The error's message.
        message: String,
    },
    /// The client's answer does not fit the question, or no form can be made from the type; the text says why.
    Invalid(String),
}

impl AskError {
    /// The client's error, as it sent it.
    pub(crate) fn refused(raw: &RawValue) -> Self {
        #[derive(Deserialize)]
        struct Sent<'a> {
            code: i64,
            #[serde(borrow)]
            message: Option<Text<'a>>,
        }
        match serde_json::from_str(raw.get()) {
            Ok(Sent { code, message }) => AskError::Refused {
                code,
                message: message.map_or(String::new(), |Text(text)| Sentence::of(&text)),
            },
            Err(error) => AskError::Invalid(Sentence::of(&error)),
        }
    }

    /// The error that the client's program is told, for what it has to mend itself.
    pub(crate) fn protocol_error(&self) -> Option<ErrorObject> {
        let (code, data) = match self {
            AskError::Unsupported {
                required,
                era: Era::Modern,
            } => {
                let data = json!({ "requiredCapabilities": required });
                (ErrorCode::MISSING_CLIENT_CAPABILITY, data)
            }
            AskError::TooMany { lane, .. } => {
                let data = json!({ "lane": lane, "retryAfterMs": 1000 });
                (ErrorCode::OVERLOADED, data)
            }
            AskError::NoRoom => return Some(ErrorObject::overloaded(self.to_string())),
            _ => return None,
        };
        Some(ErrorObject::new(code, self.to_string()).with_data(data))
    }
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::Unanswered => f.write_str("the client has not been asked yet"),
            AskError::Unsupported { required, .. } => {
                write!(
                    f,
                    "This needs client capabilities that were not declared: {required}"
                )
            }
            AskError::NotHere => f.write_str(
                "The client cannot be asked here: not by a completer, not in the background unless it follows tasks, and not by a tool that runs inline in the handshake era",
            ),
            AskError::Cancelled => f.write_str("the call was cancelled"),
            AskError::TimedOut => f.write_str("The client did not answer in time"),
            AskError::Left => f.write_str("The client has left and cannot answer"),
            AskError::TooMany { lane, most } => {
                write!(
                    f,
                    "{most} handlers of the lane `{lane}` wait for their clients to answer, which is the most; try again later"
                )
            }
            AskError::NoRoom => f.write_str(
                "The server has no memory left for the question or its answer; try again later",
            ),
            AskError::Refused { code, message } => {
                write!(f, "The client refused: {message} ({code})")
            }
            AskError::Invalid(problem) => {
                write!(
                    f,
                    "The client's answer is not what was asked for: {problem}"
                )
            }
        }
    }
}

impl std::error::Error for AskError {}

/// How the user reacted to a question. Specification: `client/elicitation` ("Response Actions").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Elicited<T> {
    /// The user answered (`accept`).
    Accepted(T),
    /// The user said no (`decline`).
    Declined,
    /// The user closed the question without choosing (`cancel`).
    Dismissed,
}

impl<T> Elicited<T> {
    /// The answer, if there is one.
    pub fn accepted(self) -> Option<T> {
        match self {
            Elicited::Accepted(answer) => Some(answer),
            Elicited::Declined | Elicited::Dismissed => None,
        }
    }
}

/// A folder or file that the client's user works in. Specification: `client/roots`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Root {
    /// Where it is: a `file://` URI.
    pub uri: String,
    /// A name for people.
    pub name: Option<String>,
}

/// What to ask the client's model. Specification: `client/sampling`.
///
/// ```
/// use mcp_threads::Sampling;
/// let question = Sampling::new(100).user("What is the capital of France?").system("Answer in one word.");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    pub(super) params: Map<String, Value>,
}

impl Sampling {
    /// A question whose answer has at most this many tokens.
    pub fn new(tokens_max: u32) -> Self {
        let mut params = Map::new();
        params.insert("messages".into(), json!([]));
        params.insert("maxTokens".into(), tokens_max.into());
        Sampling { params }
    }

    /// One more message, from the user.
    #[must_use]
    pub fn user(self, text: impl Into<String>) -> Self {
        self.message(Role::User, text.into())
    }

    /// One more message, from the model.
    #[must_use]
    pub fn assistant(self, text: impl Into<String>) -> Self {
        self.message(Role::Assistant, text.into())
    }

    /// The system prompt.
    #[must_use]
    pub fn system(self, prompt: impl Into<String>) -> Self {
        self.set("systemPrompt", prompt.into())
    }

    /// How random the answer may be; the scale is the model's own.
    #[must_use]
    pub fn temperature(self, temperature: f64) -> Self {
        self.set("temperature", temperature)
    }

    /// Any other member of the request, such as `modelPreferences`, `stopSequences` or `tools`. The client must declare
    /// `sampling.tools` for the last.
    #[must_use]
    pub fn set(mut self, member: impl Into<String>, value: impl Into<Value>) -> Self {
        self.params.insert(member.into(), value.into());
        self
    }

    fn message(mut self, role: Role, text: String) -> Self {
        let message = json!({ "role": role, "content": { "type": "text", "text": text } });
        if let Some(Value::Array(messages)) = self.params.get_mut("messages") {
            messages.push(message);
        }
        self
    }
}

/// What the client's model answered.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Sampled {
    /// The content as it came: a block, or a list of blocks.
    pub content: Value,
    /// The model that answered.
    #[serde(default)]
    pub model: String,
    /// Why it stopped, such as `endTurn` or `maxTokens`.
    #[serde(default)]
    pub stop_reason: Option<String>,
}

impl Sampled {
    /// The text of the answer; blocks of other kinds are left out.
    pub fn text(&self) -> String {
        let blocks = match &self.content {
            Value::Array(blocks) => blocks.as_slice(),
            block => std::slice::from_ref(block),
        };
        let texts = blocks.iter().filter_map(|block| block["text"].as_str());
        texts.collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests;
