//! Law 8: a panic is one failed call.

use mcp_threads::{Limits, RequestContext, Server, Tool};
use serde_json::{Value, json};

#[cfg(any(feature = "http", feature = "tiny-http"))]
use crate::harness::on_every_front;
use crate::harness::{Dice, Gate, Served, call, code, legacy_call, logs, probes, text};

/// A generic error with the request id, and nothing of the panic's text.
#[track_caller]
fn assert_generic(answer: &Value, id: &Value) -> String {
    assert_eq!(code(answer), -32603, "{answer}");
    assert_eq!(&answer["id"], id);
    let wire = answer.to_string();
    for secret in ["SECRET", "panicked", "law_08", "src/"] {
        assert!(!wire.contains(secret), "the panic is on the wire: {wire}");
    }
    answer["error"]["data"]["requestId"]
        .as_str()
        .expect("the request id leads to the log")
        .to_owned()
}

#[test]
fn law_8_on_a_pipe_the_only_worker_survives_every_panic() {
    logs::keep();
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(probes(&gate).workers(1));
    client.initialize("2025-11-25");
    for round in 1..=20_u64 {
        let id = json!(format!("panic {round}"));
        let request_id = match round % 2 {
            0 => assert_generic(
                &client.ask(&legacy_call(id.clone(), "panic", json!({}))),
                &id,
            ),
            _ => assert_generic(&client.ask(&call(id.clone(), "panic", json!({}))), &id),
        };
        let told = logs::told(&format!("panicked: a SECRET text request_id={request_id}"));
        assert!(
            told.iter()
                .any(|line| line.text.contains("a SECRET text") && line.text.contains("`panic`")),
            "the log has the text: {told:?}"
        );
        assert_eq!(
            text(&client.ask(&legacy_call(round, "echo", json!({ "text": "alive" })))),
            "alive"
        );
    }
    served.until_main("all are counted", |main| {
        (main.panicked, main.done, main.busy) == (20, 20, 0)
    });
    client.close();
    served.stop();
}

/// The logger's line is one line, and dresses nothing up, whatever the panic says.
#[test]
fn law_8_what_a_panic_says_reaches_the_logger_escaped() {
    logs::keep();
    let server = Server::new("it", "1").tool("panic", "", || -> String {
        panic!("escapes:\nERROR forged \x1b[31mred \u{202e}turned")
    });
    let (served, mut client) = Served::pipe(server);
    let answer = client.ask(&call(1, "panic", json!({})));
    assert_generic(&answer, &json!(1));
    let lines = logs::told("escapes:");
    let shown = r"escapes:\nERROR forged \u{1b}[31mred \u{202e}turned";
    let all_are_one = lines.iter().all(|line| line.text.contains(shown));
    assert!(all_are_one && lines.len() == 1, "{lines:?}");
    client.close();
    served.stop();
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_8_over_http_a_panic_is_a_plain_answer_with_the_client_s_request_id() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(probes(&gate).workers(1));
        let mut reply = http
            .modern(&call(1, "panic", json!({})))
            .field("X-Request-Id", "law-8-panic")
            .send();
        assert_eq!(
            (reply.status, reply.request_id()),
            (200, "law-8-panic".to_owned())
        );
        assert_eq!(assert_generic(&reply.json(), &json!(1)), "law-8-panic");
        assert_eq!(
            text(&http.ask(&call(2, "echo", json!({ "text": "alive" })))),
            "alive"
        );
        served.until_main("they are counted", |main| main.panicked == 1);
        served.stop();
    });
}

/// Whatever is thrown: a text, a value of its own, from inside a result's `Display`, or after progress.
#[test]
fn law_8_whatever_is_thrown_is_caught() {
    struct Rude;
    impl std::fmt::Display for Rude {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("a SECRET text")
        }
    }
    let gate = Gate::new();
    let server = probes(&gate)
        .workers(1)
        .tool("value", "Throws something else.", |_: Value| -> () {
            std::panic::panic_any(7_u8)
        })
        .tool(
            "display",
            "Panics while its error is written.",
            |_: Value| Err::<(), _>(Rude),
        )
        .tool(
            "late",
            "Panics after it has said something.",
            |cx: &mut RequestContext, _: Value| {
                cx.progress(1.0);
                let empty: [u8; 0] = std::hint::black_box([]);
                *empty.first().expect("a SECRET text")
            },
        )
        .tool("poison", "Poisons a lock.", {
            let lock = std::sync::Mutex::new(0);
            move |_: Value| {
                let _held = lock.lock();
                assert!(lock.is_poisoned(), "a SECRET text");
                "poisoned"
            }
        });
    let (served, mut client) = Served::pipe(server);
    let mut dice = Dice::new(8);
    for id in 1..=60_u64 {
        let tool = ["value", "display", "late", "panic"][dice.roll(4) as usize];
        assert_generic(&client.ask(&call(id, tool, json!({}))), &json!(id));
    }
    assert_generic(&client.ask(&call(61, "poison", json!({}))), &json!(61));
    assert_eq!(
        text(&client.ask(&call(62, "poison", json!({})))),
        "poisoned",
        "its author's lock is its author's"
    );
    served.until_main("all are counted", |main| {
        (main.panicked, main.done) == (61, 1)
    });
    client.close();
    served.stop();
}

