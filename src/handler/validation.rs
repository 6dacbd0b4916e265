//! Checks values against a JSON Schema: a tool's arguments, or its structured content.
//!
//! Neither the network nor a file is ever read for it: a schema that needs more than itself does not compile. Must not know tools.
//! Specification: `basic/index` ("JSON Schema Usage") of revision 2026-07-28.

use std::fmt::Write;

use serde_json::Value;

use crate::handler::branching::{branching, mistakes};
use crate::protocol::sentence::Sentence;

/// How many mistakes are told at once.
const ERRORS_MAX: usize = 3;
/// How many values an instance may have for its mistakes to be told, where each can have one; fewer where a value can have more. They are collected before
/// the first can be read, at some 400 bytes each: without this, a body of 4 MiB could cost 700 MiB, and a list of empty objects, of 2 KiB, 1.2 GiB.
const TOLD_VALUES_MAX: usize = 10_000;

/// A compiled schema.
#[derive(Clone, Debug)]
pub(crate) struct Validator {
    compiled: jsonschema::Validator,
    /// See [`branching`].
    branching: usize,
    /// See [`mistakes`].
    mistakes: usize,
}

impl Validator {
    /// Compiles a schema: of the dialect that its `$schema` names, or of 2020-12.
    ///
    /// # Errors
    ///
    /// A sentence, when it is not a valid schema or refers to one outside itself.
    pub(crate) fn compile(schema: &Value) -> Result<Validator, String> {
        // Said here and not only by leaving features out, because another crate in the program may ask for them.
        jsonschema::options()
            .offline()
            .build(schema)
            .map(|compiled| Validator {
                compiled,
                branching: branching(schema),
                mistakes: mistakes(schema),
            })
            .map_err(|error| told([error].into_iter(), "invalid schema, "))
    }

    /// Checks a value.
    ///
    /// # Errors
    ///
    /// Where the first mistakes are, as JSON Pointers, and what was expected there. The value itself is not repeated.
    pub(crate) fn check(&self, instance: &Value) -> Result<(), String> {
        // Needs no memory, and mostly there is nothing to tell.
        if self.compiled.is_valid(instance) {
            return Ok(());
        }
        let (depth, values) = size(instance);
        let times = self.branching.saturating_pow(depth);
        let times = times.saturating_mul(self.mistakes);
        if values > TOLD_VALUES_MAX / times {
            let most = TOLD_VALUES_MAX;
            return Err(format!(
                "the value does not match the schema; it is too large to say where, or too deep for alternatives that refer to themselves (more than {most} values to look at)"
            ));
        }
        Err(told(self.compiled.iter_errors(instance), ""))
    }
}

/// How many lists and objects stand in each other, and how many values there are.
fn size(value: &Value) -> (u32, usize) {
    let add = |(depth, values): (u32, usize), inside: &Value| {
        let (below, more) = size(inside);
        (depth.max(below + 1), values + more)
    };
    match value {
        Value::Array(items) => items.iter().fold((1, 1), add),
        Value::Object(members) => members.values().fold((1, 1), add),
        _ => (0, 1),
    }
}

