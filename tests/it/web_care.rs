//! Being careful on the web: what is refused before any message is read, over a real socket.

use std::net::{TcpListener, TcpStream};

use mcp_threads::Server;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use crate::harness::http::Ask;
use crate::harness::{
    Gate, Http, PATIENCE, Reply, alone, call, code, logs, modern, on_every_front, probes, text,
    until, with_meta,
};

type Change = fn(Ask) -> Ask;

/// A good request, one change to it, and the status that it gets.
const ROWS: &[(&str, Change, u16)] = &[
    ("nothing", |ask| ask, 200),
    (
        "a loopback name",
        |ask| ask.field("Host", "LocalHost:1"),
        200,
    ),
    (
        "the loopback of IPv6",
        |ask| ask.field("Host", "[::1]:8080"),
        200,
    ),
    (
        "a host of the list",
        |ask| ask.field("Host", "mcp.example"),
        200,
    ),
    (
        "a host in other letters, with a port",
        |ask| ask.field("Host", "MCP.Example:443"),
        200,
    ),
    ("an evil host", |ask| ask.field("Host", "evil.example"), 403),
    (
        "a host that only begins well",
        |ask| ask.field("Host", "localhost.evil.example"),
        403,
    ),
    (
        "an origin on this machine",
        |ask| ask.field("Origin", "http://localhost:5173"),
        200,
    ),
    (
        "an origin of a listed host, which is no listed origin",
        |ask| ask.field("Origin", "https://mcp.example"),
        403,
    ),
    (
        "a listed origin",
        |ask| ask.field("Origin", "https://app.example"),
        200,
    ),
    (
        "a listed origin with another port",
        |ask| ask.field("Origin", "https://app.example:444"),
        403,
    ),
    (
        "an evil origin",
        |ask| ask.field("Origin", "http://evil.example"),
        403,
    ),
    ("an opaque origin", |ask| ask.field("Origin", "null"), 403),
    (
        "two origins",
        |ask| {
            ask.and_field("Origin", "http://localhost")
                .and_field("Origin", "http://localhost")
        },
        403,
    ),
    ("no content type", |ask| ask.without("Content-Type"), 415),
    (
        "another content type",
        |ask| ask.field("Content-Type", "text/plain"),
        415,
    ),
    (
        "a form",
        |ask| ask.field("Content-Type", "application/x-www-form-urlencoded"),
        415,
    ),
    (
        "a content type with a charset",
        |ask| ask.field("Content-Type", "Application/JSON; charset=utf-8"),
        200,
    ),
    ("no accept", |ask| ask.without("Accept"), 200),
    ("anything accepted", |ask| ask.field("Accept", "*/*"), 200),
    (
        "only JSON accepted",
        |ask| ask.field("Accept", "application/json"),
        406,
    ),
    (
        "only events accepted",
        |ask| ask.field("Accept", "text/event-stream"),
        406,
    ),
    (
        "JSON refused",
        |ask| ask.field("Accept", "application/json;q=0, text/event-stream"),
        406,
    ),
    (
        "accepted in two fields",
        |ask| {
            ask.field("Accept", "text/event-stream")
                .and_field("Accept", "application/json;q=0.5")
        },
        200,
    ),
];

fn careful() -> Server {
    probes(&Gate::new())
        .allowed_hosts(["mcp.example"])
        .allowed_origins(["https://app.example"])
}

#[test]
fn every_refusal_of_the_head_has_its_status_and_costs_no_message() {
    on_every_front(|front| {
        let (served, http) = front.serve(careful());
        let mut served_calls = 0;
        for (what, change, status) in ROWS {
            let ask = change(http.modern(&call(1, "echo", json!({ "text": "in" }))));
            let mut reply = ask.field("X-Request-Id", "careful").send();
            assert_eq!(
                (reply.status, reply.request_id().as_str()),
                (*status, "careful"),
                "{what}"
            );
            let answer = reply.json();
            if *status == 200 {
                assert_eq!(text(&answer), "in", "{what}");
                served_calls += 1;
            } else {
                // Who may not call at all is not read any further.
                let id = (*status != 403).then(|| json!(1));
                assert_eq!(
                    (code(&answer), answer.get("id")),
                    (-32600, id.as_ref()),
                    "{what}"
                );
            }
        }
        served.until_main("only good requests were served", |main| {
            main.done == served_calls
        });
        served.stop();
    });
}

