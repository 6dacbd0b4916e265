//! Where a front can be reached: IPv6, Unix-domain sockets, listeners that were bound elsewhere.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

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
    assert_eq!(site.front.address, LocalAddr::Unix(Some(path.clone())));
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
