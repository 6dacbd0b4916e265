//! The routing of one message: who answers it, and where.
//!
//! Grouped by where it runs. Cheap methods are answered at once by the calling thread, because they must never wait for a handler; only
//! `tools/call` goes to a lane. Must not know how an answer is sent.

use std::sync::{Arc, OnceLock};

use serde_json::json;
use serde_json::value::RawValue;

use crate::access::{Access, Outcome, RequestTag};
use crate::engine::batch::{ReplySlot, split};
use crate::engine::call_job::CallJob;
use crate::engine::in_flight::{Call, Opening, Responder};
use crate::engine::lane::Refused;
use crate::engine::legacy::{Session, negotiate};
use crate::engine::{Accepted, Arrival, Engine, Origin, shutting_down};
use crate::handler::context::{Client, ClientSource, RequestInfo};
use crate::outbox::{Answer, AnswerSlot, Standing};
use crate::protocol::jsonrpc::{
    self, ErrorCode, ErrorObject, Frame, Malformed, Message, Notification, Request, RequestId,
    shortened,
};
use crate::protocol::meta::Params;
use crate::protocol::method::Method;
use crate::protocol::modern;
use crate::protocol::version::{Era, ProtocolVersion};

/// Which rules a message is served under.
enum Rules {
    Modern,
    Legacy(Arc<Session>),
    /// `initialize`, or a `ping` before it.
    Handshake,
    /// It names a session that does not exist.
    UnknownSession,
    /// A handshake-era request without the session it needs.
    NoSession,
}

/// One request with its parameters and the place for its answer.
struct Asked<'a> {
    id: RequestId,
    params: Params<'a>,
    slot: ReplySlot,
    tag: &'a RequestTag,
    era: Era,
}

impl Engine {
    /// Takes one body or line. Never blocks: whatever might take time goes to a lane, and the answer, if there is one, comes through
    /// the slot's outbox.
    pub(crate) fn accept(
        &self,
        bytes: &[u8],
        tag: RequestTag,
        origin: Origin<'_>,
        slot: AnswerSlot,
    ) -> Accepted {
        let arrival = Arrival { tag, origin };
        match jsonrpc::parse_frame(bytes, self.limits.json_depth_max) {
            Ok(Frame::One(message)) => {
                self.accept_message(message, &arrival, ReplySlot::Single(slot))
            }
            Ok(Frame::Batch(members)) => self.accept_batch(&members, &arrival, slot),
            Err(malformed) => refuse_malformed(&arrival.tag, malformed, ReplySlot::Single(slot)),
        }
    }

    /// A batch is the array of its members' answers. Only revision 2025-03-26 has them.
    fn accept_batch(
        &self,
        members: &[&RawValue],
        arrival: &Arrival<'_>,
        slot: AnswerSlot,
    ) -> Accepted {
        let refuse = |standing, message: String, slot| {
            let error = ErrorObject::invalid_request(message);
            refuse(
                &arrival.tag,
                None,
                &error,
                standing,
                Era::Legacy,
                "batch",
                ReplySlot::Single(slot),
            )
        };
        let session = match self.rules("batch", &Params::default(), arrival) {
            Rules::Legacy(session) if session.version == ProtocolVersion::V2025_03_26 => session,
            Rules::UnknownSession => {
                return refuse(Standing::UnknownSession, UNKNOWN_SESSION.into(), slot);
            }
            _ => {
                return refuse(
                    Standing::Malformed,
                    "Batches exist only in revision 2025-03-26".into(),
                    slot,
                );
            }
        };
        let most = self.limits.batch_len_max;
        if members.is_empty() || members.len() > most {
            return refuse(
                Standing::Malformed,
                format!("A batch has 1 to {most} messages"),
                slot,
            );
        }
        let places = split(slot, members.len(), arrival.tag.clone());
        for (member, place) in members.iter().zip(places) {
            match jsonrpc::parse_message(member.get().as_bytes()) {
                Ok(Message::Request(request)) => {
                    self.accept_legacy(request, &session, arrival, place)
                }
                Ok(Message::Notification(notification)) => {
                    self.notified(&notification, Some(&session), arrival)
                }
                Ok(Message::Response) => {}
                Err(malformed) => {
                    refuse_malformed(&arrival.tag, malformed, place);
                }
            }
        }
        Accepted::default()
    }

