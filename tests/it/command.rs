//! A tool that is a child process: what it says, how it ends, and that nothing of it is left when its call is.

use std::time::Duration;

use mcp_threads::{Json, RequestContext, RunCommand, Server, ToolError};
use serde_json::{Value, json};

use crate::harness::child::is_alive;
use crate::harness::message::cancel;
use crate::harness::{PipeClient, Served, alone, call, library_threads, text, until, with_meta};

fn run(cx: &mut RequestContext, args: &Value) -> Result<Json<Value>, ToolError> {
    let argv: Vec<String> = args["argv"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|word| word.as_str().unwrap_or_default().to_owned())
        .collect();
    let mut command = RunCommand::new(&argv[0])
        .args(&argv[1..])
        .env("IT_NAME", "it's value")
        .kill_grace(Duration::from_millis(200));
    if let Some(most) = args["most"].as_u64() {
        command = command.output_bytes_max(most as usize);
    }
    if let Some(directory) = args["directory"].as_str() {
        command = command.directory(directory);
    }
    let output = command.run(cx)?;
    Ok(Json(json!({
        "code": output.code, "signal": output.signal, "stdout": output.stdout, "stderr": output.stderr, "truncated": output.truncated,
    })))
}

fn served() -> (Served, PipeClient) {
    Served::pipe(
        Server::new("it", "1").tool("run", "", |cx: &mut RequestContext, args: Value| {
            run(cx, &args)
        }),
    )
}

fn sh(script: &str) -> Value {
    json!({ "argv": ["sh", "-c", script] })
}

#[test]
fn a_command_gives_back_what_it_said_and_how_it_ended() {
    let (served, mut client) = served();
    let ended = |code: Value, signal: Value, stdout: &str, stderr: &str| json!({ "code": code, "signal": signal, "stdout": stdout, "stderr": stderr, "truncated": false });
    let rows = [
        (
            sh("echo out; echo err >&2"),
            ended(json!(0), Value::Null, "out\n", "err\n"),
        ),
        (
            sh("printf 'no line end'; exit 3"),
            ended(json!(3), Value::Null, "no line end", ""),
        ),
        (sh("kill -9 $$"), ended(Value::Null, json!(9), "", "")),
        (
            sh("cat; echo \"$IT_NAME\""),
            ended(json!(0), Value::Null, "it's value\n", ""),
        ),
        (
            json!({ "argv": ["pwd"], "directory": "/" }),
            ended(json!(0), Value::Null, "/\n", ""),
        ),
        // An argument is an argument, whatever is in it.
        (
            json!({ "argv": ["echo", "$HOME; rm -rf x", "`id`"] }),
            ended(json!(0), Value::Null, "$HOME; rm -rf x `id`\n", ""),
        ),
        (
            sh("printf '\\377'"),
            ended(json!(0), Value::Null, "\u{FFFD}", ""),
        ),
        (
            json!({ "argv": ["true"] }),
            ended(json!(0), Value::Null, "", ""),
        ),
    ];
    for (id, (args, expected)) in (0..).zip(rows) {
        let answer = client.ask(&call(id, "run", args.clone()));
        assert_eq!(
            answer["result"]["structuredContent"], expected,
            "{args}: {answer}"
        );
    }
    client.close();
    served.stop();
}

#[test]
fn a_command_that_cannot_start_is_an_error_the_model_can_read() {
    let (served, mut client) = served();
    for args in [
        json!({ "argv": ["/no/such/program"] }),
        json!({ "argv": ["true"], "directory": "/no/such" }),
    ] {
        let answer = client.ask(&call(1, "run", args.clone()));
        assert_eq!(answer["result"]["isError"], true);
        let program = args["argv"][0].as_str().expect("a word");
        assert!(
            text(&answer).contains(&format!("Cannot run `{program}`")),
            "{answer}"
        );
    }
    client.close();
    served.stop();
}

