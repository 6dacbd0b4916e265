//! The supervisor: a small process beside the server that ends what the server leaves behind when it dies without a shutdown.
//!
//! It is a shell in a session of its own. It reads on its stdin which process groups live and which have ended; when its stdin ends, because the
//! server has, by `SIGKILL` or otherwise, it sends `SIGTERM` to the groups that are left, and a second later `SIGKILL`. It is told of a group right
//! after the group was started, so only a server that dies in between leaves one behind. Must not know commands.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::net::send;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::base::log;
use crate::base::send::{AT_ONCE, prepare_at_once};
use crate::handler::command::launch::Launch;

const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM
cd /
live=' '
while read -r what id; do
  case $what in
    add) live="$live$id " ;;
    end) case $live in *" $id "*) live="${live%% $id *} ${live#* $id }" ;; esac ;;
  esac
done
set -- $live
[ $# -gt 0 ] || exit 0
for id; do kill -s TERM -- "-$id"; kill -s CONT -- "-$id"; done
sleep 1
for id; do kill -s KILL -- "-$id"; done
"#;

/// How long an unneeded supervisor may take to end before it is killed, and how long one must have lived to be replaced as soon as it has gone.
const DISMISSAL: Duration = Duration::from_secs(1);

/// The supervisor's process, and the only end of the pipe to it.
pub(super) struct Supervisor {
    pid: Pid,
    since: Instant,
    /// `None` once it has been dismissed.
    pipe: Option<UnixStream>,
}

impl Supervisor {
    /// Starts one for the groups that live. It is told of them before it begins, so that none of it lives without knowing them.
    pub(super) fn start(inherited: &[RawFd], live: &[Pid]) -> Result<Self, String> {
        let plain = |error: io::Error| error.to_string();
        let (pipe, stdin) = UnixStream::pair().map_err(plain)?;
        prepare_at_once(&pipe);
        if !live.iter().all(|group| tell(&pipe, "add", *group)) {
            return Err("there are too many processes for it".to_owned());
        }
        let null = OpenOptions::new()
            .write(true)
            .open("/dev/null")
            .map_err(plain)?;
        let args = ["-c", SCRIPT, "mcp-threads-supervisor"].map(OsString::from);
        let launch = Launch {
            program: "/bin/sh".into(),
            args: args.to_vec(),
            ..Launch::default()
        };
        let descriptors = [stdin.as_fd(), null.as_fd(), null.as_fd()];
        let pid = launch.start(descriptors, inherited)?;
        let pipe = Some(pipe);
        let since = Instant::now();
        Ok(Supervisor { pid, since, pipe })
    }

    /// Tells it that a group lives from now on (`add`), or has ended (`end`). False when it does not listen any more.
    pub(super) fn tell(&self, what: &str, group: Pid) -> bool {
        (self.pipe.as_ref()).is_some_and(|pipe| tell(pipe, what, group))
    }

    /// Kills it before it can act on its stdin's end: another takes over. Not if the kernel has reaped it, for its number may be somebody else's by then.
    pub(super) fn replace(self) {
        if self.has_ended() {
            return;
        }
        if let Err(errno) = kill_process(self.pid, Signal::KILL) {
            log::debug!("the supervisor of child processes cannot be killed: {errno}");
        }
    }
}

fn tell(pipe: &UnixStream, what: &str, group: Pid) -> bool {
    let line = format!("{what} {}\n", group.as_raw_nonzero());
    send(pipe, line.as_bytes(), AT_ONCE).is_ok_and(|sent| sent == line.len())
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if self.pipe.is_some() {
            self.end_by(Instant::now() + DISMISSAL);
        }
    }
}

impl Supervisor {
    /// Nothing is left to be supervised: waits for its end until the deadline.
    pub(super) fn dismiss(mut self, deadline: Instant) {
        self.end_by(deadline);
    }

    fn end_by(&mut self, deadline: Instant) {
        self.pipe = None;
        // Its end takes a shell a moment, and nothing but asking tells everywhere when it has come.
        while !self.has_ended() {
            if Instant::now() >= deadline {
                return log::warn!(
                    "the supervisor of child processes {:?} has not ended",
                    self.pid
                );
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether it has ended though nobody dismissed it. Not asked of one that is young, because the next might end as soon.
    pub(super) fn is_lost(&self) -> bool {
        self.since.elapsed() >= DISMISSAL && self.has_ended()
    }

    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        !matches!(waitid(WaitId::Pid(self.pid), options), Ok(None))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::process::{Command, Stdio};

    use super::*;

    /// Where `SIGCHLD` is ignored the kernel gives the number of a supervisor that was killed to another process.
    #[test]
    fn what_is_no_child_of_ours_is_not_killed_for_a_supervisor() {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "exec 3<&0; (read -r _ <&3; echo lives) & echo $!"]);
        let shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = shell.spawn().expect("it is there");
        let mut said = BufReader::new(shell.stdout.take().expect("it is piped"));
        let mut number = String::new();
        said.read_line(&mut number).expect("the shell says it");
        let mut stdin = shell.stdin.take().expect("it is piped");
        shell.wait().expect("it is our child");
        let number = number.trim().parse().expect("it is a number");
        let pid = Pid::from_raw(number).expect("it is not zero");
        let (since, pipe) = (Instant::now(), None);
        Supervisor { pid, since, pipe }.replace();
        let _nobody_reads = stdin.write_all(b"go\n");
        let mut rest = String::new();
        said.read_to_string(&mut rest).expect("it ends");
        assert_eq!(rest, "lives\n");
    }
}
