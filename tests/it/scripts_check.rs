//! Every way in which a file of scripts can be wrong: where, what, and what to write. None of them may end the program.

use mcp_threads::Scripts;
use proptest::prelude::*;

use crate::harness::Place;
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
    let good = Place::new("check-good", GOOD).run(["check"]);
    assert_eq!(
        good.stdout, "tools.toml has no mistakes: 1 tool, 1 resource, 0 prompts\n",
        "{good:#?}"
    );
}

const GOOD: &str = r##"
[server]
name = "good"
[defaults]
timeout = "10m"
env = { A = "b", C = { from = "HOME", secret = false } }
[pools.device]
size = 2
[[tool]]
name = "all"
description = "Has a bit of everything."
run = ["printf", "%s", "{one}", "--x={list}"]
stdin = "{one}"
claims = ["device"]
concurrency = 3
ok_codes = [0, 1]
output = "json"
output_max = "64 KiB"
confirm = "Do {one}?"
job = "either"
requires = ["sh", "$HOME"]
[tool.output_schema]
type = "object"
[tool.args.one]
pattern = "[a-z]+"
min_length = 1
default = "x"
[tool.args.list]
type = "array"
items = "integer"
max_items = 3
[[resource]]
uri = "good://text"
shell = "echo text"
"##;

