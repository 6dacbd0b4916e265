//! [`FileLock`]: locks between the processes of one machine, as files.
//!
//! The lock is the kernel's (`flock`), which gives it back when its holder dies, however it dies; what stands in the file only says who that is. A file is never
//! removed, because two processes could then hold locks on two files of the same name. Must not know pools.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::base::lock::Lock;
use crate::base::log;
use crate::pool::external::ExternalLock;

/// A lock file for each resource, in one directory, for the processes of one machine that share it; see
/// [`ResourcePool::with_lock`](crate::ResourcePool::with_lock).
///
/// The file `NAME.lock` says who has the lock: its process id, the id of the boot it was taken in, and a label. A process that dies loses its locks at once; what it
/// has written stays until the next holder writes. Not for network file systems, where the kernel's promise ends. Unix only.
///
/// ```
/// use mcp_threads::{FileLock, ResourcePool};
///
/// # fn main() -> std::io::Result<()> {
/// let directory = std::env::temp_dir().join("mcp-threads-doc-locks");
/// let hosts = ResourcePool::fixed("hosts", ["alpha", "beta"]).with_lock(FileLock::in_directory(&directory)?);
/// # std::fs::remove_dir_all(&directory)
/// # }
/// ```
#[derive(Debug)]
pub struct FileLock {
    directory: PathBuf,
    /// What we have, by the name of its resource. Closing the file gives the lock back.
    held: Lock<HashMap<String, File>>,
}

/// The most that is read of a file to see who holds its lock.
const COMMENT_BYTES_MAX: u64 = 1024;

impl FileLock {
    /// Locks in this directory, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn in_directory(directory: impl AsRef<Path>) -> io::Result<Self> {
        let directory = directory.as_ref().to_owned();
        fs::create_dir_all(&directory)?;
        Ok(FileLock {
            directory,
            held: Lock::default(),
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{}.lock", escaped(name)))
    }
}

impl ExternalLock for FileLock {
    fn try_lock(&self, name: &str, label: &str) -> io::Result<bool> {
        let path = self.path(name);
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        if let Some(dead) = holder(&mut file)? {
            let path = path.display();
            log::warn!("the lock {path} is taken over: {dead} did not give it back");
        }
        let (pid, boot) = (process::id(), boot_id());
        let label = label.replace(char::is_control, " ");
        file.set_len(0)?;
        file.rewind()?;
        // In one write, so that nobody reads a half of it.
        file.write_all(format!("pid: {pid}\nboot: {boot}\nlabel: {label}\n").as_bytes())?;
        self.held.lock().insert(name.to_owned(), file);
        Ok(true)
    }

    fn unlock(&self, name: &str) {
        let file = self.held.lock().remove(name);
        // Emptied first, so that the next holder sees that it was given back.
        if let Some(file) = file
            && let Err(error) = file.set_len(0)
        {
            log::warn!("the lock of `{name}` cannot be emptied: {error}");
        }
    }

    fn holder(&self, name: &str) -> Option<String> {
        let mut file = File::open(self.path(name)).ok()?;
        holder(&mut file).ok()?
    }
}

/// What a lock file says of its holder. `None` when it is empty, or nothing that we have written.
fn holder(file: &mut File) -> io::Result<Option<String>> {
    let mut text = String::new();
    file.rewind()?;
    match file.take(COMMENT_BYTES_MAX).read_to_string(&mut text) {
        Err(error) if error.kind() != io::ErrorKind::InvalidData => return Err(error),
        _ => {}
    }
    let field = |name: &str| {
        text.lines()
            .find_map(|line| Some(line.strip_prefix(name)?.trim()))
    };
    let (Some(pid), Some(boot), Some(label)) = (field("pid:"), field("boot:"), field("label:"))
    else {
        return Ok(None);
    };
    let before = match boot == boot_id() {
        true => "",
        false => " before the machine was started",
    };
    Ok(Some(format!("process {pid} ({label}){before}")))
}

/// Which run of the machine this is; a process id means nothing in another one.
fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.map_or_else(|_| "unknown".into(), |id| id.trim().to_owned())
}

/// The name as a file's: everything else than letters, digits, `-`, `_` and `.` as a number, and no leading dot.
fn escaped(name: &str) -> String {
    let mut escaped = String::new();
    for (at, byte) in name.bytes().enumerate() {
        match byte {
            b'.' if at == 0 => escaped.push_str("%2e"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02x}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_in_its_directory_and_no_two_are_one_file() {
        let rows = [
            ("alpha", "alpha"),
            ("../up", "%2e.%2fup"),
            ("a/b", "a%2fb"),
            ("a%2fb", "a%252fb"),
            ("é", "%c3%a9"),
        ];
        for (name, expected) in rows {
            assert_eq!(escaped(name), expected);
        }
    }
}
