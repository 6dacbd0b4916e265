//! What a server has to know of a transport at work: where it is, when it has ended, how to end it.
//!
//! Must not know which transports there are.

use std::net::SocketAddr;
use std::time::Instant;

use crossbeam_channel::Receiver;

/// A transport at work. A server has it in a box and not in an enum, so that a program carries the code of none but those it names.
pub(crate) trait Front: Send {
    /// Where it listens, if that is an IP address.
    fn address(&self) -> Option<SocketAddr> {
        None
    }

    /// Takes no new connections, if it can do so and go on serving those it has.
    fn stop_accepting(&self) {}

    /// Says so when it has ended by itself, if it ever does.
    fn ended(&self) -> Option<&Receiver<()>> {
        None
    }

    /// Stops, lets what is left be written until the deadline, and joins its threads. How many clients had not taken everything by then.
    fn finish(self: Box<Self>, deadline: Instant) -> usize;
}
