//! Mistakes in the configuration are errors at the start that name what is wrong, not at the first call.

use mcp_threads::{Lane, Server, Tool};
use serde_json::{Value, json};

fn tool(name: &str) -> Tool {
    Tool::new(name).handler(|_: Value| "ok")
}

#[test]
fn every_mistake_is_named_at_the_start() {
    let server = || Server::new("it", "1").register(tool("fine"));
    let long = "x".repeat(129);
    let schema = |schema: Value| server().register(tool("odd").input_schema(schema));
    let rows: Vec<(Server, Vec<&str>)> = vec![
        (
            server().register(tool("twin")).register(tool("twin")),
            vec!["`twin`", "twice"],
        ),
        (server().register(tool("")), vec!["``", "1 to 128"]),
        (
            server().register(tool("two words")),
            vec!["`two words`", "1 to 128"],
        ),
        (server().register(tool("ümlaut")), vec!["`ümlaut`"]),
        (server().register(tool(&long)), vec![&long, "1 to 128"]),
        (
            server().register(Tool::new("idle")),
            vec!["`idle`", "no handler"],
        ),
        (schema(json!({ "type": "array" })), vec!["`odd`", "object"]),
        (schema(json!({})), vec!["`odd`", "object"]),
        (schema(json!("object")), vec!["`odd`", "object"]),
        (
            schema(json!({ "type": "object", "properties": [] })),
            vec!["`odd`", "`properties`"],
        ),
        (
            schema(json!({ "type": "object", "required": "a" })),
            vec!["`odd`", "`required`"],
        ),
        (
            server().register(tool("odd").output_schema(json!(7))),
            vec!["`odd`", "output schema"],
        ),
        (
            server().register(tool("lost").lane("nowhere")),
            vec!["`lost`", "`nowhere`"],
        ),
        (server().lane(Lane::new("")), vec!["a lane needs a name"]),
        (server().lane(Lane::new("a\0b")), vec!["a\\0b", "control"]),
        (server().workers(0), vec!["`main`", "no workers"]),
        (server().workers(usize::MAX), vec!["`main`", "65536"]),
        (
            server().lane(Lane::new("urgent").workers(0)),
            vec!["`urgent`", "no workers"],
        ),
        (
            server().lane(Lane::new("own").workers(0)),
            vec!["`own`", "no workers"],
        ),
    ];
    for (server, words) in rows {
        let Err(error) = server.serve_pipe(std::io::empty(), std::io::sink()) else {
            panic!("this must not start; it should name {words:?}");
        };
        assert!(
            error.is_configuration() && !error.is_bind() && !error.is_spawn(),
            "{error}"
        );
        for word in words {
            assert!(error.to_string().contains(word), "{error} names {word}");
        }
        assert_eq!(
            format!("{error:?}"),
            error.to_string(),
            "main prints a sentence"
        );
    }
}

#[test]
fn the_longest_name_is_fine() {
    let name = "A-Za-z0-9_.-".repeat(20);
    let server = Server::new("it", "1")
        .register(tool(&name[..128]))
        .register(tool("x"));
    let running = server
        .serve_pipe(std::io::empty(), std::io::sink())
        .expect("it can start");
    running.join();
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn addresses_that_cannot_be_served_are_named() {
    use crate::harness::{Gate, on_every_front, probes};
    on_every_front(|front| {
        let (served, http) = front.serve(probes(&Gate::new()));
        let Err(taken) = probes(&Gate::new()).serve_http(http.address()) else {
            panic!("the port is taken");
        };
        assert!(taken.is_bind() && !taken.is_configuration(), "{taken}");
        assert!(
            taken.to_string().contains(&http.address().to_string()),
            "{taken} names the address"
        );
        assert!(std::error::Error::source(&taken).is_some(), "and why");
        served.stop();
    });
    for open in ["0.0.0.0:0", "[::]:0"] {
        let Err(error) = Server::new("it", "1").serve_http(open) else {
            panic!("{open} must not be served without a list of hosts");
        };
        assert!(error.is_configuration() || open.starts_with('['), "{error}");
        assert!(
            error.is_bind() || error.to_string().contains("allowed_hosts"),
            "{error}"
        );
    }
    let Err(nowhere) = Server::new("it", "1").serve_http("256.0.0.1:80") else {
        panic!("this is no address");
    };
    assert!(nowhere.is_bind(), "{nowhere}");
    for no_address in ["8080", "localhost", "http://127.0.0.1:8080"] {
        let refused = Server::new("it", "1").serve_http(no_address).err();
        let refused = refused.expect("it is no address").to_string();
        assert!(refused.contains("HOST:PORT"), "{refused}");
    }
}

/// An option that could not do its job is no option: it is refused, with what would work.
#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn options_of_http_that_could_never_match_are_named_at_the_start() {
    let server = || Server::new("it", "1");
    let rows = [
        (server().path("mcp"), "`mcp`"),
        (server().path("/m c"), "`/m c`"),
        (server().path("/m\u{e9}"), "`/m\u{e9}`"),
        (server().health_path("up"), "`up`"),
        (server().health_path("/mcp/"), "two things"),
        (server().allowed_hosts(["http://a"]), "`http://a`"),
        (server().allowed_hosts(["a:80"]), "`a:80`"),
        (server().allowed_hosts(["a.*.b"]), "`a.*.b`"),
        (server().allowed_hosts(["b\u{fc}cher.example"]), "xn--"),
        (server().allowed_origins(["*"]), "`*`"),
        (server().allowed_origins(["app.example"]), "`app.example`"),
        (server().allowed_origins(["https://*.a"]), "`https://*.a`"),
        (server().allowed_origins(["https://a/"]), "`https://a/`"),
    ];
    for (server, named) in rows {
        let Err(error) = server.serve_http("127.0.0.1:0") else {
            panic!("this must not start; it should name {named}");
        };
        assert!(error.is_configuration(), "{error}");
        assert!(error.to_string().contains(named), "{error} names {named}");
    }
}

#[cfg(feature = "http")]
#[test]
fn a_socket_that_nobody_could_connect_to_is_not_made() {
    let place = crate::harness::Place::empty("deaf");
    let path = place.0.join("socket");
    for permissions in [0, 0o400, 0o555, 0o1_0600] {
        let served = Server::new("it", "1").serve_unix(&path, permissions);
        assert!(served.is_err_and(|error| error.is_configuration()));
        assert!(!path.exists());
    }
}

/// A bound within which nothing could be served is a mistake, too.
#[test]
fn limits_that_no_client_could_keep_are_named_at_the_start() {
    use mcp_threads::Limits;
    use std::time::Duration;
    let zero = Duration::ZERO;
    let rows = [
        (Limits::default().memory_bytes_max(0), "memory_bytes_max"),
        (Limits::default().body_bytes_max(0), "body_bytes_max"),
        (Limits::default().head_timeout(zero), "head_timeout"),
        (Limits::default().body_timeout(zero), "body_timeout"),
        (Limits::default().write_timeout(zero), "write_timeout"),
        (
            Limits::default().session_idle_timeout(zero),
            "session_idle_timeout",
        ),
        (Limits::default().ask_timeout(zero), "ask_timeout"),
    ];
    for (limits, name) in rows {
        let server = Server::new("it", "1").limits(limits);
        let Err(error) = server.serve_pipe(std::io::empty(), std::io::sink()) else {
            panic!("this must not start; it should name {name}");
        };
        assert!(error.is_configuration(), "{error}");
        assert!(error.to_string().contains(name), "{error} names {name}");
    }
}
