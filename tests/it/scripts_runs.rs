//! Tools of a file while they run and when they end: answers, progress, questions, places in a pool, and nothing left behind.

use std::fs;

use mcp_threads::Scripts;
use serde_json::{Value, json};

use crate::asking::accept;
use crate::harness::child::{self, Running, children_of, is_alive};
use crate::harness::message::{cancel, legacy_call};
use crate::harness::talk::{introduce, modern_with};
use crate::harness::{
    Event, Http, PipeClient, Place, call, modern, on_every_talk, text, until, with_meta,
};

const RUNS: &str = r##"
[server]
name = "runs"

[defaults]
env = { FROM_DEFAULTS = "yes" }

[pools.device]
size = 1

[[tool]]
name = "flood"
description = "Says 128 MiB."
run = ["head", "-c", "134217728", "/dev/zero"]

[[tool]]
name = "hangs"
description = "Has a child that hears nothing, and says its id."
shell = "trap '' TERM; (trap '' TERM; exec sleep 600) & echo $!; wait"
output = "lines"

[[tool]]
name = "late"
description = "The same, for too long."
shell = "trap '' TERM; (trap '' TERM; exec sleep 600) & echo $!; wait"
timeout = "4s"

[[tool]]
name = "silent"
description = "The same, watched."
shell = "trap '' TERM; (trap '' TERM; exec sleep 600) & echo $!; wait"
liveness = "4s"

[[tool]]
name = "leaves"
description = "Ends by itself, and leaves a child that says nothing."
shell = "(exec sleep 600) >/dev/null 2>&1 & echo $!"

[[tool]]
name = "alone"
description = "May not run beside itself."
shell = "mkdir alone || exit 9; sleep 0.02; rmdir alone"
concurrency = 1

[[tool]]
name = "claims"
description = "May not run beside the others that claim the device."
shell = "mkdir device || exit 9; sleep 0.02; rmdir device"
claims = ["device"]

[[tool]]
name = "asks"
description = "Asks first."
run = ["echo", "{what}"]
confirm = "Do {what}?"
[tool.args.what]
default = "it"

[[tool]]
name = "unasked"
description = "Asks first, where it can."
run = ["echo", "done"]
confirm = "Do it?"
confirm_else = "run"

[[tool]]
name = "job"
description = "Asks first, and is a job."
run = ["echo", "job done"]
confirm = "Begin?"
job = true

[[tool]]
name = "picture"
description = "Draws."
run = ["printf", '\211PNG\r\n\032\n\000']
output = "image/png"

[[tool]]
name = "surroundings"
description = "Shows what it has."
shell = 'pwd; echo "$FROM_DEFAULTS $OWN $FROM_FILE $UNSEEN"; cat; echo "$ARGS_JSON"; ls /proc/self/fd | wc -l'
stdin = "json"
cwd = "sub"
env = { OWN = { from = "IT_SCRIPTS_OWN" }, FROM_FILE = { file = "value", secret = false } }
[tool.args.n]
type = "integer"
default = 3

[[tool]]
name = "unmet"
description = "Needs what is not there."
run = ["true"]
requires = ["no-such-program-here", "$NO_SUCH_VARIABLE"]

[[tool]]
name = "finds"
description = "Ends with 1, and that is well."
shell = "exit 1"
ok_codes = [0, 1]

[[tool]]
name = "dies"
description = "Is ended by a signal."
shell = "kill -9 $$"

[[tool]]
name = "no_json"
description = "Promises JSON."
shell = "echo no; echo because >&2"
output = "json"

[[resource]]
uri = "runs://file"
file = "value"
mime_type = "text/plain"

[[resource]]
uri = "runs://bytes"
run = ["printf", '\377\000']

[[resource]]
uri = "runs://broken"
shell = "echo why >&2; exit 3"

[[prompt]]
name = "review"
text = "Review {what}, {{please}}."
[prompt.args.what]
required = true
one_of = ["code", "prose"]
"##;

fn place(name: &str) -> Place {
    let place = Place::new(&format!("runs-{name}"), RUNS);
    place.write("value", 0o644, "from a file\n");
    place.write("sub/empty", 0o644, "");
    place
}

