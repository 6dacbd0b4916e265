//! [`Tool`], a tool's definition: what clients see of it, where it runs, and its handler.
//!
//! Definitions are checked when the server starts, not at the first call. Must not know how a call is dispatched.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::base::log;
use crate::base::setters::setters;
use crate::handler::arguments::ArgumentRules;
#[cfg(feature = "validate")]
use crate::handler::checked::checked;
use crate::handler::draft::{Draft, registers, shared_settings};
use crate::handler::fork::Fork;
use crate::handler::invoke::{Build, Handler, erase};
use crate::handler::portable::{of_result, one_object, or_a_job};
use crate::handler::registration::{
    BACKGROUND, Callable, DeskNeeds, Execution, Register, Registration, Reply, WORKSPACE,
};
use crate::handler::result::{IntoToolResult, ToolError, tool_reply};
use crate::handler::schema_check::{promises, refused, schema_slip};
use crate::handler::shown::{Hints, Shown};
use crate::handler::workspace::AccessMode;
use crate::protocol::offer::OfferKind;
use crate::protocol::param_headers::ParamHeaders;
use crate::protocol::types::{Icon, ToolAnnotations};

/// The longest name that every client takes.
const NAME_LEN_PORTABLE: usize = 64;
/// The longest description that every client takes.
const DESCRIPTION_LEN_PORTABLE: usize = 1024;

/// A tool: its name, what clients are told about it, the lane it runs on, and its handler.
///
/// ```
/// use mcp_threads::serde_json::{Value, json};
/// use mcp_threads::{Server, Tool};
///
/// let lookup = Tool::new("lookup")
///     .title("Look something up")
///     .description("Looks a word up in the dictionary.")
///     .input_schema(json!({
///         "type": "object",
///         "properties": { "word": { "type": "string" } },
///         "required": ["word"]
///     }))
///     .read_only(true)
///     .handler(|args: Value| format!("{} is a word", args["word"]));
/// Server::new("dictionary", "1.0.0").register(lookup);
/// ```
///
/// Specification: `server/tools` ("Tool").
pub struct Tool<S = ()> {
    draft: Draft<S>,
    desk: DeskNeeds,
    before_job: Option<Build<S>>,
    liveness: Option<Duration>,
    hints: ToolAnnotations,
    /// Whether its author wrote the schema, and it was not made from the handler's type.
    is_input_written: bool,
    is_output_written: bool,
    is_as_is: bool,
}

registers!(Tool);

