//! From a request that calls something to work on a lane: find what is called, open the call, submit it or refuse it now.
//!
//! Must not know how messages arrive or how answers travel.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::base::budget::Charge;
use crate::base::owner::Owner;
use crate::engine::background::NewJob;
use crate::engine::call::{Call, CallsInFlight, Facts};
use crate::engine::control::{Asking, Control};
use crate::engine::encode;
use crate::engine::errors::{lane_refused, over_budget, shutting_down};
use crate::engine::ingress::Via;
use crate::engine::lifecycle::Engine;
use crate::engine::planning::{Plan, Unplanned};
use crate::engine::reply::Asked;
use crate::engine::rounds::Retry;
use crate::engine::work::QueuedCall;
use crate::handler::client::{Client, ClientSource};
use crate::handler::control::RequestInfo;
use crate::handler::lenient::object_in_text;
use crate::handler::registration::{Callable, Reply};
use crate::lane::{RunningLane, WorkItem};
use crate::observe::access::Outcome;
use crate::protocol::errors::{ErrorObject, shortened};
use crate::protocol::meta::Params;
use crate::protocol::method::Method;
use crate::protocol::param_headers::{Field, HeaderFields};
use crate::protocol::results::Completion;
use crate::protocol::text::Text;
use crate::protocol::trace::TraceContext;
use crate::protocol::types::{CallToolResult, LoggingLevel};
use crate::protocol::version::{Era, ProtocolVersion};

/// What a call costs without arguments, in bytes.
const CALL_BYTES: usize = 1024;

/// What waits for a worker or runs is charged above this size. Below it the bounds of the queues are enough, and a small call touches no account, which
/// all share.
const FREE_CALL_BYTES: usize = 4 * 1024;

/// Who calls, as far as its era tells.
pub(super) struct Caller<'a> {
    pub(super) client: ClientSource,
    pub(super) log_level: Option<LoggingLevel>,
    /// Where its calls can be found by their ids.
    pub(super) registry: Option<&'a Arc<CallsInFlight>>,
    pub(super) owner: Owner,
    pub(super) asking: Asking,
    /// Where a tool's parameters may be mirrored.
    pub(super) fields: Option<&'a dyn HeaderFields>,
    /// What its HTTP request has, if it came so.
    pub(super) headers: Option<&'a dyn HeaderFields>,
}

impl<'a> Caller<'a> {
    pub(super) fn modern(params: &Params<'_>, via: &'a Via<'_>) -> Self {
        let meta = params.meta.as_ref();
        Caller {
            client: ClientSource::Request(Client::new(
                meta.and_then(|meta| meta.client_info),
                meta.and_then(|meta| meta.client_capabilities),
                ProtocolVersion::V2026_07_28,
            )),
            log_level: meta.and_then(|meta| meta.log_level),
            registry: via.calls(),
            owner: via.owner(),
            asking: Asking::Rounds,
            fields: via.fields(),
            headers: via.fields(),
        }
    }
}

/// What a request calls.
pub(super) struct Callee {
    pub(super) callable: Arc<Callable>,
    /// What the client named.
    pub(super) named: Arc<str>,
    pub(super) arguments: Option<Box<RawValue>>,
}

impl Engine {
    /// The header fields that handlers may see.
    fn wanted_headers(&self, fields: Option<&dyn HeaderFields>) -> Vec<(Arc<str>, Box<str>)> {
        let wanted = self.shared.request_headers.iter();
        let found = |name: &Arc<str>| match fields?.field(name) {
            Field::One(value) => Some((Arc::clone(name), value.into())),
            Field::Absent | Field::Repeated => None,
        };
        wanted.filter_map(found).collect()
    }