/// What is wrong, and all that is said of it. `@T` is the head of a tool that is good so far, `@R` one that has a program.
#[rustfmt::skip]
const WRONG: &[(&str, &[&str])] = &[
    ("", &["1:1: warning: the file offers nothing yet; write [[tool]], a name, and run = [\"./program\"]"]),
    ("x", &["1:1: warning: the file offers nothing yet; write [[tool]], a name, and run = [\"./program\"]", "1:2: error: this is not TOML: key with no value, expected `=`"]),
    ("[server\n", &["1:1: warning: the file offers nothing yet; write [[tool]], a name, and run = [\"./program\"]", "1:8: error: this is not TOML: unclosed table, expected `]`"]),
    ("[server]\nname=3\n", &["1:1: warning: the file offers nothing yet; write [[tool]], a name, and run = [\"./program\"]", "2:6: error: `name` of [server] is a string, not 3"]),
    ("[server]\nname=''\n", &["1:1: warning: the file offers nothing yet; write [[tool]], a name, and run = [\"./program\"]", "2:6: error: `name` of [server] is empty"]),
    ("[server]\nnmae='x'\n", &["1:1: warning: the file offers nothing yet; write [[tool]], a name, and run = [\"./program\"]", "2:1: error: `nmae` is no key of [server]; did you mean `name`?"]),
    ("[servr]\n", &["1:1: warning: the file offers nothing yet; write [[tool]], a name, and run = [\"./program\"]", "1:2: error: `servr` is no key of the file; did you mean `server`?"]),
    ("tool=3\n", &["1:6: error: `tool` of the file is a list of tables; write [[tool]] above each, not 3"]),
    ("[tool]\nname='x'\n", &["1:1: error: `tool` of the file is a list of tables; write [[tool]] above each, not a table"]),
    ("[[tool]]\n", &["1:1: error: a [[tool]] needs a name = \"..\"", "1:1: error: a [[tool]] needs a run = [\"./program\", \"{argument}\"], or a shell = \"..\""]),
    ("@T", &["1:1: error: the tool `x` needs a run = [\"./program\", \"{argument}\"], or a shell = \"..\""]),
    ("@Trun='true'\n", &["4:5: error: `run` of the tool `x` is a list of strings, not \"true\""]),
    ("@Trun=[]\n", &["4:1: error: `run` is empty; give at least a program"]),
    ("@Trun=['']\n", &["4:1: error: `run` is empty; give at least a program"]),
    ("@Trun=[3]\n", &["4:1: error: `run` is empty; give at least a program", "4:6: error: `run` of the tool `x` is a list of strings"]),
    ("@Trun=['{a}']\n", &["4:6: error: the program cannot be an argument; name it, with `{{` for a brace itself"]),
    ("@Trun=['a b']\n", &["4:6: warning: one word with spaces is a program with spaces in its name; write each word by itself"]),
    ("@Trun=['true','{a}']\n", &["4:13: error: there is no argument `a`; describe it in a table args.a"]),
    ("@Trun=['true','{']\n", &["4:13: error: `{` stands alone; write `{{` for the brace itself, or `{name}` for an argument"]),
    ("@Trun=['true','{}']\n", &["4:13: error: `{}` names no argument; write `{{` for a brace itself"]),
    ("@Rshell='true'\n", &["5:1: error: there are both `run` and `shell`; leave one of them out"]),
    ("@Tshell=''\n", &["4:7: error: `shell` of the tool `x` is empty"]),
    ("[[tool]]\nname='a b'\ndescription='x'\nrun=['true']\n", &["2:6: error: `a b` is no name; it has 1 to 128 of the characters A-Z a-z 0-9 _ - ."]),
    ("[[tool]]\nname='a.b'\ndescription='x'\nrun=['true']\n", &["2:6: warning: some clients refuse the name `a.b`; they take at most 64 of A-Z a-z 0-9 _ -"]),
    ("@R@R", &["6:6: error: there is a [[tool]] with the name `x` in line 2 already"]),
    ("@Rtimeout='5'\n", &["5:9: error: `timeout` of the tool `x` is a time such as \"30s\", \"5m\", \"2h\" or \"250ms\", not \"5\""]),
    ("@Rtimeout=0\n", &["5:1: error: `timeout` of the tool `x` is no time at all; leave it out if there is no bound"]),
    ("@Rtimeout=-1\n", &["5:9: error: `timeout` of the tool `x` is a time such as \"30s\", \"5m\", \"2h\" or \"250ms\", not -1"]),
    ("@Rconcurrency=0\n", &["5:13: error: `concurrency` of the tool `x` is an integer from 1 to 256, not 0"]),
    ("@Rconcurrency=1000\n", &["5:13: error: `concurrency` of the tool `x` is an integer from 1 to 256, not 1000"]),
    ("@Rclaims=['d']\n", &["5:9: error: there is no pool `d`; write [pools.d] with its size"]),
    ("@Rclaims='d'\n", &["5:8: error: `claims` of the tool `x` is a list of strings, not \"d\""]),
    ("@R[pools.'a b']\nsize=1\n", &["5:8: error: `a b` is no name of a pool; it has the characters A-Z a-z 0-9 _ -"]),
    ("@R[pools]\nd=3\n", &["6:1: error: write [pools.d] above its size"]),
    ("@Rok_codes=[256]\n", &["5:10: error: `ok_codes` of the tool `x` is a list of exit codes, from 0 to 255, not a list"]),
    ("@Routput='xml'\n", &["5:8: error: `output` is \"text\", \"json\", \"lines\", or the media type of an image, such as \"image/png\""]),
    ("@Routput_schema={}\n", &["5:15: error: `output_schema` is for output = \"json\"", "5:15: error: `output_schema` describes an object: begin with type = \"object\""]),
    ("@Routput='json'\noutput_schema={type='array'}\n", &["6:15: error: `output_schema` describes an object: begin with type = \"object\""]),
    ("@Routput_max='1 GB'\n", &["5:12: error: `output_max` of the tool `x` is a number of bytes, such as 65536, \"64 KiB\" or \"1 MiB\", not \"1 GB\""]),
    ("@Rjob='yes'\n", &["5:5: error: `job` is true, false or \"either\""]),
    ("@Rconfirm='{a}'\n", &["5:9: error: there is no argument `a`; describe it in a table args.a"]),
    ("@Rconfirm_else='no'\n", &["5:14: error: `confirm_else`, for clients that cannot ask, is \"refuse\" or \"run\""]),
    ("@Rstdin='x'\n", &["5:7: error: `stdin` is \"none\", \"json\" (all arguments), or an argument: \"{text}\""]),
    ("@Rcwd='nowhere'\n", &["5:5: error: `cwd` is the directory `nowhere`, which does not exist"]),
    ("@Renv={'a b'='c'}\n", &["5:6: error: `a b` is no name for an environment variable"]),
    ("@Renv={A=3}\n", &["5:8: error: the variable `A` is a string, { from = \"NAME\" } or { file = \"path\" }"]),
    ("@Renv={A={}}\n", &["5:8: error: the variable `A` needs one of value, from and file"]),
    ("@Renv={A={from='B',file='c'}}\n", &["5:8: error: the variable `A` needs one of value, from and file"]),
    ("@Renv={TOKEN='x'}\n", &["5:6: warning: `TOKEN` looks like a secret; say secret = true to mask it in answers, or false"]),
    ("@Renv={T={value='ab',secret=true}}\n", &["5:8: error: the variable `T` is secret and has fewer than 4 characters, so it cannot be masked"]),
    ("@Rread_only='yes'\n", &["5:11: error: `read_only` of the tool `x` is true or false, not \"yes\""]),
    ("@Rrequires=[1]\n", &["5:11: error: `requires` of the tool `x` is a list of strings"]),
    ("@R[tool.args]\na=3\n", &["6:1: error: write [tool.args.a] above what the argument is"]),
    ("@R[tool.args.a]\ntype='strng'\n", &["6:6: error: `strng` is no type here; did you mean `string`?"]),
    ("@R[tool.args.a]\ntype='enum'\n", &["5:12: error: the argument `a` is an enum and needs one_of = [..]"]),
    ("@R[tool.args.a]\npattern='('\n", &["6:9: error: `pattern` is no regular expression: found open group without closing ')'"]),
    ("@R[tool.args.a]\npattern='(?i)a'\n", &["6:9: warning: some clients cannot read a pattern with flags, as in `(?i)`; write what is meant, such as [Aa]"]),
    ("@R[tool.args.a]\ntype='integer'\npattern='a'\n", &["7:1: error: `pattern` of the argument `a` is for strings"]),
    ("@R[tool.args.a]\nmin=1\n", &["6:1: error: `min` of the argument `a` is for numbers"]),
    ("@R[tool.args.a]\ntype='integer'\ndefault='x'\n", &["7:1: error: the default of the argument `a` does not fit: it is an integer, not a string"]),
    ("@R[tool.args.a]\nrequired=true\ndefault='x'\n", &["7:1: error: the argument `a` is required and has a default; leave one of them out"]),
    ("@R[tool.args.a]\nmin_length=-1\n", &["6:12: error: `min_length` of the argument `a` is an integer of at least 0, not -1"]),
    ("@R[tool.args.a]\ntype='integer'\nmin=3\nmax=1\n", &["7:1: error: `min` of the argument `a` is greater than its maximum, so nothing fits"]),
    ("@R[tool.args.a]\nitems='string'\n", &["6:1: error: `items` of the argument `a` is for arrays"]),
    ("@R[tool.args.a]\npath={inside='no'}\n", &["6:14: error: `inside` names a directory, and `no` is none"]),
    ("@R[tool.args.a]\npath={kind='link'}\n", &["6:12: error: `kind` of a path is \"file\" or \"directory\""]),
    ("@R[tool.args.a]\none_of=[]\n", &["6:1: error: `one_of` of the argument `a` is empty, so nothing fits"]),
    ("@R[tool.args.'a b']\n", &["5:12: error: the argument `a b` needs a name of 1 to 64 of the characters A-Z a-z 0-9 _ -"]),
    ("@Tshell='true'\n[tool.args.a-b]\n[tool.args.a_b]\n", &["6:12: error: the argument `a_b` is the variable `ARG_A_B` in the shell line, and that is another's already; name it otherwise"]),
    ("[[resource]]\n", &["1:1: error: a [[resource]] needs a uri = \"..\"", "1:1: error: a [[resource]] needs a file = \"..\", or a command: run = [\"./program\"]"]),
    ("[[resource]]\nuri='x'\nfile='no'\n", &["2:5: error: `x` is no URI; it begins with a scheme, such as `notes:` or `file:`", "3:6: error: there is no file `no`"]),
    ("[[resource]]\nuri='x:y'\n", &["1:1: error: the resource `x:y` needs a file = \"..\", or a command: run = [\"./program\"]"]),
    ("[[prompt]]\n", &["1:1: error: a [[prompt]] needs a name = \"..\"", "1:1: error: a [[prompt]] needs a text = \"..\""]),
    ("[[prompt]]\nname='x'\ntext='{a}'\n", &["3:6: error: there is no argument `a`; describe it in a table args.a"]),
    ("[defaults]\ntimout=3\n", &["1:1: warning: the file offers nothing yet; write [[tool]], a name, and run = [\"./program\"]", "2:1: error: `timout` is no key of [defaults]; did you mean `timeout`?"]),
    ("a='\\q'\n", &["1:1: warning: the file offers nothing yet; write [[tool]], a name, and run = [\"./program\"]", "1:1: error: `a` is no key of the file; there are server, defaults, pools, tool, resource, prompt"]),
    ("a=1\na=2\n", &["1:1: warning: the file offers nothing yet; write [[tool]], a name, and run = [\"./program\"]", "1:1: error: `a` is no key of the file; there are server, defaults, pools, tool, resource, prompt", "2:1: error: this is not TOML: duplicate key"]),
    ("a=1979-05-27\n", &["1:1: warning: the file offers nothing yet; write [[tool]], a name, and run = [\"./program\"]", "1:1: error: `a` is no key of the file; there are server, defaults, pools, tool, resource, prompt"]),
    ("@Rdescription='y'\n", &["5:1: error: this is not TOML: duplicate key"]),
];

