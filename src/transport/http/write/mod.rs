//! What an exchange says: everything that comes out of its outbox, written as it comes.
//!
//! Three things can be written, each in its file: `plain`, one JSON body; `stream`, events until the answer; `resumable`, events that a client
//! can come back for. An answer is plain JSON if it comes first; the first event, or a settled wait, turns it into a stream. `listening` is the
//! stream of what belongs to no request. Must not know what the messages mean. Specification: `basic/transports` ("Sending Messages to the
//! Server") of revision 2025-11-25.

mod listening;
mod plain;
mod resumable;
mod stream;

use std::io;
use std::time::{Duration, Instant};

pub(super) use self::listening::ListeningStream;
pub(super) use self::plain::Reply;
pub(super) use self::resumable::ResumableStream;

use self::stream::EventStream;
use crate::base::deadline::after;
use crate::base::limits::Limits;
use crate::engine::Accepted;
use crate::observe::access::Outcome;
use crate::outbox::{Item, OutboxReader};
use crate::protocol::jsonrpc::ErrorObject;
use crate::transport::http::endpoint::StreamPlace;
use crate::transport::http::exchange::Exchange;

/// What comes out of an outbox, with what its silence means.
pub(super) struct Incoming<'a> {
    limits: &'a Limits,
    reader: OutboxReader,
    /// How often a client that may leave is looked for, if it is.
    looks: Option<Duration>,
    look_at: Option<Instant>,
    /// When something must be said, so that the client sees that the call lives.
    speak_at: Instant,
}

/// What there is to do next.
enum Next {
    Item(Item),
    /// Nothing waits any more: what has been gathered can leave.
    Idle,
    /// It has been silent for too long.
    Silent,
}

impl<'a> Incoming<'a> {
    pub(super) fn new(limits: &'a Limits, reader: OutboxReader) -> Self {
        Incoming {
            limits,
            reader,
            looks: None,
            look_at: None,
            speak_at: after(limits.stream_after),
        }
    }

    /// Looks this often for a client that leaves from now on.
    fn look(&mut self, every: Duration) {
        self.looks = Some(every);
        self.look_at = Some(after(every));
    }

    /// Something has been said.
    fn spoke(&mut self) {
        self.speak_at = after(self.limits.heartbeat_interval);
    }

    /// Waits for the next thing to do; not at all if something has been gathered, so that events which come together leave in one write.
    fn next<E: Exchange>(&mut self, exchange: &mut E, has_gathered: bool) -> io::Result<Next> {
        loop {
            let deadline = match (has_gathered, self.look_at) {
                (true, _) => Instant::now(),
                (false, Some(look_at)) => look_at.min(self.speak_at),
                (false, None) => self.speak_at,
            };
            match self.reader.recv(Some(deadline)) {
                Item::TimedOut if has_gathered => return Ok(Next::Idle),
                Item::TimedOut => {
                    let now = Instant::now();
                    if self.look_at.is_some_and(|look_at| now >= look_at) {
                        if exchange.client_left() {
                            return Err(io::ErrorKind::ConnectionAborted.into());
                        }
                        self.look_at = self.looks.map(after);
                    }
                    if now >= self.speak_at {
                        return Ok(Next::Silent);
                    }
                }
                item => return Ok(Next::Item(item)),
            }
        }
    }
}

/// Writes whatever answers an accepted message, in the form that its first word asks for. An error means that the client has gone.
pub(super) fn write<E: Exchange>(
    reply: Reply<'_, E>,
    mut incoming: Incoming<'_>,
    accepted: &Accepted,
) -> io::Result<()> {
    if let Accepted::Call(_) = accepted {
        incoming.look(incoming.limits.departure_interval);
    }
    // Once it could not become a stream it stays silent until it can answer as plain JSON.
    let mut may_stream = true;
    let (next, place) = loop {
        let next = incoming.next(reply.exchange, false)?;
        let place = match &next {
            Next::Item(Item::Answer(_) | Item::NoAnswer(_) | Item::Finished) => {
                return end_plain(reply, next, accepted);
            }
            Next::Idle | Next::Item(Item::Relieved) => continue,
            Next::Item(Item::Pause) if !can_pause(accepted) => continue,
            // A request of ours opens the stream whatever else is open: a worker waits for its answer, and there are not many of those.
            Next::Item(Item::Request(_)) => Some(StreamPlace::insist(reply.endpoint)),
            _ => reply.stream_place().filter(|_| may_stream),
        };
        match (place, &next) {
            (Some(place), _) => break (next, place),
            (None, Next::Item(Item::Opening(_))) => refuse_stream(&reply, accepted),
            (None, _) => incoming.spoke(),
        }
        may_stream = false;
    };
    match accepted {
        Accepted::InSession(streams) => {
            ResumableStream::open(reply, place, streams, &incoming)?.write(incoming, next)
        }
        _ => EventStream::open(reply, place)?.write(incoming, next),
    }
}

/// Answers without having become a stream.
fn end_plain<E: Exchange>(reply: Reply<'_, E>, last: Next, accepted: &Accepted) -> io::Result<()> {
    match last {
        Next::Item(Item::Answer(answer)) => {
            let opened = match accepted {
                Accepted::Opened(session) => Some(&**session),
                _ => None,
            };
            reply.answer(answer, opened)
        }
        // The call was cancelled. A request must be answered with JSON or a stream, and there is nothing to say.
        Next::Item(Item::NoAnswer(Some(access))) => match reply.stream_place() {
            Some(place) => EventStream::open(reply, place)?.end_unanswered(&access),
            None => reply.taken_back(&access),
        },
        _ => reply.taken(),
    }
}

fn can_pause(accepted: &Accepted) -> bool {
    matches!(accepted, Accepted::InSession(streams) if streams.can_pause)
}

/// What makes no sense without a stream is refused when there may not be another.
fn refuse_stream<E: Exchange>(reply: &Reply<'_, E>, accepted: &Accepted) {
    let Accepted::Call(call) = accepted else {
        return;
    };
    let error = match reply.exchange.can_stream() {
        true => {
            let message = "The server has its maximum of event streams open; try again in a second";
            ErrorObject::overloaded(message)
        }
        false => ErrorObject::invalid_request("An event stream needs HTTP/1.1"),
    };
    call.fail(&error, Outcome::Refused);
}
