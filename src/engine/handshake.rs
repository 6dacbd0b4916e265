//! `initialize`: what opens a session of the handshake era, and what is refused.
//!
//! Must not know what a session then does. Specification: `basic/lifecycle` of revision 2025-11-25.

use std::sync::Arc;

use crate::engine::Engine;
use crate::engine::origin::{Accepted, Arrival, Origin};
use crate::engine::reply::{Asked, over_budget};
use crate::handler::client::Client;
use crate::legacy::{Session, negotiate};
use crate::protocol::jsonrpc::ErrorObject;
use crate::protocol::meta::check_introduction;
use crate::protocol::method::Method;
use crate::protocol::version::ProtocolVersion;

impl Engine {
    /// `initialize`, and the `ping` that may come before it.
    pub(super) fn shake_hands(
        &self,
        method: &str,
        asked: Asked<'_>,
        arrival: &Arrival<'_>,
    ) -> Accepted {
        if method == "ping" {
            asked.answer(Method::Ping, b"{}");
            return Accepted::default();
        }
        match self.open_session(&asked, &arrival.origin) {
            Ok((version, opened)) => {
                asked.answer(
                    Method::Initialize,
                    &self.identity.initialize(version, self.capabilities()),
                );
                Accepted {
                    opened,
                    ..Accepted::default()
                }
            }
            Err(error) => {
                asked.fail("initialize", &error);
                Accepted::default()
            }
        }
    }

    /// Opens a session; over HTTP it has an id.
    fn open_session(
        &self,
        asked: &Asked<'_>,
        origin: &Origin<'_>,
    ) -> Result<(ProtocolVersion, Option<Arc<str>>), ErrorObject> {
        let requested = asked.params.protocol_version.as_ref();
        let requested =
            requested.ok_or_else(|| ErrorObject::invalid_params("`protocolVersion` is missing"))?;
        check_introduction(asked.params.client_info, asked.params.capabilities)?;
        let version = negotiate(&requested.0);
        let client = Client::new(asked.params.client_info, asked.params.capabilities, version);
        let calls = match origin {
            Origin::Pipe(pipe) => Arc::clone(&pipe.calls),
            Origin::Http { .. } => Arc::default(),
        };
        let session = Session::new(client, calls, &self.limits, &self.kept).map_err(over_budget)?;
        let opened = match origin {
            Origin::Pipe(pipe) => {
                let session = pipe.begin_session(session, asked.slot.outbox().cloned());
                self.sessions.add_on_pipe(&session);
                None
            }
            Origin::Http { .. } => Some(self.sessions.open(session).ok_or_else(|| {
                let message =
                    "The server has its maximum of sessions, and all are busy; try again later";
                ErrorObject::overloaded(message)
            })?),
        };
        Ok((version, opened))
    }
}