impl<S: Fork + Send + Sync + 'static> Tool<S> {
    /// A tool with this name: 1 to 128 of `A-Z a-z 0-9 _ - .`, unique in its server.
    pub fn new(name: impl Into<String>) -> Self {
        Tool {
            draft: Draft::named(name),
            desk: DeskNeeds::default(),
            before_job: None,
            liveness: None,
            hints: ToolAnnotations::default(),
            is_input_written: false,
            is_output_written: false,
            is_as_is: false,
        }
    }

    shared_settings!(
        "What the tool does, for the model that decides whether to call it.",
        "The lane whose workers run the tool. Default `main`. `urgent` is there for diagnostics that must answer when `main` is full."
    );

    /// A hand-written JSON Schema for the arguments, instead of that made from the handler's type. It reaches clients unchanged,
    /// except that clients of the handshake era see `{}` for a property that is `true`, because they know only objects there.
    ///
    /// A property with `"x-mcp-header": "Region"` is mirrored: clients of revision 2026-07-28 send it over HTTP also as the header
    /// `Mcp-Param-Region`, for proxies that do not read bodies. A call whose header and body differ is refused with `-32020`.
    ///
    /// What is checked when:
    ///
    /// - At the start: that it is an object schema, and that its most common keywords have values of the right type. With the feature `validate`, that it compiles
    ///   under the dialect its `$schema` names, or 2020-12; a `$ref` to another document does not, because nothing is ever fetched.
    /// - At each call, with the feature `validate`: that the arguments match it, on the tool's lane before the handler runs. If they do not, the
    ///   model gets a tool error that says where and what was expected.
    ///   That takes some seconds at most, and is not cancelled: a `pattern` that looks around or back, and a long `enum` of more than texts, cost each value of a
    ///   hostile list anew, and what would take longer is refused. Give such lists a `maxItems`. A `pattern` that looks around or back is not tried on texts of more
    ///   than 64 KiB.
    /// - At each call, always: that the arguments can be read into the handler's type. That is the only check for a hand-written schema without the
    ///   feature.
    ///
    /// A schema that is made from the type is checked as a hand-written one is where it says more than the type, by schemars' `range`, `length`, `pattern`
    /// and their kin. Without the feature nobody checks that, and the start warns.
    #[must_use]
    pub fn input_schema(mut self, schema: Value) -> Self {
        self.draft.shown.input_schema = Some(schema);
        self.is_input_written = true;
        self
    }

    /// A JSON Schema for the structured content, instead of that made from the handler's return type. Of a tool that may run in the background it is shown with
    /// `job` beside its properties and without what they must have, for then the result may be the id of a job.
    ///
    /// With the feature `validate` it has to compile at the start, and in debug builds every successful result is checked against it: one that does
    /// not match is logged as an error, and the client gets a tool error.
    #[must_use]
    pub fn output_schema(mut self, schema: Value) -> Self {
        self.draft.shown.output_schema = Some(schema);
        self.is_output_written = true;
        self
    }

    setters! {
        /// Shows clients the schemas as they come from the handler's types, instead of in the portable form that every model API reads; see
        /// [`model_schemas`](crate::model_schemas). Hand-written ones are not made portable.
        schema_as_is() => is_as_is = true;

        /// Hint: the tool changes nothing.
        read_only(yes: bool) => hints.read_only_hint = Some(yes);

        /// Hint: the tool may destroy something. Clients assume `true` when it is not set.
        destructive(yes: bool) => hints.destructive_hint = Some(yes);

        /// Hint: calling the tool again with the same arguments does nothing more.
        idempotent(yes: bool) => hints.idempotent_hint = Some(yes);

        /// Hint: the tool talks to an open world, such as the web. Clients assume `true` when it is not set.
        open_world(yes: bool) => hints.open_world_hint = Some(yes);

        /// Whether a call is answered with its result or with a background job. Default [`Execution::Inline`]. Jobs run on the lane `jobs`.
        ///
        /// A tool that may be a job either way gets an optional argument `background`, a boolean, which its handler does not see.
        execution(execution: Execution) => desk.execution = execution;

        /// A job of this tool that ran or waited to run when the server ended is run again, from its beginning, by the next one. Default: it has failed.
        /// Needs a store that survives; see [`Server::job_store`](crate::Server::job_store).
        restartable() => desk.restartable = true;

        /// How long a call of this tool may give no sign of life: its *liveness*, which says nothing of how long it may run. Default that of its lane, which
        /// is that of the server, which is none.
        ///
        /// Signs of life mean progress: [`cx.alive()`](crate::RequestContext::alive), [`cx.progress(..)`](crate::RequestContext::progress), and the output of
        /// a command. While the handler waits in one of the library's own places (a sleep, a question to the client, a claim) its silence does not grow;
        /// neither does it while the process is suspended.
        ///
        /// A call that is silent for longer is cancelled, and
        /// [`is_stalled`](crate::CancellationToken::is_stalled) says why. What the handler returns within [`Limits::stall_grace`](crate::Limits::stall_grace)
        /// is the answer; an error, which the cancellation may have caused, becomes the JSON-RPC error `504`. A handler that does not return is given
        /// up: the client gets its `504`, and the worker, which nobody can take the handler from, is replaced by another one, within the bounds of
        /// [`Lane::abandoned_workers_max`](crate::Lane::abandoned_workers_max). What it returns after all is dropped, and its thread ends.
        ///
        /// It is a net, and no substitute for timeouts: a socket that is read with one hangs nothing.
        liveness(longest_silence: Duration) => liveness = Some(longest_silence);

        /// Runs each call on the thread that has read its request, instead of a worker: no queue, no wake-up, and no lane that could be full. For tools that
        /// are known to be quick, microseconds and not milliseconds, because they only compute a little or read memory. Off by default.
        /// It says where the handler runs; [`Execution::Inline`] says that a call is answered with its result.
        ///
        /// The handler **must not wait**: not for a lock that is held long, not for a file, a program, a pool or the client. While it runs, nothing else is
        /// read: on stdio no other request, no cancellation, no `ping`; over HTTP nothing more of its connection, and nothing of those that rest beside it until
        /// another thread has taken them over: at once where the arguments are longer than 32 KiB, else within a tenth of a second. No lane counts it, no liveness watches
        /// it, and it is answered while the server drains. Its panic is one failed call, as everywhere. It cannot ask a client of the handshake era
        /// ([`AskError::NotHere`](crate::AskError::NotHere)), and cannot be a background job or run in a workspace.
        inline() => desk.runs_here = true;

        /// Runs each call in a workspace, one at a time in order of arrival; see [`Server::workspaces`](crate::Server::workspaces). The handler may take
        /// the workspace's value: `|cx: &mut RequestContext<S>, workspace: &mut W, args: A|`.
        ///
        /// The tool gets an optional argument `workspace`, the name, which its handler does not see. A call that waits for its turn holds no worker.
        in_workspace() => desk.access = Some(AccessMode::Change);

        /// The same for a tool that only reads: its calls run beside each other, and not beside one that changes the workspace.
        reads_workspace() => desk.access = Some(AccessMode::Read);
    }

    /// What runs before a call becomes a background job, on the tool's lane, with the same arguments: it may ask the client, and what it asks and keeps is
    /// there for the job. An error of it is the answer, and there is no job.
    #[must_use]
    pub fn before_job<Shape: 'static, H: Handler<S, Shape>>(mut self, handler: H) -> Self
    where
        H::Output: IntoToolResult,
    {
        self.before_job = Some(erase(handler, tool_reply));
        self
    }

    /// The function that is called; see [`Handler`] for its shapes. Its argument and return types make the schemas that were not set.
    #[must_use]
    pub fn handler<Shape: 'static, H: Handler<S, Shape>>(mut self, handler: H) -> Self
    where
        H::Arguments: JsonSchema,
        H::Output: IntoToolResult,
    {
        let shown = &mut self.draft.shown;
        shown.input_schema.get_or_insert_with(H::arguments_schema);
        if shown.output_schema.is_none() {
            shown.output_schema = H::Output::output_schema();
        }
        self.desk.wanted = H::workspace();
        self.draft.handler = Some(erase(handler, tool_reply));
        self
    }

    /// As [`handler`](Self::handler), for a result that is on record as it was rendered.
    pub(crate) fn rendered<Shape: 'static, H>(mut self, handler: H) -> Self
    where
        H: Handler<S, Shape, Output = Result<Box<RawValue>, ToolError>>,
        H::Arguments: JsonSchema,
    {
        self.draft.shown.input_schema = Some(H::arguments_schema());
        self.draft.handler = Some(erase(handler, |info, output| match output {
            Ok(Ok(result)) => Ok(Reply::Rendered(result)),
            other => tool_reply(info, other.map(|result| result.map(drop))),
        }));
        self
    }

    /// A call of it waits for the change of a job first, if its arguments say so.
    pub(crate) fn waits_for_job(mut self) -> Self {
        self.desk.waits_for_job = true;
        self
    }
}

