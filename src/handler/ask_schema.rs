//! From a type to the form that asks a person for it: the restricted schema of elicitation, as each revision allows it.
//!
//! Pure. Must not know how the form travels. Specification: `client/elicitation` ("Requested Schema") of each revision.

use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use crate::handler::type_schema::schema_of;
use crate::protocol::version::ProtocolVersion;

/// What a field may say of itself besides its type and its choices.
const KEPT: &[&str] = &[
    "title",
    "description",
    "default",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
];
/// The formats of strings that clients know.
const FORMATS: &[&str] = &["email", "uri", "date", "date-time"];

/// The form for this type.
///
/// # Errors
///
/// When it is not a struct of plain fields; the sentence names the field.
pub(crate) fn form<T: JsonSchema>(version: ProtocolVersion) -> Result<Value, String> {
    let schema = schema_of::<T>();
    let Some(fields) = schema.get("properties").and_then(Value::as_object) else {
        return Err("only a struct with named fields can be asked for".into());
    };
    let mut properties = Map::new();
    for (name, field) in fields {
        let plain = plain(field).ok_or_else(|| {
            format!("field `{name}` can only be a string, a number, a boolean, an enum without data or a list of such enums")
        })?;
        let plain = for_revision(plain, version).ok_or_else(|| {
            format!("field `{name}` is a list, which revision {version} cannot ask for")
        })?;
        properties.insert(name.clone(), Value::Object(plain));
    }
    let mut form = json!({ "type": "object", "properties": properties });
    if let Some(required) = schema.get("required") {
        form["required"] = required.clone();
    }
    Ok(form)
}

/// One field in the words that forms know, or nothing if there are none for it.
fn plain(field: &Value) -> Option<Map<String, Value>> {
    let field = without_null(field)?;
    let mut out = Map::new();
    for key in KEPT {
        // An optional field's default of nothing is no default.
        if let Some(value) = field.get(*key).filter(|value| !value.is_null()) {
            out.insert((*key).to_owned(), value.clone());
        }
    }
    if let Some((keyword, choices)) = choices(&field, "oneOf") {
        out.insert("type".into(), "string".into());
        out.insert(keyword.into(), choices);
        return Some(out);
    }
    let kind = field.get("type")?.as_str()?;
    match kind {
        "string" => {
            let format = field.get("format").and_then(Value::as_str);
            if let Some(format) = format.filter(|format| FORMATS.contains(format)) {
                out.insert("format".into(), format.into());
            }
        }
        "integer" | "number" | "boolean" => {}
        "array" => {
            let (keyword, choices) = choices(field.get("items")?.as_object()?, "anyOf")?;
            let mut items = json!({ keyword: choices });
            if keyword == "enum" {
                items["type"] = "string".into();
            }
            out.insert("items".into(), items);
        }
        _ => return None,
    }
    out.insert("type".into(), kind.into());
    Some(out)
}

/// The schema of what is inside an `Option`.
fn without_null(field: &Value) -> Option<Map<String, Value>> {
    let mut field = field.as_object()?.clone();
    if let Some(Value::Array(kinds)) = field.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        let [kind] = kinds.as_slice() else {
            return None;
        };
        let kind = kind.clone();
        field.insert("type".into(), kind);
    }
    if let Some(Value::Array(choices)) = field.get_mut("enum") {
        choices.retain(|choice| !choice.is_null());
    }
    let null = |choice: &Value| choice.get("type") == Some(&Value::from("null"));
    if let Some(Value::Array(either)) = field.get("anyOf")
        && let [inner, nothing] = either.as_slice()
        && null(nothing)
    {
        let mut inner = inner.as_object()?.clone();
        field.remove("anyOf");
        inner.append(&mut field);
        return Some(inner);
    }
    Some(field)
}

/// The values of an enum, by the keyword `enum`, or by `titled` where they have descriptions.
fn choices(field: &Map<String, Value>, titled: &'static str) -> Option<(&'static str, Value)> {
    if let Some(values) = field.get("enum") {
        let strings = values.as_array()?.iter().all(Value::is_string);
        return strings.then(|| ("enum", values.clone()));
    }
    let choices = field.get("oneOf")?.as_array()?.iter();
    // An enum some of whose variants have doc comments: some choices are lists, some have a description.
    let each = choices.map(|choice| {
        if let Some(values) = choice.get("enum").and_then(Value::as_array) {
            let titled = values
                .iter()
                .map(|value| json!({ "const": value, "title": value }));
            return Some(titled.collect());
        }
        let value = choice.get("const")?.as_str()?;
        let title = choice.get("description").or_else(|| choice.get("title"));
        let title = title.and_then(Value::as_str).unwrap_or(value);
        Some(vec![json!({ "const": value, "title": title })])
    });
    let choices: Option<Vec<Vec<Value>>> = each.collect();
    Some((titled, choices?.concat().into()))
}

