//! Tools and a prompt that need more than one round in the stateless era: what travels, what is bound, what is asked together.
//!
//! They are written like any other handler that asks; in the handshake era they wait for the answers where they stand.

use mcp_threads::schemars::JsonSchema;
use mcp_threads::{AskError, Prompt, RequestContext, Sampling, Server};
use serde::Deserialize;
use serde_json::Value;

use super::content::fixture;
use super::probes::Counter;

type Context = RequestContext<Counter>;

/// Adds them.
pub(crate) fn register(server: Server<Counter>) -> Server<Counter> {
    let round =
        |name: &str, what: &str| fixture(&format!("test_input_required_result_{name}"), what);
    server
        .register(round("elicitation", "Asks for a name").handler(elicitation))
        .register(round("sampling", "Asks for a capital").handler(sampling))
        .register(round("list_roots", "Asks for folders").handler(list_roots))
        .register(round("request_state", "Asks, with a state to bring back").handler(confirmed))
        .register(round("multiple_inputs", "Asks three things at once").handler(multiple))
        .register(round("multi_round", "Asks twice, one after the other").handler(multi_round))
        .register(
            round(
                "tampered_state",
                "Asks, with a state that nobody may change",
            )
            .handler(confirmed),
        )
        .register(
            round("capabilities", "Asks only what the client can answer").handler(capabilities),
        )
        .register(
            Prompt::new("test_input_required_result_prompt")
                .description("A prompt that asks for its context")
                .handler(prompt),
        )
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Name {
    name: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Color {
    color: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Confirm {
    ok: bool,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct UserContext {
    context: String,
}

fn elicitation(cx: &mut Context, _: Value) -> Result<String, AskError> {
    let name = cx.elicit::<Name>("user_name", "What is your name?")?;
    Ok(match name.accepted() {
        Some(Name { name }) => format!("Hello, {name}!"),
        None => "Hello, whoever you are!".into(),
    })
}

fn sampling(cx: &mut Context, _: Value) -> Result<String, AskError> {
    let question = Sampling::new(100).user("What is the capital of France?");
    Ok(cx.sample("capital_question", question)?.text())
}

fn list_roots(cx: &mut Context, _: Value) -> Result<String, AskError> {
    let uris: Vec<_> = cx
        .roots_as("client_roots")?
        .into_iter()
        .map(|root| root.uri)
        .collect();
    Ok(format!("The client works in: {}", uris.join(", ")))
}

fn confirmed(cx: &mut Context, _: Value) -> Result<&'static str, AskError> {
    // The same in every round, and unknown to the client before.
    let _ticket: String = keep_ticket(cx);
    let confirm = cx.elicit::<Confirm>("confirm", "Please confirm")?;
    Ok(match confirm.accepted() {
        Some(Confirm { ok: true }) => "state-ok",
        _ => "not confirmed",
    })
}

fn keep_ticket(cx: &mut Context) -> String {
    let ticket = cx.request_id().to_owned();
    cx.keep("ticket", || ticket)
}

fn multiple(cx: &mut Context, _: Value) -> Result<String, AskError> {
    keep_ticket(cx);
    let name = cx.elicit::<Name>("user_name", "What is your name?");
    let greeting = cx.sample("greeting", Sampling::new(50).user("Generate a greeting"));
    let roots = cx.roots_as("client_roots");
    let (name, greeting, roots) = (name?, greeting?, roots?);
    let name = name.accepted().map_or("stranger".into(), |name| name.name);
    Ok(format!(
        "{}, {name} of {} folders",
        greeting.text(),
        roots.len()
    ))
}

fn multi_round(cx: &mut Context, _: Value) -> Result<String, AskError> {
    keep_ticket(cx);
    let name = cx.elicit::<Name>("step1", "Step 1: What is your name?")?;
    let color = cx.elicit::<Color>("step2", "Step 2: What is your favorite color?")?;
    let name = name.accepted().map_or("Somebody".into(), |name| name.name);
    let color = color
        .accepted()
        .map_or("no color".into(), |color| color.color);
    Ok(format!("{name} likes {color}"))
}

fn capabilities(cx: &mut Context, _: Value) -> Result<String, AskError> {
    let client = cx.client().clone();
    let sampled = client
        .supports_sampling()
        .then(|| cx.sample("sampled", Sampling::new(50).user("Say something")));
    let name = client
        .supports_elicitation()
        .then(|| cx.elicit::<Name>("name", "What is your name?"));
    let roots = client.supports_roots().then(|| cx.roots());
    let (sampled, name, roots) = (sampled.transpose()?, name.transpose()?, roots.transpose()?);
    let answers = [sampled.is_some(), name.is_some(), roots.is_some()];
    let count = answers.into_iter().filter(|answered| *answered).count();
    Ok(format!("{count} of 3 could be asked"))
}

fn prompt(cx: &mut Context) -> Result<String, AskError> {
    let answer = cx.elicit::<UserContext>("user_context", "What context should the prompt use?")?;
    let context = answer
        .accepted()
        .map_or("none".into(), |answer| answer.context);
    Ok(format!("Keep this context in mind: {context}"))
}
