//! Asking the client from inside a handler: `elicit`, `elicit_url`, `sample`, `roots`, `keep`.
//!
//! A handler cannot tell the eras apart. Must not know how an answer travels. Specification: `client/elicitation`, `client/sampling`,
//! `client/roots` and `basic/patterns/mrtr` of revision 2026-07-28.

use schemars::JsonSchema;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::handler::arguments;
use crate::handler::arguments::ArgumentRules;
use crate::handler::ask::{Ask, AskError, Elicited, Root, Sampled, Sampling};
use crate::handler::ask_schema;
use crate::handler::context::RequestContext;
use crate::protocol::errors::shortened;
use crate::protocol::sentence::Sentence;
use crate::protocol::text::Text;
use crate::protocol::version::ProtocolVersion;

/// Asking the client.
///
/// In revision 2026-07-28 a question ends the attempt: the handler returns with `?`, the client gets the question as its answer, and when it comes
/// back, the handler is called again **from its beginning**, with the answers so far. So:
///
/// - Code before a question runs again in each round. Put what must happen once, or must not change, into [`keep`](Self::keep).
/// - Each question has a key, which is the same in every round and belongs to no other question of the handler.
/// - Questions that do not depend on each other are sent together when all are asked before the first `?`:
///   `let (a, b) = (cx.elicit("a", ..), cx.roots()); let (a, b) = (a?, b?);`
///
/// In the earlier revisions the worker waits for the answer and nothing runs twice. The handler is the same for both. An answer comes from the
/// client: check it as you check arguments.
///
/// Specification: `basic/patterns/mrtr`, `client/elicitation`, `client/sampling`, `client/roots`.
///
/// ```
/// use mcp_threads::{RequestContext, ToolError};
///
/// #[derive(serde::Deserialize, mcp_threads::schemars::JsonSchema)]
/// #[schemars(crate = "mcp_threads::schemars")]
/// struct Delete { path: String }
///
/// #[derive(serde::Deserialize, mcp_threads::schemars::JsonSchema)]
/// #[schemars(crate = "mcp_threads::schemars")]
/// struct Confirm { sure: bool }
///
/// fn delete(cx: &mut RequestContext, args: Delete) -> Result<String, ToolError> {
///     let asked = cx.elicit::<Confirm>("sure", &format!("Delete {}?", args.path))?;
///     if !asked.accepted().is_some_and(|answer| answer.sure) {
///         return Ok("Nothing was deleted.".into());
///     }
///     std::fs::remove_file(&args.path)?;
///     Ok(format!("Deleted {}.", args.path))
/// }
/// ```
impl<S> RequestContext<S> {
    /// Asks the user to fill in a form, made from `T`: a struct whose fields are strings, numbers, booleans, enums without data, lists of such
    /// enums, or `Option`s of these. `message` is shown above the form; a field's doc comment describes it.
    ///
    /// # Errors
    ///
    /// See [`AskError`]; leave the handler with `?`. A `T` that cannot be a form is [`AskError::Invalid`].
    pub fn elicit<T: DeserializeOwned + JsonSchema>(
        &mut self,
        key: &str,
        message: &str,
    ) -> Result<Elicited<T>, AskError> {
        let version = self.client().protocol_version();
        let schema = ask_schema::form::<T>(version).map_err(AskError::Invalid)?;
        // It is read into the type, which takes no tree.
        let rules = ArgumentRules::read_by(schema.clone());
        self.elicit_by(key, message, &schema, &rules)
    }

    /// As [`elicit`](Self::elicit), with a hand-written schema in the restricted form that the specification allows (`client/elicitation`,
    /// "Requested Schema"). It is sent as it is, whatever the client's revision knows; an answer is held to it with the feature `validate`.
    ///
    /// # Errors
    ///
    /// See [`AskError`]; leave the handler with `?`. With `validate` a schema that does not compile is [`AskError::Invalid`], and nobody is asked.
    pub fn elicit_with<T: DeserializeOwned>(
        &mut self,
        key: &str,
        message: &str,
        schema: Value,
    ) -> Result<Elicited<T>, AskError> {
        let rules = ArgumentRules::of_schema(schema.clone(), true).map_err(AskError::Invalid)?;
        self.elicit_by(key, message, &schema, &rules)
    }

    fn elicit_by<T: DeserializeOwned>(
        &mut self,
        key: &str,
        message: &str,
        schema: &Value,
        rules: &ArgumentRules,
    ) -> Result<Elicited<T>, AskError> {
        // Who declares pages alone has to hear that it is forms that are missing.
        let required = match self.client().supports(&["elicitation"]) {
            true => json!({ "elicitation": { "form": {} } }),
            false => json!({ "elicitation": {} }),
        };
        let lacking = (!self.client().supports_elicitation()).then_some(required);
        let params = json!({ "message": message, "requestedSchema": schema });
        let answer = self.ask(key, "elicitation/create", params, lacking)?;
        self.elicited(&answer, rules)
    }