#[test]
fn a_command_s_output_is_kept_up_to_its_bound() {
    let (served, mut client) = served();
    for (bytes, most, kept, truncated) in [
        (1000, 1000, 1000, false),
        (1001, 1000, 1000, true),
        (3_000_000, 70_000, 70_000, true),
        (1, 0, 0, true),
    ] {
        for stream in ["", ">&2"] {
            let mut args = sh(&format!("head -c {bytes} /dev/zero | tr '\\0' x {stream}"));
            args["most"] = json!(most);
            let answer = client.ask(&call(1, "run", args));
            let output = &answer["result"]["structuredContent"];
            let length = |stream: &str| output[stream].as_str().expect("text").len();
            assert_eq!(
                (length("stdout") + length("stderr"), &output["truncated"]),
                (kept, &json!(truncated)),
                "{bytes} bytes {stream}"
            );
            assert_eq!(output["code"], 0, "it could say everything");
        }
    }
    client.close();
    served.stop();
}

#[test]
fn a_command_s_lines_are_reported_while_it_runs() {
    let (served, mut client) = served();
    let call = with_meta(
        call(
            1,
            "run",
            sh("for word in one two three; do echo $word; sleep 0.1; done"),
        ),
        json!({ "progressToken": "p" }),
    );
    client.send(&call);
    for (number, word) in (1..).zip(["one", "two", "three"]) {
        let event = client.recv();
        let expected =
            json!({ "progressToken": "p", "progress": f64::from(number), "message": word });
        assert_eq!(
            event["params"], expected,
            "progress, without a total that nobody knows"
        );
    }
    assert_eq!(
        client.answer(1)["result"]["structuredContent"]["stdout"],
        "one\ntwo\nthree\n"
    );
    client.close();
    served.stop();
}

/// Starts a script that prints the id of a grandchild, and gives back that id once it lives.
#[track_caller]
fn start_family(client: &mut PipeClient, script: &str) -> u32 {
    client.send(&with_meta(
        call(1, "run", sh(script)),
        json!({ "progressToken": "p" }),
    ));
    let said = client.recv();
    let pid = said["params"]["message"]
        .as_str()
        .and_then(|line| line.trim().parse().ok());
    let Some(pid) = pid else {
        panic!("the script says the id of its child first: {said}");
    };
    assert!(is_alive(pid), "it has just been started");
    pid
}

#[test]
fn cancelling_kills_the_command_and_everything_it_started() {
    let scripts = [
        "sleep 600 & echo $!; wait",
        // Deaf to the request to end, parent and child.
        "trap '' TERM; (trap '' TERM; sleep 600) & echo $!; wait",
        // The parent has closed its output.
        "sleep 600 >/dev/null 2>&1 & echo $!; exec >/dev/null 2>&1; wait",
    ];
    for script in scripts {
        let (served, mut client) = served();
        let pid = start_family(&mut client, script);
        client.send(&cancel(1));
        until(&format!("the grandchild of `{script}` is gone"), || {
            !is_alive(pid)
        });
        served.until_main("the worker is free", |main| {
            (main.busy, main.cancelled) == (0, 1)
        });
        client.close();
        assert_eq!(client.rest().len(), 0, "nothing is said of it");
        served.stop();
    }
}

#[test]
fn a_command_that_ends_takes_what_it_started_with_it() {
    let (served, mut client) = served();
    // The grandchild holds the output open; nobody waits for it.
    let pid = start_family(&mut client, "sleep 600 & echo $!; sleep 0.2");
    let answer = client.answer(1);
    assert_eq!(answer["result"]["structuredContent"]["code"], 0);
    until("the grandchild is gone", || !is_alive(pid));
    client.close();
    served.stop();
}

#[test]
fn a_drain_that_is_out_of_patience_kills_commands() {
    let (served, mut client) = served();
    let pid = start_family(&mut client, "sleep 600 & echo $!; wait");
    client.close();
    let report = served.shutdown(Duration::from_millis(20));
    assert_eq!(
        (report.abandoned_handlers, report.abandoned_connections),
        (0, 0)
    );
    assert_eq!(client.answer(1)["error"]["code"], 503);
    assert!(!is_alive(pid), "dead before the shutdown is over");
}

#[test]
fn a_command_leaves_no_thread() {
    alone("command::a_command_leaves_no_thread", || {
        let (served, mut client) = served();
        for id in 0..20 {
            client.ask(&call(
                id,
                "run",
                sh("echo a; echo b >&2; sleep 600 & exit 0"),
            ));
        }
        until("nobody reads any more", || {
            !library_threads()
                .iter()
                .any(|name| name.starts_with("mcp-child"))
        });
        client.close();
        served.stop();
    });
}
