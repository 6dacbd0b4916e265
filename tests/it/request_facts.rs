//! What a handler can learn of its request, and say of its call from other threads.

use std::thread;

use mcp_threads::{Lane, RequestContext, Server, Tool};
use serde_json::{Value, json};

use crate::harness::{Served, call, on_every_wire, text};

fn facts(cx: &mut RequestContext, _: Value) -> String {
    let is_local = cx.peer().is_some_and(|peer| peer.ip().is_loopback());
    let seen = ["x-tenant", "X-Twice", "X-Other"].map(|name| cx.header(name));
    format!("{is_local} {seen:?}")
}

fn server() -> Server {
    Server::new("it", "1.0.0")
        .request_header("X-Tenant")
        .request_header("X-Twice")
        .tool("facts", "Says what it sees of its request.", facts)
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn handlers_see_the_address_and_the_named_fields_of_their_request() {
    crate::harness::on_every_front(|front| {
        let (served, http) = front.serve(server());
        let session = http.initialize("2025-11-25");
        let asks = [
            http.modern(&call(1, "facts", json!({}))),
            session.post(&crate::harness::legacy_call(1, "facts", json!({}))),
        ];
        for ask in asks {
            let ask = ask
                .field("X-Tenant", "acme")
                .field("X-Twice", "a")
                .and_field("X-Twice", "b")
                .field("X-Other", "not named");
            assert_eq!(
                text(&ask.send().message()),
                "true [Some(\"acme\"), None, None]"
            );
        }
        served.stop();
    });
}

#[test]
fn a_pipe_has_no_fields_and_no_address() {
    let (served, mut client) = Served::pipe(server());
    let answer = client.ask(&call(1, "facts", json!({})));
    assert_eq!(text(&answer), "false [None, None, None]");
    client.close();
    served.stop();
}

#[test]
fn reports_of_several_threads_leave_in_the_order_of_their_numbers() {
    let copy = |cx: &mut RequestContext, _: Value| {
        let reporter = cx.reporter();
        thread::scope(|scope| {
            for first in 0..4 {
                let reporter = reporter.clone();
                scope.spawn(move || {
                    (0..200).for_each(|step| reporter.progress(f64::from(first + step * 4)));
                });
            }
        });
        cx.progress(799.0);
        "copied"
    };
    on_every_wire(
        || Server::new("it", "1.0.0").tool("copy", "Copies.", copy),
        |wire| {
            let params = json!({ "name": "copy", "_meta": { "progressToken": "p" } });
            let (events, answer) = wire.ask_with_events("tools/call", params);
            assert_eq!(text(&answer), "copied");
            let numbers: Vec<f64> = events
                .iter()
                .filter_map(|event| event["params"]["progress"].as_f64())
                .collect();
            assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
            assert_eq!(numbers.last(), Some(&799.0));
        },
    );
}

#[test]
fn the_workers_of_a_lane_have_the_stack_that_it_asks_for() {
    // More than a thread has by default.
    fn deep(left: u32) -> u64 {
        let frame = [u64::from(left); 128];
        match left {
            0 => 0,
            _ => std::hint::black_box(&frame)[7] + deep(left - 1),
        }
    }
    let server = Server::new("it", "1.0.0")
        .lane(Lane::new("deep").workers(1).stack_bytes(64 << 20))
        .register(
            Tool::new("deep")
                .lane("deep")
                .handler(|_: Value| deep(8000)),
        );
    let (served, mut client) = Served::pipe(server);
    let answer = client.ask(&call(1, "deep", json!({})));
    assert_eq!(text(&answer), "32004000");
    client.close();
    served.stop();
}
