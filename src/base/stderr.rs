//! A bounded, lossy way to stderr: nobody who writes there ever waits, whether or not anybody reads it.
//!
//! A client may leave stderr unread; its pipe is then full after some 64 KiB, and the next thread that writes to it stands still for ever. Here a
//! thread of its own does the writing, and what does not fit in front of it is dropped and counted. There is one such way in a process, made when
//! it is asked for by name. Must not know what is written.

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// The most bytes that wait to be written: a burst of some thousand lines.
const BYTES_MAX: usize = 256 * 1024;

/// Writes to stderr without ever waiting; see [`log_lossy`].
#[derive(Clone)]
pub(crate) struct LossyStderr(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Signalled when there is something to write.
    filled: Condvar,
    /// Signalled when something has been written.
    written: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// What has been dropped and not been told yet.
    lost_writes: u64,
    lost_bytes: u64,
    is_writing: bool,
    /// How many writes have been done, to see progress.
    progress: u64,
}

/// The process's, made by the first who asks.
static STDERR: OnceLock<LossyStderr> = OnceLock::new();

/// A writer to stderr that never waits, for a logger: what nobody reads in time is dropped, and how much it was stands where it is missing.
///
/// Use it in every server that a client starts on stdio. The client may leave stderr unread; then it is full after some 64 KiB, and the next
/// thread that logs there would stand still for ever, a worker with its call or what serves the connection. With
/// [env_logger](https://docs.rs/env_logger):
///
/// ```
/// let stderr = Box::new(mcp_threads::log_lossy());
/// env_logger::Builder::from_default_env()
///     .target(env_logger::Target::Pipe(stderr))
///     .init();
/// std::panic::set_hook(Box::new(|panic| log::error!("{panic}"))); // the standard one waits for stderr, too
/// ```
///
/// Up to 256 KiB wait for a slow reader. All writers of a process share one thread, which lives as long as the process; a server that ends gives it
/// up to a second to write what is left. Each call of `write` should be a whole line, as loggers do it.
pub fn log_lossy() -> impl Write + Send + Sync + 'static {
    stderr()
}

/// The process's one.
pub(crate) fn stderr() -> LossyStderr {
    let made = STDERR.get_or_init(|| {
        let shared = Arc::<Shared>::default();
        let writing = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("mcp-stderr".into())
            .spawn(move || writing.write_for_ever(write_some));
        // Without the thread everything is dropped: to wait instead is what this is against.
        drop(thread);
        LossyStderr(shared)
    });
    made.clone()
}

/// Waits until everything has been written, as long as that makes progress and no longer than a second. For the end of a server.
pub(crate) fn settle() {
    if let Some(stderr) = STDERR.get() {
        stderr.0.settle();
    }
}