/// Tells of the first mistakes.
fn told<'i>(
    mut errors: impl Iterator<Item = jsonschema::ValidationError<'i>>,
    prefix: &str,
) -> String {
    Sentence::write(|line| {
        line.write_str(prefix)?;
        for (index, error) in errors.by_ref().take(ERRORS_MAX).enumerate() {
            if index > 0 {
                line.write_str("; ")?;
            }
            match error.instance_path().as_str() {
                "" => line.write_str("at the root: ")?,
                path => write!(line, "at `{path}`: ")?,
            }
            write!(line, "{}", error.masked_with("the value"))?;
        }
        match errors.next() {
            Some(_) => line.write_str("; and more"),
            None => Ok(()),
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn compiled(schema: &Value) -> Validator {
        Validator::compile(schema).expect("the row is a schema")
    }

    #[test]
    fn a_mistake_is_told_with_its_place_and_what_was_expected() {
        let schema = json!({
            "type": "object",
            "properties": {
                "a": {"type": "integer", "minimum": 1},
                "list": {"type": "array", "items": {"enum": ["x", "y"]}},
                "a/b": {"$ref": "#/$defs/flag"},
            },
            "required": ["a"],
            "additionalProperties": false,
            "$defs": {"flag": {"type": "boolean"}},
        });
        let rows = [
            (json!({"a": 1, "list": ["x"], "a/b": true}), None),
            (
                json!([]),
                Some("at the root: the value is not of type \"object\""),
            ),
            (json!({}), Some("at the root: \"a\" is a required property")),
            (
                json!({"a": "1"}),
                Some("at `/a`: the value is not of type \"integer\""),
            ),
            (
                json!({"a": 0}),
                Some("at `/a`: the value is less than the minimum of 1"),
            ),
            (
                json!({"a": 1, "list": ["x", "z"]}),
                Some("at `/list/1`: the value is not one of \"x\" or \"y\""),
            ),
            (
                json!({"a": 1, "a/b": 1}),
                Some("at `/a~1b`: the value is not of type \"boolean\""),
            ),
            (
                json!({"a": 1, "c": 1}),
                Some("at the root: Additional properties are not allowed ('c' was unexpected)"),
            ),
        ];
        let validator = compiled(&schema);
        for (instance, expected) in rows {
            let found = validator.check(&instance);
            assert_eq!(found.err().as_deref(), expected, "{instance}");
        }
    }

    #[test]
    fn only_the_first_mistakes_are_told() {
        let validator = compiled(&json!({"items": {"type": "null"}}));
        let told = |count: usize| {
            validator
                .check(&json!(vec![1; count]))
                .expect_err("numbers are not null")
        };
        assert_eq!(told(3).matches("is not of type").count(), 3, "{}", told(3));
        assert!(!told(3).contains("more"), "{}", told(3));
        assert_eq!(told(500).matches("is not of type").count(), 3);
        assert!(told(500).ends_with("; and more"), "{}", told(500));
    }

    #[test]
    fn a_large_value_is_refused_without_collecting_its_mistakes() {
        let validator = compiled(&json!({"items": {"items": {"type": "null"}}}));
        // The outer list, ten lists, and what is in them: 9011 values and `inner`.
        let nested = |inner: usize| {
            let mut lists = vec![json!(vec![1; 1000]); 9];
            lists.push(json!(vec![1; inner]));
            json!(lists)
        };
        for (inner, told_where) in [(989, true), (990, false), (100_000, false)] {
            let told = validator
                .check(&nested(inner))
                .expect_err("numbers are not null");
            assert_eq!(told.starts_with("at `/0/0`: "), told_where, "{told}");
            assert_eq!(told.contains("too large to say where"), !told_where);
        }
        let valid = json!([vec![Value::Null; 100_000]]);
        assert_eq!(validator.check(&valid), Ok(()));
    }

    #[test]
    fn law_13_names_that_are_missing_and_alternatives_count_as_often_as_they_are_told() {
        let names: Vec<_> = (0..99).map(|name| format!("n{name}")).collect();
        let one = json!({ "required": names });
        let variant = |name: &String| json!({ "type": "object", "required": [name] });
        let variants: Vec<_> = names.iter().map(variant).collect();
        let rows = [
            json!({ "items": one }),
            json!({ "items": { "oneOf": variants } }),
            json!({ "items": { "anyOf": [{ "$ref": "#/$defs/one" }, { "type": "null" }] }, "$defs": { "one": one } }),
            json!({ "anyOf": [{ "items": one }, { "minItems": 1000 }] }),
        ];
        for schema in rows {
            let validator = compiled(&schema);
            let told = |count: usize| {
                let instance = json!(vec![json!({}); count]);
                let told = validator.check(&instance).expect_err("all are missing");
                !told.contains("too large to say where")
            };
            assert!(told(90) && !told(110), "{schema}");
        }
    }

    #[test]
    fn law_13_alternatives_that_refer_to_themselves_do_not_multiply_the_work() {
        let branch = |mark: &str| json!({ "type": "object", "properties": { "next": { "$ref": "#" }, "v": { "const": mark } } });
        let validator =
            compiled(&json!({ "anyOf": [branch("a"), branch("b"), { "type": "null" }] }));
        let nested = |levels: usize| {
            (0..levels).fold(json!({ "v": "c" }), |inner, _| json!({ "next": inner }))
        };
        for (levels, told_where) in [(1, true), (5, true), (60, false)] {
            let told = validator
                .check(&nested(levels))
                .expect_err("`c` is no mark");
            assert_eq!(!told.contains("too deep"), told_where, "{levels}: {told}");
        }
        let fits = (0..60).fold(json!({ "v": "a" }), |inner, _| json!({ "next": inner }));
        assert_eq!(validator.check(&fits), Ok(()));
        // A tree in which nothing is looked at twice may be deep.
        let plain = compiled(
            &json!({ "type": "object", "properties": { "next": { "$ref": "#" }, "v": { "const": "a" } } }),
        );
        let told = plain.check(&nested(60)).expect_err("`c` is no mark");
        assert!(told.starts_with("at `/next/next/"), "{told}");
    }

    #[test]
    fn a_long_mistake_is_cut() {
        let validator = compiled(&json!({"additionalProperties": {"type": "null"}}));
        for length in [400, 500, 511, 100_000] {
            let instance = json!({ "é".repeat(length): "x".repeat(length) });
            let told = validator
                .check(&instance)
                .expect_err("a string is not null");
            assert!(told.len() <= 512, "{}", told.len());
            assert!(
                told.starts_with("at `/é") && told.ends_with("..."),
                "{told}"
            );
        }
    }

    #[test]
    fn the_dialect_is_2020_12_unless_the_schema_names_another() {
        let tuple = json!({"prefixItems": [{"type": "integer"}]});
        assert!(compiled(&tuple).check(&json!(["x"])).is_err());
        let mut old = tuple;
        old["$schema"] = json!("http://json-schema.org/draft-07/schema#");
        assert!(compiled(&old).check(&json!(["x"])).is_ok());
        let mut new = old;
        new["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
        assert!(compiled(&new).check(&json!(["x"])).is_err());
    }

    #[test]
    fn a_schema_that_cannot_work_does_not_compile() {
        let rows = [
            (json!({"type": "nothing"}), "invalid schema, at `/type`"),
            (json!({"minimum": "1"}), "invalid schema, at `/minimum`"),
            (json!({"pattern": "("}), "invalid schema, at `/pattern`"),
            (json!({"$ref": "#/$defs/none"}), "invalid schema"),
            (json!(7), "invalid schema"),
        ];
        for (schema, expected) in rows {
            let error = Validator::compile(&schema).expect_err("the row is no schema");
            assert!(error.starts_with(expected), "{schema}: {error}");
        }
    }

    #[test]
    fn nothing_is_fetched() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        listener
            .set_nonblocking(true)
            .expect("a listener can be asked without waiting");
        let address = listener.local_addr().expect("it is bound");
        let file = std::env::temp_dir().join(format!("schema-{}.json", std::process::id()));
        std::fs::write(&file, "true").expect("a temporary file can be written");
        let local = format!("http://{address}/schema");
        let rows = [
            json!({"$ref": local}),
            json!({"properties": {"a": {"$ref": local}}}),
            json!({"$id": local, "$ref": "other"}),
            json!({"$dynamicRef": local}),
            json!({"$schema": local}),
            json!({"$ref": format!("https://{address}/schema#/a")}),
            json!({"$ref": format!("file://{}", file.display())}),
        ];
        for schema in rows {
            let error = Validator::compile(&schema).expect_err("it needs more than itself");
            assert!(error.starts_with("invalid schema, "), "{schema}: {error}");
        }
        std::fs::remove_file(&file).expect("it was written above");
        let nobody = listener.accept().expect_err("nobody has come");
        assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock);
    }

    #[test]
    fn it_can_be_shared_by_workers() {
        fn shared<T: Send + Sync>() {}
        shared::<Validator>();
    }

    proptest! {
        #[test]
        fn what_is_told_is_bounded(name in ".*", value in ".*", count in 0_usize..40) {
            let validator = compiled(&json!({"additionalProperties": {"items": {"const": name}}}));
            let instance = json!({ name: vec![value; count] });
            if let Err(told) = validator.check(&instance) {
                prop_assert!(told.len() <= 512, "{}", told);
            }
        }
    }
}
