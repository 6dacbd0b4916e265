//! Background jobs as clients have them: tasks of the extension, job tools for everybody else. The handlers are those of the reference server's kind.

use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use mcp_threads::{
    AskError, CallToolResult, Cancelled, ErrorObject, Execution, Json, Lane, Limits,
    RequestContext, RunCommand, Server, Tool, ToolError,
};
use serde_json::{Value, json};

use crate::asking::accept;
use crate::harness::message::{cancel, legacy_call};
use crate::harness::served::CANCEL_GRACE;
use crate::harness::talk::{introduce, modern_with, reply_to};
use crate::harness::{
    Gate, PATIENCE, PipeClient, Served, alone, call, code, legacy, logs, text, until,
};

type Context = RequestContext;

#[derive(serde::Deserialize, mcp_threads::schemars::JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Sure {
    sure: bool,
}

pub(crate) fn server(gate: &Gate) -> Server {
    let (patient, deaf, before) = (gate.door(), gate.door(), gate.door());
    let job = |name: &str| Tool::new(name).execution(Execution::Background);
    Server::new("it", "1.0.0")
        .limits(Limits::default().cancel_grace(CANCEL_GRACE))
        .job_tools()
        .lane(Lane::new("jobs").workers(1).queue(1))
        .register(Tool::new("plain").handler(|_: Value| "plain"))
        .register(Tool::new("wait").execution(Execution::EitherWay).handler(
            move |cx: &mut Context, args: Value| {
                cx.progress((1.0, 2.0, "halfway"));
                patient.pass_or_leave(cx, args["who"].as_str().unwrap_or("job"))?;
                Ok::<_, Cancelled>(format!("done by {}", args["who"]))
            },
        ))
        .register(job("gate").handler(move |_: Value| deaf.pass("gate")))
        .register(job("error").handler(|_: Value| Err::<(), _>(ToolError::new("for the model"))))
        .register(
            job("fail").handler(|_: Value| Err::<(), _>(ErrorObject::new(-7, "for the program"))),
        )
        .register(job("panic").handler(|_: Value| -> String { panic!("a SECRET text") }))
        .register(job("ask").handler(|cx: &mut Context, _: Value| {
            let kept = cx.keep("kept", || "kept".to_owned());
            let (one, two) = (
                cx.elicit::<Sure>("one", "One?"),
                cx.elicit::<Sure>("two", "Two?"),
            );
            let (one, two) = (one?.accepted(), two?.accepted());
            let three = cx.elicit::<Sure>("three", "Three?")?.accepted();
            let sure = [one, two, three].map(|answer| answer.is_some_and(|answer| answer.sure));
            Ok::<_, AskError>(format!("{kept} {sure:?}"))
        }))
        .register(job("first_asks").handler(|cx: &mut Context, _: Value| {
            cx.elicit::<Sure>("sure", "Sure?").map(|_| "asked")
        }))
        .register(
            Tool::new("may_ask")
                .execution(Execution::EitherWay)
                .handler(|cx: &mut Context, _: Value| {
                    cx.elicit::<Sure>("sure", "Sure?").map(|_| "asked")
                }),
        )
        .register(job("command").handler(|cx: &mut Context, _: Value| {
            // Lives until it is cancelled.
            let lines = RunCommand::new("sh").args(["-c", "seq 12; exec sleep 3600"]);
            lines.run(cx).map(|output| output.stdout)
        }))
        .register(
            job("guarded")
                .before_job(move |cx: &mut Context, _: Value| before.pass_or_leave(cx, "before"))
                .handler(|_: Value| "done"),
        )
        .register(
            job("first")
                .before_job(|cx: &mut Context, _: Value| {
                    cx.elicit::<Sure>("sure", "Sure?").map(drop)
                })
                .handler(|cx: &mut Context, args: Value| {
                    let sure = cx.elicit::<Sure>("sure", "Sure?")?.accepted();
                    let sure = sure.is_some_and(|answer| answer.sure);
                    Ok::<_, AskError>(format!("{sure} {}", args["who"]))
                }),
        )
}

/// What a client declares that follows tasks and can show forms.
fn follows() -> Value {
    json!({ "elicitation": {}, "extensions": { "io.modelcontextprotocol/tasks": {} } })
}

pub(crate) fn request(method: &str, params: Value) -> Value {
    modern_with("request", method, params, &follows())
}

#[track_caller]
fn order(client: &mut PipeClient, tool: &str) -> String {
    let answer = client.ask(&request(
        "tools/call",
        json!({ "name": tool, "arguments": {} }),
    ));
    let task = &answer["result"];
    assert_eq!(task["resultType"], "task", "{answer}");
    assert_eq!(
        (&task["status"], &task["ttlMs"]),
        (&json!("working"), &Value::Null),
        "{answer}"
    );
    for absent in [
        "task",
        "ttl",
        "result",
        "error",
        "inputRequests",
        "requestState",
    ] {
        assert!(task.get(absent).is_none(), "{absent} in {answer}");
    }
    task["taskId"].as_str().expect("it has an id").to_owned()
}

#[track_caller]
fn get(client: &mut PipeClient, id: &str) -> Value {
    let answer = client.ask(&request("tasks/get", json!({ "taskId": id })));
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    answer["result"].clone()
}

