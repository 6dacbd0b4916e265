//! One whole answer: a status, the fields that every answer has, a body. And the head of a stream, which has the same.
//!
//! Must not know where an answer comes from.

use std::io;
use std::sync::Arc;

use crate::base::counted::Counted;
use crate::observe::access::{Access, ID_ROOM, Outcome, RequestTag};
use crate::outbox::{Answer, OutboxReceiver, Rest, ShortSent, ShortWay};
use crate::transport::http::endpoint::Endpoint;
use crate::transport::http::exchange::{Exchange, HttpResponse};
use crate::transport::http::policy::status;
use crate::transport::http::refusal::{HttpRefusal, JSON};
use crate::transport::http::write::fields::{FIELDS_MAX, answer_fields, collect};
use crate::transport::http::write::incoming::Incoming;

/// The answer to one exchange that has not begun yet.
pub(in crate::transport::http) struct HttpReply<'a, E> {
    pub(in crate::transport::http) endpoint: &'a Endpoint,
    pub(in crate::transport::http) exchange: &'a mut E,
    pub(in crate::transport::http) tag: &'a RequestTag,
    /// The accepted origin of the page that asks.
    pub(in crate::transport::http) origin: Option<&'a str>,
}

impl<'a, E: Exchange> HttpReply<'a, E> {
    /// A permit for an event stream, if the client can be sent one and not too many are open.
    pub(super) fn stream_permit(&self) -> Option<Counted> {
        let can_stream = self.exchange.can_stream();
        can_stream.then(|| self.endpoint.stream_permit())?
    }

    /// What the exchange reads from. One that is used again has a short way without a page's origin.
    pub(in crate::transport::http) fn incoming(&mut self) -> Incoming {
        let kept = self.exchange.kept_outbox().and_then(Option::take);
        let receiver = kept.filter(|_| self.origin.is_none()).unwrap_or_else(|| {
            let can_stream = self.exchange.can_stream();
            self.endpoint.outbox(can_stream)
        });
        Incoming::new(&self.endpoint.limits, receiver)
    }

    /// Keeps it for the next exchange on this connection, if it can be used again.
    pub(super) fn keep(&mut self, outbox: OutboxReceiver) {
        if self.origin.is_none()
            && let Some(kept) = self.exchange.kept_outbox()
        {
            *kept = outbox.renew();
        }
    }

    /// The terminal message as plain JSON.
    pub(super) fn answer(mut self, answer: Answer, opens: Option<&str>) -> io::Result<()> {
        let status = status(&answer, &self.endpoint.overload);
        let sent = self.respond(status, answer_fields(&answer, opens), &answer.body);
        answer.access.ended(Some(status));
        sent
    }

    /// The terminal message has been sent by another thread, except for this.
    pub(super) fn end_answer(self, rest: &Rest) -> io::Result<()> {
        let sent = self.exchange.end_short_way(rest.bytes());
        let status = status(&rest.answer, &self.endpoint.overload);
        rest.answer.access.ended(Some(status));
        sent
    }

    /// What sends [`answer`](Self::answer) from another thread. It serves later exchanges of the connection, too, unless a page's origin belongs
    /// to this one. While the server drains it sends nothing, for the owner then closes the connection with the answer.
    pub(super) fn short_way(&self) -> Option<ShortWay> {
        let mut send = self.exchange.send_at_once()?;
        let mut head = Vec::new();
        let engine = Arc::clone(&self.endpoint.engine);
        let overload = self.endpoint.overload;
        let origin: Option<Box<str>> = self.origin.map(Into::into);
        Some(Box::new(move |mut answer| {
            if engine.is_draining() {
                return ShortSent::Nothing(answer);
            }
            let status = status(&answer, &overload);
            let fields = answer_fields(&answer, None);
            let (mut room, mut all) = (ID_ROOM, [("", ""); FIELDS_MAX]);
            let id = answer.access.tag.text(&mut room);
            let count = collect(&mut all, id, origin.as_deref(), fields);
            let response = HttpResponse {
                status,
                fields: &all[..count],
                body: &answer.body,
            };
            let sent = send(&response, &mut head);
            match sent.count.checked_sub(head.len()) {
                _ if sent.count == 0 => ShortSent::Nothing(answer),
                Some(from) if from == answer.body.len() => {
                    answer.access.ended(Some(status));
                    match sent.wakes_owner {
                        true => ShortSent::AllAndWake,
                        false => ShortSent::All,
                    }
                }
                Some(from) => ShortSent::Part(Rest { answer, from }),
                None => {
                    answer.body.splice(..0, head[sent.count..].iter().copied());
                    ShortSent::Part(Rest { answer, from: 0 })
                }
            }
        }))
    }

    /// A message without an answer was taken.
    pub(super) fn acknowledge(self) -> io::Result<()> {
        let access = Access::immediate(self.tag.clone(), "notification", Outcome::Ok);
        self.end_unanswered(&access)
    }

    /// There is no answer, for the reason that this line says.
    pub(super) fn end_unanswered(mut self, access: &Access) -> io::Result<()> {
        let sent = self.respond(202, [], b"");
        access.ended(Some(202));
        sent
    }

    /// Tells of the end of a request that no method has seen.
    pub(in crate::transport::http) fn ended(
        &self,
        method: &'static str,
        outcome: Outcome,
        status: u16,
    ) {
        Access::immediate(self.tag.clone(), method, outcome).ended(Some(status));
    }

    /// Answers what never became a message.
    pub(in crate::transport::http) fn refuse(mut self, refusal: &HttpRefusal) -> io::Result<()> {
        let fields = [JSON].into_iter().chain(refusal.fields());
        let sent = self.respond(refusal.status, fields, &refusal.body());
        let access = Access::immediate(self.tag.clone(), "-", Outcome::Refused);
        access.because(refusal.reason()).ended(Some(refusal.status));
        sent
    }

    pub(in crate::transport::http) fn respond<'f>(
        &mut self,
        status: u16,
        fields: impl IntoIterator<Item = (&'f str, &'f str)>,
        body: &[u8],
    ) -> io::Result<()> {
        self.begin();
        let (mut room, mut all) = (ID_ROOM, [("", ""); FIELDS_MAX]);
        let count = collect(&mut all, self.tag.text(&mut room), self.origin, fields);
        self.exchange.respond(&HttpResponse {
            status,
            fields: &all[..count],
            body,
        })
    }

    /// Opens an event stream, whose events are for the caller to write.
    pub(super) fn begin_stream(&mut self) -> io::Result<()> {
        self.begin();
        let fields = [
            ("Cache-Control", "no-cache, no-transform"),
            // Otherwise a proxy may hold events back.
            ("X-Accel-Buffering", "no"),
        ];
        let (mut room, mut all) = (ID_ROOM, [("", ""); FIELDS_MAX]);
        let count = collect(&mut all, self.tag.text(&mut room), self.origin, fields);
        self.exchange.begin_stream(&all[..count])
    }

    /// While the server drains, a connection ends with its answer.
    fn begin(&mut self) {
        if self.endpoint.engine.is_draining() {
            self.exchange.close_after();
        }
    }
}
