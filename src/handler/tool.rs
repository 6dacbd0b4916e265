//! [`Tool`], a tool's definition: what clients see of it, where it runs, and its handler.
//!
//! Definitions are checked when the server starts, not at the first call. Must not know how a call is dispatched.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::handler::draft::Draft;
use crate::handler::fork::Fork;
use crate::handler::invoke::{Build, Handler, erase};
use crate::handler::result::{IntoToolResult, tool_reply};
use crate::protocol::param_headers::ParamHeaders;
use crate::protocol::types::{Icon, ToolAnnotations};

/// The lane of tools that name none.
pub(crate) const MAIN_LANE: &str = "main";

/// A tool: its name, what clients are told about it, the lane it runs on, and its handler.
///
/// ```
/// use mcp_threads::{Server, Tool};
/// use serde_json::{Value, json};
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
    pub(crate) definition: Definition,
    pub(crate) lane: Arc<str>,
    pub(crate) handler: Option<Build<S>>,
}

/// A tool as `tools/list` shows it.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Definition {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    icons: Vec<Icon>,
    pub(crate) input_schema: Option<Value>,
    /// Whether its author wrote it, and it was not made from the handler's type.
    #[cfg(feature = "validate")]
    #[serde(skip)]
    pub(crate) is_input_written: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) output_schema: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<ToolAnnotations>,
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    meta: Option<Map<String, Value>>,
}

impl<S: Fork + Send + Sync + 'static> Tool<S> {
    /// A tool with this name: 1 to 128 of `A-Z a-z 0-9 _ - .`, unique in its server.
    pub fn new(name: impl Into<String>) -> Self {
        Tool {
            definition: Definition {
                name: name.into(),
                ..Definition::default()
            },
            lane: MAIN_LANE.into(),
            handler: None,
        }
    }

    /// A name for people.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.definition.title = Some(title.into());
        self
    }

    /// What the tool does, for the model that decides whether to call it.
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

    /// A hand-written JSON Schema for the arguments, instead of the one made from the handler's type. It reaches clients unchanged,
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
    /// - At each call, always: that the arguments can be read into the handler's type. That is the only check for a schema made from the type,
    ///   and for a hand-written one without the feature.
    #[must_use]
    pub fn input_schema(mut self, schema: Value) -> Self {
        self.definition.input_schema = Some(schema);
        #[cfg(feature = "validate")]
        {
            self.definition.is_input_written = true;
        }
        self
    }

    /// A JSON Schema for the structured content, instead of the one made from the handler's return type.
    ///
    /// With the feature `validate` it has to compile at the start, and in debug builds every successful result is checked against it: one that does
    /// not match is logged as an error, and the client gets a tool error.
    #[must_use]
    pub fn output_schema(mut self, schema: Value) -> Self {
        self.definition.output_schema = Some(schema);
        self
    }

    /// Hint: the tool changes nothing.
    #[must_use]
    pub fn read_only(self, yes: bool) -> Self {
        self.annotate(|hints| hints.read_only_hint = Some(yes))
    }

    /// Hint: the tool may destroy something. Clients assume `true` when it is not set.
    #[must_use]
    pub fn destructive(self, yes: bool) -> Self {
        self.annotate(|hints| hints.destructive_hint = Some(yes))
    }

    /// Hint: calling the tool again with the same arguments does nothing more.
    #[must_use]
    pub fn idempotent(self, yes: bool) -> Self {
        self.annotate(|hints| hints.idempotent_hint = Some(yes))
    }

    /// Hint: the tool talks to an open world, such as the web. Clients assume `true` when it is not set.
    #[must_use]
    pub fn open_world(self, yes: bool) -> Self {
        self.annotate(|hints| hints.open_world_hint = Some(yes))
    }

    /// A `_meta` object for the definition.
    #[must_use]
    pub fn meta(mut self, meta: Map<String, Value>) -> Self {
        self.definition.meta = Some(meta);
        self
    }

    /// The lane whose workers run the tool. Default `main`. `urgent` is there for diagnostics that must answer when `main` is full.
    #[must_use]
    pub fn lane(mut self, name: &str) -> Self {
        self.lane = name.into();
        self
    }

    /// The function that is called; see [`Handler`] for its shapes. Its argument and return types make the schemas that were not set.
    #[must_use]
    pub fn handler<Shape: 'static, H: Handler<S, Shape>>(mut self, handler: H) -> Self
    where
        H::Output: IntoToolResult,
    {
        let definition = &mut self.definition;
        definition
            .input_schema
            .get_or_insert_with(H::arguments_schema);
        if definition.output_schema.is_none() {
            definition.output_schema = H::Output::output_schema();
        }
        self.handler = Some(erase(handler, |_, output| tool_reply(output)));
        self
    }

    fn annotate(mut self, change: impl FnOnce(&mut ToolAnnotations)) -> Self {
        change(self.definition.annotations.get_or_insert_default());
        self
    }
}

