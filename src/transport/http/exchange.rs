//! The seam of the HTTP layer: one request and its answer, independent of the front that reads the bytes.
//!
//! Above it stand the rules of MCP over HTTP, written once (begin with `serve.rs`); below it the fronts. A front turns bytes into an [`Exchange`],
//! calls [`Serve::serve`], and turns what is said there into bytes. It must not know methods, sessions or lanes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::budget::{Budget, Charge};
use crate::base::heap;
use crate::outbox::{OutboxReceiver, Wake};
use crate::protocol::modern::HeaderFields;
use crate::transport::http::refusal::HttpRefusal;

pub(crate) use crate::protocol::modern::Field;

/// One HTTP request whose head has been read, and how to answer it.
///
/// The endpoint calls [`read_body`](Exchange::read_body) at most once and then answers exactly once: by
/// [`respond`](Exchange::respond), by [`begin_stream`](Exchange::begin_stream), any number of [`send`](Exchange::send)s and one
/// [`finish`](Exchange::finish), or, where another thread has sent the answer ([`send_at_once`](Exchange::send_at_once)), by
/// [`end_short_way`](Exchange::end_short_way). An error from a write means that the client has gone.
pub(crate) trait Exchange {
    /// The request's method as sent, such as `POST`.
    fn method(&self) -> &str;

    /// The request's target, such as `/mcp?x=1`; a front takes off scheme and authority.
    fn target(&self) -> &str;

    /// The values of every header line with this name, in order, without surrounding blanks. Names compare without case.
    fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str>;

    /// The value of a field that may stand only once.
    fn single<'a>(&'a self, name: &'a str) -> Field<'a> {
        let mut values = self.fields(name);
        match (values.next(), values.next()) {
            (None, _) => Field::Absent,
            (Some(value), None) => Field::One(value),
            (Some(_), Some(_)) => Field::Repeated,
        }
    }

    /// Where the client is, or the proxy it comes through; `None` if that has no address.
    fn peer(&self) -> Option<SocketAddr>;

    /// Reads the whole body, of at most `bytes_max` bytes.
    fn read_body(&mut self, bytes_max: usize) -> Result<(), BodyError>;

    /// The body that was read.
    fn body(&self) -> &[u8];

    /// Gives the body's memory back: what is kept of it stands elsewhere.
    fn forget_body(&mut self);

    /// Sends a complete answer in one write.
    fn respond(&mut self, response: &HttpResponse<'_>) -> io::Result<()>;

    /// Opens an event stream: status 200, `text/event-stream`, these extra fields. May be held back until the first `send`.
    fn begin_stream(&mut self, fields: &[(&str, &str)]) -> io::Result<()>;

    /// Sends these bytes of an open stream now, in one write.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Sends the last bytes of an open stream together with its end, in one write.
    fn finish(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// What wakes the exchange when it rests ([`Serve::UnderWay`]); `None` if it cannot.
    fn ring(&mut self) -> Option<Wake> {
        None
    }

    /// How another thread wakes the owner from [`wait`](Exchange::wait); `None` if it cannot wait there now.
    fn bell(&mut self) -> Option<Wake> {
        None
    }

    /// Waits for the [`bell`](Exchange::bell), and for the client, so long. It may return too early, as [`Heard::Bell`].
    fn wait(&mut self, _heeds: Heeds, _time: Option<Duration>) -> Heard {
        Heard::Bell
    }

    /// Whether another thread may send the whole answer. Not if only the owner can, or has something to do after it.
    fn has_short_way(&self) -> bool {
        false
    }

    /// What sends the answer from another thread: the same for every exchange of a connection.
    fn send_at_once(&self) -> Option<SendAtOnce> {
        None
    }

    /// Where an outbox is kept from one exchange to the next, if it is.
    fn kept_outbox(&mut self) -> Option<&mut Option<OutboxReceiver>> {
        None
    }

    /// The answer has gone the short way, except for these last bytes, which the owner sends.
    fn end_short_way(&mut self, _rest: &[u8]) -> io::Result<()> {
        Ok(())
    }

    /// Whether the client is known to have gone. Never blocks; a front that cannot know says `false`.
    fn client_left(&mut self) -> bool;

    /// Whether the client can be sent a stream whose end is far away.
    fn can_stream(&self) -> bool {
        true
    }

    /// Asks that the connection be closed after this exchange, and says so in the answer's head if that is still to come.
    fn close_after(&mut self);
}

/// Sends a complete answer at once, on any thread, as far as that needs no waiting. It leaves the answer's head in the buffer.
pub(crate) type SendAtOnce = Box<dyn FnMut(&HttpResponse<'_>, &mut Vec<u8>) -> SentBytes + Send>;

/// How far an answer got.
pub(crate) struct SentBytes {
    /// How many bytes of head and body have left.
    pub(crate) count: usize,
    /// All have left, and the connection has to be woken all the same: it is to close.
    pub(crate) wakes_owner: bool,
}

impl SentBytes {
    /// Nothing has left.
    pub(crate) const NOTHING: SentBytes = SentBytes {
        count: 0,
        wakes_owner: false,
    };
}

/// What of the client a waiting owner is woken by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heeds {
    /// The next request, or the end of the connection.
    Bytes,
    /// Its end, where the system tells of it while bytes are unread.
    End,
    Nothing,
}

/// What a waiting owner was woken by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Bell,
    Bytes,
    /// The client has left.
    End,
    /// The time is over.
    Silence,
}

/// Until when an exchange rests, if nothing is heard.
pub(crate) struct Awaits {
    pub(crate) heeds: Heeds,
    pub(crate) until: Instant,
}

/// What stands above a front and answers its requests.
///
/// Called on the thread that the connection has its turn on. What waits in here says so before ([`about_to_wait`](crate::base::waiting::about_to_wait)); an exchange
/// holds it only for a moment. While it waits, it hears of a client that leaves ([`Exchange::wait`]). A panic ends this connection and no other.
pub(crate) trait Serve: Send + Sync + 'static {
    /// What is kept of an exchange that rests: it goes on when it is rung, when something is heard of its client, or when its time is over.
    type UnderWay: Send + 'static;