impl Write for LossyStderr {
    /// Never waits, never fails.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        if state.waiting.len() + bytes.len() <= BYTES_MAX {
            state.waiting.extend_from_slice(bytes);
            drop(state);
            self.0.filled.notify_one();
        } else {
            state.lose(1, bytes.len());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl State {
    fn lose(&mut self, writes: u64, bytes: usize) {
        self.lost_writes += writes;
        self.lost_bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
    }

    /// What is to be written now, and behind it what is missing there.
    fn take(&mut self) -> Vec<u8> {
        let mut taken = mem::take(&mut self.waiting);
        if self.lost_writes > 0 {
            let (lines, bytes) = (mem::take(&mut self.lost_writes), self.lost_bytes);
            self.lost_bytes = 0;
            if taken.last().is_some_and(|last| *last != b'\n') {
                taken.push(b'\n');
            }
            taken.extend_from_slice(
                format!("(nobody read stderr: {lines} writes, {bytes} bytes, are missing here)\n")
                    .as_bytes(),
            );
        }
        taken
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no code panics while it holds what waits for stderr")
    }

    /// The thread's life. `write` writes some of it and may wait.
    fn write_for_ever(&self, mut write: impl FnMut(&[u8]) -> io::Result<usize>) {
        let mut state = self.lock();
        loop {
            let batch = state.take();
            state.is_writing = !batch.is_empty();
            if batch.is_empty() {
                self.written.notify_all();
                state = self
                    .filled
                    .wait(state)
                    .expect("no code panics while it holds what waits for stderr");
                continue;
            }
            drop(state);
            let mut rest = &batch[..];
            while !rest.is_empty() {
                match write(rest) {
                    Ok(count) if count > 0 => rest = &rest[count..],
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    _ => break,
                }
                self.lock().progress += 1;
                self.written.notify_all();
            }
            state = self.lock();
            if !rest.is_empty() {
                state.lose(1, rest.len());
                // To say so is as hopeless as it was; it is tried with the next line.
                state.is_writing = false;
                self.written.notify_all();
                state = self
                    .filled
                    .wait(state)
                    .expect("no code panics while it holds what waits for stderr");
            }
        }
    }

    fn settle(&self) {
        const WHOLE: Duration = Duration::from_secs(1);
        const STUCK: Duration = Duration::from_millis(100);
        let end = Instant::now() + WHOLE;
        let mut state = self.lock();
        while (state.is_writing || !state.waiting.is_empty()) && Instant::now() < end {
            let progress = state.progress;
            let waited = self.written.wait_timeout(state, STUCK);
            state = waited
                .expect("no code panics while it holds what waits for stderr")
                .0;
            if state.progress == progress && state.is_writing {
                return;
            }
        }
    }
}

/// Writes some of it, waiting for room if need be. Not through the lock of [`io::stderr`], which everybody who prints would then wait for.
#[cfg(unix)]
fn write_some(bytes: &[u8]) -> io::Result<usize> {
    use rustix::event::{PollFd, PollFlags, poll};
    let stderr = rustix::stdio::stderr();
    loop {
        match rustix::io::write(stderr, bytes) {
            // Somebody has set its non-blocking mode, which belongs to the pipe and not to us.
            Err(rustix::io::Errno::AGAIN) => {
                let _interrupted = poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], None);
            }
            written => return Ok(written?),
        }
    }
}

#[cfg(not(unix))]
fn write_some(bytes: &[u8]) -> io::Result<usize> {
    io::stderr().write(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A way whose reader takes a batch when the test asks for it.
    fn unread() -> (LossyStderr, mpsc::Receiver<Vec<u8>>, mpsc::Sender<()>) {
        let shared = Arc::<Shared>::default();
        let writing = Arc::clone(&shared);
        let (read, batches) = mpsc::channel();
        let (go, gate) = mpsc::channel::<()>();
        thread::spawn(move || {
            writing.write_for_ever(move |bytes| {
                // An error means that the test is over.
                let _ = gate.recv();
                let _ = read.send(bytes.to_vec());
                Ok(bytes.len())
            });
        });
        (LossyStderr(shared), batches, go)
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted_and_nobody_waits() {
        let (mut stderr, batches, go) = unread();
        let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
        stderr.write_all(&line).expect("it never fails");
        while !stderr.0.lock().is_writing {
            thread::yield_now();
        }
        // 256 more fit behind the one that is being written; the rest does not.
        for _ in 0..300 {
            stderr.write_all(&line).expect("it never fails");
        }
        stderr.0.settle();
        let read = || String::from_utf8(batches.recv_timeout(PATIENCE).expect("written")).unwrap();
        go.send(()).expect("it waits");
        assert_eq!(read().lines().count(), 1);
        go.send(()).expect("it waits");
        let rest = read();
        assert_eq!(rest.lines().count(), 257);
        let last = rest.lines().last().expect("there is one");
        assert!(last.contains("44 writes, 45056 bytes"), "{last}");
        stderr.write_all(b"after\n").expect("it never fails");
        go.send(()).expect("it waits");
        assert_eq!(read(), "after\n");
        stderr.0.settle();
        assert!(!stderr.0.lock().is_writing);
    }
}
