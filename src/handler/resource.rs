//! [`Resource`] and [`ResourceTemplate`]: what clients see of them, and the handlers that read them.
//!
//! Must not know how a call is dispatched. Specification: `server/resources` of revision 2026-07-28.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::base::log;
use crate::base::setters::setters;
use crate::handler::completion::complete;
use crate::handler::control::RequestInfo;
use crate::handler::draft::{Draft, completed_settings, registers, shared_settings};
use crate::handler::fork::Fork;
use crate::handler::invoke::{Handler, NotCalled, erase};
use crate::handler::registration::{BoundHandler, Register, Registration, Reply};
use crate::handler::result::{Json, ToolError, conversions};
use crate::handler::shown::{Hints, Shown};
use crate::handler::text_arguments::{TextArgument, text_arguments};
use crate::protocol::errors::{ErrorCode, ErrorObject};
use crate::protocol::offer::OfferKind;
use crate::protocol::results::{CacheHint, Completion, ReadResourceResult};
use crate::protocol::types::{Annotations, Icon, ResourceContents};
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
    draft: Draft<S>,
    cache: CacheHint,
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
    draft: Draft<S>,
    cache: CacheHint,
    /// What its handler takes.
    wanted: Vec<TextArgument>,
}

registers!(Resource, ResourceTemplate);

/// The settings that resources and templates share.
macro_rules! resource_settings {
    () => {
        shared_settings!(
            "What it holds.",
            "The lane whose workers read it. Default `main`."
        );

        setters! {
            /// Its media type, such as `text/plain`. Contents without a media type of their own get this one.
            mime_type(mime_type: impl Into<String>) => draft.shown.mime_type = Some(mime_type.into());

            /// Whom it is for and how important it is.
            annotations(annotations: Annotations) => draft.shown.annotations = Some(Hints::Resource(annotations));

            /// How long a client may cache what it read. Default [`CacheHint::NONE`].
            cache(hint: CacheHint) => cache = hint;
        }
    };
}

impl<S: Fork + Send + Sync + 'static> Resource<S> {
    /// A resource at this URI, which begins with a scheme and is unique in its server, with a name.
    pub fn new(uri: impl Into<String>, name: impl Into<String>) -> Self {
        Resource {
            draft: Draft::new(Shown {
                uri: Some(uri.into()),
                name: name.into(),
                ..Shown::default()
            }),
            cache: CacheHint::NONE,
        }
    }

    setters! {
        /// Its size in bytes, before any encoding.
        size(bytes: u64) => draft.shown.size = Some(bytes);
    }

    /// The function that reads it; see [`Handler`] for its shapes and [`IntoResourceResult`] for what it may return.
    #[must_use]
    pub fn handler<Shape: 'static, H: Handler<S, Shape>>(mut self, handler: H) -> Self
    where
        H::Output: IntoResourceResult,
    {
        self.draft.handler = Some(erase(handler, resource_reply));
        self
    }

    resource_settings!();
}

impl<S: Fork + Send + Sync + 'static> ResourceTemplate<S> {
    /// Resources whose URIs follow this template, with a name for all of them.
    pub fn new(uri_template: impl Into<String>, name: impl Into<String>) -> Self {
        ResourceTemplate {
            draft: Draft::new(Shown {
                uri_template: Some(uri_template.into()),
                name: name.into(),
                ..Shown::default()
            }),
            cache: CacheHint::NONE,
            wanted: Vec::new(),
        }
    }

    /// The function that reads it; see [`Handler`] for its shapes and [`IntoResourceResult`] for what it may return.
    #[must_use]
    pub fn handler<Shape: 'static, H: Handler<S, Shape>>(mut self, handler: H) -> Self
    where
        H::Arguments: JsonSchema,
        H::Output: IntoResourceResult,
    {
        self.wanted = text_arguments(&H::arguments_schema());
        self.draft.handler = Some(erase(handler, resource_reply));
        self
    }

    completed_settings!("a variable");
    resource_settings!();
}

/// The reply of a read, whatever its handler returned.
fn resource_reply<R: IntoResourceResult>(
    info: &RequestInfo,
    output: Result<R, NotCalled>,
) -> Result<Reply, ErrorObject> {
    let output = match output {
        Ok(output) => output.into_resource_result()?,
        // Variables that do not fit the handler's type name nothing that exists.
        Err(not_called) => {
            let problem = not_called.0?;
            log::debug!("no such resource: {problem} request_id={}", info.tag);
            None
        }
    };
    let mut result = output.ok_or_else(|| ErrorObject::no_resource(&info.target))?;
    for contents in &mut result.contents {
        if contents.uri == ITS_OWN {
            contents.uri = info.target.to_string();
        }
    }
    Ok(Reply::Resource(result))
}

