//! A `shell` tool, and a server that stays responsive while it runs.
//!
//! Start it with `cargo run --example shell` and talk to it on stdin, one line at a time:
//!
//! ```text
//! {"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"me","version":"1"}}}
//! {"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"shell","arguments":{"argv":["sleep","3"]},"_meta":{"progressToken":1}}}
//! {"jsonrpc":"2.0","id":3,"method":"ping"}
//! ```
//!
//! The ping is answered at once, while the command still sleeps. `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}` kills the
//! command and everything it started. Ctrl-D ends the server.
//!
//! The command is a list of arguments, not a line for a shell, so nothing in it is interpreted; to use a shell, name it: `["sh", "-c", "..."]`.
//! With `cargo run --example shell -- --http 127.0.0.1:8080` it serves HTTP instead. Do not let strangers reach it: it runs any program.

use std::io::Write;

use mcp_threads::schemars::{self, JsonSchema};
use mcp_threads::{Json, RequestContext, RunCommand, Server, Tool, ToolError};
use serde::{Deserialize, Serialize};

#[derive(Deserialize, JsonSchema)]
struct Shell {
    /// The program and its arguments.
    argv: Vec<String>,
    /// The directory to run it in.
    directory: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Output {
    /// The exit code; absent when a signal ended the command.
    code: Option<i32>,
    stdout: String,
    stderr: String,
    /// Whether the output was longer than the 64 KiB of stdout and of stderr that are kept, from the beginning and the end.
    truncated: bool,
}

fn shell(cx: &mut RequestContext, args: Shell) -> Result<Json<Output>, ToolError> {
    let Some((program, rest)) = args.argv.split_first() else {
        return Err(ToolError::new("`argv` is empty; give at least a program"));
    };
    let mut command = RunCommand::new(program).args(rest);
    if let Some(directory) = args.directory {
        command = command.directory(directory);
    }
    let output = command.run(cx)?;
    let (stdout, stderr) = (output.stdout, output.stderr);
    Ok(Json(Output {
        code: output.code,
        stdout,
        stderr,
        truncated: output.truncated,
    }))
}

fn server() -> Server {
    let tool = Tool::new("shell")
        .description("Runs a program to its end and returns its output.")
        .destructive(true)
        .open_world(true)
        .handler(shell);
    Server::new("shell", "1.0.0").register(tool)
}

fn main() -> mcp_threads::Result<()> {
    // A client may leave stderr unread, and then nobody should wait for it.
    env_logger::Builder::from_default_env()
        .target(env_logger::Target::Pipe(Box::new(mcp_threads::log_lossy())))
        .init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] | ["--stdio"] => {
            let running = server().serve_stdio()?;
            let _never_fails = writeln!(mcp_threads::log_lossy(), "serving on stdin and stdout");
            running.run_until_ctrl_c()
        }
        ["--http", address] => {
            let running = server().serve_http(address)?;
            let url = running.url().expect("it serves HTTP");
            let _never_fails = writeln!(mcp_threads::log_lossy(), "listening on {url}");
            running.run_until_ctrl_c()
        }
        _ => {
            eprintln!("usage: shell [--stdio | --http ADDRESS]");
            std::process::exit(2);
        }
    }
}

#[cfg(test)]
mod tests {
    use mcp_threads::serde_json::{Value, json};

    use super::server;

    fn run(argv: &[&str]) -> (Value, Vec<Value>) {
        let mut client = server().test_client().expect("it starts");
        let result = client
            .call("shell", json!({ "argv": argv }))
            .expect("an answer");
        (result, client.events())
    }

    #[test]
    fn a_command_ends_with_its_output_whatever_its_code() {
        let (result, events) = run(&["sh", "-c", "echo out; echo err >&2; exit 3"]);
        let output = json!({ "code": 3, "stdout": "out\n", "stderr": "err\n", "truncated": false });
        assert_eq!(result["structuredContent"], output);
        let told = |event: &Value| event["params"]["message"] == "out";
        assert!(
            events.iter().any(told),
            "each line is told at once: {events:?}"
        );
    }

    #[test]
    fn a_command_that_cannot_be_run_is_said_to_the_model() {
        for argv in [&[][..], &["/does/not/exist"]] {
            let (result, _) = run(argv);
            assert_eq!(result["isError"], true, "{result}");
        }
    }
}
