//! The way in: from bytes to a request under the rules of its era.
//!
//! Decides what arrived (request, notification, response, batch), which era it belongs to, and whether it passes that era's checks. What
//! the methods then do stands in `routes`. Never blocks. Specification: `basic/versioning` ("Backward Compatibility") of revision 2026-07-28.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::engine::origin::Arrival;
use crate::engine::reply::{Asked, Refusal};
use crate::engine::{Accepted, Engine, Origin};
use crate::legacy::Session;
use crate::legacy::{ReplySlot, split};
use crate::observe::access::{self, RequestTag};
use crate::outbox::{AnswerSlot, Standing};
use crate::protocol::jsonrpc::{
    self, ErrorCode, ErrorObject, Frame, Malformed, Message, Notification, Request, RequestId,
    Response, shortened,
};
use crate::protocol::meta::Params;
use crate::protocol::method::Method;
use crate::protocol::modern;
use crate::protocol::raw;
use crate::protocol::text::Text;
use crate::protocol::version::{Era, ProtocolVersion};

/// On what footing a message is served: by the rules of which era, or why by none.
enum Footing {
    Modern,
    Legacy(Arc<Session>),
    /// `initialize`, or a `ping` before it.
    Handshake,
    /// It names a session that does not exist.
    UnknownSession,
    /// A handshake-era request without the session it needs.
    NoSession,
    /// A session's request under a version that is not of its era.
    WrongVersion,
}

