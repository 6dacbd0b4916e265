//! One connection's socket, TCP or Unix-domain, the few calls that std lacks, and the bell that wakes its owner while it waits for its client.
//!
//! Everything of the guarded front that depends on the operating system stands here and in `bound.rs`. The socket stays in blocking
//! mode all its life: what must not block says so call by call, because the mode belongs to the open file and not to the
//! handle. Must not know heads and bodies, deadlines or what is being sent.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{RecvFlags, SendAncillaryBuffer, Shutdown};

use crate::base::log;
use crate::base::passing::passes;
use crate::base::send::{AT_ONCE, prepare_at_once};
use crate::transport::http::exchange::{Heard, Heeds};

pub(super) struct Socket {
    pub(super) fd: OwnedFd,
    /// Where the peer is; a Unix-domain socket has no address.
    pub(super) peer: Option<SocketAddr>,
}

/// Whether a read waits for bytes, as long as the read timeout says, or takes only those that have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    ForBytes,
    Never,
}

impl Wait {
    fn flags(self) -> RecvFlags {
        match self {
            Wait::ForBytes => RecvFlags::empty(),
            Wait::Never => RecvFlags::DONTWAIT,
        }
    }
}

/// A peer that has vanished without closing its connection is noticed after this long: by keep-alive probes and, on Linux, by the bound on
/// unacknowledged data.
const DEAD_PEER_TIMEOUT: Duration = Duration::from_secs(90);

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Socket {
    /// Sends small writes at once and has the kernel notice a peer that vanished. Best effort: a socket that refuses an option
    /// is a connection that has ended, and reading it will say so.
    pub(super) fn prepare(&self) {
        prepare_at_once(self);
        if self.peer.is_some()
            && let Err(error) = self.set_tcp_options()
        {
            log::debug!("cannot set the options of a connection: {error}");
        }
    }

    /// Reads once into the spare capacity, of which there must be some. Zero is the end of the stream.
    pub(super) fn read_spare(&self, into: &mut Vec<u8>, wait: Wait) -> io::Result<usize> {
        debug_assert!(
            into.len() < into.capacity(),
            "a read of nothing looks like the end"
        );
        let (read, _) = rustix::net::recv(self, spare_capacity(into), wait.flags())?;
        Ok(read)
    }

    /// Reads once. Zero is the end of the stream.
    pub(super) fn read(&self, into: &mut [u8], wait: Wait) -> io::Result<usize> {
        let (read, _) = rustix::net::recv(self, into, wait.flags())?;
        Ok(read)
    }

    /// Sends what the kernel takes at once, in one call; `WouldBlock` if that is nothing. A peer that has gone is an error and
    /// never a signal.
    pub(super) fn send_now(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let sent = match parts {
            [part] => rustix::net::send(self, part, AT_ONCE)?,
            _ => rustix::net::sendmsg(self, parts, &mut SendAncillaryBuffer::default(), AT_ONCE)?,
        };
        Ok(sent)
    }

    pub(super) fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        Ok(sockopt::set_socket_timeout(
            self,
            Timeout::Recv,
            Some(timeout),
        )?)
    }

    /// Waits until something can be sent. False when the time is over first, or for no reason.
    pub(super) fn wait_writable(&self, timeout: Duration) -> io::Result<bool> {
        Ok(!self.poll(PollFlags::OUT, timeout)?.is_empty())
    }

    /// Whether a read would return at once.
    pub(super) fn is_readable(&self) -> bool {
        self.poll(PollFlags::IN, Duration::ZERO)
            .is_ok_and(|events| !events.is_empty())
    }

    /// What to ask `poll` for so that it tells of the peer's end. A broken connection it always tells of.
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    pub(super) const END: PollFlags = PollFlags::RDHUP;
    /// Where nothing is asked for, macOS tells of nothing, not even of that.
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
    pub(super) const END: PollFlags = PollFlags::HUP;

    /// Whether these events, of which there are some, say what [`has_ended`](Self::has_ended) says.
    pub(super) fn says_end(&self, events: PollFlags) -> bool {
        let linux = cfg!(any(target_os = "linux", target_os = "android"));
        events.intersects(Self::END | PollFlags::HUP | PollFlags::ERR)
            || (!linux && self.has_ended())
    }

    /// Whether the peer has ended its side or the connection is broken. Never blocks and takes no bytes.
    ///
    /// Linux says so even while bytes that came before the end are still unread. Elsewhere those bytes may hide it.
    pub(super) fn has_ended(&self) -> bool {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            self.poll(Self::END, Duration::ZERO)
                .is_ok_and(|events| self.says_end(events))
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        {
            use rustix::net::recv;
            let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
            match recv(self, &mut [0_u8; 1], flags) {
                Ok((read, _)) => read == 0,
                Err(error) => !matches!(error, rustix::io::Errno::AGAIN | rustix::io::Errno::INTR),
            }
        }
    }

    /// Ends one or both directions, also under a thread that is reading or writing.
    pub(super) fn shutdown(&self, how: Shutdown) {
        // The only failure is that there is nothing left to shut down.
        let _ = rustix::net::shutdown(self, how);
    }

    /// Has the kernel forget what the peer did not read as soon as the socket is closed, instead of offering it for minutes.
    pub(super) fn discard_on_close(&self) {
        let _ = sockopt::set_socket_linger(self, Some(Duration::ZERO));
    }

    fn poll(&self, events: PollFlags, timeout: Duration) -> io::Result<PollFlags> {
        let mut polled = [PollFd::new(self, events)];
        let timeout = poll_timeout(Some(timeout));
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) => Ok(polled[0].revents()),
            Err(errno) if passes(errno) => Ok(PollFlags::empty()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Three probes: the first after two thirds of the time, the others in what is left.
    fn set_tcp_options(&self) -> io::Result<()> {
        let whole_seconds = |time: Duration| Duration::from_secs(time.as_secs().max(1));
        sockopt::set_tcp_nodelay(self, true)?;
        sockopt::set_socket_keepalive(self, true)?;
        sockopt::set_tcp_keepidle(self, whole_seconds(DEAD_PEER_TIMEOUT / 3 * 2))?;
        sockopt::set_tcp_keepintvl(self, whole_seconds(DEAD_PEER_TIMEOUT / 9))?;
        sockopt::set_tcp_keepcnt(self, 3)?;
        // Probes stop while an answer is unacknowledged; this bounds that case.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            let millis = u32::try_from(DEAD_PEER_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
            sockopt::set_tcp_user_timeout(self, millis)?;
        }
        Ok(())
    }
}

