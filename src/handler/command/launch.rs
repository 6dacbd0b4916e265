//! Starting a process: in a session of its own, with three descriptors and no more, and with the signals that programs expect.
//!
//! A session of its own has no terminal, so a program that asks for a password on `/dev/tty` fails at once instead of being stopped for ever.
//! `posix_spawn` does all of it without copying the page tables of a large server, as `fork` would. It has no working directory that could be
//! asked for everywhere, so a command with one is started by a shell that does nothing but `cd` and `exec`, and says under a name of its own why it
//! could not. Where there is no such flag or no `posix_spawn` in reach, the child has a process group of its own and keeps the terminal. Must not know what
//! becomes of the process.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{self, Path, PathBuf};

use rustix::process::Pid;

use crate::handler::command::culprit;

/// What is to be started.
#[derive(Debug, Default)]
pub(super) struct Launch {
    pub(super) program: OsString,
    pub(super) args: Vec<OsString>,
    /// The server's own if there is none.
    pub(super) directory: Option<PathBuf>,
    /// Whether nothing of the server's environment is inherited.
    pub(super) clear_env: bool,
    pub(super) env: Vec<(OsString, OsString)>,
}

/// Goes to the directory that is its first argument and becomes the program behind it, which is not told where the server is.
const IN_DIRECTORY: &str = r#"cd -- "$1" && unset OLDPWD && shift && exec "$@""#;

/// What it is called in its own messages, and no program is.
const IN_DIRECTORY_NAME: &str = "mcp-threads-cd";

/// Why the shell has become no program, if it has not, by what was said on stderr.
pub(super) fn why_not_started(stderr: &str) -> Option<String> {
    let line = stderr.strip_prefix(IN_DIRECTORY_NAME)?.lines().next()?;
    let said = line.trim_start_matches(": ");
    Some(format!("the shell that goes to its directory says: {said}"))
}