#[test]
fn every_way_to_be_wrong_is_told_with_its_place_and_its_cure() {
    let place = Place::new("wrong", "");
    for (file, expected) in WRONG {
        let file = file
            .replace("@R", "@Trun=['true']\n")
            .replace("@T", "[[tool]]\nname='x'\ndescription='x'\n");
        place.write("tools.toml", 0o644, &file);
        let checked = place.run(["check"]);
        let said = checked
            .stderr
            .replace(&format!("{}/", place.0.display()), "");
        let said: Vec<_> = said
            .lines()
            .map(|line| line.trim_start_matches("tools.toml:"))
            .collect();
        let said: Vec<_> = said
            .into_iter()
            .filter(|line| !line.contains("never gets the argument"))
            .collect();
        assert_eq!(said, *expected, "{file}");
        let is_wrong = expected.iter().any(|line| line.contains(": error: "));
        assert_eq!(checked.status.code(), Some(i32::from(is_wrong)), "{file}");
    }
    place.write(
        "tools.toml",
        0o644,
        "[[tool]]\nname='x'\ndescription='x'\nrun=['true']\n[tool.args.a]\n",
    );
    let unused = place.run(["check"]).stderr;
    assert!(
        unused.starts_with("tools.toml:5:12: warning: the program never gets the argument `a`"),
        "{unused}"
    );
    std::fs::write(place.0.join("tools.toml"), b"a = 1\nb\xff").expect("it is ours");
    let bytes = place.run(["check"]).stderr;
    assert!(
        bytes.starts_with("tools.toml:2:2: error: the file is not UTF-8"),
        "{bytes}"
    );
    let gone = place.run(["check", "gone.toml"]).stderr;
    assert!(gone.contains("`mcp-threads init` writes one"), "{gone}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// A file with pieces of it lost, doubled, moved, or replaced by others: read, and said what is wrong with it.
    #[test]
    fn no_file_ends_the_reading(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..6_u8, "\\PC{0,3}"), 1..6)) {
        let mut text: Vec<char> = GOOD.chars().collect();
        for (at, to, what, new) in changes {
            let (at, to) = (at.index(text.len().max(1)), to.index(text.len().max(1)));
            let (from, until) = (at.min(to).min(text.len()), at.max(to).min(text.len()));
            let piece: Vec<char> = text[from..until].iter().copied().take(40).collect();
            match what {
                0 => drop(text.drain(from..from + piece.len())),
                1 => drop(text.splice(until..until, piece)),
                2 => drop(text.splice(from..from, new.chars())),
                3 => drop(text.splice(from..(from + 1).min(text.len()), new.chars())),
                4 => text.swap(from, until.saturating_sub(1)),
                _ => drop(text.splice(from..from, "[]{}=\"'\n.#\\,".chars().nth(to % 12))),
            }
        }
        let text: String = text.into_iter().collect();
        let place = Place::new("mutated", &text);
        match Scripts::load_trusting(place.0.join("tools.toml")) {
            Ok(scripts) => drop(scripts.into_server()),
            Err(mistakes) => {
                let lines = text.lines().count() + 1;
                prop_assert!(mistakes.list.iter().any(|mistake| !mistake.is_warning));
                for mistake in &mistakes.list {
                    prop_assert!((1..=lines).contains(&mistake.line) && mistake.column > 0 && !mistake.message.is_empty());
                }
            }
        }
    }
}
