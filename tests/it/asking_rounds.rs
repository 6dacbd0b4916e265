//! Asking in the stateless era: what travels between rounds is bound to its request, bounded, and never trusted; nothing waits in between.

use std::panic::{self, AssertUnwindSafe};
use std::time::Duration;

use mcp_threads::schemars::JsonSchema;
use mcp_threads::{AskError, Limits, Prompt, RequestContext, Server};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::asking::{accept, asking};
#[cfg(any(feature = "http", feature = "tiny-http"))]
use crate::harness::on_every_front;
use crate::harness::talk::{everything, modern_with};
use crate::harness::{PipeClient, Served, code, text};

type Context = RequestContext;

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Sure {
    sure: bool,
}

/// Asks whether one is sure, and keeps what it was called with.
fn confirm(cx: &mut Context, what: String) -> Result<String, AskError> {
    let kept = cx.keep("what", || what);
    let sure = cx.elicit::<Sure>("sure", &format!("Delete {kept}?"))?;
    let sure = sure.accepted().is_some_and(|answer| answer.sure);
    Ok(format!("{kept} {sure}"))
}

fn confirming(limits: Limits) -> Server {
    let what = |args: &Value| args["what"].as_str().unwrap_or_default().to_owned();
    Server::new("it", "1.0.0")
        .limits(limits)
        .tool(
            "delete",
            "Asks first.",
            move |cx: &mut Context, args: Value| confirm(cx, what(&args)),
        )
        .tool(
            "remove",
            "Asks first.",
            move |cx: &mut Context, args: Value| confirm(cx, what(&args)),
        )
        .register(Prompt::new("delete").handler(|cx: &mut Context| confirm(cx, "a prompt".into())))
}

/// A `tools/call` of a client that can be asked everything, with more in its parameters.
fn call(id: impl Into<Value>, tool: &str, arguments: Value, more: Value) -> Value {
    let params = json!({ "name": tool, "arguments": arguments });
    with_params(modern_with(id, "tools/call", params, &everything()), more)
}

fn with_params(mut message: Value, more: Value) -> Value {
    let (Value::Object(params), Value::Object(more)) = (&mut message["params"], more) else {
        panic!("parameters are an object");
    };
    params.extend(more);
    message
}

fn sure(state: &Value) -> Value {
    json!({ "requestState": state, "inputResponses": { "sure": accept(json!({ "sure": true })) } })
}

/// The state that the first round of this call gives out.
#[track_caller]
fn first_round(client: &mut PipeClient, what: &str) -> Value {
    let answer = client.ask(&call("first", "delete", json!({ "what": what }), json!({})));
    let result = &answer["result"];
    assert_eq!(result["resultType"], "input_required", "{answer}");
    assert_eq!(
        result["inputRequests"]["sure"]["params"]["message"],
        format!("Delete {what}?")
    );
    assert!(result["requestState"].is_string(), "{answer}");
    result["requestState"].clone()
}

/// Sees to it that a retry is refused, and why.
#[track_caller]
fn assert_refused(answer: &Value, why: &str) {
    assert_eq!(code(answer), -32602, "{answer}");
    let message = answer["error"]["message"].as_str().expect("it says why");
    assert!(
        message.contains("`requestState`") && message.contains(why),
        "{message}"
    );
}

fn end(served: Served, mut client: PipeClient) {
    client.close();
    assert_eq!(client.rest().len(), 0, "nothing is left over");
    served.stop();
}

#[test]
fn a_state_is_good_for_its_own_request_and_no_other() {
    let (served, mut client) = Served::pipe(confirming(Limits::default()));
    let state = first_round(&mut client, "a");
    let arguments = json!({ "what": "a" });
    let prompt = |id: &str| {
        let params = json!({ "name": "delete" });
        with_params(
            modern_with(id, "prompts/get", params, &everything()),
            sure(&state),
        )
    };
    let foreign = [
        call("tool", "remove", arguments.clone(), sure(&state)),
        call("arguments", "delete", json!({ "what": "b" }), sure(&state)),
        call("none", "delete", json!({}), sure(&state)),
        prompt("prompt"),
    ];
    for request in foreign {
        assert_refused(&client.ask(&request), "not one that was given out");
    }
    // The same arguments in another spelling are the same request, and a state may be used more than once.
    let own = call("own", "delete", arguments, sure(&state)).to_string();
    let plain = r#"{"what":"a"}"#;
    assert!(own.contains(plain), "{own}");
    for spelling in [plain, r#" { "\u0077hat" : "\u0061" } "#] {
        client.send_line(&own.replace(plain, spelling));
        assert_eq!(text(&client.answer("own")), "a true");
    }
    end(served, client);
}

