//! Background jobs over HTTP: each request on a connection of its own, so that nothing but the id can be what a task is found by.

use std::time::Duration;

use mcp_threads::Limits;
use serde_json::{Value, json};

use crate::asking::accept;
use crate::desk_jobs::{request, server};
use crate::harness::{
    Event, Gate, Http, Reply, call, code, legacy_call, on_every_front, text, until,
};

fn order(http: Http, tool: &str) -> String {
    let answer = http.ask(&request("tools/call", json!({ "name": tool })));
    let id = answer["result"]["taskId"].as_str();
    id.unwrap_or_else(|| panic!("no task: {answer}")).to_owned()
}

fn get(http: Http, id: &str) -> Value {
    http.ask(&request("tasks/get", json!({ "taskId": id })))["result"].clone()
}

fn until_status(http: Http, id: &str, status: &str) -> Value {
    let mut seen = Value::Null;
    until(&format!("the task is {status}"), || {
        seen = get(http, id);
        seen["status"] == status
    });
    seen
}

/// The next message of a stream.
fn told(stream: &mut Reply) -> Value {
    loop {
        match stream.event() {
            Some(Event::Message(message)) => return message,
            Some(Event::Comment) => {}
            None => panic!("the stream has ended"),
        }
    }
}

#[test]
fn a_task_is_made_answered_and_fetched_over_any_connection() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(server(&gate));
        let id = order(http, "ask");
        while get(http, &id)["status"] != "completed" {
            let asking = get(http, &id);
            let keys = asking["inputRequests"].as_object();
            let yes = accept(json!({ "sure": true }));
            let answers: serde_json::Map<_, _> = keys
                .into_iter()
                .flat_map(|keys| keys.keys().map(|key| (key.clone(), yes.clone())))
                .collect();
            let params = json!({ "taskId": id, "inputResponses": answers });
            let acknowledged = http.ask(&request("tasks/update", params));
            assert_eq!(acknowledged["result"]["resultType"], "complete");
        }
        served.stop();
    });
}

/// The end of its side comes with the last byte of its request, so it is there when the job is made.
#[cfg(all(feature = "http", target_os = "linux"))]
#[test]
fn a_job_whose_client_left_before_it_could_learn_the_id_is_cancelled() {
    use std::io::Write;
    use std::net::{Shutdown, TcpStream};

    use crate::harness::Served;

    const CLIENTS: usize = 20;
    let gate = Gate::new();
    let jobs = mcp_threads::Lane::new("jobs").workers(1).queue(CLIENTS);
    let running = server(&gate)
        .lane(jobs)
        .serve_http("127.0.0.1:0")
        .expect("it starts");
    let http = Http::new(running.addr().expect("it serves HTTP"));
    let served = Served::new(running);
    let ask = http.modern(&request("tools/call", json!({ "name": "wait" })));
    for _ in 0..CLIENTS {
        let mut socket = TcpStream::connect(http.address()).expect("it listens");
        // What is written is held back for a while, or until more is to be sent; here that is the end.
        rustix::net::sockopt::set_tcp_cork(&socket, true).expect("a socket option");
        socket.write_all(&ask.bytes()).expect("it is read");
        socket.shutdown(Shutdown::Write).expect("it is open");
    }
    let counts = || served.stats().jobs;
    until("all have come", || {
        counts().working + counts().cancelled == CLIENTS
    });
    // Not all, if the system was slower than it holds anything back; and each is counted once the store has its end.
    until("somebody's job is cancelled", || counts().cancelled > 0);
    gate.let_go(1000);
    served.stop();
}

#[test]
fn the_mirrored_name_is_the_tasks_and_is_looked_at_before_the_declaration() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(server(&gate));
        let id = order(http, "error");
        for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
            let params = json!({ "taskId": id, "inputResponses": {} });
            let ask = http.modern(&request(method, params.clone()));
            let undeclared = crate::harness::modern(1, method, params);
            let undeclared = http.modern(&undeclared).field("Mcp-Name", "other");
            for wrong in [
                ask.clone().field("Mcp-Name", "other"),
                ask.clone().without("Mcp-Name"),
                undeclared,
            ] {
                let mut reply = wrong.send();
                assert_eq!(reply.status, 400);
                assert_eq!(code(&reply.json()), -32020, "{method}");
            }
            let params = json!({ "taskId": "unknown", "inputResponses": {} });
            let mut reply = http.modern(&request(method, params)).send();
            assert_eq!(
                (reply.status, code(&reply.json())),
                (200, -32602),
                "{method}"
            );
        }
        served.stop();
    });
}

