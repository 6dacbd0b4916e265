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
use crate::protocol::offer::OfferKind;
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
                let found = catalogue.find(OfferKind::Prompt, name);
                found.ok_or_else(|| unknown(OfferKind::Prompt, name))?
            }
            ReferenceKind::Resource => {
                let uri = named("ref.uri", reference.uri.as_ref())?;
                let found = catalogue.find(OfferKind::Template, uri);
                // A resource, or what a template makes of such a URI, in which no variable can be left.
                let made = || (!uri.contains('{')).then(|| catalogue.resource(uri))?;
                let found = found.or_else(|| Some(made()?.0));
                found.ok_or_else(|| unknown(OfferKind::Template, uri))?
            }
        };
        let Some(callable) = found.completers.get(&**typed_into) else {
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
            callable: Arc::clone(callable),
            arguments: to_raw_value(&typed).ok(),
        })
    }
}