fn serve(place: &Place) -> (Running, PipeClient) {
    let mut command = place.command(["serve", "--stdio"]);
    command.env("IT_SCRIPTS_OWN", "own").env("UNSEEN", "seen");
    child::stdio(command)
}

/// Calls a tool that says the id of its grandchild first.
fn hang(client: &mut PipeClient) -> u32 {
    let progress = json!({ "progressToken": "p" });
    client.send(&with_meta(call(1, "hangs", json!({})), progress));
    let said = client.recv();
    number(said["params"]["message"].as_str().unwrap_or_default())
}

#[track_caller]
fn number(said: &str) -> u32 {
    let first = said.lines().find_map(|line| line.trim().parse().ok());
    first.unwrap_or_else(|| panic!("a process id: {said}"))
}

/// Waits until the server's only child is the supervisor of its children: no zombie, and nothing that runs.
#[track_caller]
fn until_childless(running: &Running) {
    let left = || children_of(running.id());
    until("only the supervisor is left", || {
        left().iter().all(|(_, line)| line.contains("supervisor"))
    });
}

#[test]
fn an_endless_output_costs_no_more_memory_than_the_cap() {
    let place = place("flood");
    let (mut running, mut client) = serve(&place);
    client.ask(&call(0, "finds", json!({})));
    let before = running.memory("VmHWM");
    let answer = client.ask(&call(1, "flood", json!({})));
    let grown = running.memory("VmHWM") - before;
    let result = &answer["result"]["structuredContent"];
    assert_eq!(result["truncated"], true, "{:.300}", answer.to_string());
    let said = result["stdout"].as_str().expect("text");
    assert!(said.contains("bytes left out"), "its length is told");
    // The cap is 64 KiB, in three copies of which each NUL takes six bytes as JSON; the rest is for arenas of the allocator, one for each thread at worst.
    assert!(grown < 32 << 20, "it grew by {grown} bytes");
    client.close();
    running.exits_well();
}

#[test]
fn a_cancelled_call_leaves_no_process() {
    let place = place("cancel");
    let (mut running, mut client) = serve(&place);
    let pid = hang(&mut client);
    assert!(is_alive(pid));
    client.send(&cancel(1));
    until("the grandchild is gone", || !is_alive(pid));
    until_childless(&running);
    client.close();
    running.exits_well();
}

#[test]
fn a_call_that_takes_too_long_leaves_no_process_and_says_what_it_had_said() {
    let place = place("late");
    let (mut running, mut client) = serve(&place);
    let answer = client.ask(&call(1, "late", json!({})));
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    let said = &answer["result"]["structuredContent"]["stdout"];
    let pid = number(said.as_str().unwrap_or_default());
    until("the grandchild is gone", || !is_alive(pid));
    until_childless(&running);
    client.close();
    running.exits_well();
}

#[test]
fn what_a_script_leaves_in_its_group_ends_with_it() {
    let place = place("leaves-a-child");
    let (mut running, mut client) = serve(&place);
    let answer = client.ask(&call(1, "leaves", json!({})));
    let code = &answer["result"]["structuredContent"]["exit_code"];
    assert_eq!(code, 0, "it has not been waited for: {answer}");
    let pid = number(text(&answer));
    until("the child is gone", || !is_alive(pid));
    until_childless(&running);
    client.close();
    running.exits_well();
}

#[test]
fn a_silent_call_is_ended_by_its_liveness_and_leaves_no_process() {
    let place = place("silent");
    let (mut running, mut client) = serve(&place);
    let answer = client.ask(&call(1, "silent", json!({})));
    let why = text(&answer);
    assert!(why.contains("silent for too long"), "{answer}");
    // What it had said is worth most.
    let pid = number(why.rsplit("stdout:").next().unwrap_or_default());
    until("the grandchild is gone", || !is_alive(pid));
    until_childless(&running);
    client.close();
    running.exits_well();
}

