//! Rows of schemas and rows of calls, and what clients may spell differently.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::protocol::errors::ErrorCode;

mod annotations;

/// `R` mirrors `region`, `N` mirrors `count`, `B` mirrors `inner.flag`.
fn headers() -> ParamHeaders {
    let schema = json!({
        "type": "object",
        "properties": {
            "region": {"type": "string", "x-mcp-header": "R"},
            "count": {"type": "integer", "x-mcp-header": "N"},
            "inner": {"type": "object", "properties": {"flag": {"type": "boolean", "x-mcp-header": "B"}}},
        },
    });
    ParamHeaders::from_schema(&schema).expect("the annotations are valid")
}

/// Checks a call whose fields are given as `name: value` lines.
fn check(arguments: &str, fields: &[&str]) -> Result<(), ErrorObject> {
    let raw = RawValue::from_string(arguments.to_owned()).expect("the row is JSON");
    headers().check(Some(&raw), &|name| {
        let mut values = fields
            .iter()
            .filter_map(|line| line.split_once(": "))
            .filter(|(field, _)| field.eq_ignore_ascii_case(name));
        match (values.next(), values.next()) {
            (None, _) => Field::Absent,
            (Some((_, value)), None) => Field::One(value),
            _ => Field::Repeated,
        }
    })
}

