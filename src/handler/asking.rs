//! Asking the client from inside a handler: `elicit`, `elicit_url`, `sample`, `roots`, `keep`.
//!
//! A handler cannot tell the eras apart. Must not know how an answer travels. Specification: `client/elicitation`, `client/sampling`,
//! `client/roots` and `basic/patterns/mrtr` of revision 2026-07-28.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::handler::ask::{Ask, AskError, Elicited, Root, Sampled, Sampling};
use crate::handler::ask_schema;
use crate::handler::context::RequestContext;
use crate::protocol::version::ProtocolVersion;

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
        let answer = self.control().ask(key, &Ask::new(method, params, mark))?;
        object(answer)
    }
}

/// What is derived would take a list as well, and read its items as members in the order of the code.
fn object(value: Value) -> Result<Value, AskError> {
    match value {
        Value::Array(_) => Err(AskError::Invalid("a list is no object".into())),
        value => Ok(value),
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
        "accept" => read(object(content)?).map(Elicited::Accepted),
        "decline" => Ok(Elicited::Declined),
        "cancel" => Ok(Elicited::Dismissed),
        other => Err(AskError::Invalid(format!("unknown action {other:?}"))),
    }
}

fn read<T: DeserializeOwned>(answer: Value) -> Result<T, AskError> {
    serde_json::from_value(answer).map_err(|error| AskError::Invalid(error.to_string()))
}
