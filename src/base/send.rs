//! Sending what the kernel takes at once, on every Unix. Must not know what is sent.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::SendFlags;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

/// Does not wait, and a peer that has gone is an error and never `SIGPIPE`. That flag is Apple's too, which rustix does not say: since macOS 11; before
/// that a Rust program's runtime ignores the signal.
pub(crate) const AT_ONCE: SendFlags = SendFlags::DONTWAIT.union(SendFlags::from_bits_retain(
    nix::libc::MSG_NOSIGNAL.cast_unsigned(),
));

/// Has [`AT_ONCE`] hold for a socket where it does not by itself: macOS heeds `MSG_DONTWAIT` only in reads, and waits in a write for room, but no longer than this.
pub(crate) fn prepare_at_once(socket: impl AsFd) {
    if cfg!(target_vendor = "apple") {
        let _ended = set_socket_timeout(socket, Timeout::Send, Some(Duration::from_micros(1)));
    }
}