/// What the revision knows of it: before 2025-11-25 there are no lists, no `oneOf`, and defaults only for booleans.
fn for_revision(
    mut field: Map<String, Value>,
    version: ProtocolVersion,
) -> Option<Map<String, Value>> {
    if version >= ProtocolVersion::V2025_11_25 {
        return Some(field);
    }
    match field.get("type").and_then(Value::as_str) {
        Some("array") => return None,
        Some("boolean") => {}
        _ => {
            field.remove("default");
        }
    }
    if let Some(Value::Array(choices)) = field.remove("oneOf") {
        let column =
            |key: &str| -> Value { choices.iter().map(|choice| choice[key].clone()).collect() };
        field.insert("enum".into(), column("const"));
        field.insert("enumNames".into(), column("title"));
    }
    Some(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Serialize, JsonSchema)]
    #[allow(dead_code)]
    enum Plain {
        A,
        B,
    }

    #[derive(JsonSchema)]
    #[allow(dead_code)]
    enum Titled {
        /// The first
        First,
        /// The second
        Second,
    }

    fn thirty() -> u8 {
        30
    }

    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Everything {
        /// Your name
        name: String,
        nick: Option<String>,
        #[schemars(email)]
        mail: String,
        #[serde(default = "thirty")]
        age: u8,
        score: Option<f64>,
        sure: bool,
        plain: Plain,
        maybe: Option<Plain>,
        titled: Titled,
        many: Vec<Titled>,
    }

    #[test]
    fn every_kind_of_field_has_its_words() {
        let form = form::<Everything>(ProtocolVersion::V2026_07_28).expect("all fields are plain");
        let titled = json!([{"const": "First", "title": "The first"}, {"const": "Second", "title": "The second"}]);
        let rows = [
            (
                "name",
                json!({"type": "string", "description": "Your name"}),
            ),
            ("nick", json!({"type": "string"})),
            ("mail", json!({"type": "string", "format": "email"})),
            (
                "age",
                json!({"type": "integer", "minimum": 0, "maximum": 255, "default": 30}),
            ),
            ("score", json!({"type": "number"})),
            ("sure", json!({"type": "boolean"})),
            ("plain", json!({"type": "string", "enum": ["A", "B"]})),
            ("maybe", json!({"type": "string", "enum": ["A", "B"]})),
            ("titled", json!({"type": "string", "oneOf": titled})),
            ("many", json!({"type": "array", "items": {"anyOf": titled}})),
        ];
        for (field, expected) in rows {
            assert_eq!(form["properties"][field], expected, "{field}");
        }
        assert_eq!(
            form["required"],
            json!(["name", "mail", "sure", "plain", "titled", "many"])
        );
    }

    #[test]
    fn an_older_revision_is_asked_in_its_own_words() {
        #[derive(JsonSchema)]
        #[allow(dead_code)]
        struct Form {
            #[serde(default = "thirty")]
            age: u8,
            titled: Titled,
        }
        let form = form::<Form>(ProtocolVersion::V2025_06_18).expect("all fields are plain");
        let titled = json!({"type": "string", "enum": ["First", "Second"], "enumNames": ["The first", "The second"]});
        assert_eq!(form["properties"]["titled"], titled);
        assert_eq!(form["properties"]["age"].get("default"), None);
        let lists = super::form::<Everything>(ProtocolVersion::V2025_06_18);
        assert!(lists.is_err_and(|problem| problem.contains("`many`")));
    }

    #[test]
    fn what_no_form_can_ask_for_is_named() {
        #[derive(JsonSchema)]
        #[allow(dead_code)]
        struct Nested {
            inner: Vec<String>,
        }
        let problem = form::<Nested>(ProtocolVersion::V2026_07_28);
        assert!(problem.is_err_and(|problem| problem.contains("`inner`")));
        assert!(form::<String>(ProtocolVersion::V2026_07_28).is_err());
    }
}
