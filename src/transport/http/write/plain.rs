//! One whole answer: a status, the fields that every answer has, a body. And the head of a stream, which has the same.
//!
//! Must not know where an answer comes from.

use std::io;
use std::sync::Arc;

use crate::observe::access::{Access, Outcome, RequestTag};
use crate::outbox::{Answer, OutboxReceiver, Rest, ShortSent, ShortWay};
use crate::protocol::errors::ErrorCode;
use crate::transport::http::callers::cors_fields;
use crate::transport::http::endpoint::{Endpoint, StreamPlace};
use crate::transport::http::exchange::{Exchange, HttpResponse};
use crate::transport::http::policy::status;
use crate::transport::http::refusal::HttpRefusal;

/// More fields than these no answer has, besides what the front adds.
const FIELDS_MAX: usize = 12;

const JSON: (&str, &str) = ("Content-Type", "application/json");
const RETRY_AFTER: (&str, &str) = ("Retry-After", "1");

/// The answer to one exchange that has not begun yet.
pub(in crate::transport::http) struct HttpReply<'a, E> {
    pub(in crate::transport::http) endpoint: &'a Endpoint,
    pub(in crate::transport::http) exchange: &'a mut E,
    pub(in crate::transport::http) tag: &'a RequestTag,
    /// The accepted origin of the page that asks.
    pub(in crate::transport::http) origin: Option<&'a str>,
}

impl<E: Exchange> HttpReply<'_, E> {
    /// A place for an event stream, if the client can be sent one and not too many are open.
    pub(super) fn stream_place(&self) -> Option<StreamPlace> {
        let can_stream = self.exchange.can_stream();
        can_stream.then(|| StreamPlace::take(self.endpoint))?
    }

    /// What the exchange reads from. One that is used again has a short way without a page's origin.
    pub(in crate::transport::http) fn outbox(&mut self) -> OutboxReceiver {
        let kept = self.exchange.kept_outbox().and_then(Option::take);
        let kept = kept.filter(|_| self.origin.is_none());
        kept.unwrap_or_else(|| self.endpoint.outbox(self.exchange.can_stream()))
    }

    /// Keeps it for the next exchange on this connection, if it can be used again.
    pub(super) fn keep(&mut self, outbox: OutboxReceiver) {
        if self.origin.is_none()
            && let Some(place) = self.exchange.kept_outbox()
        {
            *place = outbox.renew();
        }
    }

    /// The terminal message as plain JSON.
    pub(super) fn answer(mut self, answer: Answer, opens: Option<&str>) -> io::Result<()> {
        let status = status(&answer, &self.endpoint.overload);
        let sent = self.respond(status, answer_fields(&answer, opens), &answer.body);
        self.endpoint.ended(&answer.access, status);
        sent
    }

    /// The terminal message has been sent by another thread, except for this.
    pub(super) fn end_answer(self, rest: &Rest) -> io::Result<()> {
        let sent = self.exchange.end_short_way(rest.bytes());
        let status = status(&rest.answer, &self.endpoint.overload);
        self.endpoint.ended(&rest.answer.access, status);
        sent
    }

    /// What [`answer`](Self::answer) does, done by another thread, if it can be: in this exchange, and in others to whose answers no page's origin belongs. While the server drains it is not, for the owner then closes the
    /// connection with it.
    pub(super) fn short_way(&self) -> Option<ShortWay> {
        let mut send = self.exchange.short_way()?;
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
            let mut all = [("", ""); FIELDS_MAX];
            let count = collect(&mut all, &answer.access.tag, origin.as_deref(), fields);
            let response = HttpResponse {
                status,
                fields: &all[..count],
                body: &answer.body,
            };
            let sent = send(&response, &mut head);
            match sent.count.checked_sub(head.len()) {
                _ if sent.count == 0 => ShortSent::Nothing(answer),
                Some(from) if from == answer.body.len() => {
                    engine.observer().ended(&answer.access, Some(status));
                    match sent.is_last {
                        true => ShortSent::AllAndLast,
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
        let sent = self.empty(202, []);
        self.endpoint.ended(access, 202);
        sent
    }

    /// Tells of the end of a request that no method has seen.
    pub(in crate::transport::http) fn ended(
        &self,
        method: &'static str,
        outcome: Outcome,
        status: u16,
    ) {
        let access = Access::immediate(self.tag.clone(), method, outcome);
        self.endpoint.ended(&access, status);
    }

    /// Answers with a status, fields and nothing else.
    pub(in crate::transport::http) fn empty<'f>(
        &mut self,
        status: u16,
        fields: impl IntoIterator<Item = (&'f str, &'f str)>,
    ) -> io::Result<()> {
        self.respond(status, fields, b"")
    }

    /// Answers what never became a message.
    pub(in crate::transport::http) fn refuse(mut self, refusal: &HttpRefusal) -> io::Result<()> {
        let fields = [JSON].into_iter().chain(refusal.fields());
        let sent = self.respond(refusal.status, fields, &refusal.body());
        let access = Access::immediate(self.tag.clone(), "-", Outcome::Refused);
        self.endpoint
            .ended(&access.because(refusal.reason()), refusal.status);
        sent
    }

    pub(in crate::transport::http) fn respond<'f>(
        &mut self,
        status: u16,
        fields: impl IntoIterator<Item = (&'f str, &'f str)>,
        body: &[u8],
    ) -> io::Result<()> {
        self.begin();
        let mut all = [("", ""); FIELDS_MAX];
        let count = collect(&mut all, self.tag, self.origin, fields);
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
        let mut all = [("", ""); FIELDS_MAX];
        let count = collect(&mut all, self.tag, self.origin, fields);
        self.exchange.begin_stream(&all[..count])
    }

    /// While the server drains, a connection ends with its answer.
    fn begin(&mut self) {
        if self.endpoint.engine.is_draining() {
            self.exchange.close_after();
        }
    }
}

/// The fields that a terminal message has besides those that every answer has.
fn answer_fields<'f>(
    answer: &Answer,
    opens: Option<&'f str>,
) -> impl Iterator<Item = (&'f str, &'f str)> + use<'f> {
    let is_refused = answer.error == Some(ErrorCode::OVERLOADED);
    let session = opens.map(|session| ("Mcp-Session-Id", session));
    let retry = is_refused.then_some(RETRY_AFTER);
    [Some(JSON), session, retry].into_iter().flatten()
}

/// Puts the fields of this answer behind those that every answer has. How many there are.
#[expect(clippy::map_identity, reason = "it shortens the lifetime of the items")]
fn collect<'all, 'f: 'all>(
    all: &mut [(&'all str, &'all str); FIELDS_MAX],
    tag: &'all RequestTag,
    origin: Option<&'all str>,
    fields: impl IntoIterator<Item = (&'f str, &'f str)>,
) -> usize {
    let every = [("X-Request-Id", tag.as_str())];
    let cors = origin.map(cors_fields).into_iter().flatten();
    let fields = fields.into_iter().map(|(name, value)| (name, value));
    let mut count = 0;
    for (place, field) in all
        .iter_mut()
        .zip(every.into_iter().chain(cors).chain(fields))
    {
        *place = field;
        count += 1;
    }
    count
}
