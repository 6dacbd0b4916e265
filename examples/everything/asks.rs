//! Tools that ask their client, one question each: a person, a model, and a form of every kind of field.

use mcp_threads::schemars::JsonSchema;
use mcp_threads::{AskError, Elicited, RequestContext, Sampling, Server, Tool};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::content::fixture;
use super::probes::Counter;

type Context = RequestContext<Counter>;

/// Adds them.
pub(crate) fn register(server: Server<Counter>) -> Server<Counter> {
    server
        .register(
            Tool::new("test_sampling")
                .description("Asks the client's model")
                .handler(sampling),
        )
        .register(
            Tool::new("test_elicitation")
                .description("Asks the person at the client")
                .handler(elicitation),
        )
        .register(
            fixture(
                "test_elicitation_sep1034_defaults",
                "Asks with a form that is filled in already",
            )
            .handler(defaults),
        )
        .register(
            fixture(
                "test_elicitation_sep1330_enums",
                "Asks with every way to offer choices",
            )
            .handler(enums),
        )
        .register(
            fixture("test_missing_capability", "Needs a client that can sample")
                .handler(missing_capability),
        )
        .register(
            fixture(
                "test_streaming_elicitation",
                "Asks on a stream that never carries a request in the stateless era",
            )
            .handler(streaming),
        )
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Prompt {
    /// What to ask the model.
    prompt: String,
}

fn sampling(cx: &mut Context, args: Prompt) -> Result<String, AskError> {
    let sampled = cx.sample("answer", Sampling::new(100).user(args.prompt))?;
    Ok(format!("LLM response: {}", sampled.text()))
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Message {
    /// What to ask the person.
    message: String,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct User {
    /// User's response
    username: String,
    /// User's email address
    email: String,
}

fn elicitation(cx: &mut Context, args: Message) -> Result<String, AskError> {
    Ok(match cx.elicit::<User>("user", &args.message)? {
        Elicited::Accepted(user) => format!("User response: {} <{}>", user.username, user.email),
        Elicited::Declined => "User response: declined".into(),
        _ => "User response: dismissed".into(),
    })
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
#[serde(default)]
struct Defaults {
    name: String,
    age: i64,
    score: f64,
    status: Status,
    verified: bool,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
#[serde(rename_all = "lowercase")]
enum Status {
    Active,
    Inactive,
    Pending,
}

impl Default for Defaults {
    fn default() -> Self {
        Defaults {
            name: "John Doe".into(),
            age: 30,
            score: 95.5,
            status: Status::Active,
            verified: true,
        }
    }
}

fn defaults(cx: &mut Context, _: Value) -> Result<String, AskError> {
    let answer = cx.elicit::<Defaults>("defaults", "Please review the defaults")?;
    Ok(told(answer))
}

fn enums(cx: &mut Context, _: Value) -> Result<String, AskError> {
    let titled = |kind: &str| {
        json!([
            { "const": "value1", "title": format!("First {kind}") },
            { "const": "value2", "title": format!("Second {kind}") },
            { "const": "value3", "title": format!("Third {kind}") }
        ])
    };
    let untitled = json!({ "type": "string", "enum": ["option1", "option2", "option3"] });
    // By hand, because a type is asked for in one way, and `enumNames` is the one before.
    let schema = json!({
        "type": "object",
        "properties": {
            "untitledSingle": untitled,
            "titledSingle": { "type": "string", "oneOf": titled("Option") },
            "legacyEnum": {
                "type": "string",
                "enum": ["opt1", "opt2", "opt3"],
                "enumNames": ["Option One", "Option Two", "Option Three"]
            },
            "untitledMulti": { "type": "array", "items": untitled },
            "titledMulti": { "type": "array", "items": { "anyOf": titled("Choice") } }
        },
        "required": []
    });
    let answer = cx.elicit_with::<Value>("options", "Please select options", schema)?;
    Ok(told(answer))
}

/// What a person made of a form.
fn told(answer: Elicited<impl Serialize>) -> String {
    let (action, content) = match answer {
        Elicited::Accepted(content) => ("accept", json!(content)),
        Elicited::Declined => ("decline", json!({})),
        _ => ("cancel", json!({})),
    };
    format!("Elicitation completed: action={action}, content={content}")
}

fn missing_capability(cx: &mut Context, _: Value) -> Result<String, AskError> {
    let sampled = cx.sample("answer", Sampling::new(10).user("Are you there?"))?;
    Ok(sampled.text())
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Provided {
    value: String,
}

fn streaming(cx: &mut Context, _: Value) -> Result<String, AskError> {
    cx.progress(1.0);
    let provided = cx.elicit::<Provided>("value", "Provide a value")?;
    Ok(provided.accepted().map_or_else(
        || "Nothing was provided".into(),
        |provided| format!("Provided: {}", provided.value),
    ))
}
