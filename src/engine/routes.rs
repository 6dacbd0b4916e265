//! What each method does: answered at once by the calling thread, or sent to a lane.
//!
//! One table an era, grouped by where a method runs. Cheap methods must never wait for a handler; only `tools/call` goes to a lane. Must not
//! know how messages arrive or how answers travel.

use std::sync::{Arc, OnceLock};

use serde_json::json;
use serde_json::value::RawValue;

use crate::access::Outcome;
use crate::engine::call_job::CallJob;
use crate::engine::in_flight::{Call, InFlight, Opening, Responder};
use crate::engine::lane::Refused;
use crate::engine::legacy::{Session, negotiate};
use crate::engine::reply::{Asked, Refusal};
use crate::engine::{Accepted, Arrival, Engine, Origin, RegisteredTool, shutting_down};
use crate::handler::context::{Client, ClientSource, RequestInfo};
use crate::outbox::Standing;
use crate::protocol::jsonrpc::{ErrorCode, ErrorObject, shortened};
use crate::protocol::meta::Params;
use crate::protocol::method::{Method, UNKNOWN};
use crate::protocol::types::LoggingLevel;
use crate::protocol::version::Era;

/// The longest introduction a session keeps of its client, in bytes.
const INTRODUCTION_BYTES_MAX: usize = 64 * 1024;