#[test]
fn a_stream_over_http_is_told_of_a_task_and_of_nothing_else() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(server(&gate));
        let id = order(http, "wait");
        assert_eq!(gate.began(), "job");
        let listen = json!({ "notifications": { "taskIds": [id, "foreign"] } });
        let mut stream = http.modern(&request("subscriptions/listen", listen)).send();
        let acknowledged = told(&mut stream);
        assert_eq!(
            acknowledged["params"]["notifications"]["taskIds"],
            json!([id])
        );
        gate.let_go(1000);
        loop {
            let message = told(&mut stream);
            assert_eq!(message["method"], "notifications/tasks", "{message}");
            if message["params"]["status"] == "completed" {
                break;
            }
        }
        drop(stream);
        served.stop();
    });
}

/// Over HTTP they are all nobody's.
#[test]
fn law_9_tasks_that_nobody_answers_or_looks_at_keep_no_newcomer_out() {
    const BYTES: usize = 8 * 1024;
    on_every_front(|front| {
        let gate = Gate::new();
        // Two that live, which are charged three times, and no third.
        let limits = Limits::default().job_bytes_max(7 * BYTES);
        let limits = limits.job_unwatched_min(Duration::ZERO);
        let (served, http) = front.serve(server(&gate).limits(limits));
        let asks = || {
            let long = json!({ "long": "x".repeat(BYTES) });
            let params = json!({ "name": "first_asks", "arguments": long });
            let answer = http.ask(&request("tools/call", params));
            let id = answer["result"]["taskId"].as_str();
            let id = id.unwrap_or_else(|| panic!("no task: {answer}")).to_owned();
            until_status(http, &id, "input_required");
            id
        };
        let watched = asks();
        let listen = json!({ "notifications": { "taskIds": [watched] } });
        let mut stream = http.modern(&request("subscriptions/listen", listen)).send();
        told(&mut stream);
        let mut before = asks();
        for _ in 0..3 {
            let next = asks();
            let ended = get(http, &before);
            assert_eq!(ended["status"], "failed", "{ended}");
            let why = ended["error"]["message"].as_str().expect("it says why");
            assert!(why.contains("start it again"), "{why}");
            before = next;
        }
        assert_eq!(get(http, &watched)["status"], "input_required");
        drop(stream);
        served.stop();
    });
}

#[test]
fn a_client_that_leaves_or_cancels_afterwards_does_not_take_its_task_with_it() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(server(&gate));
        // The connection that made it is closed by now.
        let id = order(http, "wait");
        assert_eq!(gate.began(), "job");
        let late = crate::harness::message::cancel("request");
        assert_eq!(http.modern(&late).send().status, 202);
        assert_eq!(get(http, &id)["status"], "working");
        gate.let_go(1000);
        until_status(http, &id, "completed");
        served.stop();
    });
}

#[cfg(feature = "http")]
#[test]
fn a_client_that_leaves_before_there_is_a_task_leaves_none_behind() {
    let gate = Gate::new();
    let running = server(&gate).serve_http("127.0.0.1:0").expect("it serves");
    let http = Http::new(running.addr().expect("it has an address"));
    let call = request("tools/call", json!({ "name": "guarded" }));
    let left = http.modern(&call).connect();
    assert_eq!(gate.began(), "before");
    drop(left);
    let jobs = || running.stats().jobs;
    until("its handler has left", || {
        running.stats().lanes.iter().all(|lane| lane.busy == 0)
    });
    assert_eq!(jobs().working + jobs().completed, 0, "{:?}", jobs());
    gate.let_go(1);
    let id = order(http, "guarded");
    until_status(http, &id, "completed");
    running.shutdown(crate::harness::PATIENCE);
}

#[test]
fn a_session_lists_its_own_jobs_and_whoever_knows_an_id_may_use_it() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(server(&gate));
        let listed = |answer: Value| answer["result"]["structuredContent"]["jobs"].clone();
        let (first, second) = (http.initialize("2025-11-25"), http.initialize("2025-06-18"));
        let made = json!({ "who": "legacy", "background": true });
        let made = first.ask(&legacy_call(1, "wait", made));
        let id = made["result"]["structuredContent"]["job"].clone();
        assert_eq!(gate.began(), "legacy");
        let list = legacy_call(2, "job_list", json!({}));
        assert_eq!(listed(first.ask(&list))[0]["job"], id);
        assert_eq!(listed(second.ask(&list)), json!([]));
        assert_eq!(listed(http.ask(&call(3, "job_list", json!({})))), json!([]));
        // The job outlives the session that it was begun in.
        assert_eq!(first.delete(), 204);
        gate.let_go(1);
        let wait = json!({ "job": id, "wait_seconds": 30 });
        until("it has ended", || {
            let status = second.ask(&legacy_call(4, "job_status", wait.clone()));
            status["result"]["structuredContent"]["status"] == "completed"
        });
        let result = http.ask(&call(5, "job_result", json!({ "job": id })));
        assert_eq!(text(&result), "done by \"legacy\"");
        served.stop();
    });
}
