//! Law 7 and the watchdog: what gives no sign of life is cancelled, then given up, and its worker replaced; what lives is left alone.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::unbounded;
use mcp_threads::{
    CancellationToken, Cancelled, LaneStats, Limits, RequestContext, Server, StalledCall, Tool,
};
use serde_json::{Value, json};

#[cfg(any(feature = "http", feature = "tiny-http"))]
use crate::harness::on_every_front;
use crate::harness::served::lane;
use crate::harness::{
    Gate, PATIENCE, Served, call, code, legacy, legacy_call, probes, text, until,
};

/// Every test waits for it. Long enough for a handler to come to where the test wants it and to be kept by one that beats, on any machine.
const LIVENESS: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_millis(500);
/// Longer than any test.
const FOREVER: Duration = Duration::from_secs(3600);

/// A server with probes whose calls are watched, and the gate's own tools that wait longer than they may.
fn watched(gate: &Gate) -> Server {
    let limits = Limits::default().stream_after(FOREVER).stall_grace(GRACE);
    probes(gate).limits(limits).liveness(LIVENESS)
}

/// The numbers of a lane that a test of the watchdog asserts: living, busy, abandoned, replaced.
fn count(lane: &LaneStats) -> (usize, usize, usize, u64) {
    (lane.workers, lane.busy, lane.abandoned, lane.replaced)
}

#[track_caller]
fn assert_stalled(answer: &Value, id: i64) {
    assert_eq!((code(answer), &answer["id"]), (504, &json!(id)), "{answer}");
    let data = &answer["error"]["data"];
    assert!(data["requestId"].is_string(), "{answer}");
    let silent = data["silentMs"].as_u64().expect("it says how long");
    assert!(u128::from(silent) >= LIVENESS.as_millis(), "{answer}");
}

/// The third story: a peer that accepts and never answers wedges every worker; what is cheap answers all the time, and new calls run afterwards.
#[test]
fn law_7_a_peer_that_never_answers_costs_a_lane_no_worker_for_long() {
    let peer = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let address = peer.local_addr().expect("it has an address");
    let gate = Gate::new();
    let server = watched(&gate)
        .workers(2)
        .queue(2)
        .register(
            Tool::new("query").handler(move |_: Value| -> std::io::Result<String> {
                let mut connection = TcpStream::connect(address)?;
                let mut rows = String::new();
                connection.read_to_string(&mut rows)?;
                Ok(rows)
            }),
        );
    let (served, mut client) = Served::pipe(server);
    client.initialize("2025-11-25");
    let mut held = Vec::new();
    for id in 1..=2 {
        client.send(&legacy_call(id, "query", json!({})));
        held.push(peer.accept().expect("the handler connects"));
    }
    client.send(&legacy_call(3, "echo", json!({ "text": "waited" })));
    let pong = client.ask(&legacy("ping", "ping", json!({})));
    assert_eq!(pong["result"], json!({}));
    let tools = client.ask(&legacy("list", "tools/list", json!({})));
    assert!(tools["result"]["tools"].is_array());
    let looked = client.ask(&legacy_call("look", "look", json!({})));
    assert_eq!(text(&looked), "looking");

    for id in 1..=2 {
        assert_stalled(&client.answer(id), id);
    }
    assert_eq!(text(&client.answer(3)), "waited");
    served.until_main("both are replaced", |main| count(main) == (2, 0, 2, 2));
    // The peer goes away, and what nobody waits for any more ends.
    drop(held);
    served.until_main("the abandoned return", |main| main.abandoned == 0);
    client.close();
    assert_eq!(client.rest().len(), 0, "each was answered once");
    served.stop();
}

/// Far longer than its liveness, with every sign of life there is.
#[test]
fn law_7_a_call_that_shows_life_is_left_alone() {
    let toil = |beat: fn(&mut RequestContext, u32)| {
        move |cx: &mut RequestContext, _: Value| -> Result<&'static str, Cancelled> {
            for step in 1..=24 {
                std::thread::sleep(LIVENESS / 4);
                beat(cx, step);
            }
            cx.check()?;
            Ok("alive")
        }
    };
    let gate = Gate::new();
    // Four beats in each liveness, of which a loaded machine may lose some.
    let limits = Limits::default().stream_after(FOREVER).stall_grace(GRACE);
    let server = watched(&gate)
        .limits(limits)
        .register(
            Tool::new("alive")
                .liveness(LIVENESS * 4)
                .handler(toil(|cx, _| cx.alive())),
        )
        .register(
            Tool::new("progress")
                .liveness(LIVENESS * 4)
                .handler(toil(|cx, step| cx.progress(f64::from(step)))),
        )
        .register(
            Tool::new("sleep").handler(|cx: &mut RequestContext, _: Value| {
                cx.sleep(LIVENESS * 4).map(|()| "alive")
            }),
        );
    let (served, mut client) = Served::pipe(server);
    let tools = ["alive", "progress", "sleep"];
    for (id, tool) in (1..).zip(tools) {
        client.send(&call(id, tool, json!({})));
    }
    for (id, tool) in (1..).zip(tools) {
        assert_eq!(text(&client.answer(id)), "alive", "{tool}");
    }
    assert_eq!(served.main().replaced, 0);
    client.close();
    served.stop();
}

