//! A file of scripts against those who mean harm: what a model writes, what a secret is, who else may write where the scripts are.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use mcp_threads::Scripts;
use serde_json::{Value, json};

use crate::asking::accept;
use crate::harness::{PipeClient, Place, call, modern, on_every_talk, text, with_meta};

/// Every form in which a value reaches a program, and one in which it must not.
const FORMS: &str = r##"
[defaults]
output_max = "4 MiB"

[[tool]]
name = "words"
description = "Whole, in part, spread, spread in part, beside another, absent, behind the end of options."
run = ["printf", "[%s]", "{one}", "--in={one}", "{list}", "-l{list}", "{one}{two}", "{absent}", "--", "{one}"]
env = { LITERAL = "{one}" }
[tool.args.one]
allow_dash = true
required = true
[tool.args.two]
allow_dash = true
default = "."
[tool.args.list]
type = "array"
allow_dash = true
[tool.args.absent]

[[tool]]
name = "product"
description = "Each item of an array behind the same text."
run = ["printf", "[%s]", "{one}{list}"]
[tool.args.one]
[tool.args.list]
type = "array"

[[tool]]
name = "guarded"
description = "Words that may be no option, at the beginning of one, behind an empty one, spread."
run = ["printf", "[%s]", "{one}", "{empty}{one}", "{list}", "in {one}"]
[tool.args.one]
[tool.args.empty]
[tool.args.list]
type = "array"

[[tool]]
name = "shell"
description = "In the environment of a shell line, and as its input."
shell = 'printf "%s|" "$ARG_ONE"; cat'
stdin = "{one}"
[tool.args.one]

[[tool]]
name = "json"
description = "In the JSON of all arguments, in the environment and as input."
shell = 'printf "%s\n" "$ARGS_JSON"; cat'
stdin = "json"
output = "lines"
[tool.args.one]
[tool.args.object]
type = "object"

[[tool]]
name = "fed"
description = "As input alone, however long."
run = ["cat"]
stdin = "{one}"
[tool.args.one]

[[prompt]]
name = "prompt"
text = "Say {one}!"
[prompt.args.one]

[[prompt]]
name = "listed"
text = "Say {items}!"
[prompt.args.items]
type = "array"
"##;

