//! A file of scripts, by the program that serves, checks and calls it: its commands, its mistakes, its safety.

use std::fs;

use mcp_threads::{Scripts, Server};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::child::is_alive;
use crate::harness::{Place, Served, call, text, until, with_meta};

pub(crate) const SHOW: &str = r#"
[server]
name = "show"
instructions = "Shows words."

[[tool]]
name = "words"
description = "Prints each of its words between brackets."
run = ["printf", "[%s]", "{one}", "--in={one}", "{list}", "{absent}", "--", "{one}"]
[tool.args.one]
allow_dash = true
required = true
[tool.args.list]
type = "array"
allow_dash = true
[tool.args.absent]

[[tool]]
name = "counts"
description = "Says lines."
shell = "for n in 1 2 3; do echo line $n; done"
output = "lines"

[[tool]]
name = "fails"
description = "Fails."
shell = "echo half done; echo why >&2; exit 7"

[[tool]]
name = "data"
description = "Says JSON."
run = ["printf", '{{"n": %s}}', "{n}"]
output = "json"
[tool.args.n]
type = "integer"
min = 1
max = 9
default = 5

[[tool]]
name = "asks"
description = "Asks first."
run = ["echo", "done"]
confirm = "Do {what}?"
[tool.args.what]
default = "it"

[[tool]]
name = "secret"
description = "Tells a secret."
shell = "echo $TOKEN; echo $TOKEN >&2"
env = { TOKEN = { value = "hunter22", secret = true } }

[[tool]]
name = "sleeps"
description = "Sleeps with a child."
shell = "trap '' TERM; (trap '' TERM; exec sleep 600) & echo $!; wait"
output = "lines"

[[resource]]
uri = "show://about"
name = "about"
shell = "echo about"

[[prompt]]
name = "review"
description = "Asks for a review."
text = "Review {what}."
[prompt.args.what]
required = true
"#;

fn show(name: &str) -> Place {
    Place::new(name, SHOW)
}

#[test]
fn call_ends_as_a_tool_that_promises_a_result_of_its_own() {
    let file = r#"
[[tool]]
name = "promises"
description = "Promises a number, and fails."
shell = "echo why >&2; exit 4"
output = "json"
output_schema = { type = "object", properties = { n = { type = "integer" } } }
"#;
    let place = Place::new("promises", file);
    let finished = place.run(["call", "promises"]);
    assert_eq!(finished.status.code(), Some(4), "{finished:#?}");
}

