//! Scripts that are background jobs and ask first: the answer is there for the job, whatever its client can follow.

use std::fs;
use std::os::unix::fs::symlink;
use std::thread;
use std::time::Duration;

use mcp_threads::{Lane, Scripts};
use serde_json::{Value, json};

use crate::asking::accept;
use crate::harness::message::legacy_call;
use crate::harness::served::lane;
use crate::harness::talk::{introduce, is_question, reply_to};
use crate::harness::{PATIENCE, PipeClient, Place, Served, logs, text, until};

const JOBS: &str = r##"
[pools.device]

[[tool]]
name = "asks"
description = "Asks first, and is a job."
run = ["echo", "job done"]
confirm = "Begin?"
job = true

[[tool]]
name = "asks_nobody"
description = "Is a job."
run = ["echo", "job done"]
job = true

[[tool]]
name = "prints"
description = "Asks first, where it can, and is a job."
run = ["cat", "{file}"]
confirm = "Print {file}?"
confirm_else = "run"
job = true
[tool.args.file]
path = { inside = "data", kind = "file" }

[[tool]]
name = "alone"
description = "May not run beside itself, and takes until there is a file `go`."
shell = 'mkdir alone || exit 9; until [ -e go ]; do sleep 0.01; done; rmdir alone; echo done'
concurrency = 1
job = true

[[tool]]
name = "confirmed"
description = "The same, and asks first."
shell = 'mkdir alone || exit 9; until [ -e go ]; do sleep 0.01; done; rmdir alone; echo done'
confirm = "Begin?"
concurrency = 1
job = true

[[tool]]
name = "claims"
description = "May not run beside another that claims the device."
shell = 'mkdir device || exit 9; until [ -e go ]; do sleep 0.01; done; rmdir device; echo done'
claims = ["device"]
job = true

[[tool]]
name = "counts"
description = "One after the other, each writes down its number."
shell = 'mkdir alone || exit 9; until [ -e go ]; do sleep 0.01; done; echo $ARG_N >> order; rmdir alone; echo done'
concurrency = 1
job = true
args.n = { type = "integer" }

[[tool]]
name = "waits"
description = "Takes a worker until there is a file `go`."
shell = 'mkdir "run.$$"; until [ -e go ]; do sleep 0.01; done'
job = true
"##;

/// The workers of the lane `jobs`.
const WORKERS: usize = 16;

fn place(name: &str) -> Place {
    let place = Place::new(&format!("jobs-{name}"), JOBS);
    place.write("data/note", 0o644, "a note");
    place.write("data/other", 0o644, "another note");
    symlink("note", place.0.join("data/chosen")).expect("a link can be made");
    place
}

/// Begins a job. A question on the way is expected to be this one, and confirmed.
#[track_caller]
fn begin(client: &mut PipeClient, tool: &str, arguments: &Value, question: Option<&str>) -> Value {
    client.send(&legacy_call("begin", tool, arguments.clone()));
    let mut said = client.recv();
    if let Some(question) = question {
        assert!(is_question(&said), "{said}");
        let asked = said["params"]["message"].as_str().unwrap_or_default();
        assert!(asked.contains(question), "{said}");
        client.send(&reply_to(&said, accept(json!({ "confirm": true }))));
        said = client.recv();
    }
    let job = said["result"]["structuredContent"]["job"].clone();
    assert!(job.is_string(), "{said}");
    job
}

#[track_caller]
fn result_of(client: &mut PipeClient, job: &Value) -> String {
    let mut said = String::new();
    until("the job has ended", || {
        let result = client.ask(&legacy_call("ends", "job_result", json!({ "job": job })));
        text(&result).clone_into(&mut said);
        !said.contains("has not ended")
    });
    said
}