#[test]
fn unknown_paths_are_404_and_other_verbs_405() {
    on_every_front(|front| {
        let (served, http) = front.serve(careful());
        let discover = modern(1, "server/discover", json!({}));
        for path in [
            "/",
            "/mcp//",
            "/mcp/x",
            "/MCP",
            "/mc",
            "//mcp",
            "/.well-known/oauth-protected-resource",
        ] {
            for verb in ["GET", "POST", "DELETE"] {
                assert_eq!(http.bare(verb, path).send().status, 404, "{verb} {path}");
            }
        }
        for verb in ["PUT", "PATCH", "HEAD"] {
            let reply = http.bare(verb, "/mcp").send();
            assert_eq!(
                (reply.status, reply.field("Allow")),
                (405, Some("GET, POST, DELETE, OPTIONS")),
                "{verb}"
            );
        }
        assert_eq!(
            http.bare("GET", "/")
                .field("Host", "evil.example")
                .send()
                .status,
            403,
            "who may not call learns nothing"
        );
        for same in ["/mcp?x=1", "/mcp/", "/mcp/?x=1"] {
            let reply = http.modern(&discover).target(same).send();
            assert_eq!(reply.status, 200, "{same} is no other path");
        }
        served.stop();
        let (served, http) = front.serve(careful().path("/elsewhere"));
        assert_eq!(http.modern(&discover).send().status, 404);
        assert_eq!(
            http.modern(&discover).target("/elsewhere").send().status,
            200
        );
        served.stop();
    });
}

/// Probes know no name of the server, and are no news.
#[test]
fn a_health_check_tells_a_server_that_serves_from_one_that_drains() {
    logs::keep();
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(probes(&gate));
        let probe = http
            .bare("GET", "/healthz")
            .field("Host", "10.1.2.3:8080")
            .field("X-Request-Id", format!("{}-probe", front.name));
        let nameless = probe.clone().without("Host").without("X-Request-Id");
        for probe in [probe.clone(), nameless] {
            // The guarded front needs a Host of HTTP/1.1, whatever it is; a refusal is news.
            let mut reply = probe.and_field("Origin", "https://evil.example").send();
            if reply.status != 400 {
                assert_eq!((reply.status, reply.body().as_str()), (200, "ok\n"));
            }
        }
        let refused = http.bare("POST", "/healthz").send();
        assert_eq!(
            (refused.status, refused.field("Allow")),
            (405, Some("GET, HEAD"))
        );
        let running = http.modern(&call(1, "gate", json!({}))).connect();
        gate.began();
        // Opened before the drain: it is answered, and then closed.
        let kept = probe.connect().reply();
        assert_eq!(kept.field("Connection"), None);
        let handle = served.handle();
        let ending = std::thread::spawn(move || served.shutdown(PATIENCE));
        until("the drain has begun", || handle.stats().draining);
        if front.is_tiny() {
            let mut reply = probe.connect().reply();
            assert_eq!((reply.status, reply.body().as_str()), (503, "draining\n"));
            assert_eq!(reply.field("Connection"), Some("close"));
        }
        gate.let_go(1);
        assert_eq!(text(&running.reply().message()), "somebody");
        ending.join().expect("a shutdown does not panic");
        let mark = format!("request_id={}-probe", front.name);
        assert_eq!(logs::lines_with(&mark).len(), 0, "no line above debug");

        let (served, http) = front.serve(probes(&gate).health_path("/up"));
        assert_eq!(http.bare("GET", "/up/").send().status, 200);
        assert_eq!(http.bare("GET", "/healthz").send().status, 404);
        served.stop();
        let (served, http) = front.serve(probes(&gate).without_health_path());
        assert_eq!(http.bare("GET", "/healthz").send().status, 404);
        served.stop();
    });
}

