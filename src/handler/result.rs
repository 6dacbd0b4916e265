//! What a handler may return, and how it becomes a [`CallToolResult`].
//!
//! An `Err` becomes a tool error that the model can read and react to, not a protocol error. Must not know how a result is sent.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::ops::Deref;

use serde::Serialize;
use serde_json::Value;

use crate::base::setters::setters;
use crate::handler::ask::AskError;
use crate::handler::control::RequestInfo;
use crate::handler::invoke::NotCalled;
use crate::handler::registration::Reply;
use crate::handler::type_schema::written_schema_of;
use crate::protocol::errors::{ErrorCode, ErrorObject};
use crate::protocol::types::{CallToolResult, ContentBlock};

/// Anything a tool's handler may return: text, numbers, `()`, [`Json`], content blocks, a whole [`CallToolResult`], or a `Result` of these
/// with any error that can be displayed.
///
/// A struct of your own is returned as [`Json`]`(value)`, or as what you say here:
///
/// ```
/// use mcp_threads::{CallToolResult, ErrorObject, IntoToolResult, Server};
///
/// struct Table(Vec<(&'static str, u64)>);
///
/// impl IntoToolResult for Table {
///     fn into_tool_result(self) -> Result<CallToolResult, ErrorObject> {
///         let rows = self.0.iter().map(|(name, count)| format!("| {name} | {count} |\n"));
///         Ok(CallToolResult::text(rows.collect::<String>()))
///     }
/// }
///
/// let mut client = Server::new("shop", "1.0.0")
///     .tool("stock", "What is on the shelves.", || Table(vec![("screws", 120)]))
///     .test_client()?;
/// assert_eq!(client.call("stock", ())?["content"][0]["text"], "| screws | 120 |\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "a tool's handler cannot return `{Self}`",
    note = "return `Json(value)` for a type with `#[derive(serde::Serialize, schemars::JsonSchema)]`; text, numbers, `()`, content blocks and a `Result` of these are returned as they are",
    note = "a handler is no `async fn`: it may block, and returns the value itself"
)]
pub trait IntoToolResult {
    /// The result, or an error for the peer's program.
    ///
    /// # Errors
    ///
    /// Only for a [`ToolError`] that carries an error of the protocol, as one made with [`ToolError::protocol`] does; any other failure is a result with `is_error`.
    fn into_tool_result(self) -> Result<CallToolResult, ErrorObject>;

    /// The schema of the structured content, for types that have some. Default none.
    fn output_schema() -> Option<Value> {
        None
    }
}

/// The reply of a tool call, whatever its handler returned.
pub(crate) fn tool_reply<R: IntoToolResult>(
    _: &RequestInfo,
    output: Result<R, NotCalled>,
) -> Result<Reply, ErrorObject> {
    match output {
        Ok(output) => output.into_tool_result(),
        Err(not_called) => not_called.0.map(CallToolResult::error),
    }
    .map(Reply::Tool)
}

/// Structured content: the value as JSON for programs, and the same JSON as text for clients that only read text.
///
/// The tool's output schema is made from the type. Clients of the handshake era know structured content only as an object, and an object's schema: of a type
/// that is written as a list, a number or `null` they get the text alone, and of one that is not always an object no schema. Return a struct for all to
/// read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Json<T>(pub T);

/// Why a handler failed, in words that the model can read. Make one from a sentence, or let `?` make it from any error.
///
/// A tool's call is then answered with a result whose `isError` is true; a prompt or a resource has no such result, and the client gets a JSON-RPC
/// error with the sentence. Specification: `server/tools` ("Error Handling").
///
/// It is made of everything that can be displayed, `anyhow`'s errors and boxed ones included. An [`ErrorObject`], or an [`AskError`] that the client's
/// program has to mend, stays what it is, however deep it stands in a boxed error, or with the feature `anyhow` in one of `anyhow`'s. Into an error type
/// of your own, or another crate's such as `eyre::Report`, no conversion can look: [`from_error`](Self::from_error) does. So that all these convert, it
/// does not implement `Display` and `Error` itself, but dereferences to an error that does: `error.to_string()` and `error.source()` work, and
/// `Box<dyn Error>` takes it with `?`.
///
/// ```
/// use mcp_threads::ToolError;
/// fn read(path: String) -> Result<String, ToolError> {
///     if path.is_empty() {
///         return Err(ToolError::new("`path` is empty; give the path of a file"));
///     }
///     Ok(std::fs::read_to_string(path)?)
/// }
/// assert!(read(String::new()).is_err());
/// ```
#[derive(Clone, Debug)]
pub struct ToolError(Failure);

#[derive(Clone, Debug)]
enum Failure {
    Tool(String),
    Protocol(ErrorObject),
}

impl ToolError {
    /// A failure with a sentence that tells the model what went wrong and what to try.
    pub fn new(message: impl Into<String>) -> Self {
        ToolError(Failure::Tool(message.into()))
    }

    /// A JSON-RPC error instead of a result: for what the client's program has to mend, not the model.
    pub fn protocol(error: ErrorObject) -> Self {
        ToolError(Failure::Protocol(error))
    }

