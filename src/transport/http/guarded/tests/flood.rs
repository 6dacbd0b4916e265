//! More connections than there is room for, and accepting that fails.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::super::bound::Listener;
use super::super::listener::{Accept, Acceptor, Waker};
use super::super::registry::{Connections, Link};
use super::super::socket::Socket;
use super::*;

fn full(client: &mut Client<TcpStream>) {
    let answer = client.answer();
    assert_eq!(answer.status, 503);
    assert!(answer.closes());
    assert_eq!(answer.field("Retry-After"), Some("1"));
    let error: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(error["jsonrpc"], "2.0");
}

#[test]
fn one_connection_more_than_the_bound_is_refused() {
    let site = Site::new(patient().connections_max(3).refused_linger(PATIENCE * 4));
    let mut first: Vec<_> = (0..3).map(|_| site.connect()).collect();
    for client in &mut first {
        assert_eq!(client.get("/x").status, 404);
        site.entered("/x");
    }
    // Whether it speaks or not, and whether it waits for the answer or goes on sending.
    let mut silent = site.connect();
    full(&mut silent);
    silent.expect_end();
    let mut eager = site.connect();
    eager.try_send(post("/echo", &"x".repeat(10_000)));
    full(&mut eager);
    // It may go on for a while without being reset.
    for _ in 0..10 {
        assert!(eager.try_send("more"));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(site.connections.load(Ordering::Relaxed), 3);
    // The others are served as before, and a place that is given up can be taken.
    assert_eq!(first[0].get("/x").status, 404);
    site.entered("/x");
    first.pop();
    site.await_connections(2);
    assert_eq!(site.connect().get("/x").status, 404);
    site.entered("/x");
    site.close();
}

/// Far more than are kept open to read their refusal.
#[test]
fn a_flood_is_refused_to_the_last() {
    let site = Site::new(
        patient()
            .connections_max(1)
            .refused_connections_max(4)
            .refused_linger(PATIENCE * 4),
    );
    let mut first = site.connect();
    assert_eq!(first.get("/x").status, 404);
    site.entered("/x");
    let mut flood: Vec<_> = (0..100).map(|_| site.connect()).collect();
    for client in &mut flood {
        full(client);
        client.expect_end();
    }
    // The oldest are closed for the sake of the newest.
    await_that("the first to be closed", || !flood[0].try_send("more"));
    assert!(flood[99].try_send("more"));
    assert_eq!(first.get("/x").status, 404);
    site.entered("/x");
    site.close(); // at once, although some are kept open
}

#[test]
fn a_refused_connection_is_closed_after_a_moment() {
    let site = Site::new(
        patient()
            .connections_max(0)
            .refused_linger(Duration::from_millis(20)),
    );
    let mut client = site.connect();
    full(&mut client);
    client.expect_end();
    let begun = Instant::now();
    while client.try_send("more") {
        assert!(begun.elapsed() < PATIENCE, "it is kept for ever");
        std::thread::sleep(Duration::from_millis(5));
    }
    site.close();
}

/// A listener whose accepting fails as long as it is told to.
struct Broken {
    inner: Listener,
    broken: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
}

impl AsFd for Broken {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl Accept for Broken {
    fn accept(&self) -> io::Result<Socket> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.broken.load(Ordering::SeqCst) {
            return Err(rustix::io::Errno::NFILE.into());
        }
        self.inner.accept()
    }
}

#[test]
fn accepting_backs_off_while_it_fails_and_recovers() {
    let inner = any_port();
    inner.open(16).expect("it listens");
    let LocalAddr::Tcp(address) = inner.local_addr().expect("an address") else {
        panic!("TCP");
    };
    let (broken, calls) = (
        Arc::new(AtomicBool::new(true)),
        Arc::new(AtomicUsize::new(0)),
    );
    let listener = Broken {
        inner,
        broken: Arc::clone(&broken),
        calls: Arc::clone(&calls),
    };
    let connections = Arc::new(Connections::default());
    let (wake, waker) = UnixStream::pair().expect("descriptors");
    let (accepted_in, accepted) = unbounded();
    let live = move |_: Arc<Link>| accepted_in.send(()).expect("the test listens");
    let limits = Arc::new(patient().accept_retry_max(Duration::from_millis(100)));
    let acceptor = Acceptor::new(listener, live, Arc::clone(&connections), limits, wake);
    let acceptor = acceptor.expect("descriptors");
    let thread = std::thread::spawn(move || acceptor.run());
    let client = TcpStream::connect(address).expect("it listens");
    // Waits of 5, 10, 20, 40, 80, 100 ms, two calls each: a loop that spins makes thousands in the time.
    await_that("several attempts", || calls.load(Ordering::SeqCst) >= 12);
    std::thread::sleep(Duration::from_millis(300));
    let made = calls.load(Ordering::SeqCst);
    assert!(made < 200, "{made} attempts");
    broken.store(false, Ordering::SeqCst);
    accepted
        .recv_timeout(PATIENCE)
        .expect("it recovers by itself");
    // And it stops at once, even while it fails and waits.
    broken.store(true, Ordering::SeqCst);
    connections.announce_stop();
    Waker(waker).wake();
    thread.join().expect("no panic");
    connections.join(Instant::now() + PATIENCE);
    drop(client);
}

/// In a process of its own, because descriptors belong to the process.
#[test]
fn running_out_of_descriptors_is_survived() {
    in_own_process("flood::few_descriptors");
}

struct CountingLog;

static ERRORS: AtomicUsize = AtomicUsize::new(0);

impl log::Log for CountingLog {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        if record.level() == log::Level::Error {
            ERRORS.fetch_add(1, Ordering::SeqCst);
        }
    }
    fn flush(&self) {}
}

