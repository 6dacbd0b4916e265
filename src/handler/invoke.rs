//! From raw arguments to a handler's typed call, and from what it returns to a result.
//!
//! The shapes a handler may have are the implementations of [`Handler`]; [`erase`] turns any of them into the one shape that the engine
//! calls. Must not know who calls it, or on which thread.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::handler::arguments::ArgumentRules;
use crate::handler::context::RequestContext;
use crate::handler::control::{CallControl, RequestInfo};
use crate::handler::fork::Fork;
use crate::handler::registration::{BoundHandler, Reply};
use crate::handler::type_schema;
use crate::handler::workspace::WorkspaceParam;
use crate::protocol::errors::ErrorObject;
use crate::protocol::tree::{TreeCharge, Unread};

/// A function that can be a handler. These shapes are:
///
/// - `|| -> R`
/// - `|args: A| -> R`
/// - `|cx: &mut RequestContext<S>| -> R`
/// - `|cx: &mut RequestContext<S>, args: A| -> R`
/// - `|cx: &mut RequestContext<S>, workspace: &mut W, args: A| -> R`, and the same with `&W`, in a workspace
///
/// where `A` is a struct with `serde::Deserialize` and `schemars::JsonSchema` (or `serde_json::Value`, with a hand-written schema or for a tool
/// without arguments) and `S` is the server's state. Arguments are always a JSON object, so a tool whose `A` is a number, a string or a list does
/// not start. What `R` may be depends on what the handler is for: [`IntoToolResult`](crate::IntoToolResult),
/// [`IntoPromptResult`](crate::IntoPromptResult), [`IntoResourceResult`](crate::IntoResourceResult) or `Into<`[`Completion`](crate::Completion)`>`.
/// The context's type must be written out, so that the compiler sees its lifetime.
///
/// A handler is called on a worker thread of its lane, by several threads at once, and may block; that of a tool which is
/// [`inline`](crate::Tool::inline) is called on the thread that has read the request, and must not wait. What it returns is the answer; a
/// panic in it is a generic internal error for this one call, and the thread lives on.
///
/// The trait is sealed: nobody but the library implements it. A function that passes handlers on names what it takes like this:
///
/// ```
/// use mcp_threads::schemars::JsonSchema;
/// use mcp_threads::{Handler, IntoToolResult, Server};
///
/// fn diagnostic<Shape: 'static, H: Handler<(), Shape>>(server: Server, name: &str, handler: H) -> Server
/// where
///     H::Arguments: JsonSchema,
///     H::Output: IntoToolResult,
/// {
///     server.tool(name, "Says how the program is.", handler)
/// }
/// diagnostic(Server::new("engine", "1.0.0"), "uptime", || 42);
/// ```
#[diagnostic::on_unimplemented(
    message = "this function cannot be a handler on a `Server<{S}>`",
    note = "a handler is `|| -> R`, `|args: A| -> R`, `|cx: &mut RequestContext<{S}>| -> R` or `|cx: &mut RequestContext<{S}>, args: A| -> R`: in this order, with every argument's type written out, and not `async`",
    note = "if it is one of these already, its `A` has no `serde::Deserialize`: `A` is a struct with `#[derive(serde::Deserialize, schemars::JsonSchema)]` that owns what it holds",
    note = "the `S` of `RequestContext<S>` has to be the server's state: call `with_state` before registering handlers that use it"
)]
pub trait Handler<S, Shape>: Send + Sync + 'static {
    /// What the function takes of a call's arguments; `()` where it takes none.
    type Arguments;

    /// What the function returns.
    type Output;

    /// The schema of the arguments, as an object.
    #[doc(hidden)]
    fn arguments_schema() -> Value
    where
        Self::Arguments: JsonSchema,
    {
        type_schema::schema_of::<Self::Arguments>()
    }

    /// The workspace's value that the function takes, if it takes one.
    #[doc(hidden)]
    fn workspace() -> Option<WorkspaceParam> {
        None
    }

    /// Calls the function, with a context around a fork of the template if it takes one. Seals the trait: what it takes has no name elsewhere.
    #[doc(hidden)]
    fn call(&self, template: &S, invocation: Invocation<'_>) -> Result<Self::Output, NotCalled>;
}

