//! A tool that is a child process: what it says, how it ends, and that nothing of it is left when its call is.

use std::time::Duration;

use mcp_threads::{Json, Limits, RequestContext, RunCommand, Server, ToolError};
use serde_json::{Value, json};

use crate::harness::child::is_alive;
use crate::harness::message::cancel;
use crate::harness::served::CANCEL_GRACE;
use crate::harness::{
    PipeClient, Place, Served, alone, alone_under, call, library_threads, text, until, with_meta,
};

pub(crate) fn run(cx: &mut RequestContext, args: &Value) -> Result<Json<Value>, ToolError> {
    let argv: Vec<String> = args["argv"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|word| word.as_str().unwrap_or_default().to_owned())
        .collect();
    let grace = args["grace_ms"].as_u64().unwrap_or(200);
    let mut command = RunCommand::new(&argv[0])
        .args(&argv[1..])
        .env("IT_NAME", args["name"].as_str().unwrap_or("it's value"))
        .kill_grace(Duration::from_millis(grace));
    if args["clear"] == true {
        command = command.env_clear();
    }
    if let Some(text) = args["stdin"].as_str() {
        command = command.stdin(text);
    }
    if let Some(timeout) = args["timeout_ms"].as_u64() {
        command = command.timeout(Duration::from_millis(timeout));
    }
    if let Some(silence) = args["liveness_ms"].as_u64() {
        command = command.liveness(Duration::from_millis(silence));
    }
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

pub(crate) fn served() -> (Served, PipeClient) {
    let limits = Limits::default().cancel_grace(CANCEL_GRACE);
    Served::pipe(Server::new("it", "1").limits(limits).tool(
        "run",
        "",
        |cx: &mut RequestContext, args: Value| run(cx, &args),
    ))
}

pub(crate) fn sh(script: &str) -> Value {
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
fn a_command_that_cannot_start_names_the_culprit() {
    let (served, mut client) = served();
    let scratch = Place::empty("culprit");
    let file = |name: &str, mode: u32, bytes: &[u8]| {
        let path = scratch.write(name, mode, bytes);
        path.to_str().expect("a plain path").to_owned()
    };
    let dos = file("dos", 0o755, b"#!/bin/sh\r\necho hi\r\n");
    let lost = file("lost", 0o755, b"#! /no/such/interpreter -x\necho hi\n");
    let bare = file("bare", 0o755, b"echo hi\n");
    let nameless = file("nameless", 0o755, b"#!\n");
    let plain = file("plain", 0o644, b"#!/bin/sh\n");
    let garbage = file("garbage", 0o755, b"\x7fNOPE\0\x01\x02");
    // Binary, with a first line that is not, as programs for several systems have it.
    let polyglot = file("polyglot", 0o755, b"MZqFpD='\n\0\x01\x02'");
    let by_plain = file("by_plain", 0o755, format!("#!{plain}\n").as_bytes());
    let by_bare = file("by_bare", 0o755, format!("#!{bare}\n").as_bytes());
    let by_directory = file("by_directory", 0o755, b"#!/etc\n");
    let by_name = file("by_name", 0o755, b"#!sh\n");
    let round = file(
        "round",
        0o755,
        format!("#!{}/round\n", scratch.0.display()).as_bytes(),
    );
    let pipe = scratch.pipe("pipe");
    let rows = [
        (json!([pipe]), "is no regular file"),
        (json!([by_bare]), "the interpreter of `BARE`, `"),
        (
            json!([by_bare]),
            "is a text without a first line that names its interpreter",
        ),
        (json!([by_directory]), "`/etc` is a directory"),
        (json!([by_name]), ", `sh` does not exist"),
        (json!([round]), "and so on"),
        (
            json!(["/no/such/program"]),
            "the file `/no/such/program` does not exist",
        ),
        (json!(["./no-such"]), "the file `./no-such` does not exist"),
        (
            json!(["no-such-program-at-all"]),
            "in the directories of PATH (",
        ),
        (json!([""]), "the name of the program is empty"),
        (json!(["/etc"]), "`/etc` is a directory"),
        (json!([dos]), "ends with a carriage return"),
        (
            json!([lost]),
            "the interpreter of `LOST`, `/no/such/interpreter` does not exist",
        ),
        (
            json!([bare]),
            "is a text without a first line that names its interpreter",
        ),
        (json!([nameless]), "names no interpreter"),
        (json!([plain]), "is not executable"),
        (json!([garbage]), "is no program that this system can run"),
        (json!([polyglot]), "is no program that this system can run"),
        (
            json!([by_plain]),
            "the interpreter of `BY`, `PLAIN` is not executable",
        ),
        (
            json!(["echo", "x", "hunter\0b"]),
            "a NUL byte cannot be passed to a program, and there is one in its argument 2",
        ),
        (
            json!(["echo", "x".repeat(3_000_000)]),
            "longer than the system allows",
        ),
    ];
    for (argv, expected) in rows {
        let answer = client.ask(&call(1, "run", json!({ "argv": argv })));
        assert_eq!(answer["result"]["isError"], true, "{expected}");
        let said = text(&answer);
        let expected = expected
            .replace("LOST", &lost)
            .replace("BARE", &by_bare)
            .replace("BY", &by_plain);
        let expected = expected.replace("PLAIN", &plain);
        let program = argv[0].as_str().expect("a word");
        assert!(
            said.starts_with(&format!("Cannot run `{program}`: ")) && said.contains(&expected),
            "{expected}: {said}"
        );
        assert!(
            !said.contains("hunter"),
            "a value is nobody's to quote: {said}"
        );
    }
    let args = json!({ "argv": ["true"], "name": "hunter\0" });
    let said = text(&client.ask(&call(1, "run", args))).to_owned();
    assert!(
        said.contains("`IT_NAME`") && !said.contains("hunter"),
        "{said}"
    );
    for (directory, expected) in [
        ("/no/such", "the directory `/no/such` does not exist"),
        (plain.as_str(), "is no directory"),
    ] {
        let args = json!({ "argv": ["true"], "directory": directory });
        let answer = client.ask(&call(1, "run", args));
        let said = text(&answer);
        assert!(said.contains(expected), "{said}");
    }
    file("busy", 0o755, b"#!/bin/sh\n");
    let mut writer = std::fs::File::options();
    let open = writer.append(true).open(scratch.0.join("busy"));
    let _open = open.expect("it is ours");
    // In another directory, where a shell goes first.
    for (program, expected) in [
        ("./dos", "carriage return"),
        ("./bare", "names its interpreter"),
        ("./by_name", "`sh` does not exist"),
        // What only the system finds, and tells the shell.
        ("./busy", "/busy: Text file busy"),
    ] {
        let args = json!({ "argv": [program], "directory": scratch.0 });
        let answer = client.ask(&call(1, "run", args));
        let said = text(&answer);
        let begins = format!("Cannot run `{program}`: ");
        assert!(
            said.starts_with(&begins) && said.contains(expected),
            "{said}"
        );
    }
    client.close();
    served.stop();
}

#[test]
fn a_command_runs_where_and_with_what_it_is_given() {
    let (served, mut client) = served();
    let scratch = Place::empty("given");
    scratch.write(
        "here",
        0o755,
        b"#!/bin/sh\nset -e\ncd -P . && pwd && printf '%s.' \"$@\"\n",
    );
    let place = scratch.0.to_str().expect("a plain path");
    let big = "x".repeat(300_000);
    let rows = [
        (
            json!({ "argv": ["./here", "a b", "", "-n", "$x"], "directory": place }),
            format!("{place}\na b..-n.$x."),
        ),
        (
            json!({ "argv": ["cat"], "stdin": "fed\n" }),
            "fed\n".to_owned(),
        ),
        (
            json!({ "argv": ["cat", "/dev/stdin"], "stdin": "fed" }),
            "fed".to_owned(),
        ),
        (
            json!({ "argv": ["wc", "-c"], "stdin": big }),
            "300000\n".to_owned(),
        ),
        (json!({ "argv": ["true"], "stdin": big }), String::new()),
        (json!({ "argv": ["cat"], "stdin": "" }), String::new()),
        (
            json!({ "argv": ["env"], "clear": true }),
            "IT_NAME=it's value\n".to_owned(),
        ),
    ];
    for (args, expected) in rows {
        let answer = client.ask(&call(1, "run", args.clone()));
        let output = &answer["result"]["structuredContent"];
        assert_eq!(
            (&output["stdout"], &output["code"]),
            (&json!(expected), &json!(0)),
            "{answer}"
        );
    }
    let args = json!({ "argv": ["env"], "clear": true, "directory": place });
    let answer = client.ask(&call(1, "run", args));
    let said = answer["result"]["structuredContent"]["stdout"].to_string();
    assert!(said.contains(&format!("PWD={place}")), "{said}");
    assert!(!said.contains("OLDPWD"), "where the server is: {said}");
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
            let said = ["stdout", "stderr"].map(|stream| output[stream].as_str().expect("text"));
            let said = said.concat();
            let middle = format!("\n[... {} bytes left out ...]\n", bytes - kept);
            let (head, tail) = said.split_once(&middle).unwrap_or((&said, ""));
            assert_eq!(
                (head.len() + tail.len(), &output["truncated"]),
                (kept, &json!(truncated)),
                "{bytes} bytes {stream}: {said}"
            );
            assert!(
                tail.len() == truncated as usize * kept.div_ceil(2),
                "{said}"
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
        let expected = json!({ "progressToken": "p", "progress": number, "message": word });
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

#[test]
fn a_command_s_output_is_shown_as_whole_lines_without_escapes() {
    let (served, mut client) = served();
    let scratch = Place::empty("lines");
    let go = scratch.0.join("go");
    let script = format!(
        "printf '\\342\\202'; sleep 0.2; printf '\\254uro\\n\\033[31mred\\033[0m\\r50%%\\r\\n\\nask> '
         while [ ! -e {} ]; do sleep 0.01; done; printf 'y\\nend'",
        go.display()
    );
    client.send(&with_meta(
        call(1, "run", sh(&script)),
        json!({ "progressToken": "p" }),
    ));
    let mut said = || client.recv()["params"]["message"].clone();
    for line in ["\u{20ac}uro", "red", "50%", "ask> "] {
        assert_eq!(said(), line);
    }
    // Only now: the unfinished line was shown while the command waited for somebody to read it.
    std::fs::write(&go, "").expect("a file can be written");
    assert_eq!(said(), "ask> y");
    assert_eq!(said(), "end", "the line that will never end");
    assert_eq!(client.answer(1)["result"]["structuredContent"]["code"], 0);
    client.close();
    served.stop();
}

/// Starts a script that prints the id of a grandchild, and gives back that id once it lives.
#[track_caller]
pub(crate) fn start_family(client: &mut PipeClient, script: &str) -> u32 {
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
    let scratch = Place::empty("ends");
    let go = scratch.0.join("go");
    // The grandchild holds the output open; nobody waits for it.
    let script = format!(
        "sleep 600 & echo $!; while [ ! -e {} ]; do sleep 0.01; done",
        go.display()
    );
    let pid = start_family(&mut client, &script);
    std::fs::write(&go, "").expect("a file can be written");
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
    // Killed before the shutdown was over; the kernel takes its time.
    until("the grandchild is gone", || !is_alive(pid));
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

#[test]
fn a_command_that_takes_too_long_is_ended() {
    let (served, mut client) = served();
    for script in [
        "echo working; sleep 600 & echo $!; wait",
        "trap '' TERM; echo working; (trap '' TERM; exec sleep 600) & echo $!; wait",
    ] {
        let ended_after = |timeout_ms: u64| {
            let mut args = sh(script);
            args["timeout_ms"] = json!(timeout_ms);
            let answer = client.ask(&call(1, "run", args));
            let said = text(&answer);
            assert_eq!(answer["result"]["isError"], true);
            assert!(
                said.starts_with("`sh` was ended, because it had not come to its end after "),
                "{said}"
            );
            said.rsplit(' ').next().and_then(|word| word.parse().ok())
        };
        // Its last words are the grandchild's id; on a slow machine it needs more time for them.
        let pid = [500, 5_000, 50_000].into_iter().find_map(ended_after);
        let pid = pid.expect("it has said an id");
        until("the grandchild is gone", || !is_alive(pid));
    }
    client.close();
    served.stop();
}

#[test]
fn a_command_that_is_stopped_is_ended_and_named() {
    let (served, mut client) = served();
    // The grandchild would be left if only the stopped leader were ended; the leader hears nothing before it is continued.
    let script = "trap 'echo heard; exit 0' TERM; sleep 600 & echo $!; kill -STOP $$; wait";
    let mut args = sh(script);
    // So long that a SIGTERM which is not heard would not go unnoticed.
    args["grace_ms"] = json!(600_000);
    client.send(&with_meta(
        call(1, "run", args),
        json!({ "progressToken": "p" }),
    ));
    let pid = client.recv()["params"]["message"]
        .as_str()
        .and_then(|line| line.parse().ok());
    let pid = pid.expect("the id of the grandchild comes first");
    let answer = client.answer(1);
    assert_eq!(answer["result"]["isError"], true);
    assert_eq!(
        text(&answer),
        "`sh` was ended, because it was stopped by signal 19. The last it said: heard"
    );
    until("the grandchild is gone", || !is_alive(pid));
    client.close();
    served.stop();
}

/// Only the command itself is looked at; what it waits for shows as silence, and is continued to hear its end.
#[test]
fn a_command_that_waits_for_what_is_stopped_is_ended_for_its_silence() {
    let (served, mut client) = served();
    let script = "sh -c 'trap \"exit 0\" TERM; echo $$; kill -STOP $$'; echo over";
    let mut args = sh(script);
    args["liveness_ms"] = json!(1000);
    // So long that one which does not hear the SIGTERM would not go unnoticed.
    args["grace_ms"] = json!(600_000);
    let call = call(1, "run", args);
    client.send(&with_meta(call, json!({ "progressToken": "p" })));
    let said = client.recv()["params"]["message"].clone();
    let pid = said.as_str().and_then(|line| line.parse().ok());
    let pid = pid.unwrap_or_else(|| panic!("the id of the stopped one comes first: {said}"));
    let answer = client.answer(1);
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    assert!(text(&answer).contains("because"), "{answer}");
    until("the stopped one is gone", || !is_alive(pid));
    client.close();
    served.stop();
}

#[test]
fn a_command_that_asks_for_a_password_fails_at_once() {
    // With a terminal of its own, as a server has that a person or a client on a terminal has started.
    alone_under(
        "exec script -qec \"$*\" /dev/null",
        "command::a_command_that_asks_for_a_password_fails_at_once",
        || {
            std::fs::File::open("/dev/tty").expect("this process has a terminal");
            let (served, mut client) = served();
            for script in [
                "exec 2>&1; read answer </dev/tty",
                "exec 2>&1; echo 'Password: ' >/dev/tty",
                "exec 2>&1; stty -echo </dev/tty",
            ] {
                let answer = client.ask(&call(1, "run", sh(script)));
                let output = &answer["result"]["structuredContent"];
                assert!(
                    output["code"].as_i64().is_some_and(|code| code > 0),
                    "{answer}"
                );
                let said = output["stdout"].as_str().expect("text");
                assert!(said.contains("/dev/tty"), "{answer}");
            }
            client.close();
            served.stop();
        },
    );
}

#[test]
fn a_command_inherits_no_descriptor_and_no_ignored_signal() {
    alone_under(
        "exec 7</dev/null 8>&1; trap '' TERM PIPE; exec \"$@\"",
        "command::a_command_inherits_no_descriptor_and_no_ignored_signal",
        || {
            assert!(std::fs::exists("/proc/self/fd/7").expect("Linux lists descriptors"));
            let (served, mut client) = served();
            // By number; what the C library sets for its own signals is above.
            let ignored = "while read name mask; do [ $name = SigIgn: ] && echo $((0x$mask & 0x7fffffff)); done </proc/self/status";
            for directory in ["/", "."] {
                let mut args = sh(&format!("echo /proc/self/fd/*; {ignored}"));
                args["directory"] = json!(directory);
                let answer = client.ask(&call(1, "run", args));
                // The shell's own look at the directory is the last one.
                let expected =
                    "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3\n0\n";
                assert_eq!(
                    answer["result"]["structuredContent"]["stdout"], expected,
                    "{answer}"
                );
            }
            client.close();
            served.stop();
        },
    );
}

#[test]
fn a_command_ends_though_the_kernel_reaps_children() {
    alone_under(
        "exec env --ignore-signal=CHLD \"$@\"",
        "command::a_command_ends_though_the_kernel_reaps_children",
        || {
            let (served, mut client) = served();
            for script in ["echo said", "echo said; exit 3"] {
                let answer = client.ask(&call(1, "run", sh(script)));
                let expected = json!({ "code": null, "signal": null, "stdout": "said\n", "stderr": "", "truncated": false });
                assert_eq!(answer["result"]["structuredContent"], expected);
            }
            // A child of the child's is reaped by the child, which does not ignore the signal.
            let answer = client.ask(&call(1, "run", sh("(exit 3); echo $?")));
            assert_eq!(answer["result"]["structuredContent"]["stdout"], "3\n");
            let pid = start_family(&mut client, "sleep 600 & echo $!; wait");
            client.send(&cancel(1));
            until("the grandchild is gone", || !is_alive(pid));
            served.until_main("the worker is free", |main| main.busy == 0);
            client.close();
            served.stop();
        },
    );
}

/// What waits to be read is read before its silence is judged.
#[test]
fn a_command_that_speaks_while_its_handler_is_busy_is_not_silent() {
    const LIVENESS: Duration = Duration::from_secs(3);
    let place = Place::empty("busy");
    let directory = place.0.clone();
    let server = Server::new("it", "1").tool("run", "", move |cx: &mut RequestContext, _: Value| {
        let file = |name: &str| directory.join(name);
        let script = "echo one; until [ -e heard ]; do sleep 0.05; done; echo two; : > said; until [ -e end ]; do sleep 0.05; done";
        let command = RunCommand::new("sh").args(["-c", script]);
        let command = command.directory(&directory).liveness(LIVENESS);
        let output = command.run_with(cx, |_, line| {
            if line == "two" {
                return std::fs::write(file("end"), "").expect("it is ours");
            }
            std::fs::write(file("heard"), "").expect("it is ours");
            until("it has said more", || file("said").exists());
            // Longer than it may be silent.
            std::thread::sleep(LIVENESS + Duration::from_millis(100));
        });
        output.map(|output| output.stdout)
    });
    let (served, mut client) = Served::pipe(server);
    let answer = client.ask(&call(1, "run", json!({})));
    assert_eq!(text(&answer), "one\ntwo\n");
    client.close();
    served.stop();
}
