//! What an exchange says: everything that comes out of its outbox, written as it comes.
//!
//! Two things can be written, each in its file: `plain`, one JSON body, and `stream`, events until the answer, which the client of a session can come back
//! for. An answer is plain JSON if it comes first; the first event, or a silence of `stream_after`, turns it into a stream. `listening` is the
//! stream of what belongs to no request. Must not know what the messages mean. Specification: `basic/transports` ("Sending Messages to the
//! Server") of revision 2025-11-25.

mod fields;
mod incoming;
mod listening;
mod plain;
mod stream;

use std::io;

pub(super) use self::incoming::Incoming;
pub(super) use self::listening::ListeningStream;
pub(super) use self::plain::HttpReply;
pub(super) use self::stream::EventStream;

use self::incoming::Next;
use crate::base::counted::Counted;
use crate::engine::Accepted;
use crate::observe::access::Outcome;
use crate::outbox::Item;
use crate::protocol::errors::ErrorObject;
use crate::transport::http::exchange::{Awaits, Exchange, Heard};

/// What answers an accepted message, as long as nothing has been said.
pub(super) struct Waiting {
    incoming: Incoming,
    /// Once it could not become a stream it stays silent until it can answer as plain JSON.
    may_stream: bool,
}

impl Waiting {
    pub(super) fn begin<E: Exchange>(
        reply: &HttpReply<'_, E>,
        mut incoming: Incoming,
        accepted: &Accepted,
    ) -> Self {
        // What is there already, this thread writes: it is awake.
        match reply.exchange.has_short_way() && !matches!(accepted, Accepted::Opened(_)) {
            true => incoming.offer(|| reply.short_way()),
            false => incoming.take_back(),
        }
        if let Accepted::Call(_) = accepted {
            incoming.watch();
        }
        incoming.may_rest(true);
        Waiting {
            incoming,
            may_stream: true,
        }
    }

    /// While the exchange rested this was heard.
    pub(super) fn hear(&mut self, heard: Heard) {
        self.incoming.has_rested(heard);
    }
}

/// Writes whatever answers an accepted message, in the form that its first word asks for, unless the exchange is to rest until that comes. An error means that
/// the client has gone.
pub(super) fn write<E: Exchange>(
    mut reply: HttpReply<'_, E>,
    mut waiting: Waiting,
    accepted: &Accepted,
) -> io::Result<Option<(Waiting, Awaits)>> {
    let (next, permit) = loop {
        let next = waiting.incoming.next(reply.exchange, false)?;
        let permit = match &next {
            Next::Item(item) if is_end(item) => {
                reply.keep(waiting.incoming.receiver);
                return end_plain(reply, next, accepted).map(|()| None);
            }
            Next::Rest(_) => None,
            Next::Idle | Next::Item(Item::Superseded) => continue,
            Next::Item(Item::Detach) if !can_pause(accepted) => continue,
            // A request of ours opens the stream whatever else is open: a worker waits for its answer, and there are not many of those.
            Next::Item(Item::Request { .. }) => Some(Counted::one(reply.endpoint.engine.streams())),
            _ => reply.stream_permit().filter(|_| waiting.may_stream),
        };
        match (permit, next) {
            (_, Next::Rest(rest)) => return Ok(Some((waiting, rest))),
            (Some(permit), next) => break (next, permit),
            (None, Next::Item(Item::Opening { .. })) => refuse_stream(&reply, accepted),
            (None, _) => waiting.incoming.spoke(),
        }
        waiting.may_stream = false;
    };
    let mut incoming = waiting.incoming;
    incoming.take_back();
    incoming.may_rest(false);
    stream((reply, permit), incoming, next, accepted).map(|()| None)
}

/// The same from the first event on. Out of line, because few calls come to it.
#[inline(never)]
fn stream<E: Exchange>(
    (reply, permit): (HttpReply<'_, E>, Counted),
    incoming: Incoming,
    next: Next,
    accepted: &Accepted,
) -> io::Result<()> {
    let stream = match accepted {
        Accepted::InSession(streams) => {
            EventStream::open_resumable(reply, permit, streams, &incoming)?
        }
        _ => EventStream::open(reply, permit)?,
    };
    stream.write(incoming, next)
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
        Next::Item(Item::Sent) => reply.exchange.end_short_way(b""),
        Next::Item(Item::Rest(rest)) => reply.end_answer(&rest),
        // The call was cancelled. A request must be answered with JSON or a stream, and there is nothing to say.
        Next::Item(Item::NoAnswer(Some(access))) => match reply.stream_permit() {
            Some(permit) => {
                let ended = EventStream::open(reply, permit)?.end();
                access.ended(Some(200));
                ended
            }
            None => reply.end_unanswered(&access),
        },
        _ => reply.acknowledge(),
    }
}

/// Whether nothing follows it, so that it makes no stream.
fn is_end(item: &Item) -> bool {
    matches!(
        item,
        Item::Answer(_) | Item::Rest(_) | Item::Sent | Item::NoAnswer(_) | Item::Finished
    )
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