#[track_caller]
fn until_status(client: &mut PipeClient, id: &str, status: &str) -> Value {
    let mut seen = Value::Null;
    until(&format!("the task is {status}"), || {
        seen = get(client, id);
        seen["status"] == status
    });
    seen
}

fn update(client: &mut PipeClient, id: &str, responses: Value) -> Value {
    let params = json!({ "taskId": id, "inputResponses": responses });
    let answer = client.ask(&request("tasks/update", params));
    let result = &answer["result"];
    assert_eq!(result["resultType"], "complete", "{answer}");
    assert!(
        result.get("taskId").is_none() && result.get("status").is_none(),
        "{answer}"
    );
    answer
}

fn end(served: Served, mut client: PipeClient) {
    client.close();
    assert_eq!(client.rest().len(), 0, "nothing is left over");
    served.stop();
}

#[test]
fn a_task_is_made_looked_at_and_fetched() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(server(&gate));
    let id = order(&mut client, "wait");
    let working = get(&mut client, &id);
    assert!(working.get("result").is_none(), "{working}");
    until("its progress is its message", || {
        get(&mut client, &id)["statusMessage"] == "halfway (1 of 2)"
    });
    assert_eq!(served.stats().jobs.working, 1);
    gate.let_go(1000);
    let ended = until_status(&mut client, &id, "completed");
    assert_eq!(ended["result"]["content"][0]["text"], "done by null");
    assert!(
        ended["ttlMs"].as_u64().is_some_and(|ms| ms > 3_000_000),
        "{ended}"
    );
    assert_eq!(get(&mut client, &id), ended, "an end is an end");
    end(served, client);
}

#[test]
fn who_looks_at_a_job_sees_the_last_lines_of_its_command() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(server(&gate));
    let id = order(&mut client, "command");
    until("the last lines are its message", || {
        get(&mut client, &id)["statusMessage"] == "3\n4\n5\n6\n7\n8\n9\n10\n11\n12"
    });
    client.ask(&request("tasks/cancel", json!({ "taskId": id })));
    end(served, client);
}

#[test]
fn each_end_has_its_own_state_and_member() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(server(&gate));
    let id = order(&mut client, "error");
    let ended = until_status(&mut client, &id, "completed");
    assert_eq!(ended["result"]["isError"], true, "{ended}");
    let id = order(&mut client, "fail");
    let ended = until_status(&mut client, &id, "failed");
    assert_eq!(
        (&ended["error"]["code"], &ended["statusMessage"]),
        (&json!(-7), &json!("for the program"))
    );
    assert!(ended.get("result").is_none(), "{ended}");
    let id = order(&mut client, "panic");
    let ended = until_status(&mut client, &id, "failed");
    assert_eq!(ended["error"]["code"], -32603);
    assert!(!ended.to_string().contains("SECRET"), "{ended}");
    end(served, client);
}

#[test]
fn a_job_that_asks_holds_no_worker_and_goes_on_with_the_last_answer() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(server(&gate));
    let id = order(&mut client, "ask");
    let asking = until_status(&mut client, &id, "input_required");
    let requests = asking["inputRequests"]
        .as_object()
        .expect("it asks")
        .clone();
    let keys: Vec<&String> = requests.keys().collect();
    assert_eq!(keys.len(), 2, "{asking}");
    assert!(
        requests
            .values()
            .all(|request| request["method"] == "elicitation/create")
    );
    // The lane has one worker and one place, and both are free.
    let other = order(&mut client, "error");
    until_status(&mut client, &other, "completed");
    let yes = accept(json!({ "sure": true }));
    let unknown = json!({ "action": "think" });
    for malformed in [json!(5), json!(null), json!({}), unknown] {
        update(
            &mut client,
            &id,
            json!({ keys[0]: malformed, keys[1]: malformed }),
        );
        let still = get(&mut client, &id);
        assert_eq!(
            still["inputRequests"], asking["inputRequests"],
            "{malformed}"
        );
    }
    update(&mut client, &id, json!({ "stranger": 7, keys[0]: yes }));
    let left = get(&mut client, &id);
    assert_eq!(
        left["inputRequests"]
            .as_object()
            .expect("it asks")
            .keys()
            .collect::<Vec<_>>(),
        [keys[1]]
    );
    update(&mut client, &id, json!({ keys[0]: yes, keys[1]: yes }));
    let third = until_status(&mut client, &id, "input_required");
    let third = third["inputRequests"].as_object().expect("it asks").clone();
    let (key, _) = third.iter().next().expect("one more");
    assert!(!requests.contains_key(key), "no key is used twice");
    update(&mut client, &id, json!({ key: yes }));
    let ended = until_status(&mut client, &id, "completed");
    assert_eq!(
        ended["result"]["content"][0]["text"],
        "kept [true, true, true]"
    );
    end(served, client);
}