/// A message that has no answer.
enum OneWay<'a> {
    Notification(Notification<'a>),
    Response(Response<'a>),
}

impl Engine {
    /// Takes one body or line. Never blocks: whatever might take time goes to a lane, and the answer, if there is one,
    /// comes through the slot's outbox.
    pub(crate) fn accept(
        &self,
        bytes: &[u8],
        tag: RequestTag,
        origin: Origin<'_>,
        slot: AnswerSlot,
    ) -> Accepted {
        let arrival = Arrival { tag, origin };
        match jsonrpc::parse_frame(bytes, &self.limits) {
            Ok(Frame::One(message)) => {
                self.accept_message(message, &arrival, ReplySlot::Single(slot))
            }
            Ok(Frame::Batch(members)) => self.accept_batch(&members, &arrival, slot),
            Err(malformed) => {
                arrival.refuse_malformed(malformed, ReplySlot::Single(slot));
                Accepted::default()
            }
        }
    }

    fn accept_message(
        &self,
        message: Message<'_>,
        arrival: &Arrival<'_>,
        slot: ReplySlot,
    ) -> Accepted {
        let (method, one_way) = match message {
            Message::Request(request) => return self.accept_request(request, arrival, slot),
            Message::Notification(notification) => {
                ("notification", OneWay::Notification(notification))
            }
            Message::Response(response) => ("response", OneWay::Response(response)),
        };
        let footing = self.footing(method, false, arrival);
        arrival.note(&footing, None);
        let refused = match footing {
            Footing::UnknownSession => {
                arrival.refuse_unknown_session(None, method, slot);
                return Accepted::default();
            }
            Footing::Legacy(session) => {
                self.take(one_way, Some(&session), arrival);
                return Accepted::default();
            }
            Footing::WrongVersion => Some((Era::Legacy, wrong_version())),
            Footing::NoSession => Some((Era::Legacy, no_session())),
            // Its body names no version, so that its header field is all there is to go by.
            Footing::Modern | Footing::Handshake => arrival
                .origin
                .mirrored()
                .and_then(|mirrored| modern::supported(mirrored.version?).err())
                .map(|error| (Era::Modern, error)),
        };
        match refused {
            Some((era, error)) => arrival.refuse(None, "-", era, &error, slot),
            None => self.take(one_way, None, arrival),
        }
        Accepted::default()
    }

    fn accept_request(
        &self,
        request: Request<'_>,
        arrival: &Arrival<'_>,
        slot: ReplySlot,
    ) -> Accepted {
        let Request {
            id,
            method,
            params: raw,
        } = request;
        let params = Params::parse(raw);
        let is_modern = params.as_ref().is_ok_and(|params| params.is_modern());
        let footing = self.footing(&method, is_modern, arrival);
        arrival.note(&footing, params.as_deref().ok());
        let (era, params) = match (&footing, params) {
            // That a session has ended comes before what else is wrong.
            (Footing::UnknownSession, _) => {
                arrival.refuse_unknown_session(Some(&id), Method::known(&method), slot);
                return Accepted::default();
            }
            (Footing::NoSession, _) => (Era::Legacy, Err(no_session())),
            (Footing::WrongVersion, _) => (Era::Legacy, Err(wrong_version())),
            (Footing::Legacy(_) | Footing::Handshake, params) => (Era::Legacy, params),
            (Footing::Modern, params) => (Era::Modern, params),
        };
        let params = match params {
            Ok(params) => params,
            Err(error) => {
                arrival.refuse_params(&id, &method, era, raw, &error, slot);
                return Accepted::default();
            }
        };
        let asked = Asked {
            id,
            params,
            slot,
            tag: &arrival.tag,
            era,
        };
        self.serve(&footing, &method, asked, arrival)
    }

    /// Serves a request that nothing stands against. Out of line, because each connection has a stack of its own: what serving needs
    /// of it is not to be taken while the message is read.
    #[inline(never)]
    fn serve(
        &self,
        footing: &Footing,
        method: &str,
        asked: Asked<'_>,
        arrival: &Arrival<'_>,
    ) -> Accepted {
        match footing {
            Footing::Legacy(session) => {
                self.serve_legacy(method, asked, session);
                Accepted::in_session(session)
            }
            Footing::Handshake => self.shake_hands(method, asked, arrival),
            _ => match modern::admit(method, &asked.params, arrival.origin.mirrored()) {
                Ok(method) => self.serve_modern(method, asked, arrival),
                Err(error) => {
                    let Asked { id, slot, era, .. } = asked;
                    arrival.refuse(Some(&id), method, era, &error, slot);
                    Accepted::default()
                }
            },
        }
    }

    /// The array of its members' answers. Only revision 2025-03-26 has batches. Out of line like [`serve`](Self::serve).
    #[inline(never)]
    fn accept_batch(
        &self,
        members: &[&RawValue],
        arrival: &Arrival<'_>,
        slot: AnswerSlot,
    ) -> Accepted {
        let most = self.limits.batch_len_max;
        let footing = self.footing("batch", false, arrival);
        arrival.note(&footing, None);
        let refused = match footing {
            Footing::UnknownSession => {
                let slot = ReplySlot::Single(slot);
                arrival.refuse_unknown_session(None, "batch", slot);
                return Accepted::default();
            }
            Footing::Legacy(session) if session.version == ProtocolVersion::V2025_03_26 => {
                if (1..=most).contains(&members.len()) {
                    let places = split(slot, members.len(), arrival.tag.clone());
                    for (member, place) in members.iter().zip(places) {
                        self.accept_member(member, &session, arrival, place);
                    }
                    return Accepted::in_session(&session);
                }
                format!("A batch has 1 to {most} messages")
            }
            _ => "Batches exist only in revision 2025-03-26".into(),
        };
        let error = ErrorObject::invalid_request(refused);
        arrival.refuse(None, "batch", Era::Legacy, &error, ReplySlot::Single(slot));
        Accepted::default()
    }

    fn accept_member(
        &self,
        member: &RawValue,
        session: &Arc<Session>,
        arrival: &Arrival<'_>,
        place: ReplySlot,
    ) {
        let Request { id, method, params } = match jsonrpc::parse_message(member.get().as_bytes()) {
            Ok(Message::Request(request)) => request,
            Ok(Message::Notification(notification)) => {
                return self.take(OneWay::Notification(notification), Some(session), arrival);
            }
            Ok(Message::Response(response)) => {
                return self.take(OneWay::Response(response), Some(session), arrival);
            }
            Err(malformed) => return arrival.refuse_malformed(malformed, place),
        };
        match Params::parse(params) {
            Ok(params) => {
                let tag = &arrival.tag;
                let asked = Asked {
                    id,
                    params,
                    slot: place,
                    tag,
                    era: Era::Legacy,
                };
                self.serve_legacy(&method, asked, session);
            }
            Err(error) => arrival.refuse(Some(&id), &method, Era::Legacy, &error, place),
        }
    }

    /// The era of a message. Modern metadata always makes it modern; then the session it names, the version it names, or
    /// the handshake it is makes it legacy.
    fn footing(&self, method: &str, is_modern: bool, arrival: &Arrival<'_>) -> Footing {
        if is_modern {
            return Footing::Modern;
        }
        let is_handshake = method == "initialize";
        match &arrival.origin {
            Origin::Pipe(pipe) => match pipe.session() {
                _ if is_handshake => Footing::Handshake,
                Some(session) => Footing::Legacy(session),
                None if method == "ping" => Footing::Handshake,
                None => Footing::Modern,
            },
            Origin::Http {
                mirrored,
                session_id,
                ..
            } => {
                let version = mirrored.version.map(ProtocolVersion::parse);
                let is_legacy =
                    matches!(version, Some(Some(version)) if version.era() == Era::Legacy);
                match session_id {
                    _ if is_handshake && (is_legacy || version.is_none()) => Footing::Handshake,
                    Some(_) if version.is_some() && !is_legacy => Footing::WrongVersion,
                    Some(id) => self
                        .sessions
                        .find(id)
                        .map_or(Footing::UnknownSession, Footing::Legacy),
                    None if is_legacy => Footing::NoSession,
                    None => Footing::Modern,
                }
            }
        }
    }

    /// What has no answer. A notification that means nothing here is ignored, and so is an answer that nobody waits for.
    fn take(&self, message: OneWay<'_>, session: Option<&Arc<Session>>, arrival: &Arrival<'_>) {
        match (message, session) {
            (OneWay::Notification(notification), _) => {
                self.notified(&notification, session, arrival);
            }
            (OneWay::Response(Response { id: Some(id), body }), Some(session)) => {
                session.asks.answer(&id, body);
            }
            // Only a session is ever asked.
            (OneWay::Response(_), _) => {}
        }
    }

    fn notified(
        &self,
        notification: &Notification<'_>,
        session: Option<&Arc<Session>>,
        arrival: &Arrival<'_>,
    ) {
        let Notification { method, params } = notification;
        if method != "notifications/cancelled" {
            return;
        }
        let calls = match (&arrival.origin, session) {
            (Origin::Pipe(pipe), _) => &pipe.calls,
            (_, Some(session)) => &session.calls,
            // A modern HTTP client cancels by closing the stream.
            (Origin::Http { .. }, None) => return,
        };
        if let Ok(params) = Params::parse(*params)
            && let Some(id) = &params.request_id
        {
            let reason = params.reason.as_ref().map_or("", |reason| &*reason.0);
            calls.cancel(id, &shortened(reason));
        }
    }
}

fn wrong_version() -> ErrorObject {
    ErrorObject::invalid_request(
        "MCP-Protocol-Version is not a version this session can have; send the one `initialize` answered",
    )
}

fn no_session() -> ErrorObject {
    ErrorObject::invalid_request(
        "Send `initialize` first, then its Mcp-Session-Id with every request",
    )
}

impl Accepted {
    fn in_session(session: &Session) -> Self {
        Accepted {
            streams: Some(Arc::clone(&session.streams)),
            ..Accepted::default()
        }
    }
}

impl Arrival<'_> {
    /// Notes for the access log who asks, if anybody reads it.
    fn note(&self, footing: &Footing, params: Option<&Params<'_>>) {
        if !access::is_logged() {
            return;
        }
        let introduced = match footing {
            Footing::Legacy(session) => {
                session.note_on(&self.tag);
                return;
            }
            Footing::Modern => params.and_then(|params| params.meta.as_ref()?.client_info),
            _ => params.and_then(|params| params.client_info),
        };
        let era = match footing {
            Footing::Modern => Era::Modern,
            _ => Era::Legacy,
        };
        self.tag.note_era(era.as_str());
        let name = introduced.and_then(|info| raw::member(info, "name"));
        if let Some(Ok(name)) = name.map(|name| serde_json::from_str::<Text<'_>>(name.get())) {
            self.tag.note_client(&name.0);
        }
    }

    fn refuse(
        &self,
        id: Option<&RequestId>,
        method: &str,
        era: Era,
        error: &ErrorObject,
        slot: ReplySlot,
    ) {
        let method = match method {
            "-" | "batch" => "-",
            _ => Method::known(method),
        };
        // What a handshake-era client's own method refuses must reach it as an answer.
        let served = era == Era::Legacy && id.is_some() && error.code == ErrorCode::INVALID_PARAMS;
        let standing = if served {
            Standing::Served
        } else {
            Standing::Malformed
        };
        Refusal {
            tag: &self.tag,
            id,
            method,
            era,
            standing,
            traceparent: None,
        }
        .send(error, slot);
    }

    /// What is wrong with a parameter is the method's to say, unless it is the metadata, which belong to the envelope.
    fn refuse_params(
        &self,
        id: &RequestId,
        method: &str,
        era: Era,
        raw: Option<&RawValue>,
        error: &ErrorObject,
        slot: ReplySlot,
    ) {
        if era == Era::Legacy || !Params::is_modern_but_for_more(raw) {
            return self.refuse(Some(id), method, era, error, slot);
        }
        let refusal = Refusal {
            tag: &self.tag,
            id: Some(id),
            method: Method::known(method),
            era,
            standing: Standing::Served,
            traceparent: None,
        };
        refusal.send(error, slot);
    }

    fn refuse_malformed(&self, malformed: Malformed, slot: ReplySlot) {
        let Malformed { id, error } = malformed;
        self.refuse(id.as_ref(), "-", Era::Modern, &error, slot);
    }

    fn refuse_unknown_session(
        &self,
        id: Option<&RequestId>,
        method: &'static str,
        slot: ReplySlot,
    ) {
        let error =
            ErrorObject::invalid_request("No such session; send `initialize` to open a new one");
        let standing = Standing::UnknownSession;
        let refusal = Refusal {
            tag: &self.tag,
            id,
            method,
            era: Era::Legacy,
            standing,
            traceparent: None,
        };
        refusal.send(&error, slot);
    }
}
