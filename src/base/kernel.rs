//! What the kernel says of one of this process's threads: in what it waits. Linux only; elsewhere nothing is known.
//!
//! Must not know whose thread it is. `proc_pid_wchan(5)`, `proc_pid_syscall(5)`, `proc_pid_stat(5)`.

/// A thread as the kernel numbers it; none until it has been asked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ThreadId {
    #[cfg(target_os = "linux")]
    number: Option<rustix::thread::Pid>,
}

impl ThreadId {
    /// The caller's.
    pub(crate) fn current() -> Self {
        ThreadId {
            #[cfg(target_os = "linux")]
            number: Some(rustix::thread::gettid()),
        }
    }

    /// Its state and in which function of the kernel and in which system call it waits, for a log line. What may not be read is left out.
    #[cfg(target_os = "linux")]
    pub(crate) fn waits_in(self) -> Option<String> {
        let tid = self.number?;
        let read = |what: &str| std::fs::read_to_string(format!("/proc/self/task/{tid}/{what}"));
        // After the name, which may contain anything but ends with the last parenthesis.
        let state = read("stat").ok()?;
        let (_, state) = state.rsplit_once(')')?;
        let mut shown = format!("tid={tid} state={}", state.trim_start().get(..1)?);
        let wchan = read("wchan").unwrap_or_default();
        if !matches!(wchan.trim(), "" | "0") {
            shown += &format!(" wchan={}", wchan.trim());
        }
        // The number and what it was called with, without the stack pointer and the program counter.
        let syscall = read("syscall").unwrap_or_default();
        let words: Vec<&str> = syscall.split_whitespace().take(4).collect();
        if !words.is_empty() {
            shown += &format!(" syscall={}", words.join(","));
        }
        Some(shown)
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn waits_in(self) -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_that_waits_is_seen_to_wait() {
        let (say, said) = std::sync::mpsc::channel();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let waiting = std::thread::spawn(move || {
            say.send(ThreadId::current()).expect("the test listens");
            let _over = wait.recv();
        });
        let thread = said.recv().expect("it says who it is");
        let shown = loop {
            let shown = thread.waits_in().expect("it lives");
            if shown.contains("state=S") {
                break shown;
            }
            std::thread::yield_now();
        };
        assert!(shown.starts_with("tid="), "{shown}");
        let running = ThreadId::current().waits_in().expect("this one lives");
        assert!(running.contains("state=R"), "{running}");
        drop(go);
        waiting.join().expect("it does not panic");
        assert!(ThreadId::default().waits_in().is_none());
    }
}
