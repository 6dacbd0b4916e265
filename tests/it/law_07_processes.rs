//! The watchdog in processes of their own: what hangs in the reference server, what its clients see of it, and how the process ends all the same.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::child;
use crate::harness::message::legacy_call;
use crate::harness::{Http, call, code, legacy, modern, text, until_told};

/// Longer than any test.
const FOREVER_MS: u64 = 3_600_000;

/// What `status` shows of the main lane.
fn main_lane(http: Http) -> Value {
    let status = http.ask(&call("status", "status", json!({})));
    let lanes = &status["result"]["structuredContent"]["stats"]["lanes"];
    assert_eq!(lanes[0]["name"], "main", "{status}");
    lanes[0].clone()
}

/// Every worker hangs; the server answers what is cheap, gives them up, and takes calls again. It ends with 0, though two threads never will.
#[test]
fn law_7_over_http_a_process_recovers_from_handlers_that_hang_and_ends_with_0() {
    let mut command = child::example("everything");
    command.args(["--http", "127.0.0.1:0", "--workers", "2", "--queue", "2"]);
    command.args(["--liveness-ms", "2000", "--grace-ms", "500"]);
    command.env("RUST_LOG", "info");
    let (mut running, http) = child::http(command);
    let wedge = |id: i64| {
        let arguments = json!({ "ms": FOREVER_MS });
        http.modern(&call(id, "wedge", arguments)).connect()
    };
    let stuck = [wedge(1), wedge(2)];
    // On a slow machine the first may have been given up before the second has come.
    let stuck_in = |lane: &Value| ["busy", "abandoned"].map(|field| lane[field].as_u64());
    let hang = |lane: &Value| stuck_in(lane).into_iter().flatten().sum::<u64>() == 2;
    until_told("both hang", || hang(&main_lane(http)), || running.stderr());
    let listed = http.ask(&modern(3, "tools/list", json!({})));
    assert!(listed["result"]["tools"].is_array());
    for (id, stuck) in (1..).zip(stuck) {
        let reply = stuck.reply();
        assert_eq!(reply.status, 200);
        let answer = reply.message();
        assert_eq!(
            (code(&answer), &answer["id"]),
            (504, &json!(id)),
            "{answer}"
        );
    }
    let lane = main_lane(http);
    assert_eq!(
        (&lane["abandoned"], &lane["replaced"], &lane["workers"]),
        (&json!(2), &json!(2), &json!(2)),
        "{lane}"
    );
    let echo = call(4, "echo", json!({ "text": "again" }));
    assert_eq!(text(&http.ask(&echo)), "again");
    // What stands in the log: the tool, the place of its thread, and the end on its access line.
    let stalled = running.said("a call gives no sign of life and is cancelled");
    for part in [
        "`wedge` on lane `main`",
        "last_sign=\"none\"",
        "request_id=",
    ] {
        assert!(stalled.contains(part), "{stalled}");
    }
    #[cfg(target_os = "linux")]
    assert!(stalled.contains("state=S"), "{stalled}");
    running.said("outcome=abandoned");
    running.ends_by(Signal::TERM);
}

#[test]
fn law_7_on_stdio_a_process_recovers_from_a_handler_that_hangs_and_ends_with_0() {
    let mut command = child::example("everything");
    command.args(["--stdio", "--workers", "1", "--drain-ms", "100"]);
    command.args(["--liveness-ms", "2000", "--grace-ms", "500"]);
    let (mut running, mut client) = child::stdio(command);
    client.initialize("2025-11-25");
    let arguments = json!({ "ms": FOREVER_MS });
    client.send(&legacy_call(1, "wedge", arguments.clone()));
    client.send(&legacy_call(2, "echo", json!({ "text": "waited" })));
    let pong = client.ask(&legacy("ping", "ping", json!({})));
    assert_eq!(pong["result"], json!({}));
    assert_eq!(code(&client.answer(1)), 504);
    assert_eq!(text(&client.answer(2)), "waited");
    // And one that is not found before the end.
    client.send(&legacy_call(3, "wedge", arguments));
    client.close();
    running.exits_well();
}

/// Suspended for three times its liveness, a call that is silent for less than that is not accused.
#[test]
fn law_7_a_process_that_was_suspended_gives_no_call_up() {
    let mut command = child::example("everything");
    command.args(["--http", "127.0.0.1:0"]);
    command.args(["--liveness-ms", "2000", "--grace-ms", "500"]);
    let (mut running, http) = child::http(command);
    let ask = |id: i64, tool: &str, arguments: Value| {
        let message = call(id, tool, arguments);
        http.modern(&message).connect()
    };
    // Silent for at most half of its liveness before and after.
    let silent = ask(1, "wedge", json!({ "ms": 7_000 }));
    let beating = ask(2, "toil", json!({ "ms": 7_000, "beat_ms": 250 }));
    let runs = |lane: &Value| lane["busy"] == 2;
    until_told("both run", || runs(&main_lane(http)), || running.stderr());
    running.signal(Signal::STOP);
    // The time that has to pass is what is tested.
    std::thread::sleep(Duration::from_secs(6));
    running.signal(Signal::CONT);
    assert_eq!(text(&silent.reply().message()), "awake again");
    assert_eq!(text(&beating.reply().message()), "toiled 7000 ms");
    assert_eq!(main_lane(http)["replaced"], 0);
    running.ends_by(Signal::TERM);
}

/// Suspended so often that the looks which come late would be worth more than its liveness, if they were worth anything.
#[test]
fn law_7_a_process_that_is_suspended_again_and_again_gives_no_call_up() {
    let mut command = child::example("everything");
    command.args(["--http", "127.0.0.1:0"]);
    // A look is planned every 500 ms, longer than it ever runs here, and one is late that comes as much later again.
    command.args(["--liveness-ms", "4000", "--grace-ms", "500"]);
    let (mut running, http) = child::http(command);
    let silent = http.modern(&call(1, "wedge", json!({ "ms": 12_500 })));
    let silent = silent.connect();
    let runs = |lane: &Value| lane["busy"] == 1;
    until_told("it runs", || runs(&main_lane(http)), || running.stderr());
    for _ in 0..10 {
        running.signal(Signal::STOP);
        // The time that has to pass is what is tested.
        std::thread::sleep(Duration::from_millis(1200));
        running.signal(Signal::CONT);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(text(&silent.reply().message()), "awake again");
    assert_eq!(main_lane(http)["replaced"], 0);
    running.ends_by(Signal::TERM);
}

/// Four times its liveness, with life, beside one that has none.
#[test]
fn law_7_toil_lives_and_a_wedge_beside_it_does_not() {
    let mut command = child::example("everything");
    command.args(["--http", "127.0.0.1:0", "--workers", "2"]);
    command.args(["--liveness-ms", "1000", "--grace-ms", "500"]);
    let (mut running, http) = child::http(command);
    let toil = json!({ "ms": 4_000, "beat_ms": 50 });
    let toil = http.modern(&call(1, "toil", toil)).connect();
    let wedge = json!({ "ms": FOREVER_MS });
    let wedge = http.modern(&call(2, "wedge", wedge)).connect();
    assert_eq!(code(&wedge.reply().message()), 504);
    assert_eq!(text(&toil.reply().message()), "toiled 4000 ms");
    assert_eq!(main_lane(http)["replaced"], 1);
    running.ends_by(Signal::TERM);
}
