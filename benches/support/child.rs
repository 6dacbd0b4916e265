//! A server in a process of its own: started, looked at through `/proc`, ended.

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::measure::cores;
use super::tools::Spec;

/// The unit of the times in `/proc/<pid>/stat`: `USER_HZ`, which is 100 on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// What serves: this program once more, or a peer, which is a program of its own.
fn program(spec: &Spec) -> PathBuf {
    match spec.front.starts_with("rmcp") {
        true => Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("benches/peers/rmcp/target/release/peer-rmcp"),
        false => env::current_exe().expect("a process knows its own file"),
    }
}

/// A server process. Dropped, it is told to leave, and killed if it does not.
pub(crate) struct ServerProcess {
    process: Child,
    /// Kept open: its end is the child's word to leave.
    stdin: Option<ChildStdin>,
}

impl ServerProcess {
    /// A server that listens on HTTP.
    pub(crate) fn http(spec: &Spec) -> (ServerProcess, SocketAddr) {
        Self::http_with(spec, &[])
    }

    /// The same with these variables in its environment.
    pub(crate) fn http_with(spec: &Spec, env: &[(&str, &str)]) -> (ServerProcess, SocketAddr) {
        let (mut server, stdin, stdout) = Self::start(spec, env);
        server.stdin = Some(stdin);
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("the server process says where it listens");
        let address = line.trim().parse().expect("what it says is an address");
        (server, address)
    }

    /// A server on the stdin and stdout of its process.
    pub(crate) fn stdio(spec: &Spec) -> (ServerProcess, ChildStdin, ChildStdout) {
        Self::start(spec, &[])
    }

    fn start(spec: &Spec, env: &[(&str, &str)]) -> (ServerProcess, ChildStdin, ChildStdout) {
        let mut process = Command::new(program(spec))
            .arg("--serve")
            .args(spec.to_arguments())
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("`{}` cannot be started: {error}; is it built?", spec.front)
            });
        let stdin = process.stdin.take().expect("it is a pipe");
        let stdout = process.stdout.take().expect("it is a pipe");
        let server = ServerProcess {
            process,
            stdin: None,
        };
        (server, stdin, stdout)
    }

    /// The CPU time the process has used, in user and kernel, in steps of 10 ms.
    pub(crate) fn cpu(&self) -> Duration {
        cpu_of(&self.process.id().to_string())
    }

    /// Open file descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.process.id())).map_or(0, Iterator::count)
    }

    /// Resident memory in KiB, and the number of threads.
    pub(crate) fn memory(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let word = line.and_then(|line| line.split_whitespace().next());
            word.and_then(|word| word.parse().ok()).unwrap_or(0)
        };
        (field("VmRSS:"), field("Threads:"))
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let deadline = Instant::now() + Duration::from_secs(2);
        while Instant::now() < deadline {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let _gone_already = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// Who used the CPU while something was measured.
pub(crate) struct Shares {
    own: Duration,
    server: Duration,
    machine: Duration,
    began: Instant,
}

/// What came of it.
pub(crate) struct Spent {
    /// CPU time of the server.
    pub(crate) server: Duration,
    /// CPU time of this process, the client.
    pub(crate) own: Duration,
    /// The client's share of all cores.
    pub(crate) client: f64,
    /// The share of all cores that neither of the two used and that was not idle: what makes a run worth less.
    pub(crate) others: f64,
}

impl Shares {
    pub(crate) fn start(server: &ServerProcess) -> Self {
        Shares {
            own: own_cpu(),
            server: server.cpu(),
            machine: machine_cpu(),
            began: Instant::now(),
        }
    }

    pub(crate) fn end(&self, server: &ServerProcess) -> Spent {
        let own = own_cpu().saturating_sub(self.own);
        let served = server.cpu().saturating_sub(self.server);
        let others = machine_cpu()
            .saturating_sub(self.machine)
            .saturating_sub(own + served);
        let all = self.began.elapsed().as_secs_f64() * cores();
        Spent {
            server: served,
            own,
            client: own.as_secs_f64() / all,
            others: others.as_secs_f64() / all,
        }
    }
}

/// The CPU time of this process, the client.
fn own_cpu() -> Duration {
    cpu_of("self")
}

fn cpu_of(process: &str) -> Duration {
    let ticks = || -> io::Result<u32> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        // The name, in parentheses, may hold anything; utime and stime are the 12th and 13th field after it.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let times = fields.split_whitespace().skip(11).take(2);
        Ok(times.filter_map(|ticks| ticks.parse::<u32>().ok()).sum())
    };
    TICK * ticks().unwrap_or(0)
}

/// The CPU time that all processes of the machine have used, what a hypervisor took included.
fn machine_cpu() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = stat.lines().next().unwrap_or_default();
    let fields: Vec<u32> = first
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal
    let busy = [0, 1, 2, 5, 6, 7];
    TICK * busy.iter().filter_map(|at| fields.get(*at)).sum()
}
