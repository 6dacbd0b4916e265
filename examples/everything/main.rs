//! The reference server: every feature once, for test suites and benchmarks, and to read.
//!
//! ```sh
//! cargo run --example everything -- --http 127.0.0.1:8080
//! cargo run --example everything -- --stdio
//! ```
//!
//! The module `server` lists what it serves. The command line must not change, because other programs rely on it; when the server is ready it prints
//! `listening on http://ADDRESS/mcp` on stderr.

// As a path, so that what is part of it stands beside it.
#[path = "server.rs"]
mod server;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use mcp_threads::{Limits, Sessions};

const USAGE: &str = "usage: everything (--http ADDRESS [--front tiny|guarded] | --stdio) [--workers N] [--queue N] [--drain-ms N] [--sessions kept|stateless|adopt] [--jobs memory|PATH] [--job-ttl-ms N] [--workspaces-max N] [--workspace-idle-ms N] [--liveness-ms N] [--grace-ms N]";

const HELP: &str = "\
The reference server of mcp-threads: every feature once, for test suites and benchmarks.

  --http ADDRESS         serves HTTP there, such as 127.0.0.1:8080; port 0 picks a free one
  --front tiny|guarded   which HTTP implementation reads the bytes; guarded by default
  --stdio                serves stdin and stdout
  --workers N            how many calls run at once
  --queue N              how many more wait
  --drain-ms N           how long calls may finish after the first signal, or the end of stdin
  --sessions kept|stateless|adopt
                         what becomes of handshake-era sessions over HTTP; kept by default
  --jobs memory|PATH     where background jobs are kept; a path is a file that survives a crash
  --job-ttl-ms N         how long the result of a job can be fetched
  --workspaces-max N     how many workspaces may be open
  --workspace-idle-ms N  when a workspace is closed that nobody uses
  --liveness-ms N        how long a call may give no sign of life
  --grace-ms N           how long a call may take to return that was cancelled for that, before its worker is replaced
  --help                 says this

When it is ready it says where it serves, on stderr. RUST_LOG=info adds a line for each request.";

struct Options {
    /// `None` for stdio.
    http: Option<String>,
    /// Whether tiny_http reads the bytes.
    on_tiny: bool,
    workers: Option<usize>,
    queue: Option<usize>,
    drain: Option<Duration>,
    sessions: Sessions,
    /// `None` for memory.
    jobs: Option<String>,
    liveness: Option<Duration>,
    limits: Limits,
}

