//! The short way of an exchange: a plain answer that the thread which made it sends itself.
//!
//! What [`HttpReply::answer`] says, said by somebody else. Must not know who that is.

use std::sync::Arc;

use crate::outbox::{Rest, ShortWay, Taken};
use crate::transport::http::exchange::{Exchange, HttpResponse};
use crate::transport::http::policy::status;
use crate::transport::http::write::plain::{FIELDS_MAX, HttpReply, answer_fields, collect};

/// How the answer to this exchange can be sent by another thread, if it can. While the server drains it is not, for the owner then closes the
/// connection with it.
pub(super) fn short_way<E: Exchange>(reply: &mut HttpReply<'_, E>) -> Option<ShortWay> {
    let mut send = reply.exchange.aside()?;
    let engine = Arc::clone(&reply.endpoint.engine);
    let overload = reply.endpoint.overload;
    let origin: Option<Box<str>> = reply.origin.map(Into::into);
    Some(Box::new(move |mut answer| {
        if engine.is_draining() {
            return Taken::Nothing(answer);
        }
        let status = status(&answer, &overload);
        let fields = answer_fields(&answer, None);
        let mut all = [("", ""); FIELDS_MAX];
        let count = collect(&mut all, &answer.access.tag, origin.as_deref(), fields);
        let sent = send(&HttpResponse {
            status,
            fields: &all[..count],
            body: &answer.body,
        });
        match sent.count.checked_sub(sent.head.len()) {
            _ if sent.count == 0 => Taken::Nothing(answer),
            Some(from) if from == answer.body.len() => {
                engine.observer().ended(&answer.access, Some(status));
                match sent.is_last {
                    true => Taken::AllAndLast,
                    false => Taken::All,
                }
            }
            Some(from) => Taken::Partly(Rest { answer, from }),
            None => {
                let head_left = &sent.head[sent.count..];
                answer.body.splice(..0, head_left.iter().copied());
                Taken::Partly(Rest { answer, from: 0 })
            }
        }
    }))
}
