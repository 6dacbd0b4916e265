//! Resource pools: who gets what, who waits and who is told, and that everything comes back, however it was left.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mcp_threads::{
    AskError, ClaimError, Execution, Lane, Limits, RequestContext, ResourcePool, Scope, Server,
    Tool, ToolError,
};
use serde_json::{Value, json};

use crate::harness::message::cancel;
use crate::harness::talk::{everything, introduce, is_question, reply_to};
use crate::harness::{Gate, PipeClient, Served, call, code, legacy_call, text, until, with_meta};

type Context = RequestContext;
type Hosts = ResourcePool<&'static str>;

#[derive(serde::Deserialize, mcp_threads::schemars::JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Sure {
    sure: bool,
}

fn hosts(names: &[&'static str]) -> Hosts {
    ResourcePool::fixed("hosts", names.iter().copied())
}

fn wait_of(args: &Value) -> Duration {
    args["wait_ms"]
        .as_u64()
        .map_or(Duration::MAX, Duration::from_millis)
}

/// `hold` claims a host and stands at the gate with it; `crash` panics with one.
fn server(gate: &Gate, hosts: &Hosts) -> Server {
    let (door, held, crashed) = (gate.door(), hosts.clone(), hosts.clone());
    Server::new("it", "1.0.0")
        .workers(8)
        .pool(hosts)
        .register(
            Tool::new("hold").handler(move |cx: &mut Context, args: Value| {
                let like = args["like"].as_str().unwrap_or_default();
                let host = held.claim_where(cx, wait_of(&args), |name| name.starts_with(like))?;
                let who = args["who"].as_str().unwrap_or("somebody").to_owned();
                door.pass_or_leave(cx, &format!("{who} has {}", *host))?;
                Ok::<_, ClaimError>(host.to_string())
            }),
        )
        .register(
            Tool::new("crash").handler(move |cx: &mut Context, _: Value| -> String {
                let host = crashed.claim_for(cx, Duration::ZERO).expect("one is free");
                panic!("with {}", *host)
            }),
        )
}

fn serve(names: &[&'static str]) -> (Gate, Hosts, Served, PipeClient) {
    let (gate, hosts) = (Gate::new(), hosts(names));
    let (served, client) = Served::pipe(server(&gate, &hosts));
    (gate, hosts, served, client)
}

fn hold(who: &str, more: Value) -> Value {
    let mut arguments = json!({ "who": who });
    for (name, value) in more.as_object().expect("an object") {
        arguments[name] = value.clone();
    }
    call(who, "hold", arguments)
}

#[track_caller]
fn holders(hosts: &Hosts) -> Vec<Option<String>> {
    let resources = hosts.list().resources;
    let held = resources.iter().map(|resource| {
        let claimed = resource.claimed.as_ref()?;
        Some(claimed.holder.to_string())
    });
    held.collect()
}

fn waiting(hosts: &Hosts) -> usize {
    hosts.list().waiting.len()
}

#[track_caller]
fn until_waiting(hosts: &Hosts, count: usize) {
    until(&format!("{count} wait"), || waiting(hosts) == count);
}

#[test]
fn who_waits_is_served_in_order_and_only_with_what_fits() {
    let (gate, hosts, served, mut client) = serve(&["alpha", "beta"]);
    client.send(&hold("1", json!({})));
    assert_eq!(gate.began(), "1 has alpha");
    client.send(&hold("2", json!({})));
    assert_eq!(gate.began(), "2 has beta");
    // In line: one that wants beta alone, then two that take any.
    for (count, (who, more)) in [
        ("3", json!({ "like": "beta" })),
        ("4", json!({})),
        ("5", json!({})),
    ]
    .into_iter()
    .enumerate()
    {
        client.send(&hold(who, more));
        until_waiting(&hosts, count + 1);
    }
    let report = hosts.list();
    let counts: Vec<usize> = report.resources.iter().map(|host| host.waiting).collect();
    assert_eq!(counts, [2, 3], "{report:?}");
    assert!(
        report.waiting[0]
            .call
            .to_string()
            .starts_with("`hold` (request "),
        "{report:?}"
    );
    let claimed = report.resources[0].claimed.as_ref().expect("it is held");
    assert!(claimed.at.file().ends_with("pools.rs"), "{claimed:?}");
    // The first in line has no use for alpha, so the second gets it.
    for (leaves, comes) in [
        ("1", "4 has alpha"),
        ("2", "3 has beta"),
        ("3", "5 has beta"),
    ] {
        client.send(&cancel(leaves));
        assert_eq!(gate.began(), comes);
    }
    gate.let_go(2);
    client.recv();
    client.recv();
    assert_eq!(holders(&hosts), [None, None]);
    client.close();
    served.stop();
}

#[test]
fn nothing_is_waited_for_with_no_time_and_the_holders_are_named() {
    let (gate, hosts, served, mut client) = serve(&["alpha"]);
    client.send(&hold("1", json!({})));
    gate.began();
    let refused = client.ask(&hold("2", json!({ "wait_ms": 0 })));
    assert_eq!(refused["result"]["isError"], true, "{refused}");
    let said = text(&refused);
    assert!(said.contains("alpha is held by `hold` (request "), "{said}");
    let refused = client.ask(&hold("3", json!({ "wait_ms": 20 })));
    assert!(text(&refused).contains("alpha is held by"), "{refused}");
    let never = client.ask(&hold("4", json!({ "like": "omega" })));
    assert!(text(&never).contains("free or not"), "{never}");
    assert_eq!(waiting(&hosts), 0);
    gate.let_go(1);
    assert_eq!(text(&client.recv()), "alpha");
    client.close();
    served.stop();
}

#[test]
fn who_waits_says_for_what_and_a_cancellation_ends_the_wait() {
    let (gate, hosts, served, mut client) = serve(&["alpha"]);
    client.send(&hold("1", json!({})));
    gate.began();
    client.send(&with_meta(
        hold("2", json!({})),
        json!({ "progressToken": "p" }),
    ));
    let progress = client.recv();
    assert_eq!(progress["params"]["progressToken"], "p", "{progress}");
    let message = progress["params"]["message"].as_str().expect("a text");
    assert!(
        message.starts_with("waiting for `hosts`: alpha is held by `hold` (request "),
        "{message}"
    );
    client.send(&hold("3", json!({})));
    until_waiting(&hosts, 2);
    client.send(&cancel("2"));
    until_waiting(&hosts, 1);
    gate.let_go(1);
    assert_eq!(client.recv()["id"], "1");
    assert_eq!(
        gate.began(),
        "3 has alpha",
        "the cancelled one is passed over"
    );
    // And one that has it and is cancelled gives it back.
    client.send(&cancel("3"));
    until("it is free", || holders(&hosts) == [None]);
    client.close();
    served.stop();
}

#[test]
fn a_panic_gives_back_what_it_had() {
    let (_gate, hosts, served, mut client) = serve(&["alpha"]);
    for id in 0..3 {
        let answer = client.ask(&call(id, "crash", json!({})));
        assert_eq!(answer["error"]["code"], -32603, "{answer}");
    }
    assert_eq!(holders(&hosts), [None]);
    client.close();
    served.stop();
}

#[test]
fn law_15_claims_and_asks_that_wait_hold_half_of_the_workers_together() {
    let (gate, hosts) = (Gate::new(), hosts(&["alpha"]));
    let server =
        server(&gate, &hosts)
            .workers(4)
            .tool("ask", "Asks.", |cx: &mut Context, _: Value| {
                cx.elicit::<Sure>("sure", "Sure?").map(|_| "asked")
            });
    let (served, mut client) = Served::pipe(server.tool("plain", "Answers.", |_: Value| "plain"));
    introduce(&mut client, &everything());
    let hold = |id: &str| legacy_call(id, "hold", json!({ "who": id }));
    client.send(&hold("1"));
    gate.began();
    client.send(&hold("waits"));
    until_waiting(&hosts, 1);
    client.send(&legacy_call("asks", "ask", json!({})));
    let question = client.recv();
    assert!(is_question(&question), "{question}");
    let refused = client.ask(&hold("too many"));
    assert_eq!(refused["id"], "too many");
    assert!(text(&refused).contains("lane `main`"), "{refused}");
    let refused = client.ask(&legacy_call("asks too", "ask", json!({})));
    assert_eq!(refused["id"], "asks too");
    assert!(
        refused["error"]["code"] == 503 || refused["result"]["isError"] == true,
        "{refused}"
    );
    assert_eq!(
        text(&client.ask(&legacy_call("p", "plain", json!({})))),
        "plain"
    );
    client.send(&reply_to(&question, json!({ "action": "decline" })));
    assert_eq!(client.recv()["id"], "asks");
    gate.let_go(2);
    assert_eq!(text(&client.recv()), "alpha");
    assert_eq!(text(&client.recv()), "alpha");
    client.close();
    served.stop();
}

/// `take` claims a host and keeps it for the workspace; `use` claims whatever it gets.
fn workshop(hosts: &Hosts) -> Server {
    let (taken, used) = (hosts.clone(), hosts.clone());
    Server::new("it", "1.0.0")
        .pool(hosts)
        .workspaces(|_, _| Ok::<_, String>(()))
        .register(Tool::new("take").in_workspace().handler(
            move |cx: &mut Context, _: &mut (), _: Value| {
                let mut host = taken.claim_for(cx, Duration::ZERO)?;
                host.keep_for(cx, Scope::Workspace)?;
                host.label("an update");
                Ok::<_, ClaimError>(host.to_string())
            },
        ))
        .register(
            Tool::new("crash").in_workspace().handler(
                |_: &mut Context, _: &mut (), _: Value| -> String { panic!("on purpose") },
            ),
        )
        .register(
            Tool::new("use").handler(move |cx: &mut Context, args: Value| {
                let host = used.claim_for(cx, wait_of(&args))?;
                Ok::<_, ClaimError>(host.to_string())
            }),
        )
}

fn in_workspace(client: &mut PipeClient, tool: &str, name: &str) -> Value {
    client.ask(&call(tool, tool, json!({ "workspace": name })))
}

#[test]
fn what_is_kept_for_a_workspace_outlives_the_call_and_ends_with_the_workspace() {
    let hosts = hosts(&["alpha", "beta"]);
    let (served, mut client) = Served::pipe(workshop(&hosts));
    assert_eq!(text(&in_workspace(&mut client, "take", "a")), "alpha");
    assert_eq!(
        text(&in_workspace(&mut client, "take", "a")),
        "alpha",
        "it has one that it does not use"
    );
    assert_eq!(text(&in_workspace(&mut client, "take", "b")), "beta");
    let refused = in_workspace(&mut client, "take", "c");
    let said = text(&refused);
    assert!(
        said.contains("alpha is held by workspace `a` for \"an update\" since"),
        "{said}"
    );
    let listed = client.ask(&call("list", "list_workspaces", json!({})));
    let listed = &listed["result"]["structuredContent"]["workspaces"];
    let held = &listed[0]["holds"][0];
    let seconds = held["held_seconds"].as_u64();
    assert_eq!(
        listed[0]["holds"],
        json!([{ "pool": "hosts", "resource": "alpha", "held_seconds": seconds }]),
        "{listed}"
    );
    assert!(seconds.is_some_and(|held| held < 600), "{listed}");
    assert_eq!(listed[2]["holds"], json!([]), "{listed}");
    client.send(&call("waits", "use", json!({})));
    until_waiting(&hosts, 1);
    client.send(&call(
        "close",
        "close_workspace",
        json!({ "workspace": "a" }),
    ));
    let mut answers = [client.recv(), client.recv()];
    answers.sort_by_key(|answer| answer["id"].to_string());
    assert_eq!(text(&answers[1]), "alpha", "{answers:?}");
    assert_eq!(holders(&hosts), [None, Some("workspace `b`".into())]);
    // A value that was broken knows nothing of what was claimed for it.
    in_workspace(&mut client, "crash", "b");
    until("the host is free", || holders(&hosts) == [None, None]);
    client.close();
    served.stop();
}

#[test]
fn a_job_that_asks_keeps_what_is_its_own_and_no_more() {
    let hosts = hosts(&["alpha", "beta", "gamma"]);
    let pool = hosts.clone();
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    let update = move |cx: &mut Context, _: Value| {
        counted.fetch_add(1, Ordering::Relaxed);
        let mut own = pool.claim_for(cx, Duration::ZERO)?;
        own.keep_for(cx, Scope::Job)?;
        let other = pool.claim_for(cx, Duration::ZERO)?;
        let sure = cx.elicit::<Sure>("sure", "Sure?")?.accepted();
        Ok::<_, ToolError>(format!(
            "{} {} {}",
            *own,
            *other,
            sure.is_some_and(|is| is.sure)
        ))
    };
    let server = Server::new("it", "1.0.0")
        .pool(&hosts)
        .job_tools()
        .register(
            Tool::new("update")
                .execution(Execution::Background)
                .handler(update),
        );
    let (served, mut client) = Served::pipe(server);
    let ask = |client: &mut PipeClient, method: &str, params: Value| {
        client.ask(&crate::desk_jobs::request(method, params))["result"].clone()
    };
    let made = ask(
        &mut client,
        "tools/call",
        json!({ "name": "update", "arguments": {} }),
    );
    let id = made["taskId"].as_str().expect("an id").to_owned();
    let mut task = Value::Null;
    until("it asks", || {
        task = ask(&mut client, "tasks/get", json!({ "taskId": id }));
        task["status"] == "input_required"
    });
    until("the other one is free", || {
        let held = holders(&hosts);
        held[1..] == [None, None]
            && held[0]
                .as_ref()
                .is_some_and(|held| held.starts_with("job "))
    });
    let shown = holders(&hosts)[0].clone().expect("it is held");
    assert!(!shown.contains(&id), "an id gives access: {shown}");
    let key = task["inputRequests"]
        .as_object()
        .and_then(|asks| asks.keys().next());
    let key = key.expect("a question").clone();
    let sure = json!({ key: { "action": "accept", "content": { "sure": true } } });
    ask(
        &mut client,
        "tasks/update",
        json!({ "taskId": id, "inputResponses": sure }),
    );
    until("it has ended", || {
        task = ask(&mut client, "tasks/get", json!({ "taskId": id }));
        task["status"] == "completed"
    });
    assert_eq!(
        task["result"]["content"][0]["text"], "alpha beta true",
        "{task}"
    );
    assert_eq!(attempts.load(Ordering::Relaxed), 2);
    until("everything is free", || {
        holders(&hosts) == [None, None, None]
    });
    client.close();
    served.stop();
}

#[test]
fn what_is_kept_for_a_session_ends_with_it() {
    let hosts = hosts(&["alpha"]);
    let pool = hosts.clone();
    let take = move |cx: &mut Context, _: Value| {
        let mut host = pool.claim_for(cx, Duration::ZERO)?;
        host.keep_for(cx, Scope::Session)?;
        host.keep_for(cx, Scope::Job).expect_err("it is no job");
        Ok::<_, ClaimError>(host.to_string())
    };
    let server = || {
        Server::new("it", "1.0.0")
            .pool(&hosts)
            .tool("take", "Takes.", take.clone())
    };
    let (served, mut client) = Served::pipe(server());
    assert_eq!(text(&client.ask(&call(1, "take", json!({})))), "alpha");
    let (second, mut other) = Served::pipe(server());
    assert!(text(&other.ask(&call(1, "take", json!({})))).contains("held by session"));
    client.close();
    until("it is free", || holders(&hosts) == [None]);
    assert_eq!(text(&other.ask(&call(2, "take", json!({})))), "alpha");
    other.close();
    served.stop();
    second.stop();
}

/// A connection that knows its number.
#[derive(Debug)]
struct Connection(usize);

/// A pool of one connection, each with the number of its making; the number that `fails` names cannot be made.
fn connections(fails: usize) -> ResourcePool<Connection, usize> {
    let made = AtomicUsize::new(0);
    ResourcePool::lazy("connections", 1, move || {
        let number = made.fetch_add(1, Ordering::Relaxed) + 1;
        match number == fails {
            true => Err("connection refused"),
            false => Ok(Connection(number)),
        }
    })
}

/// Runs `body` in a handler of a fresh server and returns what it says.
#[track_caller]
fn in_handler(
    pool: &ResourcePool<Connection, usize>,
    body: impl Fn(&mut Context) -> Result<String, ClaimError> + Send + Sync + 'static,
) -> String {
    let server = Server::new("it", "1.0.0")
        .pool::<Connection, usize>(pool) // as some write it
        .lane(Lane::new("main").workers(2))
        .tool("go", "Goes.", move |cx: &mut Context, _: Value| body(cx));
    let (served, mut client) = Served::pipe(server);
    let answer = client.ask(&call(1, "go", json!({})));
    client.close();
    served.stop();
    text(&answer).to_owned()
}

/// The numbers of the connections that one claim after the other gets.
#[track_caller]
fn claimed_in_turn(pool: &ResourcePool<Connection, usize>, claims: usize) -> String {
    let claimed = pool.clone();
    in_handler(pool, move |cx| {
        let numbers = (0..claims).map(|_| Ok(claimed.claim(cx)?.0));
        let numbers: Vec<_> = numbers.collect::<Result<_, ClaimError>>()?;
        Ok(format!("{numbers:?}"))
    })
}

#[test]
fn what_is_broken_is_made_anew_and_what_is_whole_is_used_again() {
    let pool = connections(0);
    let claimed = pool.clone();
    let said = in_handler(&pool, move |cx| {
        let mut numbers = Vec::new();
        for breaks in [false, true, false] {
            let connection = claimed.claim(cx)?;
            numbers.push(connection.0);
            if breaks {
                connection.broken();
            }
        }
        Ok(format!("{numbers:?}"))
    });
    assert_eq!(said, "[1, 1, 2]");
}

#[test]
fn a_failed_check_and_age_make_a_new_one() {
    let pool = connections(0).check(|connection| connection.0 > 2);
    assert_eq!(claimed_in_turn(&pool, 4), "[1, 2, 3, 3]");
    let pool = connections(0).age_max(Duration::ZERO);
    assert_eq!(claimed_in_turn(&pool, 2), "[1, 2]");
}

#[test]
fn what_cannot_be_made_fails_the_claim_and_is_tried_again_later() {
    let attempt = || {
        let pool = connections(1);
        let claimed = pool.clone();
        in_handler(&pool, move |cx| {
            let first = claimed.claim(cx).expect_err("it is refused").to_string();
            let Err(second) = claimed.claim_for(cx, Duration::ZERO) else {
                return Ok("too late".into());
            };
            let third = claimed.claim(cx)?.0;
            Ok(format!("{first}\n{second}\n{third}"))
        })
    };
    // On a slow machine the first pause, of 100 ms, may be over before the second claim.
    let mut said = String::new();
    until("the second claim comes soon enough", || {
        said = attempt();
        said != "too late"
    });
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].contains("connection refused"), "{said}");
    assert!(
        lines[1].contains("1 cannot be had: connection refused"),
        "{said}"
    );
    assert_eq!(lines[2], "2", "{said}");
}

