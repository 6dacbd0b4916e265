//! Checks values against a JSON Schema: a tool's arguments, or its structured content.
//!
//! Neither the network nor a file is ever read for it: a schema that needs more than itself does not compile. Must not know tools.
//! Specification: `basic/index` ("JSON Schema Usage") of revision 2026-07-28.

use std::fmt::Write;

use jsonschema::PatternOptions;
use serde_json::{Value, json};

use crate::handler::metered::{Metered, MeteredJson, metered};
use crate::protocol::sentence::Sentence;

/// How many mistakes are told at once.
const ERRORS_MAX: usize = 3;
/// How many looks at values a check may take, of some 10 ns each: sixty at each of the 2 Mi values of a body of 4 MiB.
const LOOKS_MAX: usize = if cfg!(test) { 1 << 22 } else { 1 << 27 };
/// How many the collecting of mistakes may take, all of which are in memory before the first can be read, with the names that they found.
const TOLD_LOOKS_MAX: usize = 1 << 17;
/// How many of these a mistake takes, and how many bytes of memory, beside the names that lead to it.
const MISTAKE_LOOKS: usize = 10;
const MISTAKE_BYTES: usize = 400;
/// How many steps back a match may take that looks around or back: one for each character of a long path, and 2 ms.
const BACKTRACKS_MAX: usize = 20_000;
/// How long a text may be to be read as a regular expression, for which up to 60 times its length is taken.
const REGEX_BYTES_MAX: usize = 64 << 10;

/// A compiled schema.
#[derive(Clone, Debug)]
pub(crate) struct Validator {
    compiled: jsonschema::Validator<MeteredJson>,
    /// Whether it has a pattern whose matches take more than linear time.
    backtracks: bool,
}

impl Validator {
    /// Compiles a schema: of the dialect that its `$schema` names, or of 2020-12.
    ///
    /// # Errors
    ///
    /// A sentence, when it is not a valid schema or refers to one outside itself.
    pub(crate) fn compile(schema: &Value) -> Result<Validator, String> {
        // Said here and not only by leaving features out, because another crate in the program may ask for them.
        let options = jsonschema::options_for::<MeteredJson>().offline();
        let options = options.with_format("regex", is_regex);
        let linear = options
            .clone()
            .with_pattern_options(PatternOptions::regex());
        let backtracking = PatternOptions::fancy_regex().backtrack_limit(BACKTRACKS_MAX);
        let (built, backtracks) = match linear.build(schema) {
            Ok(compiled) => (Ok(compiled), false),
            Err(_) => (
                options.with_pattern_options(backtracking).build(schema),
                true,
            ),
        };
        match built {
            Ok(compiled) => Ok(Validator {
                compiled,
                backtracks,
            }),
            Err(error) => Err(told([error].into_iter(), "invalid schema, ")),
        }
    }

    /// Checks a value.
    ///
    /// # Errors
    ///
    /// Where the first mistakes are, as JSON Pointers, and what was expected there. The value itself is not repeated.
    pub(crate) fn check(&self, instance: &Value) -> Result<(), String> {
        // Needs no memory, and mostly there is nothing to tell.
        let is_valid = || self.compiled.is_valid(Metered(instance));
        match metered(LOOKS_MAX, 1, self.backtracks, is_valid) {
            Some(true) => return Ok(()),
            Some(false) => {}
            None => return Err("the value takes too long to check against the schema; it is too large for that, or a text in it for a pattern".into()),
        }
        let mistake = MISTAKE_LOOKS * (1 + names_len(instance) / MISTAKE_BYTES);
        let collect = || told(self.compiled.iter_errors(Metered(instance)), "");
        let told = metered(TOLD_LOOKS_MAX, mistake, self.backtracks, collect);
        Err(told.unwrap_or_else(|| {
            "the value does not match the schema; it is too large to say where, or too deep for alternatives that refer to themselves".into()
        }))
    }
}

/// Whether a text is a regular expression, and short.
fn is_regex(text: &str) -> bool {
    let schema = json!({ "format": "regex" });
    text.len() <= REGEX_BYTES_MAX && jsonschema::draft7::is_valid(&schema, &text.into())
}

