//! The one thread that ticks: whatever must happen from time to time, without anybody asking for it.
//!
//! A tick is short and never waits; it finds what is due (an idle session, a silent call) and says so. One that panics is logged and goes on
//! ticking. Must not know what ticks.

use std::convert::Infallible;
use std::sync::Mutex;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, at, bounded, select};

use crate::base::deadline::after;
use crate::base::error::Error;
use crate::base::log;
use crate::base::panics;

/// Something that happens from time to time.
pub(crate) struct Tick {
    pub(crate) every: Duration,
    pub(crate) run: Box<dyn FnMut() + Send>,
}

/// The clock at work. Dropping it stops it and waits for the tick that runs, except on its own thread.
pub(crate) struct Clock {
    /// Never sent on: dropping it stops the thread.
    stop: Mutex<Option<Sender<Infallible>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

const HELD: &str = "no code panics while it holds the clock";

impl Clock {
    /// Starts the thread `mcp-clock`. It sleeps until the next tick is due.
    pub(crate) fn start(ticks: Vec<Tick>) -> Result<Self, Error> {
        let (stop, stopped) = bounded(0);
        let name = "mcp-clock";
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run(ticks, &stopped))
            .map_err(|source| Error::spawn(name, source))?;
        Ok(Clock {
            stop: Mutex::new(Some(stop)),
            thread: Mutex::new(Some(thread)),
        })
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        drop(self.stop.lock().expect(HELD).take());
        let thread = self.thread.lock().expect(HELD).take();
        // A tick may hold the last handle to the server, and a thread cannot wait for itself.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id())
            && thread.join().is_err()
        {
            log::error!("the clock's thread ended by panicking");
        }
    }
}

fn run(ticks: Vec<Tick>, stopped: &Receiver<Infallible>) {
    let mut due: Vec<(Instant, Tick)> = ticks
        .into_iter()
        .map(|tick| (after(tick.every), tick))
        .collect();
    while let Some((next, tick)) = due.iter_mut().min_by_key(|(next, _)| *next) {
        select! {
            recv(stopped) -> _ => return,
            recv(at(*next)) -> _ => {}
        }
        if let Err(panic) = panics::catch(|| (tick.run)()) {
            log::error!(detail: &panic.way().to_string(), "a tick of the clock panicked: {panic}");
        }
        // From now, not from when it was due: after a long sleep of the machine it ticks once, not once for each tick missed.
        *next = after(tick.every);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const SOON: Duration = Duration::from_millis(1);
    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn every_tick_ticks_until_the_clock_is_dropped_and_a_panic_ends_none() {
        let (ticked, seen) = mpsc::channel();
        let ticks = ["one", "two"].map(|name| {
            let ticked = ticked.clone();
            let run = Box::new(move || {
                ticked.send(name).expect("the test listens");
                assert_ne!(name, "two", "this one panics each time");
            });
            Tick { every: SOON, run }
        });
        drop(ticked);
        let clock = Clock::start(ticks.into()).expect("a thread can be started");
        let mut counts = [0, 0];
        while counts.iter().any(|count| *count < 3) {
            let name = seen.recv_timeout(PATIENCE).expect("it ticks");
            counts[usize::from(name == "two")] += 1;
        }
        drop(clock);
        while seen.recv_timeout(PATIENCE).is_ok() {}
        assert_eq!(
            seen.try_recv(),
            Err(mpsc::TryRecvError::Disconnected),
            "nothing ticks any more"
        );
    }

    #[test]
    fn a_clock_that_is_dropped_by_its_own_tick_ends() {
        let slot = std::sync::Arc::new(Mutex::new(None));
        let (ended, seen) = mpsc::channel::<()>();
        let of_tick = std::sync::Arc::clone(&slot);
        let run = Box::new(move || {
            let _kept = &ended;
            drop(of_tick.lock().expect("not poisoned").take());
        });
        let clock = Clock::start(vec![Tick { every: SOON, run }]).expect("a thread can be started");
        *slot.lock().expect("not poisoned") = Some(clock);
        assert_eq!(
            seen.recv_timeout(PATIENCE),
            Err(mpsc::RecvTimeoutError::Disconnected)
        );
    }
}
