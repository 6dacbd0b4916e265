//! [`Prompt`], a template of messages that a person picks: what clients see of it, and the handler that fills it in.
//!
//! Must not know how a call is dispatched. Specification: `server/prompts` of revision 2026-07-28.

use std::sync::Arc;

use schemars::JsonSchema;
use serde_json::{Map, Value};

use crate::base::setters::setters;
use crate::handler::arguments::ArgumentRules;
use crate::handler::completion::complete;
use crate::handler::draft::{Draft, completed_settings, registers, shared_settings};
use crate::handler::fork::Fork;
use crate::handler::invoke::{Handler, erase};
use crate::handler::registration::{Register, Registration, Reply};
use crate::handler::result::{ToolError, conversions};
use crate::handler::shown::Shown;
use crate::handler::text_arguments::text_arguments;
use crate::protocol::errors::ErrorObject;
use crate::protocol::offer::OfferKind;
use crate::protocol::results::{Completion, GetPromptResult, PromptMessage};
use crate::protocol::types::{ContentBlock, Icon, Role};

/// A prompt: messages that the user picks by name, with arguments, and the handler that makes them. Specification: `server/prompts`.
///
/// The prompt's arguments are the fields of the handler's argument type; on the wire they are all strings.
///
/// ```
/// use mcp_threads::{Prompt, Server};
///
/// #[derive(serde::Deserialize, mcp_threads::schemars::JsonSchema)]
/// #[schemars(crate = "mcp_threads::schemars")]
/// struct Review {
///     /// The language the code is written in.
///     language: String,
/// }
///
/// let review = Prompt::new("review")
///     .description("Asks for a code review.")
///     .complete("language", || vec!["rust", "lua"])
///     .handler(|args: Review| format!("Review this {} code.", args.language));
/// Server::new("reviews", "1.0.0").register(review);
/// ```
pub struct Prompt<S = ()> {
    draft: Draft<S>,
}

registers!(Prompt);

impl<S: Fork + Send + Sync + 'static> Prompt<S> {
    /// A prompt with this name, unique among the server's prompts.
    pub fn new(name: impl Into<String>) -> Self {
        Prompt {
            draft: Draft::named(name),
        }
    }

    shared_settings!(
        "What the prompt is for.",
        "The lane whose workers run it and its completers. Default `main`."
    );
    completed_settings!("an argument");

    /// Its arguments by the properties of a JSON Schema, instead of those made from the handler's type. Call it after [`handler`](Self::handler). Each is
    /// text, whatever type its property has.
    #[must_use]
    pub fn arguments_schema(mut self, schema: &Value) -> Self {
        let mut texts = schema.clone();
        if let Some(properties) = texts["properties"].as_object_mut() {
            for property in properties.values_mut().filter_map(Value::as_object_mut) {
                property.insert("type".to_owned(), "string".into());
            }
        }
        self.draft.shown.arguments = text_arguments(&texts);
        self
    }

    /// The function that makes the messages; see [`Handler`] for its shapes and [`IntoPromptResult`] for what it may return. The fields of its
    /// argument type become the prompt's arguments, with their doc comments as descriptions; they are strings, and `Option`s of strings.
    /// A field that no string can fill is an error at start.
    #[must_use]
    pub fn handler<Shape: 'static, H: Handler<S, Shape>>(mut self, handler: H) -> Self
    where
        H::Arguments: JsonSchema,
        H::Output: IntoPromptResult,
    {
        let schema = H::arguments_schema();
        self.draft.shown.arguments = text_arguments(&schema);
        self.draft.rules = Arc::new(ArgumentRules::read_by(schema));
        self.draft.handler = Some(erase(handler, |_, output| match output {
            Ok(output) => output.into_prompt_result().map(Reply::Prompt),
            Err(not_called) => Err(ErrorObject::invalid_params(not_called.0?)),
        }));
        self
    }
}

impl<S> Prompt<S> {
    pub(crate) fn into_registration(self, template: &Arc<S>) -> Result<Registration, String> {
        let Shown {
            name, arguments, ..
        } = &self.draft.shown;
        if name.is_empty() {
            return Err("a prompt needs a name".into());
        }
        let known = arguments.iter().map(|argument| argument.name.as_str());
        if let Some(problem) = self.draft.text_problem(arguments, known, "arguments") {
            return Err(format!("prompt `{name}`: {problem}"));
        }
        self.draft.register(OfferKind::Prompt, template)
    }
}

/// Anything a prompt's handler may return: text (one message of the user's), messages, a whole [`GetPromptResult`], or a `Result` of these.
/// You may implement it for types of your own.
#[diagnostic::on_unimplemented(
    message = "a prompt's handler cannot return `{Self}`",
    note = "return text, a `PromptMessage`, a list of them, a `GetPromptResult`, or a `Result` of these",
    note = "a handler is no `async fn`: it may block, and returns the value itself"
)]
pub trait IntoPromptResult {
    /// The result.
    ///
    /// # Errors
    ///
    /// What the client's program is told instead: an internal error with the sentence of a [`ToolError`], or the error of
    /// [`ToolError::protocol`].
    fn into_prompt_result(self) -> Result<GetPromptResult, ErrorObject>;
}

conversions! {
    IntoPromptResult::into_prompt_result -> GetPromptResult;
    GetPromptResult: result => result;
    Vec<PromptMessage>: messages => messages.into();
    PromptMessage: message => vec![message].into();
    ContentBlock: block => vec![PromptMessage::new(Role::User, block)].into();
    String: text => vec![PromptMessage::user(text)].into();
    &'static str: text => vec![PromptMessage::user(text)].into();
}

impl<T: IntoPromptResult, E: Into<ToolError>> IntoPromptResult for Result<T, E> {
    fn into_prompt_result(self) -> Result<GetPromptResult, ErrorObject> {
        self.map_err(|error| error.into().into_error_object())?
            .into_prompt_result()
    }
}
