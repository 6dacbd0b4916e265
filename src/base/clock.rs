//! The one thread that ticks: whatever must happen from time to time, without anybody asking for it.
//!
//! A tick is short and waits for nothing: it finds what is due (an idle session, a silent call) and says so; what comes of that and may hang is an errand. One
//! that panics is logged and goes on ticking. A tick knows how late it is, so that a thread that was not run, or a machine that slept, is not taken for time
//! that has passed. Must not know what ticks.

use std::convert::Infallible;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, at, bounded, never, select};

use crate::base::awake;
use crate::base::error::Error;
use crate::base::log;
use crate::base::panics;
use crate::base::waiting::after;

/// Something that happens from time to time.
pub(crate) struct Tick {
    /// How soon the first time.
    pub(crate) first: Duration,
    /// Whether it also happens when somebody nudges the clock.
    pub(crate) hears_nudges: bool,
    /// Says how soon the next time.
    pub(crate) run: Box<dyn FnMut(Due) -> Duration + Send>,
}

/// Why a tick happens now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Its time has come, this long ago.
    Late(Duration),
    /// Somebody has nudged the clock. What it says of the next time can only bring that forward.
    Nudged,
}

impl Tick {
    /// One that happens again and again, and needs to know nothing.
    pub(crate) fn every(interval: Duration, mut run: impl FnMut() + Send + 'static) -> Self {
        Tick {
            first: interval,
            hears_nudges: false,
            run: Box::new(move |_| {
                run();
                interval
            }),
        }
    }
}

/// The clock at work, of which some tick comes several times a second: by that it is known [how long the process was awake](awake). Dropping it stops it and waits for the tick that runs, except on its own thread.
pub(crate) struct Clock {
    /// Never sent on: dropping it stops the thread.
    stop: Option<Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Clock {
    /// Starts the thread `mcp-clock`. It sleeps until the next tick is due.
    /// A message of `nudges` brings forward the ticks that hear it.
    pub(crate) fn start(ticks: Vec<Tick>, nudges: Receiver<()>) -> Result<Self, Error> {
        let (stop, stopped) = bounded(0);
        let name = "mcp-clock";
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run(ticks, &stopped, nudges))
            .map_err(|source| Error::spawn(name, source))?;
        Ok(Clock {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.stop = None;
        let thread = self.thread.take();
        // A tick may hold the last handle to the server, and a thread cannot wait for itself.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id())
            && thread.join().is_err()
        {
            log::error!("the clock's thread ended by panicking");
        }
    }
}

fn run(ticks: Vec<Tick>, stopped: &Receiver<Infallible>, mut nudges: Receiver<()>) {
    let mut due: Vec<(Instant, Tick)> = ticks
        .into_iter()
        .map(|tick| (after(tick.first), tick))
        .collect();
    while let Some((next, tick)) = due.iter_mut().min_by_key(|(next, _)| *next) {
        awake::note();
        select! {
            recv(stopped) -> _ => return,
            recv(at(*next)) -> _ => {
                // From now, not from when it was due: after a long sleep of the machine it ticks once, not once for each tick missed.
                *next = after(happen(tick, Due::Late(next.elapsed())));
            }
            recv(nudges) -> nudged => {
                if nudged.is_err() {
                    nudges = never();
                }
                for (next, tick) in due.iter_mut().filter(|(_, tick)| tick.hears_nudges) {
                    *next = after(happen(tick, Due::Nudged)).min(*next);
                }
            }
        }
    }
}

/// After a tick that has panicked.
const AFTER_PANIC: Duration = Duration::from_millis(500);

fn happen(tick: &mut Tick, due: Due) -> Duration {
    panics::catch(|| (tick.run)(due)).unwrap_or_else(|panic| {
        log::error!(detail: panic.backtrace(), "a tick of the clock panicked: {panic}");
        AFTER_PANIC
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const SOON: Duration = Duration::from_millis(1);
    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn every_tick_ticks_until_the_clock_is_dropped_and_a_panic_ends_none() {
        let (ticked, seen) = mpsc::channel();
        let ticks = ["one", "two"].map(|name| {
            let ticked = ticked.clone();
            Tick {
                first: SOON,
                hears_nudges: name == "two",
                run: Box::new(move |_| {
                    ticked.send(name).expect("the test listens");
                    assert_ne!(name, "two", "this one panics each time");
                    SOON
                }),
            }
        });
        drop(ticked);
        let (nudge, nudges) = bounded(1);
        let clock = Clock::start(ticks.into(), nudges).expect("a thread can be started");
        let mut counts = [0, 0];
        while counts.iter().any(|count| *count < 3) {
            let name = seen.recv_timeout(PATIENCE).expect("it ticks");
            counts[usize::from(name == "two")] += 1;
            // It need not be heard: the next one is.
            let _full = nudge.try_send(());
        }
        drop(nudge);
        drop(clock);
        while seen.recv_timeout(PATIENCE).is_ok() {}
        assert_eq!(
            seen.try_recv(),
            Err(mpsc::TryRecvError::Disconnected),
            "nothing ticks any more"
        );
    }

    #[test]
    fn a_nudge_brings_a_tick_forward_and_says_that_it_is_one() {
        let (ticked, seen) = mpsc::channel();
        let tick = Tick {
            first: Duration::MAX,
            hears_nudges: true,
            run: Box::new(move |due| {
                ticked.send(due).expect("the test listens");
                match due {
                    Due::Nudged => SOON,
                    Due::Late(_) => Duration::MAX,
                }
            }),
        };
        let (nudge, nudges) = bounded(1);
        let clock = Clock::start(vec![tick], nudges).expect("a thread can be started");
        nudge.send(()).expect("the clock listens");
        assert_eq!(seen.recv_timeout(PATIENCE), Ok(Due::Nudged));
        let next = seen.recv_timeout(PATIENCE);
        assert!(matches!(next, Ok(Due::Late(_))), "{next:?}");
        drop(clock);
        assert!(seen.try_recv().is_err());
    }

    #[test]
    fn a_clock_that_is_dropped_by_its_own_tick_ends() {
        let slot = std::sync::Arc::new(std::sync::Mutex::new(None));
        let (ended, seen) = mpsc::channel::<()>();
        let of_tick = std::sync::Arc::clone(&slot);
        let tick = Tick::every(SOON, move || {
            let _kept = &ended;
            drop(of_tick.lock().expect("not poisoned").take());
        });
        let clock = Clock::start(vec![tick], never()).expect("a thread can be started");
        *slot.lock().expect("not poisoned") = Some(clock);
        assert_eq!(
            seen.recv_timeout(PATIENCE),
            Err(mpsc::RecvTimeoutError::Disconnected)
        );
    }
}
