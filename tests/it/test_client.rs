//! Tools are tested without a transport: what the test client sends, answers and sees is what a client over a transport would.

use mcp_threads::schemars::JsonSchema;
use mcp_threads::serde_json::{Value, json};
use mcp_threads::{
    AskError, ErrorCode, GetPromptResult, LoggingLevel, PromptMessage, RequestContext, Sampling,
    Server, TestClient,
};
use serde::Deserialize;

use crate::harness::until;

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Sure {
    sure: bool,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Add {
    a: i64,
    b: i64,
}

fn client() -> TestClient {
    Server::new("tested", "1.0.0")
        .tool("add", "Adds.", |cx: &mut RequestContext, args: Add| {
            cx.progress((1.0, 2.0));
            cx.log(LoggingLevel::Debug, "adding");
            args.a + args.b
        })
        .tool("panics", "Panics.", || -> () {
            panic!("a panic that belongs to the test")
        })
        .tool("ask", "Asks.", |cx: &mut RequestContext| {
            let sure = cx.elicit::<Sure>("sure", "Sure?")?;
            let Some(Sure { sure }) = sure.accepted() else {
                return Ok("declined".to_owned());
            };
            let poem = cx.sample("poem", Sampling::new(9).user("A poem."))?.text();
            Ok::<_, AskError>(format!("{sure}: {poem}"))
        })
        .prompt("hello", "Greets.", || {
            GetPromptResult::from(vec![PromptMessage::user("hi")])
        })
        .resource("it://text", "text", || "contents")
        .test_client()
        .expect("it starts")
}

#[test]
fn a_client_without_a_transport_lists_calls_gets_and_reads() {
    let mut client = client();
    let tools = client.list("tools").expect("tools are listed");
    let names: Vec<_> = tools.iter().map(|tool| tool["name"].clone()).collect();
    assert_eq!(names, ["add", "panics", "ask"]);
    let sum = client.call("add", json!({ "a": 2, "b": 40 }));
    assert_eq!(sum.expect("it adds")["content"][0]["text"], "42");
    let events: Vec<_> = client
        .events()
        .into_iter()
        .map(|mut it| it["method"].take())
        .collect();
    assert_eq!(events, ["notifications/progress", "notifications/message"]);
    assert_eq!(client.events(), Vec::<Value>::new());
    let prompt = client.get("hello", json!({})).expect("it is a prompt");
    assert_eq!(prompt["messages"][0]["content"]["text"], "hi");
    let contents = client.read("it://text").expect("it is a resource");
    assert_eq!(contents["contents"][0]["text"], "contents");
    // A worker counts when it is free again, a moment after its answer.
    until("all are counted", || {
        client.server().stats().lanes[0].done == 3
    });
}

#[test]
fn a_client_without_a_transport_is_told_errors() {
    let mut client = client();
    let code = |result: Result<Value, mcp_threads::ErrorObject>| result.map_err(|error| error.code);
    assert_eq!(
        code(client.call("none", json!({}))),
        Err(ErrorCode::INVALID_PARAMS)
    );
    assert_eq!(
        code(client.call("panics", json!({}))),
        Err(ErrorCode::INTERNAL_ERROR)
    );
    let unfit = client
        .call("add", json!({ "a": "x", "b": 1 }))
        .expect("the model is told");
    assert_eq!(unfit["isError"], true);
}

#[test]
fn a_client_without_a_transport_answers_what_it_is_asked() {
    let mut client = client();
    let asked = client
        .call("ask", json!({}))
        .expect("a question is a result");
    assert_eq!(asked["resultType"], "input_required");
    assert_eq!(
        asked["inputRequests"]["sure"]["method"],
        "elicitation/create"
    );
    client.decline("sure");
    let declined = client.call("ask", json!({})).expect("it was answered");
    assert_eq!(declined["content"][0]["text"], "declined");
    let poem = json!({ "role": "assistant", "model": "m", "content": { "type": "text", "text": "Roses" } });
    client
        .accept("sure", json!({ "sure": true }))
        .respond("poem", poem);
    let told = client
        .call("ask", json!({}))
        .expect("it was answered twice");
    assert_eq!(told["content"][0]["text"], "true: Roses");
}

#[test]
fn a_client_without_a_transport_does_not_repeat_an_answer_that_is_not_taken() {
    let mut client = client();
    // It lacks its `action`.
    client.respond("sure", json!({}));
    let asked = client.call("ask", json!({})).expect("it asks again");
    assert_eq!(asked["resultType"], "input_required");
}