#[test]
fn a_hostile_value_reaches_the_program_as_one_word_or_is_refused() {
    let place = Place::new("hostile", FORMS);
    let (mut running, mut client) = place.serve();
    let long = "x".repeat(100_000);
    let hostile = [
        "; rm -rf .",
        "$(touch gone)",
        "`touch gone`",
        "| touch gone",
        "&& touch gone",
        "> gone",
        "a\nb\r\nc",
        "a\n",
        "-rf",
        "--",
        "--in=x",
        "../../etc/passwd",
        "/etc/passwd",
        "{one}",
        "{{",
        "}",
        "%s%n",
        "*",
        "~",
        "$HOME",
        "'\"\\",
        "\u{1b}[2J",
        "\u{7f}",
        "\u{fffd}\u{202e}",
        " ",
        "",
        long.as_str(),
    ];
    for value in hostile {
        let mut said = |tool: &str, arguments: Value| {
            let answer = client.ask(&call(1, tool, arguments));
            let said = answer["result"]["structuredContent"]["stdout"].as_str();
            said.map_or_else(|| Err(text(&answer).to_owned()), |said| Ok(said.to_owned()))
        };
        let words = said("words", json!({ "one": value, "list": [value, "b"] }));
        let expected = [
            value,
            &format!("--in={value}"),
            value,
            "b",
            &format!("-l{value}"),
            "-lb",
            &format!("{value}."),
            "--",
            value,
        ];
        let expected: String = expected.iter().map(|word| format!("[{word}]")).collect();
        assert_eq!(words, Ok(expected), "{value:.50?}");
        assert_eq!(
            said("shell", json!({ "one": value })),
            Ok(format!("{value}|{value}")),
            "{value:.50?}"
        );
        assert_eq!(
            said("fed", json!({ "one": value })),
            Ok(value.to_owned()),
            "{value:.50?}"
        );
        let all = json!({ "one": value, "object": { value: [value] } });
        let found = said("json", all.clone()).unwrap_or_default();
        // Twice in the environment it is longer than the system allows.
        if value.len() < 50_000 {
            assert_eq!(found, format!("{all}\n{all}"), "{value:.50?}");
        }
        let guarded = [
            json!({ "one": value }),
            json!({ "empty": "", "one": value }),
            json!({ "list": ["b", value] }),
        ];
        for arguments in guarded {
            let refused =
                said("guarded", arguments).is_err_and(|why| why.contains("begins with `-`"));
            assert_eq!(refused, value.starts_with('-'), "{value:.50?}");
        }
        let prompt = json!({ "name": "prompt", "arguments": { "one": value } });
        let prompt = client.ask(&modern(1, "prompts/get", prompt));
        let message = &prompt["result"]["messages"][0]["content"]["text"];
        assert_eq!(*message, format!("Say {value}!"), "{value:.50?}");
    }
    let megabyte = "x".repeat(1_000_000);
    let fed = client.ask(&call(1, "fed", json!({ "one": megabyte })));
    assert_eq!(fed["result"]["structuredContent"]["stdout"], megabyte);
    // A text that becomes a tree is one.
    for (items, expected) in [
        ("[\"a\", \"b\"]", "Say a, b!"),
        ("a", "Say a!"),
        (
            &format!("[{}]", vec!["[0]"; 700_000].join(",")),
            "`Limits::json_tree_bytes_max`",
        ),
    ] {
        let prompt = json!({ "name": "listed", "arguments": { "items": items } });
        let answer = client.ask(&modern(1, "prompts/get", prompt)).to_string();
        assert!(answer.contains(expected), "{answer:.300}");
    }
    let product = json!({ "one": megabyte, "list": vec!["x"; 200] });
    let answer = client.ask(&call(1, "product", product));
    assert!(text(&answer).contains("too many bytes"), "{answer:.200}");
    for (tool, refused) in [
        ("words", json!({ "one": "a\0b" })),
        ("words", json!({ "one": "a", "list": ["a\0b"] })),
        ("shell", json!({ "one": "a\0b" })),
        ("fed", json!({ "one": "a\0b" })),
        ("words", json!({ "one": megabyte })),
        ("shell", json!({ "one": megabyte })),
        ("words", json!({ "one": 3 })),
        ("words", json!({ "one": ["a"] })),
        ("words", json!({ "one": "a", "list": "b" })),
        ("words", json!({})),
        ("words", json!({ "one": "a", "three": "b" })),
        ("words", json!(["a"])),
    ] {
        let answer = client.ask(&call(1, tool, refused));
        let is_refused = answer["result"]["isError"] == true || answer["error"].is_object();
        assert!(is_refused, "{answer:.200}");
    }
    // Half of a character is no text, in JSON or in a word.
    client.send_line(r#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"words","arguments":{"one":"\ud800"}}}"#);
    assert!(client.recv()["error"].is_object());
    let mut command = place.command(["call", "words", "--one"]);
    command.arg(std::ffi::OsStr::from_bytes(b"a\xffb"));
    let refused = crate::harness::child::run(command);
    assert_eq!(
        (refused.status.code(), refused.stdout.as_str()),
        (Some(2), ""),
        "{refused:#?}"
    );
    assert!(!place.0.join("gone").exists(), "nothing of it was run");
    client.close();
    running.exits_well();
}

const PATHS: &str = r##"
[[tool]]
name = "reads"
description = "Reads a file below data."
run = ["cat", "{file}"]
[tool.args.file]
path = { inside = "data", kind = "file" }

[[tool]]
name = "asks"
description = "Asks before it reads one."
run = ["cat", "{file}"]
confirm = "Read {file}?"
[tool.args.file]
path = { inside = "data", kind = "file" }

[[tool]]
name = "makes"
description = "Names a file that there may not be yet."
run = ["echo", "{file}"]
[tool.args.file]
path = { inside = "data" }
"##;

fn paths(name: &str) -> Place {
    let place = Place::new(name, PATHS);
    place.write("data/note", 0o644, "a note");
    place.write("data/other", 0o644, "another note");
    place.write("database", 0o644, "no note");
    place.write("secret", 0o600, "no note");
    for (to, link) in [
        ("secret", "data/link"),
        ("nowhere", "data/dangling"),
        ("", "data/up"),
    ] {
        symlink(place.0.join(to), place.0.join(link)).expect("a link can be made");
    }
    place
}

#[test]
fn a_path_stays_inside_its_root() {
    let place = paths("path");
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
        "",
        "data/../../secret",
        "up/secret",
        "../database",
        "note/../../secret",
        "note/",
        "note/x",
    ] {
        let refused = place.run(["call", "reads", "--file", outside]);
        assert_eq!(refused.status.code(), Some(1), "{outside}: {refused:#?}");
        assert!(
            refused.stderr.starts_with("`file` "),
            "{outside}: {refused:#?}"
        );
    }
    for outside in [
        "../new",
        "up/new",
        "dangling",
        "dangling/new",
        "no/../../new",
        "/tmp/new",
    ] {
        let refused = place.run(["call", "makes", "--file", outside]);
        assert!(
            refused.stderr.starts_with("`file` "),
            "{outside}: {refused:#?}"
        );
    }
    let new = place.run(["call", "makes", "--file", "new/file"]).stdout;
    assert_eq!(
        new,
        format!("{}\n", place.0.join("data/new/file").display())
    );
}

