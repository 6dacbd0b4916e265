//! A directory of one test, and the program `mcp-threads` in it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[cfg(feature = "cli")]
use serde_json::Value;

#[cfg(feature = "cli")]
use super::child::{self, Finished, Running};
#[cfg(feature = "cli")]
use super::pipe::PipeClient;

/// A directory of one test, removed with it.
pub(crate) struct Place(pub(crate) PathBuf);

impl Place {
    pub(crate) fn empty(name: &str) -> Self {
        let place = std::env::temp_dir().join(format!("it-{name}-{}", std::process::id()));
        fs::create_dir_all(&place).expect("a directory can be made");
        Place(place.canonicalize().expect("it is there"))
    }

    /// Writes a file, whole at once for all who look.
    pub(crate) fn write(&self, name: &str, mode: u32, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        let directory = path.parent().expect("it is in this one");
        fs::create_dir_all(directory).expect("a directory can be made");
        let new = directory.join(".new");
        match mode & 0o111 {
            0 => fs::write(&new, text).expect("a file can be written"),
            _ => write_aside(&new, text.as_ref()),
        }
        fs::set_permissions(&new, fs::Permissions::from_mode(mode)).expect("it is ours");
        fs::rename(&new, &path).expect("it is ours");
        path
    }

    /// Makes a named pipe, which nobody writes to.
    pub(crate) fn pipe(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        let made = Command::new("mkfifo")
            .args(["-m", "755"])
            .arg(&path)
            .status();
        assert!(made.is_ok_and(|status| status.success()));
        path
    }
}

/// Writes a program from another process: the system runs none that somebody has open to write, and each process which another test starts meanwhile has
/// what is open here for a moment.
fn write_aside(path: &Path, text: &[u8]) {
    let mut command = Command::new("dd");
    command.args(["status=none", "bs=64k"]);
    command.arg(format!("of={}", path.display()));
    command.stdin(Stdio::piped());
    let mut writer = command.spawn().expect("there is `dd`");
    let mut stdin = writer.stdin.take().expect("it is piped");
    stdin.write_all(text).expect("it reads");
    drop(stdin);
    assert!(writer.wait().is_ok_and(|status| status.success()));
}

#[cfg(feature = "cli")]
impl Place {
    /// With a file of scripts.
    pub(crate) fn new(name: &str, file: &str) -> Self {
        let place = Place::empty(&format!("scripts-{name}"));
        place.write("tools.toml", 0o644, file);
        place
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
