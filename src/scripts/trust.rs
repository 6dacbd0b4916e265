//! Whether somebody else could have written a file or a script that this server would run.
//!
//! Looked at: the file, the scripts that it names by a path, the directories in which these stand, and those above them. Must not know what a script does.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{getegid, geteuid};

/// Why this file cannot be trusted, if it cannot.
pub(super) fn problem(file: &Path) -> Option<String> {
    let Ok(real) = file.canonicalize() else {
        return missing(file);
    };
    // Who may write where a link stands can put another in its place.
    let link = file.parent().filter(|_| file.is_symlink());
    let link = link.and_then(|place| Path::new(".").join(place).canonicalize().ok());
    let directories = real.parent().into_iter().chain(link.as_deref());
    let mut near = directories.clone();
    let mut above = directories.flat_map(|place| place.ancestors().skip(1));
    kept(&real, "file", false)
        .or_else(|| near.find_map(|place| kept(place, "directory", false)))
        .or_else(|| above.find_map(|place| kept(place, "directory", true)))
}

/// What is not there, or cannot be followed, is made by who may write where it would stand: the nearest directory that is there, and those above it.
fn missing(file: &Path) -> Option<String> {
    let file = Path::new(".").join(file);
    let mut directories = file.ancestors().skip(1);
    let nearest = directories.find_map(|place| place.canonicalize().ok())?;
    let above = || nearest.ancestors().skip(1);
    kept(&nearest, "directory", false)
        .or_else(|| above().find_map(|place| kept(place, "directory", true)))
}

/// Why this cannot be trusted alone.
fn kept(path: &Path, kind: &str, is_above: bool) -> Option<String> {
    Some(refusal(
        kind,
        path,
        &others(&path.metadata().ok()?, is_above)?,
    ))
}

fn refusal(kind: &str, path: &Path, who: &str) -> String {
    let path = path.display();
    format!(
        "the {kind} `{path}` {who}, so somebody else could decide what is run; change that, or say --trust"
    )
}

/// Who else may write here. What stands further above can be put aside with all that is in it, unless a sticky bit keeps it.
fn others(found: &Metadata, is_above: bool) -> Option<String> {
    let me = geteuid().as_raw();
    if ![me, 0].contains(&found.uid()) {
        return Some(format!("belongs to another user ({})", found.uid()));
    }
    let mode = found.mode();
    if is_above && mode & 0o1000 != 0 {
        return None;
    }
    if mode & 0o002 != 0 {
        return Some("can be written by anybody".to_owned());
    }
    // A group of one's own is no stranger; many systems give every user one, and let it write.
    let is_own_group = found.gid() == getegid().as_raw() && found.gid() == found.uid();
    let is_open = mode & 0o020 != 0 && !is_own_group;
    is_open.then(|| format!("can be written by the group {}", found.gid()))
}
