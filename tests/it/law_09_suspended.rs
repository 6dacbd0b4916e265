//! A process that was suspended (a frozen container, a laptop that slept) finds every time it keeps for others over, and what they did meanwhile unread: that
//! time does not count. Each test suspends a server for longer than one of its limits.

use std::fs;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use mcp_threads::crossbeam_channel::bounded;
use mcp_threads::{Execution, Limits, RequestContext, RunCommand, ServerHandle, Tool};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::asking::{accept, asking};
use crate::harness::child::{self, Running};
use crate::harness::talk::{everything, introduced, reply_to};
use crate::harness::{
    Event, Http, Place, Session, call, itself, legacy, legacy_call, text, until, with_meta,
};

type Context = RequestContext;

/// The limit that is short. Longer than anything takes that is done in a test, and longer still the server is suspended.
const SHORT: Duration = Duration::from_secs(5);

/// Which limit that is.
const WHICH: &str = "IT_SHORT";

/// Not a test: the server.
#[test]
fn the_half_that_is_suspended() {
    let Ok(short) = std::env::var(WHICH) else {
        return;
    };
    let limits = Limits::default();
    let limits = match &*short {
        "ask" => limits.ask_timeout(SHORT),
        "session" => limits.session_idle_timeout(SHORT),
        "workspace" => limits.workspace_idle_timeout(SHORT),
        _ => limits,
    };
    let (let_go, may_go) = bounded(1);
    let handle: Arc<OnceLock<ServerHandle>> = Arc::default();
    let serves = Arc::clone(&handle);
    let running = asking()
        .limits(limits)
        .job_tools()
        .workspaces(|_name, _owner| Ok::<_, String>(0_u64))
        .register(Tool::new("count").in_workspace().handler(
            |_: &mut Context, count: &mut u64, _: Value| {
                *count += 1;
                *count
            },
        ))
        .register(
            Tool::new("job")
                .execution(Execution::Background)
                .handler(move |_: Value| {
                    eprintln!("the job runs");
                    may_go.recv().map(|()| "let go")
                }),
        )
        .tool("let_go", "", move |_: Value| {
            let_go.send(()).map_err(|error| error.to_string())
        })
        .tool("waiting", "", move |_: Value| {
            serves
                .get()
                .map_or(0, |server| server.stats().waiting_for_jobs)
        })
        .tool("run", "", |cx: &mut Context, args: Value| {
            let of = |name: &str| args[name].as_str().unwrap_or_default().to_owned();
            let command = RunCommand::new("sh").args(["-c", &of("script")]);
            let command = command.directory(of("directory")).liveness(SHORT);
            command.run(cx).map(|output| output.stdout)
        })
        .serve_http("127.0.0.1:0")
        .expect("it can start");
    let _first = handle.set(running.handle());
    eprintln!("listening on {}", running.url().expect("it serves HTTP"));
    running.run_until_ctrl_c().expect("it ends well");
}

fn serve(short: &str) -> (Running, Http) {
    let mut command = itself("law_09_suspended::the_half_that_is_suspended");
    command.env(WHICH, short);
    child::http(command)
}

/// Suspends the server for longer than the limit; this happens before it goes on.
fn suspended<T>(running: &Running, meanwhile: impl FnOnce() -> T) -> T {
    running.signal(Signal::STOP);
    // The time that has to pass is what is tested.
    thread::sleep(SHORT + Duration::from_secs(1));
    let done = meanwhile();
    running.signal(Signal::CONT);
    done
}

#[test]
fn law_9_an_answer_to_a_question_that_comes_while_the_process_is_suspended_is_heard() {
    let (mut running, http) = serve("ask");
    let session = introduced(http, &everything());
    let mut reply = session.post(&legacy_call(7, "person", json!({}))).send();
    let Some(Event::Message(question)) = reply.event() else {
        panic!("the stream begins with the question");
    };
    let ada = reply_to(&question, accept(json!({ "name": "Ada" })));
    let taken = suspended(&running, || session.post(&ada).connect());
    assert_eq!(taken.reply().status, 202);
    assert_eq!(text(&reply.message()), "Ada None");
    running.ends_by(Signal::TERM);
}

#[test]
fn law_9_a_session_does_not_end_because_the_process_was_suspended() {
    let (mut running, http) = serve("session");
    let session = http.initialize("2025-11-25");
    let ping = session.post(&legacy(1, "ping", json!({})));
    let pong = suspended(&running, || ping.connect());
    assert_eq!(pong.reply().status, 200);
    running.ends_by(Signal::TERM);
}

/// Starts a job that waits to be let go. Its id.
fn start_job(running: &Running, session: &Session) -> Value {
    let begun = session.ask(&legacy_call("job", "job", json!({})));
    running.said("the job runs");
    begun["result"]["structuredContent"]["job"].clone()
}

/// Waits until the clock's thread has looked the desk over since: it ends waits for a job that are over, and then closes what is idle.
fn look_over(session: &Session, job: &Value) {
    for _ in 0..2 {
        let look = json!({ "job": job, "wait_seconds": 0.1 });
        session.ask(&legacy_call("look", "job_status", look));
    }
}

#[test]
fn law_9_a_workspace_is_not_closed_because_the_process_was_suspended() {
    let (mut running, http) = serve("workspace");
    let session = http.initialize("2025-11-25");
    let job = start_job(&running, &session);
    let count = session.post(&legacy_call(1, "count", json!({})));
    assert_eq!(text(&count.send().message()), "1");
    suspended(&running, || ());
    look_over(&session, &job);
    assert_eq!(text(&count.send().message()), "2");
    session.ask(&legacy_call(2, "let_go", json!({})));
    running.ends_by(Signal::TERM);
}

#[test]
fn law_9_a_wait_for_a_job_goes_on_when_the_process_was_suspended() {
    let (mut running, http) = serve("none");
    let session = http.initialize("2025-11-25");
    let job = start_job(&running, &session);
    let look = json!({ "job": job, "wait_seconds": SHORT.as_secs() });
    let looking = session.post(&legacy_call(1, "job_status", look)).connect();
    until("it waits", || {
        text(&session.ask(&legacy_call(2, "waiting", json!({})))) == "1"
    });
    suspended(&running, || ());
    look_over(&session, &job);
    session.ask(&legacy_call(3, "let_go", json!({})));
    let seen = looking.reply().message();
    let status = &seen["result"]["structuredContent"]["status"];
    assert_eq!(status, "completed", "{seen}");
    running.ends_by(Signal::TERM);
}

#[test]
fn law_9_a_command_is_not_silent_because_the_process_was_suspended() {
    let (mut running, http) = serve("none");
    let place = Place::empty("suspended");
    let file = |name: &str| place.0.join(name);
    let script = ": > begun; until [ -e speak ]; do sleep 0.05; done; echo said; until [ -e end ]; do sleep 0.05; done";
    let run = call(1, "run", json!({ "script": script, "directory": place.0 }));
    let run = with_meta(run, json!({ "progressToken": 1 }));
    let run = http.modern(&run).connect();
    until("it has begun", || file("begun").exists());
    suspended(&running, || ());
    // Longer than it takes to find that it has said nothing.
    thread::sleep(Duration::from_millis(200));
    fs::write(file("speak"), "").expect("it is ours");
    let mut reply = run.reply();
    while reply.event().expect("it goes on") == Event::Comment {}
    fs::write(file("end"), "").expect("it is ours");
    assert_eq!(text(&reply.message()), "said\n");
    running.ends_by(Signal::TERM);
}
