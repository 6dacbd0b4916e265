//! Where the path has to be that an argument is.
//!
//! Links are resolved before anything is compared. Between this look and the program's own somebody can still change what is there; who may write
//! below the root is part of what the root means.

use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::scripts::table::Table;

/// What the file says of a path.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PathRule {
    /// What it is relative to.
    from: PathBuf,
    /// Whether it has to be below that.
    is_inside: bool,
    must_exist: bool,
    is_directory: Option<bool>,
}

impl PathRule {
    /// Reads `path = { inside = "root", must_exist = true, kind = "file" }`.
    pub(super) fn read(table: Table<'_>, base: &Path) -> Self {
        let inside = table.text("inside").map(|root| base.join(root));
        if let Some(root) = inside.as_ref().filter(|root| !root.is_dir()) {
            let root = root.display();
            let problem = format!("`inside` names a directory, and `{root}` is none");
            table.wrong("inside", problem);
        }
        let kinds = [("file", false), ("directory", true)];
        let wanted = "`kind` of a path is \"file\" or \"directory\"";
        let is_directory = table.word("kind", wanted, kinds);
        let must_exist = table.boolean("must_exist");
        table.finish();
        PathRule {
            is_inside: inside.is_some(),
            from: inside.unwrap_or_else(|| base.to_owned()),
            must_exist: must_exist.unwrap_or(is_directory.is_some()),
            is_directory,
        }
    }

    /// The real path, behind every symbolic link.
    pub(super) fn check(&self, text: &str) -> Result<String, String> {
        if text.is_empty() {
            return Err("is an empty path".to_owned());
        }
        let real = real_path(&self.from.join(text));
        let real = real.map_err(|error| format!("cannot be resolved: `{text}`: {error}"))?;
        if self.is_inside {
            let root = self.from.display();
            let is_there = self.from.canonicalize().map(|root| real.starts_with(root));
            if !is_there.map_err(|error| format!("has to be inside `{root}`: {error}"))? {
                return Err(format!("has to be inside `{root}`; `{text}` is not"));
            }
        }
        match real.metadata() {
            Err(_) if self.must_exist => return Err(format!("does not exist: `{text}`")),
            Ok(found) if self.is_directory == Some(true) && !found.is_dir() => {
                return Err(format!("is a directory; `{text}` is not"));
            }
            Ok(found) if self.is_directory == Some(false) && !found.is_file() => {
                return Err(format!("is a file; `{text}` is not"));
            }
            _ => {}
        }
        let text = real.into_os_string().into_string();
        text.map_err(|_| "has a real path that is not UTF-8".to_owned())
    }
}

/// The path with every link resolved. What does not exist yet stays as it is written, and may not climb with `..`.
fn real_path(path: &Path) -> io::Result<PathBuf> {
    let mut exists = path.to_owned();
    let mut rest: Vec<OsString> = Vec::new();
    loop {
        match exists.canonicalize() {
            Ok(real) => return Ok(rest.iter().rev().fold(real, |path, name| path.join(name))),
            // A link to nowhere is not something that may be made: it would be made where it points.
            Err(error) if exists.is_symlink() || error.kind() != io::ErrorKind::NotFound => {
                return Err(error);
            }
            Err(error) => {
                let Some(Component::Normal(name)) = exists.components().next_back() else {
                    return Err(error);
                };
                rest.push(name.to_owned());
                exists.pop();
            }
        }
    }
}
