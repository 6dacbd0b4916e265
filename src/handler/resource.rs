//! [`Resource`] and [`ResourceTemplate`]: what clients see of them, and the handlers that read them.
//!
//! Must not know how a call is dispatched. Specification: `server/resources` of revision 2026-07-28.

use std::mem;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::handler::completion::complete;
use crate::handler::context::RequestInfo;
use crate::handler::draft::{Draft, drafts};
use crate::handler::fork::Fork;
use crate::handler::invoke::{BadArguments, Build, Handler, erase};
use crate::handler::reply::Reply;
use crate::handler::resource_output::{IntoResourceResult, ResourceOutput};
use crate::handler::text_arguments::{TextArgument, text_arguments, unfillable};
use crate::handler::tool::MAIN_LANE;
use crate::protocol::jsonrpc::ErrorObject;
use crate::protocol::results::{CacheHint, Completion, ReadResourceResult};
use crate::protocol::types::{Annotations, Icon};
use crate::protocol::uri_template::{UriTemplate, has_scheme};

/// A resource at a fixed URI, and the handler that reads it. Specification: `server/resources`.
///
/// ```
/// use mcp_threads::{CacheHint, Resource, Server};
/// use std::time::Duration;
///
/// let motd = Resource::new("notes://today", "today")
///     .mime_type("text/plain")
///     .cache(CacheHint::public(Duration::from_secs(60)))
///     .handler(|| std::fs::read_to_string("/etc/motd"));
/// Server::new("notes", "1.0.0").register(motd);
/// ```
pub struct Resource<S = ()> {
    definition: Definition,
    reading: Reading<S>,
}

/// Resources whose URIs follow a template, and the handler that reads any of them. Specification: `server/resources` ("Resource Templates").
///
/// The template has plain `{name}` variables (RFC 6570, level 1); each stands for one or more characters other than `/`, `?` and `#`. They are the
/// handler's arguments, by name, and always strings: a field that no string can fill is an error at start.
///
/// ```
/// use mcp_threads::{ResourceTemplate, Server};
///
/// #[derive(serde::Deserialize, mcp_threads::schemars::JsonSchema)]
/// #[schemars(crate = "mcp_threads::schemars")]
/// struct Note { day: String }
///
/// let notes = ResourceTemplate::new("notes://{day}", "notes")
///     .complete("day", || vec!["monday", "tuesday"])
///     .handler(|note: Note| match &*note.day {
///         "monday" => Some("Water the plants."),
///         _ => None, // there is no such resource
///     });
/// Server::new("notes", "1.0.0").register(notes);
/// ```
pub struct ResourceTemplate<S = ()> {
    definition: TemplateDefinition,
    reading: Reading<S>,
    completers: Vec<(String, Build<S>)>,
}

/// How it is read.
struct Reading<S> {
    lane: Arc<str>,
    cache: CacheHint,
    wanted: Vec<TextArgument>,
    make: Option<Make<S>>,
}

/// Makes the handler, once everything that its results carry is known.
type Make<S> = Box<dyn FnOnce(Defaults) -> Build<S>>;

/// What contents have that say nothing themselves.
struct Defaults {
    mime_type: Option<String>,
    cache: CacheHint,
}

/// A resource as `resources/list` shows it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Definition {
    pub(crate) uri: String,
    #[serde(flatten)]
    shown: Shown,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

/// A template as `resources/templates/list` shows it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TemplateDefinition {
    pub(crate) uri_template: String,
    #[serde(flatten)]
    shown: Shown,
    /// What its handler takes.
    #[serde(skip)]
    wanted: Vec<TextArgument>,
}

/// What is shown of both.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    icons: Vec<Icon>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<Annotations>,
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    meta: Option<Map<String, Value>>,
}

impl<S> Default for Reading<S> {
    fn default() -> Self {
        Reading {
            lane: MAIN_LANE.into(),
            cache: CacheHint::NONE,
            wanted: Vec::new(),
            make: None,
        }
    }
}

