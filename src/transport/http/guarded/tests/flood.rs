//! More connections than there is room for, and accepting that fails.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::super::bound::Listener;
use super::super::listener::REFUSED_MAX;
use super::super::listener::{Accept, Acceptor};
use super::super::reactor::Welcome;
use super::super::registry::Connections;
use super::super::socket::{Bell, Socket};
use super::*;
#[cfg(target_os = "linux")]
use {crate::base::waiting::about_to_wait, std::sync::Barrier};

fn full(client: &mut Client<TcpStream>) {
    let answer = client.answer();
    assert_eq!(answer.status, 503);
    assert!(answer.closes());
    assert_eq!(answer.field("Retry-After"), Some("1"));
    let error: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(error["jsonrpc"], "2.0");
}

/// So many connections with a call under way, which nothing closes to make room.
fn busy(site: &Site, count: usize) -> Vec<Client<TcpStream>> {
    let wait = |_| {
        let mut client = site.connect();
        client.send(get("/wait"));
        site.entered("/wait");
        client
    };
    (0..count).map(wait).collect()
}

fn finish(site: &Site, client: &mut Client<TcpStream>) {
    site.command(Command::Answer);
    assert_eq!(client.answer().text(), "waited");
}

#[test]
fn one_connection_more_than_the_bound_is_refused() {
    let site = Site::new(patient().connections_max(3).refused_linger(PATIENCE * 4));
    let mut first = busy(&site, 3);
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
    // A place that is given up can be taken.
    drop(first.pop());
    assert_eq!(site.event(), Event::Departed);
    site.await_connections(2);
    assert_eq!(site.connect().get("/x").status, 404);
    site.entered("/x");
    site.commands.send(Command::Answer).expect("one waits");
    site.commands.send(Command::Answer).expect("another waits");
    for client in &mut first {
        assert_eq!(client.answer().text(), "waited");
    }
    site.close();
}

/// Far more than are kept open to read their refusal.
#[test]
fn a_flood_is_refused_to_the_last() {
    let site = Site::new(patient().connections_max(1).refused_linger(PATIENCE * 4));
    let mut first = busy(&site, 1);
    let mut flood: Vec<_> = (0..REFUSED_MAX + 36).map(|_| site.connect()).collect();
    for client in &mut flood {
        full(client);
        client.expect_end();
    }
    // The oldest are closed for the sake of the newest.
    await_that("the first to be closed", || !flood[0].try_send("more"));
    assert!(flood.last_mut().expect("many").try_send("more"));
    finish(&site, &mut first[0]);
    site.close(); // at once, although some are kept open
}

/// A crowd that only holds connections does not keep an honest client out: those go first that never sent a whole request, the oldest first,
/// then those that have been silent longest; never one whose call is under way.
#[test]
fn law_9_connections_without_a_request_make_room() {
    let site = Site::new(patient().connections_max(5));
    let mut served = site.connect();
    assert_eq!(served.get("/x").status, 404);
    site.entered("/x");
    await_that("it to be idle", || site.front.connections.at_work() == 0);
    let mut working = busy(&site, 1);
    let mut silent = site.connect();
    let mut half_a_head = site.connect();
    half_a_head.send("GET / HTTP/1.1\r\n");
    let mut half_a_body = site.connect();
    half_a_body.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf");
    site.entered("/echo");
    await_that("its head to be read", || {
        site.front.connections.at_work() == 3
    });
    let mut honest = Vec::new();
    for gone in 0..4 {
        let mut client = site.connect();
        assert_eq!(client.get("/x").status, 404, "{gone}");
        honest.push(client);
        match gone {
            0 => silent.expect_end(),
            1 => assert_eq!(half_a_head.answer().status, 503),
            2 => {
                let answer = half_a_body.answer();
                assert_eq!(answer.status, 503);
                assert!(answer.closes());
            }
            _ => served.expect_end(),
        }
    }
    let mut told: Vec<Event> = site.events.try_iter().collect();
    told.retain(|event| *event != Event::Entered("/x".to_owned()));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(matches!(&told[0], Event::NoBody(why) if why.contains("Unavailable")));
    finish(&site, &mut working[0]);
    drop((half_a_head, half_a_body, honest));
    site.close();
}

/// In a process of its own, because threads belong to the process.
#[test]
fn law_9_threads_are_no_more_than_connections() {
    in_own_process("flood::many_short_connections");
}

thread_local! {
    static LEAVING: SlowEnd = const { SlowEnd };
}

/// Makes a thread take its time to end.
struct SlowEnd;

