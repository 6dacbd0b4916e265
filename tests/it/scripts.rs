//! A file of scripts, by the program that serves, checks and calls it: its commands, its mistakes, its safety.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::child::{self, Finished, is_alive};
use crate::harness::{call, text, until, with_meta};

/// A directory of one test, removed with it.
pub(crate) struct Place(pub(crate) PathBuf);

impl Place {
    pub(crate) fn new(name: &str, file: &str) -> Self {
        let place = std::env::temp_dir().join(format!("it-scripts-{name}-{}", std::process::id()));
        fs::create_dir_all(&place).expect("a directory can be made");
        let place = Place(place.canonicalize().expect("it is there"));
        place.write("tools.toml", 0o644, file);
        place
    }

    pub(crate) fn write(&self, name: &str, mode: u32, text: &str) -> PathBuf {
        let path = self.0.join(name);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).expect("a directory can be made");
        }
        fs::write(&path, text).expect("a file can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
        path
    }

    pub(crate) fn command<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-threads"));
        command.args(words).current_dir(&self.0);
        command
    }

    pub(crate) fn run<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Finished {
        child::run(self.command(words))
    }

    /// The result of a call, as a client would see it.
    pub(crate) fn result<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Value {
        let finished = self.run(["call", "--json"].into_iter().chain(words));
        serde_json::from_str(&finished.stdout)
            .unwrap_or_else(|_| panic!("no result: {finished:#?}"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _gone_already = fs::remove_dir_all(&self.0);
    }
}

const SHOW: &str = r#"
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
name = "guarded"
description = "Prints a word that may be no option."
run = ["printf", "%s", "{one}"]
[tool.args.one]

[[tool]]
name = "shell"
description = "Prints it from a shell line and from its input."
shell = 'printf "%s|" "$ARG_ONE"; cat'
stdin = "{one}"
[tool.args.one]

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
name = "reads"
description = "Reads a file below data."
run = ["cat", "{file}"]
[tool.args.file]
path = { inside = "data", kind = "file" }

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
    let place = Place::new(name, SHOW);
    place.write("data/note", 0o644, "a note");
    place.write("secret", 0o600, "no note");
    std::os::unix::fs::symlink(place.0.join("secret"), place.0.join("data/link")).expect("a link");
    place
}

#[test]
fn check_reports_every_mistake_with_its_place_and_its_cure() {
    let file = "[server]\nnmae = 'x'\n[[tool]]\nname = 'a b'\nrun = ['echo', '{wrod}', '{']\ntimeout = '5 parsecs'\n[tool.args.word]\ntype = 'strng'\npattern = '('\n[[tool]]\nname = 'c'\nrun = []\nclaims = ['none']\nx = 1 2\n";
    let place = Place::new("check", file);
    let finished = place.run(["check"]);
    assert_eq!(finished.status.code(), Some(1));
    for expected in [
        "tools.toml:2:1: error: `nmae` is no key of [server]; did you mean `name`?",
        "tools.toml:4:8: error: `a b` is no name",
        "tools.toml:5:16: error: there is no argument `wrod`; did you mean `{word}`?",
        "tools.toml:5:26: error: `{` stands alone",
        "tools.toml:6:11: error: `timeout` of the tool `a b` is a time such as",
        "tools.toml:8:8: error: `strng` is no type here; did you mean `string`?",
        "tools.toml:9:11: error: `pattern` is no regular expression",
        "tools.toml:12:1: error: `run` is empty",
        "tools.toml:14:",
        "this is not TOML",
    ] {
        assert!(
            finished.stderr.contains(expected),
            "{expected}\n{}",
            finished.stderr
        );
    }
    let good = show("check-good").run(["check"]);
    assert_eq!(
        good.stdout, "tools.toml: 10 tools, 1 resources, 1 prompts\n",
        "{good:#?}"
    );
}

#[test]
fn a_hostile_value_reaches_the_program_as_one_word_or_is_refused() {
    let place = show("hostile");
    let (mut running, mut client) = child::stdio(place.command(["serve", "--stdio"]));
    let long = "x".repeat(100_000);
    let hostile = [
        "; rm -rf .",
        "$(touch gone)",
        "`touch gone`",
        "a\nb",
        "-rf",
        "--",
        "../../etc/passwd",
        "{one}",
        "%s%n",
        "'\"\\",
        "\u{fffd}\u{202e}",
        "",
        long.as_str(),
    ];
    for (id, value) in (0..).zip(hostile) {
        let answer = client.ask(&call(
            3 * id,
            "words",
            json!({ "one": value, "list": [value, "b"] }),
        ));
        let expected = format!("[{value}][--in={value}][{value}][b][--][{value}]");
        assert_eq!(
            answer["result"]["structuredContent"]["exit_code"], 0,
            "{value:.50?}"
        );
        let said = answer["result"]["structuredContent"]["stdout"]
            .as_str()
            .expect("text");
        let is_kept = said == expected || value.len() > 1000 && said.contains("bytes left out");
        assert!(is_kept, "{value:.50?} became {said:.200}");
        let answer = client.ask(&call(3 * id + 1, "shell", json!({ "one": value })));
        let said = answer["result"]["structuredContent"]["stdout"]
            .as_str()
            .expect("text");
        assert!(
            said == format!("{value}|{value}") || value.len() > 1000,
            "{value:.50?} became {said:.200}"
        );
        let answer = client.ask(&call(3 * id + 2, "guarded", json!({ "one": value })));
        assert_eq!(
            answer["result"]["isError"] == true,
            value.starts_with('-'),
            "{answer}"
        );
    }
    for refused in [
        json!({ "one": "a\0b" }),
        json!({ "one": "x".repeat(1_000_000) }),
        json!({ "one": 3 }),
        json!({}),
        json!({ "one": "a", "two": "b" }),
    ] {
        let answer = client.ask(&call(1, "words", refused));
        assert_eq!(answer["result"]["isError"], true, "{answer:.200}");
    }
    assert!(!place.0.join("gone").exists(), "nothing of it was run");
    client.close();
    running.exits_well();
}

