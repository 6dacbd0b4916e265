//! Tool parameters that HTTP header fields mirror: which ones a schema names with `x-mcp-header`, and whether a call's fields say what its
//! body says.
//!
//! Somebody between client and server may have acted on the fields without reading the body, so a call whose two halves differ in any way is
//! refused. Pure; must not know where header fields are read. Specification: `basic/transports/streamable-http` ("Custom Headers from Tool
//! Parameters", "Server Validation") and `server/tools` ("x-mcp-header") of revision 2026-07-28.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::protocol::errors::{ErrorObject, shortened};
use crate::protocol::modern::{Field, absent, decoded, differ, mismatch};
use crate::protocol::number::Decimal;
use crate::protocol::raw;
use crate::protocol::subschemas::{below, subschemas};
use crate::protocol::text::Text;

const ANNOTATION: &str = "x-mcp-header";
/// The largest integer that JavaScript can tell from its neighbours.
const INTEGER_MAX: i64 = (1 << 53) - 1;

/// The mirrored parameters of one tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ParamHeaders {
    members: Vec<MirroredProperty>,
}

/// A property that is mirrored, or one inside it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct MirroredProperty {
    name: String,
    /// The field that mirrors it, such as `Mcp-Param-Region`.
    field: Option<String>,
    members: Vec<MirroredProperty>,
}

impl ParamHeaders {
    /// Finds the annotations of an input schema.
    ///
    /// # Errors
    ///
    /// A sentence that says which annotation breaks which rule. Clients drop a tool with such a schema.
    pub(crate) fn from_schema(input_schema: &Value) -> Result<ParamHeaders, String> {
        let mut taken = BTreeSet::new();
        let members = match input_schema {
            Value::Object(schema) if schema.contains_key(ANNOTATION) => {
                return Err(misplaced(&[]));
            }
            Value::Object(schema) => members(schema, &mut Vec::new(), &mut taken)?,
            _ => Vec::new(),
        };
        Ok(ParamHeaders { members })
    }

    /// Whether nothing is mirrored.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Compares the header fields of a call with its arguments. `header` is asked for whole names, such as `Mcp-Param-Region`, and has to
    /// compare them without case.
    pub(crate) fn check<'a>(
        &'a self,
        arguments: Option<&RawValue>,
        header: &dyn Fn(&'a str) -> Field<'a>,
    ) -> Result<(), ErrorObject> {
        check_members(&self.members, arguments, header)
    }
}

/// The mirrored properties of a schema, which stands at this path.
fn members<'s>(
    schema: &'s Map<String, Value>,
    path: &mut Vec<&'s str>,
    taken: &mut BTreeSet<String>,
) -> Result<Vec<MirroredProperty>, String> {
    let hidden = schema
        .iter()
        .filter(|(keyword, _)| *keyword != "properties");
    if hidden
        .flat_map(|(keyword, value)| subschemas(keyword, value))
        .any(is_annotated)
    {
        return Err(misplaced(path));
    }
    let mut found = Vec::new();
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        let Value::Object(property) = property else {
            continue;
        };
        path.push(name);
        let field = match property.get(ANNOTATION) {
            None => None,
            Some(value) => Some(field(value, property, taken).map_err(|what| at(path, &what))?),
        };
        let members = members(property, path, taken)?;
        path.pop();
        if field.is_some() || !members.is_empty() {
            found.push(MirroredProperty {
                name: name.clone(),
                field,
                members,
            });
        }
    }
    Ok(found)
}