/// One call of a handler.
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "nobody can name it")]
pub struct Invocation<'a> {
    pub(crate) call: &'a Arc<dyn CallControl>,
    pub(crate) arguments: &'a RawValue,
    pub(crate) rules: &'a ArgumentRules,
}

/// Why a handler was not called: what its caller can put right, in a sentence; or else the error that asks it to come again.
#[doc(hidden)]
#[derive(Debug)]
pub struct NotCalled(pub(crate) Result<String, ErrorObject>);

impl From<Unread> for NotCalled {
    fn from(unread: Unread) -> Self {
        NotCalled(match unread {
            Unread::NoMemory => Err(ErrorObject::no_memory()),
            other => Ok(format!("Invalid arguments: {}", other.into_sentence())),
        })
    }
}

/// Makes the handler that the engine stores, once the server's state, and what the arguments are held to, are known.
pub(crate) type Build<S> =
    Box<dyn FnOnce(Arc<S>, Arc<ArgumentRules>) -> BoundHandler + Send + Sync>;

/// Joins a handler with the template that each of its calls forks, and with `finish`, which turns what it returned into the reply.
pub(crate) fn erase<S, Shape, H, F>(handler: H, finish: F) -> Build<S>
where
    S: Fork + Send + Sync + 'static,
    Shape: 'static,
    H: Handler<S, Shape>,
    F: Fn(&RequestInfo, Result<H::Output, NotCalled>) -> Result<Reply, ErrorObject>,
    F: Send + Sync + 'static,
{
    Box::new(move |template, rules| {
        BoundHandler::new(move |call, arguments| {
            let invocation = Invocation {
                call: &call,
                arguments,
                rules: &rules,
            };
            finish(call.info(), handler.call(&template, invocation))
        })
    })
}

impl<S, F, R> Handler<S, fn() -> R> for F
where
    F: Fn() -> R + Send + Sync + 'static,
{
    type Arguments = ();
    type Output = R;

    fn arguments_schema() -> Value {
        no_arguments()
    }

    fn call(&self, _: &S, invocation: Invocation<'_>) -> Result<R, NotCalled> {
        let (IgnoredAny, _) = invocation.read()?;
        Ok(self())
    }
}

impl<S, F, R> Handler<S, fn(&mut RequestContext<S>) -> R> for F
where
    S: Fork + 'static,
    F: Fn(&mut RequestContext<S>) -> R + Send + Sync + 'static,
{
    type Arguments = ();
    type Output = R;

    fn arguments_schema() -> Value {
        no_arguments()
    }

    fn call(&self, template: &S, invocation: Invocation<'_>) -> Result<R, NotCalled> {
        let (IgnoredAny, _) = invocation.read()?;
        Ok(self(&mut invocation.context(template)))
    }
}

impl<S, F, A, R> Handler<S, fn(A) -> R> for F
where
    F: Fn(A) -> R + Send + Sync + 'static,
    A: DeserializeOwned,
{
    type Arguments = A;
    type Output = R;

    fn call(&self, _: &S, invocation: Invocation<'_>) -> Result<R, NotCalled> {
        let (arguments, _charged) = invocation.read()?;
        Ok(self(arguments))
    }
}

impl<S, F, A, R> Handler<S, fn(&mut RequestContext<S>, A) -> R> for F
where
    S: Fork + 'static,
    F: Fn(&mut RequestContext<S>, A) -> R + Send + Sync + 'static,
    A: DeserializeOwned,
{
    type Arguments = A;
    type Output = R;

    fn call(&self, template: &S, invocation: Invocation<'_>) -> Result<R, NotCalled> {
        let (arguments, _charged) = invocation.read()?;
        Ok(self(&mut invocation.context(template), arguments))
    }
}

impl Invocation<'_> {
    pub(crate) fn context<S: Fork>(&self, template: &S) -> RequestContext<S> {
        RequestContext::new(template.fork(), Arc::clone(self.call))
    }

    /// Reads the arguments. What they take is charged for as long as the handler runs.
    pub(crate) fn read<A: DeserializeOwned>(&self) -> Result<(A, Option<TreeCharge>), NotCalled> {
        let read = self.rules.read(self.arguments.get(), &**self.call);
        read.map_err(Into::into)
    }
}

/// The schema of a handler that takes none. What a client sends all the same does no harm and is ignored.
fn no_arguments() -> Value {
    json!({ "type": "object", "properties": {}, "additionalProperties": false })
}