/// The nearest says how long a call may be silent: its tool, its lane, the server.
#[test]
fn law_7_the_nearest_liveness_counts() {
    let gate = Gate::new();
    let slow = |longest: Duration| {
        move |cx: &mut RequestContext, _: Value| {
            let is_cancelled = cx.cancellation().wait(longest);
            if is_cancelled { "cancelled" } else { "done" }
        }
    };
    let (left, cancelled) = (slow(LIVENESS * 3), slow(PATIENCE));
    let server = probes(&gate)
        .limits(Limits::default().stall_grace(PATIENCE))
        .liveness(FOREVER)
        .lane(mcp_threads::Lane::new("strict").liveness(LIVENESS))
        .register(Tool::new("of_server").handler(left))
        .register(Tool::new("of_lane").lane("strict").handler(cancelled))
        .register(
            Tool::new("of_tool")
                .lane("strict")
                .liveness(FOREVER)
                .handler(left),
        )
        .register(
            Tool::new("strict_tool")
                .liveness(LIVENESS)
                .handler(cancelled),
        );
    let (served, mut client) = Served::pipe(server);
    let rows = [
        ("of_server", "done"),
        ("of_lane", "cancelled"),
        ("of_tool", "done"),
        ("strict_tool", "cancelled"),
    ];
    for (id, (tool, _)) in (1..).zip(rows) {
        client.send(&call(id, tool, json!({})));
    }
    for (id, (tool, expected)) in (1..).zip(rows) {
        assert_eq!(text(&client.answer(id)), expected, "{tool}");
    }
    client.close();
    served.stop();
}

/// What a handler returns in the grace is the answer, unless it is what the cancellation has made of it.
#[test]
fn law_7_what_returns_within_the_grace_is_the_answer_and_an_error_is_a_504() {
    let gate = Gate::new();
    let limits = Limits::default()
        .stream_after(FOREVER)
        .stall_grace(PATIENCE);
    let until_stalled = |cx: &RequestContext| {
        assert!(cx.cancellation().wait(PATIENCE), "it is cancelled");
        assert!(cx.cancellation().is_stalled(), "and for its silence");
    };
    let server = watched(&gate)
        .limits(limits)
        .tool("late", "", move |cx: &mut RequestContext, _: Value| {
            until_stalled(cx);
            "just in time"
        })
        .tool("leave", "", move |cx: &mut RequestContext, _: Value| {
            until_stalled(cx);
            cx.check()
        })
        .tool("fail", "", move |cx: &mut RequestContext, _: Value| {
            until_stalled(cx);
            Err::<String, _>("the engine has gone")
        });
    let (served, mut client) = Served::pipe(server);
    assert_eq!(
        text(&client.ask(&call(1, "late", json!({})))),
        "just in time"
    );
    for (id, tool) in [(2, "leave"), (3, "fail")] {
        assert_stalled(&client.ask(&call(id, tool, json!({}))), id);
    }
    assert_eq!(served.main().replaced, 0);
    client.close();
    served.stop();
}