/// The field that an annotation asks for.
fn field(
    annotation: &Value,
    property: &Map<String, Value>,
    taken: &mut BTreeSet<String>,
) -> Result<String, String> {
    let name = annotation
        .as_str()
        .filter(|name| !name.is_empty() && name.bytes().all(is_token))
        .ok_or_else(|| {
            format!("`{ANNOTATION}` is {annotation}; it must be a string of the characters that a header name can have")
        })?;
    let kind = property.get("type").and_then(Value::as_str);
    if !matches!(kind, Some("string" | "integer" | "boolean")) {
        return Err(format!(
            "`{ANNOTATION}` needs a \"type\" that is \"string\", \"integer\" or \"boolean\", and no other"
        ));
    }
    if !taken.insert(name.to_ascii_lowercase()) {
        return Err(format!(
            "`{ANNOTATION}` is \"{name}\", which another property has already; case does not matter"
        ));
    }
    Ok(format!("Mcp-Param-{name}"))
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn misplaced(path: &[&str]) -> String {
    let what = format!(
        "`{ANNOTATION}` can only stand in a property that is reached through `properties` alone"
    );
    at(path, &what)
}

fn at(path: &[&str], what: &str) -> String {
    match path {
        [] => format!("input schema: {what}"),
        path => format!("property `{}`: {what}", path.join(".")),
    }
}

/// Whether a schema or one below it has an annotation.
fn is_annotated(schema: &Value) -> bool {
    schema
        .as_object()
        .is_some_and(|schema| schema.contains_key(ANNOTATION) || below(schema).any(is_annotated))
}

fn check_members<'a>(
    members: &'a [MirroredProperty],
    object: Option<&RawValue>,
    header: &dyn Fn(&'a str) -> Field<'a>,
) -> Result<(), ErrorObject> {
    let found = find(members, object)
        .map_err(|why| mismatch(format!("the arguments cannot be compared: {why}")))?;
    for (member, value) in members.iter().zip(found) {
        if let Some(field) = &member.field {
            check_field(field, header(field), value).map_err(mismatch)?;
        }
        check_members(&member.members, value, header)?;
    }
    Ok(())
}

/// The values of these members, in their order. What is not an object has none.
///
/// # Errors
///
/// A key is there twice: another reader of the body might take the other value.
fn find<'v>(
    members: &[MirroredProperty],
    object: Option<&'v RawValue>,
) -> Result<Vec<Option<&'v RawValue>>, String> {
    let mut found = vec![None; members.len()];
    let object = object
        .map(RawValue::get)
        .filter(|text| text.starts_with('{'));
    let Some(object) = object.filter(|_| !members.is_empty()) else {
        return Ok(found);
    };
    let mut twice = None;
    let read = raw::each(object, |name, value| {
        let is_named = |member: &MirroredProperty| name.as_deref() == Some(&member.name);
        if let Some(index) = members.iter().position(is_named)
            && found[index].replace(value).is_some()
        {
            twice = Some(index);
        }
    });
    match (read, twice) {
        (None, _) => Err("a name is no text".into()),
        (_, Some(index)) => Err(format!(
            "`{}` is there twice",
            shortened(&members[index].name)
        )),
        (_, None) => Ok(found),
    }
}

/// Compares one field with the value it mirrors; `null` is no value.
fn check_field(field: &str, header: Field<'_>, value: Option<&RawValue>) -> Result<(), String> {
    let value = value.map(RawValue::get).filter(|text| *text != "null");
    let header = match (header, value) {
        (Field::Absent, None) => return Ok(()),
        (Field::Absent, Some(value)) => {
            return Err(absent(field, &shown(value)));
        }
        (Field::Repeated, _) => return Err(format!("{field} stands more than once")),
        (Field::One(header), _) => header,
    };
    let header = decoded(field, header)?;
    match value {
        Some(value) if says(&header, value) => Ok(()),
        Some(value) => Err(differ(field, &header, &shown(value))),
        None => Err(format!(
            "{field} header value '{}' has no value in the body to match",
            shortened(&header)
        )),
    }
}

/// A JSON value as an error shows it: a string without its quotes.
fn shown(value: &str) -> Cow<'_, str> {
    serde_json::from_str(value).map_or(Cow::Borrowed(value), |Text(text)| text)
}

/// Whether a decoded field says the same as this JSON value. Only strings, booleans and integers can be said in a field.
fn says(header: &str, value: &str) -> bool {
    match value.bytes().next() {
        Some(b'"') => serde_json::from_str::<Text<'_>>(value).is_ok_and(|text| text.0 == header),
        Some(b't' | b'f') => header == value,
        Some(b'-' | b'0'..=b'9') => {
            let said = integer(header);
            said.is_some() && said == integer(value)
        }
        _ => false,
    }
}

/// The integer that a JSON number is, however it is written, if it is one that every client can represent. Exact: a float could not tell
/// `1.00000000000000000001` from `1`.
fn integer(text: &str) -> Option<i64> {
    let value = i64::try_from(Decimal::read(text)?.integer()?).ok()?;
    (-INTEGER_MAX..=INTEGER_MAX)
        .contains(&value)
        .then_some(value)
}

#[cfg(test)]
mod tests;