    fn accept_legacy(
        &self,
        request: Request<'_>,
        session: &Arc<Session>,
        arrival: &Arrival<'_>,
        slot: ReplySlot,
    ) {
        match Params::parse(request.params) {
            Ok(params) => {
                let asked = Asked {
                    id: request.id,
                    params,
                    slot,
                    tag: &arrival.tag,
                    era: Era::Legacy,
                };
                self.serve_legacy(&request.method, asked, session);
            }
            Err(error) => {
                let method = request.method.into_owned();
                refuse(
                    &arrival.tag,
                    Some(&request.id),
                    &error,
                    Standing::Served,
                    Era::Legacy,
                    method,
                    slot,
                );
            }
        }
    }

    fn accept_message(
        &self,
        message: Message<'_>,
        arrival: &Arrival<'_>,
        slot: ReplySlot,
    ) -> Accepted {
        match message {
            Message::Request(request) => self.accept_request(request, arrival, slot),
            Message::Notification(notification) => {
                let session = match self.rules(&notification.method, &Params::default(), arrival) {
                    Rules::Legacy(session) => Some(session),
                    Rules::UnknownSession => {
                        return refuse_unknown_session(&arrival.tag, None, "notification", slot);
                    }
                    _ => None,
                };
                self.notified(&notification, session.as_ref(), arrival);
                Accepted::default()
            }
            Message::Response => match self.rules("response", &Params::default(), arrival) {
                Rules::UnknownSession => {
                    refuse_unknown_session(&arrival.tag, None, "response", slot)
                }
                _ => Accepted::default(),
            },
        }
    }

    fn accept_request(
        &self,
        request: Request<'_>,
        arrival: &Arrival<'_>,
        slot: ReplySlot,
    ) -> Accepted {
        let Request { id, method, params } = request;
        let refuse = |error: &ErrorObject, era, slot| {
            let method = shortened(&method).into_owned();
            refuse(
                &arrival.tag,
                Some(&id),
                error,
                Standing::Malformed,
                era,
                method,
                slot,
            )
        };
        let params = match Params::parse(params) {
            Ok(params) => params,
            Err(error) => return refuse(&error, Era::Modern, slot),
        };
        match self.rules(&method, &params, arrival) {
            Rules::Modern => {
                let mirrored = match &arrival.origin {
                    Origin::Http { mirrored, .. } => Some(mirrored),
                    Origin::Pipe(_) => None,
                };
                match modern::admit(&method, &params, mirrored) {
                    Ok(method) => {
                        let asked = Asked {
                            id,
                            params,
                            slot,
                            tag: &arrival.tag,
                            era: Era::Modern,
                        };
                        self.serve_modern(method, asked, arrival)
                    }
                    Err(error) => refuse(&error, Era::Modern, slot),
                }
            }
            Rules::Legacy(session) => {
                let asked = Asked {
                    id,
                    params,
                    slot,
                    tag: &arrival.tag,
                    era: Era::Legacy,
                };
                self.serve_legacy(&method, asked, &session);
                Accepted::default()
            }
            Rules::Handshake => {
                let asked = Asked {
                    id,
                    params,
                    slot,
                    tag: &arrival.tag,
                    era: Era::Legacy,
                };
                self.shake_hands(&method, asked, arrival)
            }
            Rules::UnknownSession => {
                refuse_unknown_session(&arrival.tag, Some(&id), method.into_owned(), slot)
            }
            Rules::NoSession => {
                let error = ErrorObject::invalid_request(
                    "Send `initialize` first, then its Mcp-Session-Id with every request",
                );
                refuse(&error, Era::Legacy, slot)
            }
        }
    }

