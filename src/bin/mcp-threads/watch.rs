//! Tells when a file has changed.
//!
//! Editors replace files, a link switches a whole profile, and a directory is made anew; so what the path leads to is read, and compared, because the clock
//! of a file system is too coarse for two changes in a row.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

const INTERVAL: Duration = Duration::from_millis(500);

/// A file that is watched from the moment that this is made.
pub(crate) struct Watch {
    file: PathBuf,
    last: Option<Vec<u8>>,
}

/// What a file says. `None` while an editor replaces it, or has only emptied it, and for what is no file, such as a pipe, which would be waited for without end.
fn look(file: &Path) -> Option<Vec<u8>> {
    fs::metadata(file).ok().filter(fs::Metadata::is_file)?;
    fs::read(file).ok().filter(|text| !text.is_empty())
}

impl Watch {
    pub(crate) fn new(file: &Path) -> Self {
        Watch {
            last: look(file),
            file: file.to_owned(),
        }
    }

    /// Calls `changed` after each change, for ever: when the file has said the same twice, and so is written to its end.
    pub(crate) fn run(mut self, mut changed: impl FnMut()) {
        let mut before = None;
        loop {
            thread::sleep(INTERVAL);
            let now = look(&self.file);
            if now.is_some() && now != self.last && now == before {
                self.last.clone_from(&now);
                changed();
            }
            before = now;
        }
    }
}
