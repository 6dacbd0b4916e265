//! Each example does what its first lines say. Those that need no transport for it have their tests beside them, and are modules here too, so that a plain
//! `cargo test` runs these.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::child::{self, is_alive};
use crate::harness::message::cancel;
use crate::harness::talk::{everything, modern_with};
use crate::harness::{
    PipeClient, Place, call, legacy, legacy_call, modern, on_every_front, text, until, with_meta,
};
use crate::model_apis::{self, Api};

#[allow(dead_code)]
#[path = "../../examples/notes.rs"]
mod notes;
#[allow(dead_code)]
#[path = "../../examples/quickstart.rs"]
mod quickstart;
#[allow(dead_code)]
#[path = "../../examples/shell.rs"]
mod shell_example;

#[test]
fn quickstart_adds() {
    let mut command = child::example("quickstart");
    command.arg("127.0.0.1:0");
    let (mut running, http) = child::http(command);
    assert_eq!(
        text(&http.ask(&call(1, "add", json!({ "a": 2, "b": 40 })))),
        "42"
    );
    let listed = http.ask(&modern(2, "tools/list", json!({})));
    let tool = &listed["result"]["tools"][0];
    assert_eq!(
        (&tool["name"], &tool["inputSchema"]["required"]),
        (&json!("add"), &json!(["a", "b"]))
    );
    running.ends_by(Signal::INT);
}

#[test]
fn operations_shares_a_fleet() {
    let mut command = child::example("operations");
    command.args(["--http", "127.0.0.1:0", "--step-ms", "1"]);
    let (mut running, http) = child::http(command);
    let ask = |tool: &str, arguments: Value| http.ask(&call(1, tool, arguments));
    let open = || {
        let opened = ask("open_workspace", json!({}));
        opened["result"]["structuredContent"]["workspace"].clone()
    };
    let (one, two) = (open(), open());
    let take = |workspace: &Value| {
        ask(
            "take_host",
            json!({ "like": "web-1", "workspace": workspace }),
        )
    };
    assert_eq!(text(&take(&one)), "web-1");
    let refused = take(&two);
    let said = text(&refused).to_owned();
    assert!(
        said.contains("web-1") && said.contains("workspace"),
        "{said}"
    );
    assert_eq!(refused["result"]["isError"], true);

    let update = json!({ "host": "web-1", "version": "2.0", "workspace": two });
    assert_eq!(
        ask("update_host", update)["result"]["isError"],
        true,
        "it is not theirs"
    );
    let update = json!({ "host": "web-1", "version": "2.0", "workspace": one, "background": true });
    let job = ask("update_host", update)["result"]["structuredContent"]["job"].clone();
    until("the update is done", || {
        let status = ask("job_status", json!({ "job": job, "wait_seconds": 5 }));
        status["result"]["structuredContent"]["status"] == "completed"
    });
    let result = ask("job_result", json!({ "job": job }));
    assert_eq!(text(&result), "web-1 runs 2.0");

    ask("close_workspace", json!({ "workspace": one }));
    assert_eq!(text(&take(&two)), "web-1", "it was given back");
    let fleet = ask("fleet", json!({}));
    let hosts = fleet["result"]["structuredContent"]["hosts"]
        .as_array()
        .expect("a list");
    let web_1 = hosts
        .iter()
        .find(|host| host["name"] == "web-1")
        .expect("it is there");
    assert_eq!(
        (&web_1["version"], &web_1["updating"]),
        (&json!("2.0"), &json!(false))
    );
    assert_ne!(web_1["taken_by"], "");
    running.ends_by(Signal::INT);
}

fn shell(id: u32, argv: &[&str]) -> Value {
    with_meta(
        legacy_call(id, "shell", json!({ "argv": argv })),
        json!({ "progressToken": id }),
    )
}

fn start_shell() -> (child::Running, PipeClient) {
    let (running, mut client) = child::stdio(child::example("shell"));
    client.initialize("2025-11-25");
    (running, client)
}