#[test]
fn what_a_person_has_confirmed_is_what_is_read() {
    let place = paths("swapped");
    let link = place.0.join("data/chosen");
    let point_to = |to: &str| {
        let _not_there = fs::remove_file(&link);
        symlink(place.0.join("data").join(to), &link).expect("a link can be made");
    };
    let scripts = Scripts::load_trusting(place.0.join("tools.toml")).expect("it has no mistakes");
    let form = json!({ "elicitation": { "form": {} } });
    on_every_talk(
        || scripts.clone().into_server(),
        &form,
        |talk| {
            point_to("note");
            let mut asked = Vec::new();
            let answer = talk.call("asks", json!({ "file": "chosen" }), |_, params| {
                asked.push(params["message"].as_str().unwrap_or_default().to_owned());
                point_to("other");
                accept(json!({ "confirm": true }))
            });
            let of = |name: &str| asked.iter().filter(|asked| asked.contains(name)).count();
            assert_eq!(of("data/note"), 1, "{asked:?}");
            match text(&answer) {
                // Asked in rounds, the person is asked again, about what it is now.
                "another note" => assert_eq!(of("data/other"), 1, "{asked:?}"),
                why => assert!(why.contains("has changed meanwhile"), "{answer}"),
            }
        },
    );
}

const SECRETS: &str = r##"
[defaults]
env = { TOKEN = { file = "token" }, PIN = { value = "83524917", secret = true } }

[[tool]]
name = "tells"
description = "Tells."
shell = 'echo "$TOKEN $PIN"; echo "$TOKEN" >&2'

[[tool]]
name = "fails"
description = "Fails, and tells why."
shell = 'echo "not with $TOKEN" >&2; exit 3'

[[tool]]
name = "late"
description = "Tells, and does not end."
shell = 'echo "with $TOKEN"; exec sleep 600'
timeout = "4s"

[[tool]]
name = "silent"
description = "Tells, and says no more."
shell = 'echo "with $TOKEN"; exec sleep 600'
liveness = "4s"

[[tool]]
name = "lines"
description = "Tells in lines: a whole one, one that is cut because it is long, one that is shown before it has ended."
shell = 'echo "$TOKEN"; printf "%1016s%s\n" . "$TOKEN"; printf "%s" "half $HALF"; sleep 0.5; echo "${TOKEN#"$HALF"}"'
output = "lines"
env = { HALF = "hunter2-p" }

[[tool]]
name = "json"
description = "Tells in JSON."
shell = '''printf '{"a": "%s", "%s": [1, "hunter2-p\\u00e4ssword-4711", "hunter2-p\\u00e4ssw\\u006frd-4711"]}' "$TOKEN" "$PIN"'''
output = "json"

[[tool]]
name = "cut"
description = "Tells where the middle is left out, and before it something that looks like that."
shell = 'printf "\n[... 9 bytes left out ...]\n%s" "aaaaaaaaaaaaaaa$TOKEN"; printf "%0500d" 0; printf "%s%s" "$TOKEN" "bbbbbbbbbbbbbbbbbbbbbbbbbbbb"'
output_max = 100

[[tool]]
name = "no_program"
description = "Cannot be started."
run = ["./hunter2-pässword-4711"]

[[resource]]
uri = "secrets://tells"
shell = 'echo "$TOKEN"'

[[resource]]
uri = "secrets://fails"
shell = 'echo "$TOKEN" >&2; exit 3'
"##;

/// Everything that came on the wire up to this answer.
fn heard(client: &mut PipeClient, message: &Value) -> String {
    client.send(message);
    let mut heard = String::new();
    loop {
        let came = client.recv();
        heard.push_str(&came.to_string());
        if came["id"] == message["id"] {
            return heard;
        }
    }
}