#[test]
fn a_state_that_was_touched_is_refused() {
    let (served, mut client) = Served::pipe(confirming(Limits::default()));
    let state = first_round(&mut client, "a");
    let state = state.as_str().expect("a state is a string");
    let mut touched = vec![
        String::new(),
        "x".into(),
        format!("{state}-TAMPERED"),
        format!("{state}="),
        format!(" {state}"),
        state[..state.len() - 1].into(),
        state[1..].into(),
        "é".repeat(20),
    ];
    for at in 0..state.len() {
        let other = if state.as_bytes()[at] == b'A' {
            "B"
        } else {
            "A"
        };
        touched.push(format!("{}{other}{}", &state[..at], &state[at + 1..]));
    }
    for state in touched {
        let answer = client.ask(&call(
            "touched",
            "delete",
            json!({ "what": "a" }),
            sure(&json!(state)),
        ));
        assert_refused(&answer, "not one that was given out");
    }
    // What is not even a string is refused like any parameter of the wrong type.
    for state in [json!(7), json!({}), json!([])] {
        let answer = client.ask(&call(
            "type",
            "delete",
            json!({ "what": "a" }),
            sure(&state),
        ));
        assert_eq!(code(&answer), -32602);
    }
    end(served, client);
}

#[test]
fn a_state_expires() {
    let (served, mut client) = Served::pipe(confirming(
        Limits::default().request_state_ttl(Duration::ZERO),
    ));
    let state = first_round(&mut client, "a");
    let answer = client.ask(&call(2, "delete", json!({ "what": "a" }), sure(&state)));
    assert_refused(&answer, "has expired; start again");
    end(served, client);
}

#[test]
fn instances_understand_each_other_if_they_share_a_key_and_only_then() {
    let key = [7; 32];
    let server = |key: [u8; 32]| Served::pipe(confirming(Limits::default()).seal_key(key));
    let (one, mut first) = server(key);
    let (two, mut second) = server(key);
    let (three, mut third) = server([8; 32]);
    let (four, mut fourth) = Served::pipe(confirming(Limits::default()));
    let state = first_round(&mut first, "a");
    let retry = call(2, "delete", json!({ "what": "a" }), sure(&state));
    assert_eq!(text(&second.ask(&retry)), "a true");
    for other in [&mut third, &mut fourth] {
        assert_refused(&other.ask(&retry), "not one that was given out");
    }
    for (served, client) in [(one, first), (two, second), (three, third), (four, fourth)] {
        end(served, client);
    }
}

#[test]
fn law_9_what_travels_between_rounds_is_bounded() {
    // What stands around the kept text.
    let around = r#"{"a":{},"k":{"what":""}}"#.len();
    let (served, mut client) = Served::pipe(confirming(
        Limits::default().request_state_bytes_max(around + 10),
    ));
    first_round(&mut client, &"x".repeat(10));
    let answer = client.ask(&call(
        1,
        "delete",
        json!({ "what": "x".repeat(11) }),
        json!({}),
    ));
    assert_eq!(code(&answer), -32602, "{answer}");
    let message = answer["error"]["message"].as_str().expect("it says why");
    assert!(
        message.contains(&format!("{} bytes", around + 10)),
        "{message}"
    );
    end(served, client);
}

#[test]
fn an_answer_that_is_none_is_asked_for_again() {
    let (served, mut client) = Served::pipe(asking());
    let ask = |id: &str, responses: Value| {
        call(
            id,
            "person",
            json!({}),
            json!({ "inputResponses": responses }),
        )
    };
    let first = client.ask(&call("plain", "person", json!({}), json!({})))["result"].clone();
    assert_eq!(
        first["inputRequests"]["person"]["method"],
        "elicitation/create"
    );
    assert_eq!(first.get("requestState"), None, "there is nothing to carry");
    let ada = || accept(json!({ "name": "Ada" }));
    let no_answers = [
        Value::Null,
        json!(7),
        json!("person"),
        json!([ada()]),
        json!({}),
        json!({ "somebody": ada() }),
        json!({ "Person": ada() }),
        json!({ "person": null }),
        json!({ "person": 7 }),
        json!({ "person": [] }),
        json!({ "person": {} }),
        json!({ "person": { "content": { "name": "Ada" } } }),
        json!({ "person": { "action": "think" } }),
        json!({ "person": { "action": "Accept", "content": { "name": "Ada" } } }),
        json!({ "person": { "action": 7 } }),
    ];
    for responses in no_answers {
        let answer = client.ask(&ask("again", responses.clone()));
        assert_eq!(answer["result"], first, "{responses}");
    }
    let more = json!({ "person": ada(), "somebody": ada(), "": 7 });
    assert_eq!(
        text(&client.ask(&ask("more", more))),
        "Ada None",
        "what was not asked for is ignored"
    );
    end(served, client);
}

