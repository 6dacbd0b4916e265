//! Tells when a file has changed.
//!
//! On Linux the kernel tells; elsewhere the file is looked at every second. Editors replace files, so its directory is watched and not the file.

use std::path::Path;
use std::time::SystemTime;

/// The state of a file that differs when somebody has changed it.
type Stamp = Option<(SystemTime, u64)>;

fn stamp(file: &Path) -> Stamp {
    let found = file.metadata().ok()?;
    Some((found.modified().ok()?, found.len()))
}

/// Calls `changed` after each change, for ever. A failure ends the watch.
#[cfg(target_os = "linux")]
pub(crate) fn watch(file: &Path, mut changed: impl FnMut()) -> std::io::Result<()> {
    use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};

    let real = file.canonicalize()?;
    let directory = real.parent().unwrap_or(Path::new("/"));
    let events = init(CreateFlags::CLOEXEC)?;
    let flags = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::ATTRIB;
    add_watch(&events, directory, flags)?;
    let mut buffer = [const { std::mem::MaybeUninit::uninit() }; 4096];
    let mut reader = Reader::new(&events, &mut buffer);
    let mut last = stamp(&real);
    loop {
        reader.next()?;
        let now = stamp(&real);
        // While an editor replaces it there is none for a moment.
        if now.is_some() && now != last {
            last = now;
            changed();
        }
    }
}

/// The same by looking.
#[cfg(not(target_os = "linux"))]
pub(crate) fn watch(file: &Path, mut changed: impl FnMut()) -> std::io::Result<()> {
    let mut last = stamp(file);
    loop {
        std::thread::sleep(std::time::Duration::from_secs(1));
        let now = stamp(file);
        if now.is_some() && now != last {
            last = now;
            changed();
        }
    }
}