    /// Finds what a request calls, opens the call and hands it to the lane. It comes back if it is under way.
    pub(super) fn call(
        &self,
        method: Method,
        asked: Asked<'_>,
        caller: Caller<'_>,
    ) -> Option<Arc<Call>> {
        let bytes = Some(kept_bytes(&asked.params)).filter(|bytes| *bytes > FREE_CALL_BYTES);
        let kept = bytes.map(|bytes| self.shared.memory.charge(bytes));
        let kept = match kept.transpose() {
            Ok(kept) => kept,
            Err(account) => {
                asked.fail(&over_budget(account));
                return None;
            }
        };
        let (found, plan) = match self.prepare(method, &asked, &caller) {
            Ok(prepared) => prepared,
            Err(unplanned) => {
                self.tell_unplanned(unplanned, asked);
                return None;
            }
        };
        let lane = &self.lanes[found.callable.lane];
        let queued = self.open_call(method, found, asked, caller, lane, kept)?;
        let call = Arc::clone(&queued.responder.0);
        self.carry_out(plan, lane, queued).then_some(call)
    }

    /// Finds the callable, and how it is to be called.
    fn prepare(
        &self,
        method: Method,
        asked: &Asked<'_>,
        caller: &Caller<'_>,
    ) -> Result<(Callee, Plan), Unplanned> {
        let mut found = self.look_up(method, &asked.params, asked.era, caller.fields)?;
        let plan = match method {
            Method::ToolsCall => {
                let Callee {
                    callable,
                    arguments,
                    ..
                } = &mut found;
                let (params, owner) = (&asked.params, &caller.owner);
                self.shared
                    .plan(callable, arguments, params, owner, asked.era)?
            }
            _ => Plan::Lane,
        };
        Ok((found, plan))
    }

    /// Opens the call, with what its worker needs. `None` when it has been refused.
    fn open_call(
        &self,
        method: Method,
        found: Callee,
        asked: Asked<'_>,
        caller: Caller<'_>,
        lane: &RunningLane<QueuedCall>,
        kept: Option<Charge>,
    ) -> Option<QueuedCall> {
        let retry = Retry::read(&asked.params, asked.era, &self.shared.rounds);
        let trace = asked.params.meta.as_ref().and_then(TraceContext::read);
        let tag = asked.tag.clone();
        let (facts, port, params) = asked.into_call(caller.owner);
        let facts = Facts {
            name: Some(Arc::clone(&found.callable.name)),
            lane: Some(Arc::clone(lane.name())),
            ..facts
        };
        let call = Call::new(facts, found.callable.liveness, port).registered(caller.registry)?;
        let info = RequestInfo {
            tag,
            target: found.named,
            client: caller.client,
            trace,
            progress_token: params.meta.and_then(|meta| meta.progress_token),
            headers: self.wanted_headers(caller.headers),
            log_level: caller.log_level,
        };
        let asking = match (method, caller.asking) {
            (Method::Complete, _) => Asking::Never,
            // It would wait on the thread that is to read the answer.
            (_, Asking::Session(_)) if found.callable.desk.is_inline => Asking::Never,
            (_, asking) => asking,
        };
        let control = Control::new(call, info, asking, lane.waits(), &self.shared);
        let mut queued = QueuedCall::new(control, found.callable, found.arguments);
        queued.handler_call.retry = retry;
        queued.handler_call.kept = kept;
        Some(queued)
    }

    /// Carries a call out as planned. Says whether it is under way.
    fn carry_out(
        &self,
        plan: Plan,
        lane: &RunningLane<QueuedCall>,
        mut queued: QueuedCall,
    ) -> bool {
        match plan {
            Plan::Lane => self.submit(lane, queued),
            Plan::Workspace(key, access) => match lane.ticket() {
                Some(ticket) => self.starter().enter(queued, ticket, &key, access),
                None => {
                    queued.responder.0.fail(&shutting_down(), Outcome::Refused);
                    false
                }
            },
            Plan::Job(new) => match &new.callable.before_job {
                None => {
                    self.starter().order(&queued.responder.0, *new);
                    false
                }
                Some(before) => {
                    let starter = self.starter();
                    queued.handler_call.callable = Arc::clone(before);
                    queued.then = Some(Box::new(move |call, carried| {
                        starter.order(call, NewJob { carried, ..*new });
                    }));
                    self.submit(lane, queued)
                }
            },
            Plan::Here => {
                queued.run();
                false
            }
            Plan::WhenChanged(id, changes, until) => {
                let most = self.shared.limits.exchanges_max;
                let desk = &self.shared.desk;
                let jobs = desk.jobs.clone();
                let seen = Arc::clone(&id);
                let is_news = move || jobs.is_none_or(|jobs| jobs.changes(&seen) != Some(changes));
                let run = Box::new(move || {
                    queued.run();
                });
                desk.watch.park(id, until, most, is_news, run);
                true
            }
        }
    }

