//! Law 13: what a handler asks its client, and what the client answers, takes the server's memory as long as it is there.

use mcp_threads::{AskError, Elicited, Limits, RequestContext, Server, schemars};
use serde_json::{Value, json};

use crate::harness::talk::{introduce, reply_to};
use crate::harness::{Gate, PipeClient, Served, code, legacy_call, text, until};

const MIB: usize = 1024 * 1024;

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Long {
    text: String,
}

/// Asks with a question of so many bytes; how long the answer is.
fn asks(cx: &mut RequestContext, bytes: usize) -> Result<usize, AskError> {
    match cx.elicit::<Long>("long", &"?".repeat(bytes))? {
        Elicited::Accepted(Long { text }) => Ok(text.len()),
        _ => Ok(0),
    }
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Question {
    bytes: usize,
}

fn served(server: Server) -> (Served, PipeClient) {
    let server = server.limits(Limits::default().memory_bytes_max(6 * MIB));
    let (served, mut client) = Served::pipe(server);
    introduce(&mut client, &json!({ "elicitation": {} }));
    (served, client)
}

/// Answers with a text of so many bytes.
fn answer(client: &mut PipeClient, question: &Value, bytes: usize) {
    let content = json!({ "text": "x".repeat(bytes) });
    client.send(&reply_to(
        question,
        json!({ "action": "accept", "content": content }),
    ));
}

#[test]
fn law_13_a_question_is_charged_until_it_has_been_written() {
    let server = Server::new("it", "1.0.0").tool(
        "asks",
        "Asks for a text.",
        |cx: &mut RequestContext, question: Question| asks(cx, question.bytes),
    );
    let (served, mut client) = served(server);
    let refused = client.ask(&legacy_call(1, "asks", json!({ "bytes": 7 * MIB })));
    assert_eq!(code(&refused), 503, "{refused:.300}");
    for id in 2..5 {
        until("the one before has been written", || {
            client.send(&legacy_call(id, "asks", json!({ "bytes": 4 * MIB })));
            let said = client.recv();
            let is_question = said.get("method").is_some();
            if is_question {
                answer(&mut client, &said, 3);
                assert_eq!(text(&client.answer(id)), "3");
            }
            is_question
        });
    }
    client.close();
    served.stop();
}

#[test]
fn law_13_the_text_of_an_answer_is_charged_while_its_handler_runs() {
    let gate = Gate::new();
    let door = gate.door();
    let server = Server::new("it", "1.0.0")
        .tool(
            "asks",
            "Asks for a text.",
            move |cx: &mut RequestContext| {
                let length = asks(cx, 1)?;
                door.pass("has its answer");
                Ok::<_, AskError>(length)
            },
        )
        .tool("takes", "Takes anything.", |long: Long| long.text.len());
    let (served, mut client) = served(server);
    let takes = |id| legacy_call(id, "takes", json!({ "text": "x".repeat(3 * MIB) }));
    for id in [1, 4] {
        client.send(&legacy_call(id, "asks", json!({})));
        let question = client.recv();
        answer(&mut client, &question, 3 * MIB + 512 * 1024);
        assert_eq!(gate.began(), "has its answer");
        let refused = client.ask(&takes(id + 1));
        assert_eq!(code(&refused), 503, "{refused:.300}");
        gate.let_go(1);
        assert_eq!(text(&client.answer(id)), (3 * MIB + 512 * 1024).to_string());
        until("its memory is given back", || {
            client.ask(&takes(id + 2)).get("result").is_some()
        });
    }
    client.close();
    served.stop();
}
