//! Of which of many sockets there is news: `epoll` on Linux, `poll` elsewhere.
//!
//! *Level-triggered*: news that nobody has acted on is told again, so what is told of must be heeded no longer, or read. Must not know whose sockets they are.

use std::io;
use std::time::Duration;

use super::socket::{Bell, Socket, poll_timeout};
use crate::transport::http::exchange::{Heard, Heeds};

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) use self::by_epoll::Readiness;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) use self::by_poll::Readiness;

/// A socket by its number, and what was heard of it.
pub(super) type News = (usize, Heard);

#[cfg(any(target_os = "linux", target_os = "android"))]
mod by_epoll {
    use std::mem::MaybeUninit;
    use std::os::fd::OwnedFd;

    use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

    use super::{Bell, Duration, Heard, Heeds, News, Socket, io, poll_timeout};

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
            let timeout = poll_timeout(time);
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

#[cfg(any(test, not(any(target_os = "linux", target_os = "android"))))]
mod by_poll {
    use std::collections::HashMap;

    use rustix::event::{PollFd, PollFlags, poll};

    use super::{Bell, Duration, Heard, Heeds, News, Socket, io, poll_timeout};

    /// The sockets that are watched.
    pub(in super::super) struct Readiness(HashMap<usize, (Socket, PollFlags)>);

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
            let (fd, peer) = (socket.fd.try_clone()?, socket.peer);
            self.0.insert(number, (Socket { fd, peer }, events));
            Ok(())
        }

        /// Waits for news, so long. Whether the bell was rung.
        pub(in super::super) fn wait(
            &mut self,
            bell: &Bell,
            time: Option<Duration>,
            mut tell: impl FnMut(News),
        ) -> bool {
            let timeout = poll_timeout(time);
            let sockets = self.0.values();
            let polled = sockets.map(|(socket, events)| PollFd::new(socket, *events));
            let mut polled: Vec<_> = polled.chain([PollFd::new(bell, PollFlags::IN)]).collect();
            if poll(&mut polled, timeout.as_ref()).is_err() {
                return false; // interrupted: the caller looks again
            }
            for ((number, (socket, _)), polled) in self.0.iter().zip(&polled) {
                match polled.revents() {
                    events if events.is_empty() => {}
                    events if socket.says_end(events) => tell((*number, Heard::End)),
                    _ => tell((*number, Heard::Bytes)),
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// One half's, of which one is for other systems.
    macro_rules! what_is_heeded_is_told {
        ($half:ident) => {
            #[test]
            fn $half() {
                let (mut client, ours) = UnixStream::pair().expect("descriptors");
                let (fd, peer) = (ours.into(), None);
                let socket = Socket { fd, peer };
                let bell = Bell::new().expect("a descriptor");
                let mut readiness = super::$half::Readiness::new(&bell).expect("a descriptor");
                let mut heeded = Heeds::Nothing;
                let mut heeding = |heeds, time| {
                    let watched =
                        readiness.watch(7, &socket, std::mem::replace(&mut heeded, heeds), heeds);
                    watched.expect("descriptors");
                    let mut told = Vec::new();
                    let is_rung = readiness.wait(&bell, time, |news| told.push(news));
                    (is_rung, told)
                };
                let now = Some(Duration::ZERO);
                assert_eq!(heeding(Heeds::Bytes, now), (false, vec![]));
                client.write_all(b"early").expect("there is room");
                assert_eq!(
                    heeding(Heeds::Bytes, None),
                    (false, vec![(7, Heard::Bytes)])
                );
                assert_eq!(heeding(Heeds::End, now), (false, vec![]));
                bell.ring();
                assert_eq!(heeding(Heeds::End, None), (true, vec![]));
                client
                    .shutdown(std::net::Shutdown::Write)
                    .expect("it is open");
                assert_eq!(heeding(Heeds::Bytes, None), (false, vec![(7, Heard::End)]));
                assert_eq!(heeding(Heeds::End, None), (false, vec![(7, Heard::End)]));
                assert_eq!(heeding(Heeds::Nothing, now), (false, vec![]));
            }
        };
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    what_is_heeded_is_told!(by_epoll);
    what_is_heeded_is_told!(by_poll);
}
