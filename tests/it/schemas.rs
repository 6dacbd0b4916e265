//! What clients are shown of Rust types: the exact schema of each, and that it is one that every model API reads.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use mcp_threads::schemars::{self, JsonSchema};
use mcp_threads::{Json, Server, Tool};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::harness::{Served, call, logs, modern, text};
use crate::model_apis::{self, Api};

/// The tool's definition as this server's clients see it.
fn shown(tool: Tool) -> Value {
    let (served, mut client) = Served::pipe(Server::new("it", "1").register(tool));
    let listed = client.ask(&modern(1, "tools/list", json!({})));
    client.close();
    served.stop();
    listed["result"]["tools"][0].clone()
}

/// The schema of a tool that takes this type, as text, because the order of its members counts.
fn input<A: DeserializeOwned + JsonSchema + 'static>() -> String {
    let tool = Tool::new("t").handler(|_: A| ());
    shown(tool)["inputSchema"].to_string()
}

fn output<R: Serialize + JsonSchema + 'static>() -> Value {
    // Never called; only its type matters.
    let tool = Tool::new("t").handler(|| -> Json<R> { unreachable!() });
    shown(tool)["outputSchema"].clone()
}

/// The problem that keeps a server with such a tool from starting.
fn problem<A: DeserializeOwned + JsonSchema + 'static>() -> String {
    let tool = Tool::new("t").handler(|_: A| ());
    let (read, _write) = std::io::pipe().expect("a pipe can be made");
    let started = Server::new("it", "1")
        .register(tool)
        .serve_pipe(read, std::io::sink());
    started
        .map(drop)
        .expect_err("it does not start")
        .to_string()
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct Numbers {
    a: i8,
    b: i16,
    c: i32,
    d: i64,
    e: u8,
    f: u16,
    g: u32,
    h: u64,
    i: usize,
    j: f32,
    k: f64,
    l: i128,
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct Plain {
    zebra: String,
    apple: bool,
    mango: char,
    unit: (),
}

#[derive(Deserialize, Serialize, JsonSchema)]
enum Bare {
    Low,
    High,
}

/// How fast.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Told {
    /// As it comes.
    Slow,
    /// As fast as it can.
    Fast,
    Odd,
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct Optional {
    text: Option<String>,
    /// The mode.
    mode: Option<Told>,
    bare: Option<Bare>,
    inner: Option<Inner>,
    any: Option<Value>,
    #[serde(default)]
    ratio: Option<f64>,
    #[serde(default)]
    count: u8,
    items: Vec<Option<i64>>,
}

/// A point.
#[derive(Deserialize, Serialize, JsonSchema)]
struct Inner {
    y: i64,
    x: i64,
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct Nested {
    first: Inner,
    #[serde(rename = "2nd")]
    second: Inner,
    all: Vec<Inner>,
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct Collections {
    pair: (i64, String),
    twice: (f64, f64),
    set: HashSet<String>,
    three: [bool; 3],
    map: HashMap<String, i64>,
    byte: BTreeMap<u8, bool>,
    any: Vec<Value>,
    open: Map<String, Value>,
    wait: Duration,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Closed {
    only: bool,
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct Bounded {
    #[schemars(range(min = 1, max = 5))]
    stars: u32,
    #[schemars(extend("exclusiveMinimum" = 0))]
    above: i64,
    #[schemars(length(min = 2, max = 9))]
    name: String,
    #[schemars(regex(pattern = "^[a-z]+$"))]
    word: String,
    #[schemars(email)]
    mail: String,
    #[schemars(extend("x-mcp-header" = "Region"))]
    region: String,
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct Fields {
    none: Value,
    shape: Shape,
    either: Either,
}

/// A shape.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Shape {
    /// Round.
    Circle {
        radius: f64,
    },
    Square {
        side: f64,
        radius: Option<f64>,
    },
    Dot,
}

#[derive(Deserialize, Serialize, JsonSchema)]
enum Outside {
    Move { by: i64 },
    Turn { to: String },
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(tag = "t", content = "c")]
enum Beside {
    Number(i64),
    Text(String),
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
enum Either {
    One { one: i64 },
    Two { two: String },
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct Flattened {
    name: String,
    #[serde(flatten)]
    shape: Shape,
    #[serde(flatten)]
    inner: Inner,
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct Node {
    value: i64,
    children: Vec<Node>,
}

#[derive(Deserialize, Serialize, JsonSchema)]
enum Mixed {
    Struct { a: i64 },
    Unit,
}

/// The types that a tool may take, with the exact schema of each.
fn taken() -> Vec<(&'static str, String, &'static str)> {
    macro_rules! rows {
        ($($type:ty => $expected:expr),+ $(,)?) => {
            vec![$((stringify!($type), input::<$type>(), $expected)),+]
        };
    }
    rows! {
        Numbers => r#"{"title":"Numbers","type":"object","properties":{"a":{"type":"integer","minimum":-128,"maximum":127},"b":{"type":"integer","minimum":-32768,"maximum":32767},"c":{"type":"integer","minimum":-2147483648,"maximum":2147483647},"d":{"type":"integer"},"e":{"type":"integer","minimum":0,"maximum":255},"f":{"type":"integer","minimum":0,"maximum":65535},"g":{"type":"integer","minimum":0,"maximum":4294967295},"h":{"type":"integer","minimum":0},"i":{"type":"integer","minimum":0},"j":{"type":"number"},"k":{"type":"number"},"l":{"type":"integer"}},"required":["a","b","c","d","e","f","g","h","i","j","k","l"]}"#,
        Plain => r#"{"title":"Plain","type":"object","properties":{"zebra":{"type":"string"},"apple":{"type":"boolean"},"mango":{"type":"string","minLength":1,"maxLength":1},"unit":{"type":"null"}},"required":["zebra","apple","mango","unit"]}"#,
        Optional => r#"{"title":"Optional","type":"object","properties":{"text":{"type":"string"},"mode":{"description":"The mode.\n\nHow fast.\n\n- `slow`: As it comes.\n- `fast`: As fast as it can.","type":"string","enum":["odd","slow","fast"]},"bare":{"type":"string","enum":["Low","High"]},"inner":{"description":"A point.","type":"object","properties":{"y":{"type":"integer"},"x":{"type":"integer"}},"required":["y","x"]},"any":{},"ratio":{"type":"number"},"count":{"type":"integer","minimum":0,"maximum":255,"default":0},"items":{"type":"array","items":{"anyOf":[{"type":"integer"},{"type":"null"}]}}},"required":["items"]}"#,
        Nested => r#"{"title":"Nested","type":"object","properties":{"first":{"description":"A point.","type":"object","properties":{"y":{"type":"integer"},"x":{"type":"integer"}},"required":["y","x"]},"2nd":{"description":"A point.","type":"object","properties":{"y":{"type":"integer"},"x":{"type":"integer"}},"required":["y","x"]},"all":{"type":"array","items":{"description":"A point.","type":"object","properties":{"y":{"type":"integer"},"x":{"type":"integer"}},"required":["y","x"]}}},"required":["first","2nd","all"]}"#,
        Collections => r#"{"title":"Collections","type":"object","properties":{"pair":{"description":"The items, in order: integer, string.","type":"array","items":{"anyOf":[{"type":"integer"},{"type":"string"}]},"minItems":2,"maxItems":2},"twice":{"type":"array","items":{"type":"number"},"minItems":2,"maxItems":2},"set":{"type":"array","items":{"type":"string"}},"three":{"type":"array","items":{"type":"boolean"},"minItems":3,"maxItems":3},"map":{"type":"object","properties":{},"additionalProperties":{"type":"integer"}},"byte":{"type":"object","properties":{},"additionalProperties":{"type":"boolean"}},"any":{"type":"array","items":{}},"open":{"type":"object","properties":{}},"wait":{"type":"object","properties":{"secs":{"type":"integer","minimum":0},"nanos":{"type":"integer","minimum":0,"maximum":4294967295}},"required":["secs","nanos"]}},"required":["pair","twice","set","three","map","byte","any","open","wait"]}"#,
        Closed => r#"{"title":"Closed","type":"object","properties":{"only":{"type":"boolean"}},"required":["only"],"additionalProperties":false}"#,
        Bounded => r#"{"title":"Bounded","type":"object","properties":{"stars":{"type":"integer","minimum":1,"maximum":5},"above":{"type":"integer","minimum":1},"name":{"type":"string","minLength":2,"maxLength":9},"word":{"type":"string","pattern":"^[a-z]+$"},"mail":{"type":"string","format":"email"},"region":{"type":"string","x-mcp-header":"Region"}},"required":["stars","above","name","word","mail","region"]}"#,
        Fields => r#"{"title":"Fields","type":"object","properties":{"none":{},"shape":{"description":"A shape.","anyOf":[{"description":"Round.","type":"object","properties":{"kind":{"type":"string","enum":["circle"]},"radius":{"type":"number"}},"required":["kind","radius"]},{"type":"object","properties":{"kind":{"type":"string","enum":["square"]},"side":{"type":"number"},"radius":{"type":"number"}},"required":["kind","side"]},{"type":"object","properties":{"kind":{"type":"string","enum":["dot"]}},"required":["kind"]}]},"either":{"anyOf":[{"type":"object","properties":{"one":{"type":"integer"}},"required":["one"]},{"type":"object","properties":{"two":{"type":"string"}},"required":["two"]}]}},"required":["none","shape","either"]}"#,
        Shape => r#"{"title":"Shape","description":"A shape.\n\nOne of:\n- `circle`: Round. (with `radius`)\n- `square` (with `side`, `radius`)\n- `dot`","type":"object","properties":{"kind":{"type":"string","enum":["circle","square","dot"]},"radius":{"type":"number"},"side":{"type":"number"}},"required":["kind"]}"#,
        Outside => r#"{"title":"Outside","description":"One of:\n- `Move`\n- `Turn`","type":"object","properties":{"Move":{"type":"object","properties":{"by":{"type":"integer"}},"required":["by"]},"Turn":{"type":"object","properties":{"to":{"type":"string"}},"required":["to"]}}}"#,
        Beside => r#"{"title":"Beside","description":"One of:\n- `Number` (with `c`)\n- `Text` (with `c`)","type":"object","properties":{"t":{"type":"string","enum":["Number","Text"]},"c":{"anyOf":[{"type":"integer"},{"type":"string"}]}},"required":["t","c"]}"#,
        Either => r#"{"title":"Either","description":"One of:\n- `one`\n- `two`","type":"object","properties":{"one":{"type":"integer"},"two":{"type":"string"}}}"#,
        Flattened => r#"{"title":"Flattened","description":"A shape.\n\nOne of:\n- `circle`: Round. (with `radius`)\n- `square` (with `side`, `radius`)\n- `dot`","type":"object","properties":{"name":{"type":"string"},"y":{"type":"integer"},"x":{"type":"integer"},"kind":{"type":"string","enum":["circle","square","dot"]},"radius":{"type":"number"},"side":{"type":"number"}},"required":["name","y","x","kind"]}"#,
        Node => r##"{"title":"Node","type":"object","properties":{"value":{"type":"integer"},"children":{"type":"array","items":{"$ref":"#"}}},"required":["value","children"]}"##,
        Option<Inner> => r#"{"title":"Nullable_Inner","description":"A point.","type":"object","properties":{"y":{"type":"integer"},"x":{"type":"integer"}},"required":["y","x"]}"#,
        Value => r#"{"title":"AnyValue","type":"object","properties":{}}"#,
        Option<Shape> => r#"{"title":"Nullable_Shape","description":"A shape.\n\nOne of:\n- `circle`: Round. (with `radius`)\n- `square` (with `side`, `radius`)\n- `dot`","type":"object","properties":{"kind":{"type":"string","enum":["circle","square","dot"]},"radius":{"type":"number"},"side":{"type":"number"}},"required":["kind"]}"#,
    }
}

#[test]
#[cfg_attr(
    not(feature = "schema-order"),
    ignore = "they are in the order of the struct"
)]
fn a_type_that_is_taken_has_exactly_this_schema() {
    for (name, shown, expected) in taken() {
        assert_eq!(shown, expected, "{name}");
    }
}

#[test]
#[cfg_attr(
    not(feature = "schema-order"),
    ignore = "they are in the order of the struct"
)]
fn a_type_that_is_given_has_exactly_this_schema() {
    macro_rules! rows {
        ($($type:ty => $expected:expr),+ $(,)?) => {
            [$((stringify!($type), output::<$type>().to_string(), $expected)),+]
        };
    }
    let rows = rows! {
        Optional => r#"{"title":"Optional","type":"object","properties":{"text":{"anyOf":[{"type":"string"},{"type":"null"}]},"mode":{"description":"The mode.","anyOf":[{"type":"string","enum":["odd","slow","fast"],"description":"How fast.\n\n- `slow`: As it comes.\n- `fast`: As fast as it can."},{"type":"null"}]},"bare":{"anyOf":[{"type":"string","enum":["Low","High"]},{"type":"null"}]},"inner":{"description":"A point.","anyOf":[{"type":"object","properties":{"y":{"type":"integer"},"x":{"type":"integer"}},"required":["y","x"]},{"type":"null"}]},"any":{},"ratio":{"anyOf":[{"type":"number"},{"type":"null"}],"default":null},"count":{"type":"integer","minimum":0,"maximum":255,"default":0},"items":{"type":"array","items":{"anyOf":[{"type":"integer"},{"type":"null"}]}}},"required":["text","mode","bare","inner","any","ratio","count","items"]}"#,
        Option<Inner> => r#"{"title":"Nullable_Inner","description":"A point.","anyOf":[{"type":"object","properties":{"y":{"type":"integer"},"x":{"type":"integer"}},"required":["y","x"]},{"type":"null"}]}"#,
        Shape => r#"{"title":"Shape","description":"A shape.\n\nOne of:\n- `circle`: Round. (with `radius`)\n- `square` (with `side`, `radius`)\n- `dot`","type":"object","properties":{"kind":{"type":"string","enum":["circle","square","dot"]},"radius":{"anyOf":[{"type":"number"},{"type":"null"}]},"side":{"type":"number"}},"required":["kind"]}"#,
        Vec<Inner> => r#"{"title":"Array_of_Inner","type":"array","items":{"description":"A point.","type":"object","properties":{"y":{"type":"integer"},"x":{"type":"integer"}},"required":["y","x"]}}"#,
        Told => r#"{"title":"Told","description":"How fast.\n\n- `slow`: As it comes.\n- `fast`: As fast as it can.","type":"string","enum":["odd","slow","fast"]}"#,
        Mixed => r#"{"title":"Mixed","anyOf":[{"type":"string","enum":["Unit"]},{"type":"object","properties":{"Struct":{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}},"required":["Struct"],"additionalProperties":false}]}"#,
        (i64, String) => r#"{"title":"Tuple_of_int64_and_string","description":"The items, in order: integer, string.","type":"array","items":{"anyOf":[{"type":"integer"},{"type":"string"}]},"minItems":2,"maxItems":2}"#,
    };
    for (name, shown, expected) in rows {
        assert_eq!(shown, expected, "{name}");
    }
}

/// What no strict reader takes of the rows above: OpenAI's strict mode knows no maps and no free values, Gemini no references.
const EXCEPTIONS: &[(Api, &str)] = &[
    (Api::OpenAiStrict, "Collections"),
    (Api::OpenAiStrict, "Optional"),
    (Api::OpenAiStrict, "Fields"),
    (Api::Gemini, "Node"),
];

#[test]
fn every_model_api_reads_what_is_shown_of_a_type() {
    for (name, shown, _) in taken() {
        let schema: Value = serde_json::from_str(&shown).expect("it is JSON");
        for api in Api::ALL {
            let refused = model_apis::refused(api, &schema);
            let is_exception = EXCEPTIONS.contains(&(api, name));
            assert_eq!(
                refused.is_some(),
                is_exception,
                "{api:?}, {name}: {refused:?} of {shown}"
            );
        }
    }
}

#[test]
fn what_cannot_be_one_object_is_an_error_that_says_what_to_write() {
    let rows = [
        (problem::<Mixed>(), "give each variant named fields"),
        (problem::<Told>(), "let the handler take a struct"),
        (problem::<Vec<i32>>(), "let the handler take a struct"),
        (problem::<(i32, i32)>(), "let the handler take a struct"),
    ];
    for (problem, cure) in rows {
        assert!(
            problem.starts_with("tool `t`: ") && problem.contains(cure),
            "{problem}"
        );
    }
}

/// What is shown is narrower in words than what is taken: `null`, a tuple, and any alternative still arrive.
#[test]
fn what_is_taken_is_what_the_type_takes() {
    let (served, mut client) = Served::pipe(
        Server::new("it", "1")
            .tool("optional", "", |args: Optional| {
                format!("{:?} {:?}", args.text, args.items)
            })
            .tool("shape", "", |shape: Shape| json!(shape).to_string()),
    );
    let rows = [
        (
            "optional",
            json!({ "text": null, "mode": null, "items": [1, null] }),
            "None [Some(1), None]",
        ),
        ("optional", json!({ "items": [] }), "None []"),
        ("shape", json!({ "kind": "dot" }), r#"{"kind":"dot"}"#),
        (
            "shape",
            json!({ "kind": "circle", "radius": 2.0 }),
            r#"{"kind":"circle","radius":2.0}"#,
        ),
    ];
    for (tool, arguments, expected) in rows {
        assert_eq!(text(&client.ask(&call(1, tool, arguments))), expected);
    }
    client.close();
    served.stop();
}

#[test]
fn as_it_is_the_schema_is_that_of_schemars() {
    let tool = Tool::new("t").handler(|_: Optional| ());
    let shown = shown(tool.schema_as_is());
    let properties = &shown["inputSchema"]["properties"];
    assert_eq!(properties["text"], json!({ "type": ["string", "null"] }));
    assert_eq!(properties["any"], json!(true));
    assert_eq!(properties["count"]["format"], "uint8");
}

#[test]
fn a_hand_written_schema_is_shown_as_it_was_written() {
    let written = json!({ "type": "object", "oneOf": [{ "required": ["z"] }], "properties": { "z": true, "a": { "$ref": "#/properties/z" } } });
    let tool = Tool::new("t")
        .input_schema(written.clone())
        .handler(|_: Value| ());
    assert_eq!(shown(tool)["inputSchema"].to_string(), written.to_string());
}

#[test]
fn what_clients_refuse_is_warned_of_once_at_the_start() {
    logs::keep();
    let plain = |name: &str| Tool::new(name).handler(|_: Value| ());
    let of = |name: &str, property: Value| {
        let schema = json!({ "type": "object", "properties": { "a": property } });
        plain(name).input_schema(schema)
    };
    let many = (0..129).map(|at| plain(&format!("one_of_many_{at}")));
    let server = many.fold(Server::new("it", "1"), Server::register);
    let server = server
        .register(plain(&"long".repeat(17)))
        .register(plain("warned.dot"))
        .register(plain("warned_talk").description("x".repeat(1025)))
        .register(of("warned_true", json!(true)))
        .register(of("warned_ref", json!({ "$ref": "#" })))
        .register(of("warned_list", json!({ "type": "array" })))
        .register(of(
            "warned_format",
            json!({ "type": "integer", "format": "uint32" }),
        ))
        .register(plain("warned_bare").input_schema(json!({ "type": "object" })))
        .register(
            plain("warned_root")
                .input_schema(json!({ "type": "object", "properties": {}, "anyOf": [{}] })),
        )
        .register(Tool::new("warned_node").handler(|_: Node| ()))
        .register(of("fine", json!({ "type": "string" })));
    let (served, mut client) = Served::pipe(server);
    let rows = [
        ("more than 128 tools", "the rest"),
        ("`longlong", "64 characters"),
        ("`warned.dot`", "dot"),
        ("`warned_talk`", "1024 characters"),
        ("`warned_true`", "`true` or `false`"),
        ("`warned_ref`", "`$ref`"),
        ("`warned_list`", "without `items`"),
        ("`warned_format`", "`format`"),
        ("`warned_bare`", "without `properties`"),
        ("`warned_root`", "root"),
        ("`warned_node`", "`$ref`"),
    ];
    client.ask(&modern(1, "tools/list", json!({})));
    for (which, what) in rows {
        let lines = logs::told(which);
        assert!(
            lines.len() == 1 && lines[0].text.contains(what),
            "{which}: {lines:?}"
        );
    }
    assert_eq!(logs::lines_with("`fine`").len(), 0);
    client.close();
    served.stop();
}