#[test]
fn what_was_answered_need_not_be_answered_again() {
    let (served, mut client) = Served::pipe(asking());
    let ask = |id: &str, more: Value| call(id, "three", json!({}), more);
    let first = client.ask(&ask(
        "1",
        json!({ "inputResponses": { "person": accept(json!({ "name": "Ada" })) } }),
    ));
    let missing = |answer: &Value| {
        let missing = answer["result"]["inputRequests"].as_object();
        missing
            .expect("something is missing")
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(missing(&first), ["roots", "why"]);
    let state = |answer: &Value| answer["result"]["requestState"].clone();
    let folders = json!({ "roots": { "roots": [] } });
    let second = client.ask(&ask(
        "2",
        json!({ "requestState": state(&first), "inputResponses": folders }),
    ));
    assert_eq!(missing(&second), ["why"]);
    assert_ne!(state(&first), state(&second));
    let why = json!({ "why": { "content": { "type": "text", "text": "so" } } });
    let third = client.ask(&ask(
        "3",
        json!({ "requestState": state(&second), "inputResponses": why }),
    ));
    assert_eq!(text(&third), "Ada so 0");
    // Without the state it begins again.
    let fourth = client.ask(&ask("4", json!({ "inputResponses": why })));
    assert_eq!(missing(&fourth), ["person", "roots"]);
    end(served, client);
}

/// A handler that asks and then returns something all the same has not answered yet.
#[test]
fn a_question_cannot_be_swallowed() {
    let server = Server::new("it", "1")
        .tool(
            "swallow",
            "Ignores that it asked.",
            |cx: &mut Context, _: Value| cx.roots().map_or(0, |roots| roots.len()),
        )
        .tool(
            "panic",
            "Panics after it asked.",
            |cx: &mut Context, _: Value| -> String {
                let asked = cx.roots();
                panic!("a SECRET text about {asked:?}")
            },
        );
    let (served, mut client) = Served::pipe(server);
    let answer = client.ask(&call(1, "swallow", json!({}), json!({})));
    assert_eq!(
        answer["result"]["inputRequests"]["roots"]["method"],
        "roots/list"
    );
    let folders = json!({ "inputResponses": { "roots": { "roots": [] } } });
    assert_eq!(
        text(&client.ask(&call(2, "swallow", json!({}), folders))),
        "0"
    );
    assert_eq!(
        code(&client.ask(&call(3, "panic", json!({}), json!({})))),
        -32603
    );
    end(served, client);
}

/// Capacity belongs to handlers that run; whoever thinks about a question holds none of it.
#[test]
fn law_3_a_client_that_thinks_holds_no_worker() {
    let (served, mut client) = Served::pipe(confirming(Limits::default()).workers(1).queue(1));
    let arguments = |id: u32| json!({ "what": format!("file {id}") });
    let states: Vec<_> = (0..20)
        .map(|id| first_round(&mut client, &format!("file {id}")))
        .collect();
    served.until_main("nothing runs", |main| main.busy + main.queued == 0);
    assert_eq!(served.stats().asks, 0, "nobody is waited for");
    for (id, state) in (0..20_u32).zip(&states).rev() {
        let answer = client.ask(&call(id, "delete", arguments(id), sure(state)));
        assert_eq!(text(&answer), format!("file {id} true"));
    }
    end(served, client);
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn over_http_a_refused_state_is_an_answer() {
    on_every_front(|front| {
        let (served, http) = front.serve(confirming(Limits::default()));
        let mut reply = http
            .modern(&call(1, "delete", json!({}), sure(&json!("x"))))
            .send();
        assert_eq!(reply.status, 200);
        assert_refused(&reply.json(), "not one that was given out");
        served.stop();
    });
}

/// A bug of the handler's, which shows in debug builds: it may catch that, and its client gets its answer all the same.
#[test]
fn a_handler_that_survives_its_own_panic_over_a_key_is_answered() {
    let server = Server::new("it", "1").tool("twice", "Asks.", |cx: &mut Context, _: Value| {
        let mut ask = |what| cx.elicit::<Sure>("sure", what).map(|_| ());
        let first = ask("One?");
        let second = panic::catch_unwind(AssertUnwindSafe(|| ask("Another?")));
        assert_eq!(second.is_err(), cfg!(debug_assertions));
        first.map(|()| "never answered")
    });
    let (_served, mut client) = Served::pipe(server);
    let required = client.ask(&call(1, "twice", json!({}), json!({})));
    assert_eq!(required["result"]["resultType"], "input_required");
}
