//! The way of somebody who has scripts and no server: what the README shows, and a first file from whatever is there.

use std::process::Command;

use crate::harness::{Place, child};

const README: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"));

/// What the README shows of a console, as commands and what they print.
fn shown() -> Vec<(String, String)> {
    let section = README
        .split("## Scripts: one file, three faces")
        .nth(1)
        .expect("there is one");
    let console = section
        .split("```console\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let console = console.expect("it shows a console");
    let commands = console.split("$ ").skip(1);
    let split = |shown: &str| {
        let (command, said) = shown.split_once('\n').expect("a command ends");
        (command.to_owned(), said.to_owned())
    };
    commands.map(split).collect()
}

#[test]
fn the_readme_shows_what_one_sees() {
    let place = Place::new("journey", "");
    let scripts = [
        (
            "backup",
            "Copies the data of a day into an archive.",
            "echo '1 of 2: parts'; echo '2 of 2: orders'; echo \"$1.tar is there\"",
        ),
        (
            "deploy",
            "Puts a version on the server.",
            "echo \"$1 is on the server\"",
        ),
        ("disk", "Says how full the disks are.", "df"),
        ("logs", "Shows the last lines of the log.", "tail log"),
        ("users", "Says who is logged in.", "who"),
    ];
    for (name, about, does) in scripts {
        place.write(
            &format!("workshop/{name}.sh"),
            0o755,
            format!("#!/bin/sh\n# {about}\n{does}\n"),
        );
    }
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_mcp-threads"));
    let workshop = place.0.join("workshop");
    let mut ran = 0;
    for (command, said) in shown().into_iter().skip(1) {
        let mut shell = Command::new("sh");
        let path = format!(
            "{}:/usr/bin:/bin",
            program.parent().expect("it has one").display()
        );
        shell.args(["-c", &format!("{{ {command}\n}} 2>&1")]);
        shell
            .current_dir(&workshop)
            .env("HOME", &place.0)
            .env("PATH", path);
        let finished = child::run(shell);
        let program = program.to_string_lossy();
        let found = finished
            .stdout
            .replace(&*program, "/home/you/.cargo/bin/mcp-threads");
        let found = found.replace(&*place.0.to_string_lossy(), "/home/you");
        assert_eq!(found, said, "{command}");
        ran += 1;
    }
    assert!(ran >= 9, "{ran}");
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

#[test]
fn whatever_init_finds_it_writes_a_file_without_mistakes() {
    let place = Place::new("init-all", "");
    let just = "set shell := ['sh']\nx := 'a:b'\nalias b := build\n# Builds \"it\".\nbuild target='all the things' mode=x:\n    echo\n[confirm]\nwipe:\n    rm\n[private]\nhid:\n    x\ngreet +names: build\n    echo\nspaced a=('b' + 'c') $d='e' LONG='f':\n    x\n";
    let just = just.replace("LONG", &"l".repeat(65));
    place.write("justfile", 0o644, just);
    let make = "CC = cc\nURL ?= http://x:80\nV := a:b\n.PHONY: all\nall: main.o ## Everything\nclean::\n\trm\nifeq ($(A),b:c)\nendif\ndefine X\nfoo: bar\nendef\n$(OUT): x\nmain.o: main.c\n";
    place.write("Makefile", 0o644, make);
    let package = r#"{"scripts": {"build:{x}": "vite {{", "all": "y", "\u007f": "z"}}"#;
    place.write("package.json", 0o644, package);
    place.write(
        "scripts/od{d.sh",
        0o755,
        "#!/bin/sh\n# Braces {in} it, a \u{7f}, and a \\.\necho \"odd $1\"\n",
    );
    place.write("top.sh", 0o755, "#!/bin/sh\necho top\n");
    place.write("not_yet.sh", 0o644, "#!/bin/sh\necho top\n");
    std::fs::remove_file(place.0.join("tools.toml")).expect("it is there");
    let made = place.run(["init"]);
    assert_eq!(made.status.code(), Some(0), "{made:#?}");
    assert_eq!(
        made.stdout.lines().next(),
        Some(
            "tools.toml written, with 4 tools from just, 2 tools from make, 3 tools from package.json, 1 tool from scripts, 1 tool from this directory."
        )
    );
    assert!(
        made.stderr.contains("`not_yet.sh` is not executable"),
        "{made:#?}"
    );
    let checked = place.run(["check"]);
    assert_eq!(
        checked.stdout, "tools.toml has no mistakes: 11 tools, 0 resources, 0 prompts\n",
        "{checked:#?}"
    );
    let list = place.run(["list"]).stdout;
    let names: Vec<_> = list
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(
        names,
        [
            "build",
            "wipe",
            "greet",
            "spaced",
            "all",
            "clean",
            "build--x",
            "package-all",
            "tool",
            "od-d",
            "top"
        ]
    );
    let odd = place.run(["call", "od-d", "--words", "{x}"]);
    assert_eq!(odd.stdout, "odd {x}\n", "{odd:#?}");
    let refused = place.run(["call", "greet"]);
    assert!(
        refused.stderr.contains("names"),
        "one or more: {refused:#?}"
    );
    // What `just` puts into its shell lines may mean nothing to a shell, and an author's own words may.
    for value in [
        "a; rm -rf .",
        "$(x)",
        "`x`",
        "a b",
        "-x",
        "a\nb",
        "a|b",
        "'",
    ] {
        let refused = place.run(["call", "build", "--target", value, "--mode", "x"]);
        assert!(
            refused.stdout.is_empty() && refused.stderr.contains("target"),
            "{value}: {refused:#?}"
        );
        let refused = place.run(["call", "greet", "--names", value]);
        assert!(
            refused.stdout.is_empty() && refused.stderr.contains("names"),
            "{value}: {refused:#?}"
        );
    }
    // A person is asked before what sounds dangerous, or says so itself.
    for tool in ["wipe", "clean"] {
        let refused = place.run(["call", tool]);
        assert!(
            refused.stderr.contains("A person has to confirm this"),
            "{refused:#?}"
        );
    }
}
