//! Where a front can be reached: IPv6, Unix-domain sockets, listeners that were bound elsewhere.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

use super::super::listener::Accept;
use super::*;

#[test]
fn it_listens_on_ipv6() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        return; // this machine has none
    };
    let site = Site::on(Listener::from(listener), patient());
    assert!(site.address().is_ipv6());
    assert_eq!(site.connect().get("/x").status, 404);
    site.entered("/x");
    site.close();
}

fn socket_path(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("mcp-threads-{name}-{}.sock", std::process::id()))
}

fn connect_unix(path: &std::path::Path) -> Client<UnixStream> {
    let stream = UnixStream::connect(path).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    Client::new(stream)
}

#[test]
fn a_unix_socket_is_served_and_removed() {
    let path = socket_path("served");
    let listener = Listener::bind_unix(&path, 0o640).expect("a fresh path");
    let mode = std::fs::metadata(&path)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o640);
    let site = Site::on(listener, patient());
    assert_eq!(site.front.address, None);
    let mut client = connect_unix(&path);
    assert_eq!(client.get("/big?300000").body.len(), 300_000);
    site.entered("/big?300000");
    // A departure is noticed here too.
    client.send(get("/wait"));
    site.entered("/wait");
    assert!(!site.client_left());
    drop(client);
    assert_eq!(site.event(), Event::Departed);
    // A live socket is not taken over.
    assert!(Listener::bind_unix(&path, 0o600).is_err());
    site.close();
    assert!(!path.exists());
}

/// It is made under a shorter name, and could be moved to one that no client can name.
#[test]
fn a_path_that_no_client_could_connect_to_is_refused() {
    let directory = Directory::new("long");
    let path = directory.0.join("s".repeat(120));
    assert!(Listener::bind_unix(&path, 0o600).is_err());
    assert_eq!(directory.names().len(), 0);
}

#[test]
fn a_unix_socket_that_a_dead_server_left_is_replaced() {
    let path = socket_path("left-over");
    drop(UnixListener::bind(&path).expect("a fresh path"));
    assert!(path.exists());
    let listener = Listener::bind_unix(&path, 0o600).expect("nobody listens there");
    // What somebody else puts there later is not ours to remove.
    std::fs::remove_file(&path).expect("it is there");
    std::fs::write(&path, "precious").expect("a temporary file");
    drop(listener);
    assert!(path.exists());
    assert!(Listener::bind_unix(&path, 0o600).is_err());
    std::fs::remove_file(&path).expect("it is there");
}

/// A directory for one test's sockets, removed with it.
struct Directory(std::path::PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = socket_path(name).with_extension("d");
        std::fs::create_dir_all(&path).expect("a temporary directory");
        Directory(path)
    }

    fn names(&self) -> Vec<std::ffi::OsString> {
        let entries = std::fs::read_dir(&self.0).expect("it is there");
        entries
            .map(|entry| entry.expect("an entry").file_name())
            .collect()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Of servers that start together, on a free path or on what a dead one left there, one gets it and can be reached, and the others are told.
#[test]
fn of_servers_that_start_together_one_gets_the_path() {
    let directory = Directory::new("together");
    let path = directory.0.join("s");
    for round in 0..2000 {
        if round % 4 > 0 {
            drop(UnixListener::bind(&path).expect("nothing is there"));
        }
        let barrier = std::sync::Barrier::new(3);
        let bound: Vec<_> = std::thread::scope(|scope| {
            let start = || {
                barrier.wait();
                Listener::bind_unix(&path, 0o600)
            };
            let starting: Vec<_> = (0..3).map(|_| scope.spawn(start)).collect();
            let started = starting
                .into_iter()
                .map(|one| one.join().expect("no panic"));
            started.collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = bound.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1, "round {round}: {lost:?}");
        for error in lost.into_iter().filter_map(Result::err) {
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        }
        let _client = UnixStream::connect(&path).expect("one can be reached");
        for listener in won.into_iter().flatten() {
            listener.accept().expect("it is this one");
            assert_eq!(directory.names(), ["s"], "nothing else is left");
        }
        assert_eq!(directory.names().len(), 0);
    }
}

/// Somebody else who may write to the directory can keep a server from its path, but not have it spin or wait.
#[test]
fn what_stands_where_the_lock_should_is_an_error() {
    let directory = Directory::new("lock");
    let [path, lock, other] = ["s", ".s.lock", "other"].map(|name| directory.0.join(name));
    let is_refused = || {
        let (path, (say, refused)) = (path.clone(), std::sync::mpsc::channel());
        std::thread::spawn(move || say.send(Listener::bind_unix(&path, 0o600).is_err()));
        refused.recv_timeout(PATIENCE)
    };
    std::fs::write(&other, "").expect("a file can be made");
    std::os::unix::fs::symlink(&other, &lock).expect("a link can be made");
    assert_eq!(is_refused(), Ok(true), "a link");
    std::fs::remove_file(&lock).expect("it is there");
    let made = std::process::Command::new("mkfifo").arg(&lock).status();
    assert!(made.is_ok_and(|made| made.success()), "a pipe can be made");
    assert_eq!(is_refused(), Ok(true), "a pipe");
}

/// A live server that is too busy to accept is a live server, and to find that out takes no wait.
#[test]
fn a_live_server_with_a_full_backlog_is_not_taken_over() {
    let directory = Directory::new("backlog");
    let path = directory.0.join("s");
    let live = UnixListener::bind(&path).expect("a fresh path");
    rustix::net::listen(&live, 0).expect("it listens");
    let mut waiting = Vec::new();
    loop {
        use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, connect, socket};
        let client = socket(AddressFamily::UNIX, SocketType::STREAM, None).expect("a descriptor");
        rustix::io::ioctl_fionbio(&client, true).expect("a socket");
        match connect(&client, &SocketAddrUnix::new(&path).expect("short")) {
            Ok(()) => waiting.push(client),
            Err(error) => break assert_eq!(error, rustix::io::Errno::AGAIN),
        }
    }
    let (told, answer) = unbounded();
    let starting = path.clone();
    std::thread::spawn(move || told.send(Listener::bind_unix(&starting, 0o600)));
    let bound = answer.recv_timeout(PATIENCE);
    let refused = bound
        .expect("to look whether somebody listens takes no wait")
        .expect_err("somebody listens there");
    assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
    assert_eq!(directory.names(), ["s"]);
}

#[test]
fn unix_listeners_that_were_bound_elsewhere_are_served_and_left_alone() {
    let path = socket_path("activated");
    let listener = UnixListener::bind(&path).expect("a fresh path");
    let site = Site::on(Listener::from(listener), patient());
    assert_eq!(connect_unix(&path).get("/x").status, 404);
    site.entered("/x");
    site.close();
    assert!(path.exists());
    std::fs::remove_file(&path).expect("it is there");
}
