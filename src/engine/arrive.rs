//! Arrival: from bytes to a request under the rules of its era, and the table of the modern era's methods; and what has no answer: notifications, of which a
//! cancellation matters, and a client's answers to questions of ours.
//!
//! `ingress` says which era a message belongs to; `handshake` has what the handshake era does. Waits for nothing but a store of jobs, and
//! a tool that is inline.

use serde_json::value::RawValue;

use crate::engine::dispatch::Caller;
use crate::engine::ingress::{Accepted, Footing, Ingress, Misplaced, Via};
use crate::engine::lifecycle::Engine;
use crate::engine::reply::{AnswerPort, Asked, Refusal};
use crate::legacy::Session;
use crate::observe::access::RequestTag;
use crate::outbox::{Admission, AnswerSlot};
use crate::protocol::errors::{ErrorCode, ErrorObject, shortened};
use crate::protocol::jsonrpc::{
    self, Malformed, Message, Notification, OneWay, ReadParams, Request, Response,
};
use crate::protocol::meta::Params;
use crate::protocol::modern::{self, VERSION_FIELD, supported};
use crate::protocol::offer::OfferKind;
use crate::protocol::plain;
use crate::protocol::version::{Era, Method};

impl Engine {
    /// Takes one body or line. Waits for no lane: whatever might take time goes to one, and the answer, if there is one,
    /// comes through the slot's outbox.
    pub(crate) fn accept(
        &self,
        bytes: &[u8],
        tag: RequestTag,
        via: Via<'_>,
        slot: AnswerSlot,
    ) -> Accepted {
        let ingress = Ingress { tag, via };
        let message = match self.read(bytes) {
            Ok(message) => message,
            Err(malformed) => {
                ingress.refuse_malformed(&malformed, AnswerPort::Outbox(slot));
                return Accepted::NothingToDo;
            }
        };
        let footing = self.footing(&message, &ingress);
        ingress.note(&footing, &message);
        match message {
            Message::Request(request, params) => {
                let port = AnswerPort::Outbox(slot);
                self.accept_request(request, params, footing, &ingress, port)
            }
            Message::OneWay(message) => {
                self.accept_one_way(message, footing, &ingress, AnswerPort::Outbox(slot));
                Accepted::NothingToDo
            }
            Message::Batch(members) => self.accept_batch(&members, footing, &ingress, slot),
        }
    }

