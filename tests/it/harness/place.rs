//! A directory with a file of scripts, and the program `mcp-threads` in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::child::{self, Finished, Running};
use super::pipe::PipeClient;

/// A directory of one test, removed with it.
pub(crate) struct Place(pub(crate) PathBuf);

impl Place {
    pub(crate) fn new(name: &str, file: &str) -> Self {
        let place = std::env::temp_dir().join(format!("it-scripts-{name}-{}", std::process::id()));
        fs::create_dir_all(&place).expect("a directory can be made");
        let place = Place(place.canonicalize().expect("it is there"));
        place.write("tools.toml", 0o644, file);
        place
    }

    pub(crate) fn write(&self, name: &str, mode: u32, text: &str) -> PathBuf {
        let path = self.0.join(name);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).expect("a directory can be made");
        }
        fs::write(&path, text).expect("a file can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
        path
    }

    pub(crate) fn command<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-threads"));
        command.args(words).current_dir(&self.0);
        command
    }

    /// The file, served on a pipe.
    pub(crate) fn serve(&self) -> (Running, PipeClient) {
        child::stdio(self.command(["serve", "--stdio"]))
    }

    pub(crate) fn run<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Finished {
        child::run(self.command(words))
    }

    /// The result of a call, as a client would see it.
    pub(crate) fn result<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Value {
        let finished = self.run(["call", "--json"].into_iter().chain(words));
        serde_json::from_str(&finished.stdout)
            .unwrap_or_else(|_| panic!("no result: {finished:#?}"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _gone_already = fs::remove_dir_all(&self.0);
    }
}
