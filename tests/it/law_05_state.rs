//! Law 5: shared-nothing by default; what is shared stands in an `Arc`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mcp_threads::{Completing, Fork, Prompt, RequestContext, Resource, ResourceTemplate, Server};
use serde_json::{Value, json};

use crate::harness::{Gate, Served, call, code, modern, text};

#[derive(Clone, Default)]
struct State {
    own: Vec<String>,
    shared: Arc<AtomicU64>,
}

#[test]
fn law_5_calls_that_run_at_once_never_see_each_other_s_state() {
    const CALLS: usize = 8;
    let gate = Gate::new();
    let door = gate.door();
    let template = State::default();
    let shared = Arc::clone(&template.shared);
    let server = Server::new("it", "1")
        .workers(CALLS)
        .with_state(template)
        .tool(
            "push",
            "Pushes twice, and waits in between.",
            move |cx: &mut RequestContext<State>, args: Value| {
                cx.state_mut().own.push(args["who"].to_string());
                cx.state().shared.fetch_add(1, Ordering::Relaxed);
                door.pass("pushed");
                cx.state_mut().own.push(args["who"].to_string());
                cx.state().own.join(" ")
            },
        );
    let (served, mut client) = Served::pipe(server);
    for round in 1..=2 {
        for who in 0..CALLS {
            client.send(&call(who, "push", json!({ "who": who })));
        }
        for _ in 0..CALLS {
            gate.began();
        }
        assert_eq!(
            shared.load(Ordering::Relaxed),
            (round * CALLS) as u64,
            "the Arc is shared"
        );
        gate.let_go(CALLS);
        for who in 0..CALLS {
            assert_eq!(text(&client.answer(who)), format!("{who} {who}"));
        }
    }
    client.close();
    served.stop();
}

/// Counts its forks, and cannot be forked when it is told so.
struct Counting {
    forks: Arc<AtomicU64>,
    number: u64,
}

impl Fork for Counting {
    fn fork(&self) -> Self {
        let number = self.forks.fetch_add(1, Ordering::Relaxed) + 1;
        assert_ne!(number, 2, "the second fork fails");
        Counting {
            forks: Arc::clone(&self.forks),
            number,
        }
    }
}

#[test]
fn law_5_each_call_is_one_fork_and_a_fork_that_panics_fails_one_call() {
    let template = Counting {
        forks: Arc::default(),
        number: 0,
    };
    let server = Server::new("it", "1").workers(1).with_state(template).tool(
        "number",
        "Says which fork it has.",
        |cx: &mut RequestContext<Counting>, _: Value| cx.state().number,
    );
    let (served, mut client) = Served::pipe(server);
    let mut number = |id: u32| client.ask(&call(id, "number", json!({})));
    assert_eq!(text(&number(1)), "1");
    assert_eq!(code(&number(2)), -32603);
    assert_eq!(text(&number(3)), "3");
    client.close();
    served.until_main("all are counted", |main| {
        (main.done, main.panicked) == (2, 1)
    });
    served.stop();
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Word {
    word: String,
}

/// A handler that takes no context cannot see the state, which may be large.
#[test]
fn law_5_nothing_is_forked_for_a_handler_that_takes_no_context() {
    let forks = Arc::default();
    let template = Counting {
        forks: Arc::clone(&forks),
        number: 0,
    };
    let server = Server::new("it", "1")
        .with_state(template)
        .tool("nothing", "", || "nothing")
        .tool("arguments", "", |_: Value| "arguments")
        .tool("context", "", |cx: &mut RequestContext<Counting>| {
            cx.state().number
        })
        .prompt("nothing", "", || "nothing")
        .register(
            Prompt::new("arguments")
                .complete("word", |typed: Completing| vec![typed.value])
                .handler(|word: Word| word.word),
        )
        .register(Resource::new("it://nothing", "nothing").handler(|| "nothing"))
        .register(ResourceTemplate::new("it://{word}", "words").handler(|word: Word| word.word));
    let (served, mut client) = Served::pipe(server);
    for tool in ["nothing", "arguments", "nothing", "arguments"] {
        assert_eq!(text(&client.ask(&call(1, tool, json!({})))), tool);
    }
    let typed = json!({ "name": "word", "value": "typed" });
    let prompt = json!({ "type": "ref/prompt", "name": "arguments" });
    for (method, params, found) in [
        ("prompts/get", json!({ "name": "nothing" }), "nothing"),
        (
            "prompts/get",
            json!({ "name": "arguments", "arguments": { "word": "given" } }),
            "given",
        ),
        (
            "resources/read",
            json!({ "uri": "it://nothing" }),
            "nothing",
        ),
        ("resources/read", json!({ "uri": "it://given" }), "given"),
        (
            "completion/complete",
            json!({ "ref": prompt, "argument": typed }),
            "typed",
        ),
    ] {
        let answer = client.ask(&modern(1, method, params));
        assert!(answer["result"].to_string().contains(found), "{answer}");
    }
    assert_eq!(forks.load(Ordering::Relaxed), 0);
    assert_eq!(text(&client.ask(&call(1, "context", json!({})))), "1");
    client.close();
    served.stop();
}

/// Tools registered before `with_state` keep the state they were registered with: none.
#[test]
fn law_5_tools_with_and_without_state_live_side_by_side() {
    let server = Server::new("it", "1")
        .tool("plain", "Needs no state.", || "plain")
        .with_state(41_u32)
        .tool("one more", "", |_: Value| "")
        .tool(
            "add",
            "Adds one.",
            |cx: &mut RequestContext<u32>, _: Value| {
                *cx.state_mut() += 1;
                *cx.state()
            },
        );
    let error = server.serve_pipe(std::io::empty(), std::io::sink()).err();
    assert!(error.is_some_and(|error| error.to_string().contains("`one more`")));
}