#[test]
fn a_job_that_a_person_has_confirmed_runs_for_a_client_without_tasks() {
    let place = place("confirmed");
    let (mut running, mut client) = place.serve();
    introduce(&mut client, &json!({ "elicitation": {} }));
    let job = begin(&mut client, "asks", &json!({}), Some("Begin?"));
    assert_eq!(result_of(&mut client, &job), "job done\n");
    let file = json!({ "file": "note" });
    let job = begin(&mut client, "prints", &file, Some("data/note?"));
    assert_eq!(result_of(&mut client, &job), "a note");
    // Who cannot be asked at all is not asked by the job either.
    introduce(&mut client, &json!({}));
    let job = begin(&mut client, "prints", &file, None);
    assert_eq!(result_of(&mut client, &job), "a note");
    client.close();
    running.exits_well();
}

#[test]
fn jobs_wait_for_their_turn_and_for_a_place_in_the_pool() {
    for tool in ["alone", "claims"] {
        let place = place(tool);
        let (mut running, mut client) = place.serve();
        introduce(&mut client, &json!({}));
        let jobs = [(); WORKERS / 2 + 1].map(|()| begin(&mut client, tool, &json!({}), None));
        until("more have been begun than may run", || {
            let list = client.ask(&legacy_call("list", "job_list", json!({})));
            let jobs = list["result"]["structuredContent"]["jobs"].to_string();
            jobs.matches("waiting for").count() == WORKERS / 2 || !jobs.contains("working")
        });
        place.write("go", 0o644, "");
        for job in jobs {
            assert_eq!(result_of(&mut client, &job), "done\n", "{tool}");
        }
        client.close();
        running.exits_well();
    }
}

/// The file's server in this process. Of three workers for jobs one runs `counts`, one may wait for its turn, and one is left.
fn crowd(place: &Place, drain_deadline: Duration) -> (Served, PipeClient, Vec<Value>) {
    let scripts = Scripts::load_trusting(place.0.join("tools.toml")).expect("it is right");
    let lane = Lane::new("jobs").workers(3).queue(9);
    let server = scripts.into_server().lane(lane);
    let (served, mut client) = Served::pipe(server.job_drain_deadline(drain_deadline));
    introduce(&mut client, &json!({}));
    let job = |n: usize| {
        let job = begin(&mut client, "counts", &json!({ "n": n }), None);
        match n {
            0 => until("the first runs", || place.0.join("alone").exists()),
            1 => until("the second waits", || {
                let status = legacy_call("look", "job_status", json!({ "job": job }));
                text(&client.ask(&status)).contains("waiting for")
            }),
            _ => {}
        }
        job
    };
    let jobs = (0..CROWD).map(job).collect();
    (served, client, jobs)
}

const CROWD: usize = 9;

#[test]
fn law_15_a_job_that_may_not_wait_for_its_turn_goes_back_to_its_queue() {
    let place = place("crowd");
    let (served, mut client, jobs) = crowd(&place, PATIENCE);
    let other = begin(&mut client, "asks_nobody", &json!({}), None);
    assert_eq!(result_of(&mut client, &other), "job done\n", "others go on");
    // By the one worker that is left, so it has dealt with all before.
    assert_eq!(lane(&served.stats(), "jobs").queued, CROWD - 2);
    until("its worker is free", || {
        lane(&served.stats(), "jobs").busy == 2
    });
    let cancel = legacy_call("cancel", "job_cancel", json!({ "job": jobs[4] }));
    assert!(text(&client.ask(&cancel)).contains("cancelled"));
    let more = legacy_call("more", "counts", json!({ "n": CROWD }));
    let refused = (0..=CROWD).any(|_| client.ask(&more)["error"]["code"] == 503);
    assert!(refused, "they stand in its queue, which is bounded");
    place.write("go", 0o644, "");
    for (n, job) in jobs.iter().enumerate() {
        let said = result_of(&mut client, job);
        assert_eq!(said == "done\n", n != 4, "{n}: {said}");
    }
    client.close();
    served.stop();
    assert_eq!(order(&place)[..CROWD - 1], [0, 1, 2, 3, 5, 6, 7, 8]);
}

