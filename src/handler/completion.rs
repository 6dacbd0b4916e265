//! Completion: suggesting values while a person fills in a prompt or a resource template.
//!
//! A completer is a handler like any other, with [`Completing`] as its arguments. Must not know how it is dispatched. Specification:
//! `server/utilities/completion` of revision 2026-07-28.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::handler::fork::Fork;
use crate::handler::invoke::{Build, Handler, erase};
use crate::handler::registration::Reply;
use crate::protocol::errors::ErrorObject;
use crate::protocol::results::Completion;

/// What the user has typed so far: the arguments of a completion handler. Specification: `server/utilities/completion`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Completing {
    /// What was typed of the value that is to be completed.
    pub value: String,
    /// The values of the other arguments, as far as they are known.
    #[serde(default)]
    pub arguments: BTreeMap<String, String>,
}

/// A completer as the engine stores it.
pub(crate) fn complete<S, Shape, H>(handler: H) -> Build<S>
where
    S: Fork + Send + Sync + 'static,
    Shape: 'static,
    H: Handler<S, Shape>,
    H::Output: Into<Completion>,
{
    erase(handler, |_, output| match output {
        Ok(values) => Ok(Reply::Completion(values.into())),
        Err(not_called) => Err(ErrorObject::invalid_params(not_called.0?)),
    })
}