#[test]
fn law_13_an_answer_for_which_there_is_no_room_is_refused_and_can_be_given_again() {
    let limits = Limits::default().job_bytes_max(64 * 1024);
    let (served, mut client) = Served::pipe(server(&Gate::new()).limits(limits));
    let id = order(&mut client, "first_asks");
    let asking = until_status(&mut client, &id, "input_required");
    let requests = asking["inputRequests"].as_object().expect("it asks");
    let key = requests.keys().next().expect("once");
    let give = |client: &mut PipeClient, padding: usize| {
        let answer = accept(json!({ "sure": true, "padding": "x".repeat(padding) }));
        let params = json!({ "taskId": id, "inputResponses": { key: answer } });
        client.ask(&request("tasks/update", params))
    };
    let refused = give(&mut client, 64 * 1024);
    assert_eq!(
        (code(&refused), &refused["id"]),
        (503, &json!("request")),
        "{refused}"
    );
    assert_eq!(get(&mut client, &id)["status"], "input_required");
    let taken = give(&mut client, 0);
    assert_eq!(taken["result"]["resultType"], "complete", "{taken}");
    until_status(&mut client, &id, "completed");
    end(served, client);
}

#[test]
fn law_13_a_job_waits_for_the_memory_that_its_arguments_take() {
    const ITEMS: usize = 1 << 18;
    let (gate, tree) = (Gate::new(), ITEMS * size_of::<Value>());
    let door = gate.door();
    let holds = Tool::new("holds").execution(Execution::EitherWay);
    let server = Server::new("it", "1.0.0")
        .limits(Limits::default().memory_bytes_max(tree * 3 / 2 + (4 << 20)))
        .register(holds.handler(move |_: Value| {
            door.pass("holds");
            "done"
        }));
    let (served, mut client) = Served::pipe(server);
    let given = json!({ "items": vec![0; ITEMS] });
    client.send(&call("first", "holds", given.clone()));
    assert_eq!(gate.began(), "holds");
    let params = json!({ "name": "holds", "arguments": given });
    let job = client.ask(&request("tools/call", params));
    let job = job["result"]["taskId"].as_str().expect("it is a task");
    until("it waits for memory", || {
        get(&mut client, job)["statusMessage"] == "waiting for memory"
    });
    assert!(gate.nobody_came());
    gate.let_go(2);
    assert_eq!(text(&client.answer("first")), "done");
    until_status(&mut client, job, "completed");
    end(served, client);
}

#[test]
fn law_13_a_job_whose_arguments_take_more_memory_than_there_is_does_not_wait_for_it() {
    let holds = Tool::new("holds").execution(Execution::EitherWay);
    let server = Server::new("it", "1.0.0")
        .limits(Limits::default().memory_bytes_max(8 << 20))
        .register(holds.handler(|_: Value| "done"));
    let (served, mut client) = Served::pipe(server);
    let given = json!({ "items": vec![0; 1 << 18] });
    let params = json!({ "name": "holds", "arguments": given });
    let job = client.ask(&request("tools/call", params));
    let job = job["result"]["taskId"].as_str().expect("it is a task");
    let mut said = Value::Null;
    until("it has ended", || {
        said = get(&mut client, job);
        assert_ne!(said["statusMessage"], "waiting for memory");
        said["status"] != "working"
    });
    assert_eq!(said["result"]["isError"], true, "{said}");
    assert!(said.to_string().contains("memory_bytes_max"), "{said}");
    end(served, client);
}

/// Each keeps what the other would need to begin. With one permit for two of them the second waits for that. The sizes are those of trees that keep an order.
#[cfg(feature = "schema-order")]
#[test]
fn law_13_jobs_that_wait_for_each_other_s_memory_do_not_wait_long() {
    const MIB: usize = 1 << 20;
    for workers in [4, 2] {
        let gate = Gate::new();
        let door = gate.door();
        let holds = Tool::new("holds").execution(Execution::EitherWay);
        // A job is charged for three times its 2.5 MiB of text, and for its tree when it begins.
        let tree = (MIB / 4) * size_of::<Value>() + 2 * MIB;
        let server = Server::new("it", "1.0.0")
            .limits(Limits::default().memory_bytes_max(tree + 23 * MIB / 2))
            .lane(Lane::new("jobs").workers(workers))
            .register(holds.handler(move |_: Value| {
                door.pass("holds");
                "done"
            }));
        let (served, mut client) = Served::pipe(server);
        let taken = json!({ "text": "x".repeat(5 * MIB / 2) });
        client.send(&call("first", "holds", taken));
        assert_eq!(gate.began(), "holds");
        let given = json!({ "items": vec![0; MIB / 4], "text": "x".repeat(2 * MIB) });
        let params = json!({ "name": "holds", "arguments": given });
        let order = request("tools/call", params);
        let mut jobs = [4, workers].map(|with_permit| {
            // What waits takes nothing, not even while it looks.
            let made = client.ask(&order);
            let job = made["result"]["taskId"].as_str().expect("it is a task");
            until("it waits for memory", || {
                let waits = get(&mut client, job)["statusMessage"] == "waiting for memory";
                waits || with_permit == 2
            });
            job.to_owned()
        });
        gate.let_go(2);
        assert_eq!(text(&client.answer("first")), "done");
        let begun = Instant::now();
        let mut ended = jobs.each_mut().map(|job| {
            let mut said = Value::Null;
            until("it has ended", || {
                said = get(&mut client, job);
                said["status"] != "working"
            });
            said["status"].clone()
        });
        // They would wait for a minute.
        assert!(begun.elapsed() < Duration::from_secs(40));
        ended.sort_by_key(Value::to_string);
        assert_eq!(ended, ["completed", "failed"], "{workers} workers");
        end(served, client);
    }
}

