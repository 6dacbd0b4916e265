//! From a request that calls something to work on a lane: find what is called, open the call, submit it or refuse it now.
//!
//! Must not know how messages arrive or how answers travel.

use std::mem;
use std::sync::Arc;
use std::time::Instant;

use serde_json::value::RawValue;

use crate::base::budget::{Budget, Charge};
use crate::base::owner::Owner;
use crate::base::waiting::about_to_wait;
use crate::engine::background::{NewJob, Standing};
use crate::engine::call::{Call, CallsInFlight, HandlerInput};
use crate::engine::control::{Asking, Control};
use crate::engine::encode;
use crate::engine::errors::{lane_refused, over_budget, shutting_down};
use crate::engine::ingress::Via;
use crate::engine::lifecycle::Engine;
use crate::engine::planning::{Plan, Unplanned};
use crate::engine::reply::Asked;
use crate::engine::rounds::Rounds;
use crate::engine::work::QueuedCall;
use crate::handler::client::{Client, ClientSource};
use crate::handler::control::RequestInfo;
use crate::handler::lenient::object_in_text;
use crate::handler::registration::{Callable, Reply};
use crate::lane::{LaneRefusal, RunningLane, WorkItem};
use crate::observe::access::{self, Outcome};
use crate::protocol::errors::{ErrorObject, shortened};
use crate::protocol::meta::{Params, TraceContext};
use crate::protocol::modern::{Field, HeaderFields};
use crate::protocol::offer::OfferKind;
use crate::protocol::raw;
use crate::protocol::text::Text;
use crate::protocol::types::{CallToolResult, LoggingLevel};
use crate::protocol::version::{Era, Method, ProtocolVersion};

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
    /// The account of what its calls take, if it has one; else that is the server's.
    pub(super) memory: Option<&'a Arc<Budget>>,
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
            memory: None,
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

    /// Finds what a request calls, opens the call and hands it to the lane. One that cannot be found by its id comes back if it is under way.
    pub(super) fn call(
        &self,
        method: Method,
        asked: Asked<'_>,
        mut caller: Caller<'_>,
    ) -> Option<Arc<Call>> {
        let can_be_found = caller.registry.is_some();
        let (mut found, plan, kept) = match self.prepare(method, &asked, &caller) {
            Ok(prepared) => prepared,
            Err(unplanned) => {
                self.tell_unplanned(unplanned, asked);
                return None;
            }
        };
        let (kept, rest) = kept.map(Into::into).unzip();
        let (call, params) = self.open(&mut found, asked, &mut caller, kept)?;
        let mut queued = self.queued(method, call, params, found, caller);
        queued.handler_call.kept = rest;
        let lane = &self.lanes[queued.control.lane];
        // Its transport holds one that cannot be found.
        let call = (!can_be_found).then(|| Arc::clone(&queued.control.call));
        let is_under_way = self.carry_out(plan, lane, queued);
        call.filter(|_| is_under_way)
    }

    /// Finds the callable, and how it is to be called. Out of line like [`open`](Self::open): what the one needs of the stack is not to stand
    /// below the other.
    #[inline(never)]
    fn prepare(
        &self,
        method: Method,
        asked: &Asked<'_>,
        caller: &Caller<'_>,
    ) -> Result<(Callee, Plan, Option<[Charge; 2]>), Unplanned> {
        let shared = &self.shared;
        let (params, era) = (&asked.params, asked.era);
        let bytes @ [input, rest] = kept_bytes(params);
        let memory = caller.memory.unwrap_or(&shared.memory);
        let charge = |bytes| memory.charge(bytes).map_err(over_budget);
        let kept = match bytes.iter().sum::<usize>() > FREE_CALL_BYTES {
            true => Some([charge(input)?, charge(rest)?]),
            false => None,
        };
        let mut found = self.look_up(method, params, era, caller.headers)?;
        let Callee {
            callable,
            arguments,
            ..
        } = &mut found;
        let plan = match callable.desk {
            desk if desk.needs_only_lane() => Plan::Lane,
            desk if desk.runs_here => {
                if input > LONG_HERE_BYTES {
                    let _is_relieved = about_to_wait();
                }
                shared.at_once(callable, arguments.as_deref())
            }
            _ => shared.plan(callable, arguments, params, &caller.owner, era)?,
        };
        Ok((found, plan, kept))
    }

    /// Opens the call, with what its handler is to have. `None` when it has been refused.
    #[inline(never)]
    fn open<'a>(
        &self,
        found: &mut Callee,
        asked: Asked<'a>,
        caller: &mut Caller<'_>,
        kept: Option<Charge>,
    ) -> Option<(Arc<Call>, Box<Params<'a>>)> {
        let is_retry = asked.era == Era::Modern && asked.params.is_retry();
        let input = HandlerInput {
            arguments: found.arguments.take(),
            rounds: is_retry.then(|| Rounds::read(&asked.params, &self.shared.rounds)),
            _kept: kept,
        };
        let owner = mem::replace(&mut caller.owner, Owner::Nobody);
        let (mut facts, port, params) = asked.into_call(owner);
        facts.name = Some(Arc::clone(&found.callable.name));
        facts.lane =
            access::is_logged().then(|| Arc::clone(self.lanes[found.callable.lane].name()));
        let liveness = found.callable.liveness;
        let call = Call::registered(facts, liveness, port, caller.registry, input)?;
        Some((call, params))
    }

    /// The call with what its worker needs. Out of line like the two before it.
    #[inline(never)]
    fn queued(
        &self,
        method: Method,
        call: Arc<Call>,
        params: Box<Params<'_>>,
        found: Callee,
        caller: Caller<'_>,
    ) -> QueuedCall {
        let info = RequestInfo {
            tag: call.facts.tag.clone(),
            target: found.named,
            client: caller.client,
            trace: params.meta.as_ref().and_then(TraceContext::read),
            progress_token: params.meta.and_then(|meta| meta.progress_token),
            headers: self.wanted_headers(caller.headers),
            log_level: caller.log_level,
        };
        let asking = match (method, caller.asking) {
            (Method::Complete, _) => Asking::Never,
            // It would wait on the thread that is to read the answer.
            (_, Asking::Session(_)) if found.callable.desk.runs_here => Asking::Never,
            (_, asking) => asking,
        };
        let mut control = Control::new(call, info, asking, found.callable.lane, &self.shared);
        control.memory = caller.memory.map(Arc::clone);
        QueuedCall::new(control, found.callable)
    }

    /// Carries a call out as planned. Says whether it is under way.
    #[inline(never)]
    fn carry_out(&self, plan: Plan, lane: &RunningLane<QueuedCall>, queued: QueuedCall) -> bool {
        match plan {
            Plan::Lane => self.submit(lane, queued),
            Plan::Workspace(key, access) => match lane.ticket() {
                Some(ticket) => self
                    .starter()
                    .enter(queued, ticket, &key, access, Standing::New),
                None => {
                    queued.control.call.fail(&shutting_down(), Outcome::Refused);
                    false
                }
            },
            Plan::Job(new) => self.make_job(*new, lane, queued),
            Plan::Here => {
                run_here(queued);
                false
            }
            Plan::WhenChanged(id, changes, until) => {
                self.run_when_changed(id, changes, until, queued);
                true
            }
        }
    }

    /// Makes a job of a call, now or when what comes before it has run.
    fn make_job(
        &self,
        mut new: NewJob,
        lane: &RunningLane<QueuedCall>,
        mut queued: QueuedCall,
    ) -> bool {
        let starter = self.starter();
        let ticket = match starter.reserve(&new.order) {
            Ok(ticket) => ticket,
            Err(error) => {
                queued.control.call.fail(&error, Outcome::Refused);
                return false;
            }
        };
        let Some(before) = queued.handler_call.callable.before_job.clone() else {
            starter.order(&queued.control.call, new, ticket);
            return queued.control.call.is_a_job();
        };
        queued.handler_call.callable = before;
        queued.control.precedes_job = true;
        // Kept once: until then by the call.
        new.order.arguments = None;
        queued.handler_call.then = Some(Box::new(move |call, carried, arguments| {
            new.order.arguments = arguments.map(Into::into);
            starter.order(call, NewJob { carried, ..new }, ticket)
        }));
        self.submit(lane, queued)
    }

    fn run_when_changed(&self, id: Arc<str>, changes: u64, until: Instant, queued: QueuedCall) {
        let desk = &self.shared.desk;
        let (jobs, seen) = (desk.jobs.clone(), Arc::clone(&id));
        let watching = jobs.as_ref().and_then(|jobs| jobs.watch(&id));
        let is_news = move || jobs.is_none_or(|jobs| jobs.changes(&seen) != Some(changes));
        let call = Arc::downgrade(&queued.control.call);
        let mut parked = self.shared.parked.lock();
        parked.retain(|call| call.upgrade().is_some_and(|call| !call.has_ended()));
        parked.push(call);
        drop(parked);
        let run = Box::new(move || {
            run_here(queued);
            drop(watching);
        });
        // While a store hangs, those who gave up waiting leave their errands.
        let most = self.shared.limits.exchanges_max;
        let most = most.saturating_sub(desk.errands.len());
        desk.watch.park(id, until, most, is_news, run);
    }

    pub(super) fn tell_unplanned(&self, unplanned: Unplanned, asked: Asked<'_>) {
        let reply = match unplanned {
            Unplanned::Error(error) => return asked.fail(&error),
            Unplanned::Problem(problem) => Reply::Tool(CallToolResult::error(problem)),
            Unplanned::Nothing => Reply::Completion(Vec::<String>::new().into()),
        };
        let result = encode::result(&reply, asked.era, &self.shared.identity.server_info);
        asked.answer(&result);
    }

    fn look_up(
        &self,
        method: Method,
        params: &Params<'_>,
        era: Era,
        headers: Option<&dyn HeaderFields>,
    ) -> Result<Callee, Unplanned> {
        match method {
            Method::Call(OfferKind::Resource) => {
                let uri = named("uri", params.uri.as_ref())?;
                let found = self.shared.catalogue.resource(uri);
                let (callable, arguments) =
                    found.ok_or_else(|| ErrorObject::no_resource(uri).in_era(era))?;
                Ok(Callee {
                    callable,
                    named: uri.into(),
                    arguments,
                })
            }
            Method::Call(kind) => {
                let name = named("name", params.name.as_ref())?;
                let is_lenient = self.shared.lenient_arguments;
                let in_text = |raw: &&RawValue| is_lenient && raw.get().starts_with('"');
                let in_text = params.arguments.filter(in_text).and_then(object_in_text);
                let arguments = in_text.as_deref().or(params.arguments);
                let found = self.shared.catalogue.find(kind, name);
                let callable = found.ok_or_else(|| unknown(kind, name))?;
                if let (Era::Modern, Some(mirrors), Some(headers)) =
                    (era, &callable.mirrors, headers)
                {
                    mirrors.check(arguments, &|name| headers.field(name))?;
                }
                if arguments.is_some_and(|arguments| !arguments.get().starts_with('{')) {
                    return Err(ErrorObject::invalid_params("`arguments` must be an object").into());
                }
                Ok(Callee {
                    named: Arc::clone(&callable.name),
                    callable,
                    arguments: arguments.map(raw::owned),
                })
            }
            _ => self.find_completer(params),
        }
    }

    /// Hands a call to its lane, or refuses it now. Either way the call ends exactly once.
    fn submit(&self, lane: &RunningLane<QueuedCall>, queued: QueuedCall) -> bool {
        let submitted = lane.try_submit(queued);
        submitted.map_err(|refused| refuse(lane, refused)).is_ok()
    }
}