/// The child of the test above; on its own it does nothing.
#[test]
fn few_descriptors() {
    if !is_own_process() {
        return;
    }
    log::set_logger(&CountingLog).expect("the first");
    log::set_max_level(log::LevelFilter::Info);
    let site = Site::new(patient());
    let mut first = site.connect();
    assert_eq!(first.get("/x").status, 404);
    site.entered("/x");
    // Clients that are made but not yet connected, so that they need no descriptor later.
    let unconnected: Vec<_> = (0..20).map(|_| new_socket()).collect();
    let highest = std::fs::File::open("/dev/null").expect("a descriptor");
    let used = rustix::fd::AsRawFd::as_raw_fd(&highest) as u64;
    drop(highest);
    let limit = |current| Rlimit {
        current: Some(current),
        ..getrlimit(Resource::Nofile)
    };
    setrlimit(Resource::Nofile, limit(used)).expect("lowering is allowed");
    let mut clients: Vec<_> = unconnected
        .into_iter()
        .map(|socket| connect(socket, site.address()))
        .collect();
    // There is no descriptor for any of them but the reserve, and each is told so.
    for client in &mut clients {
        full(client);
        client.expect_end();
    }
    assert_eq!(ERRORS.load(Ordering::SeqCst), 1, "logged once");
    assert_eq!(first.get("/x").status, 404);
    site.entered("/x");
    // With descriptors again, everything is as before.
    drop(clients);
    setrlimit(Resource::Nofile, limit(used + 100)).expect("within the hard limit");
    for _ in 0..3 {
        assert_eq!(site.connect().get("/x").status, 404);
        site.entered("/x");
    }
    site.close();
}

fn new_socket() -> rustix::fd::OwnedFd {
    use rustix::net::{AddressFamily, SocketType, socket};
    socket(AddressFamily::INET, SocketType::STREAM, None).expect("a descriptor")
}

fn connect(socket: rustix::fd::OwnedFd, address: SocketAddr) -> Client<TcpStream> {
    rustix::net::connect(&socket, &address).expect("the backlog has room");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    Client::new(stream)
}