#[test]
fn what_is_asked_before_there_is_a_job_is_asked_by_rounds() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(server(&gate));
    let params = json!({ "name": "first", "arguments": { "who": 7 } });
    let first = client.ask(&request("tools/call", params.clone()));
    assert_eq!(first["result"]["resultType"], "input_required", "{first}");
    assert!(first["result"].get("taskId").is_none());
    let mut again = params;
    again["inputResponses"] = json!({ "sure": accept(json!({ "sure": true })) });
    let made = client.ask(&request("tools/call", again));
    assert_eq!(made["result"]["resultType"], "task", "{made}");
    let id = made["result"]["taskId"]
        .as_str()
        .expect("it has an id")
        .to_owned();
    let ended = until_status(&mut client, &id, "completed");
    assert_eq!(ended["result"]["content"][0]["text"], "true 7");
    end(served, client);
}

#[test]
fn the_access_line_of_a_job_says_who_ordered_it() {
    logs::keep();
    let who = Tool::new("who").execution(Execution::Background);
    let who = who.handler(|cx: &mut Context, _: Value| cx.request_id().to_owned());
    let (served, mut client) = Served::pipe(Server::new("it", "1.0.0").job_tools().register(who));
    let named = |line: &str| {
        let fields = logs::access_of(line);
        ["era", "client"].map(|wanted| {
            let found = fields.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        })
    };
    let mut ordered = request("tools/call", json!({ "name": "who", "arguments": {} }));
    let info = json!({ "name": "ada", "version": "1" });
    ordered["params"]["_meta"]["io.modelcontextprotocol/clientInfo"] = info;
    let made = client.ask(&ordered);
    let id = made["result"]["taskId"]
        .as_str()
        .expect("it has an id")
        .to_owned();
    let ended = until_status(&mut client, &id, "completed");
    let line = ended["result"]["content"][0]["text"]
        .as_str()
        .expect("a text");
    assert_eq!(named(line), ["modern", "ada"]);
    introduce(&mut client, &json!({}));
    let made = client.ask(&legacy_call("who", "who", json!({})));
    let result = result_of(&mut client, &made, |tool, args| legacy_call(1, tool, args));
    assert_eq!(named(text(&result))[0], "legacy");
    end(served, client);
}

#[test]
fn a_cancelled_task_has_ended_and_its_worker_is_told() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(server(&gate));
    let id = order(&mut client, "wait");
    assert_eq!(gate.began(), "job");
    // The call that made it is over.
    client.send(&cancel("request"));
    assert_eq!(get(&mut client, &id)["status"], "working");
    for _ in 0..2 {
        let answer = client.ask(&request("tasks/cancel", json!({ "taskId": id })));
        assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
        assert_eq!(get(&mut client, &id)["status"], "cancelled");
    }
    until("its handler has left", || {
        served.stats().lanes.iter().all(|lane| lane.busy == 0)
    });
    end(served, client);
}

#[test]
fn law_2_a_full_lane_makes_no_job() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(server(&gate));
    let running = order(&mut client, "gate");
    assert_eq!(gate.began(), "gate");
    let waiting = order(&mut client, "error");
    let refused = client.ask(&request("tools/call", json!({ "name": "error" })));
    assert_eq!(code(&refused), 503, "{refused}");
    assert_eq!(served.stats().jobs.working, 2, "nothing was stored");
    gate.let_go(1000);
    until_status(&mut client, &running, "completed");
    until_status(&mut client, &waiting, "completed");
    end(served, client);
}

#[test]
fn the_declaration_of_each_request_decides_and_comes_before_the_look_up() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(server(&gate));
    let id = order(&mut client, "error");
    let required = json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } });
    for capabilities in [json!({}), json!({ "tasks": {} })] {
        for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
            for id in [id.as_str(), "unknown"] {
                let answer = client.ask(&modern_with(
                    1,
                    method,
                    json!({ "taskId": id, "inputResponses": {} }),
                    &capabilities,
                ));
                assert_eq!(code(&answer), -32021, "{method}: {answer}");
                assert_eq!(answer["error"]["data"]["requiredCapabilities"], required);
            }
        }
        let listen = json!({ "notifications": { "taskIds": [id] } });
        assert_eq!(
            code(&client.ask(&modern_with(
                1,
                "subscriptions/listen",
                listen,
                &capabilities
            ))),
            -32021
        );
    }
    for (method, params) in [
        ("tasks/get", json!({ "taskId": "unknown" })),
        ("tasks/get", json!({})),
        ("tasks/cancel", json!({ "taskId": "unknown" })),
        (
            "tasks/update",
            json!({ "taskId": "unknown", "inputResponses": {} }),
        ),
        ("tasks/update", json!({ "taskId": id })),
    ] {
        assert_eq!(
            code(&client.ask(&request(method, params.clone()))),
            -32602,
            "{method} {params}"
        );
    }
    for method in ["tasks/result", "tasks/list"] {
        assert_eq!(
            code(&client.ask(&request(method, json!({ "taskId": id })))),
            -32601
        );
    }
    let discovered = client.ask(&request("server/discover", json!({})));
    let capabilities = &discovered["result"]["capabilities"];
    assert_eq!(capabilities["extensions"], required["extensions"]);
    assert!(capabilities.get("tasks").is_none());
    end(served, client);
}