    /// The error's sentence; or the JSON-RPC error that it or one of its [`source`](Error::source)s is, as an [`AskError`] can be.
    ///
    /// ```
    /// use mcp_threads::{ErrorObject, ToolError};
    /// # #[derive(Debug)]
    /// enum Problem {
    ///     Refused(ErrorObject),
    /// }
    /// # impl std::fmt::Display for Problem {
    /// #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("refused") }
    /// # }
    /// impl std::error::Error for Problem {
    ///     fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
    ///         let Problem::Refused(error) = self;
    ///         Some(error)
    ///     }
    /// }
    /// let problem = Problem::Refused(ErrorObject::new(-32021, "it cannot be asked"));
    /// assert_eq!(ToolError::from_error(&problem).to_string(), "it cannot be asked (-32021)");
    /// ```
    pub fn from_error(error: &(dyn Error + 'static)) -> Self {
        match for_the_program(error) {
            Some(error) => ToolError::protocol(error),
            None => ToolError::new(error.to_string()),
        }
    }

    /// What it is where there is no result to put a sentence in: a prompt or a resource that fails.
    pub(crate) fn into_error_object(self) -> ErrorObject {
        match self.0 {
            Failure::Tool(message) => ErrorObject::new(ErrorCode::INTERNAL_ERROR, message),
            Failure::Protocol(error) => error,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Tool(message) => f.write_str(message),
            Failure::Protocol(error) => error.fmt(f),
        }
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Failure::Tool(_) => None,
            Failure::Protocol(error) => Some(error),
        }
    }
}

impl Deref for ToolError {
    type Target = dyn Error + Send + Sync + 'static;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl From<ToolError> for Box<dyn Error + Send + Sync> {
    fn from(error: ToolError) -> Self {
        Box::new(error.0)
    }
}

impl From<ToolError> for Box<dyn Error> {
    fn from(error: ToolError) -> Self {
        Box::new(error.0)
    }
}

impl<E: fmt::Display + 'static> From<E> for ToolError {
    fn from(error: E) -> Self {
        match as_error(&error).and_then(for_the_program) {
            Some(error) => ToolError::protocol(error),
            None => ToolError::new(error.to_string()),
        }
    }
}

/// What is known to be an error of what can be displayed.
fn as_error(displayed: &dyn Any) -> Option<&(dyn Error + 'static)> {
    if let Some(error) = displayed.downcast_ref::<AskError>() {
        return Some(error);
    }
    if let Some(error) = displayed.downcast_ref::<ErrorObject>() {
        return Some(error);
    }
    #[cfg(feature = "anyhow")]
    if let Some(error) = displayed.downcast_ref::<anyhow::Error>() {
        return Some(&**error);
    }
    if let Some(boxed) = displayed.downcast_ref::<Box<dyn Error + Send + Sync>>() {
        return Some(&**boxed);
    }
    displayed.downcast_ref::<Box<dyn Error>>().map(|it| &**it)
}