    pub(super) fn tell_unplanned(&self, unplanned: Unplanned, asked: Asked<'_>) {
        let reply = match unplanned {
            Unplanned::Error(error) => return asked.fail(&error),
            Unplanned::Problem(problem) => Reply::Tool(CallToolResult::error(problem)),
            Unplanned::Nothing => Reply::Completion(Completion::default()),
        };
        let result = encode::result(&reply, asked.era, &self.shared.identity.server_info);
        asked.answer(&result);
    }

    fn look_up(
        &self,
        method: Method,
        params: &Params<'_>,
        era: Era,
        fields: Option<&dyn HeaderFields>,
    ) -> Result<Callee, Unplanned> {
        match method {
            Method::ResourcesRead => {
                let uri = named("uri", params.uri.as_ref())?;
                let found = self.shared.catalogue.resource(uri);
                let found = found.ok_or_else(|| ErrorObject::no_resource(uri).in_era(era))?;
                Ok(Callee {
                    callable: found.callable,
                    named: uri.into(),
                    arguments: found.variables,
                })
            }
            Method::Complete => self.find_completer(params),
            _ => {
                let name = named("name", params.name.as_ref())?;
                let in_text = params.arguments.filter(|_| self.shared.lenient_arguments);
                let in_text = in_text.and_then(object_in_text);
                let arguments = in_text.as_deref().or(params.arguments);
                let (what, found) = match method {
                    Method::PromptsGet => ("prompt", self.shared.catalogue.prompt(name)),
                    _ => ("tool", self.shared.catalogue.tool(name)),
                };
                let callable = found.ok_or_else(|| unknown(what, name))?;
                if let (Some(mirrors), Some(fields)) = (&callable.mirrors, fields) {
                    mirrors.check(arguments, &|name| fields.field(name))?;
                }
                if arguments.is_some_and(|arguments| !arguments.get().starts_with('{')) {
                    return Err(ErrorObject::invalid_params("`arguments` must be an object").into());
                }
                Ok(Callee {
                    named: Arc::clone(&callable.name),
                    callable,
                    arguments: arguments.map(ToOwned::to_owned),
                })
            }
        }
    }

    /// Hands a call to its lane, or refuses it now. Either way the call ends exactly once.
    fn submit(&self, lane: &RunningLane<QueuedCall>, queued: QueuedCall) -> bool {
        let Err((refusal, queued)) = lane.try_submit(queued) else {
            return true;
        };
        // Answered before the call is dropped, or its responder would report it as lost.
        let error = lane_refused(refusal, lane.name());
        queued.responder.0.fail(&error, Outcome::Refused);
        false
    }
}

/// What is kept of a request until it has been executed, in bytes.
fn kept_bytes(params: &Params<'_>) -> usize {
    let meta = params.meta.as_ref();
    let raw = [
        params.arguments,
        params.input_responses,
        meta.and_then(|meta| meta.client_info),
        meta.and_then(|meta| meta.client_capabilities),
    ];
    let raw = raw.into_iter().flatten().map(|raw| raw.get().len());
    let state = params.request_state.as_ref();
    CALL_BYTES + raw.sum::<usize>() + state.map_or(0, |state| state.0.len())
}

pub(super) fn named<'a>(member: &str, text: Option<&'a Text<'_>>) -> Result<&'a str, ErrorObject> {
    let missing = || ErrorObject::invalid_params(format!("`{member}` is missing"));
    text.map(|text| &*text.0).ok_or_else(missing)
}

pub(super) fn unknown(what: &str, name: &str) -> ErrorObject {
    ErrorObject::invalid_params(format!("Unknown {what}: {}", shortened(name)))
}