/// A child that says nothing is killed with its group; one that says something is a sign of life.
#[cfg(unix)]
#[test]
fn law_7_the_output_of_a_command_is_life_and_a_silent_one_is_killed() {
    use mcp_threads::RunCommand;
    let gate = Gate::new();
    let run = |script: &'static str| {
        move |cx: &mut RequestContext, _: Value| {
            let command = RunCommand::new("sh").args(["-c", script]);
            command.run(cx).map(|output| output.text())
        }
    };
    let limits = Limits::default()
        .stream_after(FOREVER)
        .stall_grace(PATIENCE);
    let server = watched(&gate)
        .limits(limits)
        .register(Tool::new("chatty").liveness(LIVENESS * 3).handler(run(
            "for n in 1 2 3 4 5 6 7 8 9 10; do sleep 0.4; echo $n; done",
        )))
        .tool("silent", "", run("sleep 3600 & wait"));
    let (served, mut client) = Served::pipe(server);
    client.send(&call(1, "chatty", json!({})));
    client.send(&call(2, "silent", json!({})));
    assert_stalled(&client.answer(2), 2);
    assert!(text(&client.answer(1)).ends_with("10\n"));
    assert_eq!(served.main().replaced, 0);
    client.close();
    served.stop();
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_7_over_http_a_given_up_call_is_answered_with_504_in_a_200() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(watched(&gate).workers(1).queue(1));
        let session = http.initialize("2025-11-25");
        let stuck = http.modern(&call(1, "gate", json!({}))).connect();
        gate.began();
        let reply = stuck.reply();
        assert_eq!(reply.status, 200);
        assert_stalled(&reply.message(), 1);
        let stuck = session.post(&legacy_call(2, "gate", json!({}))).connect();
        gate.began();
        let reply = stuck.reply();
        assert_eq!(reply.status, 200);
        assert_stalled(&reply.message(), 2);
        // More than one replaced in a minute is too many for one worker, and it is wedged.
        assert_eq!(count(&served.main()), (0, 1, 1, 1));
        let refused = http.modern(&call(3, "echo", json!({}))).send();
        assert_eq!(refused.status, 503);
        assert!(
            refused.message()["error"]["message"]
                .as_str()
                .is_some_and(|message| message.contains("hangs"))
        );
        gate.let_go(2);
        served.until_main("all live again", |main| {
            (main.workers, main.busy, main.abandoned) == (1, 0, 0)
        });
        assert_eq!(
            text(&http.ask(&call(4, "echo", json!({ "text": "again" })))),
            "again"
        );
        served.stop();
    });
}

/// The bound in number, as a client sees it: at the bound a call is answered all the same, and only a lane with no living worker refuses.
#[test]
fn law_3_at_the_bound_a_lane_refuses_what_waits_too() {
    let gate = Gate::new();
    let server = watched(&gate)
        .workers(1)
        .queue(2)
        .lane(mcp_threads::Lane::new("main").abandoned_workers_max(0));
    let (served, mut client) = Served::pipe(server);
    client.send(&call(1, "gate", json!({})));
    gate.began();
    client.send(&call(2, "echo", json!({})));
    assert_stalled(&client.answer(1), 1);
    let queued = client.answer(2);
    assert_eq!(code(&queued), 503, "{queued}");
    assert_eq!(code(&client.ask(&call(3, "echo", json!({})))), 503);
    assert_eq!(text(&client.ask(&call(4, "look", json!({})))), "looking");
    gate.let_go(1);
    served.until_main("its worker lives", |main| main.workers == 1);
    let answer = client.ask(&call(5, "echo", json!({ "text": "again" })));
    assert_eq!(text(&answer), "again");
    client.close();
    assert_eq!(client.rest().len(), 0);
    served.stop();
}

