//! A bounded queue in front of what may wait for ever: a logger, or stderr that nobody reads.
//!
//! Producers never wait. A thread of its own takes it out and may stand still as long as it likes; what does not fit meanwhile is
//! dropped and counted, and the count stands where it is missing. Must not know what is queued.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Condvar};
use std::thread;
use std::time::{Duration, Instant};

use crate::base::lock::{HELD, Lock};

/// The producer side. The thread behind it lives as long as the process.
pub(crate) struct Lossy<T>(Arc<LossyQueue<T>>);

struct LossyQueue<T> {
    /// The most bytes that wait, as those who put them in count them.
    bytes_max: usize,
    state: Lock<Backlog<T>>,
    /// Signalled when there is something to take.
    filled: Condvar,
    /// Signalled when something has been dealt with.
    dealt: Condvar,
}

struct Backlog<T> {
    waiting: VecDeque<(T, usize)>,
    bytes: usize,
    lost: Lost,
    /// Something that was taken is being dealt with.
    is_busy: bool,
    /// How much has been dealt with, to see progress.
    progress: u64,
}

/// What did not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) items: u64,
    pub(crate) bytes: usize,
}

/// What comes out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received<T> {
    One(T),
    /// So much is missing here.
    Lost(Lost),
}

impl<T: Send + 'static> Lossy<T> {
    /// Starts the thread of this name, which deals with one after the other. If it cannot be started, everything is dropped: to wait instead is
    /// what this is against.
    pub(crate) fn start(
        name: &str,
        bytes_max: usize,
        deal: impl FnMut(Received<T>) + Send + 'static,
    ) -> Self {
        let shared = Arc::new(LossyQueue {
            bytes_max,
            state: Lock::new(Backlog {
                waiting: VecDeque::new(),
                bytes: 0,
                lost: Lost::default(),
                is_busy: false,
                progress: 0,
            }),
            filled: Condvar::new(),
            dealt: Condvar::new(),
        });
        let owned = Arc::clone(&shared);
        let thread = thread::Builder::new().name(name.to_owned());
        drop(thread.spawn(move || owned.deal_for_ever(deal)));
        Lossy(shared)
    }

    /// Puts something in that counts as so many bytes, or drops it. Never waits.
    pub(crate) fn put(&self, item: T, bytes: usize) {
        let mut state = self.0.state.lock();
        if state.bytes + bytes > self.0.bytes_max {
            state.lost.items += 1;
            state.lost.bytes = state.lost.bytes.saturating_add(bytes);
        } else {
            state.bytes += bytes;
            state.waiting.push_back((item, bytes));
        }
        let wake = !state.is_busy;
        drop(state);
        if wake {
            self.0.filled.notify_one();
        }
    }

    /// Waits until everything has been dealt with, as long as there is progress, until the deadline. For the end of a server.
    pub(crate) fn settle(&self, deadline: Instant) {
        const STUCK: Duration = Duration::from_millis(500);
        let left = || deadline.saturating_duration_since(Instant::now());
        let mut state = self.0.state.lock();
        while !state.is_settled() && !left().is_zero() {
            let progress = state.progress;
            let patience = left().min(STUCK);
            let waited = self.0.dealt.wait_timeout_while(state, patience, |state| {
                state.progress == progress && !state.is_settled()
            });
            let (woken, timeout) = waited.expect(HELD);
            if timeout.timed_out() {
                return;
            }
            state = woken;
        }
    }
}

impl<T> Backlog<T> {
    /// Whether nothing is left to be dealt with, nor to be said of what was lost.
    fn is_settled(&self) -> bool {
        !self.is_busy && self.waiting.is_empty() && self.lost.items == 0
    }
}

impl<T> LossyQueue<T> {
    fn deal_for_ever(&self, mut deal: impl FnMut(Received<T>)) {
        let mut state = self.state.lock();
        loop {
            let item = match state.waiting.pop_front() {
                Some((item, bytes)) => {
                    state.bytes -= bytes;
                    Received::One(item)
                }
                // What was lost was so behind everything that waited.
                None if state.lost.items > 0 => Received::Lost(mem::take(&mut state.lost)),
                None => {
                    state.is_busy = false;
                    self.dealt.notify_all();
                    state = self.filled.wait(state).expect(HELD);
                    continue;
                }
            };
            state.is_busy = true;
            drop(state);
            deal(item);
            state = self.state.lock();
            state.progress += 1;
            self.dealt.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn what_does_not_fit_is_dropped_and_counted_and_nobody_waits() {
        let (dealt, items) = mpsc::channel();
        let (go, gate) = mpsc::channel();
        let lossy = Lossy::start("mcp-test", 1000, move |item| {
            // An error means that the test is over.
            let _ = gate.recv();
            let _ = dealt.send(item);
        });
        let next = || {
            go.send(()).expect("it waits");
            items.recv_timeout(PATIENCE).expect("it is dealt with")
        };
        lossy.put(0, 100);
        while !lossy.0.state.lock().is_busy {
            thread::yield_now();
        }
        // Ten fit behind what is being dealt with.
        for number in 1..=14 {
            lossy.put(number, 100);
        }
        lossy.settle(Instant::now() + PATIENCE);
        assert!(
            lossy.0.state.lock().is_busy,
            "it gives up on what stands still"
        );
        for number in 0..=10 {
            assert_eq!(next(), Received::One(number));
        }
        let lost = Lost {
            items: 4,
            bytes: 400,
        };
        assert_eq!(next(), Received::Lost(lost));
        lossy.put(15, 1000);
        assert_eq!(next(), Received::One(15));
        // Nothing is left. It gives up on a thread that is not run for half a second, as on one that stands still.
        while lossy.0.state.lock().is_busy {
            lossy.settle(Instant::now() + PATIENCE);
        }
    }

    #[test]
    fn what_is_too_long_is_said_to_be_lost_by_a_thread_that_has_nothing_else_to_do() {
        let (dealt, items) = mpsc::channel();
        let lossy = Lossy::start("mcp-test", 1000, move |item| {
            // An error means that the test is over.
            let _ = dealt.send(item);
        });
        let lost = Lost {
            items: 1,
            bytes: 1001,
        };
        lossy.put(0, 1001);
        lossy.settle(Instant::now() + PATIENCE);
        assert_eq!(items.recv_timeout(PATIENCE), Ok(Received::Lost(lost)));
    }
}
