//! Of which of many sockets there is news: `epoll` on Linux, `poll` elsewhere.
//!
//! *Level-triggered*: news that nobody has acted on is told again, so what is told of must be heeded no longer, or read. Must not know whose sockets they are.

use std::io;
use std::time::Duration;

use rustix::event::Timespec;

use super::socket::{Bell, Socket};
use crate::transport::http::exchange::{Heard, Heeds};

pub(super) use self::system::Readiness;

/// A socket by its number, and what was heard of it.
pub(super) type News = (usize, Heard);

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use std::mem::MaybeUninit;
    use std::os::fd::OwnedFd;

    use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

    use super::{Bell, Duration, Heard, Heeds, News, Socket, Timespec, io};

    /// The bell's number.
    const BELL: usize = usize::MAX;

    /// So much news is taken at once.
    const EVENTS_MAX: usize = 64;

    /// The sockets that are watched, and a bell.
    pub(in super::super) struct Readiness(OwnedFd);

    impl Readiness {
        pub(in super::super) fn new(bell: &Bell) -> io::Result<Readiness> {
            let epoll = epoll::create(CreateFlags::CLOEXEC)?;
            epoll::add(
                &epoll,
                bell,
                EventData::new_u64(BELL as u64),
                EventFlags::IN,
            )?;
            Ok(Readiness(epoll))
        }

        /// Heeds `to` of a socket of which `from` was heeded before. A socket of which anything is heeded must not be closed.
        pub(in super::super) fn watch(
            &mut self,
            number: usize,
            socket: &Socket,
            from: Heeds,
            to: Heeds,
        ) -> io::Result<()> {
            if from == to {
                return Ok(());
            }
            let data = EventData::new_u64(number as u64);
            let flags = match to {
                Heeds::Nothing => return Ok(epoll::delete(&self.0, socket)?),
                Heeds::End => EventFlags::RDHUP,
                Heeds::Bytes => EventFlags::IN | EventFlags::RDHUP,
            };
            match from {
                Heeds::Nothing => epoll::add(&self.0, socket, data, flags)?,
                _ => epoll::modify(&self.0, socket, data, flags)?,
            }
            Ok(())
        }

        /// Waits for news, so long. Whether the bell was rung.
        pub(in super::super) fn wait(
            &mut self,
            bell: &Bell,
            time: Option<Duration>,
            mut tell: impl FnMut(News),
        ) -> bool {
            let timeout = time.and_then(|time| Timespec::try_from(time).ok());
            let mut room = [MaybeUninit::uninit(); EVENTS_MAX];
            let Ok((events, _)) = epoll::wait(&self.0, &mut room[..], timeout.as_ref()) else {
                return false; // interrupted: the caller looks again
            };
            let mut is_rung = false;
            for event in events {
                let ends = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
                let (number, flags) = (event.data.u64() as usize, event.flags);
                match (number, flags.intersects(ends)) {
                    (BELL, _) => {
                        bell.hush();
                        is_rung = true;
                    }
                    (_, true) => tell((number, Heard::End)),
                    (_, false) => tell((number, Heard::Bytes)),
                }
            }
            is_rung
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    use std::collections::HashMap;
    use std::os::fd::{AsFd, OwnedFd};

    use rustix::event::{PollFd, PollFlags, poll};

    use super::{Bell, Duration, Heard, Heeds, News, Socket, Timespec, io};

    /// The sockets that are watched.
    pub(in super::super) struct Readiness(HashMap<usize, (OwnedFd, PollFlags)>);

    impl Readiness {
        pub(in super::super) fn new(_bell: &Bell) -> io::Result<Readiness> {
            Ok(Readiness(HashMap::new()))
        }

        /// Heeds `to` of a socket.
        pub(in super::super) fn watch(
            &mut self,
            number: usize,
            socket: &Socket,
            _from: Heeds,
            to: Heeds,
        ) -> io::Result<()> {
            let events = match to {
                Heeds::Nothing => {
                    self.0.remove(&number);
                    return Ok(());
                }
                Heeds::End => Socket::END,
                Heeds::Bytes => PollFlags::IN | Socket::END,
            };
            let socket = socket.as_fd().try_clone_to_owned()?;
            self.0.insert(number, (socket, events));
            Ok(())
        }

        /// Waits for news, so long. Whether the bell was rung.
        pub(in super::super) fn wait(
            &mut self,
            bell: &Bell,
            time: Option<Duration>,
            mut tell: impl FnMut(News),
        ) -> bool {
            let timeout = time.and_then(|time| Timespec::try_from(time).ok());
            let sockets = self.0.values();
            let polled = sockets.map(|(socket, events)| PollFd::new(socket, *events));
            let mut polled: Vec<_> = polled.chain([PollFd::new(bell, PollFlags::IN)]).collect();
            if poll(&mut polled, timeout.as_ref()).is_err() {
                return false; // interrupted: the caller looks again
            }
            for (number, polled) in self.0.keys().zip(&polled) {
                let ends = PollFlags::HUP | PollFlags::ERR;
                match polled.revents() {
                    events if events.intersects(ends) => tell((*number, Heard::End)),
                    events if !events.is_empty() => tell((*number, Heard::Bytes)),
                    _ => {}
                }
            }
            let is_rung = polled.last().is_some_and(|bell| !bell.revents().is_empty());
            if is_rung {
                bell.hush();
            }
            is_rung
        }
    }
}