#[test]
fn a_client_that_leaves_leaves_no_process_over_http() {
    let place = place("leaves");
    let mut command = place.command(["serve", "--http", "127.0.0.1:0"]);
    command.stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::null());
    let running = child::start(command);
    let said = running.said("serving 16 tools of runs at http://");
    let address = said
        .rsplit("http://")
        .next()
        .and_then(|rest| rest.strip_suffix("/mcp"));
    let address = address.and_then(|address| address.parse().ok());
    let http = Http::new(address.unwrap_or_else(|| panic!("an address: {said}")));
    let progress = json!({ "progressToken": "p" });
    let mut reply = http
        .modern(&with_meta(call(1, "hangs", json!({})), progress))
        .send();
    let message = match reply.event() {
        Some(Event::Message(message)) => message,
        other => panic!("it says the id: {other:?}"),
    };
    let pid = number(message["params"]["message"].as_str().unwrap_or_default());
    assert!(is_alive(pid));
    drop(reply);
    until("the grandchild is gone", || !is_alive(pid));
    until_childless(&running);
}

#[test]
fn calls_wait_for_their_turn_and_for_a_place_in_the_pool() {
    let place = place("turns");
    let (mut running, mut client) = serve(&place);
    for tool in ["alone", "claims"] {
        for id in 0..8 {
            client.send(&call(id, tool, json!({})));
        }
        for id in 0..8 {
            let answer = client.answer(id);
            let code = &answer["result"]["structuredContent"]["exit_code"];
            assert_eq!(code, 0, "{tool}: {answer}");
        }
    }
    client.close();
    running.exits_well();
}

#[test]
fn a_person_confirms_in_both_eras_and_is_shown_what_will_be_run() {
    let place = place("asks");
    let file = place.0.join("tools.toml");
    let scripts = Scripts::load_trusting(file).expect("it has no mistakes");
    let form = json!({ "elicitation": { "form": {} } });
    on_every_talk(
        || scripts.clone().into_server(),
        &form,
        |talk| {
            let no = json!({ "action": "decline" });
            let unticked = accept(json!({ "confirm": false }));
            let yes = accept(json!({ "confirm": true }));
            for (reply, is_run) in [(no, false), (unticked, false), (yes, true)] {
                let mut asked = Vec::new();
                let arguments = json!({ "what": "this\n\u{1b}[2Kthat" });
                let answer = talk.call("asks", arguments, |_, params| {
                    asked.push(params["message"].as_str().unwrap_or_default().to_owned());
                    reply.clone()
                });
                assert_eq!(asked, [r"Do this\n\u{1b}[2Kthat?"], "{answer}");
                assert_eq!(answer["result"]["isError"] != true, is_run, "{answer}");
                assert_eq!(
                    text(&answer).contains("Nothing was run"),
                    !is_run,
                    "{answer}"
                );
            }
        },
    );
    on_every_talk(
        || scripts.clone().into_server(),
        &json!({}),
        |talk| {
            let nobody = |_: &str, _: &Value| panic!("it cannot be asked");
            let refused = talk.call("asks", json!({}), nobody);
            assert!(
                text(&refused).contains("does not support elicitation"),
                "{refused}"
            );
            let run = talk.call("unasked", json!({}), nobody);
            assert_eq!(text(&run), "done\n", "{run}");
        },
    );
}

#[test]
fn a_job_asks_before_it_is_one_and_is_followed_from_the_command_line() {
    let place = place("job");
    let refused = place.run(["call", "job"]);
    assert!(refused.stderr.contains("Nothing was run"), "{refused:#?}");
    let done = place.run(["call", "--yes", "job"]);
    assert_eq!(
        (done.stdout.as_str(), done.status.code()),
        ("job done\n", Some(0)),
        "{done:#?}"
    );
    let (mut running, mut client) = serve(&place);
    // A client that knows tasks is asked first, and then has one.
    let capabilities = json!({
        "elicitation": { "form": {} },
        "extensions": { "io.modelcontextprotocol/tasks": {} },
    });
    let mut params = json!({ "name": "job", "arguments": {} });
    let asked = client.ask(&modern_with(7, "tools/call", params.clone(), &capabilities));
    let questions = asked["result"]["inputRequests"].as_object();
    let key = questions.and_then(|questions| questions.keys().next());
    let key = key.unwrap_or_else(|| panic!("it asks: {asked}"));
    params["inputResponses"] = json!({ key: accept(json!({ "confirm": true })) });
    params["requestState"] = asked["result"]["requestState"].clone();
    let begun = client.ask(&modern_with(8, "tools/call", params, &capabilities));
    assert_eq!(begun["result"]["resultType"], "task", "{begun}");
    // A client of the handshake era has the tools of jobs.
    introduce(&mut client, &json!({}));
    let listed = client.ask(&json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }));
    let tools = listed["result"]["tools"].as_array().expect("tools");
    assert!(
        tools.iter().any(|tool| tool["name"] == "job_result"),
        "{listed}"
    );
    client.close();
    running.exits_well();
}

