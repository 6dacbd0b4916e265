//! A job store of the embedder that hangs or panics: what has to wait for it or fails, and that nothing else does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use mcp_threads::{
    DrainReport, Execution, JobStatus, JobStore, Lane, Limits, RequestContext, Server, StoreError,
    StoredJob, Tool,
};
use serde_json::{Value, json};

use crate::desk_jobs::request;
use crate::harness::message::cancel;
use crate::harness::{Gate, PATIENCE, PipeClient, Served, call, code, text, until};

/// What waits, who is told that it does, and what lets it go on.
type StoreGate = (&'static str, Sender<()>, Receiver<()>);

/// Keeps records in memory, and may wait, or panic once, where it is told to.
#[derive(Clone, Default)]
struct Hanging {
    kept: Arc<Mutex<HashMap<String, StoredJob>>>,
    gate: Arc<Mutex<Option<StoreGate>>>,
    panics: Arc<Mutex<Option<&'static str>>>,
}

impl Hanging {
    /// From now on this waits. What tells that it does, and what lets it go on.
    fn hang(&self, what: &'static str) -> (Receiver<()>, Sender<()>) {
        let ((begun, begins), (go, goes)) = (unbounded(), unbounded());
        *self.gate.lock().expect("not poisoned") = Some((what, begun, goes));
        (begins, go)
    }

    /// The next time, this panics.
    fn panic(&self, what: &'static str) {
        *self.panics.lock().expect("not poisoned") = Some(what);
    }

    fn has_panicked(&self) -> bool {
        self.panics.lock().expect("not poisoned").is_none()
    }

    fn pass(&self, what: &str) {
        let panics = || {
            let mut panics = self.panics.lock().expect("not poisoned");
            panics.take_if(|panics| *panics == what).is_some()
        };
        if panics() {
            panic!("a fault in `{what}`");
        }
        let gate = self.gate.lock().expect("not poisoned").clone();
        if let Some((hangs, begun, go)) = gate
            && hangs == what
        {
            let _test_is_over = begun.send(());
            let _test_is_over = go.recv();
        }
    }
}

impl JobStore for Hanging {
    fn insert(&self, job: &StoredJob) -> Result<bool, StoreError> {
        self.pass("insert");
        let mut kept = self.kept.lock().expect("not poisoned");
        let is_new = !kept.contains_key(&job.id);
        kept.entry(job.id.clone()).or_insert_with(|| job.clone());
        Ok(is_new)
    }
    fn replace(&self, job: &StoredJob) -> Result<bool, StoreError> {
        self.pass("replace");
        let mut kept = self.kept.lock().expect("not poisoned");
        let before = kept.get_mut(&job.id);
        let before = before.filter(|before| before.revision + 1 == job.revision);
        Ok(before.map(|before| *before = job.clone()).is_some())
    }
    fn load(&self, id: &str) -> Result<Option<StoredJob>, StoreError> {
        self.pass("load");
        Ok(self.kept.lock().expect("not poisoned").get(id).cloned())
    }
    fn remove(&self, id: &str) -> Result<bool, StoreError> {
        self.pass("remove");
        let removed = self.kept.lock().expect("not poisoned").remove(id);
        Ok(removed.is_some())
    }
    fn for_each(&self, visit: &mut dyn FnMut(StoredJob)) -> Result<(), StoreError> {
        let all: Vec<_> = self
            .kept
            .lock()
            .expect("not poisoned")
            .values()
            .cloned()
            .collect();
        all.into_iter().for_each(visit);
        Ok(())
    }
}

fn server(store: &Hanging, gate: &Gate, limits: Limits) -> Server {
    let (deaf, mute) = (gate.door(), gate.door());
    Server::new("it", "1.0.0")
        .limits(limits.stall_grace(Duration::from_millis(50)))
        .job_store(store.clone())
        .job_tools()
        .lane(Lane::new("jobs").workers(1))
        .register(
            Tool::new("dig")
                .execution(Execution::Background)
                .handler(|_: Value| "dug"),
        )
        .register(
            Tool::new("prepared")
                .execution(Execution::Background)
                .before_job(|_: &mut RequestContext, _: Value| "prepared")
                .handler(|_: Value| "dug"),
        )
        .register(
            Tool::new("mute")
                .execution(Execution::Background)
                .liveness(Duration::from_millis(200))
                .handler(move |_: Value| {
                    mute.pass("mute");
                    "too late"
                }),
        )
        .register(
            Tool::new("deaf")
                .liveness(Duration::from_millis(500))
                .handler(move |_: Value| {
                    deaf.pass("deaf");
                    "too late"
                }),
        )
}

fn try_order(client: &mut PipeClient, tool: &str) -> Value {
    let params = json!({ "name": tool, "arguments": {} });
    client.ask(&request("tools/call", params))
}

fn look(client: &mut PipeClient, id: &str) -> Value {
    client.ask(&request("tasks/get", json!({ "taskId": id })))
}

fn dig(client: &mut PipeClient) -> String {
    order(client, "dig")
}

fn order(client: &mut PipeClient, tool: &str) -> String {
    let answer = try_order(client, tool);
    let id = &answer["result"]["taskId"];
    id.as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// Whatever hangs, this comes back.
#[track_caller]
fn has_stats(served: &Served) {
    let handle = served.handle();
    let (told, tells) = bounded(1);
    thread::spawn(move || told.send(handle.stats().lanes.len()));
    let lanes = tells.recv_timeout(PATIENCE);
    assert!(lanes.expect("`stats` waits for no store") >= 2);
}

#[test]
fn law_6_neither_the_clock_nor_stats_wait_for_a_store_that_forgets_what_has_expired() {
    let (gate, store) = (Gate::new(), Hanging::default());
    let limits = Limits::default().job_ttl(Duration::from_millis(1));
    let (served, mut client) = Served::pipe(server(&store, &gate, limits));
    let (begins, go) = store.hang("remove");
    dig(&mut client);
    begins.recv_timeout(PATIENCE).expect("it is forgotten");
    has_stats(&served);
    finds_the_deaf(&mut client);
    drop(go);
    end(served, client, &gate, 1);
}

#[test]
fn law_6_nobody_waits_for_a_store_in_which_another_client_s_task_is_looked_up() {
    let (gate, store) = (Gate::new(), Hanging::default());
    let (served, mut client) = Served::pipe(server(&store, &gate, Limits::default()));
    let id = dig(&mut client);
    let status = |client: &mut PipeClient| {
        let answer = client.ask(&request("tasks/get", json!({ "taskId": id })));
        answer["result"]["status"].clone()
    };
    while status(&mut client) != "completed" {
        thread::yield_now();
    }
    let (begins, go) = store.hang("load");
    let listen = json!({ "notifications": { "taskIds": [id] } });
    client.send(&request("subscriptions/listen", listen));
    // Whether it has the task, and then how that is.
    begins.recv_timeout(PATIENCE).expect("it is looked up");
    go.send(()).expect("it waits");
    begins.recv_timeout(PATIENCE).expect("it is read");
    has_stats(&served);
    drop(go);
    client.recv();
    let told = client.recv();
    assert_eq!(told["params"]["status"], "completed", "{told}");
    assert_eq!(text(&told["params"]), "dug");
    client.close();
    served.stop();
}

/// On a pipe one thread reads everything, and a job's record is behind a lock.
#[test]
fn law_8_a_panic_in_a_store_fails_one_access_and_nothing_else() {
    let (gate, store) = (Gate::new(), Hanging::default());
    let (served, mut client) = Served::pipe(server(&store, &gate, Limits::default()));
    let completes = |client: &mut PipeClient, id: &str| {
        until("the job has ended", || {
            look(client, id)["result"]["status"] == "completed"
        });
    };

    store.panic("insert");
    let refused = try_order(&mut client, "dig");
    assert!(refused["error"].is_object(), "{refused}");
    let id = dig(&mut client);
    completes(&mut client, &id);

    store.panic("load");
    let failed = look(&mut client, &id);
    assert!(failed["error"].is_object(), "{failed}");
    assert_eq!(text(&look(&mut client, &id)["result"]), "dug");

    store.panic("replace");
    let late = dig(&mut client);
    until("its end was tried", || store.has_panicked());
    completes(&mut client, &late);
    client.close();
    served.stop();
}

/// A call that waits so long for a job to change.
fn wait_for(job: &str, seconds: f64) -> Value {
    let arguments = json!({ "job": job, "wait_seconds": seconds });
    call("waits", "job_status", arguments)
}

/// The watchdog is kept by the clock's thread, which has to be at work.
#[track_caller]
fn finds_the_deaf(client: &mut PipeClient) {
    let answer = client.ask(&call("deaf", "deaf", json!({})));
    assert_eq!(code(&answer), 504, "{answer}");
}

/// Lets so many handlers go, and ends the server when their threads have ended.
#[track_caller]
fn end(served: Served, mut client: PipeClient, gate: &Gate, held: usize) {
    gate.let_go(held);
    until("nobody is left behind", || {
        served.stats().lanes.iter().all(|lane| lane.abandoned == 0)
    });
    client.close();
    served.stop();
}

/// Shuts down elsewhere; what says how it went.
fn shut_down(served: Served, deadline: Duration) -> Receiver<DrainReport> {
    let (told, tells) = bounded(1);
    thread::spawn(move || told.send(served.shutdown(deadline)));
    tells
}

#[test]
fn law_7_the_clock_looks_at_no_job_for_those_whose_wait_is_over() {
    let (gate, store) = (Gate::new(), Hanging::default());
    let (served, mut client) = Served::pipe(server(&store, &gate, Limits::default()));
    let (begins, go) = store.hang("replace");
    let id = dig(&mut client);
    begins.recv_timeout(PATIENCE).expect("its end is stored");
    client.send(&wait_for(&id, 0.01));
    finds_the_deaf(&mut client);
    drop(go);
    let status = client.answer("waits");
    let status = &status["result"]["structuredContent"]["status"];
    assert_eq!(status, "completed");
    end(served, client, &gate, 1);
}

#[test]
fn law_7_the_clock_stores_no_end_of_a_job_that_it_has_found_silent() {
    let (gate, store) = (Gate::new(), Hanging::default());
    let (served, mut client) = Served::pipe(server(&store, &gate, Limits::default()));
    let (begins, go) = store.hang("replace");
    let id = order(&mut client, "mute");
    begins.recv_timeout(PATIENCE).expect("its end is stored");
    finds_the_deaf(&mut client);
    drop(go);
    until("the job has failed", || {
        look(&mut client, &id)["result"]["status"] == "failed"
    });
    end(served, client, &gate, 2);
}

#[test]
fn law_12_a_shutdown_waits_no_longer_for_a_store_than_for_handlers() {
    let (gate, store) = (Gate::new(), Hanging::default());
    let (served, mut client) = Served::pipe(server(&store, &gate, Limits::default()));
    let (begins, go) = store.hang("replace");
    let (first, queued) = (dig(&mut client), dig(&mut client));
    begins.recv_timeout(PATIENCE).expect("its end is stored");
    client.send(&wait_for(&first, 30.0));
    until("it waits", || served.stats().waiting_for_jobs == 1);
    let ended = shut_down(served, Duration::from_secs(1));
    let refused = client.answer("waits");
    assert_eq!(code(&refused), 503, "{refused}");
    let report = ended.recv_timeout(PATIENCE).expect("it ends");
    assert!(report.unstored_jobs > 0, "{report:?}");
    drop(go);
    until("what was queued has failed, too", || {
        let kept = store.kept.lock().expect("not poisoned");
        kept[&queued].status == JobStatus::Failed
    });
}

#[test]
fn law_12_a_shutdown_waits_for_an_end_of_a_job_that_no_worker_stores() {
    let (gate, store) = (Gate::new(), Hanging::default());
    let (served, mut client) = Served::pipe(server(&store, &gate, Limits::default()));
    let (begins, go) = store.hang("replace");
    let id = order(&mut client, "mute");
    begins.recv_timeout(PATIENCE).expect("its end is stored");
    gate.let_go(1);
    let handle = served.handle();
    client.close();
    let ended = shut_down(served, PATIENCE);
    until("it drains", || handle.stats().draining);
    // Time for a shutdown that does not wait; it is the store's turn all the while.
    assert!(ended.recv_timeout(Duration::from_millis(300)).is_err());
    drop(go);
    ended.recv_timeout(PATIENCE).expect("it ends");
    let kept = store.kept.lock().expect("not poisoned");
    assert_eq!(kept[&id].status, JobStatus::Failed);
}

#[test]
fn law_12_a_job_that_waited_for_a_closed_workspace_keeps_no_lane_open() {
    let (gate, store) = (Gate::new(), Hanging::default());
    let inside = gate.door();
    let server = server(&store, &gate, Limits::default())
        .workspaces(|_, _| Ok::<_, String>(()))
        .register(
            Tool::new("inside")
                .in_workspace()
                .execution(Execution::EitherWay)
                .handler(move |_: &mut RequestContext, (): &mut (), _: Value| {
                    inside.pass("inside");
                    "was inside"
                }),
        );
    let (served, mut client) = Served::pipe(server);
    let workspace = json!({ "workspace": "a" });
    client.send(&call("inside", "inside", workspace.clone()));
    assert_eq!(gate.began(), "inside");
    let queued = json!({ "name": "inside", "arguments": workspace });
    let queued = client.ask(&request("tools/call", queued));
    assert!(queued["result"]["taskId"].is_string(), "{queued}");
    let (begins, go) = store.hang("replace");
    client.ask(&call("close", "close_workspace", workspace));
    begins.recv_timeout(PATIENCE).expect("its end is stored");
    gate.let_go(1);
    assert_eq!(text(&client.answer("inside")), "was inside");
    let ended = shut_down(served, Duration::from_secs(1));
    let report = ended.recv_timeout(PATIENCE).expect("it ends");
    assert_eq!((report.abandoned_handlers, report.unstored_jobs), (0, 1));
    drop(go);
}

/// What comes before the job has been done; its answer, that there is one, is nobody's.
#[test]
fn law_4_a_call_that_is_cancelled_while_its_job_is_stored_does_not_count_as_done() {
    let (gate, store) = (Gate::new(), Hanging::default());
    let (served, mut client) = Served::pipe(server(&store, &gate, Limits::default()));
    let (begins, go) = store.hang("insert");
    let params = json!({ "name": "prepared", "arguments": {} });
    client.send(&request("tools/call", params));
    begins.recv_timeout(PATIENCE).expect("its job is stored");
    client.send(&cancel("request"));
    // Whatever is read in turn has been heard when the next is answered.
    client.ask(&call("echo", "none", json!({})));
    drop(go);
    served.until_main("it is counted", |lane| lane.done + lane.cancelled > 0);
    let lane = served.main();
    assert_eq!((lane.done, lane.cancelled), (0, 1), "{lane:?}");
    end(served, client, &gate, 0);
}
