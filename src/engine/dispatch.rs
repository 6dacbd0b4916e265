//! From a request that calls something to a job on a lane: find the target, open the call, submit it or refuse it now.
//!
//! Must not know how messages arrive or how answers travel.

use std::sync::{Arc, Mutex, OnceLock};

use serde_json::value::RawValue;

use crate::base::budget::Charge;
use crate::base::owner::Owner;
use crate::engine::background::NewJob;
use crate::engine::call::{Call, CallsInFlight, Responder, Runs};
use crate::engine::control::{Asking, Control};
use crate::engine::encode;
use crate::engine::execution::{CallJob, HandlerCall};
use crate::engine::lifecycle::Engine;
use crate::engine::origin::Origin;
use crate::engine::planning::{Plan, Unplanned};
use crate::engine::reply::{Asked, not_taken, over_budget, shutting_down};
use crate::engine::rounds::Retry;
use crate::handler::client::{Client, ClientSource};
use crate::handler::control::RequestInfo;
use crate::handler::lenient::object_in_text;
use crate::handler::registration::Target;
use crate::handler::reply::Reply;
use crate::lane::{Job, RunningLane};
use crate::observe::access::Outcome;
use crate::protocol::jsonrpc::{ErrorObject, Text, shortened};
use crate::protocol::meta::Params;
use crate::protocol::method::Method;
use crate::protocol::param_headers::{Field, HeaderFields};
use crate::protocol::results::Completion;
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
    pub(super) fn modern(params: &Params<'_>, origin: &'a Origin<'_>) -> Self {
        let meta = params.meta.as_ref();
        Caller {
            client: ClientSource::Request(Client::new(
                meta.and_then(|meta| meta.client_info),
                meta.and_then(|meta| meta.client_capabilities),
                ProtocolVersion::V2026_07_28,
            )),
            log_level: meta.and_then(|meta| meta.log_level),
            registry: origin.calls(),
            owner: origin.owner(),
            asking: Asking::Rounds,
            fields: origin.fields(),
            headers: origin.fields(),
        }
    }
}

/// What a request calls.
pub(super) struct CallTarget {
    pub(super) target: Arc<Target>,
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
        let lane = &self.lanes[found.target.lane];
        let job = self.open_job(method, found, asked, caller, lane, kept)?;
        let call = Arc::clone(&job.responder.0);
        self.carry_out(plan, lane, job).then_some(call)
    }

    /// Finds the target, and how it is to be called.
    fn prepare(
        &self,
        method: Method,
        asked: &Asked<'_>,
        caller: &Caller<'_>,
    ) -> Result<(CallTarget, Plan), Unplanned> {
        let mut found = self.look_up(method, &asked.params, asked.era, caller.fields)?;
        let plan = match method {
            Method::ToolsCall => {
                let CallTarget {
                    target, arguments, ..
                } = &mut found;
                let (params, owner) = (&asked.params, &caller.owner);
                self.shared
                    .plan(target, arguments, params, owner, asked.era)?
            }
            _ => Plan::Lane,
        };
        Ok((found, plan))
    }

    /// Opens the call, with what its worker needs. `None` when it has been refused.
    fn open_job(
        &self,
        method: Method,
        found: CallTarget,
        asked: Asked<'_>,
        caller: Caller<'_>,
        lane: &RunningLane<CallJob>,
        kept: Option<Charge>,
    ) -> Option<CallJob> {
        let state_len_max = self.shared.rounds.state_len_max();
        let retry = Retry::read(&asked.params, asked.era, state_len_max);
        let trace = asked.params.meta.as_ref().and_then(TraceContext::read);
        let tag = asked.tag.clone();
        let runs = Runs {
            name: Arc::clone(&found.target.name),
            lane: Arc::clone(lane.name()),
            liveness: found.target.liveness,
        };
        let (call, params) = asked.open(Some(runs), caller.owner, caller.registry)?;
        let control = Control {
            call: Arc::clone(&call),
            info: RequestInfo {
                tag,
                target: found.named,
                client: caller.client,
                trace,
                progress_token: params.meta.and_then(|meta| meta.progress_token),
                headers: self.wanted_headers(caller.headers),
                log_level: caller.log_level,
            },
            asking: match (method, caller.asking) {
                (Method::Complete, _) => Asking::Never,
                // It would wait on the thread that is to read the answer.
                (_, Asking::Session(_)) if found.target.desk.is_inline => Asking::Never,
                (_, asking) => asking,
            },
            rounds: Mutex::default(),
            waits: Arc::clone(lane.waits()),
            last_progress: Mutex::default(),
            record: None,
            inside: OnceLock::new(),
            seat: OnceLock::new(),
            shared: Arc::clone(&self.shared),
        };
        Some(CallJob {
            responder: Responder(call),
            execution: HandlerCall {
                control: Arc::new(control),
                target: found.target,
                arguments: found.arguments,
                retry,
                _kept: kept,
            },
            then: None,
            turn: None,
        })
    }

    /// Carries a call out as planned. Says whether it is under way.
    fn carry_out(&self, plan: Plan, lane: &RunningLane<CallJob>, mut job: CallJob) -> bool {
        match plan {
            Plan::Lane => self.submit(lane, job),
            Plan::Workspace(key, access) => match lane.ticket() {
                Some(ticket) => self.starter().enter(job, ticket, &key, access),
                None => {
                    job.responder.0.fail(&shutting_down(), Outcome::Refused);
                    false
                }
            },
            Plan::Job(new) => match &new.target.before_job {
                None => {
                    self.starter().order(&job.responder.0, *new);
                    false
                }
                Some(before) => {
                    let starter = self.starter();
                    job.execution.target = Arc::clone(before);
                    job.then = Some(Box::new(move |call, carried| {
                        starter.order(call, NewJob { carried, ..*new });
                    }));
                    self.submit(lane, job)
                }
            },
            Plan::Here => {
                job.run();
                false
            }
            Plan::WhenChanged(id, until) => {
                let most = self.shared.limits.exchanges_max;
                let run = Box::new(move || {
                    job.run();
                });
                self.shared.desk.watch.park(id, until, most, run);
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
    ) -> Result<CallTarget, Unplanned> {
        match method {
            Method::ResourcesRead => {
                let uri = named("uri", params.uri.as_ref())?;
                let found = self.shared.catalogue.resource(uri);
                let found = found.ok_or_else(|| ErrorObject::no_resource(uri).in_era(era))?;
                Ok(CallTarget {
                    target: found.target,
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
                let target = found.ok_or_else(|| unknown(what, name))?;
                if let (Some(mirrors), Some(fields)) = (&target.mirrors, fields) {
                    mirrors.check(arguments, &|name| fields.field(name))?;
                }
                if arguments.is_some_and(|arguments| !arguments.get().starts_with('{')) {
                    return Err(ErrorObject::invalid_params("`arguments` must be an object").into());
                }
                Ok(CallTarget {
                    named: Arc::clone(&target.name),
                    target,
                    arguments: arguments.map(ToOwned::to_owned),
                })
            }
        }
    }

    /// Hands a call to its lane, or refuses it now. Either way the call ends exactly once.
    fn submit(&self, lane: &RunningLane<CallJob>, job: CallJob) -> bool {
        let Err((refusal, job)) = lane.try_submit(job) else {
            return true;
        };
        // Answered before the job is dropped, or its responder would report it as lost.
        let error = not_taken(refusal, lane.name());
        job.responder.0.fail(&error, Outcome::Refused);
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
