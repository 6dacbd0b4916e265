//! What the handshake era does: its methods, `initialize`, what its sessions watch, and the batches of revision 2025-03-26.
//!
//! One table, grouped by where a method runs. What a session is and keeps stands in the room `legacy`; this is where the engine uses it. Must not
//! know how messages arrive or how answers travel. Specification: `basic/lifecycle`, `server/resources` ("Subscriptions") of revision 2025-11-25.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::base::owner::Owner;
use crate::engine::call::CallsInFlight;
use crate::engine::control::Asking;
use crate::engine::dispatch::{Caller, named};
use crate::engine::errors::over_budget;
use crate::engine::identity::without_session;
use crate::engine::ingress::{Accepted, Footing, Ingress, Misplaced, Via};
use crate::engine::lifecycle::Engine;
use crate::engine::planning::Unplanned;
use crate::engine::reply::{AnswerPort, Asked, Refusal};
use crate::engine::subscriptions::URI_BYTES;
use crate::handler::client::{Client, ClientSource};
use crate::legacy::{Session, Sessions, negotiate, split};
use crate::outbox::AnswerSlot;
use crate::protocol::errors::ErrorObject;
use crate::protocol::jsonrpc::{self, Message};
use crate::protocol::meta::check_introduction;
use crate::protocol::version::{Era, Method, ProtocolVersion};

impl<'a> Caller<'a> {
    pub(super) fn legacy(session: &'a Arc<Session>, via: &'a Via<'_>) -> Self {
        Caller {
            client: ClientSource::Session(Arc::clone(&session.client)),
            log_level: (!session.stands_alone()).then(|| session.log_level()),
            registry: Some(&session.calls),
            owner: session.owner.clone(),
            asking: Asking::Session(Arc::clone(&session.asks)),
            memory: session.calls_memory.as_ref(),
            headers: via.fields(),
        }
    }
}

impl Engine {
    /// The table of the handshake era. Out of line, like all that a modern call does not need.
    #[inline(never)]
    pub(super) fn serve_legacy(
        &self,
        method: &str,
        asked: Asked<'_>,
        session: &Arc<Session>,
        via: &Via<'_>,
    ) {
        let Some(method) = Method::find(method, Era::Legacy) else {
            return asked.fail(&ErrorObject::method_not_found(method));
        };
        if !self.offers(method) {
            return self.serve_empty(method, asked);
        }
        let done = match method {
            // Answered at once. Nothing is kept for a request that stands alone.
            Method::SetLevel | Method::Subscribe | Method::Unsubscribe
                if session.stands_alone() =>
            {
                Err(ErrorObject::method_not_found(method.name()))
            }
            Method::Ping => Ok(()),
            Method::SetLevel => {
                let level = asked.params.level.map(|level| session.set_log_level(level));
                level.ok_or_else(|| ErrorObject::invalid_params("`level` is missing"))
            }
            Method::Subscribe => self.watch(&asked, session),
            // To stop watching what was never watched is no mistake.
            Method::Unsubscribe => {
                let uri = named("uri", asked.params.uri.as_ref());
                uri.map(|uri| drop(session.watched.lock().remove(uri)))
            }
            Method::List(kind) => return self.list(kind, asked),
            // To the lane of what is called.
            Method::Call(_) | Method::Complete => {
                return drop(self.call(method, asked, Caller::legacy(session, via)));
            }
            Method::Initialize
            | Method::Discover
            | Method::Listen
            | Method::TasksGet
            | Method::TasksUpdate
            | Method::TasksCancel => Err(ErrorObject::invalid_request(
                "This session is initialized already",
            )),
        };
        asked.acknowledge(done);
    }

    /// What the server has nothing of. Some clients give up a server that knows a list's method not, so a list is empty; the capabilities say that
    /// there is nothing.
    fn serve_empty(&self, method: Method, asked: Asked<'_>) {
        match method {
            Method::List(kind) => self.list(kind, asked),
            Method::Complete => self.tell_unplanned(Unplanned::Nothing, asked),
            _ => asked.fail(&ErrorObject::method_not_found(method.name())),
        }
    }

    /// `initialize`, and the `ping` that may come before it.
    #[inline(never)]
    pub(super) fn shake_hands(
        &self,
        method: &str,
        asked: Asked<'_>,
        ingress: &Ingress<'_>,
    ) -> Accepted {
        if method == "ping" {
            asked.acknowledge(Ok(()));
            return Accepted::NothingToDo;
        }
        match self.open_session(&asked, &ingress.via) {
            Ok((version, accepted)) => {
                let shared = &self.shared;
                let mut capabilities = shared.capabilities(Era::Legacy);
                if self.is_stateless(&ingress.via) {
                    capabilities = without_session(&capabilities);
                }
                asked.answer(&shared.identity.initialize(version, capabilities));
                accepted
            }
            Err(error) => {
                asked.fail(&error);
                Accepted::NothingToDo
            }
        }
    }