#[test]
fn a_stream_is_told_of_the_tasks_it_follows_and_at_once_of_their_present_state() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(server(&gate));
    let ended = order(&mut client, "error");
    until_status(&mut client, &ended, "completed");
    let listen = json!({ "notifications": { "taskIds": [ended, "foreign"] } });
    client.send(&modern_with(
        "stream",
        "subscriptions/listen",
        listen,
        &follows(),
    ));
    let acknowledged = client.recv();
    assert_eq!(
        acknowledged["params"]["notifications"]["taskIds"],
        json!([ended]),
        "{acknowledged}"
    );
    let told = client.recv();
    assert_eq!(told["method"], "notifications/tasks", "{told}");
    let params = &told["params"];
    assert_eq!(
        (&params["taskId"], &params["status"]),
        (&json!(ended), &json!("completed"))
    );
    let meta = json!({ "io.modelcontextprotocol/subscriptionId": "stream" });
    assert_eq!(params["_meta"], meta, "who the server is, results say");
    assert!(
        params.get("resultType").is_none() && params["result"]["isError"] == true,
        "{told}"
    );

    let waiting = order(&mut client, "wait");
    let listen = json!({ "notifications": { "taskIds": [waiting] } });
    client.send(&modern_with(
        "second",
        "subscriptions/listen",
        listen,
        &follows(),
    ));
    gate.let_go(1000);
    loop {
        let told = client.recv();
        if told["params"]["status"] == "completed" {
            assert_eq!(
                told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"],
                "second"
            );
            break;
        }
    }
    for stream in ["stream", "second"] {
        client.send(&cancel(stream));
    }
    client.close();
    client.rest();
    served.stop();
}

#[test]
fn clients_without_the_extension_look_after_jobs_with_tools() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(server(&gate));
    introduce(&mut client, &json!({}));
    let mut id = 0;
    let mut ask = |client: &mut PipeClient, tool: &str, arguments: Value| {
        id += 1;
        client.ask(&legacy_call(id, tool, arguments))
    };
    let made = ask(
        &mut client,
        "wait",
        json!({ "who": "legacy", "background": true }),
    );
    let job = made["result"]["structuredContent"]["job"]
        .as_str()
        .expect("it has an id")
        .to_owned();
    let which = json!({ "job": job });
    let status = ask(&mut client, "job_status", which.clone());
    let shown = &status["result"]["structuredContent"];
    assert_eq!(
        (&shown["job"], &shown["status"]),
        (&json!(job), &json!("working")),
        "{status}"
    );
    let early = ask(&mut client, "job_result", which.clone());
    assert!(text(&early).contains("has not ended"), "{early}");
    let listed = ask(&mut client, "job_list", json!({}));
    assert_eq!(
        listed["result"]["structuredContent"]["jobs"][0]["job"], job,
        "{listed}"
    );
    // Waiting for a change holds no worker: the lane's only one is busy with the job itself. And a number may come as a text, here as everywhere.
    assert_eq!(gate.began(), "legacy");
    client.send(&legacy_call(
        "waits",
        "job_status",
        json!({ "job": job, "wait_seconds": "30" }),
    ));
    // Behind it, so that it has been taken.
    ask(&mut client, "job_list", json!({}));
    gate.let_go(1000);
    let changed = client.recv();
    assert_eq!(
        (
            &changed["id"],
            &changed["result"]["structuredContent"]["status"]
        ),
        (&json!("waits"), &json!("completed"))
    );
    let result = ask(&mut client, "job_result", which.clone());
    assert_eq!(text(&result), "done by \"legacy\"");
    assert!(result["result"].get("resultType").is_none(), "{result}");
    let inline = ask(&mut client, "wait", json!({ "who": "inline" }));
    assert_eq!(text(&inline), "done by \"inline\"");
    let cancelled = ask(&mut client, "job_cancel", json!({ "job": "unknown" }));
    assert_eq!(cancelled["result"]["isError"], true, "{cancelled}");
    end(served, client);
}

/// The job that a call has begun, once it has ended: what `job_result` says.
#[track_caller]
fn result_of(client: &mut PipeClient, made: &Value, ask: impl Fn(&str, Value) -> Value) -> Value {
    let job = &made["result"]["structuredContent"]["job"];
    assert!(job.is_string(), "{made}");
    let mut result = Value::Null;
    until("the job has ended", || {
        result = client.ask(&ask("job_result", json!({ "job": job })));
        !text(&result).contains("has not ended")
    });
    result
}

#[test]
fn what_a_session_was_asked_before_there_was_a_job_is_there_for_the_job() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(server(&gate));
    introduce(&mut client, &json!({ "elicitation": {} }));
    for sure in [true, false] {
        client.send(&legacy_call("first", "first", json!({})));
        let question = client.recv();
        assert_eq!(question["params"]["message"], "Sure?", "{question}");
        let answer = accept(json!({ "sure": sure }));
        client.send(&reply_to(&question, answer));
        let made = client.recv();
        let result = result_of(&mut client, &made, |tool, args| legacy_call(1, tool, args));
        assert_eq!(text(&result), format!("{sure} null"), "{result}");
    }
    end(served, client);
}