#[test]
fn a_lease_that_is_over_is_taken_back_and_the_late_guard_knows() {
    let pool = connections(0).lease(Duration::from_secs(2));
    let claimed = pool.clone();
    let said = in_handler(&pool, move |cx| {
        let late = claimed.claim(cx)?;
        assert!(!late.is_lost());
        let next = claimed.claim(cx)?;
        assert!(late.is_lost() && late.holder().is_none() && !next.is_lost());
        let both = format!("{} {}", late.0, next.0);
        drop(late);
        assert!(!next.is_lost(), "the late one gives nothing back");
        Ok(both)
    });
    assert_eq!(said, "1 2");
}

#[test]
fn an_owner_that_is_released_loses_everything() {
    let pool = connections(0);
    let claimed = pool.clone();
    let said = in_handler(&pool, move |cx| {
        let late = claimed.claim(cx)?;
        let owner = late.holder().expect("it is held");
        assert_eq!(claimed.release_owner(&owner), 1);
        assert_eq!(claimed.release_owner(&owner), 0);
        let next = claimed.claim_for(cx, Duration::ZERO)?;
        Ok(format!("{} {} {}", late.is_lost(), late.0, next.0))
    });
    assert_eq!(said, "true 1 2");
}

#[test]
fn an_ask_that_ends_the_attempt_gives_back_what_is_the_calls_own() {
    let hosts = hosts(&["alpha"]);
    let pool = hosts.clone();
    let ask = move |cx: &mut Context, _: Value| {
        let host = pool
            .claim_for(cx, Duration::ZERO)
            .map_err(|_| AskError::NotHere)?;
        cx.elicit::<Sure>("sure", "Sure?")?;
        Ok::<_, AskError>(host.to_string())
    };
    let (served, mut client) = Served::pipe(
        Server::new("it", "1.0.0")
            .pool(&hosts)
            .tool("ask", "Asks.", ask),
    );
    let asks = crate::desk_jobs::request("tools/call", json!({ "name": "ask", "arguments": {} }));
    let answer = client.ask(&asks);
    assert_eq!(answer["result"]["resultType"], "input_required", "{answer}");
    assert_eq!(holders(&hosts), [None]);
    client.close();
    served.stop();
}

