//! `serve`: the server face, over stdio, HTTP, or both, with a file that may change meanwhile.

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use clap::{Arg, ArgMatches, Command};
use mcp_threads::{RunningServer, Scripts, ServerHandle};

use crate::watch::Watch;
use crate::{ExitResult, enter, file, flag, load, load_file};

pub(crate) fn command(command: Command) -> Command {
    command
        .arg(flag(
            "stdio",
            "Serve over stdin and stdout; so it is without --http",
        ))
        .arg(
            Arg::new("http")
                .long("http")
                .value_name("ADDRESS")
                .help("Serve over HTTP at this address, such as 127.0.0.1:8080"),
        )
}

pub(crate) fn run(matches: &ArgMatches) -> ExitResult {
    log_to_stderr();
    // Before the file is read, so that no change is missed. One that is not there is the reading's to report.
    let watch = Watch::new(file(matches));
    let scripts = load(matches)?;
    let file = enter(file(matches))?;
    if !scripts.warnings().list.is_empty() {
        log::warn!("{}", scripts.warnings());
    }
    let plain = |error: mcp_threads::Error| error.to_string();
    let running = scripts.clone().into_server().start().map_err(plain)?;
    let address = matches.get_one::<String>("http");
    if let Some(address) = address {
        running.serve_http(address.as_str()).map_err(plain)?;
        say_where(&running, &scripts);
    }
    if matches.get_flag("stdio") || address.is_none() {
        running.serve_stdio().map_err(plain)?;
    }
    let mut watched = ServedFile {
        file,
        is_trusted: matches.get_flag("trust"),
        scripts,
        handle: running.handle(),
    };
    // It ends with the process.
    let watching = move || {
        let watched = watch.and_then(|watch| watch.run(|| watched.reload()));
        if let Err(error) = watched {
            log::warn!("changes of the file are not seen: {error}");
        }
    };
    let thread = thread::Builder::new().name("watch".to_owned());
    let thread = thread.spawn(watching);
    thread.map_err(|error| format!("the file cannot be watched: {error}"))?;
    running.run_until_ctrl_c().map_err(plain)?;
    Ok(ExitCode::SUCCESS)
}

/// Logs without waiting for the reader of stderr, which a client may leave unread.
fn log_to_stderr() {
    let stderr = Box::new(mcp_threads::log_lossy());
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn"))
        .target(env_logger::Target::Pipe(stderr))
        .init();
}

fn say_where(running: &RunningServer, scripts: &Scripts) {
    if let Some(url) = running.url() {
        eprintln!(
            "serving {} tools of {} at {url}",
            scripts.tools().count(),
            scripts.name()
        );
    }
}

/// A file that is served.
struct ServedFile {
    file: PathBuf,
    is_trusted: bool,
    scripts: Scripts,
    handle: ServerHandle,
}

impl ServedFile {
    fn reload(&mut self) {
        match load_file(&self.file, self.is_trusted) {
            Ok(newer) => match self.scripts.update(&self.handle, newer) {
                Ok(()) => log::warn!("{} has changed and is served anew", self.file.display()),
                Err(error) => log::error!(
                    "{} has changed, and not all of it can be served: {error}",
                    self.file.display()
                ),
            },
            Err(mistakes) => log::error!(
                "{} has mistakes; what was served before still is\n{mistakes}",
                self.file.display()
            ),
        }
    }
}