/// The settings that resources and templates share.
macro_rules! shared_settings {
    () => {
        /// A name for people.
        #[must_use]
        pub fn title(mut self, title: impl Into<String>) -> Self {
            self.definition.shown.title = Some(title.into());
            self
        }

        /// What it holds.
        #[must_use]
        pub fn description(mut self, description: impl Into<String>) -> Self {
            self.definition.shown.description = Some(description.into());
            self
        }

        /// Its media type, such as `text/plain`. Contents without a media type of their own get this one.
        #[must_use]
        pub fn mime_type(mut self, mime_type: impl Into<String>) -> Self {
            self.definition.shown.mime_type = Some(mime_type.into());
            self
        }

        /// Adds an icon.
        #[must_use]
        pub fn icon(mut self, icon: Icon) -> Self {
            self.definition.shown.icons.push(icon);
            self
        }

        /// Whom it is for and how important it is.
        #[must_use]
        pub fn annotations(mut self, annotations: Annotations) -> Self {
            self.definition.shown.annotations = Some(annotations);
            self
        }

        /// A `_meta` object for the definition.
        #[must_use]
        pub fn meta(mut self, meta: Map<String, Value>) -> Self {
            self.definition.shown.meta = Some(meta);
            self
        }

        /// How long a client may cache what it read. Default [`CacheHint::NONE`].
        #[must_use]
        pub fn cache(mut self, hint: CacheHint) -> Self {
            self.reading.cache = hint;
            self
        }

        /// The lane whose workers read it. Default `main`.
        #[must_use]
        pub fn lane(mut self, name: &str) -> Self {
            self.reading.lane = name.into();
            self
        }

        /// The function that reads it; see [`Handler`] for its shapes and [`IntoResourceResult`] for what it may return.
        #[must_use]
        pub fn handler<Shape: 'static, H: Handler<S, Shape>>(mut self, handler: H) -> Self
        where
            H::Output: IntoResourceResult,
        {
            self.reading.wanted = text_arguments(&H::arguments_schema());
            self.reading.make = Some(make(handler));
            self
        }
    };
}

impl<S: Fork + Send + Sync + 'static> Resource<S> {
    /// A resource at this URI, which begins with a scheme and is unique in its server, with a name.
    pub fn new(uri: impl Into<String>, name: impl Into<String>) -> Self {
        Resource {
            definition: Definition {
                uri: uri.into(),
                shown: Shown {
                    name: name.into(),
                    ..Shown::default()
                },
                size: None,
            },
            reading: Reading::default(),
        }
    }

    /// Its size in bytes, before any encoding.
    #[must_use]
    pub fn size(mut self, bytes: u64) -> Self {
        self.definition.size = Some(bytes);
        self
    }

    shared_settings!();
}

impl<S: Fork + Send + Sync + 'static> ResourceTemplate<S> {
    /// Resources whose URIs follow this template, with a name for all of them.
    pub fn new(uri_template: impl Into<String>, name: impl Into<String>) -> Self {
        ResourceTemplate {
            definition: TemplateDefinition {
                uri_template: uri_template.into(),
                shown: Shown {
                    name: name.into(),
                    ..Shown::default()
                },
                wanted: Vec::new(),
            },
            reading: Reading::default(),
            completers: Vec::new(),
        }
    }

    /// Suggests values for a variable while the user types. The handler takes nothing or a [`Completing`](crate::Completing), and its values are
    /// sent as they are: leave out those that do not fit what was typed. Specification: `server/utilities/completion`.
    #[must_use]
    pub fn complete<Shape: 'static, H: Handler<S, Shape>>(
        mut self,
        variable: impl Into<String>,
        handler: H,
    ) -> Self
    where
        H::Output: Into<Completion>,
    {
        self.completers.push((variable.into(), complete(handler)));
        self
    }

    shared_settings!();
}

