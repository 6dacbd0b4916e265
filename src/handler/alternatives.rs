//! The alternatives of a schema (`oneOf`, `anyOf`), said in fewer words: names with descriptions as one `enum`, objects as one object.
//!
//! Pure; part of the pass in `portable`. Must not know where the alternatives stand.

use serde_json::{Map, Value, json};

type Schema = Map<String, Value>;

/// Alternatives that say nothing but further alternatives are those.
pub(super) fn spliced(choice: Value) -> Vec<Value> {
    match choice {
        Value::Object(mut only) if only.len() == 1 && only.contains_key("anyOf") => {
            match only.remove("anyOf") {
                Some(Value::Array(choices)) => choices,
                _ => Vec::new(),
            }
        }
        choice => vec![choice],
    }
}

/// Joins alternatives that are names into one that lists them, with their descriptions.
pub(super) fn names(choices: Vec<Value>) -> Vec<Value> {
    let is_null = |choice: &Value| choice["type"] == "null";
    let is_name = |choice: &Value| {
        let names = choice["enum"].as_array();
        names.is_some_and(|names| names.iter().all(Value::is_string))
    };
    if choices.len() < 2
        || !choices
            .iter()
            .all(|choice| is_null(choice) || is_name(choice))
    {
        return choices;
    }
    let (nulls, choices): (Vec<_>, Vec<_>) = choices.into_iter().partition(is_null);
    let mut names = Vec::new();
    let mut lines = Vec::new();
    let own = match choices.as_slice() {
        [only] => only["description"].as_str().map(ToOwned::to_owned),
        _ => None,
    };
    for choice in &choices {
        let named = choice["enum"].as_array().into_iter().flatten();
        names.extend(named.cloned());
        if let (Some(name), Some(text)) =
            (choice["enum"][0].as_str(), choice["description"].as_str())
        {
            lines.push(format!("- `{name}`: {text}"));
        }
    }
    let mut joined = json!({ "type": "string", "enum": names });
    match own {
        Some(own) => joined["description"] = own.into(),
        None if lines.is_empty() => {}
        None => joined["description"] = lines.join("\n").into(),
    }
    [vec![joined], nulls].concat()
}

/// The one schema that these are, or all that differ.
pub(super) fn choice_of(choices: Vec<Value>) -> Result<Value, Vec<Value>> {
    let mut differing = Vec::new();
    for choice in choices {
        if !differing.contains(&choice) {
            differing.push(choice);
        }
    }
    match differing.len() {
        1 => Ok(differing.remove(0)),
        _ => Err(differing),
    }
}

/// One object that has the members of all these, or nothing if one of them is no object. Only what all of them require is required.
pub(super) fn joined(mut schema: Schema, choices: Vec<Value>) -> Result<Schema, ()> {
    let mut required_by_all: Option<Vec<Value>> = None;
    let mut lines = Vec::new();
    let mut properties = Schema::new();
    for choice in choices {
        let Value::Object(mut choice) = choice else {
            return Err(());
        };
        if let Some(Value::Array(inner)) = choice.remove("anyOf") {
            choice = joined(choice, inner)?;
        }
        let Some(Value::Object(members)) = choice.remove("properties") else {
            return Err(());
        };
        let required = match choice.remove("required") {
            Some(Value::Array(required)) => required,
            _ => Vec::new(),
        };
        lines.extend(line(&members, &required, choice.get("description")));
        for (name, member) in members {
            match properties.get_mut(&name) {
                Some(known) => *known = either(known.take(), member),
                None => drop(properties.insert(name, member)),
            }
        }
        match &mut required_by_all {
            None => required_by_all = Some(required),
            Some(all) => all.retain(|name| required.contains(name)),
        }
    }
    if let Value::Object(own) = schema.entry("properties").or_insert_with(|| json!({})) {
        own.extend(properties);
    }
    if let Some(all) = required_by_all.filter(|all| !all.is_empty())
        && let Value::Array(own) = schema.entry("required").or_insert_with(|| json!([]))
    {
        own.extend(all);
    }
    schema.insert("type".into(), "object".into());
    if lines.len() > 1 {
        describe(&mut schema, &format!("One of:\n{}", lines.join("\n")));
    }
    Ok(schema)
}

/// What a person would say of one alternative: the name that tells it from the others, what it is, and what else it takes.
fn line(members: &Schema, required: &[Value], description: Option<&Value>) -> Option<String> {
    let is_tag = |(_, member): &(&String, &Value)| {
        member["enum"]
            .as_array()
            .is_some_and(|names| names.len() == 1)
    };
    let tag = members.iter().find(is_tag);
    let (name, tag) = match tag {
        Some((tag, member)) => (member["enum"][0].as_str()?, Some(tag)),
        None => (required.first()?.as_str()?, None),
    };
    let others = members
        .keys()
        .filter(|member| Some(*member) != tag && *member != name);
    let others: Vec<_> = others.map(|member| format!("`{member}`")).collect();
    let mut line = format!("- `{name}`");
    if let Some(text) = description.and_then(Value::as_str) {
        line += &format!(": {text}");
    }
    if !others.is_empty() {
        line += &format!(" (with {})", others.join(", "));
    }
    Some(line)
}

/// What one member may be that two alternatives have.
fn either(one: Value, other: Value) -> Value {
    let choices = [one, other].into_iter().flat_map(spliced).collect();
    any_of(names(choices))
}

/// Any of these, in the fewest words.
pub(super) fn any_of(choices: Vec<Value>) -> Value {
    choice_of(choices).unwrap_or_else(|several| json!({ "anyOf": several }))
}

pub(super) fn describe(schema: &mut Schema, text: &str) {
    let own = schema.get("description").and_then(Value::as_str);
    let text = own.map_or(text.to_owned(), |own| format!("{own}\n\n{text}"));
    schema.insert("description".into(), text.into());
}
