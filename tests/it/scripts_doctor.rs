//! `doctor` finds what is missing where the scripts will look for it, and says why a server does not start or answer.

use std::fs::OpenOptions;
use std::io::Write;

use crate::harness::{Place, child};

const SHELL: &str = "#!/bin/sh\n";

#[test]
fn doctor_says_why_the_server_does_not_start() {
    let place = Place::new(
        "doctor-start",
        "[[tool]]\nname = 'job_status'\ndescription = 'Is called as a tool of the server is.'\nrun = ['true']\njob = true\n",
    );
    let doctor = place.run(["doctor"]);
    assert_eq!(doctor.status.code(), Some(1), "{doctor:#?}");
    assert!(
        doctor.stdout.contains("registered twice"),
        "{}",
        doctor.stdout
    );
}

#[test]
fn doctor_waits_for_no_server_that_never_answers() {
    let place = Place::empty("scripts-doctor-deaf");
    let pipe = place.pipe("tools.toml");
    let command = place.command(["doctor", "--trust"]);
    // Whoever opens it to read waits for who writes: the server does so for ever.
    let script = "[[tool]]\nname = 'one'\ndescription = 'One.'\nrun = ['true']\n";
    let written = std::thread::spawn(move || {
        let mut pipe = OpenOptions::new().write(true).open(pipe)?;
        pipe.write_all(script.as_bytes())
    });
    let doctor = child::run(command);
    assert!(written.join().is_ok_and(|written| written.is_ok()));
    assert_eq!(doctor.status.code(), Some(1), "{doctor:#?}");
    assert!(
        doctor.stdout.contains("has not answered"),
        "{}",
        doctor.stdout
    );
}

const RESOURCES: &str = r##"
[defaults]
env = { T = { from = "IT_SCRIPTS_NOT_SET" } }

[[resource]]
uri = "doctor://program"
run = ["no-such-program-here"]
env = { T = "x" }

[[resource]]
uri = "doctor://variable"
run = ["true"]

[[resource]]
uri = "doctor://well"
file = "tools.toml"
"##;

#[test]
fn doctor_looks_at_what_resources_need() {
    let place = Place::new("doctor-resources", RESOURCES);
    let doctor = place.run(["doctor"]);
    assert_eq!(doctor.status.code(), Some(1), "{doctor:#?}");
    for expected in [
        "wrong `doctor://program`: there is no program `no-such-program-here`",
        "wrong `doctor://variable`: the environment variable `IT_SCRIPTS_NOT_SET` is not set",
        "ok    `doctor://well` has what it needs",
    ] {
        assert!(
            doctor.stdout.contains(expected),
            "{expected}\n{}",
            doctor.stdout
        );
    }
}

const PATHS: &str = r##"
[[tool]]
name = "own"
description = "Has a PATH of its own, and a relative one."
run = ["only-there"]
requires = ["only-there"]
cwd = "sub"
env = { PATH = "bin:/usr/bin:/bin" }
"##;

#[test]
fn a_program_is_looked_for_where_the_tool_will_run_it() {
    let place = Place::new("doctor-path", PATHS);
    place.write("sub/bin/only-there", 0o755, format!("{SHELL}echo found\n"));
    let doctor = place.run(["doctor"]);
    assert_eq!(doctor.status.code(), Some(0), "{doctor:#?}");
    let said = place.run(["call", "own"]);
    assert_eq!(said.stdout, "found\n", "{said:#?}");
    // And what the server would find, the tool may not.
    let narrow = PATHS.replace("bin:/usr/bin:/bin", "bin");
    let narrow = narrow.replace("requires = [", "requires = [\"cat\", ");
    place.write("tools.toml", 0o644, narrow);
    let refused = place.run(["call", "own"]);
    assert!(
        refused.stderr.contains("there is no program `cat`"),
        "{refused:#?}"
    );
}