/// So long, but not so long that the milliseconds are too many for an `int`, in which macOS counts them. `None` is for ever.
pub(super) fn poll_timeout(time: Option<Duration>) -> Option<Timespec> {
    const TIME_MAX: Duration = Duration::from_secs(20 * 24 * 60 * 60);
    Timespec::try_from(time?.min(TIME_MAX)).ok()
}

/// An eventfd on Linux.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) struct Bell(OwnedFd);

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Bell {
    pub(super) fn new() -> io::Result<Bell> {
        use rustix::event::{EventfdFlags, eventfd};
        Ok(Bell(eventfd(
            0,
            EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK,
        )?))
    }

    fn ends(&self) -> (&OwnedFd, &OwnedFd) {
        (&self.0, &self.0)
    }
}

/// A pair of connected sockets elsewhere.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) struct Bell(OwnedFd, OwnedFd);

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl Bell {
    pub(super) fn new() -> io::Result<Bell> {
        let (rung, rings) = std::os::unix::net::UnixStream::pair()?;
        rung.set_nonblocking(true)?;
        rings.set_nonblocking(true)?;
        Ok(Bell(rung.into(), rings.into()))
    }

    fn ends(&self) -> (&OwnedFd, &OwnedFd) {
        (&self.0, &self.1)
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ends().0.as_fd()
    }
}

impl Bell {
    /// Wakes the owner, now or when it waits next. Never waits.
    pub(super) fn ring(&self) {
        // The only failure is that it has been rung more often than can be counted.
        let _rung_already = rustix::io::write(self.ends().1, &1_u64.to_ne_bytes());
    }

    /// What it was rung for is about to be looked at.
    pub(super) fn hush(&self) {
        // Nothing is there if it was rung before and heard since.
        let _heard_already = rustix::io::read(self.ends().0, &mut [0_u8; 8]);
    }

    /// Waits until it is rung, so long. It may also return for no reason.
    pub(super) fn wait_for_ring(&self, time: Option<Duration>) {
        let mut polled = [PollFd::new(self, PollFlags::IN)];
        let _interrupted = poll(&mut polled, poll_timeout(time).as_ref());
        if !polled[0].revents().is_empty() {
            self.hush();
        }
    }

    /// Waits until it is rung, or until the client does what is heeded. It may also return for no reason, as [`Heard::Bell`].
    pub(super) fn wait(&self, socket: &Socket, heeds: Heeds, time: Option<Duration>) -> Heard {
        let (rung, _) = self.ends();
        let events = match heeds {
            Heeds::Bytes => PollFlags::IN | Socket::END,
            Heeds::End | Heeds::Nothing => Socket::END,
        };
        let mut polled = [
            PollFd::new(rung, PollFlags::IN),
            PollFd::new(socket, events),
        ];
        let count = match heeds {
            Heeds::Bytes | Heeds::End => 2,
            Heeds::Nothing => 1,
        };
        let timeout = poll_timeout(time);
        match poll(&mut polled[..count], timeout.as_ref()) {
            Ok(0) => return Heard::Silence,
            Ok(_) => {}
            Err(_interrupted) => return Heard::Bell,
        }
        if !polled[0].revents().is_empty() {
            self.hush();
            return Heard::Bell;
        }
        match socket.says_end(polled[1].revents()) {
            true => Heard::End,
            false => Heard::Bytes,
        }
    }
}
