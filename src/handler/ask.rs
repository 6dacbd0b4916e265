//! Asking the client from inside a handler: the questions, and what comes back.
//!
//! [`RequestContext`]'s methods for it stand here too, because they are one idea: `elicit`, `elicit_url`, `sample`, `roots`, `keep`. How an
//! answer travels is the engine's; a handler cannot tell the eras apart. Specification: `client/elicitation`, `client/sampling`,
//! `client/roots` and `basic/patterns/mrtr` of revision 2026-07-28.

use std::fmt;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::handler::ask_schema;
use crate::handler::context::RequestContext;
use crate::handler::result::ToolError;
use crate::protocol::jsonrpc::{ErrorCode, ErrorObject};
use crate::protocol::types::Role;
use crate::protocol::version::{Era, ProtocolVersion};

/// A request to the client, whatever the era.
pub(crate) struct Ask {
    pub(crate) method: &'static str,
    pub(crate) params: Value,
    /// The member that every answer to it has.
    mark: &'static str,
}

impl Ask {
    /// A request with this method, whose every answer has the member `mark`.
    pub(crate) fn new(method: &'static str, params: Value, mark: &'static str) -> Self {
        Ask {
            method,
            params,
            mark,
        }
    }

    /// Whether this can be an answer at all.
    pub(crate) fn accepts(&self, answer: &Value) -> bool {
        answer.get(self.mark).is_some()
    }
}

/// Why an ask brought no answer. Leave the handler with `?`; the client is told the right thing.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum AskError {
    /// The client is asked when this attempt has ended, and the handler is called again with the answer. Revision 2026-07-28 only.
    Unanswered,
    /// The client did not declare that it can be asked this.
    Unsupported {
        /// What it would have to declare, as an object.
        required: Value,
        /// The era it was asked in.
        era: Era,
    },
    /// The call was cancelled.
    Cancelled,
    /// Nobody answered within [`Limits::ask_timeout`](crate::Limits::ask_timeout). Handshake era only.
    TimedOut,
    /// The client has closed its side of the pipe and can answer nothing any more. Handshake era only.
    Left,
    /// The client answered with an error.
    Refused {
        /// Its code.
        code: i64,
        /// What it said.
        message: String,
    },
    /// The answer is not what was asked for.
    Invalid(String),
}

impl AskError {
    /// The client's error, as it sent it.
    pub(crate) fn refused(raw: &RawValue) -> Self {
        #[derive(Deserialize)]
        struct Sent {
            code: i64,
            #[serde(default)]
            message: String,
        }
        match serde_json::from_str(raw.get()) {
            Ok(Sent { code, message }) => AskError::Refused { code, message },
            Err(error) => AskError::Invalid(error.to_string()),
        }
    }

    /// What a handler that leaves with it has failed with.
    pub(crate) fn tool_error(&self) -> ToolError {
        match self {
            AskError::Unsupported {
                required,
                era: Era::Modern,
            } => ToolError::protocol(
                ErrorObject::new(ErrorCode::MISSING_CLIENT_CAPABILITY, self.to_string())
                    .with_data(json!({ "requiredCapabilities": required })),
            ),
            _ => ToolError::new(self.to_string()),
        }
    }
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::Unanswered => f.write_str("the client has not been asked yet"),
            AskError::Unsupported { required, .. } => {
                write!(f, "The client does not declare what this needs: {required}")
            }
            AskError::Cancelled => f.write_str("the call was cancelled"),
            AskError::TimedOut => f.write_str("The client did not answer in time"),
            AskError::Left => f.write_str("The client has left and cannot answer"),
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

/// What a person made of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elicited<T> {
    /// They answered.
    Accepted(T),
    /// They said no.
    Declined,
    /// They closed the question without choosing.
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
    params: Map<String, Value>,
}

impl Sampling {
    /// A question whose answer has at most this many tokens.
    pub fn new(tokens_max: u32) -> Self {
        let mut params = Map::new();
        params.insert("messages".into(), json!([]));
        params.insert("maxTokens".into(), tokens_max.into());
        Sampling { params }
    }