/// Every schema of every example, in both eras.
#[test]
fn every_model_api_reads_every_schema_of_every_example() {
    let check = |example: &str, listed: &Value| {
        let tools = listed["result"]["tools"].as_array().expect("a list");
        assert!(!tools.is_empty(), "{example} has tools");
        for tool in tools {
            // The conformance suite looks for words of JSON Schema in it that no model API takes.
            if tool["name"] == "json_schema_2020_12_tool" {
                continue;
            }
            for api in [Api::OpenAi, Api::Anthropic, Api::Gemini, Api::VsCode] {
                let refused = model_apis::refused(api, &tool["inputSchema"]);
                assert_eq!(refused, None, "{example}, {api:?}: {tool}");
            }
        }
    };
    let (mut running, mut client) = start_shell();
    check("shell", &client.ask(&legacy(1, "tools/list", json!({}))));
    client.close();
    running.exits_well();
    let rows = [
        ("quickstart", &["127.0.0.1:0"][..]),
        ("embed", &["8"]),
        ("notes", &["127.0.0.1:0"]),
        ("operations", &["--http", "127.0.0.1:0"]),
        ("everything", &["--http", "127.0.0.1:0"]),
    ];
    for (name, arguments) in rows {
        let mut command = child::example(name);
        command.args(arguments);
        let (_running, http) = child::http(command);
        check(name, &http.ask(&modern(1, "tools/list", json!({}))));
    }
}

/// The design's first story: with one `sleep 3` in flight a ping took 4.28 s.
#[test]
fn shell_answers_a_ping_during_a_command_and_runs_three_at_once() {
    let (mut running, mut client) = start_shell();
    let place = Place::empty("shell-at-once");
    let directory = place.0.to_str().expect("a plain path");
    // None ends before all three have begun, nor before the ping is answered.
    let script = "touch $0; until [ -e 1 -a -e 2 -a -e 3 -a -e go ]; do sleep 0.01; done";
    for id in ["1", "2", "3"] {
        let argv = ["env", "-C", directory, "sh", "-c", script, id];
        client.send(&shell(id.parse().expect("a number"), &argv));
    }
    client.send(&legacy("ping", "ping", json!({})));
    assert_eq!(client.recv()["id"], "ping", "it is the first answer");
    place.write("go", 0o644, "");
    for id in 1..=3 {
        assert_eq!(client.answer(id)["result"]["structuredContent"]["code"], 0);
    }
    client.close();
    running.exits_well();
}

/// Has `shell` run a command, as request 1, that starts a child of its own, and says the child's id.
fn grandchild(client: &mut PipeClient) -> u32 {
    client.send(&shell(1, &["sh", "-c", "sleep 600 & echo $!; wait"]));
    let said = client.recv();
    let pid: u32 = said["params"]["message"]
        .as_str()
        .and_then(|line| line.trim().parse().ok())
        .expect("the command says the id of its child");
    pid
}

#[test]
fn shell_kills_what_is_cancelled_and_everything_it_started() {
    let (mut running, mut client) = start_shell();
    let pid = grandchild(&mut client);
    assert!(is_alive(pid));
    client.send(&cancel(1));
    until("the grandchild is gone", || !is_alive(pid));
    assert_eq!(client.sent_so_far().len(), 0, "nothing is said of it");
    let refused = client.ask(&shell(2, &[]));
    assert!(text(&refused).contains("`argv` is empty"), "{refused}");
    client.close();
    running.exits_well();
}

/// A program that ends takes the commands of its calls with it.
#[test]
fn shell_leaves_no_command_behind() {
    let (mut running, mut client) = start_shell();
    let pid = grandchild(&mut client);
    running.signal(Signal::TERM);
    until("the first signal has been seen", || {
        client.ask(&legacy_call(2, "shell", json!({ "argv": ["true"] })))["error"]["code"] == 503
    });
    running.signal(Signal::TERM);
    assert_eq!(client.answer(1)["error"]["code"], 503);
    running.exits_well();
    until(
        "what it was sent before the program ended has reached it",
        || !is_alive(pid),
    );
}