/// The JSON-RPC error that an error is, or that it was made from: such a one is for the client's program, however it is wrapped.
fn for_the_program(error: &(dyn Error + 'static)) -> Option<ErrorObject> {
    let mut chain = std::iter::successors(Some(error), |error| (*error).source());
    chain.find_map(|error| {
        let ask = error.downcast_ref::<AskError>();
        ask.and_then(AskError::protocol_error)
            .or_else(|| error.downcast_ref::<ErrorObject>().cloned())
    })
}

impl CallToolResult {
    /// A result of one text block.
    pub fn text(text: impl Into<String>) -> Self {
        CallToolResult {
            content: vec![ContentBlock::text(text)],
            ..Self::default()
        }
    }

    /// A failure that the model can read.
    pub fn error(message: impl Into<String>) -> Self {
        CallToolResult {
            is_error: true,
            ..Self::text(message)
        }
    }

    setters! {
        /// The same with a `_meta` object.
        with_meta(meta: serde_json::Map<String, Value>) => meta = Some(meta);
    }

    /// The same with one more content block.
    #[must_use]
    pub fn with_content(mut self, block: ContentBlock) -> Self {
        self.content.push(block);
        self
    }

    /// Any JSON value, mirrored as text.
    pub fn structured(value: Value) -> Self {
        let text = value.to_string();
        CallToolResult {
            structured_content: Some(value),
            ..Self::text(text)
        }
    }
}

/// Implements the conversion of what handlers return, for types of which one expression makes the result.
macro_rules! conversions {
    ($trait:ident::$into:ident -> $result:ty; $($(#[$doc:meta])* $type:ty: $value:ident => $made:expr;)+) => {$(
        $(#[$doc])*
        impl $trait for $type {
            fn $into(self) -> Result<$result, ErrorObject> {
                let $value = self;
                Ok($made)
            }
        }
    )+};
}
pub(crate) use conversions;

conversions! {
    IntoToolResult::into_tool_result -> CallToolResult;
    CallToolResult: result => result;
    (): _nothing => CallToolResult::default();
    String: text => CallToolResult::text(text);
    &'static str: text => CallToolResult::text(text);
    /// Structured content without a schema.
    Value: value => CallToolResult::structured(value);
    ContentBlock: block => CallToolResult::default().with_content(block);
    Vec<ContentBlock>: content => CallToolResult { content, ..CallToolResult::default() };
}

macro_rules! as_text {
    ($($type:ty)+) => { conversions! { IntoToolResult::into_tool_result -> CallToolResult; $($type: value => CallToolResult::text(value.to_string());)+ } };
}

as_text!(i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize f32 f64 bool char);

impl<T: Serialize + schemars::JsonSchema> IntoToolResult for Json<T> {
    fn into_tool_result(self) -> Result<CallToolResult, ErrorObject> {
        match serde_json::to_value(self.0) {
            Ok(value) => Ok(CallToolResult::structured(value)),
            Err(error) => Ok(CallToolResult::error(format!(
                "The tool's result is not JSON: {error}"
            ))),
        }
    }

    fn output_schema() -> Option<Value> {
        let schema = written_schema_of::<T>();
        // A type that is any JSON at all says nothing worth declaring.
        let says_something = schema
            .as_object()
            .is_some_and(|members| members.keys().any(|key| key != "title"));
        says_something.then_some(schema)
    }
}

impl<T: IntoToolResult, E: Into<ToolError>> IntoToolResult for Result<T, E> {
    fn into_tool_result(self) -> Result<CallToolResult, ErrorObject> {
        match self.map_err(|error| error.into().0) {
            Ok(value) => value.into_tool_result(),
            Err(Failure::Tool(message)) => Ok(CallToolResult::error(message)),
            Err(Failure::Protocol(error)) => Err(error),
        }
    }

    fn output_schema() -> Option<Value> {
        T::output_schema()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wire(result: impl IntoToolResult) -> Value {
        match result.into_tool_result() {
            Ok(result) => serde_json::to_value(result).expect("a result is JSON"),
            Err(error) => json!({ "code": error.code }),
        }
    }

    #[test]
    fn every_return_type_has_its_result() {
        let text = |text: &str| json!({"content": [{"type": "text", "text": text}]});
        let failure =
            |text: &str| json!({"content": [{"type": "text", "text": text}], "isError": true});
        let structured =
            json!({"content": [{"type": "text", "text": "[1,2]"}], "structuredContent": [1, 2]});
        let foreign: Result<(), std::num::ParseIntError> = "x".parse::<u8>().map(drop);
        let protocol: Result<(), ToolError> = Err(ToolError::protocol(ErrorObject::new(7, "m")));
        let rows = [
            (wire("a"), text("a")),
            (wire(String::from("b")), text("b")),
            (wire(-3), text("-3")),
            (wire(1.5), text("1.5")),
            (wire(true), text("true")),
            (wire(()), json!({"content": []})),
            (wire(Json(vec![1, 2])), structured),
            (wire(Ok::<_, String>("c")), text("c")),
            (wire(Err::<(), _>("why".to_owned())), failure("why")),
            (wire(foreign), failure("invalid digit found in string")),
            (
                wire(Err::<(), _>(ToolError::new("prose"))),
                failure("prose"),
            ),
            (wire(protocol), json!({"code": 7})),
        ];
        for (got, expected) in rows {
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn a_tool_error_is_printed_and_chained_and_comes_back_out_of_a_box() {
        let own = || ToolError::protocol(ErrorObject::new(7, "own"));
        assert_eq!(ToolError::new("prose").to_string(), "prose");
        assert!(ToolError::new("prose").source().is_none());
        let source = own().source().map(ToString::to_string);
        assert_eq!(source.as_deref(), Some("own (7)"));
        let boxed: [ToolError; 2] = [
            Box::<dyn Error>::from(own()).into(),
            Box::<dyn Error + Send + Sync>::from(own()).into(),
        ];
        for error in boxed {
            assert_eq!(error.into_error_object().code, 7);
        }
    }

    #[cfg(feature = "anyhow")]
    #[test]
    fn a_code_comes_back_out_of_anyhow() {
        let own = || anyhow::Error::from(ErrorObject::new(7, "own"));
        let unable = AskError::Unsupported {
            era: crate::protocol::version::Era::Modern,
            required: json!({ "roots": {} }),
        };
        let rows = [
            (wire(Err::<(), _>(own())), json!({ "code": 7 })),
            (
                wire(Err::<(), _>(own().context("a").context("b"))),
                json!({ "code": 7 }),
            ),
            (
                wire(Err::<(), _>(anyhow::Error::from(unable).context("a"))),
                json!({ "code": -32021 }),
            ),
            (
                wire(Err::<(), _>(anyhow::anyhow!("inner").context("outer"))),
                wire(Err::<(), _>("outer")),
            ),
        ];
        for (got, expected) in rows {
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn only_a_type_that_says_something_has_an_output_schema() {
        assert_eq!(<Json<Value>>::output_schema(), None);
        assert_eq!(String::output_schema(), None);
        let schema = <Result<Json<Vec<u8>>, String>>::output_schema().expect("a list has a schema");
        assert_eq!(schema["type"], "array");
    }
}