#[test]
fn call_is_the_command_line_face() {
    let place = show("call");
    let rows: [(&[&str], i32, &str, &str); 7] = [
        (
            &["words", "--one", "a b", "--list", "x", "--list", "y"],
            0,
            "[a b][--in=a b][x][y][--][a b]\n",
            "",
        ),
        (
            &["words", "--args", r#"{"one": "z"}"#],
            0,
            "[z][--in=z][--][z]\n",
            "",
        ),
        (
            &["counts"],
            0,
            "line 1\nline 2\nline 3\n",
            "line 1\nline 2\nline 3\n",
        ),
        (
            &["fails"],
            7,
            "",
            "It failed with exit code 7.\n\nstderr:\nwhy\n\nstdout:\nhalf done\n",
        ),
        (&["data"], 0, "{\"n\": 5}\n", ""),
        (&["secret"], 0, "[secret]\n[secret]\n", ""),
        (
            &["asks"],
            1,
            "",
            "A person has to confirm this (\"Do it?\"), and this client cannot ask one: it does not support elicitation. Nothing was run.\n",
        ),
    ];
    for (words, code, stdout, stderr) in rows {
        let finished = place.run(["call"].into_iter().chain(words.iter().copied()));
        let found = (
            finished.status.code(),
            finished.stdout.as_str(),
            finished.stderr.as_str(),
        );
        assert_eq!(found, (Some(code), stdout, stderr), "{words:?}");
    }
    let refused = place.run(["call", "data", "--n", "12"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:#?}");
    assert!(
        refused.stderr.contains('9'),
        "it says what is allowed: {refused:#?}"
    );
    let confirmed = place.run(["call", "--yes", "asks", "--what", "this"]);
    assert_eq!(confirmed.stdout, "done\n", "{confirmed:#?}");
    let help = place.run(["call", "words", "--help"]);
    assert!(
        help.stdout.contains("--one <STRING>") && help.stdout.contains("may be repeated"),
        "{help:#?}"
    );
    let result = place.result(["data", "--n", "3"]);
    assert_eq!(result["structuredContent"], json!({ "n": 3 }));
    let result = place.result(["fails"]);
    assert_eq!(
        (&result["isError"], &result["structuredContent"]["stderr"]),
        (&json!(true), &json!("why\n"))
    );
}

#[test]
fn serve_reloads_its_file_and_keeps_the_old_one_when_the_new_has_mistakes() {
    let place = show("reload");
    let (mut running, mut client) = place.serve();
    let answer = client.ask(&call(1, "asks", json!({})));
    assert!(
        text(&answer).starts_with("A person has to confirm this"),
        "{answer}"
    );
    fs::write(place.0.join("tools.toml"), "[[tool]]\n").expect("a file can be written");
    running.said("has mistakes; what was served before still is");
    let answer = client.ask(&call(2, "data", json!({})));
    assert_eq!(answer["result"]["structuredContent"], json!({ "n": 5 }));
    let changed = SHOW
        .replace("echo half done", "echo changed")
        .replace("name = \"data\"", "name = \"fresh\"");
    // As editors do it.
    fs::write(place.0.join("new"), changed).expect("a file can be written");
    fs::rename(place.0.join("new"), place.0.join("tools.toml")).expect("it is ours");
    running.said("has changed and is served anew");
    let answer = client.ask(&call(3, "fails", json!({})));
    assert_eq!(answer["result"]["structuredContent"]["stdout"], "changed\n");
    let answer = client.ask(&call(4, "fresh", json!({})));
    assert_eq!(answer["result"]["structuredContent"], json!({ "n": 5 }));
    let answer = client.ask(&call(5, "data", json!({})));
    assert!(answer["error"].is_object(), "it has gone: {answer}");
    assert!(!running.stderr().contains("[server]"), "it is the same");
    let renamed = SHOW.replace("name = \"show\"", "name = \"other\"");
    fs::write(place.0.join("tools.toml"), renamed).expect("a file can be written");
    running.said("the table [server] has changed, which counts when a server starts");
    client.close();
    running.exits_well();
}

#[test]
fn no_script_outlives_the_program_however_it_ends() {
    for signal in [Signal::TERM, Signal::KILL] {
        let place = show(&format!("orphans-{}", signal.as_raw()));
        let (mut running, mut client) = place.serve();
        client.send(&with_meta(
            call(1, "sleeps", json!({})),
            json!({ "progressToken": "p" }),
        ));
        let said = client.recv();
        let pid = said["params"]["message"]
            .as_str()
            .and_then(|line| line.parse().ok());
        let pid = pid.unwrap_or_else(|| panic!("the id of the grandchild: {said}"));
        assert!(is_alive(pid));
        running.signal(signal);
        if signal == Signal::TERM {
            running.signal(signal);
        }
        running.wait();
        until("the grandchild is gone", || !is_alive(pid));
    }
}

#[test]
fn the_other_commands_say_what_they_are_for() {
    let place = show("others");
    let list = place.run(["list"]);
    assert!(
        list.stdout
            .contains("words   Prints each of its words between brackets.\n"),
        "{list:#?}"
    );
    let config = place.run(["config"]);
    let config: Value = serde_json::from_str(&config.stdout).expect("JSON");
    let args = json!(["serve", "--stdio", place.0.join("tools.toml")]);
    assert_eq!(config["mcpServers"]["show"]["args"], args);
    fs::create_dir(place.0.join("o\u{7f}d")).expect("it can be made");
    fs::copy(
        place.0.join("tools.toml"),
        place.0.join("o\u{7f}d/tools.toml"),
    )
    .expect("it is there");
    let codex = place.run(["config", "--client", "codex", "o\u{7f}d/tools.toml"]);
    let is_toml = codex.stdout.contains(r"o\u007fd/tools.toml") && !codex.stdout.contains('\u{7f}');
    assert!(is_toml, "TOML has no DEL in a string: {codex:#?}");
    let skill = place.run(["skill"]).stdout;
    assert!(
        skill.starts_with("---\nname: show\ndescription: \"Shows words.\"\n---\n"),
        "{skill}"
    );
    let doctor = place.run(["doctor"]);
    assert_eq!(doctor.status.code(), Some(0), "{doctor:#?}");
    assert!(
        doctor
            .stdout
            .contains("answers clients of both eras (7 tools)"),
        "{doctor:#?}"
    );
}

#[test]
fn a_newer_file_that_could_not_be_taken_does_not_stand_in_the_way_of_the_next() {
    let place = Place::new("newer", "");
    let file = |names: &[&str]| {
        let tool = |name: &&str| {
            format!(
                "[[tool]]\nname = \"{name}\"\ndescription = \"Prints.\"\nrun = [\"echo\", \"{name}\"]\n"
            )
        };
        let text: String = names.iter().map(tool).collect();
        let path = place.write("tools.toml", 0o644, &text);
        Scripts::load_trusting(path).expect("nothing is wrong with it")
    };
    let mut scripts = file(&["first"]);
    let server = Server::new("it", "1.0.0").tool("own", "The server's.", |_: Value| "own");
    let (served, mut client) = Served::pipe(server.register(scripts.clone()));
    let refused = scripts.update(&served.handle(), file(&["first", "fresh", "own"]));
    assert!(refused.is_err(), "`own` is the server's");
    let taken = scripts.update(&served.handle(), file(&["first", "fresh"]));
    assert!(taken.is_ok(), "{taken:?}");
    for (name, says) in [("fresh", "fresh\n"), ("own", "own")] {
        assert_eq!(text(&client.ask(&call(name, name, json!({})))), says);
    }
    client.close();
    served.stop();
}