    /// What arrived. Out of line for the same reason as [`serve`](Self::serve).
    #[inline(never)]
    fn read<'a>(&self, bytes: &'a [u8]) -> Result<Message<'a>, Malformed> {
        let limits = &self.shared.limits;
        // All of it is checked to be text at once, which takes less than each string by itself.
        let text = str::from_utf8(bytes).ok();
        if let Some((request, params)) = text.and_then(|text| plain::request(text, limits)) {
            return Ok(Message::Request(request, Ok(params)));
        }
        let bytes = jsonrpc::bounded(bytes, limits)?;
        jsonrpc::parse_frame(bytes, limits.batch_len_max)
    }

    pub(super) fn accept_request(
        &self,
        request: Request<'_>,
        params: ReadParams<'_>,
        footing: Result<Footing, Misplaced>,
        ingress: &Ingress<'_>,
        port: AnswerPort,
    ) -> Accepted {
        let era = match footing {
            Ok(Footing::Modern) => Era::Modern,
            Ok(Footing::Legacy(_) | Footing::Handshake) | Err(_) => Era::Legacy,
        };
        let refusal = Refusal {
            id: Some(&request.id),
            method: Method::known(&request.method),
            era,
            ..Refusal::new(&ingress.tag)
        };
        // That a session has ended comes before what else is wrong.
        let footing = match footing {
            Ok(footing) => footing,
            Err(misplaced) => {
                refusal.misplaced(misplaced, port);
                return Accepted::NothingToDo;
            }
        };
        let params = match params {
            Ok(params) => params,
            Err(error) => {
                let refusal = Refusal {
                    admission: admission(era, &error, request.params),
                    ..refusal
                };
                refusal.send(&error, port);
                return Accepted::NothingToDo;
            }
        };
        let asked = Asked {
            method: refusal.method,
            id: request.id,
            params,
            port,
            tag: &ingress.tag,
            era,
        };
        self.serve(footing, &request.method, asked, ingress)
    }

    /// Serves a request that nothing stands against. Out of line, so that a turn touches little of its thread's stack: what serving needs
    /// of it is not to be taken while the message is read.
    #[inline(never)]
    fn serve(
        &self,
        footing: Footing,
        method: &str,
        asked: Asked<'_>,
        ingress: &Ingress<'_>,
    ) -> Accepted {
        match footing {
            Footing::Modern => match modern::admit(method, &asked.params, ingress.via.fields()) {
                Ok(method) => self.serve_modern(method, asked, ingress),
                Err(error) => {
                    asked.refuse(Admission::Malformed, &error);
                    Accepted::NothingToDo
                }
            },
            Footing::Legacy(session) => {
                self.serve_legacy(method, asked, &session, &ingress.via);
                Accepted::in_session(&session)
            }
            Footing::Handshake => self.shake_hands(method, asked, ingress),
        }
    }

    /// The table of the modern era, grouped by where a method runs: cheap methods must never wait for a handler, only what runs one goes to a
    /// lane.
    fn serve_modern(&self, method: Method, asked: Asked<'_>, ingress: &Ingress<'_>) -> Accepted {
        if !self.offers(method) {
            asked.fail(&ErrorObject::method_not_found(method.name()));
            return Accepted::NothingToDo;
        }
        match method {
            // Answered at once.
            Method::Discover => {
                let shared = &self.shared;
                asked.answer(&shared.identity.discover(shared.capabilities(Era::Modern)));
            }
            Method::List(kind) => self.list(kind, asked),
            // To the lane of what is called.
            Method::Call(_) | Method::Complete => {
                let caller = Caller::modern(&asked.params, &ingress.via);
                return Accepted::call(self.call(method, asked, caller));
            }
            Method::TasksGet | Method::TasksUpdate | Method::TasksCancel => {
                self.task(method, asked);
            }
            // Stays open without a worker.
            Method::Listen => return Accepted::call(self.listen(asked, &ingress.via)),
            // Not of this era; `admit` has refused them.
            Method::Initialize
            | Method::Ping
            | Method::SetLevel
            | Method::Subscribe
            | Method::Unsubscribe => asked.fail(&ErrorObject::method_not_found(method.name())),
        }
        Accepted::NothingToDo
    }

    /// Whether the server has declared what the method belongs to; one of a capability that was not declared is as good as unknown. Specification:
    /// `schema` ("MethodNotFoundError") of revision 2026-07-28.
    pub(super) fn offers(&self, method: Method) -> bool {
        let catalogue = &self.shared.catalogue;
        match method {
            Method::List(kind) | Method::Call(kind) => catalogue.declares(kind),
            Method::Subscribe | Method::Unsubscribe => catalogue.declares(OfferKind::Resource),
            Method::Complete => catalogue.has_completers(),
            Method::TasksGet | Method::TasksUpdate | Method::TasksCancel => {
                self.shared.desk.jobs.is_some()
            }
            _ => true,
        }
    }

    #[inline(never)]
    pub(super) fn list(&self, kind: OfferKind, asked: Asked<'_>) {
        let cursor = asked.params.cursor.as_ref().map(|cursor| &*cursor.0);
        let offered = self.shared.catalogue.offers(kind).snapshot();
        match offered.list.page(cursor, asked.era) {
            Some(page) => asked.answer(page),
            None => asked.fail(&ErrorObject::invalid_params(
                "Invalid cursor; start again without one",
            )),
        }
    }

    #[inline(never)]
    fn accept_one_way(
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
                refusal.misplaced(misplaced, port);
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
                let memory = session.calls_memory.as_ref();
                let memory = memory.unwrap_or(&self.shared.memory);
                session.asks.answer(&id, body, memory);
            }
            // Only a session is ever asked.
            (OneWay::Response(_), _) => {}
        }
    }
}

/// What is wrong with a parameter is the method's to say, and must reach a client as its answer; the metadata belong to the envelope.
fn admission(era: Era, error: &ErrorObject, params: Option<&RawValue>) -> Admission {
    match era {
        Era::Modern if Params::is_modern_but_for_more(params) => Admission::Admitted,
        Era::Legacy if error.code == ErrorCode::INVALID_PARAMS => Admission::Admitted,
        _ => Admission::Malformed,
    }
}

impl Ingress<'_> {
    pub(super) fn refuse_malformed(&self, malformed: &Malformed, port: AnswerPort) {
        let refusal = Refusal {
            id: malformed.id.as_ref(),
            ..Refusal::new(&self.tag)
        };
        refusal.send(&malformed.error, port);
    }
}