#[test]
fn answers_are_what_the_file_says() {
    let place = place("answers");
    let (mut running, mut client) = serve(&place);
    let mut id = 0;
    let mut ask = |tool: &str| {
        id += 1;
        client.ask(&call(id, tool, json!({})))["result"].clone()
    };
    let picture = ask("picture");
    assert_eq!(picture["content"][0]["data"], "iVBORw0KGgoA", "{picture}");
    assert_eq!(picture["content"][0]["mimeType"], "image/png");
    let found = ask("surroundings");
    let expected = format!(
        "{}\nyes own from a file \n{{\"n\":3}}{{\"n\":3}}\n",
        place.0.join("sub").display()
    );
    let said = found["structuredContent"]["stdout"].as_str().expect("text");
    let (said, descriptors) = said.split_at(expected.len().min(said.len()));
    assert_eq!(said, expected);
    // Its three, and the one that `ls` has opened.
    assert_eq!(descriptors.trim(), "4", "no descriptor is inherited");
    let unmet = ask("unmet");
    let why = unmet["content"][0]["text"].as_str().unwrap_or_default();
    assert!(
        why.contains("no-such-program-here") && why.contains("`NO_SUCH_VARIABLE`"),
        "{unmet}"
    );
    let finds = ask("finds");
    assert_eq!(
        (&finds["isError"], &finds["structuredContent"]["exit_code"]),
        (&Value::Null, &json!(1))
    );
    let dies = ask("dies");
    assert_eq!(
        (&dies["isError"], &dies["structuredContent"]["signal"]),
        (&json!(true), &json!(9))
    );
    let no_json = ask("no_json");
    let why = no_json["content"][0]["text"].as_str().unwrap_or_default();
    assert!(
        why.starts_with("It did not say JSON") && why.contains("stderr:\nbecause"),
        "{no_json}"
    );
    client.close();
    running.exits_well();
}

#[test]
fn resources_and_prompts_are_what_the_file_says() {
    let place = place("resources");
    let (mut running, mut client) = serve(&place);
    let mut read = |uri: &str| client.ask(&modern(1, "resources/read", json!({ "uri": uri })));
    let file = read("runs://file");
    assert_eq!(
        file["result"]["contents"][0]["text"], "from a file\n",
        "{file}"
    );
    let bytes = read("runs://bytes");
    assert_eq!(bytes["result"]["contents"][0]["blob"], "/wA=", "{bytes}");
    let broken = read("runs://broken");
    assert!(broken["error"]["message"].is_string(), "{broken}");
    let prompt = |what| json!({ "name": "review", "arguments": { "what": what } });
    let prose = client.ask(&modern(2, "prompts/get", prompt("prose")));
    let message = &prose["result"]["messages"][0]["content"]["text"];
    assert_eq!(message, "Review prose, {please}.", "{prose}");
    let other = client.ask(&modern(3, "prompts/get", prompt("other")));
    assert_eq!(other["error"]["code"], -32602, "{other}");
    let missing = json!({ "name": "review", "arguments": {} });
    let missing = client.ask(&modern(4, "prompts/get", missing));
    assert_eq!(missing["error"]["code"], -32602, "{missing}");
    client.close();
    running.exits_well();
}

