//! Law 11: a library does not take over the process.

use serde_json::json;

#[cfg(any(feature = "http", feature = "tiny-http"))]
use crate::harness::on_every_front;
use crate::harness::{Gate, Served, alone, call, probes, text};

/// What a library could take over: signal dispositions and masks, the standard descriptors, the logger's level, the working directory.
fn process() -> Vec<String> {
    // Of this thread: the mask of another one, which starts a thread just now, is everything for a moment.
    let status = std::fs::read_to_string("/proc/thread-self/status");
    let status = status.expect("Linux describes a process");
    let signals = status.lines().filter(|line| {
        ["SigBlk", "SigIgn", "SigCgt"]
            .iter()
            .any(|name| line.starts_with(name))
    });
    let mut facts: Vec<String> = signals.map(str::to_owned).collect();
    for descriptor in 0..=2 {
        let link = std::fs::read_link(format!("/proc/self/fd/{descriptor}"));
        facts.push(format!("{descriptor} is {link:?}"));
    }
    facts.push(format!("log level {}", log::max_level()));
    facts.push(format!("in {:?}", std::env::current_dir()));
    facts
}

#[test]
fn law_11_serving_touches_no_signal_no_logger_and_no_descriptor() {
    alone(
        "law_11_process::law_11_serving_touches_no_signal_no_logger_and_no_descriptor",
        || {
            let before = process();
            assert!(before.contains(&"log level OFF".to_owned()), "{before:#?}");
            let gate = Gate::new();
            let (on_pipe, mut client) = Served::pipe(probes(&gate));
            assert_eq!(
                text(&client.ask(&call(1, "echo", json!({ "text": "a" })))),
                "a"
            );
            client.ask(&call(2, "panic", json!({})));
            #[cfg(any(feature = "http", feature = "tiny-http"))]
            on_every_front(|front| {
                let (over_http, http) = front.serve(probes(&gate));
                assert_eq!(
                    text(&http.ask(&call(1, "echo", json!({ "text": "a" })))),
                    "a"
                );
                assert_eq!(process(), before, "while serving");
                over_http.stop();
            });
            assert_eq!(process(), before, "while serving");
            client.close();
            on_pipe.stop();
            assert_eq!(process(), before, "after serving");
        },
    );
}

/// The one place that installs a signal handler says so when it cannot.
#[cfg(all(feature = "tiny-http", feature = "ctrlc"))]
#[test]
fn law_11_a_second_signal_handler_is_refused_by_name() {
    alone(
        "law_11_process::law_11_a_second_signal_handler_is_refused_by_name",
        || {
            let server = || {
                let server = mcp_threads::Server::new("it", "1");
                server.serve_http("127.0.0.1:0").expect("it can start")
            };
            let first = server();
            first.handle().stop();
            first.run_until_ctrl_c().expect("nobody has a handler yet");
            let error = server()
                .run_until_ctrl_c()
                .expect_err("there is a handler now");
            assert!(
                error.is_signal() && !error.is_bind() && !error.is_configuration(),
                "{error}"
            );
        },
    );
}