    /// One more message of the user's.
    #[must_use]
    pub fn user(self, text: impl Into<String>) -> Self {
        self.message(Role::User, text.into())
    }

    /// One more message of the model's.
    #[must_use]
    pub fn assistant(self, text: impl Into<String>) -> Self {
        self.message(Role::Assistant, text.into())
    }

    /// What the model should know before it answers.
    #[must_use]
    pub fn system(self, prompt: impl Into<String>) -> Self {
        self.set("systemPrompt", prompt.into())
    }

    /// How daring the answer may be.
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

/// Asking the client.
///
/// In revision 2026-07-28 a question ends the attempt: leave the handler with `?`, the client is asked, and the handler is called again
/// **from its beginning**, with the answers so far. So:
///
/// - what stands before a question runs again for each round; put what must happen once, or must not change, into [`keep`](Self::keep);
/// - each question has a key that is the same in every round, and no other question of the handler has it;
/// - questions that do not depend on each other travel together when none is left with `?` before all are asked:
///   `let (a, b) = (cx.elicit("a", ..), cx.roots()); let (a, b) = (a?, b?);`
///
/// In the handshake era the worker waits for the answer, and nothing runs twice. A handler cannot tell the difference. Answers come
/// from the client and are not to be trusted more than arguments are.
///
/// ```
/// use mcp_threads::{RequestContext, ToolError};
///
/// #[derive(serde::Serialize, serde::Deserialize, mcp_threads::schemars::JsonSchema)]
/// #[schemars(crate = "mcp_threads::schemars")]
/// struct Confirm { sure: bool }
///
/// fn delete(cx: &mut RequestContext, path: String) -> Result<String, ToolError> {
///     let asked = cx.elicit::<Confirm>("sure", &format!("Delete {path}?"))?;
///     if !asked.accepted().is_some_and(|answer| answer.sure) {
///         return Ok("Nothing was deleted.".into());
///     }
///     std::fs::remove_file(&path)?;
///     Ok(format!("Deleted {path}."))
/// }
/// ```
impl<S> RequestContext<S> {
    /// Asks the person at the client to fill in a form, made from `T`: a struct whose fields are strings, numbers, booleans, enums without data,
    /// lists of such enums, or `Option`s of these.
    ///
    /// # Errors
    ///
    /// See [`AskError`]; leave the handler with `?`.
    pub fn elicit<T: DeserializeOwned + JsonSchema>(
        &mut self,
        key: &str,
        message: &str,
    ) -> Result<Elicited<T>, AskError> {
        let version = self.client().protocol_version;
        let schema = ask_schema::form::<T>(version).map_err(AskError::Invalid)?;
        self.elicit_with(key, message, schema)
    }

    /// The same with a hand-written schema, in the restricted form that the specification allows.
    ///
    /// # Errors
    ///
    /// See [`AskError`]; leave the handler with `?`.
    pub fn elicit_with<T: DeserializeOwned>(
        &mut self,
        key: &str,
        message: &str,
        schema: Value,
    ) -> Result<Elicited<T>, AskError> {
        self.need(
            self.client().supports_elicitation(),
            json!({ "elicitation": {} }),
        )?;
        let params = json!({ "message": message, "requestedSchema": schema });
        elicited(self.ask(key, "elicitation/create", params, "action")?)
    }