/// Refuses a call that its lane does not take.
#[cold]
#[inline(never)]
fn refuse(lane: &RunningLane<QueuedCall>, (refusal, queued): (LaneRefusal, QueuedCall)) {
    // Answered before the call is dropped, or its responder would report it as lost.
    let error = lane_refused(refusal, lane.name());
    queued.control.call.fail(&error, Outcome::Refused);
}

/// With more input than this, a call on this thread keeps others waiting: another thread does meanwhile what they depend on.
const LONG_HERE_BYTES: usize = 32 * 1024;

/// Runs a call on this thread.
fn run_here(queued: QueuedCall) {
    let (_control, run) = queued.begin();
    run(&|| ());
}

/// What is kept of a request until it has been executed, in bytes: its handler's input, which goes with the end of a call that waits, and all else.
fn kept_bytes(params: &Params<'_>) -> [usize; 2] {
    let meta = params.meta.as_ref();
    let context = params.context.as_ref();
    // As they came, as they travel on, and as the handler has them.
    let answers = [params.input_responses; 3];
    let typed = [
        params.arguments,
        context.and_then(|context| context.arguments),
    ];
    // Of the call, and of the job that it may become.
    let client = [
        meta.and_then(|meta| meta.client_info),
        meta.and_then(|meta| meta.client_capabilities),
    ];
    let raw = |raw: &[Option<&RawValue>]| raw.iter().flatten().map(|raw| raw.get().len()).sum();
    let (answers, typed, client): (usize, usize, usize) =
        (raw(&answers), raw(&typed), raw(&client));
    let text = |text: Option<&Text<'_>>| text.map_or(0, |text| text.0.len());
    let value = text(params.argument.as_ref().map(|argument| &argument.value));
    // As what was named, and as the values of a template's variables.
    let uri = text(params.uri.as_ref());
    let input = answers + typed + text(params.request_state.as_ref()) + value + uri;
    [input, CALL_BYTES + 2 * client + uri]
}

pub(super) fn named<'a>(member: &str, text: Option<&'a Text<'_>>) -> Result<&'a str, ErrorObject> {
    let missing = || ErrorObject::invalid_params(format!("`{member}` is missing"));
    text.map(|text| &*text.0).ok_or_else(missing)
}

pub(super) fn unknown(kind: OfferKind, name: &str) -> ErrorObject {
    let what = kind.name();
    ErrorObject::invalid_params(format!("Unknown {what}: {}", shortened(name)))
}
