//! A file of scripts at its edges: secrets that are no plain text, outputs that are cut, values that look like something else, files that change oddly.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use mcp_threads::{Limits, Scripts, Server};
use serde_json::{Value, json};

use crate::harness::child::{self, Running};
use crate::harness::{Place, Served, call, code, modern, text};

const SECRETS: &str = r##"
[defaults]
env = { TOKEN = { file = "token" }, PIN = { value = "83524917", secret = true } }

[[tool]]
name = "number"
description = "Tells a secret that is a number in JSON."
shell = 'printf "{\"pin\": %s, \"as\": [1, %s0e-1]}" "$PIN" "$PIN"'
output = "json"

[[tool]]
name = "picture"
description = "Tells a secret in what is no text."
shell = 'printf "\377%s" "$TOKEN"'
output = "image/png"

[[resource]]
uri = "edges://picture"
shell = 'printf "\377%s" "$TOKEN"'

[[resource]]
uri = "edges://bytes"
shell = 'printf "\377\000"'

[[resource]]
uri = "edges://long"
shell = 'printf "%0500d" 0'
output_max = 100
"##;

#[test]
fn a_secret_that_no_program_can_be_given_is_not_shown_either() {
    let place = Place::new("nul", SECRETS);
    // As some editors save ASCII, and one whose NUL comes late.
    let wide: String = "hunter22".chars().map(|char| format!("{char}\0")).collect();
    for secret in [wide, format!("{}\0", "hunter22".repeat(30))] {
        place.write("token", 0o600, secret);
        let said = place.result(["picture"]).to_string();
        assert!(said.contains("`TOKEN`") && said.contains("NUL"), "{said}");
        let doctor = place.run(["doctor"]).stdout;
        assert!(doctor.contains("`TOKEN`"), "{doctor}");
        for part in ["h\\0u", "h\\\\0u", "h\\u0000u", "hunter"] {
            assert!(!said.contains(part), "{said}");
            assert!(!doctor.contains(part), "{doctor}");
        }
    }
}

#[test]
fn a_secret_is_masked_where_it_is_a_number_and_refused_where_nothing_can_be_masked() {
    let place = Place::new("edges", SECRETS);
    place.write("token", 0o600, "hunter22\n");
    let number = place.result(["number"]);
    assert_eq!(
        number["structuredContent"],
        json!({ "pin": "[secret]", "as": [1, "[secret]"] }),
        "{number}"
    );
    let picture = place.result(["picture"]);
    assert!(
        text(&json!({ "result": picture })).contains("secret"),
        "{picture}"
    );
    let (mut running, mut client) = place.serve();
    let mut read = |uri: &str| client.ask(&modern(1, "resources/read", json!({ "uri": uri })));
    let refused = read("edges://picture");
    assert!(refused["error"]["message"].is_string(), "{refused}");
    let bytes = read("edges://bytes");
    assert_eq!(bytes["result"]["contents"][0]["blob"], "/wA=", "{bytes}");
    let long = read("edges://long").to_string();
    assert!(
        long.contains("error") && long.contains("`output_max`"),
        "{long}"
    );
    client.close();
    running.exits_well();
}

const VALUES: &str = r##"
[[tool]]
name = "below"
description = "What the author has written may be below zero."
run = ["echo", "{n}", "{text}"]
[tool.args.n]
type = "integer"
default = -5
[tool.args.text]
default = "-x"

[[tool]]
name = "ranged"
description = "The author counts on numbers below zero."
run = ["echo", "{n}"]
[tool.args.n]
type = "number"
min = -10

[[tool]]
name = "guarded"
description = "Nothing says that it may be below zero."
run = ["echo", "{n}"]
[tool.args.n]
type = "integer"

[[tool]]
name = "chosen"
description = "One of some numbers."
run = ["echo", "{n}"]
[tool.args.n]
one_of = [1, 2.5]

[[tool]]
name = "deletes"
description = "Asks about a list."
run = ["true", "{files}"]
confirm = "Sure?\nThis deletes {files} ({why})."
[tool.args.files]
type = "array"
[tool.args.why]

[[tool]]
name = "product"
description = "More words than any program can be given."
run = ["true", "{one}{list}", "{one}{list}"]
[tool.args.one]
[tool.args.list]
type = "array"
"##;

