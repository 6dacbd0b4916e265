//! From JSON to what a handler takes, or to a sentence about what does not fit, which a model can put right.
//!
//! Pure. Must not know what the arguments are for. Specification: `server/tools` ("Error Handling").

use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};

/// Reads a value. Where it does not fit is looked for only when it does not, because that takes longer.
pub(crate) fn read<T: DeserializeOwned>(json: &str) -> Result<T, String> {
    serde_json::from_str(json).map_err(|error| located::<T>(json).unwrap_or(error.to_string()))
}

/// What does not fit, and where, as a JSON Pointer.
fn located<T: DeserializeOwned>(json: &str) -> Option<String> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let error = serde_path_to_error::deserialize::<_, T>(&mut deserializer).err()?;
    let place = pointer(error.path());
    let problem = error.inner().to_string();
    // The line and column of a message that nobody wrote by hand say nothing.
    let problem = problem
        .rsplit_once(" at line ")
        .map_or(&*problem, |(problem, _)| problem);
    Some(match place.is_empty() {
        true => problem.to_owned(),
        false => format!("at `{place}`: {problem}"),
    })
}

fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Map { key } => {
                pointer += &format!("/{}", key.replace('~', "~0").replace('/', "~1"))
            }
            Segment::Seq { index } => pointer += &format!("/{index}"),
            // The name of a variant is a member or a value by itself.
            Segment::Enum { variant } => pointer += &format!("/{variant}"),
            Segment::Unknown => {}
        }
    }
    pointer
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;

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
            let problem = read::<Drawing>(&arguments.to_string()).expect_err("it does not fit");
            assert_eq!(problem, *expected, "{arguments}");
        }
        let fits =
            json!({ "title": " at line 1 ", "shapes": ["dot", { "circle": { "radius": 1 } }] });
        read::<Drawing>(&fits.to_string()).expect("it fits");
    }
}