#[test]
fn a_job_that_a_person_has_confirmed_keeps_the_answer_when_it_goes_back_to_its_queue() {
    logs::keep();
    let place = place("back");
    let scripts = Scripts::load_trusting(place.0.join("tools.toml")).expect("it is right");
    let (served, mut client) = Served::pipe(
        scripts
            .into_server()
            .lane(Lane::new("jobs").workers(3).queue(9)),
    );
    introduce(&mut client, &json!({ "elicitation": {} }));
    // One of three runs, one waits for it, and one goes back.
    let jobs = [(); 3].map(|()| begin(&mut client, "confirmed", &json!({}), Some("Begin?")));
    let handle = served.handle();
    until("one has gone back", || {
        let lane = lane(&handle.stats(), "jobs");
        (lane.busy, lane.queued) == (2, 1)
    });
    place.write("go", 0o644, "");
    for job in &jobs {
        assert_eq!(result_of(&mut client, job), "done\n");
    }
    client.close();
    served.stop();
    assert_eq!(lane(&handle.stats(), "jobs").done, 3);
    let lines = || {
        let lines = logs::lines_with(" tool=confirmed ").into_iter();
        let lines = lines.filter(|line| line.text.contains(" lane=jobs "));
        lines.count()
    };
    until("all are in the access log", || lines() >= jobs.len());
    assert_eq!(lines(), jobs.len(), "each job has ended once");
}

/// The numbers that have been written down.
fn order(place: &Place) -> Vec<usize> {
    let order = fs::read_to_string(place.0.join("order")).expect("it is text");
    let numbers = order.lines().map(|n| n.parse().expect("a number"));
    numbers.collect()
}

#[test]
fn law_12_a_drain_waits_for_jobs_that_went_back_to_their_queue() {
    for ends_with_its_pipe in [false, true] {
        let place = place("drained");
        let (served, mut client, _) = crowd(&place, PATIENCE);
        let handle = served.handle();
        let ended = match ends_with_its_pipe {
            false => thread::spawn(move || served.shutdown(PATIENCE)),
            true => {
                client.close();
                thread::spawn(move || served.take().join())
            }
        };
        until("it drains", || handle.stats().draining);
        place.write("go", 0o644, "");
        let report = ended.join().expect("it ends");
        assert_eq!((report.abandoned_handlers, report.unstored_jobs), (0, 0));
        let mut all = order(&place);
        // The last of them may still have been on their way to the line, where others overtake them.
        all.sort_unstable();
        assert_eq!(all, Vec::from_iter(0..CROWD));
    }
}

#[test]
fn law_12_what_went_back_to_its_queue_is_recorded_when_a_drain_cuts_it() {
    let short = Duration::from_millis(1);
    for (of_jobs, of_all) in [(short, PATIENCE), (PATIENCE, short)] {
        let place = place("cut");
        let (served, mut client, _) = crowd(&place, of_jobs);
        let handle = served.handle();
        client.close();
        let report = served.shutdown(of_all);
        assert_eq!((report.abandoned_handlers, report.unstored_jobs), (0, 0));
        let jobs = handle.stats().jobs;
        assert_eq!((jobs.failed, jobs.working), (CROWD, 0), "{jobs:?}");
    }
}

#[test]
fn a_job_does_not_run_by_the_answer_to_another_question() {
    let place = place("swapped");
    let (mut running, mut client) = place.serve();
    introduce(&mut client, &json!({ "elicitation": {} }));
    let waiting: Vec<_> = (0..WORKERS)
        .map(|_| begin(&mut client, "waits", &json!({}), None))
        .collect();
    until("no worker is idle", || {
        let entries = fs::read_dir(&place.0).expect("it is there").flatten();
        let names = entries.map(|entry| entry.file_name());
        let started = names.filter(|name| name.to_string_lossy().starts_with("run."));
        started.count() == WORKERS
    });
    let file = json!({ "file": "chosen" });
    let job = begin(&mut client, "prints", &file, Some("data/note?"));
    let link = place.0.join("data/chosen");
    fs::remove_file(&link).expect("it is there");
    symlink("other", &link).expect("a link can be made");
    place.write("go", 0o644, "");
    let said = result_of(&mut client, &job);
    assert!(
        said.contains("data/other?") && said.contains("Nothing was run"),
        "{said}"
    );
    for job in waiting {
        result_of(&mut client, &job);
    }
    client.close();
    running.exits_well();
}
