//! Tools that run inline: on the thread that has read their request, whatever the lanes do, and under the same promises.

use mcp_threads::schemars::JsonSchema;
use mcp_threads::{AskError, Execution, RequestContext, Server, Tool};
use serde_json::{Value, json};

use crate::harness::talk::{everything, on_every_talk};
use crate::harness::{Gate, Served, call, code, probes, text};

#[derive(serde::Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Sure {
    sure: bool,
}

fn server(gate: &Gate) -> Server {
    probes(gate)
        .workers(1)
        .queue(1)
        .register(Tool::new("thread").inline().handler(|_: Value| {
            let thread = std::thread::current();
            thread.name().unwrap_or_default().to_owned()
        }))
        .register(
            Tool::new("breaks")
                .inline()
                .handler(|_: Value| -> String { panic!("a panic that belongs to the test") }),
        )
        .register(
            Tool::new("asks")
                .inline()
                .handler(|cx: &mut RequestContext, _: Value| {
                    let sure = cx.elicit::<Sure>("sure", "Sure?")?;
                    Ok::<_, AskError>(format!("{:?}", sure.accepted().map(|it| it.sure)))
                }),
        )
}

fn nobody(question: &str, _: &Value) -> Value {
    panic!("nobody is asked {question}")
}

#[test]
fn it_needs_no_worker_and_no_place_in_a_queue() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(server(&gate));
    client.send(&call(1, "gate", json!({ "who": "runs" })));
    assert_eq!(gate.began(), "runs");
    client.send(&call(2, "gate", json!({ "who": "waits" })));
    assert_eq!(code(&client.ask(&call(3, "echo", json!({})))), 503);
    let answer = client.ask(&call(4, "thread", json!({})));
    assert_eq!(text(&answer), "mcp-pipe-reader");
    gate.let_go(2);
    client.recv();
    client.recv();
    client.close();
    served.stop();
}

#[test]
fn a_panic_of_it_is_one_failed_call() {
    on_every_talk(
        || server(&Gate::new()),
        &everything(),
        |talk| {
            let answer = talk.call("breaks", json!({}), nobody);
            assert_eq!(code(&answer), -32603, "{}", talk.name);
            let answer = talk.call("thread", json!({}), nobody);
            assert!(!text(&answer).starts_with("mcp-main"), "{answer}");
        },
    );
}

/// In the handshake era it would wait on the thread that is to read the answer.
#[test]
fn it_asks_only_where_nobody_waits_for_the_answer() {
    on_every_talk(
        || server(&Gate::new()),
        &everything(),
        |talk| {
            let answer = talk.call(
                "asks",
                json!({}),
                |_, _| json!({ "action": "accept", "content": { "sure": true } }),
            );
            let said = text(&answer).to_owned();
            match talk.is_modern {
                true => assert_eq!(
                    (said.as_str(), talk.rounds),
                    ("Some(true)", 1),
                    "{}",
                    talk.name
                ),
                false => assert!(
                    said.contains("runs inline") && talk.rounds == 0,
                    "{}: {said}",
                    talk.name
                ),
            }
        },
    );
}

#[test]
fn it_is_neither_a_job_nor_in_a_workspace() {
    let tool = || Tool::new("both").inline();
    let server = || Server::new("it", "1.0.0").workspaces(|_, _| Ok::<_, String>(()));
    for tool in [
        tool().in_workspace(),
        tool().reads_workspace(),
        tool().execution(Execution::EitherWay),
    ] {
        let refused = server().register(tool.handler(|_: Value| "")).test_client();
        let why = refused
            .map(drop)
            .expect_err("it cannot be both")
            .to_string();
        assert!(why.contains("`both`") && why.contains("inline"), "{why}");
    }
}
