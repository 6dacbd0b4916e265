//! The example's scripts, each called as its reader would call it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Place, call, text, with_meta};

/// A copy of the example: a checkout may belong to a group that can write it, and a backup leaves an archive.
fn workshop(name: &str) -> Place {
    let place = Place::new(&format!("workshop-{name}"), "");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/scripts");
    copy(&example, &place.0);
    place
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory can be made");
    for entry in fs::read_dir(from).expect("the example is there") {
        let entry = entry.expect("a directory can be read").path();
        let copied = to.join(entry.file_name().expect("it has a name"));
        if entry.is_dir() {
            copy(&entry, &copied);
            continue;
        }
        fs::copy(&entry, &copied).expect("a file can be copied");
        let mode = if entry.extension().is_some_and(|kind| kind == "sh") {
            0o755
        } else {
            0o644
        };
        fs::set_permissions(&copied, fs::Permissions::from_mode(mode)).expect("it is ours");
    }
}

fn has_python() -> bool {
    let found = std::process::Command::new("python3")
        .arg("--version")
        .output();
    found.is_ok_and(|output| output.status.success())
}

#[test]
fn the_file_has_no_mistakes() {
    let place = workshop("check");
    let checked = place.run(["check", "--strict"]);
    assert_eq!(
        (checked.stdout.as_str(), checked.stderr.as_str()),
        (
            "tools.toml has no mistakes: 5 tools, 2 resources, 1 prompt\n",
            ""
        )
    );
}

#[test]
fn the_backup_tells_how_far_it_is() {
    let place = workshop("backup");
    let done = place.run(["call", "backup"]);
    assert_eq!(done.status.code(), Some(0), "{done:#?}");
    assert!(
        done.stderr
            .starts_with("1 of 2: data/README.txt\n2 of 2: data/parts.csv\n"),
        "{done:#?}"
    );
    let archive = place.0.join("backups/data.tar");
    assert_eq!(done.stdout.lines().last(), archive.to_str());
    assert!(archive.is_file());
    let outside = place.run(["call", "backup", "--into", "../elsewhere"]);
    assert!(outside.stderr.contains("has to be inside"), "{outside:#?}");
}

#[test]
fn the_query_takes_names_as_data() {
    let place = workshop("query");
    let query = |name: &str| place.result(["query", "--name", name, "--least", "5"]);
    let result = query("bolt");
    if !has_python() {
        assert_eq!(result["isError"], true, "{result}");
        assert!(
            result.to_string().contains("`python3`"),
            "it says what is missing: {result}"
        );
        return;
    }
    let bolts = json!([{ "name": "bolt M4", "stock": 120 }, { "name": "bolt M6", "stock": 7 }]);
    assert_eq!(
        result["structuredContent"],
        json!({ "parts": bolts }),
        "{result}"
    );
    let injected = query("' OR 1 = 1 --");
    assert_eq!(
        injected["structuredContent"],
        json!({ "parts": [] }),
        "{injected}"
    );
}

#[test]
fn the_search_finds_nothing_without_failing() {
    let place = workshop("search");
    let found = place.run(["call", "search", "--text", "ERROR", "--limit", "1"]);
    assert_eq!(
        found.stdout,
        "3:2026-11-20T08:12:32Z ERROR order 17: printer does not answer\n"
    );
    let nothing = place.run(["call", "search", "--text", "--version"]);
    assert_eq!(
        (nothing.status.code(), nothing.stdout.as_str()),
        (Some(0), ""),
        "{nothing:#?}"
    );
}

#[test]
fn the_deploy_asks_and_hides_its_token() {
    let place = workshop("deploy");
    let words = ["deploy", "--stage", "testing", "--version", "1.4.2"];
    let refused = place.run(["call"].into_iter().chain(words));
    assert!(
        refused.stderr.contains("Deploy version 1.4.2 to testing?"),
        "{refused:#?}"
    );
    assert!(refused.stderr.contains("Nothing was run"), "{refused:#?}");
    let done = place.run(["call", "--yes"].into_iter().chain(words));
    assert_eq!(
        done.stdout, "logging in to testing with [secret]\nversion 1.4.2 is on testing\n",
        "{done:#?}"
    );
}

#[test]
fn the_build_is_a_job_that_any_client_can_follow() {
    let place = workshop("build");
    let built = place.run(["call", "build", "--steps", "3"]);
    assert_eq!(built.stdout.lines().last(), Some("built"), "{built:#?}");
    let (mut running, mut client) = place.serve();
    client.initialize("2025-11-25");
    let call = |id: u32, tool: &str, arguments: Value| {
        let mut message = call(id, tool, arguments);
        message["params"]
            .as_object_mut()
            .expect("an object")
            .remove("_meta");
        message
    };
    let ordered = client.ask(&call(1, "build", json!({ "steps": 2 })));
    let id = ordered["result"]["structuredContent"]["job"].clone();
    assert!(id.is_string(), "{ordered}");
    let waited = json!({ "job": id, "wait_seconds": 20 });
    let result = loop {
        let result = client.ask(&call(2, "job_result", waited.clone()));
        if text(&result).contains("built") {
            break result;
        }
        assert!(result["result"].is_object(), "{result}");
    };
    assert!(text(&result).contains("step 2 of 2"), "{result}");
    let token = json!({ "progressToken": "p" });
    let searched = with_meta(call(3, "search", json!({ "text": "shop" })), token);
    assert!(text(&client.ask(&searched)).contains("shop opened"));
    client.close();
    running.exits_well();
}