    /// The era of a message. Modern metadata always makes it modern; then the session it names, the version it names, or the
    /// handshake it is makes it legacy. Specification: `basic/versioning` ("Backward Compatibility").
    fn rules(&self, method: &str, params: &Params<'_>, arrival: &Arrival<'_>) -> Rules {
        if params.is_modern() {
            return Rules::Modern;
        }
        let is_handshake = method == "initialize";
        match &arrival.origin {
            Origin::Pipe(pipe) => match pipe.session() {
                _ if is_handshake => Rules::Handshake,
                Some(session) => Rules::Legacy(session),
                None if method == "ping" => Rules::Handshake,
                None => Rules::Modern,
            },
            Origin::Http {
                mirrored,
                session_id,
            } => {
                let version = mirrored.version.map(ProtocolVersion::parse);
                let is_legacy =
                    matches!(version, Some(Some(version)) if version.era() == Era::Legacy);
                match session_id {
                    _ if is_handshake && (is_legacy || version.is_none()) => Rules::Handshake,
                    Some(id) => self
                        .sessions
                        .find(id)
                        .map_or(Rules::UnknownSession, Rules::Legacy),
                    None if is_legacy => Rules::NoSession,
                    None => Rules::Modern,
                }
            }
        }
    }

    /// The table of the modern era.
    fn serve_modern(&self, method: Method, asked: Asked<'_>, arrival: &Arrival<'_>) -> Accepted {
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
    fn serve_legacy(&self, method: &str, asked: Asked<'_>, session: &Arc<Session>) {
        let Some(method) = Method::find(method, Era::Legacy) else {
            return asked.fail(&shortened(method), &ErrorObject::method_not_found(method));
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
    fn shake_hands(&self, method: &str, asked: Asked<'_>, arrival: &Arrival<'_>) -> Accepted {
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
        let version = negotiate(&requested.0);
        let client = Client::from_raw(asked.params.client_info, asked.params.capabilities, version);
        let opened = match &arrival.origin {
            Origin::Pipe(pipe) => {
                let session = Session::new(client, Arc::clone(&pipe.calls));
                *pipe
                    .session
                    .lock()
                    .expect("no code panics while it holds the pipe's session") =
                    Some(Arc::new(session));
                None
            }
            Origin::Http { .. } => {
                let opened = self.sessions.open(Session::new(client, Arc::default()));
                if opened.is_none() {
                    let message = "As many sessions as there may be are all busy; try again later";
                    asked.fail(
                        "initialize",
                        &ErrorObject::new(ErrorCode::OVERLOADED, message),
                    );
                    return Accepted::default();
                }
                opened
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

    /// Opens a call and hands it to its lane. The call comes back if it is under way.
    fn call_tool(
        &self,
        asked: Asked<'_>,
        client: ClientSource,
        log_level: Option<crate::protocol::types::LoggingLevel>,
        registry: Option<&Arc<crate::engine::in_flight::InFlight>>,
    ) -> Option<Arc<Call>> {
        let Some(name) = &asked.params.name else {
            asked.fail(
                "tools/call",
                &ErrorObject::invalid_params("`name` is missing"),
            );
            return None;
        };
        let Some(tool) = self.catalogue.tool(&name.0) else {
            let error =
                ErrorObject::invalid_params(format!("Unknown tool: {}", shortened(&name.0)));
            asked.fail("tools/call", &error);
            return None;
        };
        if asked
            .params
            .arguments
            .is_some_and(|arguments| !arguments.get().starts_with('{'))
        {
            asked.fail(
                "tools/call",
                &ErrorObject::invalid_params("`arguments` must be an object"),
            );
            return None;
        }
        let lane = &self.lanes[tool.lane];
        let Asked {
            id,
            params,
            slot,
            tag,
            era,
        } = asked;
        let progress_token = params.meta.and_then(|meta| meta.progress_token);
        let info = RequestInfo {
            tag: tag.clone(),
            client,
            progress_token,
            log_level,
        };
        let (tool_name, lane_name) = (Arc::clone(&tool.name), Arc::clone(lane.name()));
        let opening = Opening {
            id,
            era,
            tool: tool_name,
            lane: lane_name,
            info,
            engine: self.me.clone(),
        };
        let call = match Call::open(opening, slot, registry) {
            Ok(call) => call,
            Err((id, slot)) => {
                let error =
                    ErrorObject::invalid_request("A request with this `id` is still in flight");
                refuse(
                    tag,
                    Some(&id),
                    &error,
                    Standing::Malformed,
                    era,
                    "tools/call",
                    slot,
                );
                return None;
            }
        };
        if self.is_draining() {
            call.fail(&shutting_down(), Outcome::Refused);
            return None;
        }
        let job = CallJob {
            responder: Responder(Arc::clone(&call)),
            tool: Arc::clone(tool),
            arguments: params.arguments.map(ToOwned::to_owned),
            identity: Arc::clone(&self.identity),
        };
        match lane.try_submit(job) {
            Ok(()) => Some(call),
            Err(Refused::Full(_)) => {
                let message = format!("The lane `{}` is full; try again in a second", lane.name());
                let error = ErrorObject::new(ErrorCode::OVERLOADED, message)
                    .with_data(json!({ "lane": &**lane.name(), "retryAfterMs": 1000 }));
                call.fail(&error, Outcome::Refused);
                None
            }
            Err(Refused::Closed(_)) => {
                call.fail(&shutting_down(), Outcome::Refused);
                None
            }
        }
    }

    /// Notifications never have an answer; one that means nothing here is ignored.
    fn notified(
        &self,
        notification: &Notification<'_>,
        session: Option<&Arc<Session>>,
        arrival: &Arrival<'_>,
    ) {
        if notification.method != "notifications/cancelled" {
            return;
        }
        let calls = match (&arrival.origin, session) {
            (Origin::Pipe(pipe), _) => &pipe.calls,
            (_, Some(session)) => &session.calls,
            // A modern HTTP client cancels by closing the stream.
            (Origin::Http { .. }, None) => return,
        };
        if let Ok(Params {
            request_id: Some(id),
            reason,
            ..
        }) = Params::parse(notification.params)
        {
            let reason = reason.as_ref().map_or("", |reason| &*reason.0);
            calls.cancel(&id, &shortened(reason));
        }
    }
}

impl Asked<'_> {
    /// Answers with a result that has been rendered already.
    fn answer(self, method: Method, result: &[u8]) {
        let mut body = Vec::with_capacity(64 + result.len());
        jsonrpc::open_result(&mut body, &self.id);
        body.extend_from_slice(result);
        jsonrpc::close_response(&mut body);
        let access = Access::immediate(self.tag.clone(), method.name(), Outcome::Ok);
        self.slot.send(Answer {
            body,
            error: None,
            standing: Standing::Served,
            era: self.era,
            access,
        });
    }

    fn fail(self, method: &str, error: &ErrorObject) {
        refuse(
            self.tag,
            Some(&self.id),
            error,
            Standing::Served,
            self.era,
            method.to_owned(),
            self.slot,
        );
    }
}

const UNKNOWN_SESSION: &str = "No such session; send `initialize` to open a new one";

fn refuse_unknown_session(
    tag: &RequestTag,
    id: Option<&RequestId>,
    method: impl Into<std::borrow::Cow<'static, str>>,
    slot: ReplySlot,
) -> Accepted {
    let error = ErrorObject::invalid_request(UNKNOWN_SESSION);
    refuse(
        tag,
        id,
        &error,
        Standing::UnknownSession,
        Era::Legacy,
        method,
        slot,
    )
}

fn refuse_malformed(tag: &RequestTag, malformed: Malformed, slot: ReplySlot) -> Accepted {
    let Malformed { id, error } = malformed;
    refuse(
        tag,
        id.as_ref(),
        &error,
        Standing::Malformed,
        Era::Modern,
        "-",
        slot,
    )
}

fn refuse(
    tag: &RequestTag,
    id: Option<&RequestId>,
    error: &ErrorObject,
    standing: Standing,
    era: Era,
    method: impl Into<std::borrow::Cow<'static, str>>,
    slot: ReplySlot,
) -> Accepted {
    let outcome = if error.code == ErrorCode::OVERLOADED {
        Outcome::Refused
    } else {
        Outcome::Error
    };
    let access = Access::immediate(tag.clone(), method, outcome);
    let body = jsonrpc::error_response(id, error);
    slot.send(Answer {
        body,
        error: Some(error.code),
        standing,
        era,
        access,
    });
    Accepted::default()
}