/// Somebody who knows says that a handler hangs, and need not wait for its silence.
#[test]
fn law_7_a_call_is_given_up_by_who_holds_its_cancellation() {
    let gate = Gate::new();
    let door = gate.door();
    let (lend, lent) = unbounded::<CancellationToken>();
    let server = probes(&gate).workers(1).queue(1).tool(
        "hang",
        "",
        move |cx: &mut RequestContext, _: Value| {
            let _test_is_over = lend.send(cx.cancellation().clone());
            door.pass("hang");
            "too late"
        },
    );
    let (served, mut client) = Served::pipe(server);
    client.send(&call(1, "hang", json!({})));
    let token = lent.recv_timeout(PATIENCE).expect("it lends its token");
    gate.began();
    token.give_up("the engine has crashed");
    token.give_up("nobody hears this");
    let answer = client.answer(1);
    assert_eq!(code(&answer), 504);
    let message = answer["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("the engine has crashed"), "{message}");
    assert!(token.is_stalled(), "and cancelled");
    assert_eq!(count(&served.main()), (1, 0, 1, 1));
    gate.let_go(1);
    served.until_main("its thread ends", |main| main.abandoned == 0);
    token.give_up("it has returned");
    let answer = client.ask(&call(2, "echo", json!({ "text": "next" })));
    assert_eq!(text(&answer), "next");
    client.close();
    assert_eq!(client.rest().len(), 0);
    served.stop();
}

/// The embedder hears of it while the handler may still come back, and can see to it that it does.
#[test]
fn law_7_on_stalled_is_told_once_and_may_bring_the_handler_back() {
    let gate = Gate::new();
    let (broken, engine) = unbounded::<()>();
    let (tell, told) = unbounded::<StalledCall>();
    let limits = Limits::default()
        .stream_after(FOREVER)
        .stall_grace(PATIENCE);
    let server = watched(&gate)
        .limits(limits)
        .on_stalled(move |call| {
            let _test_is_over = tell.send(call.clone());
            // A new engine: whoever hung in the old one comes back.
            let _test_is_over = broken.send(());
            panic!("a hook that panics is heard of, too");
        })
        .tool("hang", "", move |cx: &mut RequestContext, _: Value| {
            cx.alive();
            let _made_anew = engine.recv();
            "back again"
        });
    let (served, mut client) = Served::pipe(server);
    for id in 1..=2 {
        let answer = client.ask(&call(id, "hang", json!({})));
        assert_eq!(text(&answer), "back again");
        let call = told.recv_timeout(PATIENCE).expect("it is told");
        assert_eq!((&*call.name, &*call.lane), ("hang", "main"));
        assert!(call.silent_for >= LIVENESS && call.given_up.is_none());
        let sign = call.last_sign.as_deref().unwrap_or_default();
        let here = format!("alive at {}:", file!());
        assert!(sign.starts_with(&here), "{sign} in {here}");
        #[cfg(target_os = "linux")]
        assert!(
            call.thread
                .as_deref()
                .is_some_and(|it| it.contains("state=S")),
            "{call:?}"
        );
        assert!(call.to_string().contains(&call.request_id), "{call}");
    }
    assert!(told.is_empty(), "once for each");
    client.close();
    served.stop();
}

/// A workspace whose call is given up is made anew for the next one, and the old value goes when the thread comes back.
#[test]
fn law_7_a_workspace_whose_call_is_wedged_is_replaced() {
    struct Desk(usize, Arc<AtomicUsize>);
    impl Drop for Desk {
        fn drop(&mut self) {
            self.1.fetch_add(1, Ordering::AcqRel);
        }
    }
    let gate = Gate::new();
    let door = gate.door();
    let (made, dropped) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let of_desks = Arc::clone(&dropped);
    let server = watched(&gate)
        .workers(2)
        .workspaces(move |_, _| {
            let number = made.fetch_add(1, Ordering::AcqRel) + 1;
            Ok::<_, String>(Desk(number, Arc::clone(&of_desks)))
        })
        .register(Tool::new("hang").in_workspace().handler(
            move |_: &mut RequestContext, desk: &mut Desk, _: Value| {
                door.pass("hang");
                desk.0
            },
        ))
        .register(
            Tool::new("number")
                .in_workspace()
                .handler(|_: &mut RequestContext, desk: &mut Desk, _: Value| desk.0),
        );
    let (served, mut client) = Served::pipe(server);
    client.initialize("2025-11-25");
    client.send(&legacy_call(1, "hang", json!({})));
    gate.began();
    client.send(&legacy_call(2, "number", json!({})));
    assert_stalled(&client.answer(1), 1);
    assert_eq!(
        text(&client.answer(2)),
        "2",
        "a new value, and it waits no more"
    );
    assert_eq!(dropped.load(Ordering::Acquire), 0, "the handler has it");
    gate.let_go(1);
    served.until_main("the thread ends", |main| main.abandoned == 0);
    until("its value goes with it", || {
        dropped.load(Ordering::Acquire) == 1
    });
    assert_eq!(text(&client.ask(&legacy_call(3, "number", json!({})))), "2");
    client.close();
    served.stop();
}

/// A background job that hangs has failed, and says why.
#[test]
fn law_7_a_job_that_is_wedged_has_failed() {
    let gate = Gate::new();
    let door = gate.door();
    let server = watched(&gate)
        .lane(mcp_threads::Lane::new("jobs").workers(1).queue(4))
        .job_tools()
        .register(
            Tool::new("hang")
                .execution(mcp_threads::Execution::Background)
                .handler(move |_: Value| {
                    door.pass("hang");
                    "too late"
                }),
        );
    let (served, mut client) = Served::pipe(server);
    client.initialize("2025-11-25");
    let begun = client.ask(&legacy_call(1, "hang", json!({})));
    let job = &begun["result"]["structuredContent"]["job"];
    gate.began();
    let arguments = json!({ "job": job, "wait_seconds": 30 });
    let status = client.ask(&legacy_call(2, "job_status", arguments));
    let status = text(&status).to_owned();
    assert!(status.contains("failed"), "{status}");
    assert!(status.contains("no sign of life"), "{status}");
    let jobs = lane(&served.stats(), "jobs");
    assert_eq!(count(&jobs), (1, 0, 1, 1));
    gate.let_go(1);
    until("its thread ends", || {
        lane(&served.stats(), "jobs").abandoned == 0
    });
    client.close();
    served.stop();
}

/// A tool that is added while the server runs is watched, though nothing was before.
#[test]
fn law_7_a_tool_that_is_added_later_is_watched() {
    let gate = Gate::new();
    let door = gate.door();
    let limits = Limits::default().stall_grace(GRACE);
    let (served, mut client) = Served::pipe(probes(&gate).limits(limits));
    let hang = Tool::new("hang").liveness(LIVENESS);
    served
        .handle()
        .add_tool(hang.handler(move |_: Value| door.pass("hang")))
        .expect("it can be added");
    client.send(&call(1, "hang", json!({})));
    gate.began();
    assert_stalled(&client.answer(1), 1);
    gate.let_go(1);
    served.until_main("its thread ends", |main| main.abandoned == 0);
    client.close();
    served.stop();
}

#[test]
fn law_12_an_abandoned_handler_holds_up_no_drain_and_is_reported() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(watched(&gate).workers(2).queue(2));
    client.send(&call(1, "gate", json!({})));
    gate.began();
    assert_stalled(&client.answer(1), 1);
    client.send(&call(2, "gate", json!({})));
    gate.began();
    client.close();
    // The second is found while the server drains, and then nothing is left to wait for.
    let report = served.shutdown(FOREVER);
    assert_eq!(report.abandoned_handlers, 2);
    let rest = client.rest();
    assert_eq!(rest.len(), 1);
    assert_stalled(&rest[0], 2);
    gate.let_go(2);
}