fn main() -> ExitCode {
    // A client may leave stderr unread, and then nobody should wait for it: neither a handler that logs nor one that panics.
    env_logger::Builder::from_default_env()
        .target(env_logger::Target::Pipe(Box::new(mcp_threads::log_lossy())))
        .init();
    std::panic::set_hook(Box::new(|panic| log::error!("{:?}", panic.to_string())));
    if std::env::args().any(|argument| ["--help", "-h"].contains(&&*argument)) {
        #[expect(clippy::print_stdout, reason = "it serves nobody")]
        {
            println!("{USAGE}\n\n{HELP}\n\nBuilt with:{}", features());
        }
        return ExitCode::SUCCESS;
    }
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The features of the library that it was built with.
fn features() -> String {
    let features = [
        ("http", cfg!(feature = "http")),
        ("tiny-http", cfg!(feature = "tiny-http")),
        ("ctrlc", cfg!(feature = "ctrlc")),
        ("schema-order", cfg!(feature = "schema-order")),
        ("validate", cfg!(feature = "validate")),
        ("anyhow", cfg!(feature = "anyhow")),
        ("durable", cfg!(feature = "durable")),
        ("scripts", cfg!(feature = "scripts")),
        ("cli", cfg!(feature = "cli")),
    ];
    let built = features.iter().filter(|(_, is_there)| *is_there);
    built.map(|(name, _)| format!(" {name}")).collect()
}

fn run(options: Options) -> mcp_threads::Result<()> {
    let mut server = server::everything()
        .limits(options.limits)
        .legacy_sessions(options.sessions);
    if let Some(path) = &options.jobs {
        server = keep_jobs(server, path)?;
    }
    if let Some(workers) = options.workers {
        server = server.workers(workers);
    }
    if let Some(queue) = options.queue {
        server = server.queue(queue);
    }
    if let Some(liveness) = options.liveness {
        server = server.liveness(liveness);
    }
    if let Some(drain) = options.drain {
        server = server.drain_deadline(drain);
    }
    match options.http {
        None => {
            let running = server.serve_stdio()?;
            let _never_fails = writeln!(mcp_threads::log_lossy(), "serving on stdin and stdout");
            running.run_until_ctrl_c()
        }
        Some(address) => {
            let running = match options.on_tiny {
                #[cfg(feature = "tiny-http")]
                true => server.serve_tiny_http(&address)?,
                _ => server.serve_http(&address)?,
            };
            let url = running.url().expect("it serves HTTP");
            let _never_fails = writeln!(mcp_threads::log_lossy(), "listening on {url}");
            running.run_until_ctrl_c()
        }
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        http: None,
        on_tiny: false,
        workers: None,
        queue: None,
        drain: None,
        sessions: Sessions::Kept,
        jobs: None,
        liveness: None,
        limits: Limits::default(),
    };
    let mut stdio = false;
    while let Some(flag) = arguments.next() {
        if flag == "--stdio" {
            stdio = true;
            continue;
        }
        let value = arguments
            .next()
            .ok_or_else(|| format!("{flag} needs a value"))?;
        let number = || {
            value
                .parse::<usize>()
                .map_err(|_| format!("{flag} needs a number, not `{value}`"))
        };
        match flag.as_str() {
            "--http" => options.http = Some(value),
            "--front" => options.on_tiny = is_tiny(&value)?,
            "--workers" => options.workers = Some(number()?),
            "--queue" => options.queue = Some(number()?),
            "--drain-ms" => options.drain = Some(Duration::from_millis(number()? as u64)),
            "--sessions" => options.sessions = sessions(&value)?,
            "--jobs" if value == "memory" => options.jobs = None,
            "--jobs" if cfg!(feature = "durable") => options.jobs = Some(value),
            "--jobs" => {
                return Err(format!(
                    "no job can be kept in `{value}`: build with `--features durable`"
                ));
            }
            "--job-ttl-ms" => options.limits = options.limits.job_ttl(milliseconds(number()?)),
            "--liveness-ms" => options.liveness = Some(milliseconds(number()?)),
            "--grace-ms" => options.limits = options.limits.stall_grace(milliseconds(number()?)),
            "--workspaces-max" => {
                let most = number()?;
                options.limits = options
                    .limits
                    .workspaces_max(most)
                    .workspaces_of_one_max(most);
            }
            "--workspace-idle-ms" => {
                options.limits = options
                    .limits
                    .workspace_idle_timeout(milliseconds(number()?));
            }
            _ => return Err(format!("`{flag} {value}` is not an option")),
        }
    }
    if stdio == options.http.is_some() {
        return Err("choose one of --http and --stdio".into());
    }
    Ok(options)
}

fn sessions(kind: &str) -> Result<Sessions, String> {
    match kind {
        "kept" => Ok(Sessions::Kept),
        "stateless" => Ok(Sessions::Stateless),
        "adopt" => Ok(Sessions::Adopt),
        _ => Err(format!(
            "sessions are kept, stateless or adopt, not `{kind}`"
        )),
    }
}

fn milliseconds(number: usize) -> Duration {
    Duration::from_millis(number as u64)
}

/// Keeps jobs in this file.
#[cfg(feature = "durable")]
fn keep_jobs<S: mcp_threads::Fork + Send + Sync + 'static>(
    server: mcp_threads::Server<S>,
    path: &str,
) -> mcp_threads::Result<mcp_threads::Server<S>> {
    Ok(server.job_store(mcp_threads::DurableStore::open(path)?))
}

#[cfg(not(feature = "durable"))]
fn keep_jobs<S>(_: S, _: &str) -> mcp_threads::Result<S> {
    unreachable!("the option was refused")
}

fn is_tiny(front: &str) -> Result<bool, String> {
    match front {
        "guarded" => Ok(false),
        "tiny" if cfg!(feature = "tiny-http") => Ok(true),
        _ => Err(format!("`{front}` is not a front that was built in")),
    }
}