/// Registers what reads a resource, and says of the contents what they do not say themselves.
fn register<S>(
    kind: OfferKind,
    draft: Draft<S>,
    cache: CacheHint,
    template: &Arc<S>,
) -> Result<Registration, String> {
    let mime_type = draft.shown.mime_type.clone();
    let mut registration = draft.register(kind, template)?;
    let read = registration.callable.handler;
    registration.callable.handler = BoundHandler::new(move |call, arguments| {
        let mut reply = read.call(call, arguments)?;
        if let Reply::Resource(result) = &mut reply {
            for contents in &mut result.contents {
                if contents.mime_type.is_none() {
                    contents.mime_type.clone_from(&mime_type);
                }
            }
            result.cache.get_or_insert(cache);
        }
        Ok(reply)
    });
    Ok(registration)
}

fn check_scheme(kind: OfferKind, uri: &str) -> Result<(), String> {
    match has_scheme(uri) {
        true => Ok(()),
        false => Err(format!(
            "{} `{uri}` has no scheme; a URI begins with one, such as `notes:` or `file:`",
            kind.name()
        )),
    }
}

impl<S> Resource<S> {
    pub(crate) fn into_registration(self, template: &Arc<S>) -> Result<Registration, String> {
        let uri = self.draft.shown.uri.as_deref().unwrap_or_default();
        check_scheme(OfferKind::Resource, uri)?;
        register(OfferKind::Resource, self.draft, self.cache, template)
    }
}

impl<S> ResourceTemplate<S> {
    pub(crate) fn into_registration(self, template: &Arc<S>) -> Result<Registration, String> {
        let text = self.draft.shown.uri_template.clone().unwrap_or_default();
        let wrong = |problem| format!("resource template `{text}`: {problem}");
        let uris = UriTemplate::parse(&text).map_err(wrong)?;
        check_scheme(OfferKind::Template, &text)?;
        let problem = self
            .draft
            .text_problem(&self.wanted, uris.variables(), "variables");
        if let Some(problem) = problem {
            return Err(wrong(problem));
        }
        let mut registration = register(OfferKind::Template, self.draft, self.cache, template)?;
        registration.callable.template = Some(uris);
        Ok(registration)
    }
}

/// Anything a resource's handler may return: text, bytes, [`ResourceContents`] or a list of them, a whole [`ReadResourceResult`], an `Option` of
/// these (`None`: there is no such resource), or a `Result`. You may implement it for types of your own; contents with an empty URI get the URI that was read.
#[diagnostic::on_unimplemented(
    message = "a resource's handler cannot return `{Self}`",
    note = "return text, bytes, `Json(value)`, `ResourceContents`, a list of them, a `ReadResourceResult`, or an `Option` or a `Result` of these",
    note = "a handler is no `async fn`: it may block, and returns the value itself"
)]
pub trait IntoResourceResult {
    /// The result, or nothing.
    ///
    /// # Errors
    ///
    /// What the client's program is told instead: an internal error with the sentence of a [`ToolError`], or the error of
    /// [`ToolError::protocol`].
    fn into_resource_result(self) -> Result<Option<ReadResourceResult>, ErrorObject>;
}

/// Stands for the URI that was read, which a handler need not say.
const ITS_OWN: &str = "";

conversions! {
    IntoResourceResult::into_resource_result -> Option<ReadResourceResult>;
    String: text => Some(vec![ResourceContents::text(ITS_OWN, text)].into());
    &'static str: text => Some(vec![ResourceContents::text(ITS_OWN, text)].into());
    Vec<u8>: bytes => Some(vec![ResourceContents::blob(ITS_OWN, bytes)].into());
    ReadResourceResult: result => Some(result);
    Vec<ResourceContents>: contents => Some(contents.into());
    ResourceContents: contents => Some(vec![contents].into());
}

/// As JSON text, of the media type `application/json`.
impl<T: Serialize> IntoResourceResult for Json<T> {
    fn into_resource_result(self) -> Result<Option<ReadResourceResult>, ErrorObject> {
        let text = serde_json::to_string(&self.0).map_err(|error| {
            let message = format!("The resource is no JSON: {error}");
            ErrorObject::new(ErrorCode::INTERNAL_ERROR, message)
        })?;
        ResourceContents::text(ITS_OWN, text)
            .with_mime_type("application/json")
            .into_resource_result()
    }
}

impl<T: IntoResourceResult> IntoResourceResult for Option<T> {
    fn into_resource_result(self) -> Result<Option<ReadResourceResult>, ErrorObject> {
        self.map_or(Ok(None), T::into_resource_result)
    }
}

impl<T: IntoResourceResult, E: Into<ToolError>> IntoResourceResult for Result<T, E> {
    fn into_resource_result(self) -> Result<Option<ReadResourceResult>, ErrorObject> {
        self.map_err(|error| error.into().into_error_object())?
            .into_resource_result()
    }
}