/// What hangs until the sender is dropped.
#[derive(Debug)]
struct Sticky {
    number: usize,
    hangs_in_drop: bool,
    gate: crossbeam_channel::Receiver<()>,
}

impl Drop for Sticky {
    fn drop(&mut self) {
        if self.hangs_in_drop {
            // An error is the signal.
            let _ = self.gate.recv();
        }
    }
}

/// A pool of one that hangs, in its check or in its destructor, until the sender is dropped.
fn sticky(in_drop: bool) -> (crossbeam_channel::Sender<()>, ResourcePool<Sticky, usize>) {
    let (release, gate) = crossbeam_channel::unbounded();
    let made = AtomicUsize::new(0);
    let make = move || {
        Ok::<_, String>(Sticky {
            number: made.fetch_add(1, Ordering::Relaxed) + 1,
            hangs_in_drop: in_drop,
            gate: gate.clone(),
        })
    };
    let pool = ResourcePool::lazy("sticky", 1, make)
        .patience(Duration::from_secs(1))
        .check(move |sticky| in_drop || sticky.gate.recv().is_err());
    (release, pool)
}

#[test]
fn a_check_or_a_destructor_that_hangs_is_left_behind_and_not_too_many_are() {
    for in_drop in [false, true] {
        let (release, pool) = sticky(in_drop);
        let claimed = pool.clone();
        let release = std::sync::Mutex::new(Some(release));
        let go = move |cx: &mut Context, _: Value| {
            let mut said = Vec::new();
            // Two hang, which is twice the pool's size; with a third nothing more is made.
            for _ in 0..4 {
                match claimed.claim_for(cx, Duration::ZERO) {
                    Ok(claim) if in_drop => {
                        said.push(claim.number.to_string());
                        claim.broken();
                    }
                    Ok(claim) => said.push(claim.number.to_string()),
                    Err(error) => {
                        said.push(error.to_string());
                        break;
                    }
                }
            }
            drop(release.lock().expect("not poisoned").take());
            until("they have ended", || claimed.claim(cx).is_ok());
            said.push("made".into());
            said.join("\n")
        };
        let (served, mut client) = Served::pipe(
            Server::new("it", "1.0.0")
                .pool(&pool)
                .tool("go", "Goes.", go),
        );
        let answer = client.ask(&call(1, "go", json!({})));
        let said: Vec<&str> = text(&answer).lines().collect();
        assert_eq!(said[..2], ["1", "2"], "{answer}");
        assert!(said[2].contains("as many as may hang"), "{answer}");
        assert_eq!(said.last(), Some(&"made"), "{answer}");
        client.close();
        served.stop();
    }
}

