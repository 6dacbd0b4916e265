//! Whether somebody else could have written a file or a script that this server would run.
//!
//! Looked at: the file, the scripts that it names by a path, the directories in which these stand, and those above them. Must not know what a script does.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{getegid, geteuid};

/// Why this path cannot be trusted, if it cannot.
pub(super) fn problem(path: &Path) -> Option<String> {
    let real = path.canonicalize().ok()?;
    let mut way = real.ancestors();
    let near = way.by_ref().take(2).find_map(|path| {
        let found = path.metadata().ok()?;
        let kind = if found.is_dir() { "directory" } else { "file" };
        Some(refusal(kind, path, &others(&found)?))
    });
    // Who may write further above can put another directory in the place of ours, unless a sticky bit keeps it.
    near.or_else(|| {
        way.find_map(|path| {
            let mode = path.metadata().ok()?.mode();
            let is_open = mode & 0o002 != 0 && mode & 0o1000 == 0;
            is_open.then(|| refusal("directory", path, "can be written by anybody"))
        })
    })
}

fn refusal(kind: &str, path: &Path, who: &str) -> String {
    let path = path.display();
    format!(
        "the {kind} `{path}` {who}, so somebody else could decide what is run; change that, or say --trust"
    )
}

fn others(found: &Metadata) -> Option<String> {
    let me = geteuid().as_raw();
    if ![me, 0].contains(&found.uid()) {
        return Some(format!("belongs to another user ({})", found.uid()));
    }
    let mode = found.mode();
    if mode & 0o002 != 0 {
        return Some("can be written by anybody".to_owned());
    }
    // A group of one's own is no stranger; many systems give every user one, and let it write.
    let is_own_group = found.gid() == getegid().as_raw() && found.gid() == found.uid();
    let is_open = mode & 0o020 != 0 && !is_own_group;
    is_open.then(|| format!("can be written by the group {}", found.gid()))
}
