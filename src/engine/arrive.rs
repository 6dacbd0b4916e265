//! Ingress: from bytes to a request under the rules of its era, and the table of the modern era's methods.
//!
//! Decides what arrived, which era it belongs to, and whether it passes that era's checks. What the handshake era does stands in `handshake`. Waits
//! for nothing but a store of jobs. Specification: `basic/versioning` ("Backward Compatibility") of revision 2026-07-28.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::engine::dispatch::Caller;
use crate::engine::ingress::{Accepted, Ingress, Via};
use crate::engine::lifecycle::Engine;
use crate::engine::reply::{Asked, Refusal, ReplyPort};
use crate::legacy::{Session, Sessions};
use crate::observe::access::{self, RequestTag};
use crate::outbox::{Admission, AnswerSlot};
use crate::protocol::errors::{ErrorCode, ErrorObject};
use crate::protocol::jsonrpc::{self, Frame, Malformed, Message, Notification, Request, Response};
use crate::protocol::meta::Params;
use crate::protocol::method::Method;
use crate::protocol::modern;
use crate::protocol::raw;
use crate::protocol::text::Text;
use crate::protocol::version::{Era, ProtocolVersion};

/// What arrived in one body or line.
pub(super) enum Arrived<'a> {
    Request(Request<'a>, Result<Box<Params<'a>>, ErrorObject>),
    OneWay(OneWay<'a>),
    /// The members of an array, still raw.
    Batch(Vec<&'a RawValue>),
}

/// A message that has no answer.
pub(super) enum OneWay<'a> {
    Notification(Notification<'a>),
    Response(Response<'a>),
}

/// On what footing a message is served: by the rules of which era.
pub(super) enum Footing {
    Modern,
    Legacy(Arc<Session>),
    /// `initialize`, or a `ping` before it.
    Handshake,
}

/// Why a message of the handshake era is served by no rules at all.
pub(super) struct Misplaced {
    admission: Admission,
    message: &'static str,
}

const UNKNOWN_SESSION: Misplaced = Misplaced {
    admission: Admission::UnknownSession,
    message: "No such session; send `initialize` to open a new one",
};
const NO_SESSION: Misplaced = Misplaced {
    admission: Admission::Malformed,
    message: "Send `initialize` first, then its Mcp-Session-Id with every request",
};
const WRONG_VERSION: Misplaced = Misplaced {
    admission: Admission::Malformed,
    message: "MCP-Protocol-Version is not a version this session can have; send the one `initialize` answered",
};

impl<'a> From<Message<'a>> for Arrived<'a> {
    fn from(message: Message<'a>) -> Self {
        match message {
            Message::Request(request) => {
                let params = Params::parse(request.params);
                Arrived::Request(request, params)
            }
            Message::Notification(notification) => {
                Arrived::OneWay(OneWay::Notification(notification))
            }
            Message::Response(response) => Arrived::OneWay(OneWay::Response(response)),
        }
    }
}

impl Engine {
    /// Takes one body or line. Never blocks: whatever might take time goes to a lane, and the answer, if there is one,
    /// comes through the slot's outbox.
    pub(crate) fn accept(
        &self,
        bytes: &[u8],
        tag: RequestTag,
        via: Via<'_>,
        slot: AnswerSlot,
    ) -> Accepted {
        let ingress = Ingress { tag, via };
        let arrived = match self.read(bytes) {
            Ok(arrived) => arrived,
            Err(malformed) => {
                ingress.refuse_malformed(&malformed, ReplyPort::Outbox(slot));
                return Accepted::Plain;
            }
        };
        let footing = self.footing(&arrived, &ingress);
        ingress.note(&footing, &arrived);
        match arrived {
            Arrived::Request(request, params) => {
                let port = ReplyPort::Outbox(slot);
                self.accept_request(request, params, footing, &ingress, port)
            }
            Arrived::OneWay(message) => {
                self.accept_one_way(message, footing, &ingress, ReplyPort::Outbox(slot));
                Accepted::Plain
            }
            Arrived::Batch(members) => self.accept_batch(&members, footing, &ingress, slot),
        }
    }

    /// What arrived. Out of line for the same reason as [`serve`](Self::serve).
    #[inline(never)]
    fn read<'a>(&self, bytes: &'a [u8]) -> Result<Arrived<'a>, Malformed> {
        let limits = &self.shared.limits;
        let bytes = jsonrpc::bounded(bytes, limits)?;
        // All of it is checked to be text at once, which takes less than each string by itself.
        let text = str::from_utf8(bytes).ok();
        if let Some((request, params)) = text.and_then(Params::of_plain_request) {
            return Ok(Arrived::Request(request, Ok(params)));
        }
        Ok(match jsonrpc::parse_frame(bytes, limits.batch_len_max)? {
            Frame::One(message) => Arrived::from(message),
            Frame::Batch(members) => Arrived::Batch(members),
        })
    }

    /// The era of a message. Modern metadata always makes it modern; then the session it names, the version it names, or
    /// the handshake it is makes it legacy.
    fn footing(&self, arrived: &Arrived<'_>, ingress: &Ingress<'_>) -> Result<Footing, Misplaced> {
        let (is_handshake, is_ping) = match arrived {
            Arrived::Request(_, Ok(params)) if params.is_modern() => return Ok(Footing::Modern),
            Arrived::Request(request, _) => {
                (request.method == "initialize", request.method == "ping")
            }
            _ => (false, false),
        };
        match &ingress.via {
            Via::Pipe(pipe) => Ok(match pipe.session() {
                _ if is_handshake => Footing::Handshake,
                Some(session) => Footing::Legacy(session),
                None if is_ping => Footing::Handshake,
                None => Footing::Modern,
            }),
            Via::Http {
                mirrored,
                session_id,
                ..
            } => {
                let version = mirrored.version.map(ProtocolVersion::parse);
                let is_legacy =
                    matches!(version, Some(Some(version)) if version.era() == Era::Legacy);
                let spoken = version.flatten();
                match session_id {
                    // Whatever version its header names, none has been negotiated yet.
                    _ if is_handshake => Ok(Footing::Handshake),
                    _ if self.shared.legacy_sessions == Sessions::Stateless
                        && (is_legacy || version.is_none()) =>
                    {
                        self.lone_session(spoken)
                            .map(Footing::Legacy)
                            .ok_or(NO_SESSION)
                    }
                    Some(_) if version.is_some() && !is_legacy => Err(WRONG_VERSION),
                    Some(id) => match self.session(id, spoken) {
                        Some(session) => Ok(Footing::Legacy(session)),
                        None => Err(UNKNOWN_SESSION),
                    },
                    None if is_legacy => Err(NO_SESSION),
                    None => Ok(Footing::Modern),
                }
            }
        }
    }

    pub(super) fn accept_request(
        &self,
        request: Request<'_>,
        params: Result<Box<Params<'_>>, ErrorObject>,
        footing: Result<Footing, Misplaced>,
        ingress: &Ingress<'_>,
        port: ReplyPort,
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
                misplaced.refuse(refusal, port);
                return Accepted::Plain;
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
                return Accepted::Plain;
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

    /// Serves a request that nothing stands against. Out of line, because each connection has a stack of its own: what serving needs
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
            Footing::Modern => match modern::admit(method, &asked.params, ingress.via.mirrored()) {
                Ok(method) => self.serve_modern(method, asked, ingress),
                Err(error) => {
                    asked.refuse(Admission::Malformed, &error);
                    Accepted::Plain
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
            return Accepted::Plain;
        }
        match method {
            // Answered at once.
            Method::Discover => {
                let shared = &self.shared;
                asked.answer(&shared.identity.discover(shared.capabilities()));
            }
            Method::ToolsList
            | Method::PromptsList
            | Method::ResourcesList
            | Method::TemplatesList => self.list(method, asked),
            // To the lane of what is called.
            Method::ToolsCall | Method::PromptsGet | Method::ResourcesRead | Method::Complete => {
                let caller = Caller::modern(&asked.params, &ingress.via);
                return Accepted::call(self.call(method, asked, caller));
            }
            Method::TasksGet | Method::TasksUpdate | Method::TasksCancel => {
                self.task(method, asked, &ingress.via.owner());
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
        Accepted::Plain
    }

    /// Whether the server has declared what the method belongs to; one of a capability that was not declared is as good as unknown. Specification:
    /// `schema` ("MethodNotFoundError") of revision 2026-07-28.
    pub(super) fn offers(&self, method: Method) -> bool {
        let catalogue = &self.shared.catalogue;
        match method {
            Method::PromptsList | Method::PromptsGet => catalogue.has_prompts(),
            Method::ResourcesList
            | Method::TemplatesList
            | Method::ResourcesRead
            | Method::Subscribe
            | Method::Unsubscribe => catalogue.has_resources(),
            Method::Complete => catalogue.has_completers(),
            Method::TasksGet | Method::TasksUpdate | Method::TasksCancel => {
                self.shared.desk.jobs.is_some()
            }
            _ => true,
        }
    }

    #[inline(never)]
    pub(super) fn list(&self, method: Method, asked: Asked<'_>) {
        let cursor = asked.params.cursor.as_ref().map(|cursor| &*cursor.0);
        match self
            .shared
            .catalogue
            .list(method)
            .list
            .page(cursor, asked.era)
        {
            Some(page) => asked.answer(page),
            None => asked.fail(&ErrorObject::invalid_params(
                "Invalid cursor; start again without one",
            )),
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

impl Misplaced {
    pub(super) fn is_unknown_session(&self) -> bool {
        self.admission == Admission::UnknownSession
    }

    pub(super) fn refuse(self, refusal: Refusal<'_>, port: ReplyPort) {
        let Misplaced { admission, message } = self;
        let refusal = Refusal {
            admission,
            ..refusal
        };
        refusal.send(&ErrorObject::invalid_request(message), port);
    }
}

impl Ingress<'_> {
    /// Notes for the access log who asks, if anybody reads it.
    fn note(&self, footing: &Result<Footing, Misplaced>, arrived: &Arrived<'_>) {
        if !access::is_logged() {
            return;
        }
        let params = match arrived {
            Arrived::Request(_, Ok(params)) => Some(params),
            _ => None,
        };
        let (era, introduced) = match footing {
            Ok(Footing::Legacy(session)) => return session.note_on(&self.tag),
            Ok(Footing::Modern) => (
                Era::Modern,
                params.and_then(|params| params.meta.as_ref()?.client_info),
            ),
            Ok(Footing::Handshake) | Err(_) => {
                (Era::Legacy, params.and_then(|params| params.client_info))
            }
        };
        self.tag.note_era(era.as_str());
        let name = introduced.and_then(|info| raw::member(info, "name"));
        if let Some(Ok(name)) = name.map(|name| serde_json::from_str::<Text<'_>>(name.get())) {
            self.tag.note_client(&name.0);
        }
    }

    pub(super) fn refuse_malformed(&self, malformed: &Malformed, port: ReplyPort) {
        let refusal = Refusal {
            id: malformed.id.as_ref(),
            ..Refusal::new(&self.tag)
        };
        refusal.send(&malformed.error, port);
    }
}