impl<S> Tool<S> {
    pub(crate) fn into_registration(mut self, template: &Arc<S>) -> Result<Registration, String> {
        let name = self.draft.shown.name.clone();
        let of_tool = |problem| format!("tool `{name}`: {problem}");
        let rules = self.rules().map_err(of_tool)?;
        self.draft.rules = Arc::clone(&rules);
        #[cfg_attr(feature = "validate", expect(unused_mut))]
        let mut registration = self.draft.register(OfferKind::Tool, template)?;
        #[cfg(feature = "validate")]
        let mut registration = checked(registration)?;
        let schema = registration.shown.input_schema.as_ref();
        let mirrors = ParamHeaders::from_schema(schema.unwrap_or(&Value::Null));
        let mirrors = mirrors.map_err(of_tool)?;
        registration.callable.desk = self.desk;
        registration.callable.before_job = self.before_job.map(|build| {
            let name = Arc::clone(&registration.callable.name);
            Arc::new(Callable {
                liveness: self.liveness,
                ..Callable::new(name, build(Arc::clone(template), rules))
            })
        });
        registration.callable.liveness = self.liveness;
        if let Some(schema) = &mut registration.shown.input_schema {
            add_desk_arguments(schema, &self.desk).map_err(of_tool)?;
        }
        if self.desk.execution != Execution::Inline {
            let own = registration.shown.output_schema.take();
            registration.shown.output_schema = own.and_then(or_a_job);
        }
        registration.callable.mirrors = Some(mirrors).filter(|mirrors| !mirrors.is_empty());
        Ok(registration)
    }

    /// What the arguments are held to, once nothing is found wrong with the tool, and its schemas are as they are shown.
    fn rules(&mut self) -> Result<Arc<ArgumentRules>, String> {
        let shown = &mut self.draft.shown;
        if self.hints != ToolAnnotations::default() {
            shown.annotations = Some(Hints::Tool(mem::take(&mut self.hints)));
        }
        let full = shown.input_schema.clone().unwrap_or(Value::Bool(true));
        self.make_portable()?;
        if let Some(problem) = problem(&self.draft.shown) {
            return Err(problem);
        }
        let is_zero = self.liveness.is_some_and(|liveness| liveness.is_zero());
        let zero = is_zero.then_some("a liveness of zero is one that no handler could keep");
        if let Some(problem) = self.desk.problem().or(zero) {
            return Err(problem.to_owned());
        }
        warn(&self.draft.shown);
        if cfg!(not(feature = "validate")) && !self.is_input_written && promises(&full) {
            log::warn!(
                "the arguments of tool `{}` have bounds in their schema (`range`, `length`, `pattern`) that only the feature `validate` checks",
                self.draft.shown.name
            );
        }
        let rules = ArgumentRules::of_schema(full, self.is_input_written);
        let rules = rules.map_err(|problem| format!("its input schema: {problem}"))?;
        Ok(Arc::new(rules))
    }