#[test]
fn a_check_that_panics_says_that_it_is_not_good() {
    let pool = connections(0).check(|_| panic!("on purpose"));
    assert_eq!(claimed_in_turn(&pool, 2), "[1, 2]");
}

#[test]
fn what_is_held_too_long_is_warned_of_with_its_place() {
    crate::harness::logs::keep();
    let (gate, hosts) = (Gate::new(), hosts(&["omicron"]));
    let pool = hosts.clone().warn_after(Duration::from_millis(1));
    let (served, mut client) = Served::pipe(server(&gate, &pool));
    client.send(&hold("1", json!({})));
    gate.began();
    let told = crate::harness::logs::told("omicron has been held by `hold` (request ");
    assert!(
        told[0].text.contains("claimed at tests/it/pools.rs:"),
        "{told:?}"
    );
    gate.let_go(1);
    client.recv();
    client.close();
    served.stop();
}

#[test]
fn law_3_a_call_that_is_given_up_loses_what_it_has_claimed() {
    let (gate, pool) = (Gate::new(), connections(0));
    let (deaf, deaf_in_workspace) = (gate.door(), gate.door());
    let (wedged, kept, claimed) = (pool.clone(), pool.clone(), pool.clone());
    // Long enough to claim in: who has been given up claims nothing.
    let liveness = Duration::from_secs(2);
    let server = Server::new("it", "1.0.0")
        .limits(Limits::default().stall_grace(Duration::from_millis(500)))
        .pool(&pool)
        .workspaces(|_, _| Ok::<_, String>(()))
        .register(Tool::new("wedge").liveness(liveness).handler(
            move |cx: &mut Context, _: Value| {
                let connection = wedged.claim(cx).expect("it is free");
                deaf.pass("wedge");
                deaf.pass(&format!("{} {}", connection.0, connection.is_lost()));
            },
        ))
        .register(
            Tool::new("wedge_desk")
                .liveness(liveness)
                .in_workspace()
                .handler(move |cx: &mut Context, _: &mut (), _: Value| {
                    let mut connection = kept.claim(cx).expect("it is free");
                    let kept = connection.keep_for(cx, Scope::Workspace);
                    kept.expect("it is in a workspace");
                    deaf_in_workspace.pass("wedge_desk");
                }),
        )
        .tool("claim", "Claims.", move |cx: &mut Context, _: Value| {
            claimed.claim(cx).map(|connection| connection.0)
        });
    let (served, mut client) = Served::pipe(server);
    client.send(&call("wedge", "wedge", json!({})));
    assert_eq!(gate.began(), "wedge");
    client.send(&call("next", "claim", json!({})));
    let mut answers = [client.recv(), client.recv()];
    answers.sort_by_key(|answer| answer["id"].to_string());
    assert_eq!(text(&answers[0]), "2", "{answers:?}");
    assert_eq!(code(&answers[1]), 504, "{answers:?}");
    gate.let_go(1);
    assert_eq!(gate.began(), "1 true", "the late guard knows");
    gate.let_go(1);
    served.until_main("its thread has ended", |main| main.abandoned == 0);
    client.send(&call("desk", "wedge_desk", json!({})));
    assert_eq!(gate.began(), "wedge_desk");
    assert_eq!(code(&client.recv()), 504);
    assert_eq!(text(&client.ask(&call("last", "claim", json!({})))), "3");
    gate.let_go(1);
    client.close();
    served.stop();
}
