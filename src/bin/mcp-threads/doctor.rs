//! `doctor`: is everything there, and does the server answer. Says what to do.

use std::path::Path;
use std::process::{Child, ExitCode, Stdio};

use clap::ArgMatches;
use mcp_threads::Scripts;
use serde_json::json;

use crate::client::StdioClient;
use crate::terminal::counted;
use crate::{ExitResult, file, load, named};

/// What was looked at, and what is wrong.
#[derive(Default)]
struct Findings {
    problems: usize,
}

impl Findings {
    fn good(&mut self, what: &str) {
        println!("ok    {what}");
    }

    fn bad(&mut self, what: &str) {
        self.problems += 1;
        println!("wrong {what}");
    }
}

pub(crate) fn run(matches: &ArgMatches) -> ExitResult {
    let file = file(matches);
    let mut findings = Findings::default();
    let scripts = load(matches)?;
    let shown = file.display();
    match scripts.warnings().list.len() {
        0 => findings.good(&format!("{shown} has no mistakes")),
        warnings => findings.good(&format!(
            "{shown} has no mistakes; `mcp-threads check{}` shows {}",
            named(file),
            counted(warnings, "warning")
        )),
    }
    for tool in scripts.tools() {
        match &tool.missing()[..] {
            [] => findings.good(&format!("`{}` has what it needs", tool.name())),
            missing => missing
                .iter()
                .for_each(|missing| findings.bad(&format!("`{}`: {missing}", tool.name()))),
        }
    }
    match serve_and_ask(file, matches.get_flag("trust"), &scripts) {
        Ok(said) => findings.good(&said),
        Err(problem) => findings.bad(&format!("the server: {problem}")),
    }
    match findings.problems {
        0 => {
            println!(
                "\nAll is well. `mcp-threads config{}` says what to write into a client's configuration.",
                named(file)
            );
            Ok(ExitCode::SUCCESS)
        }
        problems => {
            let problems = counted(problems, "problem");
            println!(
                "\n{problems} to mend: install what is missing, set what is not set, or change the file; then look again."
            );
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Starts the server as a client would, with nothing but what every client gives it, and shakes hands in both eras.
fn serve_and_ask(file: &Path, is_trusted: bool, scripts: &Scripts) -> Result<String, String> {
    let plain = |error: std::io::Error| error.to_string();
    let mut command = std::process::Command::new(std::env::current_exe().map_err(plain)?);
    command
        .args(["serve", "--stdio"])
        .args(is_trusted.then_some("--trust"));
    command
        .arg(file.canonicalize().map_err(plain)?)
        .current_dir("/");
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut server = EndedChild(child.map_err(plain)?);
    let (stdin, stdout) = (server.0.stdin.take(), server.0.stdout.take());
    let (Some(stdin), Some(stdout)) = (stdin, stdout) else {
        return Err("it has no pipes".to_owned());
    };
    let mut client = StdioClient::new(stdout, stdin, false);
    client.initialize()?;
    let listed = client.ask("tools/list", json!({}), |_| {})?;
    let count = listed["tools"].as_array().map_or(0, Vec::len);
    let expected = scripts.tools().count();
    // A long list comes in pages.
    if count == 0 && expected > 0 {
        return Err(format!("it lists no tools, and the file has {expected}"));
    }
    Ok(format!(
        "the server starts, and answers clients of both eras ({})",
        counted(expected, "tool")
    ))
}

/// A child that is ended.
struct EndedChild(Child);

impl Drop for EndedChild {
    fn drop(&mut self) {
        let _ended_meanwhile = self.0.kill();
        let _reaped = self.0.wait();
    }
}