#[test]
fn a_job_whose_client_cannot_answer_it_says_so() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(server(&gate));
    let asks = json!({ "elicitation": {} });
    let modern = |tool: &str, arguments: Value| {
        let params = json!({ "name": tool, "arguments": arguments });
        modern_with("modern", "tools/call", params, &asks)
    };
    let background = || json!({ "background": true });
    let made = client.ask(&modern("may_ask", background()));
    let result = result_of(&mut client, &made, modern);
    assert!(text(&result).contains("in the background"), "{result}");
    introduce(&mut client, &asks);
    let legacy = |tool: &str, arguments: Value| legacy_call(1, tool, arguments);
    for call in [
        legacy("first_asks", json!({})),
        legacy("may_ask", background()),
    ] {
        let made = client.ask(&call);
        let result = result_of(&mut client, &made, legacy);
        assert_eq!(result["result"]["isError"], true, "{result}");
        assert!(text(&result).contains("in the background"), "{result}");
    }
    end(served, client);
}

#[test]
fn a_background_tool_without_a_way_to_follow_it_says_what_is_missing() {
    let tool = Tool::new("job")
        .execution(Execution::Background)
        .handler(|_: Value| "never");
    let (served, mut client) = Served::pipe(Server::new("it", "1.0.0").register(tool));
    let answer = client.ask(&call(1, "job", json!({ "bad": [] })));
    assert_eq!(code(&answer), -32021, "{answer}");
    end(served, client);
}

/// A server whose background tool is in a workspace in which one more call may wait, and may run again.
fn restartable(gate: &Gate) -> Server {
    let door = gate.door();
    let job = Tool::new("dig").execution(Execution::Background);
    Server::new("it", "1.0.0")
        .limits(Limits::default().workspace_queue_len_max(1))
        .workspaces(|_, _| Ok::<_, String>(0_u32))
        .register(
            job.restartable().in_workspace().handler(
                move |cx: &mut Context, _: &mut u32, _: Value| door.pass_or_leave(cx, "job"),
            ),
        )
}

#[test]
fn a_job_that_its_workspace_has_no_room_for_has_failed_though_it_may_run_again() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(restartable(&gate));
    let runs = order(&mut client, "dig");
    assert_eq!(gate.began(), "job");
    let waits = order(&mut client, "dig");
    let refused = order(&mut client, "dig");
    let failed = until_status(&mut client, &refused, "failed");
    assert_eq!(failed["error"]["code"], 503, "{failed}");
    gate.let_go(2);
    for job in [runs, waits] {
        until_status(&mut client, &job, "completed");
    }
    end(served, client);
}

#[test]
fn law_12_a_job_that_has_its_answers_is_not_refused_by_a_full_workspace() {
    let gate = Gate::new();
    let asks = Tool::new("asks").execution(Execution::Background);
    let server = restartable(&gate).register(asks.in_workspace().handler(
        |cx: &mut Context, _: &mut u32, _: Value| {
            cx.elicit::<Sure>("sure", "Sure?").map(|_| "asked")
        },
    ));
    let (served, mut client) = Served::pipe(server);
    let asks = order(&mut client, "asks");
    let asked = until_status(&mut client, &asks, "input_required");
    let questions = asked["inputRequests"].as_object().expect("it asks");
    let key = questions.keys().next().expect("something").clone();
    // It has given its turn back, and others take all there is.
    let runs = order(&mut client, "dig");
    assert_eq!(gate.began(), "job");
    let waits = order(&mut client, "dig");
    update(
        &mut client,
        &asks,
        json!({ (key): accept(json!({ "sure": true })) }),
    );
    gate.let_go(2);
    for job in [runs, waits, asks] {
        until_status(&mut client, &job, "completed");
    }
    end(served, client);
}

#[test]
fn law_12_a_job_that_waits_for_its_workspace_when_the_server_ends_may_run_again() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(restartable(&gate));
    order(&mut client, "dig");
    assert_eq!(gate.began(), "job");
    order(&mut client, "dig");
    let handle = served.handle();
    served.shutdown(Duration::from_millis(1));
    let jobs = handle.stats().jobs;
    assert_eq!((jobs.working, jobs.completed), (2, 0), "{jobs:?}");
    drop(client);
}

#[test]
fn law_12_what_a_drain_cuts_is_recorded() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(server(&gate));
    let id = order(&mut client, "wait");
    assert_eq!(gate.began(), "job");
    let handle = served.handle();
    assert_eq!(handle.stats().jobs.working, 1);
    let report = served.shutdown(Duration::from_millis(1));
    assert_eq!(report.abandoned_handlers, 0, "it was told, and left");
    assert_eq!(
        handle.stats().jobs.failed,
        1,
        "{id} and why it ended are kept"
    );
    drop(client);
}

#[test]
fn law_12_jobs_have_a_drain_deadline_of_their_own() {
    let gate = Gate::new();
    let short = Duration::from_millis(1);
    let (served, mut client) = Served::pipe(server(&gate).job_drain_deadline(short));
    order(&mut client, "wait");
    assert_eq!(gate.began(), "job");
    let inline = json!({ "name": "wait", "arguments": { "who": "inline" } });
    client.send(&crate::harness::modern("inline", "tools/call", inline));
    assert_eq!(gate.began(), "inline");
    let handle = served.handle();
    let ended = thread::spawn(move || served.shutdown(PATIENCE));
    until("the job is cut", || handle.stats().jobs.failed == 1);
    // The call, which is no job, is still let finish; the job may take a place on its way out.
    gate.let_go(1000);
    assert_eq!(text(&client.answer("inline")), "done by \"inline\"");
    client.close();
    let report = ended.join().expect("it ends");
    assert_eq!(report.abandoned_handlers, 0);
}