/// The hook is the whole process's, so the other tests of this binary may run with it, too; it adds to what they see and changes nothing.
#[test]
fn law_8_the_log_leads_to_the_panic_if_the_program_wants_it() {
    #[inline(never)]
    fn the_culprit() -> String {
        panic!("a SECRET text")
    }
    logs::keep();
    mcp_threads::log_backtraces();
    mcp_threads::log_backtraces();
    let server = Server::new("it", "1.0.0")
        .workers(1)
        .tool("swallows", "Catches a panic itself.", |_: Value| {
            std::panic::catch_unwind(the_culprit).map_or("swallowed", |_| "?")
        })
        .tool("panics", "Panics.", |_: Value| the_culprit());
    let (served, mut client) = Served::pipe(server);
    for round in 1..=2_u64 {
        let answer = client.ask(&call(round, "panics", json!({})));
        let request_id = assert_generic(&answer, &json!(round));
        let mark = format!("panicked: a SECRET text request_id={request_id} at ");
        let told = logs::told(&mark);
        assert_eq!(told.len(), 1, "{told:?}");
        for way in ["law_08_panics.rs:", "the_culprit"] {
            assert!(told[0].text.contains(way), "{way}: {told:?}");
        }
    }
    let answer = client.ask(&call(3, "swallows", json!({})));
    assert_eq!(text(&answer), "swallowed");
    served.until_main("they are counted", |main| main.panicked == 2);
    client.close();
    served.stop();
}

/// A workspace's value that cannot be dropped in peace.
struct Cursed;

impl Drop for Cursed {
    fn drop(&mut self) {
        panic!("on purpose, while it is dropped");
    }
}

fn cursed() -> Server {
    Server::new("it", "1.0.0")
        .workers(1)
        .limits(Limits::default().cancel_grace(crate::harness::served::CANCEL_GRACE))
        .workspaces(|_, _| Ok::<_, String>(Cursed))
        .register(Tool::new("crash").in_workspace().handler(
            |_: &mut RequestContext, _: &mut Cursed, _: Value| -> String { panic!("on purpose") },
        ))
        .register(
            Tool::new("use")
                .in_workspace()
                .handler(|_: &mut RequestContext, _: &mut Cursed, _: Value| "used"),
        )
        .tool("plain", "Needs no workspace.", |_: Value| "alive")
}

#[test]
fn law_8_a_workspace_s_value_that_panics_while_it_is_dropped_costs_no_worker() {
    let (served, mut client) = Served::pipe(cursed());
    // The value is broken with each call, and its last holder is the worker.
    for round in 1..=3_u64 {
        let crashed = client.ask(&call(round, "crash", json!({ "workspace": "a" })));
        assert_eq!(code(&crashed), -32603, "{crashed}");
        let alive = client.ask(&call(round + 10, "plain", json!({})));
        assert_eq!(text(&alive), "alive");
    }
    assert_eq!(served.main().workers, 1, "{:?}", served.stats());
    client.close();
    served.stop();
}

#[test]
fn law_8_values_that_panic_while_they_are_dropped_stand_in_no_shutdown_s_way() {
    let gate = Gate::new();
    let door = gate.door();
    let waits = move |cx: &mut RequestContext, _: Value| door.pass_or_leave(cx, "waits");
    let (served, mut client) = Served::pipe(cursed().tool("wait", "Waits.", waits));
    for workspace in ["a", "b"] {
        let used = client.ask(&call(workspace, "use", json!({ "workspace": workspace })));
        assert_eq!(text(&used), "used");
    }
    client.send(&call("wait", "wait", json!({})));
    assert_eq!(gate.began(), "waits");
    let report = served.shutdown(std::time::Duration::from_millis(1));
    assert_eq!(report.abandoned_handlers, 0, "it was told, and left");
    assert_eq!(code(&client.answer("wait")), 503);
}