#[test]
fn a_path_stays_inside_its_root() {
    let place = show("path");
    let said = place.run(["call", "reads", "--file", "note"]);
    assert_eq!(
        (said.status.code(), said.stdout.as_str()),
        (Some(0), "a note\n")
    );
    for outside in [
        "../secret",
        "link",
        "/etc/passwd",
        "nothing",
        ".",
        "data/../../secret",
    ] {
        let refused = place.run(["call", "reads", "--file", outside]);
        assert_eq!(refused.status.code(), Some(1), "{outside}: {refused:#?}");
        assert!(
            refused.stderr.starts_with("`file` "),
            "{outside}: {refused:#?}"
        );
    }
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
    let (mut running, mut client) = child::stdio(place.command(["serve", "--stdio"]));
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
    client.close();
    running.exits_well();
}

#[test]
fn no_script_outlives_the_program_however_it_ends() {
    for signal in [Signal::TERM, Signal::KILL] {
        let place = show(&format!("orphans-{}", signal.as_raw()));
        let (mut running, mut client) = child::stdio(place.command(["serve", "--stdio"]));
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
fn what_somebody_else_can_write_is_refused_without_trust() {
    let file = "[[tool]]\nname = 'x'\ndescription = 'x'\nrun = ['./x.sh']\n";
    let place = Place::new("trust", file);
    let script = place.write("x.sh", 0o755, "#!/bin/sh\necho ran\n");
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    assert_eq!(place.run(["call", "x"]).stdout, "ran\n");
    for (path, open, closed) in [
        (&script, 0o777, 0o755),
        (&place.0.join("tools.toml"), 0o666, 0o644),
        (&place.0, 0o777, 0o755),
    ] {
        mode(path, open);
        let refused = place.run(["call", "x"]);
        assert_eq!(refused.status.code(), Some(1), "{}", path.display());
        assert!(
            refused.stderr.contains("can be written by anybody"),
            "{refused:#?}"
        );
        assert_eq!(place.run(["call", "--trust", "x"]).stdout, "ran\n");
        mode(path, closed);
    }
}

#[test]
fn the_other_commands_say_what_they_are_for() {
    let place = show("others");
    let list = place.run(["list"]);
    assert!(
        list.stdout
            .contains("words    Prints each of its words between brackets.\n"),
        "{list:#?}"
    );
    let config = place.run(["config"]);
    let config: Value = serde_json::from_str(&config.stdout).expect("JSON");
    let args = json!(["serve", "--stdio", place.0.join("tools.toml")]);
    assert_eq!(config["mcpServers"]["show"]["args"], args);
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
            .contains("answers clients of both eras (10 tools)"),
        "{doctor:#?}"
    );
}

#[test]
fn init_makes_a_file_of_what_is_there() {
    let place = Place::new("init", "");
    place.write("justfile", 0o644, "x := '1'\n# Says hello.\nhello name='you':\n    echo\n_hidden:\n    echo\ndeploy target:\n    echo\n");
    place.write(
        "Makefile",
        0o644,
        "CC = cc\nbuild: dep ## Builds it.\n\tcc\n%.o: %.c\n\tcc\n.PHONY: build\n",
    );
    place.write(
        "package.json",
        0o644,
        r#"{"scripts": {"test": "node t", "pretest": "x", "build:all": "y"}}"#,
    );
    place.write(
        "bin/greet.sh",
        0o755,
        "#!/bin/sh\n# Greets.\n# Politely.\necho \"hi $1\"\n",
    );
    for (from, names) in [
        ("just", "hello\ndeploy"),
        ("make", "build"),
        ("package.json", "test\nbuild-all"),
        ("bin", "greet"),
    ] {
        let made = place.run(["init", "made.toml", "--force", "--from", from]);
        assert_eq!(made.status.code(), Some(0), "{made:#?}");
        let list = place.run(["list", "made.toml"]);
        let found: Vec<_> = list
            .stdout
            .lines()
            .filter_map(|line| line.split(' ').next())
            .collect();
        let expected: Vec<_> = names.lines().collect();
        let (mut found, mut expected) = (found, expected);
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{from}: {list:#?}");
    }
    let greeted = place.run([
        "call",
        "--file",
        "made.toml",
        "greet",
        "--args",
        r#"{"words": ["you"]}"#,
    ]);
    assert_eq!(greeted.stdout, "hi you\n", "{greeted:#?}");
    assert_eq!(
        place.run(["init", "made.toml"]).status.code(),
        Some(1),
        "it is there"
    );
}
