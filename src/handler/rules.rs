//! What arguments, and a person's answers, are held to: the full schema of the type that reads them, or a hand-written one.
//!
//! Strict first; only what fails is [repaired](crate::handler::lenient) and tried again. Must not know how a schema is checked or a text repaired.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::base::budget::Charge;
use crate::base::log;
use crate::handler::arguments;
use crate::handler::control::CallControl;
use crate::handler::lenient::{Repaired, repaired};
#[cfg(feature = "validate")]
use crate::handler::schema_check::promises;
#[cfg(feature = "validate")]
use crate::handler::validation::Validator;
#[cfg(feature = "validate")]
use crate::protocol::tree::TreeRoom;
use crate::protocol::tree::Unread;

/// A schema, and whatever checks it beyond reading.
#[derive(Debug)]
pub(crate) struct ArgumentRules {
    schema: Value,
    #[cfg(feature = "validate")]
    validator: Option<Validator>,
}

impl ArgumentRules {
    /// No rules: whatever can be read is taken.
    pub(crate) fn none() -> Self {
        ArgumentRules::read_by(true.into())
    }

    /// The rules of what is only read.
    pub(crate) fn read_by(schema: Value) -> Self {
        ArgumentRules {
            schema,
            #[cfg(feature = "validate")]
            validator: None,
        }
    }

    /// The rules of a tool. A schema that somebody wrote is checked, and one that is made from a type where it says more than the type.
    ///
    /// # Errors
    ///
    /// A sentence, when it does not compile.
    #[cfg(feature = "validate")]
    pub(crate) fn of_tool(schema: Value, is_written: bool) -> Result<Self, String> {
        let is_checked = is_written || promises(&schema);
        let validator = is_checked
            .then(|| Validator::compile(&schema))
            .transpose()?;
        Ok(ArgumentRules { schema, validator })
    }

    /// The rules of a tool. Without the feature `validate` nothing is checked but by reading.
    #[cfg(not(feature = "validate"))]
    pub(crate) fn of_tool(schema: Value, _is_written: bool) -> Result<Self, String> {
        Ok(ArgumentRules::read_by(schema))
    }

    /// Reads a value. What it takes stays charged until the charge is dropped.
    ///
    /// # Errors
    ///
    /// Why it does not fit.
    pub(crate) fn read<T: DeserializeOwned>(
        &self,
        json: &str,
        call: &dyn CallControl,
    ) -> Result<(T, Option<Charge>), Unread> {
        self.hold(json, call, |json| arguments::read(json, &call.tree_room()))
    }

    /// Checks a value that nobody reads.
    ///
    /// # Errors
    ///
    /// Why it does not fit.
    pub(crate) fn check(&self, json: &str, call: &dyn CallControl) -> Result<(), Unread> {
        self.hold(json, call, |_| Ok(()))
    }

    fn hold<T>(
        &self,
        json: &str,
        call: &dyn CallControl,
        read: impl Fn(&str) -> Result<T, Unread>,
    ) -> Result<T, Unread> {
        let attempt = |json: &str| {
            #[cfg(feature = "validate")]
            self.validate(json, &call.tree_room())?;
            read(json)
        };
        let tried = attempt(json);
        if !matches!(tried, Err(Unread::Unfit(_))) {
            return tried;
        }
        match self.repair(json, call) {
            Some((repaired, _charged)) => attempt(&repaired),
            None => tried,
        }
    }

    /// The same in the spelling that fits better, if there is one and the server takes others.
    fn repair(&self, json: &str, call: &dyn CallControl) -> Option<(String, Charge)> {
        if !call.is_lenient() {
            return None;
        }
        let charge = call.tree_room().hold(json.len())?;
        let Repaired { json, places } = repaired(&self.schema, json)?;
        let info = call.info();
        for place in places {
            log::debug!(
                "`{}` was called with another spelling than its schema has, at `{place}` request_id={}",
                info.target,
                info.tag
            );
        }
        Some((json, charge))
    }

    #[cfg(feature = "validate")]
    fn validate(&self, json: &str, room: &TreeRoom) -> Result<(), Unread> {
        let Some(validator) = &self.validator else {
            return Ok(());
        };
        let (value, _charged) = room.read::<Value>(json)?;
        validator.check(&value).map_err(Unread::Unfit)
    }
}
