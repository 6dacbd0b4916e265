//! The arguments that the server takes for itself, taken out of a call's.
//!
//! Pure; reads and writes text, makes no tree. Must not know what is done with them.

use serde_json::value::RawValue;

use crate::base::heap;
use crate::handler::registration::{BACKGROUND, WORKSPACE};
use crate::protocol::raw::each;
use crate::protocol::text::write_json;

/// What a call says to the server, and what is left of its arguments.
#[derive(Debug, Default)]
pub(crate) struct DeskArguments {
    pub(crate) workspace: Option<String>,
    pub(crate) background: bool,
    pub(crate) rest: Option<Box<RawValue>>,
}

/// Takes them out; `is_lenient` also takes the text of a boolean.
///
/// # Errors
///
/// A sentence for the model, when one has the wrong type.
pub(crate) fn take(
    arguments: Option<&RawValue>,
    is_lenient: bool,
) -> Result<DeskArguments, String> {
    let Some(arguments) = arguments else {
        return Ok(DeskArguments::default());
    };
    let text = arguments.get();
    let mut said = DeskArguments::default();
    let mut rest = heap::room(text.len());
    let mut problem = None;
    // One by one: a list of a million members would cost many times their text.
    let is_object = text.starts_with('{')
        && each(text, |name, value| {
            let name = name.unwrap_or_default();
            match said.take(&name, value.get(), is_lenient) {
                Ok(true) => {}
                Ok(false) => {
                    rest.push(if rest.is_empty() { b'{' } else { b',' });
                    write_json(&mut rest, &name);
                    rest.push(b':');
                    rest.extend_from_slice(value.get().as_bytes());
                }
                Err(what) => {
                    let named = format!("Invalid arguments: `{name}` must be {what}");
                    problem.get_or_insert(named);
                }
            }
        })
        .is_some();
    if !is_object {
        return Err("Invalid arguments: they must be an object".to_owned());
    }
    if let Some(problem) = problem {
        return Err(problem);
    }
    if rest.is_empty() {
        rest.push(b'{');
    }
    rest.push(b'}');
    let rest = String::from_utf8(rest).expect("pieces of text are text");
    said.rest = Some(RawValue::from_string(rest).expect("pieces of an object are an object"));
    Ok(said)
}

impl DeskArguments {
    /// Takes a member that is the server's; `false` for one that is not.
    fn take(&mut self, name: &str, value: &str, is_lenient: bool) -> Result<bool, &'static str> {
        match name {
            WORKSPACE => {
                self.workspace = serde_json::from_str(value).map_err(|_| "a string")?;
            }
            BACKGROUND => {
                let value = match value {
                    "\"true\"" if is_lenient => "true",
                    "\"false\"" if is_lenient => "false",
                    value => value,
                };
                let background: Option<bool> =
                    serde_json::from_str(value).map_err(|_| "a boolean")?;
                self.background = background.unwrap_or_default();
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_takes_its_own_and_leaves_the_rest_as_it_was() {
        let rows = [
            (r#"{}"#, "{}", None, false),
            (
                r#"{"a" : 1.50, "b":{"workspace":1}}"#,
                r#"{"a":1.50,"b":{"workspace":1}}"#,
                None,
                false,
            ),
            (
                r#"{"workspace":"w","a":[1, 2]}"#,
                r#"{"a":[1, 2]}"#,
                Some("w"),
                false,
            ),
            (
                r#"{"a":1,"background":true,"w\"":2}"#,
                r#"{"a":1,"w\"":2}"#,
                None,
                true,
            ),
            (r#"{"workspace":null,"background":null}"#, "{}", None, false),
            (r#"{"background":"true"}"#, "{}", None, true),
        ];
        for (given, rest, workspace, background) in rows {
            let raw = RawValue::from_string(given.into()).expect("the row is JSON");
            let said = take(Some(&raw), true).expect(given);
            let left = said.rest.expect("there were some");
            assert_eq!(
                (left.get(), said.workspace.as_deref(), said.background),
                (rest, workspace, background),
                "{given}"
            );
        }
        assert!(take(None, false).expect("none is fine").rest.is_none());
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (given, named) in [
            (r#"{"workspace":7}"#, "`workspace`"),
            (r#"{"background":"true"}"#, "`background`"),
            ("[]", "object"),
        ] {
            let raw = RawValue::from_string(given.into()).expect("the row is JSON");
            let problem = take(Some(&raw), false).expect_err(given);
            assert!(problem.contains(named), "{problem}");
        }
    }
}