/// Whoever was asked first, and has answered, is not refused then.
#[test]
fn law_12_a_call_that_was_accepted_becomes_a_job_while_the_server_drains() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(server(&gate));
    client.send(&request("tools/call", json!({ "name": "guarded" })));
    assert_eq!(gate.began(), "before");
    let handle = served.handle();
    let ended = thread::spawn(move || served.shutdown(PATIENCE));
    until("it drains", || handle.stats().draining);
    gate.let_go(1);
    let answer = client.answer("request");
    assert_eq!(answer["result"]["resultType"], "task", "{answer}");
    client.close();
    let report = ended.join().expect("it ends");
    assert_eq!(report.abandoned_handlers, 0);
    assert_eq!(handle.stats().jobs.completed, 1);
}

/// And nobody is asked for a job that there is no room for.
#[test]
fn a_job_has_its_permit_before_what_comes_before_it_runs() {
    let gate = Gate::new();
    let (_served, mut client) = Served::pipe(server(&gate));
    order(&mut client, "gate");
    assert_eq!(gate.began(), "gate");
    order(&mut client, "gate"); // it waits: one worker, and a queue of one
    let answer = client.ask(&request("tools/call", json!({ "name": "guarded" })));
    assert_eq!(code(&answer), 503, "{answer}");
    assert!(gate.nobody_came());
    gate.let_go(2);
}

#[test]
fn law_12_a_wait_for_a_job_does_not_hold_the_drain() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(server(&gate));
    let id = order(&mut client, "gate");
    assert_eq!(gate.began(), "gate");
    let wait = json!({ "job": id, "wait_seconds": 30 });
    client.send(&call("waits", "job_status", wait));
    let handle = served.handle();
    until("it waits", || handle.stats().waiting_for_jobs == 1);
    let ended = thread::spawn(move || served.shutdown(PATIENCE));
    let status = client.answer("waits");
    assert_eq!(
        status["result"]["structuredContent"]["status"], "working",
        "{status}"
    );
    assert!(handle.stats().draining);
    assert_eq!(handle.stats().waiting_for_jobs, 0);
    gate.let_go(1);
    client.close();
    let report = ended.join().expect("it ends");
    assert_eq!(report.abandoned_handlers, 0);
}

#[test]
fn law_9_the_longest_wait_for_a_job_ends_when_too_many_wait() {
    let gate = Gate::new();
    let server = server(&gate).limits(Limits::default().exchanges_max(1));
    let (served, mut client) = Served::pipe(server);
    let id = order(&mut client, "gate");
    assert_eq!(gate.began(), "gate");
    let answered = |client: &mut PipeClient, who: &str| {
        let answer = client.recv();
        assert_eq!(answer["id"], who, "{answer}");
        answer["result"]["structuredContent"]["status"].clone()
    };
    for who in ["first", "second"] {
        let wait = json!({ "job": id, "wait_seconds": 30 });
        client.send(&call(who, "job_status", wait));
    }
    assert_eq!(answered(&mut client, "first"), "working");
    gate.let_go(1);
    assert_eq!(answered(&mut client, "second"), "completed");
    end(served, client);
}

#[test]
fn a_job_that_has_begun_keeps_the_schema_of_the_results() {
    #[derive(serde::Serialize, mcp_threads::schemars::JsonSchema)]
    #[schemars(crate = "mcp_threads::schemars")]
    struct Sum {
        sum: i64,
    }
    let tool = |name: &str, execution| {
        let tool = Tool::new(name).execution(execution);
        tool.handler(|_: Value| Json(Sum { sum: 3 }))
    };
    let server = Server::new("it", "1.0.0")
        .job_tools()
        .register(tool("inline", Execution::Inline))
        .register(tool("either", Execution::EitherWay));
    let (served, mut client) = Served::pipe(server);
    introduce(&mut client, &json!({}));
    let listed = client.ask(&legacy(1, "tools/list", json!({})));
    let schema = |at: usize| &listed["result"]["tools"][at]["outputSchema"];
    assert_eq!(schema(0)["required"], json!(["sum"]));
    assert_eq!(schema(1)["type"], "object");
    assert!(schema(1).get("required").is_none(), "{}", schema(1));
    for member in ["sum", "job"] {
        assert!(schema(1)["properties"][member].is_object(), "{}", schema(1));
    }
    let made = client.ask(&legacy_call(2, "either", json!({ "background": true })));
    let structured = &made["result"]["structuredContent"];
    assert!(structured["job"].is_string(), "{made}");
    let as_text = &made["result"]["content"][1]["text"];
    let as_text = as_text.as_str().expect("a second text");
    assert_eq!(
        &serde_json::from_str::<Value>(as_text).expect("JSON"),
        structured
    );
    let result = client.ask(&legacy_call(3, "either", json!({})));
    assert_eq!(result["result"]["structuredContent"], json!({ "sum": 3 }));
    end(served, client);
}

/// Keeps the thread `first` where it asks whether a line is wanted.
struct Keeping(OnceLock<(Sender<()>, Receiver<()>)>);

