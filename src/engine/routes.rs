//! What each method does: answered at once by the calling thread, or sent to a lane.
//!
//! One table an era, grouped by where a method runs. Cheap methods must never wait for a handler; only what runs one goes to a lane (see
//! `calls`). Must not know how messages arrive or how answers travel.

use std::sync::Arc;

use crate::engine::calls::Caller;
use crate::engine::identity::Capabilities;
use crate::engine::origin::Arrival;
use crate::engine::reply::Asked;
use crate::engine::{Accepted, Engine};
use crate::legacy::Session;
use crate::protocol::jsonrpc::ErrorObject;
use crate::protocol::method::{Method, UNKNOWN};
use crate::protocol::version::Era;

impl Engine {
    /// The table of the modern era.
    pub(super) fn serve_modern(
        &self,
        method: Method,
        asked: Asked<'_>,
        arrival: &Arrival<'_>,
    ) -> Accepted {
        if !self.offers(method) {
            asked.fail(method.name(), &ErrorObject::method_not_found(method.name()));
            return Accepted::default();
        }
        match method {
            // Answered at once.
            Method::Discover => asked.answer(method, &self.identity.discover(self.capabilities())),
            Method::ToolsList
            | Method::PromptsList
            | Method::ResourcesList
            | Method::TemplatesList => self.list(method, asked),
            // To the lane of what is called.
            Method::ToolsCall | Method::PromptsGet | Method::ResourcesRead | Method::Complete => {
                let caller = Caller::modern(&asked.params, &arrival.origin);
                let call = self.call(method, asked, caller);
                return Accepted {
                    call,
                    ..Accepted::default()
                };
            }
            // Stays open without a worker.
            Method::Listen => {
                return Accepted {
                    call: self.listen(asked, &arrival.origin),
                    ..Accepted::default()
                };
            }
            // Not of this era; `admit` has refused them.
            Method::Initialize
            | Method::Ping
            | Method::SetLevel
            | Method::Subscribe
            | Method::Unsubscribe => {
                asked.fail(method.name(), &ErrorObject::method_not_found(method.name()));
            }
        }
        Accepted::default()
    }

    /// The table of the handshake era.
    pub(super) fn serve_legacy(&self, method: &str, asked: Asked<'_>, session: &Arc<Session>) {
        let Some(method) = Method::find(method, Era::Legacy) else {
            return asked.fail(UNKNOWN, &ErrorObject::method_not_found(method));
        };
        if !self.offers(method) {
            return asked.fail(method.name(), &ErrorObject::method_not_found(method.name()));
        }
        match method {
            // Answered at once.
            Method::Ping => asked.answer(method, b"{}"),
            Method::ToolsList
            | Method::PromptsList
            | Method::ResourcesList
            | Method::TemplatesList => self.list(method, asked),
            Method::SetLevel => match asked.params.level {
                Some(level) => {
                    session.set_log_level(level);
                    asked.answer(method, b"{}");
                }
                None => asked.fail(
                    method.name(),
                    &ErrorObject::invalid_params("`level` is missing"),
                ),
            },
            Method::Subscribe => self.subscribe(asked, session),
            Method::Unsubscribe => self.unsubscribe(asked, session),
            // To the lane of what is called.
            Method::ToolsCall | Method::PromptsGet | Method::ResourcesRead | Method::Complete => {
                self.call(method, asked, Caller::legacy(session));
            }
            Method::Initialize | Method::Discover | Method::Listen => {
                asked.fail(
                    method.name(),
                    &ErrorObject::invalid_request("This session is initialized already"),
                );
            }
        }
    }

    pub(super) fn capabilities(&self) -> Capabilities {
        Capabilities {
            prompts: self.catalogue.has_prompts(),
            resources: self.catalogue.has_resources(),
            completions: self.catalogue.has_completers(),
        }
    }

    /// Whether the server has declared what the method belongs to; one of a capability that was not declared is as good as unknown. Specification:
    /// `schema` ("MethodNotFoundError") of revision 2026-07-28.
    fn offers(&self, method: Method) -> bool {
        match method {
            Method::PromptsList | Method::PromptsGet => self.catalogue.has_prompts(),
            Method::ResourcesList
            | Method::TemplatesList
            | Method::ResourcesRead
            | Method::Subscribe
            | Method::Unsubscribe => self.catalogue.has_resources(),
            Method::Complete => self.catalogue.has_completers(),
            _ => true,
        }
    }

    fn list(&self, method: Method, asked: Asked<'_>) {
        let cursor = asked.params.cursor.as_ref().map(|cursor| &*cursor.0);
        match self.catalogue.list(method).list.page(cursor, asked.era) {
            Some(page) => asked.answer(method, page),
            None => {
                let error = ErrorObject::invalid_params("Invalid cursor; start again without one");
                asked.fail(method.name(), &error);
            }
        }
    }
}
