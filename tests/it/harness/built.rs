//! The examples as they stand beside the test binary, and whether they are what they would be if they were built now: `cargo test --test it` builds none,
//! and an old one, or one with other features, fails in ways that say nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

/// What the test binary was built with; `everything --help` says it of itself in the same words.
const FEATURES: [(&str, bool); 9] = [
    ("http", cfg!(feature = "http")),
    ("tiny-http", cfg!(feature = "tiny-http")),
    ("ctrlc", cfg!(feature = "ctrlc")),
    ("schema-order", cfg!(feature = "schema-order")),
    ("validate", cfg!(feature = "validate")),
    ("anyhow", cfg!(feature = "anyhow")),
    ("durable", cfg!(feature = "durable")),
    ("scripts", cfg!(feature = "scripts")),
    ("cli", cfg!(feature = "cli")),
];

/// An example of this package, built by `cargo test` beside the test binary.
pub(crate) fn example(name: &str) -> Command {
    let tests = std::env::current_exe().expect("a test binary knows where it is");
    let built = tests.ancestors().nth(2).expect("it stands in `deps`");
    let path = built.join("examples").join(name);
    if let Some(problem) = problem(&path, modified(&tests)) {
        let features = FEATURES.iter().filter(|(_, is_there)| *is_there);
        let features: Vec<_> = features.map(|(name, _)| *name).collect();
        panic!(
            "{} {problem}; `cargo build --examples --no-default-features --features {}` makes it anew",
            path.display(),
            features.join(",")
        );
    }
    Command::new(path)
}

/// Why it cannot be trusted to be the example of these sources.
fn problem(path: &Path, tests: SystemTime) -> Option<String> {
    if !path.exists() {
        return Some("is missing".to_owned());
    }
    if let Some(source) = newer_source(path, tests) {
        return Some(format!("is older than {}", source.display()));
    }
    static FEATURES_DIFFER: OnceLock<Option<String>> = OnceLock::new();
    match path.ends_with("everything") {
        true => FEATURES_DIFFER.get_or_init(|| other_features(path)).clone(),
        false => None,
    }
}

/// A source of it that has changed since, by what cargo has noted beside it. What has changed after the tests were built is not looked at.
fn newer_source(path: &Path, tests: SystemTime) -> Option<PathBuf> {
    let noted = fs::read_to_string(path.with_extension("d")).ok()?;
    let (_, sources) = noted.split_once(": ")?;
    let built = modified(path);
    let mut sources = sources.split_whitespace().map(PathBuf::from);
    sources.find(|source| {
        let changed = fs::metadata(source).and_then(|found| found.modified());
        changed.is_ok_and(|changed| built < changed && changed < tests)
    })
}

fn other_features(everything: &Path) -> Option<String> {
    let help = Command::new(everything).arg("--help").output();
    let help = String::from_utf8(help.expect("it can be run").stdout).expect("it is text");
    let said = help.lines().last()?.strip_prefix("Built with:");
    let own: String = FEATURES
        .iter()
        .filter(|(_, is_there)| *is_there)
        .map(|(name, _)| format!(" {name}"))
        .collect();
    (said != Some(&own)).then(|| format!("was built with{}", said.unwrap_or(" other features")))
}

fn modified(path: &Path) -> SystemTime {
    let found = fs::metadata(path).and_then(|found| found.modified());
    found.expect("a file that was built has a time")
}