impl log::Log for Keeping {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        if thread::current().name() == Some("first") {
            let (kept, go) = self.0.get().expect("set before");
            kept.send(()).expect("the test listens");
            let _test_is_over = go.recv();
        }
        false
    }

    fn log(&self, _: &log::Record<'_>) {}

    fn flush(&self) {}
}

/// A report of a job wakes the calls that wait for a change of it, and they are answered on the thread that reports.
#[test]
fn law_06_a_report_does_not_wait_while_others_are_told_of_the_one_before() {
    const TEST: &str =
        "desk_jobs::law_06_a_report_does_not_wait_while_others_are_told_of_the_one_before";
    alone(TEST, || {
        static LOGGER: Keeping = Keeping(OnceLock::new());
        let ((keep, kept), (go, goes)) = (unbounded(), unbounded());
        assert!(LOGGER.0.set((keep, goes)).is_ok());
        log::set_logger(&LOGGER).expect("the test has no other logger");
        log::set_max_level(log::LevelFilter::Info);
        let gate = Gate::new();
        let (door, (report, reported)) = (gate.door(), unbounded());
        let reports = move |cx: &mut Context, _: Value| {
            door.pass("reports");
            let first = cx.reporter();
            thread::scope(|scope| {
                let first = thread::Builder::new()
                    .name("first".into())
                    .spawn_scoped(scope, move || first.progress(1.0));
                kept.recv().expect("it tells those who wait");
                cx.progress(2.0);
                report.send(()).expect("the test listens");
                first.expect("it starts").join().expect("it has reported");
            });
        };
        let job = Tool::new("reports").execution(Execution::Background);
        let (served, mut client) = Served::pipe(server(&gate).register(job.handler(reports)));
        let id = order(&mut client, "reports");
        assert_eq!(gate.began(), "reports");
        let wait = json!({ "job": id, "wait_seconds": 30 });
        client.send(&call("waits", "job_status", wait));
        // Behind it, so that it has been taken.
        client.ask(&call("plain", "plain", json!({})));
        gate.let_go(1);
        assert_eq!(reported.recv_timeout(PATIENCE), Ok(()));
        drop(go);
        client.answer("waits");
        client.close();
        served.stop();
    });
}

/// Who ordered a job decides nothing about the form in which its result is fetched.
#[test]
fn the_result_of_a_job_has_the_form_of_the_era_it_is_fetched_in() {
    let structured = json!([1, { "a": 2 }]);
    let result = |structured: Value, own: Option<Value>| {
        let mut result = CallToolResult::text("x");
        result.structured_content = Some(structured);
        result.meta = own.map(|own| serde_json::from_value(own).expect("an object"));
        result
    };
    let tool = |name: &str| Tool::new(name).execution(Execution::EitherWay);
    let list = structured.clone();
    let server = Server::new("it", "1.0.0")
        .job_tools()
        .register(tool("list").handler(move |_: Value| result(list.clone(), None)))
        .register(tool("own").handler(move |_: Value| {
            result(
                json!({ "resultType": "mine" }),
                Some(json!({ "its/own": [] })),
            )
        }));
    let (served, mut client) = Served::pipe(server);
    client.initialize("2025-03-26");
    let content = json!([{ "type": "text", "text": "x" }]);
    let about = json!({ "name": "it", "version": "1.0.0" });
    let about = |own: Value| {
        let mut meta = json!({ "io.modelcontextprotocol/serverInfo": about });
        meta.as_object_mut()
            .expect("one")
            .extend(own.as_object().expect("one").clone());
        meta
    };
    for (tool, modern, legacy) in [
        (
            "list",
            json!({ "content": content, "structuredContent": structured, "resultType": "complete", "_meta": about(json!({})) }),
            json!({ "content": content }),
        ),
        (
            "own",
            json!({ "content": content, "structuredContent": { "resultType": "mine" }, "resultType": "complete", "_meta": about(json!({ "its/own": [] })) }),
            json!({ "content": content, "structuredContent": { "resultType": "mine" }, "_meta": { "its/own": [] } }),
        ),
    ] {
        let ordered = client.ask(&legacy_call("order", tool, json!({ "background": true })));
        let ordered = &ordered["result"]["structuredContent"]["job"];
        let ordered = ordered.as_str().expect("it has an id").to_owned();
        for id in [ordered, order(&mut client, tool)] {
            let got = until_status(&mut client, &id, "completed");
            assert_eq!(got["result"], modern, "tasks/get of {tool}");
            let listen = json!({ "notifications": { "taskIds": [id] } });
            client.send(&modern_with(
                "stream",
                "subscriptions/listen",
                listen,
                &follows(),
            ));
            let [_acknowledged, told] = [client.recv(), client.recv()];
            assert_eq!(told["params"]["result"], modern, "{told}");
            client.send(&cancel("stream"));
            let which = json!({ "job": id });
            let fetched = client.ask(&call("fetch", "job_result", which.clone()));
            assert_eq!(fetched["result"], modern);
            let fetch = legacy_call("fetch", "job_result", which);
            assert_eq!(client.ask(&fetch)["result"], legacy);
            client.send(&json!([fetch]));
            assert_eq!(client.recv()[0]["result"], legacy);
        }
    }
    end(served, client);
}