    /// Shows the schemas that are made from types in the form that every model reads.
    fn make_portable(&mut self) -> Result<(), String> {
        let shown = &mut self.draft.shown;
        if !self.is_as_is && !self.is_input_written {
            shown.input_schema = shown.input_schema.take().map(one_object).transpose()?;
        }
        if !self.is_as_is && !self.is_output_written {
            shown.output_schema = shown.output_schema.take().map(of_result);
        }
        Ok(())
    }
}

/// Shows the arguments that the server takes for itself.
fn add_desk_arguments(schema: &mut Value, desk: &DeskNeeds) -> Result<(), String> {
    let workspace = json!({
        "type": "string",
        "description": "The workspace to work in, as `open_workspace` has named it. Default: \"default\".",
    });
    let background = json!({
        "type": "boolean",
        "description": "true: answer at once with a job's id, and work in the background.",
    });
    let own = [
        (WORKSPACE, workspace, desk.access.is_some()),
        (
            BACKGROUND,
            background,
            desk.execution == Execution::EitherWay,
        ),
    ];
    let Some(members) = schema.as_object_mut() else {
        return Ok(());
    };
    let properties = members.entry("properties").or_insert_with(|| json!({}));
    let properties = properties
        .as_object_mut()
        .ok_or("`properties` must be an object")?;
    for (name, shown, _) in own.into_iter().filter(|(.., is_wanted)| *is_wanted) {
        if properties.insert(name.into(), shown).is_some() {
            return Err(format!(
                "it has an argument `{name}` of its own, which the server needs"
            ));
        }
    }
    Ok(())
}

/// What is wrong with a tool, in a sentence that says what to change.
fn problem(shown: &Shown) -> Option<String> {
    let name = &shown.name;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if !(1..=128).contains(&name.len()) || !name.bytes().all(allowed) {
        return Some("a name has 1 to 128 of the characters A-Z a-z 0-9 _ - .".into());
    }
    let input = shown.input_schema.as_ref()?;
    if input.get("type") != Some(&Value::from("object")) {
        let message = "its input schema must be an object with \"type\": \"object\"; let the handler take a struct";
        return Some(message.into());
    }
    let output = shown.output_schema.as_ref();
    if output.is_some_and(|output| !output.is_object()) {
        return Some("its output schema must be an object".into());
    }
    let schemas = [Some(input), output];
    schemas.into_iter().flatten().find_map(schema_slip)
}

/// Says once what clients are known to refuse, though it is allowed.
fn warn(shown: &Shown) {
    let name = &shown.name;
    if name.len() > NAME_LEN_PORTABLE || name.contains('.') {
        log::warn!(
            "tool `{name}`: some clients refuse a name with a dot or of more than {NAME_LEN_PORTABLE} characters"
        );
    }
    let description = shown.description.as_deref().unwrap_or_default();
    if description.chars().count() > DESCRIPTION_LEN_PORTABLE {
        log::warn!(
            "tool `{name}`: some clients refuse, or cut, a description of more than {DESCRIPTION_LEN_PORTABLE} characters"
        );
    }
    let refused = shown.input_schema.as_ref().map(refused).unwrap_or_default();
    if !refused.is_empty() {
        log::warn!(
            "tool `{name}`: some model APIs refuse what its input schema has: {}",
            refused.join(", ")
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_definition_is_named() {
        let tool = Tool::<()>::new;
        let with = |schema: Value| tool("t").input_schema(schema).handler(|| ());
        let long = "x".repeat(129);
        let rows = [
            (tool("t"), Some("has no handler")),
            (tool("").handler(|| ()), Some("a name has")),
            (tool("a b").handler(|| ()), Some("a name has")),
            (tool(&long).handler(|| ()), Some("a name has")),
            (tool("a.B-9_").handler(|| ()), None),
            (with(json!({})), Some("\"type\": \"object\"")),
            (with(json!(true)), Some("\"type\": \"object\"")),
            (
                with(json!({"type": "object", "properties": {"a": 3}})),
                Some("`properties`"),
            ),
            (
                with(json!({"type": "object", "properties": {"a": {"required": "b"}}})),
                Some("`required`"),
            ),
            (
                with(json!({"type": "object", "allOf": [{"anyOf": []}]})),
                Some("`anyOf`"),
            ),
            (
                with(json!({"type": "object", "$defs": {"a": {"type": 7}}})),
                Some("`type`"),
            ),
            (with(json!({"type": "object", "x-anything": 3})), None),
        ];
        for (tool, expected) in rows {
            let problem = tool.into_registration(&Arc::new(())).err();
            match expected {
                None => assert_eq!(problem, None),
                Some(part) => {
                    assert!(
                        problem.as_ref().is_some_and(|text| text.contains(part)),
                        "{problem:?} names {part}"
                    )
                }
            }
        }
    }
}