    /// Whether handshake-era requests from there stand alone. A pipe is one conversation in any case.
    fn is_stateless(&self, via: &Via<'_>) -> bool {
        let is_http = matches!(via, Via::Http { .. });
        is_http && self.shared.legacy_sessions == Sessions::Stateless
    }

    /// Opens a session; over HTTP it has an id.
    fn open_session(
        &self,
        asked: &Asked<'_>,
        via: &Via<'_>,
    ) -> Result<(ProtocolVersion, Accepted), ErrorObject> {
        let requested = asked.params.protocol_version.as_ref();
        let requested =
            requested.ok_or_else(|| ErrorObject::invalid_params("`protocolVersion` is missing"))?;
        check_introduction(asked.params.client_info, asked.params.capabilities)?;
        let version = negotiate(&requested.0);
        if self.is_stateless(via) {
            return Ok((version, Accepted::NothingToDo));
        }
        let client = Client::new(asked.params.client_info, asked.params.capabilities, version);
        let (owner, calls) = match via {
            Via::Pipe(pipe) => (via.owner(), Arc::clone(&pipe.calls)),
            Via::Http { .. } => (Owner::new_session(), Arc::new(CallsInFlight::with_twins())),
        };
        let shared = &self.shared;
        let session = Session::new(owner, client, calls, &shared.limits, &shared.kept);
        let session = session.map_err(over_budget)?;
        let accepted = match via {
            Via::Pipe(pipe) => {
                let session = pipe.begin_session(session, asked.port.outbox().cloned());
                shared.sessions.add_on_pipe(&session);
                Accepted::NothingToDo
            }
            Via::Http { .. } => {
                let message =
                    "The server has its maximum of sessions, and all are busy; try again later";
                let opened = shared.sessions.open(session);
                let opened = opened.ok_or_else(|| ErrorObject::overloaded(message));
                Accepted::Opened(opened?)
            }
        };
        Ok((version, accepted))
    }

    /// `resources/subscribe` of the handshake era.
    fn watch(&self, asked: &Asked<'_>, session: &Session) -> Result<(), ErrorObject> {
        let uri = named("uri", asked.params.uri.as_ref())?;
        self.shared.check_watchable(uri)?;
        if self.shared.catalogue.resource(uri).is_none() {
            return Err(ErrorObject::no_resource(uri));
        }
        let charge = session.memory.charge(uri.len() + URI_BYTES);
        let most = self.shared.limits.session_subscriptions_max;
        let charge = charge.map_err(over_budget)?;
        let mut watched = session.watched.lock();
        if watched.len() >= most && !watched.contains_key(uri) {
            return Err(ErrorObject::invalid_params(format!(
                "This session watches {most} resources, which is the most; unsubscribe from some"
            )));
        }
        watched.entry(uri.into()).or_insert(charge);
        Ok(())
    }

    /// The array of its members' answers. Only revision 2025-03-26 has batches.
    #[inline(never)]
    pub(super) fn accept_batch(
        &self,
        members: &[&RawValue],
        footing: Result<Footing, Misplaced>,
        ingress: &Ingress<'_>,
        slot: AnswerSlot,
    ) -> Accepted {
        let most = self.shared.limits.batch_len_max;
        let refusal = Refusal {
            method: "batch",
            era: Era::Legacy,
            ..Refusal::new(&ingress.tag)
        };
        let port = |slot| AnswerPort::Outbox(slot);
        let message = match footing {
            Err(misplaced) => {
                refusal.misplaced(misplaced, port(slot));
                return Accepted::NothingToDo;
            }
            Ok(Footing::Legacy(session)) if session.version <= ProtocolVersion::V2025_03_26 => {
                if (1..=most).contains(&members.len()) {
                    let ports = split(slot, members.len(), ingress.tag.clone());
                    for (member, port) in members.iter().zip(ports) {
                        self.accept_member(member, &session, ingress, AnswerPort::Batch(port));
                    }
                    return Accepted::in_session(&session);
                }
                format!("A batch has 1 to {most} messages")
            }
            _ => "Batches exist only in revision 2025-03-26".into(),
        };
        refusal.send(&ErrorObject::invalid_request(message), port(slot));
        Accepted::NothingToDo
    }

    fn accept_member(
        &self,
        member: &RawValue,
        session: &Arc<Session>,
        ingress: &Ingress<'_>,
        port: AnswerPort,
    ) {
        match jsonrpc::parse_message(member.get().as_bytes()) {
            Ok(Message::Request(request, params)) => {
                let footing = Ok(Footing::Legacy(Arc::clone(session)));
                self.accept_request(request, params, footing, ingress, port);
            }
            Ok(Message::OneWay(message)) => self.take(message, Some(session), ingress),
            // What was read is one message.
            Ok(Message::Batch(_)) => {}
            Err(malformed) => ingress.refuse_malformed(&malformed, port),
        }
    }
}
