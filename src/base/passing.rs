//! Errors of the kernel that pass, and are no end of anything: the call was interrupted, or there was no memory for it at that moment.
//!
//! Must not know what is called.

use std::thread;

use rustix::io::Errno;

/// Whether the same call may do a moment later. `poll(2)` knows all three.
pub(crate) fn passes(errno: Errno) -> bool {
    matches!(errno, Errno::INTR | Errno::AGAIN | Errno::NOMEM)
}

/// Calls until it does, or fails for good.
pub(crate) fn until_passed<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(errno) if passes(errno) => thread::yield_now(),
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_no_end() {
        let mut results = [Errno::AGAIN, Errno::NOMEM, Errno::INTR].map(Err).to_vec();
        results.insert(0, Ok(7));
        assert_eq!(until_passed(|| results.pop().expect("one more")), Ok(7));
        assert_eq!(until_passed(|| Err::<(), _>(Errno::PIPE)), Err(Errno::PIPE));
    }
}