#[test]
fn no_secret_leaves_the_server() {
    let place = Place::new("secrets", SECRETS);
    place.write("token", 0o600, "hunter2-pässword-4711\n");
    let mut command = place.command(["serve", "--stdio"]);
    command.env("RUST_LOG", "trace");
    let (mut running, mut client) = crate::harness::child::stdio(command);
    let shown = |what: &str, said: &str| {
        for part in ["hunter2", "ssword-47", "83524917", "ssword"] {
            assert!(!said.contains(part), "{what} shows {part}: {said}");
        }
    };
    for tool in [
        "tells",
        "fails",
        "late",
        "silent",
        "lines",
        "json",
        "cut",
        "no_program",
    ] {
        let message = with_meta(call(1, tool, json!({})), json!({ "progressToken": "p" }));
        let said = heard(&mut client, &message);
        if tool != "no_program" {
            assert!(said.contains("[secret]"), "{tool}: {said}");
            shown(tool, &said);
        }
        let called = place.run(["call", tool]);
        if tool != "no_program" {
            shown(tool, &format!("{called:?}"));
        }
    }
    for uri in ["secrets://tells", "secrets://fails"] {
        let said = heard(
            &mut client,
            &modern(1, "resources/read", json!({ "uri": uri })),
        );
        shown(uri, &said);
    }
    client.close();
    running.exits_well();
    shown("the log", &running.stderr());
}

#[test]
fn what_somebody_else_can_write_is_refused_without_trust() {
    let place = Place::new("trust", "");
    let file = place.0.join("mine/tools.toml");
    let script = place.write("mine/bin/x.sh", 0o755, "#!/bin/sh\necho ran\n");
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    let run = |words: &[&str]| {
        place.run(
            ["call", "--file", "mine/tools.toml"]
                .iter()
                .chain(words)
                .copied(),
        )
    };
    for runs in [
        "run = ['bin/x.sh']",
        "run = ['./bin/x.sh']",
        "run = ['sh', '-u', 'bin/x.sh']",
        "run = ['env', 'A=b', 'bin/x.sh']",
        "run = ['timeout', '60', './bin/x.sh']",
        "shell = 'bin/x.sh'",
        "shell = 'cd .; (./bin/x.sh)'",
    ] {
        let text = format!("[[tool]]\nname = 'x'\ndescription = 'x'\n{runs}\n");
        place.write("mine/tools.toml", 0o644, &text);
        assert_eq!(run(&["x"]).stdout, "ran\n", "{runs}");
        for (path, open, closed) in [
            (&*script, 0o777, 0o755),
            (&file, 0o666, 0o644),
            (script.parent().expect("it has one"), 0o777, 0o755),
            (&place.0.join("mine"), 0o777, 0o755),
            (&place.0, 0o777, 0o755),
        ] {
            mode(path, open);
            let refused = run(&["x"]);
            assert_eq!(refused.status.code(), Some(1), "{runs}, {}", path.display());
            assert!(
                refused.stderr.contains("can be written by anybody"),
                "{refused:#?}"
            );
            assert_eq!(run(&["--trust", "x"]).stdout, "ran\n");
            mode(path, closed);
        }
        // As `/tmp` is.
        mode(&place.0, 0o1777);
        assert_eq!(run(&["x"]).stdout, "ran\n", "{runs}");
        mode(&place.0, 0o755);
    }
    // Nothing of what cannot be trusted is read.
    place.write("mine/tools.toml", 0o644, "no TOML at all");
    mode(&file, 0o666);
    let refused = run(&["x"]);
    assert!(
        refused.stderr.contains("can be written by anybody"),
        "{refused:#?}"
    );
    // A script that is not there yet, where anybody could put one.
    fs::create_dir(place.0.join("mine/later")).expect("a directory can be made");
    mode(&place.0.join("mine/later"), 0o1777);
    for runs in [
        "['sh', 'later/x.sh']",
        "['./later/x.sh']",
        "['sh', 'later/on/x.sh']",
    ] {
        let text = format!("[[tool]]\nname = 'x'\ndescription = 'x'\nrun = {runs}\n");
        place.write("mine/tools.toml", 0o644, &text);
        let refused = run(&["x"]);
        assert_eq!(refused.status.code(), Some(1), "{runs}");
        assert!(
            refused.stderr.contains("can be written by anybody"),
            "{refused:#?}"
        );
    }
    let text =
        "[[tool]]\nname = 'x'\ndescription = 'x'\nrun = ['sh', '-c', 'echo ran']\ncwd = 'later'\n";
    place.write("mine/tools.toml", 0o644, text);
    assert_eq!(run(&["x"]).stdout, "ran\n");
    // A link to a good file from where anybody could put another link.
    fs::create_dir(place.0.join("open")).expect("a directory can be made");
    symlink(&file, place.0.join("open/tools.toml")).expect("a link can be made");
    let linked = || place.run(["call", "--file", "open/tools.toml", "x"]);
    assert_eq!(linked().stdout, "ran\n");
    mode(&place.0.join("open"), 0o777);
    assert!(linked().stderr.contains("can be written by anybody"));
}
