//! `doctor`: is everything there, and does the server answer. Says what to do.

use std::iter;
use std::process::{ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use mcp_threads::Scripts;
use serde_json::json;

use crate::client::StdioClient;
use crate::terminal::{counted, say};
use crate::{ExitResult, Problem, ScriptFile, named};

/// What was looked at and is well, or what is wrong.
type Finding = Result<String, String>;

/// How long the server may take for all that it is asked.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn run(file: &ScriptFile) -> ExitResult {
    let scripts = file.load()?;
    let mut findings = vec![Ok(mistakes(file, &scripts))];
    for tool in scripts.tools() {
        findings.extend(needs(tool.name(), tool.missing()));
    }
    for uri in scripts.resources() {
        findings.extend(needs(uri, scripts.missing_for_resource(uri)));
    }
    let server =
        || serve_and_ask(file, &scripts).map_err(|problem| format!("the server: {problem}"));
    let findings = findings.into_iter().chain(iter::once_with(server));
    let mut problems = 0;
    for finding in findings {
        match finding {
            Ok(well) => say(format!("ok    {well}"))?,
            Err(wrong) => {
                problems += 1;
                say(format!("wrong {wrong}"))?;
            }
        }
    }
    if problems == 0 {
        let named = named(&file.path);
        say(format!(
            "\nAll is well. `mcp-threads config{named}` says what to write into a client's configuration."
        ))?;
        return Ok(ExitCode::SUCCESS);
    }
    let problems = counted(problems, "problem");
    say(format!(
        "\n{problems} to mend: install what is missing, set what is not set, or change the file; then look again."
    ))?;
    Ok(ExitCode::FAILURE)
}

/// A file that has been read has none that is no warning.
fn mistakes(file: &ScriptFile, scripts: &Scripts) -> String {
    let (shown, named) = (file.path.display(), named(&file.path));
    match scripts.warnings().list.len() {
        0 => format!("{shown} has no mistakes"),
        warnings => {
            let warnings = counted(warnings, "warning");
            format!("{shown} has no mistakes; `mcp-threads check{named}` shows {warnings}")
        }
    }
}

fn needs(name: &str, missing: Vec<String>) -> Vec<Finding> {
    if missing.is_empty() {
        return vec![Ok(format!("`{name}` has what it needs"))];
    }
    let missing = missing.iter();
    missing
        .map(|missing| Err(format!("`{name}`: {missing}")))
        .collect()
}

/// Starts the server as a client would, with nothing but what every client gives it, and shakes hands in both eras.
fn serve_and_ask(file: &ScriptFile, scripts: &Scripts) -> Result<String, Problem> {
    let mut server = Command::new(std::env::current_exe()?)
        .args(["serve", "--stdio"])
        .args(file.trust.option())
        .arg(file.path.canonicalize()?)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stdin = server.stdin.take().ok_or("it has no stdin")?;
    let stdout = server.stdout.take().ok_or("it has no stdout")?;
    let expected = scripts.tools().count();
    let (done, asked) = mpsc::channel();
    let asks = move || ask(stdout, stdin, expected).map_err(|problem| problem.to_string());
    thread::spawn(move || done.send(asks()));
    let asked = asked.recv_timeout(PATIENCE);
    let asked = asked.unwrap_or_else(|_| Err(format!("it has not answered within {PATIENCE:?}")));
    // One that could not go on has ended by itself, and has said why.
    let _ended_meanwhile = server.kill();
    let ended = server.wait_with_output()?;
    asked.map_err(|problem| match last_lines(&ended.stderr) {
        said if said.is_empty() => problem,
        said => format!("{problem}; it said:\n{said}"),
    })?;
    Ok(format!(
        "the server starts, and answers clients of both eras ({})",
        counted(expected, "tool")
    ))
}

/// What a server ends its stderr with.
fn last_lines(said: &[u8]) -> String {
    const SHOWN: usize = 5;
    let said = String::from_utf8_lossy(said);
    let lines: Vec<_> = said.lines().collect();
    lines[lines.len().saturating_sub(SHOWN)..].join("\n")
}

fn ask(stdout: ChildStdout, stdin: ChildStdin, expected: usize) -> Result<(), Problem> {
    let mut client = StdioClient::new(stdout, stdin, false);
    client.initialize()?;
    let listed = client.ask("tools/list", json!({}), |_| {})?;
    let count = listed["tools"].as_array().map_or(0, Vec::len);
    // A long list comes in pages.
    match count == 0 && expected > 0 {
        true => Err(format!("it lists no tools, and the file has {expected}").into()),
        false => Ok(()),
    }
}