/// What a browser asks before a page may call, and what it must read in every answer to that page.
#[test]
fn pages_of_exactly_the_accepted_origins_may_call() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(
            probes(&gate)
                .allowed_hosts(["mcp.example"])
                .allowed_origins(["https://app.example", "null"]),
        );
        let echo = call(1, "echo", json!({ "text": "in" }));
        let preflight = http
            .bare("OPTIONS", "/mcp")
            .field("Access-Control-Request-Method", "POST")
            .field(
                "Access-Control-Request-Headers",
                "content-type,mcp-method,mcp-name,mcp-protocol-version,x-other",
            );
        for origin in ["https://app.example", "http://localhost:5173", "null"] {
            let reply = preflight.clone().field("Origin", origin).send();
            assert_eq!(reply.status, 204, "{origin}");
            for (name, value) in [
                ("Access-Control-Allow-Origin", origin),
                ("Vary", "Origin"),
                ("Access-Control-Allow-Methods", "GET, POST, DELETE"),
                (
                    "Access-Control-Allow-Headers",
                    "content-type, mcp-method, mcp-name, mcp-protocol-version",
                ),
                ("Access-Control-Max-Age", "7200"),
            ] {
                assert_eq!(reply.field(name), Some(value), "{origin}: {name}");
            }
            // Answers, notifications, streams, and refusals of every kind.
            let from = |ask: Ask| ask.field("Origin", origin);
            let progress = with_meta(call(2, "gate", json!({})), json!({ "progressToken": 1 }));
            let replies = [
                (from(http.modern(&echo)).send(), 200),
                (
                    from(http.modern(&progress).field("Mcp-Name", "x")).send(),
                    400,
                ),
                (from(http.bare("GET", "/nowhere")).send(), 404),
                (from(http.bare("PUT", "/mcp")).send(), 405),
                (
                    from(http.post("{}").field("Content-Type", "text/plain")).send(),
                    415,
                ),
                (
                    from(http.modern(&echo).field("Host", "evil.example")).send(),
                    403,
                ),
                (from(http.bare("DELETE", "/mcp")).send(), 400),
            ];
            for (reply, status) in replies {
                assert_eq!(reply.status, status, "{origin}");
                assert_may_read(&reply, origin);
            }
            let session = http.initialize("2025-11-25");
            let listening = from(session.get()).send();
            assert!(listening.is_stream());
            assert_may_read(&listening, origin);
        }
        for origin in [
            "https://mcp.example",
            "https://evil.example",
            "https://app.example:444",
        ] {
            let refused = preflight.clone().field("Origin", origin).send();
            assert_eq!(refused.status, 403, "{origin}");
            assert_eq!(refused.field("Access-Control-Allow-Origin"), None);
            assert_eq!(refused.field("Access-Control-Allow-Methods"), None);
            let refused = http.modern(&echo).field("Origin", origin).send();
            assert_eq!(refused.status, 403, "{origin}");
            assert_eq!(refused.field("Access-Control-Allow-Origin"), None);
        }
        let plain = preflight.send();
        assert_eq!(
            (plain.status, plain.field("Allow")),
            (204, Some("GET, POST, DELETE, OPTIONS"))
        );
        assert_eq!(plain.field("Access-Control-Allow-Origin"), None);
        served.stop();
    });
}

#[track_caller]
fn assert_may_read(reply: &Reply, origin: &str) {
    for (name, value) in [
        ("Access-Control-Allow-Origin", origin),
        ("Vary", "Origin"),
        (
            "Access-Control-Expose-Headers",
            "Mcp-Session-Id, Retry-After, X-Request-Id",
        ),
    ] {
        assert_eq!(reply.field(name), Some(value), "{origin}: {name}");
    }
}

