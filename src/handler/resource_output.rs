//! [`IntoResourceResult`]: what a handler that reads a resource may return.
//!
//! Pure. Must not know how a resource is found. Specification: `server/resources` of revision 2026-07-28.

use std::fmt;

use serde::Serialize;

use crate::handler::result::{Json, ToolError};
use crate::protocol::errors::{ErrorCode, ErrorObject};
use crate::protocol::results::ReadResourceResult;
use crate::protocol::types::ResourceContents;

/// Anything a resource's handler may return: text, bytes, [`ResourceContents`] or a list of them, a whole [`ReadResourceResult`], an `Option` of
/// these (`None`: there is no such resource), or a `Result`. The trait is sealed: nobody but the library implements it.
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
    #[doc(hidden)]
    fn into_resource_result(self) -> Result<Option<ResourceOutput>, ErrorObject>;
}

/// What a handler returned, as far as that is known without the URI that was read.
#[doc(hidden)]
pub enum ResourceOutput {
    /// One piece of contents, at the URI that was read.
    Body(Box<dyn FnOnce(&str) -> ResourceContents>),
    /// All of it.
    Whole(ReadResourceResult),
}

impl fmt::Debug for ResourceOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResourceOutput::Body(_) => f.write_str("Body"),
            ResourceOutput::Whole(result) => result.fmt(f),
        }
    }
}

macro_rules! resource_results {
    ($($type:ty: $value:ident => $output:expr;)+) => {$(
        impl IntoResourceResult for $type {
            fn into_resource_result(self) -> Result<Option<ResourceOutput>, ErrorObject> {
                let $value = self;
                Ok(Some($output))
            }
        }
    )+};
}

resource_results! {
    String: text => ResourceOutput::Body(Box::new(move |uri| ResourceContents::text(uri, text)));
    &'static str: text => ResourceOutput::Body(Box::new(move |uri| ResourceContents::text(uri, text)));
    Vec<u8>: bytes => ResourceOutput::Body(Box::new(move |uri| ResourceContents::blob(uri, bytes)));
    ReadResourceResult: result => ResourceOutput::Whole(result);
    Vec<ResourceContents>: contents => ResourceOutput::Whole(contents.into());
    ResourceContents: contents => ResourceOutput::Whole(vec![contents].into());
}

/// As JSON text, of the media type `application/json`.
impl<T: Serialize> IntoResourceResult for Json<T> {
    fn into_resource_result(self) -> Result<Option<ResourceOutput>, ErrorObject> {
        let text = serde_json::to_string(&self.0).map_err(|error| {
            let message = format!("The resource is no JSON: {error}");
            ErrorObject::new(ErrorCode::INTERNAL_ERROR, message)
        })?;
        let body = Box::new(move |uri: &str| {
            ResourceContents::text(uri, text).with_mime_type("application/json")
        });
        Ok(Some(ResourceOutput::Body(body)))
    }
}

impl<T: IntoResourceResult> IntoResourceResult for Option<T> {
    fn into_resource_result(self) -> Result<Option<ResourceOutput>, ErrorObject> {
        self.map_or(Ok(None), T::into_resource_result)
    }
}

impl<T: IntoResourceResult, E: Into<ToolError>> IntoResourceResult for Result<T, E> {
    fn into_resource_result(self) -> Result<Option<ResourceOutput>, ErrorObject> {
        self.map_err(|error| error.into().into_error_object())?
            .into_resource_result()
    }
}
