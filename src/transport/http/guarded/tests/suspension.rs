//! A server that is suspended: a laptop that sleeps, a container that is frozen.

use super::deadlines::FAST;
use super::*;

/// Time in which the process does not run is not the client's: what has arrived meanwhile is read, and what could not arrive may still come.
#[test]
fn a_request_that_arrives_while_the_process_is_suspended_is_answered() {
    let mut child = Suspended::start("suspension::a_server_to_suspend");
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n";
    let mut heading = child.connect();
    heading.send("POST /ec");
    let mut bodying = child.connect();
    bodying.send(head.to_owned() + "bo");
    let mut long = child.connect();
    long.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n");
    let mut reading = child.connect();
    reading.send(get("/big?30000000"));
    reading.head(); // and reads no more for now
    let mut idle = child.connect();
    assert_eq!(idle.get("/x").status, 404);
    child.settle();
    child.suspend();
    heading.send(&head["POST /ec".len()..]);
    heading.send("body");
    bodying.send("dy");
    // More than the kernel takes, so that the rest can only come when the process runs again.
    let mut sending = Client::new(long.stream.try_clone().expect("a handle"));
    let sent = std::thread::spawn(move || sending.try_send("l".repeat(4_000_000)));
    std::thread::sleep(ITS_TIME * 5 / 4);
    child.resume();
    child.settle();
    assert_eq!(idle.get("/x").status, 404);
    assert_eq!(
        (heading.answer().text(), bodying.answer().text()),
        ("body", "body")
    );
    assert!(sent.join().expect("no panic"));
    assert_eq!(long.answer().body.len(), 4_000_000);
    let mut taken = reading.unread.len();
    let mut bytes = vec![0; 64 * 1024];
    while taken < 30_000_000 {
        let count = reading.stream.read(&mut bytes).unwrap_or_default();
        assert!(count > 0, "cut after {taken} bytes");
        taken += count;
    }
}

/// What the suspended server gives a client: more than this test takes but for the time in which the server does not run.
const ITS_TIME: Duration = Duration::from_secs(8);

/// A server in a process of its own, which can be suspended.
struct Suspended {
    child: std::process::Child,
    address: SocketAddr,
}

impl Suspended {
    fn start(test: &str) -> Suspended {
        use std::io::BufRead;
        let mut child = std::process::Command::new(std::env::current_exe().expect("this test"))
            .args([
                "--exact",
                &format!("transport::http::guarded::tests::{test}"),
            ])
            .arg("--nocapture")
            .env(IN_OWN_PROCESS, "1")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("it runs");
        let out = io::BufReader::new(child.stdout.take().expect("piped"));
        let mut lines = out.lines().map(|line| line.expect("text"));
        let address = lines
            .find_map(|line| {
                Some(
                    line.split_once("listening on ")?
                        .1
                        .parse()
                        .expect("an address"),
                )
            })
            .expect("it listens");
        Suspended { child, address }
    }

    fn connect(&self) -> Client<TcpStream> {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Client::new(stream)
    }

    /// Another client is answered: what was sent before has been read by now, or as good as.
    fn settle(&self) {
        for _ in 0..3 {
            assert_eq!(self.connect().get("/x").status, 404);
        }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).expect("it runs");
    }

    fn suspend(&mut self) {
        self.signal(rustix::process::Signal::STOP);
        let path = format!("/proc/{}/stat", self.child.id());
        await_that("it to be stopped", || {
            let stat = std::fs::read_to_string(&path).expect("it is there");
            stat.rsplit(')')
                .next()
                .is_some_and(|rest| rest.starts_with(" T"))
        });
    }

    fn resume(&mut self) {
        self.signal(rustix::process::Signal::CONT);
    }
}

impl Drop for Suspended {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The child of the test above; on its own it does nothing.
#[test]
fn a_server_to_suspend() {
    if !is_own_process() {
        return;
    }
    let limits = patient().head_timeout(ITS_TIME).body_timeout(ITS_TIME);
    let limits = limits.idle_timeout(ITS_TIME / 2);
    let site = Site::new(
        limits
            .write_timeout(ITS_TIME)
            .write_bytes_per_second_min(FAST)
            .body_bytes_per_second_min(FAST),
    );
    #[expect(clippy::print_stdout, reason = "the parent reads it")]
    {
        println!("listening on {}", site.address());
    }
    let _until_the_parent_ends = io::stdin().read(&mut [0]);
}
