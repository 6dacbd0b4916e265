//! Completions: which completer a request calls, and with what.
//!
//! Must not know how it is called. Specification: `server/utilities/completion`.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::engine::dispatch::{Callee, named, unknown};
use crate::engine::lifecycle::Engine;
use crate::engine::planning::Unplanned;
use crate::protocol::errors::ErrorObject;
use crate::protocol::meta::{Params, ReferenceKind};
use crate::protocol::text::Text;

impl Engine {
    /// Finds what completes an argument of a prompt or a variable of a resource template.
    pub(super) fn find_completer(&self, params: &Params<'_>) -> Result<Callee, Unplanned> {
        let missing = |what| ErrorObject::invalid_params(format!("`{what}` is missing"));
        let reference = params.reference.as_ref().ok_or_else(|| missing("ref"))?;
        let argument = params.argument.as_ref();
        let argument = argument.ok_or_else(|| missing("argument"))?;
        let Text(typed_into) = &argument.name;
        let catalogue = &self.shared.catalogue;
        let found = match reference.kind {
            ReferenceKind::Prompt => {
                let name = named("ref.name", reference.name.as_ref())?;
                let found = catalogue.prompt_completer(name, typed_into);
                found.map_err(|()| unknown("prompt", name))?
            }
            ReferenceKind::Resource => {
                let uri = named("ref.uri", reference.uri.as_ref())?;
                let found = catalogue.template_completer(uri, typed_into);
                found.map_err(|()| unknown("resource template", uri))?
            }
        };
        let Some(callable) = found else {
            return Err(Unplanned::Nothing);
        };
        #[derive(Serialize)]
        struct Typed<'a> {
            value: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            arguments: Option<&'a RawValue>,
        }
        let context = params.context.as_ref();
        let typed = Typed {
            value: &argument.value.0,
            arguments: context.and_then(|context| context.arguments),
        };
        Ok(Callee {
            named: Arc::clone(&callable.name),
            callable,
            arguments: to_raw_value(&typed).ok(),
        })
    }
}
