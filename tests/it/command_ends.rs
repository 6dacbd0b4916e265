//! No command outlives its server, whether the server is shut down or dies, and nothing of ours is left beside it.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::command::{served, sh, start_family};
use crate::harness::child::{self, children_of, is_alive, session_of};
use crate::harness::{PipeClient, Served, alone, call, until, with_meta};

/// A script that says its id, and whose whole group ignores the request to end.
const DEAF: &str = "trap '' TERM; (trap '' TERM; exec sleep 600) & echo $$; echo $!; wait";

/// The ids that a script says first: its own and its child's.
#[track_caller]
fn ids(client: &mut PipeClient, id: u64, script: &str, grace_ms: u64) -> [u32; 2] {
    let mut args = sh(script);
    args["grace_ms"] = json!(grace_ms);
    said_ids(client, call(id, "run", args))
}

/// The ids that the script of this call says first.
#[track_caller]
fn said_ids(client: &mut PipeClient, call: Value) -> [u32; 2] {
    client.send(&with_meta(call, json!({ "progressToken": "p" })));
    [(); 2].map(|()| {
        let said = client.recv();
        let line = said["params"]["message"].as_str();
        let pid = line.and_then(|line| line.parse().ok());
        pid.unwrap_or_else(|| panic!("the script says ids: {said}"))
    })
}

#[test]
fn a_shutdown_ends_commands_that_ignore_their_sigterm() {
    let (served, mut client) = served();
    let all: Vec<_> = (1..=6)
        .map(|id| ids(&mut client, id, DEAF, 600_000))
        .collect();
    assert!(all.iter().flatten().all(|pid| is_alive(*pid)));
    let report = served.shutdown(Duration::ZERO);
    let left: Vec<_> = all.iter().filter(|[leader, _]| is_alive(*leader)).collect();
    assert!(
        left.is_empty(),
        "6 of 6 are dead before the shutdown is over, not {left:?}"
    );
    // Their children have been sent the same SIGKILL, which a busy kernel may deliver a moment later.
    until("their children are dead", || {
        !all.iter().any(|[_, child]| is_alive(*child))
    });
    assert_eq!(report.abandoned_handlers, 0, "their handlers have returned");
}

#[test]
fn a_command_has_a_session_of_its_own() {
    let (served, mut client) = served();
    let [leader, child] = ids(&mut client, 1, DEAF, 0);
    assert_eq!(
        (session_of(leader), session_of(child)),
        (Some(leader), Some(leader))
    );
    served.shutdown(Duration::ZERO);
}

#[test]
fn nothing_is_left_beside_a_server_that_was_shut_down() {
    alone(
        "command_ends::nothing_is_left_beside_a_server_that_was_shut_down",
        || {
            let (served, mut client) = served();
            for id in 0..5 {
                client.ask(&call(id, "run", sh("sleep 600 & exit 3")));
            }
            let mine = || children_of(std::process::id());
            let [(supervisor, line)] = &mine()[..] else {
                panic!("one supervisor and no zombie: {:?}", mine());
            };
            assert!(line.contains("mcp-threads-supervisor"), "{line}");
            assert_ne!(session_of(*supervisor), session_of(std::process::id()));
            client.close();
            served.stop();
            assert_eq!(mine(), [], "neither child nor zombie nor supervisor");
        },
    );
}

/// A server in a process of its own, with a tool `shell` that runs any command.
fn shell() -> (child::Running, PipeClient) {
    child::stdio(child::example("shell"))
}

#[test]
fn commands_do_not_survive_the_sudden_death_of_their_server() {
    for script in [
        DEAF,
        "sleep 600 & echo $$; echo $!; wait",
        "echo $$; (sleep 600 & echo $!; kill -STOP $$); wait",
    ] {
        let (mut server, mut client) = shell();
        let both = said_ids(&mut client, call(1, "shell", sh(script)));
        server.signal(Signal::KILL);
        server.wait();
        until(&format!("both processes of `{script}` are gone"), || {
            !both.iter().any(|pid| is_alive(*pid))
        });
    }
}

#[test]
fn a_supervisor_that_is_killed_is_replaced_at_once_and_told_of_what_lives() {
    let (mut server, mut client) = shell();
    let first = said_ids(&mut client, call(1, "shell", sh(DEAF)));
    let supervisors = |server: &child::Running| {
        let mut all = children_of(server.id());
        all.retain(|(_, line)| line.contains("mcp-threads-supervisor"));
        all
    };
    let [(supervisor, _)] = supervisors(&server)[..] else {
        panic!("one supervisor: {:?}", children_of(server.id()));
    };
    let raw = i32::try_from(supervisor).ok().and_then(Pid::from_raw);
    kill_process(raw.expect("an id"), Signal::KILL).expect("it lives");
    until("another has taken over", || {
        supervisors(&server)
            .iter()
            .any(|(pid, _)| *pid != supervisor && is_alive(*pid))
    });
    server.signal(Signal::KILL);
    server.wait();
    until("everything is gone", || {
        !first.iter().any(|pid| is_alive(*pid))
    });
}

#[test]
fn dropping_the_last_of_a_server_ends_its_commands() {
    let (served, mut client) = served();
    let pid = start_family(&mut client, "sleep 600 & echo $!; wait");
    drop::<Served>(served);
    until("the grandchild is gone", || !is_alive(pid));
}