    /// Asks the user to open a web page, for what must not pass through the client: a payment, a login. [`Elicited::Accepted`] says that the user
    /// agreed to open it, and nothing about what happened there.
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
        let is_supported = self.client().supports_url_elicitation();
        let lacking = (!is_supported).then(|| json!({ "elicitation": { "url": {} } }));
        let mut params = json!({ "mode": "url", "message": message, "url": url });
        if self.client().protocol_version() == ProtocolVersion::V2025_11_25 {
            params["elicitationId"] = Uuid::new_v4().to_string().into();
        }
        let answer = self.ask(key, "elicitation/create", params, lacking)?;
        Ok(
            match self.elicited::<IgnoredAny>(&answer, &ArgumentRules::none())? {
                Elicited::Accepted(_) => Elicited::Accepted(()),
                Elicited::Declined => Elicited::Declined,
                Elicited::Dismissed => Elicited::Dismissed,
            },
        )
    }

    /// Asks the client's model a question (sampling).
    ///
    /// # Errors
    ///
    /// See [`AskError`]; leave the handler with `?`.
    pub fn sample(&mut self, key: &str, question: Sampling) -> Result<Sampled, AskError> {
        let with_tools = ["tools", "toolChoice"]
            .iter()
            .any(|member| question.params.contains_key(*member));
        let required = match with_tools {
            true => json!({ "sampling": { "tools": {} } }),
            false => json!({ "sampling": {} }),
        };
        let client = self.client();
        let supported =
            client.supports_sampling() && (!with_tools || client.supports(&["sampling", "tools"]));
        let lacking = (!supported).then_some(required);
        let params = Value::Object(question.params);
        let answer = self.ask(key, "sampling/createMessage", params, lacking)?;
        self.read(&answer)
    }

    /// Asks in which folders the user works. The key of this question is `roots`.
    ///
    /// # Errors
    ///
    /// See [`AskError`]; leave the handler with `?`.
    pub fn roots(&mut self) -> Result<Vec<Root>, AskError> {
        self.roots_as("roots")
    }

    /// The same under a key of your own.
    ///
    /// # Errors
    ///
    /// See [`AskError`]; leave the handler with `?`.
    pub fn roots_as(&mut self, key: &str) -> Result<Vec<Root>, AskError> {
        #[derive(Deserialize)]
        struct ListRootsResult {
            roots: Vec<Root>,
        }
        let lacking = (!self.client().supports_roots()).then(|| json!({ "roots": {} }));
        let answer = self.ask(key, "roots/list", json!({}), lacking)?;
        self.read(&answer)
            .map(|result: ListRootsResult| result.roots)
    }

    /// Makes a value in the first round of a call and gives the same value back in every further round: an id, a time, the result of a step that
    /// must not be taken twice. `make` runs when no value is kept under this key.
    ///
    /// In revision 2026-07-28 the value is sent to the client and back in the request state: signed, so that nobody can change it, but readable, so
    /// put no secret into it. All answers and kept values of a call together have at most
    /// [`Limits::request_state_bytes_max`](crate::Limits::request_state_bytes_max) bytes; beyond that the call fails with `-32602`. A client that
    /// starts the call again without its request state starts a new call, and `make` runs again.
    ///
    /// ```
    /// use mcp_threads::{RequestContext, ToolError};
    /// # #[derive(serde::Deserialize, mcp_threads::schemars::JsonSchema)]
    /// # #[schemars(crate = "mcp_threads::schemars")]
    /// # struct Confirm { sure: bool }
    /// # fn new_order_number() -> u64 { 7 }
    ///
    /// fn order(cx: &mut RequestContext) -> Result<String, ToolError> {
    ///     let number = cx.keep("number", new_order_number); // once, though the handler runs twice
    ///     let answer = cx.elicit::<Confirm>("sure", &format!("Place order {number}?"))?;
    ///     Ok(match answer.accepted() {
    ///         Some(Confirm { sure: true }) => format!("Order {number} is placed."),
    ///         _ => format!("Order {number} is not placed."),
    ///     })
    /// }
    /// ```
    ///
    /// # Panics
    ///
    /// When the value cannot be written as JSON. As with every panic of a handler, this one call fails.
    pub fn keep<T: Serialize + DeserializeOwned>(
        &mut self,
        key: &str,
        make: impl FnOnce() -> T,
    ) -> T {
        let kept = self.control().kept(key);
        // A value that does not read as this type was kept by another version of the program.
        if let Some(value) = kept.and_then(|kept| serde_json::from_str(kept.get()).ok()) {
            return value;
        }
        let value = make();
        let json = to_raw_value(&value).expect("a kept value can be written as JSON");
        self.control().keep(key, json);
        value
    }

    fn ask(
        &self,
        key: &str,
        method: &'static str,
        params: Value,
        lacking: Option<Value>,
    ) -> Result<Box<RawValue>, AskError> {
        self.control().ask(key, Ask { method, params }, lacking)
    }

    fn elicited<T: DeserializeOwned>(
        &mut self,
        answer: &RawValue,
        rules: &ArgumentRules,
    ) -> Result<Elicited<T>, AskError> {
        #[derive(Deserialize)]
        struct ElicitResult<'a> {
            #[serde(borrow)]
            action: Text<'a>,
            #[serde(borrow)]
            content: Option<&'a RawValue>,
        }
        let ElicitResult { action, content } = serde_json::from_str(answer.get())
            .map_err(|error| AskError::Invalid(Sentence::of(&error)))?;
        match &*action.0 {
            "accept" => {
                // A form in which nothing has to be filled in may come back without one.
                let content = content.map_or("{}", RawValue::get);
                // A derived `Deserialize` also reads a list: its items are the fields in the order of the code.
                if !content.starts_with('{') {
                    return Err(AskError::Invalid("`content` is no object".into()));
                }
                let read = rules.read(content, self.control());
                read.map(|read| Elicited::Accepted(self.charged(read)))
                    .map_err(|unread| AskError::Invalid(unread.into_sentence()))
            }
            "decline" => Ok(Elicited::Declined),
            "cancel" => Ok(Elicited::Dismissed),
            other => Err(AskError::Invalid(format!(
                "unknown action {:?}",
                shortened(other)
            ))),
        }
    }

    fn read<T: DeserializeOwned>(&mut self, answer: &RawValue) -> Result<T, AskError> {
        arguments::read(answer.get(), &self.control().tree_room())
            .map(|read| self.charged(read))
            .map_err(|unread| AskError::Invalid(unread.into_sentence()))
    }
}