/// To open a pipe is to wait for its writer, for ever if there is none.
#[test]
fn a_file_that_is_none_is_refused() {
    let file = "[[tool]]\nname = 'one'\ndescription = 'One.'\nrun = ['true']\nenv = { A = { file = 'value' } }\n[[resource]]\nuri = 'runs://file'\nfile = 'value'\n";
    let place = Place::new("pipe", file);
    let value = place.write("value", 0o644, "valued");
    let (mut running, mut client) = serve(&place);
    let answer = client.ask(&call(1, "one", json!({})));
    assert_ne!(answer["result"]["isError"], true, "{answer}");
    fs::remove_file(value).expect("it is there");
    place.pipe("value");
    let answer = client.ask(&call(2, "one", json!({})));
    assert!(text(&answer).contains("no regular file"), "{answer}");
    let answer = client.ask(&modern(
        3,
        "resources/read",
        json!({ "uri": "runs://file" }),
    ));
    let why = answer["error"]["message"].as_str();
    assert!(
        why.is_some_and(|why| why.contains("no regular file")),
        "{answer}"
    );
    client.close();
    running.exits_well();
}

#[test]
fn serve_runs_on_though_nobody_reads_stderr() {
    let place = place("unread");
    crate::law_10_stderr::assert_serves_though_nobody_reads_stderr(|| {
        place.command(["serve", "--stdio", "--http", "127.0.0.1:0"])
    });
}

#[test]
fn clients_are_told_that_the_file_has_changed() {
    let place = place("told");
    let (mut running, mut client) = serve(&place);
    introduce(&mut client, &json!({}));
    client.ask(&legacy_call(1, "finds", json!({})));
    place.write(
        "tools.toml",
        0o644,
        RUNS.replace("name = \"finds\"", "name = \"found\""),
    );
    let told = client.recv();
    assert_eq!(told["method"], "notifications/tools/list_changed", "{told}");
    let answer = client.ask(&legacy_call(2, "found", json!({})));
    assert_eq!(
        answer["result"]["structuredContent"]["exit_code"], 1,
        "{answer}"
    );
    client.close();
    running.exits_well();
}

/// Says how many of its kind run, and runs until there is a file `go`.
const TURNS: &str = r##"
[pools.device]
size = 1
[[tool]]
name = "turn"
description = "Says how many of its kind run."
shell = 'mkdir "run.$$"; set -- run.*; echo $#; until [ -e go ]; do sleep 0.01; done; rmdir "run.$$"'
"##;

#[test]
fn a_newer_file_says_how_many_run_at_once() {
    let claims =
        |size| TURNS.replace("size = 1", &format!("size = {size}")) + "claims = ['device']\n";
    let turns = |size| format!("{TURNS}concurrency = {size}\n");
    for (name, file) in [
        ("claims", &claims as &dyn Fn(usize) -> String),
        ("turns", &turns),
    ] {
        let place = Place::new(&format!("turns-{name}"), &file(1));
        let started = || {
            let entries = fs::read_dir(&place.0).expect("it is there").flatten();
            let names = entries.map(|entry| entry.file_name());
            names
                .filter(|name| name.to_string_lossy().starts_with("run."))
                .count()
        };
        let (mut running, mut client) = place.serve();
        client.send(&call(1, "turn", json!({})));
        until("the first runs", || started() == 1);
        client.send(&call(2, "turn", json!({})));
        place.write("tools.toml", 0o644, file(2));
        running.said("is served anew");
        client.send(&call(3, "turn", json!({})));
        until("the third runs beside the first", || started() == 2);
        place.write("go", 0o644, "");
        for id in 1..=3 {
            let answer = client.answer(id);
            assert!(["1\n", "2\n"].contains(&text(&answer)), "{name}: {answer}");
        }
        fs::remove_file(place.0.join("go")).expect("it is there");
        client.send(&call(4, "turn", json!({})));
        client.send(&call(5, "turn", json!({})));
        until("two run", || started() == 2);
        // Those that run have their places, and nobody else has one until one alone is in use.
        place.write("tools.toml", 0o644, file(1));
        until("it has noticed", || {
            running.stderr().matches("is served anew").count() == 2
        });
        (6..12).for_each(|id| client.send(&call(id, "turn", json!({}))));
        place.write("go", 0o644, "");
        for id in 6..12 {
            let answer = client.answer(id);
            assert!(["1\n", "2\n"].contains(&text(&answer)), "{name}: {answer}");
        }
        (12..20).for_each(|id| client.send(&call(id, "turn", json!({}))));
        (12..20).for_each(|id| assert_eq!(text(&client.answer(id)), "1\n", "{name}"));
        client.close();
        running.exits_well();
    }
}