impl Drop for SlowEnd {
    fn drop(&mut self) {
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// Without those that are ending: one that has been joined is listed until the kernel has put it away.
fn connection_threads() -> usize {
    const PF_EXITING: u32 = 4;
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let living = tasks.filter(|task| {
        let path = task.as_ref().expect("a thread").path().join("stat");
        let stat = std::fs::read_to_string(path).unwrap_or_default();
        let Some((name, rest)) = stat.rsplit_once(") ") else {
            return false;
        };
        let flags: u32 = rest
            .split(' ')
            .nth(6)
            .map_or(0, |flags| flags.parse().expect("flags"));
        name.contains("(mcp-conn") && flags & PF_EXITING == 0
    });
    living.count()
}

/// The child of the test above; on its own it does nothing.
#[test]
#[cfg(target_os = "linux")]
fn many_short_connections() {
    if !is_own_process() {
        return;
    }
    const MAX: usize = 12;
    // Requests wait for each other, and so each on a thread of its own.
    let barrier = Arc::new(Barrier::new(MAX + 1));
    let waits = Arc::clone(&barrier);
    let (front, open) = saying(patient().connections_max(MAX), move |_, _| {
        LEAVING.with(|_| {});
        assert!(about_to_wait(), "there is a thread");
        waits.wait();
        Some("short".to_owned())
    });
    // And the overseer.
    let reactors = super::super::reactor::reactors() + 1;
    let mut most = 0;
    // One crowd after another, then one that comes while the spare threads of the last one leave.
    for pause in [0, 0, 0, 0, 2000, 0, 0] {
        std::thread::sleep(Duration::from_millis(pause));
        let mut clients: Vec<_> = (0..MAX).map(|_| super::connect(&front)).collect();
        clients.iter_mut().for_each(|client| client.send(get("/")));
        await_that("all to have a thread", || {
            connection_threads() >= MAX + reactors
        });
        barrier.wait();
        for client in &mut clients {
            assert_eq!(client.answer().text(), "short");
            most = most.max(connection_threads());
        }
        drop(clients);
        await_that("all to leave", || open.load(Ordering::Relaxed) == 0);
    }
    let enough = MAX + reactors;
    assert!((enough..=enough + 1).contains(&most), "{most} threads");
    assert_eq!(front.join(Instant::now() + PATIENCE), 0);
    assert_eq!(connection_threads(), 0);
}

/// In a process of its own, because the logger belongs to the process.
#[test]
fn refusals_are_logged_once_a_second_with_their_number() {
    in_own_process("flood::many_refusals");
}

/// The child of the test above; on its own it does nothing.
#[test]
fn many_refusals() {
    if !is_own_process() {
        return;
    }
    log::set_logger(&CountingLog).expect("the first");
    log::set_max_level(log::LevelFilter::Info);
    let begun = Instant::now();
    let site = Site::new(patient().connections_max(0));
    for _ in 0..292 {
        full(&mut site.connect());
    }
    let told = || {
        let lines = LINES.lock().expect("no panic");
        let numbers = lines.iter().filter_map(|line| {
            let rest = line.strip_prefix("refused ")?;
            rest.split(' ').next()?.parse::<u64>().ok()
        });
        (numbers.clone().count() as u64, numbers.sum::<u64>())
    };
    // Without another refusal, the rest is told too.
    await_that("all to be told", || told().1 == 292);
    let lines = told().0;
    assert!(lines <= 2 + begun.elapsed().as_secs(), "{lines} lines");
    site.close();
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
    inner.open().expect("it listens");
    let address = inner.address().expect("an address").expect("TCP");
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
    let bell = Arc::new(Bell::new().expect("a descriptor"));
    let (accepted_in, accepted) = unbounded();
    let welcome: Welcome = Arc::new(move |_, _| accepted_in.send(()).expect("the test listens"));
    let limits = Arc::new(patient());
    let acceptor = Acceptor::new(
        listener,
        welcome,
        Arc::clone(&connections),
        limits,
        Arc::clone(&bell),
    );
    let acceptor = acceptor.expect("descriptors");
    let thread = std::thread::spawn(move || acceptor.run());
    let client = TcpStream::connect(address).expect("it listens");
    // Waits of 5, 10, 20, 40, 80, 160 ms, two calls each: a loop that spins makes thousands in the time.
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
    bell.ring();
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
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl log::Log for CountingLog {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        let line = record.args().to_string();
        LINES.lock().expect("no panic").push(line);
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
    // Lines go through the queue of the log.
    let deadline = Instant::now() + PATIENCE;
    while ERRORS.load(Ordering::SeqCst) == 0 && Instant::now() < deadline {
        std::thread::yield_now();
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