impl<S> Tool<S> {
    /// What clients are shown, and what is run.
    pub(crate) fn parts(self, template: &Arc<S>) -> (Definition, Draft) {
        let draft = Draft::new(&self.definition.name, self.lane, self.handler, template);
        (self.definition, draft)
    }
}

impl Definition {
    /// What is wrong with it, in a sentence that says what to change.
    pub(crate) fn problem(&self) -> Option<String> {
        let name = &self.name;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        if !(1..=128).contains(&name.len()) || !name.bytes().all(allowed) {
            return Some(format!(
                "tool `{name}`: a name has 1 to 128 of the characters A-Z a-z 0-9 _ - ."
            ));
        }
        let Some(input) = &self.input_schema else {
            return Some(format!("tool `{name}` has no handler"));
        };
        if input.get("type") != Some(&Value::from("object")) {
            return Some(format!(
                "tool `{name}`: its input schema must be an object with \"type\": \"object\"; let the handler take a struct"
            ));
        }
        if let Some(output) = &self.output_schema
            && !output.is_object()
        {
            return Some(format!(
                "tool `{name}`: its output schema must be an object"
            ));
        }
        let schemas = [Some(input), self.output_schema.as_ref()];
        let slip = schemas.into_iter().flatten().find_map(schema_slip)?;
        Some(format!("tool `{name}`: {slip}"))
    }

    /// The arguments that HTTP header fields mirror, if any.
    ///
    /// # Errors
    ///
    /// A sentence, when an `x-mcp-header` annotation breaks its rules.
    pub(crate) fn mirrors(&self) -> Result<Option<ParamHeaders>, String> {
        let Some(schema) = &self.input_schema else {
            return Ok(None);
        };
        match ParamHeaders::from_schema(schema) {
            Ok(mirrors) => Ok(Some(mirrors).filter(|mirrors| !mirrors.is_empty())),
            Err(slip) => Err(format!("tool `{}`: {slip}", self.name)),
        }
    }
}

/// The first keyword of a schema whose value cannot be what JSON Schema says it is.
fn schema_slip(schema: &Value) -> Option<String> {
    let members = schema.as_object()?;
    for (keyword, value) in members {
        let fits = match keyword.as_str() {
            "properties" | "$defs" | "definitions" | "patternProperties" | "dependentSchemas" => {
                value
                    .as_object()
                    .is_some_and(|map| map.values().all(|sub| sub.is_object() || sub.is_boolean()))
            }
            "required" => value
                .as_array()
                .is_some_and(|names| names.iter().all(Value::is_string)),
            "enum" => value.is_array(),
            "type" => value.is_string() || value.is_array(),
            "allOf" | "anyOf" | "oneOf" => value.as_array().is_some_and(|list| !list.is_empty()),
            "items" | "not" | "if" | "then" | "else" | "additionalProperties" => {
                value.is_object() || value.is_boolean() || value.is_array()
            }
            "$ref" | "$id" | "$schema" | "$anchor" | "description" | "title" | "pattern"
            | "format" => value.is_string(),
            _ => true,
        };
        if !fits {
            return Some(format!("invalid schema: `{keyword}` cannot be {value}"));
        }
    }
    let maps = ["properties", "$defs", "definitions"]
        .into_iter()
        .filter_map(|key| members.get(key)?.as_object());
    let lists = ["allOf", "anyOf", "oneOf"]
        .into_iter()
        .filter_map(|key| members.get(key)?.as_array());
    let single = ["items", "not", "if", "then", "else", "additionalProperties"]
        .into_iter()
        .filter_map(|key| members.get(key));
    maps.flat_map(Map::values)
        .chain(lists.flatten())
        .chain(single)
        .find_map(schema_slip)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_bad_definition_is_named() {
        let with = |schema: Value| Tool::<()>::new("t").input_schema(schema).definition;
        let long = "x".repeat(129);
        let rows = [
            (Tool::<()>::new("t").definition, Some("has no handler")),
            (
                Tool::<()>::new("").handler(|| ()).definition,
                Some("a name has"),
            ),
            (
                Tool::<()>::new("a b").handler(|| ()).definition,
                Some("a name has"),
            ),
            (
                Tool::<()>::new(long).handler(|| ()).definition,
                Some("a name has"),
            ),
            (Tool::<()>::new("a.B-9_").handler(|| ()).definition, None),
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
        for (definition, expected) in rows {
            let problem = definition.problem();
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