#[test]
fn embed_serves_its_world_while_it_works_and_ends_by_itself() {
    let mut command = child::example("embed");
    command.arg("30");
    let (mut running, http) = child::http(command);
    let look =
        |id: u32| http.ask(&call(id, "look", json!({})))["result"]["structuredContent"].clone();
    let sheep = |world: &Value| world["sheep"].as_u64().expect("sheep can be counted");
    let before = sheep(&look(1));
    let bought: u64 = text(&http.ask(&call(2, "buy", json!({ "sheep": 1000 }))))
        .parse()
        .expect("a number");
    assert!(bought >= before + 1000, "the world is shared");
    until("the program's own loop goes on", || {
        look(3)["round"].as_u64() >= Some(2)
    });
    let finished = running.exits_well();
    let counted = finished.stderr.lines().filter_map(|line| {
        line.strip_suffix(" sheep")?
            .rsplit(' ')
            .next()?
            .parse()
            .ok()
    });
    let most: Option<u64> = counted.max();
    assert!(
        most > Some(1000),
        "its own loop has seen what was bought: {}",
        finished.stderr
    );
}

#[test]
fn everything_has_the_probes_of_its_contract() {
    on_every_front(|front| {
        let mut command = child::example("everything");
        command.args([
            "--http",
            "127.0.0.1:0",
            "--front",
            front.name,
            "--workers",
            "3",
            "--queue",
            "5",
        ]);
        let (mut running, http) = child::http(command);
        let listed = http.ask(&modern(1, "tools/list", json!({})));
        let names: Vec<_> = listed["result"]["tools"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|tool| tool["name"].clone())
            .collect();
        assert_eq!(names[0], "test_simple_text");
        let probe = |tool: &str, args: Value| {
            assert!(names.contains(&json!(tool)), "{tool} is listed");
            http.ask(&call(2, tool, args))
        };
        assert_eq!(text(&probe("echo", json!({ "text": "a" }))), "a");
        assert_eq!(text(&probe("sleep", json!({ "ms": 1 }))), "slept 1 ms");
        assert_eq!(text(&probe("spin", json!({ "ms": 1 }))), "spun 1 ms");
        assert_eq!(text(&probe("wedge", json!({ "ms": 1 }))), "awake again");
        assert_eq!(text(&probe("print", json!({}))), "printed");
        assert_eq!(text(&probe("progress", json!({ "n": 3 }))), "3 steps");
        let asked = probe("test_input_required_result_multiple_inputs", json!({}));
        assert_eq!(asked["error"]["code"], -32021, "{asked}");
        let params = json!({ "name": "test_input_required_result_multiple_inputs" });
        let asked = http.ask(&modern_with(3, "tools/call", params, &everything()));
        let questions = asked["result"]["inputRequests"].as_object();
        let keys: Vec<_> = questions.expect("it asks").keys().collect();
        assert_eq!(keys, ["client_roots", "greeting", "user_name"]);
        let unfit = json!({ "name": "test_custom_header", "arguments": {} });
        let unfit = http.ask(&modern(4, "tools/call", unfit));
        assert_eq!(unfit["result"]["isError"], true, "{unfit}");
        let panicked = probe("panic", json!({}));
        assert_eq!(panicked["error"]["code"], -32603);
        assert!(!panicked.to_string().contains("PANIC-SECRET"), "{panicked}");
        for _ in 0..3 {
            assert_eq!(text(&probe("state", json!({}))), "1");
        }
        // A worker is free a moment after its answer.
        until("the main lane is idle", || {
            probe("status", json!({}))["result"]["structuredContent"]["active"] == 0
        });
        let status = probe("status", json!({}));
        let content = &status["result"]["structuredContent"];
        assert_eq!(
            (&content["workers"], &content["active"]),
            (&json!(3), &json!(0))
        );
        assert_eq!(content["stats"]["lanes"][0]["capacity"], 5);
        let mirrored: Value = serde_json::from_str(text(&status)).expect("the same as JSON text");
        assert_eq!(&mirrored, content);
        running.ends_by(Signal::INT);
    });
}

#[test]
fn a_command_line_that_makes_no_sense_is_refused() {
    for arguments in [
        &[][..],
        &["--http"],
        &["--stdio", "--http", "127.0.0.1:0"],
        &["--stdio", "--workers", "many"],
        &["--stdio", "--nonsense", "1"],
        #[cfg(not(feature = "durable"))]
        &["--stdio", "--jobs", "jobs.redb"],
    ] {
        let mut command = child::example("everything");
        command.args(arguments);
        let finished = child::run(command);
        assert_eq!(
            finished.status.code(),
            Some(2),
            "{arguments:?}: {finished:?}"
        );
        assert!(
            finished.stderr.contains("usage: everything"),
            "{finished:?}"
        );
    }
}