impl Engine {
    /// The table of the modern era.
    pub(super) fn serve_modern(
        &self,
        method: Method,
        asked: Asked<'_>,
        arrival: &Arrival<'_>,
    ) -> Accepted {
        match method {
            // Answered at once.
            Method::Discover => asked.answer(method, &self.identity.discover),
            Method::ToolsList => self.list_tools(asked),
            // To the tool's lane.
            Method::ToolsCall => {
                let registry = match &arrival.origin {
                    Origin::Pipe(pipe) => Some(&pipe.calls),
                    Origin::Http { .. } => None,
                };
                let meta = asked.params.meta.as_ref();
                let client = ClientSource::Request {
                    info: meta
                        .and_then(|meta| meta.client_info)
                        .map(ToOwned::to_owned),
                    capabilities: meta
                        .and_then(|meta| meta.client_capabilities)
                        .map(ToOwned::to_owned),
                    parsed: OnceLock::new(),
                };
                let log_level = meta.and_then(|meta| meta.log_level);
                let call = self.call_tool(asked, client, log_level, registry);
                return Accepted {
                    call,
                    ..Accepted::default()
                };
            }
            // Not of this era; `admit` has refused them.
            Method::Initialize | Method::Ping | Method::SetLevel => {
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
        match method {
            // Answered at once.
            Method::Ping => asked.answer(method, b"{}"),
            Method::ToolsList => self.list_tools(asked),
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
            // To the tool's lane.
            Method::ToolsCall => {
                let client = ClientSource::Session(Arc::clone(&session.client));
                self.call_tool(
                    asked,
                    client,
                    Some(session.log_level()),
                    Some(&session.calls),
                );
            }
            Method::Initialize | Method::Discover => {
                asked.fail(
                    method.name(),
                    &ErrorObject::invalid_request("This session is initialized already"),
                );
            }
        }
    }

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
        let Some(requested) = &asked.params.protocol_version else {
            asked.fail(
                "initialize",
                &ErrorObject::invalid_params("`protocolVersion` is missing"),
            );
            return Accepted::default();
        };
        let introduction = [asked.params.client_info, asked.params.capabilities];
        if introduction
            .into_iter()
            .flatten()
            .map(|raw| raw.get().len())
            .sum::<usize>()
            > INTRODUCTION_BYTES_MAX
        {
            let message = "`clientInfo` and `capabilities` are longer than 64 KiB";
            asked.fail("initialize", &ErrorObject::invalid_params(message));
            return Accepted::default();
        }
        let version = negotiate(&requested.0);
        let client = Client::from_raw(asked.params.client_info, asked.params.capabilities, version);
        let opened = match &arrival.origin {
            Origin::Pipe(pipe) => {
                let session = Session::new(client, Arc::clone(&pipe.calls), &self.limits);
                pipe.begin_session(session, asked.slot.outbox().cloned());
                None
            }
            Origin::Http { .. } => {
                match self
                    .sessions
                    .open(Session::new(client, Arc::default(), &self.limits))
                {
                    Some(id) => Some(id),
                    None => {
                        let message =
                            "As many sessions as there may be are all busy; try again later";
                        asked.fail(
                            "initialize",
                            &ErrorObject::new(ErrorCode::OVERLOADED, message),
                        );
                        return Accepted::default();
                    }
                }
            }
        };
        asked.answer(Method::Initialize, &self.identity.initialize(version));
        Accepted {
            opened,
            ..Accepted::default()
        }
    }

    fn list_tools(&self, asked: Asked<'_>) {
        let cursor = asked.params.cursor.as_ref().map(|cursor| &*cursor.0);
        match self.catalogue.page(cursor, asked.era) {
            Some(page) => asked.answer(Method::ToolsList, page),
            None => {
                let error = ErrorObject::invalid_params("Invalid cursor; start again without one");
                asked.fail(Method::ToolsList.name(), &error);
            }
        }
    }

    /// Finds the tool a call names, opens the call and hands it to the tool's lane. It comes back if it is under way.
    fn call_tool(
        &self,
        asked: Asked<'_>,
        client: ClientSource,
        log_level: Option<LoggingLevel>,
        registry: Option<&Arc<InFlight>>,
    ) -> Option<Arc<Call>> {
        let tool = match self.find_tool(&asked.params) {
            Ok(tool) => Arc::clone(tool),
            Err(error) => {
                asked.fail(Method::ToolsCall.name(), &error);
                return None;
            }
        };
        let Asked {
            id,
            params,
            slot,
            tag,
            era,
        } = asked;
        let progress_token = params.meta.and_then(|meta| meta.progress_token);
        let opening = Opening {
            id,
            era,
            tool: Arc::clone(&tool.name),
            lane: Arc::clone(self.lanes[tool.lane].name()),
            info: RequestInfo {
                tag: tag.clone(),
                client,
                progress_token,
                log_level,
            },
            engine: self.me.clone(),
        };
        match Call::open(opening, slot, registry) {
            Ok(call) => self.submit(call, tool, params.arguments.map(ToOwned::to_owned)),
            Err((id, slot)) => {
                let method = Method::ToolsCall.name();
                let refusal = Refusal {
                    tag,
                    id: Some(&id),
                    method,
                    era,
                    standing: Standing::Malformed,
                };
                let error =
                    ErrorObject::invalid_request("A request with this `id` is still in flight");
                refusal.send(&error, slot);
                None
            }
        }
    }

    fn find_tool(&self, params: &Params<'_>) -> Result<&Arc<RegisteredTool>, ErrorObject> {
        let name = &params
            .name
            .as_ref()
            .ok_or_else(|| ErrorObject::invalid_params("`name` is missing"))?
            .0;
        if params
            .arguments
            .is_some_and(|arguments| !arguments.get().starts_with('{'))
        {
            return Err(ErrorObject::invalid_params("`arguments` must be an object"));
        }
        let unknown = || ErrorObject::invalid_params(format!("Unknown tool: {}", shortened(name)));
        self.catalogue.tool(name).ok_or_else(unknown)
    }

    /// Hands a call to its lane, or refuses it now. Either way the call ends exactly once.
    fn submit(
        &self,
        call: Arc<Call>,
        tool: Arc<RegisteredTool>,
        arguments: Option<Box<RawValue>>,
    ) -> Option<Arc<Call>> {
        if self.is_draining() {
            call.fail(&shutting_down(), Outcome::Refused);
            return None;
        }
        let lane = &self.lanes[tool.lane];
        let responder = Responder(Arc::clone(&call));
        let identity = Arc::clone(&self.identity);
        let (error, _job) = match lane.try_submit(CallJob {
            responder,
            tool,
            arguments,
            identity,
        }) {
            Ok(()) => return Some(call),
            Err(Refused::Full(job)) => {
                let message = format!("The lane `{}` is full; try again in a second", lane.name());
                let error = ErrorObject::new(ErrorCode::OVERLOADED, message)
                    .with_data(json!({ "lane": &**lane.name(), "retryAfterMs": 1000 }));
                (error, job)
            }
            Err(Refused::Closed(job)) => (shutting_down(), job),
        };
        // The job is dropped only after the call has its answer, or its responder would report it as lost.
        call.fail(&error, Outcome::Refused);
        None
    }
}