    /// Asks the person at the client to open a page, for what must not pass through the client: a payment, a login. That they accepted says only
    /// that they went there.
    ///
    /// # Errors
    ///
    /// See [`AskError`]; leave the handler with `?`.
    pub fn elicit_url(
        &mut self,
        key: &str,
        message: &str,
        url: &str,
    ) -> Result<Elicited<()>, AskError> {
        let required = json!({ "elicitation": { "url": {} } });
        self.need(self.client().supports_url_elicitation(), required)?;
        let mut params = json!({ "mode": "url", "message": message, "url": url });
        if self.client().protocol_version == ProtocolVersion::V2025_11_25 {
            params["elicitationId"] = format!("{}/{key}", self.request_id()).into();
        }
        let answer = self.ask(key, "elicitation/create", params, "action")?;
        Ok(match elicited::<Value>(answer)? {
            Elicited::Accepted(_) => Elicited::Accepted(()),
            Elicited::Declined => Elicited::Declined,
            Elicited::Dismissed => Elicited::Dismissed,
        })
    }

    /// Asks the client's model.
    ///
    /// # Errors
    ///
    /// See [`AskError`]; leave the handler with `?`.
    pub fn sample(&mut self, key: &str, question: Sampling) -> Result<Sampled, AskError> {
        let with_tools = question.params.contains_key("tools");
        let required = match with_tools {
            true => json!({ "sampling": { "tools": {} } }),
            false => json!({ "sampling": {} }),
        };
        let client = self.client();
        let supported =
            client.supports_sampling() && (!with_tools || client.supports(&["sampling", "tools"]));
        self.need(supported, required)?;
        let params = Value::Object(question.params);
        read(self.ask(key, "sampling/createMessage", params, "content")?)
    }

    /// Asks in which folders the client's user works. Its key is `roots`.
    ///
    /// # Errors
    ///
    /// See [`AskError`]; leave the handler with `?`.
    pub fn roots(&mut self) -> Result<Vec<Root>, AskError> {
        #[derive(Deserialize)]
        struct ListRootsResult {
            roots: Vec<Root>,
        }
        self.need(self.client().supports_roots(), json!({ "roots": {} }))?;
        let answer = self.ask("roots", "roots/list", json!({}), "roots")?;
        read(answer).map(|result: ListRootsResult| result.roots)
    }

    /// Makes a value once, however often the handler is called again for the answers to its questions. The value travels with the client, sealed
    /// against change but not hidden; it must fit into [`Limits::request_state_bytes_max`](crate::Limits::request_state_bytes_max).
    ///
    /// # Panics
    ///
    /// When the value cannot be written as JSON.
    pub fn keep<T: Serialize + DeserializeOwned>(
        &mut self,
        key: &str,
        make: impl FnOnce() -> T,
    ) -> T {
        let kept = self.control().kept(key);
        // A value that does not read as this type was kept by another version of the program.
        if let Some(value) = kept.and_then(|kept| serde_json::from_value(kept).ok()) {
            return value;
        }
        let value = make();
        let json = serde_json::to_value(&value).expect("a kept value can be written as JSON");
        self.control().keep(key, json);
        value
    }

    fn need(&self, supported: bool, required: Value) -> Result<(), AskError> {
        match supported {
            true => Ok(()),
            false => Err(AskError::Unsupported {
                required,
                era: self.client().protocol_version.era(),
            }),
        }
    }

    fn ask(
        &self,
        key: &str,
        method: &'static str,
        params: Value,
        mark: &'static str,
    ) -> Result<Value, AskError> {
        self.control().ask(key, &Ask::new(method, params, mark))
    }
}

fn elicited<T: DeserializeOwned>(answer: Value) -> Result<Elicited<T>, AskError> {
    #[derive(Deserialize)]
    struct ElicitResult {
        action: String,
        #[serde(default)]
        content: Value,
    }
    let ElicitResult { action, content } = read(answer)?;
    match action.as_str() {
        "accept" => read(content).map(Elicited::Accepted),
        "decline" => Ok(Elicited::Declined),
        "cancel" => Ok(Elicited::Dismissed),
        other => Err(AskError::Invalid(format!("unknown action {other:?}"))),
    }
}

fn read<T: DeserializeOwned>(answer: Value) -> Result<T, AskError> {
    serde_json::from_value(answer).map_err(|error| AskError::Invalid(error.to_string()))
}

#[cfg(test)]
mod tests;