#[test]
fn a_liveness_that_nobody_could_keep_is_refused_at_the_start() {
    let zero = Duration::ZERO;
    let server = || Server::new("it", "1.0.0");
    let rows = [
        server().liveness(zero),
        server().lane(mcp_threads::Lane::new("main").liveness(zero)),
        server().register(Tool::new("t").liveness(zero).handler(|| "")),
    ];
    for server in rows {
        let Err(error) = server.start() else {
            panic!("it must not start");
        };
        assert!(error.to_string().contains("liveness"), "{error}");
    }
}

/// Clients that come and leave at once, while every handler is deaf and silent: what runs is never more than the lane's size and the abandoned ones.
#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_3_a_storm_of_disconnects_never_takes_more_than_the_lane_and_the_abandoned() {
    const WORKERS: usize = 4;
    on_every_front(|front| {
        let (running, peak) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
        let peak_seen = Arc::clone(&peak);
        let gate = Gate::new();
        let door = gate.door();
        let server =
            watched(&gate)
                .workers(WORKERS)
                .queue(WORKERS)
                .tool("storm", "", move |_: Value| {
                    let now = running.fetch_add(1, Ordering::AcqRel) + 1;
                    peak_seen.fetch_max(now, Ordering::AcqRel);
                    door.pass("storm");
                    running.fetch_sub(1, Ordering::AcqRel);
                });
        let (served, http) = front.serve(server);
        // Until all have been given up and their places taken, as long as there are places, and the rest is wedged.
        let mut id = 0;
        served.until_main("no worker lives", |main| {
            assert!(main.busy <= WORKERS, "{main:?}");
            assert!(main.abandoned <= WORKERS, "{main:?}");
            id += 1;
            drop(http.modern(&call(id, "storm", json!({}))).connect());
            (main.workers, main.abandoned) == (0, WORKERS)
        });
        let most = peak.load(Ordering::Acquire);
        assert_eq!(most, 2 * WORKERS, "{:?}", served.main());
        // More than can have come to it.
        gate.let_go(16 * WORKERS);
        served.until_main("all have come back", |main| {
            (main.workers, main.busy + main.queued, main.abandoned) == (WORKERS, 0, 0)
        });
        assert_eq!(peak.load(Ordering::Acquire), most);
        let echo = call(0, "echo", json!({ "text": "after the storm" }));
        assert_eq!(text(&http.ask(&echo)), "after the storm");
        served.stop();
    });
}
