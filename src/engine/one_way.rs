//! One-way messages: notifications, of which a cancellation matters, and a client's answers to questions of ours.
//!
//! Must not know what a call does with either.

use crate::engine::ingress::{Footing, Ingress, Misplaced};
use crate::engine::lifecycle::Engine;
use crate::engine::reply::{AnswerPort, Refusal};
use crate::legacy::Session;
use crate::protocol::errors::shortened;
use crate::protocol::jsonrpc::{Notification, OneWay, Response};
use crate::protocol::meta::Params;
use crate::protocol::modern::{VERSION_FIELD, supported};
use crate::protocol::version::Era;

impl Engine {
    #[inline(never)]
    pub(super) fn accept_one_way(
        &self,
        message: OneWay<'_>,
        footing: Result<Footing, Misplaced>,
        ingress: &Ingress<'_>,
        port: AnswerPort,
    ) {
        let refusal = Refusal::new(&ingress.tag);
        match footing {
            Err(misplaced) => {
                let refusal = Refusal {
                    method: match message {
                        OneWay::Notification(_) => "notification",
                        OneWay::Response(_) => "response",
                    },
                    era: Era::Legacy,
                    ..refusal
                };
                misplaced.refuse(refusal, port);
            }
            Ok(Footing::Legacy(session)) => self.take(message, Some(&session), ingress),
            Ok(Footing::Modern | Footing::Handshake) => {
                // Its body names no version, so that its header field is all there is to go by.
                let fields = ingress.via.fields();
                let version = fields.and_then(|fields| fields.value(VERSION_FIELD));
                match version.map_or(Ok(()), supported) {
                    Ok(()) => self.take(message, None, ingress),
                    Err(error) => refusal.send(&error, port),
                }
            }
        }
    }

    /// What has no answer. A notification that means nothing here is ignored, and so is an answer that nobody waits for.
    pub(super) fn take(
        &self,
        message: OneWay<'_>,
        session: Option<&Session>,
        ingress: &Ingress<'_>,
    ) {
        match (message, session) {
            (OneWay::Notification(Notification { method, params }), _) => {
                let calls = session.map(|session| &session.calls);
                let calls = ingress.via.calls().or(calls);
                if method == "notifications/cancelled"
                    && let (Some(calls), Ok(params)) = (calls, Params::parse(params))
                    && let Some(id) = &params.request_id
                {
                    let reason = params.reason.as_ref().map_or("", |reason| &*reason.0);
                    calls.cancel(id, &shortened(reason));
                }
            }
            (OneWay::Response(Response { id: Some(id), body }), Some(session)) => {
                session.asks.answer(&id, body, &self.shared.memory);
            }
            // Only a session is ever asked.
            (OneWay::Response(_), _) => {}
        }
    }
}