#[test]
fn a_number_below_zero_is_passed_where_the_author_counts_on_it() {
    let place = Place::new("below", VALUES);
    let said = |tool: &str, args: &str| {
        let result = place.result([tool, "--args", args]);
        text(&json!({ "result": result })).to_owned()
    };
    assert_eq!(said("below", "{}"), "-5 -x\n");
    assert_eq!(said("ranged", r#"{"n": -2.5}"#), "-2.5\n");
    for (tool, args) in [
        ("below", r#"{"n": -6}"#),
        ("below", r#"{"text": "-y"}"#),
        ("guarded", r#"{"n": -6}"#),
    ] {
        let refused = said(tool, args);
        assert!(refused.contains("`allow_dash = true`"), "{args}: {refused}");
    }
    assert_eq!(said("chosen", r#"{"n": 1.0}"#), "1\n");
    assert_eq!(said("chosen", r#"{"n": 2.5}"#), "2.5\n");
    assert!(said("chosen", r#"{"n": 1.5}"#).contains("one of"));
}

#[test]
fn a_question_tells_one_thing_from_two_and_shows_what_cannot_be_seen() {
    let place = Place::new("question", VALUES);
    let asked = |args: Value| {
        let result = place.result(["deletes", "--args", &args.to_string()]);
        text(&json!({ "result": result })).to_owned()
    };
    for (args, question) in [
        (
            json!({ "files": ["a, b", "c"], "why": "old" }),
            "Sure?\nThis deletes \"a, b\", c (old).",
        ),
        (
            json!({ "files": ["a", "b", "c"], "why": "old" }),
            "Sure?\nThis deletes a, b, c (old).",
        ),
        (
            json!({ "files": ["", "a b", "\"a\"", "a\nb"], "why": "x\ny" }),
            r#"Sure?
This deletes "", "a b", "\"a\"", "a\nb" (x\ny)."#,
        ),
        (
            json!({ "files": ["a\u{3164}\u{2800}\u{115f}\u{fe0f}"] }),
            r"Sure?
This deletes a\u{3164}\u{2800}\u{115f}\u{fe0f} ().",
        ),
    ] {
        let said = asked(args);
        assert!(said.contains(question), "{question}: {said}");
    }
}

#[test]
fn law_13_a_program_s_words_have_a_bound_of_their_own() {
    let place = Place::new("product", VALUES);
    let (mut running, mut client) = place.serve();
    let mut said = |one: usize, list: usize| {
        let arguments = json!({ "one": "x".repeat(one), "list": vec!["x"; list] });
        text(&client.ask(&call(1, "product", arguments))).to_owned()
    };
    let refused = said(100_000, 50);
    assert!(refused.contains("the most are 4194304"), "{refused:.300}");
    let refused = said(100_000, 30);
    assert!(refused.contains("the most are 4194304"), "{refused:.300}");
    // No system passes on one so long.
    let by_the_system = said(200_000, 5);
    assert!(
        by_the_system.contains("longer than the system allows"),
        "{by_the_system:.300}"
    );
    client.close();
    running.exits_well();
}

/// What a list of so many numbers takes as a tree.
const fn tree(items: usize) -> usize {
    items * size_of::<Value>()
}

#[test]
fn law_13_arguments_are_not_copied() {
    const ITEMS: usize = 1 << 19;
    let place = Place::new("copies", LISTS);
    let (mut running, mut client) = place.serve();
    for (tool, name, len) in [
        ("counts", "all", 2 * ITEMS + 19),
        ("lists", "items", 2 * ITEMS + 11),
    ] {
        let list = vec![0; ITEMS];
        let (given, few) = match name {
            "all" => (json!({ "all": { "items": list } }), json!({ "all": {} })),
            _ => (json!({ "items": list }), json!({ "items": [] })),
        };
        client.ask(&call(1, tool, few));
        let before = running.memory("VmHWM");
        let answer = client.ask(&call(1, tool, given));
        assert_eq!(
            text(&answer).trim(),
            len.to_string(),
            "{tool}: {answer:.300}"
        );
        let grown = running.memory("VmHWM").saturating_sub(before);
        // The tree, and texts of it.
        assert!(
            grown < tree(ITEMS) * 9 / 8 + (16 << 20),
            "{tool}: it grew by {grown} bytes"
        );
    }
    client.close();
    running.exits_well();
}

#[test]
fn law_13_the_copy_that_is_checked_before_a_call_waits_is_charged() {
    const ITEMS: usize = 1 << 19;
    let place = Place::new("charged", LISTS);
    let scripts = Scripts::load_trusting(place.0.join("tools.toml")).expect("it is right");
    let limits = Limits::default().memory_bytes_max(tree(ITEMS) * 3 / 2 + (4 << 20));
    let (served, mut client) = Served::pipe(scripts.into_server().limits(limits));
    let given = json!({ "all": { "items": vec![0; ITEMS] } });
    let told = client.ask(&call(1, "counts", given.clone()));
    assert!(told["result"]["isError"] != true, "{told:.300}");
    let refused = client.ask(&call(1, "counts_alone", given));
    assert_eq!(code(&refused), 503, "{refused:.300}");
    client.close();
    served.stop();
}

/// What a program said, the text that says it again, and the answer with both.
#[test]
fn law_13_what_a_program_said_is_charged_before_it_is_copied() {
    let place = Place::new("says", SAYS);
    let said = |limits: Limits, tool: &str| {
        let scripts = Scripts::load_trusting(place.0.join("tools.toml")).expect("it is right");
        let (served, mut client) = Served::pipe(scripts.into_server().limits(limits));
        let answer = client.ask(&call(1, tool, json!({})));
        client.close();
        served.stop();
        answer
    };
    let limits = |mib: usize| Limits::default().memory_bytes_max(mib << 20);
    for tool in ["text", "line"] {
        let refused = said(limits(15), tool);
        assert_eq!(code(&refused), 503, "{tool}: {refused:.300}");
        let answer = said(limits(17), tool);
        assert_eq!(text(&answer).len(), 4 << 20, "{tool}: {answer:.300}");
    }
    let refused = said(limits(32).json_tree_bytes_max(8 << 20), "tree");
    assert_eq!(refused["result"]["isError"], true, "{refused:.300}");
    assert!(text(&refused).contains("`Limits::json_tree_bytes_max`"));
    let refused = said(limits(8), "tree");
    assert_eq!(code(&refused), 503, "{refused:.300}");
    let answer = said(limits(64), "tree");
    let tree = answer["result"]["structuredContent"]["lists"].as_array();
    assert_eq!(tree.map(Vec::len), Some(300_001), "{answer:.300}");
}

const SAYS: &str = r#"
[[tool]]
name = "text"
description = "Says much."
shell = "head -c 4194304 /dev/zero | tr '\\0' x"
output_max = "4 MiB"

[[tool]]
name = "line"
description = "Says much as JSON."
shell = "printf '{\"x\":\"'; head -c 4194296 /dev/zero | tr '\\0' x; printf '\"}'"
output = "json"
output_max = "4 MiB"

[[tool]]
name = "tree"
description = "Says many values."
shell = "printf '{\"lists\":['; yes '[],' | head -n 300000 | tr -d '\\n'; printf '[]]}'"
output = "json"
output_max = "4 MiB"
"#;

const LISTS: &str = r#"
[[tool]]
name = "counts"
description = "Counts the bytes of its input."
run = ["wc", "-c"]
stdin = "json"
args.all = { type = "object" }

[[tool]]
name = "counts_alone"
description = "The same, and waits for its turn."
run = ["wc", "-c"]
stdin = "json"
concurrency = 1
args.all = { type = "object" }

[[tool]]
name = "lists"
description = "Counts the bytes of all it is given, which is in no word of it."
run = ["wc", "-c"]
stdin = "json"
args.items = { type = "array", items = "integer" }
"#;

fn tools(rows: &[(&str, &str)]) -> String {
    let tool = |(name, says): &(&str, &str)| {
        format!(
            "[[tool]]\nname = \"{name}\"\ndescription = \"Prints.\"\nrun = [\"echo\", \"{says}\"]\n"
        )
    };
    rows.iter().map(tool).collect()
}

#[test]
fn a_newer_file_that_is_refused_changes_nothing() {
    let place = Place::new("half", "");
    let file = |rows: &[(&str, &str)]| {
        let path = place.write("tools.toml", 0o644, tools(rows));
        Scripts::load_trusting(path).expect("nothing is wrong with it")
    };
    let mut scripts = file(&[("first", "one"), ("gone", "there")]);
    let server = Server::new("it", "1.0.0").tool("own", "The server's.", |_: Value| "own");
    let (served, mut client) = Served::pipe(server.register(scripts.clone()));
    let refused = scripts.update(
        &served.handle(),
        file(&[("first", "two"), ("fresh", "it"), ("own", "it")]),
    );
    assert!(refused.is_err(), "`own` is the server's");
    for (name, says) in [("first", "one\n"), ("gone", "there\n"), ("own", "own")] {
        assert_eq!(text(&client.ask(&call(name, name, json!({})))), says);
    }
    let fresh = client.ask(&call(1, "fresh", json!({})));
    assert!(fresh["error"].is_object(), "{fresh}");
    client.close();
    served.stop();
}

/// Serves a file that is changed by `change`, and waits until the change has been seen.
#[track_caller]
fn seen(place: &Place, file: &str, change: impl FnOnce(&mut Running)) {
    let (mut running, mut client) = child::stdio(place.command(["serve", "--stdio", file]));
    let said = text(&client.ask(&call(1, "says", json!({})))).to_owned();
    assert_eq!(said, "one\n");
    change(&mut running);
    running.said("has changed and is served anew");
    let said = text(&client.ask(&call(2, "says", json!({})))).to_owned();
    assert_eq!(said, "two\n");
    client.close();
    running.exits_well();
}

fn point(link: &Path, to: &str) {
    let new = link.with_extension("new");
    symlink(to, &new).expect("a link can be made");
    fs::rename(new, link).expect("it is ours");
}

#[test]
fn a_file_behind_links_is_read_again_when_a_link_is_switched() {
    let place = Place::empty("links");
    for (directory, says) in [("v1", "one"), ("v2", "two")] {
        place.write(
            &format!("{directory}/tools.toml"),
            0o644,
            tools(&[("says", says)]),
        );
    }
    // As a ConfigMap is mounted.
    point(&place.0.join("data"), "v1");
    point(&place.0.join("tools.toml"), "data/tools.toml");
    seen(&place, "tools.toml", |_| point(&place.0.join("data"), "v2"));
    // As a profile is switched: a directory on the way is the link.
    point(&place.0.join("profile"), "v1");
    seen(&place, "profile/tools.toml", |_| {
        point(&place.0.join("profile"), "v2");
    });
}

#[test]
fn a_file_is_read_again_after_its_directory_was_made_anew() {
    let place = Place::empty("anew");
    place.write("sub/tools.toml", 0o644, tools(&[("says", "one")]));
    seen(&place, "sub/tools.toml", |_| {
        fs::remove_dir_all(place.0.join("sub")).expect("it is ours");
        place.write("sub/tools.toml", 0o644, tools(&[("says", "two")]));
    });
}

#[test]
fn a_file_is_read_again_though_a_pipe_stood_in_its_place() {
    let place = Place::new("piped", &tools(&[("says", "one")]));
    seen(&place, "tools.toml", |_| {
        for says in [vec!["one"; 20], vec!["two"]].concat() {
            let pipe = place.pipe("pipe");
            fs::rename(pipe, place.0.join("tools.toml")).expect("it is ours");
            // Meanwhile the pipe is looked at.
            place.run(["list", "other.toml"]);
            place.write("tools.toml", 0o644, tools(&[("says", says)]));
        }
    });
}

#[test]
fn a_server_beyond_loopback_is_told_its_hosts() {
    let place = Place::new("beyond", &tools(&[("says", "one")]));
    let refused = place.run(["serve", "--http", "0.0.0.0:0"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:#?}");
    assert!(refused.stderr.contains("`--allow-host`"), "{refused:#?}");
    let mut command = place.command([
        "serve",
        "--http",
        "0.0.0.0:0",
        "--allow-host",
        "a.example",
        "--allow-host",
        "b.example",
    ]);
    command.stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::null());
    let running = child::start(command);
    running.said("serving 1 tool of tools at http://a.example:");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_mistake() {
    let fails = "[[tool]]\nname = \"fails\"\ndescription = \"Fails.\"\nshell = \"exit 3\"\n";
    let place = Place::new("enough", &(tools(&[("says", "one")]) + fails));
    let words: [(&[&str], i32); 7] = [
        (&["list"], 0),
        (&["list", "--json"], 0),
        (&["check"], 0),
        (&["skill"], 0),
        (&["config"], 0),
        // What nobody will read is not waited for.
        (&["call", "says"], 141),
        (&["call", "--json", "fails"], 141),
    ];
    for (words, code) in words {
        let (reader, writer) = std::io::pipe().expect("a pipe can be made");
        drop(reader);
        let mut command = place.command(words.iter().copied());
        command.stdin(std::process::Stdio::null()).stdout(writer);
        let mut running = child::start(command);
        let finished = running.wait();
        assert_eq!(
            finished.status.code(),
            Some(code),
            "{words:?}: {finished:#?}"
        );
        let is_quiet = !finished.stderr.to_lowercase().contains("broken pipe");
        assert!(is_quiet, "{words:?}: {finished:#?}");
    }
    // It need not be written for it to have failed.
    let mut command = place.command(["call", "--json", "fails"]);
    let full = fs::File::options().write(true).open("/dev/full");
    command.stdin(std::process::Stdio::null());
    command.stdout(full.expect("Linux has it"));
    assert_eq!(child::start(command).wait().status.code(), Some(3));
}

#[test]
fn a_call_is_cancelled_when_the_reader_of_its_result_leaves() {
    let runs = "shell = 'echo runs as $$; exec sleep 6000'\noutput = 'lines'";
    for kind in ["", "job = true"] {
        let tool = format!("[[tool]]\nname = 'x'\ndescription = 'x'\n{runs}\n{kind}\n");
        let place = Place::new("leaves", &tool);
        let (reader, writer) = std::io::pipe().expect("a pipe can be made");
        let mut command = place.command(["call", "x"]);
        command.stdin(std::process::Stdio::null()).stdout(writer);
        let mut running = child::start(command);
        let said = running.said("runs as ");
        drop(reader);
        let finished = running.wait();
        assert_eq!(finished.status.code(), Some(141), "{finished:#?}");
        assert_eq!(finished.stderr.trim_end(), said, "it ends quietly");
        let pid = said.trim_start_matches("runs as ").parse();
        assert!(!child::is_alive(pid.expect("a number")));
    }
}

#[test]
fn a_script_that_somebody_else_can_write_is_found_wherever_its_interpreter_stands() {
    let place = Place::new("found", "");
    place.write("s.sh", 0o644, "echo ran\n");
    place.write("data.txt", 0o666, "data\n");
    let run = |runs: &str| {
        let text = format!("[[tool]]\nname = 'x'\ndescription = 'x'\n{runs}\n");
        place.write("tools.toml", 0o644, text);
        place.run(["call", "x"])
    };
    for runs in [
        "run = ['sh', 's.sh']",
        "run = ['env', 'sh', 's.sh']",
        "run = ['sh', '-o', 'errexit', 's.sh']",
        "run = ['timeout', '60', '/bin/sh', './s.sh']",
        "run = ['env', 'sh', '-c', '. ./s.sh']",
        "shell = 'sh s.sh'",
        "shell = 'true && . ./s.sh'",
    ] {
        place.write("s.sh", 0o644, "echo ran\n");
        let ran = run(runs);
        assert_eq!(ran.stdout, "ran\n", "{runs}: {ran:#?}");
        place.write("s.sh", 0o666, "echo ran\n");
        let refused = run(runs);
        assert!(
            refused.stderr.contains("can be written by anybody"),
            "{runs}: {refused:#?}"
        );
    }
    // What is only read is not run.
    for runs in ["run = ['cat', 'data.txt']", "shell = 'cat data.txt'"] {
        assert_eq!(run(runs).stdout, "data\n", "{runs}");
    }
}

const OVERRIDDEN: &str = r##"
[defaults]
env = { T = { from = "IT_SCRIPTS_NOT_SET" }, S = { value = "hunter22", secret = true } }

[[tool]]
name = "own"
description = "Has values of its own."
shell = 'echo "$T $S hunter22"'
env = { T = "x", S = { value = "y", secret = false } }
"##;

#[test]
fn a_default_variable_that_a_tool_writes_anew_need_not_be_there_and_hides_nothing() {
    let place = Place::new("overridden", OVERRIDDEN);
    let said = place.run(["call", "own"]);
    assert_eq!(
        (said.stdout.as_str(), said.status.code()),
        ("x y hunter22\n", Some(0)),
        "{said:#?}"
    );
}
