//! Law 11: a library does not take over the process.

use serde_json::json;

#[cfg(any(feature = "http", feature = "tiny-http"))]
use crate::harness::on_every_front;
use crate::harness::{
    Gate, PATIENCE, Served, alone, call, child, is_alone, itself, probes, text, until,
};

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

/// A program may have `SIGPIPE` at its default, which would end it.
#[cfg(all(feature = "ctrlc", target_os = "linux"))]
#[test]
fn law_11_a_command_that_does_not_read_its_input_sends_the_process_no_signal() {
    alone(
        "law_11_process::law_11_a_command_that_does_not_read_its_input_sends_the_process_no_signal",
        || {
            use std::sync::Arc;
            use std::sync::atomic::{AtomicBool, Ordering};

            let heard = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register(signal_hook::consts::SIGPIPE, Arc::clone(&heard))
                .expect("a handler can be installed");
            let (served, mut client) = crate::command::served();
            // More than a pipe holds, so that some of it is left when its reader has ended.
            let args = json!({ "argv": ["true"], "stdin": "x".repeat(1_000_000) });
            let answer = client.ask(&call(1, "run", args));
            let code = &answer["result"]["structuredContent"]["code"];
            assert_eq!(*code, 0, "{answer}");
            client.close();
            served.stop();
            assert!(!heard.load(Ordering::Relaxed), "SIGPIPE was sent");
        },
    );
}

/// The one place that installs a signal handler says so when it cannot, and the server runs on.
#[cfg(all(feature = "http", feature = "ctrlc"))]
#[test]
fn law_11_a_handler_of_the_program_s_own_is_never_replaced() {
    alone(
        "law_11_process::law_11_a_handler_of_the_program_s_own_is_never_replaced",
        || {
            use crate::harness::in_time;
            use mcp_threads::RunningServer;
            use rustix::process::{Signal, getpid, kill_process};
            use std::sync::Arc;
            use std::sync::atomic::{AtomicBool, Ordering};

            let heard = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::clone(&heard))
                .expect("a handler can be installed");
            let running = probes(&Gate::new())
                .serve_http("127.0.0.1:0")
                .expect("it can start");
            let running = Arc::new(running);
            let before = process();
            let waits: [fn(&RunningServer) -> mcp_threads::Result<()>; 2] = [
                RunningServer::run_until_ctrl_c,
                RunningServer::wait_for_ctrl_c,
            ];
            for wait in waits {
                let waited_on = Arc::clone(&running);
                let waited = in_time("it says that it cannot wait for signals", move || {
                    wait(&waited_on)
                });
                let error = waited.expect_err("there is a handler for SIGHUP");
                assert!(
                    error.is_signal() && !error.is_bind() && !error.is_configuration(),
                    "{error}"
                );
                assert!(error.to_string().contains("SIGHUP"), "{error}");
            }
            assert_eq!(process(), before, "nothing has been installed");
            kill_process(getpid(), Signal::HUP).expect("it lives");
            until("the program's handler is called", || {
                heard.load(Ordering::Relaxed)
            });
            let http = crate::harness::Http::new(running.addr().expect("it serves HTTP"));
            assert_eq!(
                text(&http.ask(&call(1, "echo", json!({ "text": "a" })))),
                "a"
            );
            let running = Arc::into_inner(running).expect("nobody waits any more");
            assert_eq!(running.shutdown(PATIENCE).abandoned_connections, 0);
        },
    );
}

/// One after the other, servers of one process are told of signals; one that has ended is not, and holds nothing up.
#[cfg(all(feature = "http", feature = "ctrlc"))]
#[test]
fn law_11_the_watch_over_signals_serves_every_server_and_keeps_none() {
    alone(
        "law_11_process::law_11_the_watch_over_signals_serves_every_server_and_keeps_none",
        || {
            use rustix::process::{Signal, getpid, kill_process};

            let serve = || {
                let server = probes(&Gate::new());
                server.serve_http("127.0.0.1:0").expect("it can start")
            };
            for _ in 0..2 {
                let running = serve();
                running.handle().stop();
                running.run_until_ctrl_c().expect("it ends well");
                assert!(running.stats().draining);
            }
            let servers = [serve(), serve()];
            for server in &servers {
                server.handle().stop();
                server.wait_for_ctrl_c().expect("it only waits");
                assert!(!server.stats().draining, "it is left to `shutdown`");
            }
            kill_process(getpid(), Signal::TERM).expect("it lives");
            for server in &servers {
                server.wait_for_ctrl_c().expect("each has been told");
            }
            for server in servers {
                assert_eq!(server.shutdown(PATIENCE).abandoned_handlers, 0);
            }
        },
    );
}

/// When no server is left, a signal does what it does by default.
#[cfg(all(feature = "http", feature = "ctrlc"))]
#[test]
fn law_11_a_signal_after_the_end_is_the_program_s_again() {
    use std::os::unix::process::ExitStatusExt;
    const NAME: &str = "law_11_process::law_11_a_signal_after_the_end_is_the_program_s_again";
    if is_alone() {
        let running = probes(&Gate::new()).serve_http("127.0.0.1:0");
        let running = running.expect("it can start");
        running.handle().stop();
        running.run_until_ctrl_c().expect("it ends well");
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM)
            .expect("it lives");
        std::thread::sleep(PATIENCE); // and ends well, which is not what is asserted
    } else {
        let finished = child::run(itself(NAME));
        assert_eq!(finished.status.signal(), Some(15), "{finished:?}");
    }
}