    /// Answers one request, exactly once, or rests.
    fn serve<E: Exchange>(&self, exchange: &mut E) -> Option<(Self::UnderWay, Awaits)>;

    /// Goes on with an exchange that has rested, with what was heard.
    fn go_on<E: Exchange>(
        &self,
        exchange: &mut E,
        under_way: Self::UnderWay,
        heard: Heard,
    ) -> Option<(Self::UnderWay, Awaits)>;

    /// Answers what the front refuses by itself, with as much of a head as could be read: it is bad, it did not come in time, there is no thread
    /// for it, or nobody has answered it.
    fn refuse<E: Exchange>(&self, exchange: &mut E, refusal: &HttpRefusal) -> io::Result<()>;
}

/// A complete answer: status, extra fields, body. The front adds `Date`, `Content-Length` and, when closing, `Connection`.
pub(crate) struct HttpResponse<'a> {
    pub(crate) status: u16,
    pub(crate) fields: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a [u8],
}

/// A request's body, and what is charged to the server's memory for it. The charge lives as long as the bytes, or what was made of them.
#[derive(Debug, Default)]
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    /// `None` up to [`FREE_BODY_BYTES`].
    pub(crate) charge: Option<Charge>,
}

/// A body is charged to the server's memory from this length on, its whole room at once. Below it the bound on connections is enough, and a
/// small request touches nothing that others share.
pub(crate) const FREE_BODY_BYTES: usize = 16 * 1024;

impl Body {
    /// Makes exactly this much more room, and charges it before it is taken.
    pub(crate) fn make_room(&mut self, more: usize, memory: &Arc<Budget>) -> Result<(), BodyError> {
        let capacity = self.bytes.len() + more;
        let held = self.charge.as_ref().map_or(0, Charge::bytes);
        if capacity > FREE_BODY_BYTES.max(held) {
            let charged = memory.charge(capacity - held).map_err(|_| NO_MEMORY)?;
            match &mut self.charge {
                None => self.charge = Some(charged),
                Some(charge) => charge.absorb(charged),
            }
        }
        heap::try_reserve_exact(&mut self.bytes, more).map_err(|_| NO_MEMORY)
    }
}

const NO_MEMORY: BodyError = BodyError::Unavailable(
    "The server has no memory left for a body of this length; try again later",
);

/// Why a body could not be read.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// Longer than allowed, declared or sent: `413`.
    TooLarge,
    /// Its bytes did not come in time: `408`.
    TooSlow,
    /// Its framing is malformed: `400`.
    Malformed(&'static str),
    /// The server has no room for it now, for this reason: `503`.
    Unavailable(&'static str),
    /// The client has gone; there is nobody to answer.
    Gone,
}

impl<E: Exchange> HeaderFields for E {
    fn field<'a>(&'a self, name: &'a str) -> Field<'a> {
        self.single(name)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A request that is only a head.
    #[derive(Default)]
    pub(crate) struct TestExchange {
        pub(crate) method: &'static str,
        pub(crate) target: &'static str,
        pub(crate) fields: Vec<(&'static str, &'static str)>,
    }

    impl TestExchange {
        pub(crate) fn head(
            method: &'static str,
            target: &'static str,
            fields: Vec<(&'static str, &'static str)>,
        ) -> Self {
            TestExchange {
                method,
                target,
                fields,
            }
        }
    }

    impl Exchange for TestExchange {
        fn method(&self) -> &str {
            self.method
        }
        fn target(&self) -> &str {
            self.target
        }
        fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
            self.fields
                .iter()
                .filter(move |field| field.0.eq_ignore_ascii_case(name))
                .map(|field| field.1)
        }
        fn peer(&self) -> Option<SocketAddr> {
            None
        }
        fn read_body(&mut self, _: usize) -> Result<(), BodyError> {
            Err(BodyError::Gone)
        }
        fn body(&self) -> &[u8] {
            b""
        }
        fn forget_body(&mut self) {}
        fn respond(&mut self, _: &HttpResponse<'_>) -> io::Result<()> {
            Ok(())
        }
        fn begin_stream(&mut self, _: &[(&str, &str)]) -> io::Result<()> {
            Ok(())
        }
        fn send(&mut self, _: &[u8]) -> io::Result<()> {
            Ok(())
        }
        fn finish(&mut self, _: &[u8]) -> io::Result<()> {
            Ok(())
        }
        fn client_left(&mut self) -> bool {
            false
        }
        fn close_after(&mut self) {}
    }
}
