//! What an exchange says: everything that comes out of its outbox, written as it comes.
//!
//! Three things can be written, each in its file: `plain`, one JSON body; `stream`, events until the answer; `resumable`, events that a client
//! can come back for. An answer is plain JSON if it comes first; the first event, or a settled wait, turns it into a stream. `listening` is the
//! stream of what belongs to no request. Must not know what the messages mean. Specification: `basic/transports` ("Sending Messages to the
//! Server") of revision 2025-11-25.

mod aside;
mod listening;
mod plain;
mod resumable;
mod stream;

use std::io;
use std::time::{Duration, Instant};

pub(super) use self::listening::ListeningStream;
pub(super) use self::plain::HttpReply;
pub(super) use self::resumable::ResumableStream;

use self::stream::EventStream;
use crate::base::deadline::after;
use crate::base::limits::Limits;
use crate::engine::Accepted;
use crate::observe::access::Outcome;
use crate::outbox::{Item, OutboxReader, Pending, ShortWay, Wake};
use crate::protocol::jsonrpc::ErrorObject;
use crate::transport::http::endpoint::StreamPlace;
use crate::transport::http::exchange::{Exchange, Heard, Heeds};
use crate::transport::http::write::aside::short_way;

/// What comes out of an outbox, with what its silence means.
pub(super) struct Incoming<'a> {
    limits: &'a Limits,
    reader: OutboxReader,
    /// Whether a client that leaves ends this.
    watches: bool,
    /// What is heeded of the client: of what has been seen already nothing more.
    heeds: Heeds,
    /// An answer that goes the short way may find its client's next word waking this thread, which is how it costs one wake-up.
    sleeps_on: bool,
    /// When something must be said, so that the client sees that the call lives.
    speak_at: Instant,
}

/// How often a client that may leave is looked for where there is no descriptor left to hear of it by.
const LOOK: Duration = Duration::from_millis(100);

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
            watches: false,
            heeds: Heeds::Nothing,
            sleeps_on: false,
            speak_at: after(limits.stream_after),
        }
    }

    /// A client that leaves ends this, from now on.
    fn watch(&mut self) {
        self.watches = true;
        if self.heeds == Heeds::Nothing {
            self.heeds = Heeds::End;
        }
    }

    /// Lets the answer leave by this way, as long as it is waited for here.
    fn offer(&mut self, short_way: ShortWay) {
        self.reader.set_short_way(Some(short_way));
        self.heeds = Heeds::Bytes;
        self.sleeps_on = true;
    }

    /// From now on everything is written here.
    fn take_back(&mut self) {
        self.reader.set_short_way(None);
        self.sleeps_on = false;
    }

    /// Something has been said.
    fn spoke(&mut self) {
        self.speak_at = after(self.limits.heartbeat_interval);
    }

    /// Waits for the next thing to do; not at all if something has been gathered, so that events which come together leave in one write.
    fn next<E: Exchange>(&mut self, exchange: &mut E, has_gathered: bool) -> io::Result<Next> {
        if has_gathered {
            return Ok(match self.reader.recv(Some(Instant::now())) {
                Item::TimedOut => Next::Idle,
                item => Next::Item(item),
            });
        }
        match exchange.bell() {
            Some(wake) => self.hear(exchange, &wake),
            None => self.look(exchange),
        }
    }

    /// Waits for the outbox and for the client in one place.
    fn hear<E: Exchange>(&mut self, exchange: &mut E, wake: &Wake) -> io::Result<Next> {
        let mut has_left = false;
        loop {
            let now = Instant::now();
            let is_due = now >= self.speak_at;
            let will_wait = !has_left && !is_due;
            let next = self.reader.try_recv(wake, will_wait, !self.sleeps_on);
            let heard = match next {
                Ok(item) => return Ok(Next::Item(item)),
                Err(Pending::Sending) => exchange.wait(Heeds::Nothing, None),
                Err(Pending::Nothing) if has_left => {
                    let _known = exchange.client_left();
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                Err(Pending::Nothing) if is_due => return Ok(Next::Silent),
                Err(Pending::Nothing) => {
                    let until = match self.sleeps_on {
                        // It may be idle by then, and keeps nothing while it is.
                        true => self.speak_at.min(now + self.limits.buffer_idle_timeout),
                        false => self.speak_at,
                    };
                    exchange.wait(self.heeds, Some(until))
                }
            };
            // Judged only after another look at the outbox: whoever has been answered may leave.
            match heard {
                Heard::Bell => continue,
                Heard::Silence => {}
                Heard::End if self.watches => has_left = true,
                Heard::Bytes if self.watches => self.heeds = Heeds::End,
                Heard::End | Heard::Bytes => self.heeds = Heeds::Nothing,
            }
            self.sleeps_on = false;
        }
    }

    /// Waits for the outbox, and looks for the client from time to time.
    fn look<E: Exchange>(&mut self, exchange: &mut E) -> io::Result<Next> {
        loop {
            let until = match self.watches {
                true => self.speak_at.min(after(LOOK)),
                false => self.speak_at,
            };
            match self.reader.recv(Some(until)) {
                Item::TimedOut if self.watches && exchange.client_left() => {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                Item::TimedOut if Instant::now() >= self.speak_at => return Ok(Next::Silent),
                Item::TimedOut => {}
                item => return Ok(Next::Item(item)),
            }
        }
    }
}

/// Writes whatever answers an accepted message, in the form that its first word asks for. An error means that the client has gone.
pub(super) fn write<E: Exchange>(
    mut reply: HttpReply<'_, E>,
    mut incoming: Incoming<'_>,
    accepted: &Accepted,
) -> io::Result<()> {
    // What is there already, this thread writes: it is awake.
    if !matches!(accepted, Accepted::Opened(_))
        && incoming.reader.is_empty()
        && let Some(short_way) = short_way(&mut reply)
    {
        incoming.offer(short_way);
    }
    if let Accepted::Call(_) = accepted {
        incoming.watch();
    }
    // Once it could not become a stream it stays silent until it can answer as plain JSON.
    let mut may_stream = true;
    let (next, place) = loop {
        let next = incoming.next(reply.exchange, false)?;
        let place = match &next {
            Next::Item(
                Item::Answer(_) | Item::Rest(_) | Item::Sent | Item::NoAnswer(_) | Item::Finished,
            ) => {
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
    incoming.take_back();
    match accepted {
        Accepted::InSession(streams) => {
            ResumableStream::open(reply, place, streams, &incoming)?.write(incoming, next)
        }
        _ => EventStream::open(reply, place)?.write(incoming, next),
    }
}

/// Answers without having become a stream.
fn end_plain<E: Exchange>(
    reply: HttpReply<'_, E>,
    last: Next,
    accepted: &Accepted,
) -> io::Result<()> {
    match last {
        Next::Item(Item::Answer(answer)) => {
            let opened = match accepted {
                Accepted::Opened(session) => Some(&**session),
                _ => None,
            };
            reply.answer(answer, opened)
        }
        Next::Item(Item::Sent) => reply.exchange.end_aside(b""),
        Next::Item(Item::Rest(rest)) => reply.end_answer(&rest),
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
fn refuse_stream<E: Exchange>(reply: &HttpReply<'_, E>, accepted: &Accepted) {
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