impl Launch {
    /// Starts it with these as stdin, stdout and stderr; `inherited` are descriptors that it must not get. Its id is that of its process group.
    /// A mistake is said in a sentence that names the culprit.
    pub(super) fn start(
        &self,
        descriptors: [BorrowedFd<'_>; 3],
        inherited: &[RawFd],
    ) -> Result<Pid, String> {
        let env = self.environment();
        let directory = match &self.directory {
            Some(path) => Some(path::absolute(path).map_err(|error| error.to_string())?),
            None => None,
        };
        let path = culprit::find(
            &self.program,
            directory.as_deref(),
            env.get(OsStr::new("PATH")),
        )?;
        let mut first = vec![self.program.as_os_str()];
        let mut file = path.as_path();
        if let Some(directory) = directory.as_deref().filter(|path| !is_here(path)) {
            file = "/bin/sh".as_ref();
            first = ["sh", "-c", IN_DIRECTORY, IN_DIRECTORY_NAME]
                .map(OsStr::new)
                .to_vec();
            first.extend([directory.as_os_str(), path.as_os_str()]);
        }
        let env = env.iter().map(|(name, value)| {
            let what = || format!("the environment variable `{}`", name.display());
            c_string(&[name, OsStr::new("="), value], what)
        });
        let env = env.collect::<Result<Vec<_>, _>>()?;
        let its_own = || "its name or its directory".to_owned();
        let first = first.into_iter().map(|word| c_string(&[word], its_own));
        let args = (1..)
            .zip(&self.args)
            .map(|(number, word)| c_string(&[word], || format!("its argument {number}")));
        let argv = first.chain(args).collect::<Result<Vec<_>, _>>()?;
        spawn(
            &c_string(&[file.as_os_str()], its_own)?,
            &argv,
            &env,
            descriptors,
            inherited,
        )
        .map_err(|error| culprit::explain(&error, &path, &argv, &env))
    }

    fn environment(&self) -> BTreeMap<OsString, OsString> {
        let inherited = std::env::vars_os().filter(|_| !self.clear_env);
        inherited.chain(self.env.iter().cloned()).collect()
    }
}

/// Whether this is the server's own working directory, for which no shell is needed.
fn is_here(directory: &Path) -> bool {
    let same = |there: PathBuf| std::env::current_dir().is_ok_and(|here| here == there);
    directory.canonicalize().is_ok_and(same)
}

/// The parts in one. Of what cannot be passed the place is said, and never the value, which may be a secret.
fn c_string(parts: &[&OsStr], place: impl FnOnce() -> String) -> Result<CString, String> {
    let bytes: Vec<u8> = parts
        .iter()
        .flat_map(|part| part.as_bytes())
        .copied()
        .collect();
    CString::new(bytes).map_err(|_| {
        let place = place();
        format!("a NUL byte cannot be passed to a program, and there is one in {place}")
    })
}

#[cfg(any(
    target_os = "linux",
    target_os = "freebsd",
    target_os = "netbsd",
    target_vendor = "apple"
))]
fn spawn(
    file: &CString,
    argv: &[CString],
    env: &[CString],
    descriptors: [BorrowedFd<'_>; 3],
    inherited: &[RawFd],
) -> io::Result<Pid> {
    use std::os::fd::AsRawFd;

    use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
    use nix::sys::signal::{SigSet, Signal};

    #[cfg(target_os = "linux")]
    let own_session = i32::from(nix::libc::POSIX_SPAWN_SETSID);
    // `POSIX_SPAWN_SETSID` of its <spawn.h>, which the crate libc does not know: since macOS 10.15.
    #[cfg(target_vendor = "apple")]
    let own_session = 0x0400 | nix::libc::POSIX_SPAWN_CLOEXEC_DEFAULT;
    #[cfg(any(target_os = "freebsd", target_os = "netbsd"))]
    let own_session = PosixSpawnFlags::POSIX_SPAWN_SETPGROUP.bits();

    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(
        PosixSpawnFlags::from_bits_retain(own_session)
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK,
    )?;
    // What a server ignores (its runtime SIGPIPE, a careless launcher SIGCHLD) would be ignored by the program too.
    let mut by_default = SigSet::empty();
    for signal in [Signal::SIGPIPE, Signal::SIGCHLD, Signal::SIGTERM] {
        by_default.add(signal);
    }
    attributes.set_sigdefault(&by_default)?;
    attributes.set_sigmask(&SigSet::empty())?;

    let mut actions = PosixSpawnFileActions::init()?;
    for (number, descriptor) in (0..).zip(&descriptors) {
        actions.add_dup2(descriptor.as_raw_fd(), number)?;
    }
    for descriptor in inherited {
        actions.add_close(*descriptor)?;
    }
    let pid = posix_spawn(file.as_c_str(), &actions, &attributes, argv, env)?;
    Pid::from_raw(pid.as_raw()).ok_or_else(|| io::Error::other("the system gave no process id"))
}

#[cfg(not(any(
    target_os = "linux",
    target_os = "freebsd",
    target_os = "netbsd",
    target_vendor = "apple"
)))]
fn spawn(
    file: &CString,
    argv: &[CString],
    env: &[CString],
    [stdin, stdout, stderr]: [BorrowedFd<'_>; 3],
    _inherited: &[RawFd],
) -> io::Result<Pid> {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    let text = |text: &CString| OsStr::from_bytes(text.as_bytes()).to_owned();
    let mut command = Command::new(text(file));
    command.args(argv.iter().skip(1).map(text)).env_clear();
    if let Some(name) = argv.first() {
        command.arg0(text(name));
    }
    for pair in env {
        let equals = pair.as_bytes().iter().position(|byte| *byte == b'=');
        let (name, value) = pair
            .as_bytes()
            .split_at(equals.unwrap_or(pair.as_bytes().len()));
        command.env(
            OsStr::from_bytes(name),
            OsStr::from_bytes(value.get(1..).unwrap_or_default()),
        );
    }
    command
        .stdin(stdin.try_clone_to_owned()?)
        .stdout(stdout.try_clone_to_owned()?)
        .stderr(stderr.try_clone_to_owned()?)
        .process_group(0);
    Ok(Pid::from_child(&command.spawn()?))
}
