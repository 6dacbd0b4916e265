//! [`Prompt`], a template of messages that a person picks: what clients see of it, and the handler that fills it in.
//!
//! Must not know how a call is dispatched. Specification: `server/prompts` of revision 2026-07-28.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::handler::completion::complete;
use crate::handler::draft::{Draft, drafts};
use crate::handler::fork::Fork;
use crate::handler::invoke::{BadArguments, Build, Handler, erase};
use crate::handler::reply::Reply;
use crate::handler::result::ToolError;
use crate::handler::text_arguments::{TextArgument, text_arguments, unfillable};
use crate::handler::tool::MAIN_LANE;
use crate::protocol::jsonrpc::ErrorObject;
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
    definition: Definition,
    lane: Arc<str>,
    handler: Option<Build<S>>,
    completers: Vec<(String, Build<S>)>,
}

/// A prompt as `prompts/list` shows it.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Definition {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    icons: Vec<Icon>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) arguments: Vec<TextArgument>,
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    meta: Option<Map<String, Value>>,
}

impl<S: Fork + Send + Sync + 'static> Prompt<S> {
    /// A prompt with this name, unique among the server's prompts.
    pub fn new(name: impl Into<String>) -> Self {
        Prompt {
            definition: Definition {
                name: name.into(),
                ..Definition::default()
            },
            lane: MAIN_LANE.into(),
            handler: None,
            completers: Vec::new(),
        }
    }

    /// A name for people.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.definition.title = Some(title.into());
        self
    }

    /// What the prompt is for.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.definition.description = Some(description.into());
        self
    }

    /// Adds an icon.
    #[must_use]
    pub fn icon(mut self, icon: Icon) -> Self {
        self.definition.icons.push(icon);
        self
    }

    /// A `_meta` object for the definition.
    #[must_use]
    pub fn meta(mut self, meta: Map<String, Value>) -> Self {
        self.definition.meta = Some(meta);
        self
    }

    /// The lane whose workers run it and its completers. Default `main`.
    #[must_use]
    pub fn lane(mut self, name: &str) -> Self {
        self.lane = name.into();
        self
    }

    /// Suggests values for an argument while the user types. The handler takes nothing or a [`Completing`](crate::Completing), and its values are
    /// sent as they are: leave out those that do not fit what was typed. Specification: `server/utilities/completion`.
    #[must_use]
    pub fn complete<Shape: 'static, H: Handler<S, Shape>>(
        mut self,
        argument: impl Into<String>,
        handler: H,
    ) -> Self
    where
        H::Output: Into<Completion>,
    {
        self.completers.push((argument.into(), complete(handler)));
        self
    }

    /// The function that makes the messages; see [`Handler`] for its shapes and [`IntoPromptResult`] for what it may return. The fields of its
    /// argument type become the prompt's arguments, with their doc comments as descriptions; they are strings, and `Option`s of strings.
    /// A field that no string can fill is an error at start.
    #[must_use]
    pub fn handler<Shape: 'static, H: Handler<S, Shape>>(mut self, handler: H) -> Self
    where
        H::Output: IntoPromptResult,
    {
        self.definition.arguments = text_arguments(&H::arguments_schema());
        self.handler = Some(erase(handler, |_, output| match output {
            Ok(output) => output.into_prompt_result().map(Reply::Prompt),
            Err(BadArguments(problem)) => Err(ErrorObject::invalid_params(problem)),
        }));
        self
    }
}

impl Definition {
    /// What is wrong with it, in a sentence that says what to change.
    pub(crate) fn problem(&self, completed: &[String]) -> Option<String> {
        let name = &self.name;
        if name.is_empty() {
            return Some("a prompt needs a name".into());
        }
        if let Some(problem) = unfillable(&self.arguments) {
            return Some(format!("prompt `{name}`: {problem}"));
        }
        let known = |argument: &String| self.arguments.iter().any(|known| known.name == *argument);
        let stranger = completed.iter().find(|argument| !known(argument))?;
        Some(format!(
            "prompt `{name}` completes `{stranger}`, which is not one of its arguments"
        ))
    }
}

impl<S> Prompt<S> {
    /// What clients are shown, what is run, and what completes it.
    pub(crate) fn parts(self, template: &Arc<S>) -> (Definition, Draft, Vec<(String, Draft)>) {
        let name = &self.definition.name;
        let completers = drafts(name, &self.lane, self.completers, template);
        let draft = Draft::new(name, self.lane, self.handler, template);
        (self.definition, draft, completers)
    }
}

/// Anything a prompt's handler may return: text (one message of the user's), messages, a whole [`GetPromptResult`], or a `Result` of these.
#[diagnostic::on_unimplemented(
    message = "a prompt's handler cannot return `{Self}`",
    note = "return text, a `PromptMessage`, a list of them, a `GetPromptResult`, or a `Result` of these"
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

impl IntoPromptResult for GetPromptResult {
    fn into_prompt_result(self) -> Result<GetPromptResult, ErrorObject> {
        Ok(self)
    }
}

impl IntoPromptResult for Vec<PromptMessage> {
    fn into_prompt_result(self) -> Result<GetPromptResult, ErrorObject> {
        Ok(GetPromptResult {
            messages: self,
            ..GetPromptResult::default()
        })
    }
}

impl IntoPromptResult for PromptMessage {
    fn into_prompt_result(self) -> Result<GetPromptResult, ErrorObject> {
        vec![self].into_prompt_result()
    }
}

impl IntoPromptResult for ContentBlock {
    fn into_prompt_result(self) -> Result<GetPromptResult, ErrorObject> {
        PromptMessage::new(Role::User, self).into_prompt_result()
    }
}

impl IntoPromptResult for String {
    fn into_prompt_result(self) -> Result<GetPromptResult, ErrorObject> {
        PromptMessage::user(self).into_prompt_result()
    }
}

impl IntoPromptResult for &'static str {
    fn into_prompt_result(self) -> Result<GetPromptResult, ErrorObject> {
        PromptMessage::user(self).into_prompt_result()
    }
}

impl<T: IntoPromptResult, E: Into<ToolError>> IntoPromptResult for Result<T, E> {
    fn into_prompt_result(self) -> Result<GetPromptResult, ErrorObject> {
        self.map_err(|error| error.into().into_error_object())?
            .into_prompt_result()
    }
}
