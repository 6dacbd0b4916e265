//! What a handler takes: JSON read into its type and held to the full schema of that type, or to a hand-written one; or a sentence about what does not
//! fit, which a model can put right.
//!
//! Strict first; only what fails is [repaired](crate::handler::lenient) and tried again. Must not know what the arguments are for, nor how a schema is
//! checked or a text repaired. Specification: `server/tools` ("Error Handling").

use std::fmt::{self, Write};

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use crate::base::budget::Charge;
use crate::base::log;
use crate::handler::control::CallControl;
use crate::handler::lenient::{Repaired, repaired};
#[cfg(feature = "validate")]
use crate::handler::schema_check::promises;
#[cfg(feature = "validate")]
use crate::handler::validation::Validator;
use crate::protocol::errors::shortened;
use crate::protocol::sentence::Sentence;
use crate::protocol::tree::{Slip, TreeCharge, TreeRoom, Unread};

/// A schema, and whatever checks it beyond reading.
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

    /// The rules of a tool or a form. With the feature `validate`, a schema that somebody wrote is checked, and one that is made from a type where it says more
    /// than the type.
    ///
    /// # Errors
    ///
    /// A sentence, when it does not compile.
    #[cfg_attr(not(feature = "validate"), expect(unused_variables))]
    pub(crate) fn of_schema(schema: Value, is_written: bool) -> Result<Self, String> {
        Ok(ArgumentRules {
            #[cfg(feature = "validate")]
            validator: (is_written || promises(&schema))
                .then(|| Validator::compile(&schema))
                .transpose()?,
            schema,
        })
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
    ) -> Result<(T, Option<TreeCharge>), Unread> {
        let attempt = |json: &str| {
            #[cfg(feature = "validate")]
            self.validate(json, &call.tree_room())?;
            read(json, &call.tree_room())
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
        let charge = call.tree_room().hold(json.len()).ok()?;
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
        let (value, charged) = room.read::<Value>(json)?;
        let checked = validator.check(&value).map_err(Unread::Unfit);
        drop(value);
        drop(charged);
        checked
    }
}

/// Reads a value. Where it does not fit is looked for only when it does not, because that takes longer. What the value takes stays charged until
/// the charge is dropped.
pub(crate) fn read<T: DeserializeOwned>(
    json: &str,
    room: &TreeRoom<'_>,
) -> Result<(T, Option<TreeCharge>), Unread> {
    match room.read(json) {
        Err(Unread::Unfit(_)) => room.read_gauged(json, |json| {
            serde_path_to_error::deserialize(json).map_err(|error| Slip::new(located(&error)))
        }),
        read => read,
    }
}

/// What does not fit and where, as a JSON Pointer.
fn located(error: &serde_path_to_error::Error<Slip>) -> String {
    let problem = error.inner().to_string();
    // The line and column of a message that nobody wrote by hand say nothing.
    let problem = problem
        .rsplit_once(" at line ")
        .map_or(&*problem, |(problem, _)| problem);
    Sentence::write(|line| {
        if error.path().iter().len() > 0 {
            line.write_str("at `")?;
            write_pointer(line, error.path())?;
            line.write_str("`: ")?;
        }
        line.write_str(problem)
    })
}

fn write_pointer(line: &mut Sentence, path: &Path) -> fmt::Result {
    path.iter().try_for_each(|segment| match segment {
        Segment::Map { key } => write!(
            line,
            "/{}",
            shortened(key).replace('~', "~0").replace('/', "~1")
        ),
        Segment::Seq { index } => write!(line, "/{index}"),
        // The name of a variant is a member or a value by itself.
        Segment::Enum { variant } => write!(line, "/{variant}"),
        Segment::Unknown => Ok(()),
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;
    use crate::base::budget::Budget;
    use crate::base::limits::Limits;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Shape {
        Circle {
            #[expect(dead_code, reason = "only its shape matters")]
            radius: u8,
        },
        Dot,
    }

    #[derive(Debug, Deserialize)]
    struct Drawing {
        #[expect(dead_code, reason = "only its shape matters")]
        title: String,
        #[expect(dead_code, reason = "only its shape matters")]
        shapes: Vec<Shape>,
    }

    fn read(json: &str) -> Result<Drawing, String> {
        let limits = Limits::default();
        let memory = Budget::whole(limits.memory_bytes_max);
        let room = TreeRoom::new(&limits, &memory);
        let read = super::read(json, &room);
        read.map(|(drawing, _)| drawing)
            .map_err(Unread::into_sentence)
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_place() {
        let rows: &[(Value, &str)] = &[
            (json!({}), "missing field `title`"),
            (
                json!({ "title": 7 }),
                "at `/title`: invalid type: integer `7`, expected a string",
            ),
            (
                json!({ "title": "", "shapes": ["dot", "square"] }),
                "at `/shapes/1`: unknown variant `square`, expected `circle` or `dot`",
            ),
            (
                json!({ "title": "", "shapes": ["dot", { "circle": { "radius": -1 } }] }),
                "at `/shapes/1/circle/radius`: invalid value: integer `-1`, expected u8",
            ),
            (
                json!([1]),
                "at `/0`: invalid type: integer `1`, expected a string",
            ),
        ];
        for (arguments, expected) in rows {
            let problem = read(&arguments.to_string()).expect_err("it does not fit");
            assert_eq!(problem, *expected, "{arguments}");
        }
        // However long and hostile, and whatever its escapes make of it.
        let long = json!({ "title": "", "shapes": ["\u{7f}".repeat(1 << 20)] });
        let problem = read(&long.to_string()).expect_err("it does not fit");
        let beginning = "at `/shapes/0`: unknown variant `\u{7f}\u{7f}";
        assert!(
            problem.starts_with(beginning) && problem.len() < 1024,
            "{problem}"
        );
        let fits =
            json!({ "title": " at line 1 ", "shapes": ["dot", { "circle": { "radius": 1 } }] });
        read(&fits.to_string()).expect("it fits");
    }
}