#[test]
fn fields_have_to_say_what_the_body_says() {
    const HELLO: &str = r#"{"region":"Hello"}"#;
    let rows: &[(&str, &[&str], Option<&str>)] = &[
        ("{}", &[], None),
        ("[]", &[], None),
        ("null", &[], None),
        (
            r#"{"other":{"region":"x"},"inner":{"region":"x"}}"#,
            &["Mcp-Param-Other: y"],
            None,
        ),
        (HELLO, &["mcp-param-r: Hello"], None),
        (
            HELLO,
            &["Mcp-Param-R: hello"],
            Some("Mcp-Param-R header value 'hello' does not match body value 'Hello'"),
        ),
        (
            HELLO,
            &[],
            Some("Mcp-Param-R is missing; the body says 'Hello'"),
        ),
        (
            HELLO,
            &["Mcp-Param-R: Hello", "mcp-param-R: Hello"],
            Some("Mcp-Param-R stands more than once"),
        ),
        (
            "{}",
            &["Mcp-Param-R: Hello", "mcp-param-R: Hello"],
            Some("stands more than once"),
        ),
        (
            "{}",
            &["Mcp-Param-R: Hello"],
            Some("Mcp-Param-R header value 'Hello' has no value in the body"),
        ),
        ("{}", &["Mcp-Param-R: "], Some("has no value in the body")),
        ("[]", &["Mcp-Param-R: x"], Some("has no value in the body")),
        (r#"{"region":null}"#, &[], None),
        (
            r#"{"region":null}"#,
            &["Mcp-Param-R: null"],
            Some("has no value in the body"),
        ),
        (r#"{"region":""}"#, &["Mcp-Param-R: "], None),
        (r#"{"region":""}"#, &["Mcp-Param-R: =?base64??="], None),
        (r#"{"region":""}"#, &[], Some("is missing")),
        // Base64, and what only looks like it.
        (HELLO, &["Mcp-Param-R: =?base64?SGVsbG8=?="], None),
        (
            HELLO,
            &["Mcp-Param-R: =?base64?SGVsbG8?="],
            Some("Mcp-Param-R is not valid Base64"),
        ),
        (
            HELLO,
            &["Mcp-Param-R: =?base64?SGVs!!!bG8=?="],
            Some("Mcp-Param-R is not valid Base64"),
        ),
        (
            HELLO,
            &["Mcp-Param-R: =?base64?SGVsbG9=?="],
            Some("Mcp-Param-R is not valid Base64"),
        ),
        (
            HELLO,
            &["Mcp-Param-R: =?base64?/w==?="],
            Some("Mcp-Param-R is not valid Base64"),
        ),
        (HELLO, &["Mcp-Param-R: SGVsbG8="], Some("does not match")),
        (
            HELLO,
            &["Mcp-Param-R: =?BASE64?SGVsbG8=?="],
            Some("does not match"),
        ),
        (r#"{"region":"SGVsbG8="}"#, &["Mcp-Param-R: SGVsbG8="], None),
        (
            r#"{"region":"=?base64?SGVsbG8="}"#,
            &["Mcp-Param-R: =?base64?SGVsbG8="],
            None,
        ),
        (
            r#"{"region":"=?base64?literal?="}"#,
            &["Mcp-Param-R: =?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="],
            None,
        ),
        (
            r#"{"region":"Hello, 世界"}"#,
            &["Mcp-Param-R: =?base64?SGVsbG8sIOS4lueVjA==?="],
            None,
        ),
        (
            r#"{"region":"Hello, 世界"}"#,
            &["Mcp-Param-R: Hello, 世界"],
            Some("must be sent in Base64"),
        ),
        (
            "{\"region\":\"a\\u0001\"}",
            &["Mcp-Param-R: a\u{1}"],
            Some("must be sent in Base64"),
        ),
        (r#"{"region":"a\tb c"}"#, &["Mcp-Param-R: a\tb c"], None),
        (
            r#"{"re\u0067ion":"\u0048ello"}"#,
            &["Mcp-Param-R: Hello"],
            None,
        ),
        (
            r#"{"region":"\ud800"}"#,
            &["Mcp-Param-R: x"],
            Some("does not match"),
        ),
        // Members that stand twice could be read either way.
        (
            r#"{"region":"a","region":"b"}"#,
            &["Mcp-Param-R: b"],
            Some("the arguments cannot be compared: `region` is there twice"),
        ),
        (
            r#"{"region":"a","\u0072egion":null}"#,
            &["Mcp-Param-R: a"],
            Some("`region` is there twice"),
        ),
        (
            r#"{"inner":{},"inner":{"flag":true}}"#,
            &[],
            Some("`inner` is there twice"),
        ),
        // Numbers and booleans.
        (r#"{"count":42}"#, &["Mcp-Param-N: 42"], None),
        (r#"{"count":42}"#, &["Mcp-Param-N: =?base64?NDI=?="], None),
        (r#"{"count":42}"#, &["Mcp-Param-N: 42.0"], None),
        (r#"{"count":42.0}"#, &["Mcp-Param-N: 42"], None),
        (
            r#"{"count":42}"#,
            &["Mcp-Param-N: 43"],
            Some("Mcp-Param-N header value '43' does not match body value '42'"),
        ),
        (
            r#"{"count":42}"#,
            &["Mcp-Param-N: 42.00000000000000000001"],
            Some("does not match"),
        ),
        (
            r#"{"count":1.5}"#,
            &["Mcp-Param-N: 1.5"],
            Some("does not match"),
        ),
        (
            r#"{"count":9007199254740991}"#,
            &["Mcp-Param-N: 9007199254740991"],
            None,
        ),
        (
            r#"{"count":9007199254740992}"#,
            &["Mcp-Param-N: 9007199254740992"],
            Some("does not match"),
        ),
        (r#"{"count":"42"}"#, &["Mcp-Param-N: 42"], None),
        (
            r#"{"count":"42"}"#,
            &["Mcp-Param-N: 42.0"],
            Some("does not match"),
        ),
        (
            r#"{"count":42}"#,
            &[r#"Mcp-Param-N: "42""#],
            Some("does not match"),
        ),
        (
            r#"{"count":[42]}"#,
            &["Mcp-Param-N: [42]"],
            Some("does not match"),
        ),
        (
            r#"{"count":{}}"#,
            &[],
            Some("Mcp-Param-N is missing; the body says '{}'"),
        ),
        (r#"{"inner":{"flag":true}}"#, &["Mcp-Param-B: true"], None),
        (
            r#"{"inner":{"flag":true}}"#,
            &["Mcp-Param-B: True"],
            Some("does not match"),
        ),
        (r#"{"inner":{"flag":false}}"#, &["Mcp-Param-B: false"], None),
        (
            r#"{"inner":{"flag":false}}"#,
            &["Mcp-Param-B: 0"],
            Some("does not match"),
        ),
        (
            r#"{"inner":{"flag":false}}"#,
            &[],
            Some("Mcp-Param-B is missing; the body says 'false'"),
        ),
        (r#"{"inner":null}"#, &[], None),
        (r#"{"inner":"flag"}"#, &[], None),
        (
            r#"{"inner":null}"#,
            &["Mcp-Param-B: true"],
            Some("has no value in the body"),
        ),
        (
            r#"{"flag":true}"#,
            &["Mcp-Param-B: true"],
            Some("has no value in the body"),
        ),
    ];
    for (arguments, fields, expected) in rows {
        let found = check(arguments, fields);
        match expected {
            None => assert_eq!(found, Ok(()), "{arguments} {fields:?}"),
            Some(expected) => {
                let error = found.expect_err(arguments);
                assert_eq!(error.code, ErrorCode::HEADER_MISMATCH);
                assert!(
                    error.message.starts_with("Header mismatch: ")
                        && error.message.contains(expected),
                    "{arguments} {fields:?}: {}",
                    error.message
                );
            }
        }
    }
}

#[test]
fn no_arguments_want_no_fields() {
    let absent = |_: &str| Field::Absent;
    let present = |_: &str| Field::One("x");
    let headers = headers();
    assert_eq!(headers.check(None, &absent), Ok(()));
    assert!(headers.check(None, &present).is_err());
    assert_eq!(ParamHeaders::default().check(None, &present), Ok(()));
}

#[test]
fn a_number_is_an_integer_however_it_is_written() {
    let rows = [
        ("0", Some(0)),
        ("-0", Some(0)),
        ("0.000", Some(0)),
        ("0e5", Some(0)),
        ("-7", Some(-7)),
        ("120", Some(120)),
        ("1.2e2", Some(120)),
        ("1.2E+2", Some(120)),
        ("12000e-2", Some(120)),
        ("0.0012e5", Some(120)),
        ("1e15", Some(1_000_000_000_000_000)),
        ("-9007199254740991.0", Some(-INTEGER_MAX)),
        ("-9007199254740992", None),
        ("1e16", None),
        ("1e99", None),
        ("1e-1", None),
        ("1e999999999999", None),
        ("1e-2147483648", None),
        ("1e2147483647", None),
        ("99999999999999999999999", None),
        ("0.1", None),
        ("12.5", None),
        ("12.50e1", Some(125)),
    ];
    let malformed = [
        "", " 1", "1 ", "+1", "01", "1.", ".5", "0x1", "1e", "1_0", "- 1", "NaN", "true", "\"1\"",
        "[1]", "1,2", "１",
    ];
    let malformed = malformed.map(|text| (text, None));
    for (text, expected) in rows.into_iter().chain(malformed) {
        assert_eq!(integer(text), expected, "{text}");
    }
}

proptest! {
    #[test]
    fn any_string_can_be_mirrored_in_base64(region in ".*") {
        let field = format!("Mcp-Param-R: =?base64?{}?=", STANDARD.encode(&region));
        let arguments = json!({ "region": region }).to_string();
        prop_assert_eq!(check(&arguments, &[&field]), Ok(()));
    }

    #[test]
    fn a_field_is_accepted_exactly_when_it_says_the_same(
        body in "[ab=?]{0,4}",
        header in "[ab=?]{0,4}",
    ) {
        let arguments = json!({ "region": body }).to_string();
        let accepted = check(&arguments, &[&format!("Mcp-Param-R: {header}")]).is_ok();
        prop_assert_eq!(accepted, body == header);
    }

    #[test]
    fn an_integer_is_read_exactly(value in -INTEGER_MAX..=INTEGER_MAX, zeros in 0_usize..30) {
        prop_assert_eq!(integer(&value.to_string()), Some(value));
        prop_assert_eq!(integer(&format!("{value}.{}", "0".repeat(zeros + 1))), Some(value));
        prop_assert_eq!(integer(&format!("{value}{}e-{zeros}", "0".repeat(zeros))), Some(value));
    }

    #[test]
    fn never_panics(
        header in ".*|[-+0-9.eE]*|=\\?base64\\?.*\\?=",
        body in prop_oneof!["[-+0-9.eE]{1,30}", Just("[]".to_owned()), Just(r#""x""#.to_owned())],
    ) {
        integer(&header);
        let _ = check_field("Mcp-Param-R", Field::One(&header), None);
        says(&header, &body);
    }
}