/// How long the names that lead to a value in this one are together, at most.
fn names_len(value: &Value) -> usize {
    let of_member = |(name, value): (&String, &Value)| name.len() + names_len(value);
    let longest = match value {
        Value::Array(items) => items.iter().map(names_len).max(),
        Value::Object(members) => members.iter().map(of_member).max(),
        _ => None,
    };
    longest.unwrap_or_default()
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
        for (count, told_where) in [(5_000, true), (20_000, false), (100_000, false)] {
            let told = validator
                .check(&json!([vec![1; count]]))
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
            assert!(told(50) && !told(200), "{schema}");
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
        for (levels, told_where) in [(1, true), (5, true), (9, true), (60, false)] {
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
    fn law_13_a_long_name_that_leads_there_counts_as_often_as_it_is_told() {
        let validator =
            compiled(&json!({ "additionalProperties": { "items": { "type": "null" } } }));
        for (length, told_where) in [(1_000, true), (1_000_000, false)] {
            let told = validator.check(&json!({ "k".repeat(length): vec![1; 1_000] }));
            let told = told.expect_err("numbers are not null");
            assert_eq!(told.starts_with("at `/k"), told_where, "{told}");
        }
    }

    #[test]
    fn law_09_what_takes_too_long_to_check_is_refused() {
        let mixed: Vec<_> = (0..5_000)
            .flat_map(|n| [json!(n), json!(n.to_string())])
            .collect();
        // All ways to read what comes before the number are tried, and then it fits.
        let near = |n: usize| json!(format!("{}{n}", "a".repeat(11)));
        let rows = [
            (json!({ "enum": mixed }), vec![json!("4999"); 10_000]),
            (json!({ "enum": mixed }), vec![json!(4_999); 10_000]),
            (
                json!({ "anyOf": [{ "allOf": vec![json!({ "minItems": 0 }); 1_000] }] }),
                vec![json!([]); 10_000],
            ),
            (
                json!({ "pattern": "^(?!(a|a)*(?!x)c)a" }),
                (0..20_000).map(near).collect(),
            ),
            (
                json!({ "pattern": "(?=.*b)x" }),
                vec![json!("a".repeat(1_000_000))],
            ),
        ];
        for (items, instance) in rows {
            let validator = compiled(&json!({ "items": items }));
            let told = validator
                .check(&json!(instance))
                .expect_err("nobody has so much time");
            assert!(told.contains("takes too long to check"), "{items}: {told}");
            let few = validator.check(&json!(instance[..1]));
            assert!(!few.is_err_and(|told| told.contains("too long") && instance.len() > 1));
        }
    }

    #[test]
    fn law_09_lists_of_lists_are_told_apart_in_linear_time() {
        let bits = |n: usize| {
            (0..17)
                .map(|bit| json!(vec![json!([]); n >> bit & 1]))
                .collect()
        };
        let lists: Vec<Value> = (0..60_000).map(bits).collect();
        let validator = compiled(&json!({ "uniqueItems": true }));
        assert_eq!(validator.check(&json!(lists)), Ok(()));
        for (twice, same) in [
            (json!([1, 2, 1.0]), true),
            (json!([0, -0.0]), true),
            (json!([1e300, 1e301, 0.1, 0.2, 1]), false),
            (json!([u64::MAX, u64::MAX as f64]), false),
            (json!([{ "a": 1, "b": [2] }, { "b": [2.0], "a": 1 }]), true),
            (json!([{ "a": 1, "b": 2 }, { "a": 2, "b": 1 }]), false),
            (
                json!([null, false, 0, "", [], {}, [[]], [null], "0"]),
                false,
            ),
        ] {
            assert_eq!(validator.check(&twice).is_err(), same, "{twice}");
        }
    }

    #[test]
    fn law_13_a_long_text_is_no_regular_expression() {
        let validator = compiled(
            &json!({ "$schema": "http://json-schema.org/draft-07/schema#", "format": "regex" }),
        );
        for (text, fits) in [
            ("(a|b)*(?=c)".to_owned(), true),
            ("(".to_owned(), false),
            ("()".repeat(32 << 10), true),
            ("()".repeat(33 << 10), false),
        ] {
            assert_eq!(
                validator.check(&json!(text)).is_ok(),
                fits,
                "{}",
                text.len()
            );
        }
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
