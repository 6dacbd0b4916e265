//! From raw arguments to a handler's typed call, and from what it returns to a result.
//!
//! The shapes a handler may have are the implementations of [`Handler`]; [`erase`] turns any of them into the one shape that the engine
//! calls. Must not know who calls it, or on which thread.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::handler::context::{CallControl, RequestContext};
use crate::handler::fork::Fork;
use crate::handler::result::IntoToolResult;
use crate::protocol::jsonrpc::ErrorObject;
use crate::protocol::types::CallToolResult;

/// A function that can be a tool's handler. You do not implement it; these shapes do:
///
/// - `|| -> R`
/// - `|args: A| -> R`
/// - `|cx: &mut RequestContext<S>| -> R`
/// - `|cx: &mut RequestContext<S>, args: A| -> R`
///
/// where `A` is a type with `serde::Deserialize` and `schemars::JsonSchema` (or `serde_json::Value` beside a hand-written schema), `R` is
/// [`IntoToolResult`] and `S` is the server's state. The context's type must be written out, so that the compiler sees its lifetime.
///
/// A handler is called on a worker thread of its tool's lane, by several threads at once. It may block. What it returns is the answer; a
/// panic in it is a generic internal error for this one call, and the worker lives on.
#[diagnostic::on_unimplemented(
    message = "this function cannot be the handler of a tool on a `Server<{S}>`",
    note = "a handler is `|| -> R`, `|args: A| -> R`, `|cx: &mut RequestContext<{S}>| -> R` or `|cx: &mut RequestContext<{S}>, args: A| -> R`, with every argument's type written out",
    note = "`A` needs `serde::Deserialize` and `schemars::JsonSchema` and owns what it holds; `R` is anything that implements `IntoToolResult`"
)]
pub trait Handler<S, Shape>: Send + Sync + 'static {
    /// The schema of the arguments, as an object.
    #[doc(hidden)]
    fn input_schema() -> Value;

    /// The schema of the structured content, if the return type has one.
    #[doc(hidden)]
    fn output_schema() -> Option<Value>;

    /// Calls the function.
    #[doc(hidden)]
    fn call(
        &self,
        cx: &mut RequestContext<S>,
        arguments: &RawValue,
    ) -> Result<CallToolResult, ErrorObject>;
}

/// A handler with everything but the call filled in: what the engine stores and runs.
pub(crate) trait Invoke: Send + Sync {
    /// Forks the state and calls the handler, on the caller's thread. Panics when the fork or the handler does.
    fn invoke(
        &self,
        call: Arc<dyn CallControl>,
        arguments: &RawValue,
    ) -> Result<CallToolResult, ErrorObject>;
}

/// Joins a handler with the template that each of its calls forks.
pub(crate) fn erase<S, Shape, H>(handler: H) -> impl FnOnce(Arc<S>) -> Box<dyn Invoke>
where
    S: Fork + Send + Sync + 'static,
    Shape: 'static,
    H: Handler<S, Shape>,
{
    struct Erased<S, Shape, H> {
        template: Arc<S>,
        handler: H,
        shape: std::marker::PhantomData<fn() -> Shape>,
    }
    impl<S, Shape, H> Invoke for Erased<S, Shape, H>
    where
        S: Fork + Send + Sync,
        H: Handler<S, Shape>,
    {
        fn invoke(
            &self,
            call: Arc<dyn CallControl>,
            arguments: &RawValue,
        ) -> Result<CallToolResult, ErrorObject> {
            let mut cx = RequestContext::new(S::fork(&self.template), call);
            self.handler.call(&mut cx, arguments)
        }
    }
    move |template| {
        Box::new(Erased {
            template,
            handler,
            shape: std::marker::PhantomData,
        })
    }
}

impl<S, F, R> Handler<S, fn() -> R> for F
where
    F: Fn() -> R + Send + Sync + 'static,
    R: IntoToolResult,
{
    fn input_schema() -> Value {
        no_arguments()
    }

    fn output_schema() -> Option<Value> {
        R::output_schema()
    }

    fn call(&self, _: &mut RequestContext<S>, _: &RawValue) -> Result<CallToolResult, ErrorObject> {
        self().into_tool_result()
    }
}

impl<S, F, R> Handler<S, fn(&mut RequestContext<S>) -> R> for F
where
    S: 'static,
    F: Fn(&mut RequestContext<S>) -> R + Send + Sync + 'static,
    R: IntoToolResult,
{
    fn input_schema() -> Value {
        no_arguments()
    }

    fn output_schema() -> Option<Value> {
        R::output_schema()
    }

    fn call(
        &self,
        cx: &mut RequestContext<S>,
        _: &RawValue,
    ) -> Result<CallToolResult, ErrorObject> {
        self(cx).into_tool_result()
    }
}

impl<S, F, A, R> Handler<S, fn(A) -> R> for F
where
    F: Fn(A) -> R + Send + Sync + 'static,
    A: DeserializeOwned + JsonSchema,
    R: IntoToolResult,
{
    fn input_schema() -> Value {
        schema_of::<A>()
    }

    fn output_schema() -> Option<Value> {
        R::output_schema()
    }

    fn call(
        &self,
        _: &mut RequestContext<S>,
        arguments: &RawValue,
    ) -> Result<CallToolResult, ErrorObject> {
        match read(arguments) {
            Ok(arguments) => self(arguments).into_tool_result(),
            Err(refused) => Ok(refused),
        }
    }
}

impl<S, F, A, R> Handler<S, fn(&mut RequestContext<S>, A) -> R> for F
where
    S: 'static,
    F: Fn(&mut RequestContext<S>, A) -> R + Send + Sync + 'static,
    A: DeserializeOwned + JsonSchema,
    R: IntoToolResult,
{
    fn input_schema() -> Value {
        schema_of::<A>()
    }

    fn output_schema() -> Option<Value> {
        R::output_schema()
    }

    fn call(
        &self,
        cx: &mut RequestContext<S>,
        arguments: &RawValue,
    ) -> Result<CallToolResult, ErrorObject> {
        match read(arguments) {
            Ok(arguments) => self(cx, arguments).into_tool_result(),
            Err(refused) => Ok(refused),
        }
    }
}

/// The schema of a handler that takes none. What a client sends all the same does no harm and is ignored.
fn no_arguments() -> Value {
    json!({ "type": "object", "additionalProperties": false })
}

/// The schema a type's arguments have. A type that takes any JSON takes any object, because arguments always are one.
fn schema_of<A: JsonSchema>() -> Value {
    let mut schema = schemars::schema_for!(A).to_value();
    match schema.as_object_mut() {
        Some(members) => {
            members.remove("$schema");
            if !members.contains_key("type") && !members.contains_key("$ref") {
                members.insert("type".into(), "object".into());
            }
            schema
        }
        None => json!({ "type": "object" }),
    }
}

/// Reads the arguments, or makes the tool error that tells the model what is wrong with them.
fn read<A: DeserializeOwned>(arguments: &RawValue) -> Result<A, CallToolResult> {
    serde_json::from_str(arguments.get())
        .map_err(|error| CallToolResult::error(format!("Invalid arguments: {error}")))
}
