//! [`Shown`], what clients see of a tool, a prompt, a resource or a template.
//!
//! One struct for the four, because their definitions differ in a few members. Data only; must not know what runs. Specification:
//! `server/tools`, `server/prompts`, `server/resources` ("Data Types").

use serde::Serialize;
use serde_json::{Map, Value};

use crate::handler::text_arguments::TextArgument;
use crate::protocol::types::{Annotations, Icon, ToolAnnotations};

/// A definition as a list shows it; each kind uses the members it has, and the others are not listed.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown {
    pub(crate) uri: Option<String>,
    pub(crate) uri_template: Option<String>,
    pub(crate) name: String,
    pub(crate) title: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) mime_type: Option<String>,
    pub(crate) icons: Vec<Icon>,
    pub(crate) arguments: Vec<TextArgument>,
    pub(crate) input_schema: Option<Value>,
    pub(crate) output_schema: Option<Value>,
    pub(crate) size: Option<u64>,
    pub(crate) annotations: Option<Hints>,
    #[serde(rename = "_meta")]
    pub(crate) meta: Option<Map<String, Value>>,
}

/// The `annotations` of a definition.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Hints {
    Tool(ToolAnnotations),
    Resource(Annotations),
}