fn make<S, Shape, H>(handler: H) -> Make<S>
where
    S: Fork + Send + Sync + 'static,
    Shape: 'static,
    H: Handler<S, Shape>,
    H::Output: IntoResourceResult,
{
    Box::new(move |defaults| {
        erase(handler, move |info, output| {
            defaults.reply(info, output.map(IntoResourceResult::into_resource_result))
        })
    })
}

impl Defaults {
    fn reply(
        &self,
        info: &RequestInfo,
        output: Result<Result<Option<ResourceOutput>, ErrorObject>, BadArguments>,
    ) -> Result<Reply, ErrorObject> {
        let mut result = match output {
            // Variables that do not fit the handler's type name nothing that exists.
            Err(BadArguments(problem)) => {
                log::debug!("no such resource: {problem} request_id={}", info.tag);
                return Err(ErrorObject::no_resource(&info.target));
            }
            Ok(output) => match output? {
                None => return Err(ErrorObject::no_resource(&info.target)),
                Some(ResourceOutput::Whole(result)) => result,
                Some(ResourceOutput::Body(body)) => ReadResourceResult {
                    contents: vec![body(&info.target)],
                    ..ReadResourceResult::default()
                },
            },
        };
        for contents in &mut result.contents {
            if contents.mime_type.is_none() {
                contents.mime_type.clone_from(&self.mime_type);
            }
        }
        result.cache.get_or_insert(self.cache);
        Ok(Reply::Resource(result))
    }
}

impl<S> Reading<S> {
    fn draft(self, name: &str, mime_type: Option<&String>, template: &Arc<S>) -> Draft {
        let defaults = Defaults {
            mime_type: mime_type.cloned(),
            cache: self.cache,
        };
        let handler = self.make.map(|make| make(defaults));
        Draft::new(name, self.lane, handler, template)
    }
}

fn no_scheme(what: &str, uri: &str) -> String {
    format!("{what} `{uri}` has no scheme; a URI begins with one, such as `notes:` or `file:`")
}

impl Definition {
    /// What is wrong with it, in a sentence that says what to change.
    pub(crate) fn problem(&self) -> Option<String> {
        (!has_scheme(&self.uri)).then(|| no_scheme("resource", &self.uri))
    }
}

impl TemplateDefinition {
    /// The template, ready to match.
    pub(crate) fn template(&self, completed: &[String]) -> Result<UriTemplate, String> {
        let text = &self.uri_template;
        let template = UriTemplate::parse(text)
            .map_err(|problem| format!("resource template `{text}`: {problem}"))?;
        if !has_scheme(text) {
            return Err(no_scheme("resource template", text));
        }
        if let Some(problem) = unfillable(&self.wanted) {
            return Err(format!("resource template `{text}`: {problem}"));
        }
        let known = |variable: &&String| template.variables().any(|known| known == **variable);
        match completed.iter().find(|variable| !known(variable)) {
            None => Ok(template),
            Some(stranger) => Err(format!(
                "resource template `{text}` completes `{stranger}`, which is not one of its variables"
            )),
        }
    }
}

impl<S> Resource<S> {
    /// What clients are shown, and what is run.
    pub(crate) fn parts(self, template: &Arc<S>) -> (Definition, Draft) {
        let mime_type = self.definition.shown.mime_type.as_ref();
        let draft = self
            .reading
            .draft(&self.definition.uri, mime_type, template);
        (self.definition, draft)
    }
}

impl<S> ResourceTemplate<S> {
    /// What clients are shown, what is run, and what completes it.
    pub(crate) fn parts(
        mut self,
        template: &Arc<S>,
    ) -> (TemplateDefinition, Draft, Vec<(String, Draft)>) {
        let mut definition = self.definition;
        definition.wanted = mem::take(&mut self.reading.wanted);
        let name = &definition.uri_template;
        let completers = drafts(name, &self.reading.lane, self.completers, template);
        let mime_type = definition.shown.mime_type.as_ref();
        let draft = self.reading.draft(name, mime_type, template);
        (definition, draft, completers)
    }
}
