//! `serve`: the server face, over stdio, HTTP, or both, with a file that may change meanwhile.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use clap::Args;
use mcp_threads::{RunningServer, Scripts, ServerHandle, log_lossy};

use crate::terminal::counted;
use crate::watch::Watch;
use crate::{ExitResult, ScriptFile, Trust, enter};

#[derive(Args)]
pub(crate) struct ServeCommand {
    #[command(flatten)]
    file: ScriptFile,
    /// Serve over stdin and stdout; so it is without --http
    #[arg(long)]
    stdio: bool,
    /// Serve over HTTP at this address, such as 127.0.0.1:8080
    #[arg(long, value_name = "ADDRESS")]
    http: Option<String>,
    /// A host by which it may be called beyond loopback, as in the `Host` of a request; may be repeated
    #[arg(long = "allow-host", value_name = "HOST", requires = "http")]
    hosts: Vec<String>,
}

impl ServeCommand {
    pub(crate) fn run(self) -> ExitResult {
        log_to_stderr();
        // As it was named: a link in its path may lead elsewhere later.
        let file = std::path::absolute(&self.file.path)?;
        // Before the file is read, so that no change is missed.
        let watch = Watch::new(&file);
        let scripts = self.file.load()?;
        enter(&file)?;
        if !scripts.warnings().list.is_empty() {
            log::warn!("{}", scripts.warnings());
        }
        let server = scripts.clone().into_server().allowed_hosts(&self.hosts);
        let running = server.start()?;
        if let Some(address) = &self.http {
            running.serve_http(address.as_str()).map_err(|error| {
                match error.is_configuration() && self.hosts.is_empty() {
                    true => format!("{error}, which here is `--allow-host`"),
                    false => error.to_string(),
                }
            })?;
            say_where(&running, &scripts)?;
        }
        if self.stdio || self.http.is_none() {
            running.serve_stdio()?;
        }
        let mut watched = ServedFile {
            file,
            trust: self.file.trust,
            scripts,
            handle: running.handle(),
        };
        // It ends with the process.
        let thread = thread::Builder::new().name("watch".to_owned());
        let thread = thread.spawn(move || watch.run(|| watched.reload()));
        thread.map_err(|error| format!("the file cannot be watched: {error}"))?;
        running.run_until_ctrl_c()?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Logs without waiting for the reader of stderr, which a client may leave unread.
fn log_to_stderr() {
    let stderr = Box::new(log_lossy());
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn"))
        .target(env_logger::Target::Pipe(stderr))
        .init();
}

/// It waits for nobody who reads it either.
fn say_where(running: &RunningServer, scripts: &Scripts) -> io::Result<()> {
    let Some(url) = running.url() else {
        return Ok(());
    };
    let (count, name) = (counted(scripts.tools().count(), "tool"), scripts.name());
    writeln!(log_lossy(), "serving {count} of {name} at {url}")
}

/// A file that is served.
struct ServedFile {
    file: PathBuf,
    trust: Trust,
    scripts: Scripts,
    handle: ServerHandle,
}

impl ServedFile {
    fn reload(&mut self) {
        // The directory was made anew. Without one, every program goes to its own by a shell, so this moves none that starts just now.
        if std::env::current_dir().is_err() {
            let _is_reported_by_the_reading = enter(&self.file);
        }
        match self.trust.load(&self.file) {
            Ok(newer) => match self.scripts.update(&self.handle, newer) {
                Ok(()) => log::warn!("{} has changed and is served anew", self.file.display()),
                Err(error) => log::error!(
                    "{} cannot be served as it is; what was served before still is: {error}",
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
