//! Tells when a file has changed.
//!
//! On Linux the kernel tells; elsewhere the file is looked at every second. Editors replace files, a link switches a whole profile, and a directory is
//! made anew, so every directory of the path is watched, and of what its links lead to. What the file says is compared, because the clock of a file
//! system is too coarse for two changes in a row.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A file that is watched from the moment that this is made.
pub(crate) struct Watch {
    /// From the root on, with its links.
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
        Ok(Watch {
            #[cfg(target_os = "linux")]
            events: kernel::events(file)?,
            last: look(file),
            file: file.to_owned(),
        })
    }

    /// Calls `changed` after each change, for ever. A failure ends the watch.
    #[cfg(target_os = "linux")]
    pub(crate) fn run(mut self, mut changed: impl FnMut()) -> io::Result<()> {
        use std::os::unix::ffi::OsStrExt;

        let events = self.events.try_clone()?;
        let mut buffer = [const { std::mem::MaybeUninit::uninit() }; 4096];
        let mut reader = rustix::fs::inotify::Reader::new(&events, &mut buffer);
        // A link may lead elsewhere by now, and a directory be another.
        let mut paths = kernel::follow(&self.events, &self.file)?;
        self.look(&mut changed);
        loop {
            let event = reader.next()?;
            let is_step = |name: &std::ffi::CStr| {
                let mut steps = paths.iter().flatten();
                steps.any(|step| step.as_bytes() == name.to_bytes())
            };
            // Without a name, events were too many to be told, or a directory has gone.
            if event.file_name().is_none_or(is_step) {
                paths = kernel::follow(&self.events, &self.file)?;
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

/// What the kernel is asked about.
#[cfg(target_os = "linux")]
mod kernel {
    use std::fs;
    use std::io;
    use std::os::fd::OwnedFd;
    use std::path::{Path, PathBuf};

    use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
    use rustix::io::Errno;

    /// Links may lead in a circle.
    const PATHS_MAX: usize = 40;

    pub(super) fn events(file: &Path) -> io::Result<OwnedFd> {
        let events = init(CreateFlags::CLOEXEC)?;
        follow(&events, file)?;
        Ok(events)
    }

    /// Watches every directory of every path that leads to the file; the paths. Each is watched before what is in it, so that none is made unseen.
    pub(super) fn follow(events: &OwnedFd, file: &Path) -> io::Result<Vec<PathBuf>> {
        let paths = paths(file);
        for path in &paths {
            let directories: Vec<_> = path.ancestors().skip(1).collect();
            for (depth, directory) in directories.iter().enumerate().rev() {
                let mut flags = WatchFlags::MASK_ADD | WatchFlags::CREATE | WatchFlags::MOVED_TO;
                flags.set(WatchFlags::CLOSE_WRITE, depth == 0);
                match add_watch(events, *directory, flags) {
                    // What is not there is told of when it is made, and what may not be read is somebody else's.
                    Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
        Ok(paths)
    }

    /// The file's path, and those that its links lead to.
    fn paths(file: &Path) -> Vec<PathBuf> {
        let mut paths = vec![file.to_owned()];
        let mut next = 0;
        while let Some(path) = paths.get(next).cloned() {
            for step in path.ancestors() {
                let (Some(place), Ok(to)) = (step.parent(), fs::read_link(step)) else {
                    continue;
                };
                let rest = path.strip_prefix(step).unwrap_or(Path::new(""));
                // Without a slash at the end, which would look through the next link.
                let path = place.join(to).join(rest).components().collect();
                if paths.len() < PATHS_MAX && !paths.contains(&path) {
                    paths.push(path);
                }
            }
            next += 1;
        }
        paths
    }
}