/// A proxy in front owns the check, or the server goes by many names.
#[test]
fn a_pattern_of_hosts_is_honoured() {
    on_every_front(|front| {
        let echo = call(1, "echo", json!({ "text": "in" }));
        for (hosts, allowed, refused) in [
            (["*"], &["evil.example", "10.0.0.1:80"][..], &[][..]),
            (
                ["*.example.com"],
                &["a.example.com", "b.a.example.com:8080"][..],
                &["example.com", "a.example.com.evil.example"][..],
            ),
        ] {
            let (served, http) = front.serve(probes(&Gate::new()).allowed_hosts(hosts));
            let status = |host: &str| http.modern(&echo).field("Host", host).send().status;
            for host in allowed {
                assert_eq!(status(host), 200, "{host} by {hosts:?}");
            }
            for host in refused {
                assert_eq!(status(host), 403, "{host} by {hosts:?}");
            }
            served.stop();
        }
    });
}

/// On an address that others can reach, loopback names are no longer taken for granted.
#[test]
fn beyond_loopback_only_the_listed_hosts_may_call() {
    let server = || probes(&Gate::new()).allowed_hosts(["mcp.example"]);
    let running = server()
        .serve_http("0.0.0.0:0")
        .expect("it can start with a list");
    let port = running.addr().expect("it serves HTTP").port();
    let http = Http::new(([127, 0, 0, 1], port).into());
    let ask = http.modern(&modern(1, "server/discover", json!({})));
    for (host, status) in [
        ("mcp.example", 200),
        ("mcp.example:80", 200),
        ("localhost", 403),
        ("127.0.0.1", 403),
    ] {
        assert_eq!(
            ask.clone().field("Host", host).send().status,
            status,
            "{host}"
        );
    }
    running.shutdown(PATIENCE);
}

#[test]
fn a_server_can_be_started_on_a_listener_of_one_s_own() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    let running = probes(&Gate::new())
        .serve_listener(listener)
        .expect("it can start");
    assert_eq!(running.addr(), Some(address));
    assert_eq!(
        text(&Http::new(address).ask(&call(1, "echo", json!({ "text": "a" })))),
        "a"
    );
    running.shutdown(PATIENCE);
}

/// An accept that fails for want of descriptors never ends the server: it is served again as soon as there are some. tiny_http cannot promise that.
#[cfg(feature = "http")]
#[test]
fn running_out_of_descriptors_does_not_end_the_server() {
    alone(
        "web_care::running_out_of_descriptors_does_not_end_the_server",
        || {
            on_every_front(|front| {
                if front.is_tiny() {
                    return;
                }
                let (served, http) = front.serve(probes(&Gate::new()));
                let echo = call(1, "echo", json!({ "text": "alive" }));
                assert_eq!(text(&http.ask(&echo)), "alive");
                let before = getrlimit(Resource::Nofile);
                let open = std::fs::read_dir("/proc/self/fd")
                    .expect("Linux lists descriptors")
                    .count() as u64;
                let scarce = Rlimit {
                    current: Some(open + 8),
                    ..before
                };
                setrlimit(Resource::Nofile, scarce).expect("a limit can be lowered");
                for _ in 0..3 {
                    let mut clients = Vec::new();
                    while let Ok(client) = TcpStream::connect(http.address()) {
                        clients.push(client);
                        assert!(clients.len() < 100, "the limit is reached before");
                    }
                    drop(clients);
                    // Until the server has seen that they left it may refuse, or drop what it has accepted.
                    until("it serves again", || {
                        let ask = http.modern(&echo).field("Connection", "close");
                        let unread = ask.try_connect();
                        unread.is_ok_and(|unread| unread.whatever_comes().contains("alive"))
                    });
                    assert_eq!(text(&http.ask(&echo)), "alive");
                }
                setrlimit(Resource::Nofile, before).expect("and be raised again");
                served.stop();
            });
        },
    );
}
