//! The end of the exchange before: its answer was leaving by the short way when its client sent the next request, and so the next exchange has begun.
//!
//! Nearly always it has left, and there is nothing to do. Must not know what the messages mean.

use std::io;

use crate::observe::access::ID_ROOM;
use crate::outbox::{Answer, Item, Rest};
use crate::transport::http::endpoint::Endpoint;
use crate::transport::http::exchange::{Exchange, KeptOutbox};
use crate::transport::http::policy::status;
use crate::transport::http::response::{Framing, write_head};
use crate::transport::http::write::fields::{FIELDS_MAX, answer_fields, collect};

/// Ends the exchange before, if it has not ended. Waits for nothing but its sender's last step, and to write what that has not sent.
pub(in crate::transport::http) fn end_earlier<E: Exchange>(
    endpoint: &Endpoint,
    exchange: &mut E,
) -> io::Result<()> {
    if let Some(kept) = exchange.kept_outbox()
        && let Some(KeptOutbox::Leaving(receiver)) =
            kept.take_if(|kept| matches!(kept, KeptOutbox::Leaving(_)))
    {
        end(endpoint, exchange, receiver.recv(None))?;
    }
    Ok(())
}

/// The same with the first that has come out of its outbox. What has come beside.
pub(super) fn end<E: Exchange>(
    endpoint: &Endpoint,
    exchange: &mut E,
    first: Item,
) -> io::Result<Option<Item>> {
    let rest = match first {
        Item::Sent(1) => return Ok(None),
        Item::Sent(count) => return Ok(Some(Item::Sent(count - 1))),
        Item::Rest(rest) => rest,
        Item::Answer(answer) => whole(endpoint, answer),
        // Sending has failed where nobody knows how far it has got.
        _ => return Err(io::ErrorKind::ConnectionAborted.into()),
    };
    let status = status(&rest.answer, &endpoint.overload);
    let sent = exchange.write_earlier(rest.bytes());
    rest.answer.access.ended(Some(status));
    sent.map(|()| None)
}

/// An answer of which nothing has been sent, with its head. The connection stays open, for another request has come.
fn whole(endpoint: &Endpoint, mut answer: Answer) -> Rest {
    let mut head = Vec::new();
    {
        let (mut room, mut all) = (ID_ROOM, [("", ""); FIELDS_MAX]);
        let fields = answer_fields(&answer, None);
        let count = collect(&mut all, answer.access.tag.text(&mut room), None, fields);
        let status = status(&answer, &endpoint.overload);
        let framing = Framing::Length(answer.body.len());
        write_head(&mut head, status, &all[..count], framing, false);
    }
    answer.body.splice(..0, head);
    Rest { answer, from: 0 }
}
