//! What arrived, and on what footing it is served: by the rules of which era.
//!
//! Modern metadata settle it. What has none is served as its session, its header field or its pipe says, or not at all. Must not know what a method means.
//! Specification: `basic/versioning` ("Backward Compatibility") of revision 2026-07-28.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::engine::ingress::{Ingress, Via};
use crate::engine::lifecycle::Engine;
use crate::engine::reply::{Refusal, ReplyPort};
use crate::legacy::{Session, Sessions};
use crate::observe::access;
use crate::outbox::Admission;
use crate::protocol::errors::ErrorObject;
use crate::protocol::jsonrpc::{Message, Notification, Request, Response};
use crate::protocol::meta::Params;
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

impl Engine {
    /// The era of a message. Modern metadata always makes it modern; then the session it names, the version it names, or
    /// the handshake it is makes it legacy.
    pub(super) fn footing(
        &self,
        arrived: &Arrived<'_>,
        ingress: &Ingress<'_>,
    ) -> Result<Footing, Misplaced> {
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
}

impl Ingress<'_> {
    /// Notes for the access log who asks, if anybody reads it.
    pub(super) fn note(&self, footing: &Result<Footing, Misplaced>, arrived: &Arrived<'_>) {
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
}
