//! Tells when a file has changed.
//!
//! On Linux the kernel tells; elsewhere the file is looked at every second. Editors replace files, so its directory is watched and not the file.
//! What it says is compared, because the clock of a file system is too coarse for two changes in a row.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A file that is watched from the moment that this is made.
pub(crate) struct Watch {
    file: PathBuf,
    /// `None` while an editor replaces it.
    last: Option<Vec<u8>>,
    #[cfg(target_os = "linux")]
    events: std::os::fd::OwnedFd,
}

/// What a file says. An empty one is being written.
fn look(file: &Path) -> Option<Vec<u8>> {
    fs::read(file).ok().filter(|text| !text.is_empty())
}

impl Watch {
    pub(crate) fn new(file: &Path) -> io::Result<Self> {
        let file = file.canonicalize()?;
        Ok(Watch {
            #[cfg(target_os = "linux")]
            events: events(&file)?,
            last: look(&file),
            file,
        })
    }

    /// Calls `changed` after each change, for ever. A failure ends the watch.
    #[cfg(target_os = "linux")]
    pub(crate) fn run(mut self, mut changed: impl FnMut()) -> io::Result<()> {
        use std::os::unix::ffi::OsStrExt;

        let events = self.events.try_clone()?;
        let mut buffer = [const { std::mem::MaybeUninit::uninit() }; 4096];
        let mut reader = rustix::fs::inotify::Reader::new(&events, &mut buffer);
        let name = self.file.file_name().map(|name| name.as_bytes().to_owned());
        loop {
            let event = reader.next()?;
            // Without a name, events were too many to be told.
            let of = event.file_name().map(|name| name.to_bytes().to_owned());
            if of.is_none() || of == name {
                self.look(&mut changed);
            }
        }
    }

    /// The same by looking.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn run(mut self, mut changed: impl FnMut()) -> io::Result<()> {
        loop {
            std::thread::sleep(std::time::Duration::from_secs(1));
            self.look(&mut changed);
        }
    }

    fn look(&mut self, changed: &mut impl FnMut()) {
        let now = look(&self.file);
        if now.is_some() && now != self.last {
            self.last = now;
            changed();
        }
    }
}

#[cfg(target_os = "linux")]
fn events(file: &Path) -> io::Result<std::os::fd::OwnedFd> {
    use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};

    let events = init(CreateFlags::CLOEXEC)?;
    let flags = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO;
    add_watch(&events, file.parent().unwrap_or(Path::new("/")), flags)?;
    Ok(events)
}
