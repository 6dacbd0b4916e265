//! Background jobs, made of calls and run attempt by attempt; and the turns in workspaces that jobs and plain calls are given.
//!
//! The order in which a job is made: a permit of its lane is reserved, the record is stored, its client is answered, the first attempt is handed in. Nothing
//! is stored when the lane is full, except for a job in a workspace, which waits in that queue; and what is stored can be looked at before its id can be
//! read. An attempt that asks ends; the answer brings the next one. One that may not wait on its worker ends, too, and the next stands in line for that. Must not know what a client may do with a job.

use std::sync::{Arc, OnceLock, Weak};

use serde_json::json;

use crate::base::errands::Errand;
use crate::base::log;
use crate::base::owner::Owner;
use crate::desk::jobs::{Jobs, NotKept, failed};
use crate::desk::record::{Carried, Order};
use crate::desk::wire::{Task, TaskView};
use crate::desk::workspace::{Outside, Turn, Visitor};
use crate::desk::workspaces::{Key, NoWorkspace};
use crate::engine::call::{Call, Facts, HandlerInput};
use crate::engine::control::{Asking, Control};
use crate::engine::encode;
use crate::engine::errors::{internal_error, lane_refused, shutting_down};
use crate::engine::reply::{Again, AnswerPort, RecordPort};
use crate::engine::rounds::Rounds;
use crate::engine::shared::Shared;
use crate::engine::work::{QueuedCall, answer_with};
use crate::handler::client::{Client, ClientSource};
use crate::handler::control::RequestInfo;
use crate::handler::registration::{Callable, Reply};
use crate::handler::workspace::{AccessMode, Inside};
use crate::lane::{LaneRefusal, RunningLane, Ticket};
use crate::observe::access::{Outcome, RequestTag};
use crate::protocol::errors::ErrorObject;
use crate::protocol::id::RequestId;
use crate::protocol::meta::note_asker;
use crate::protocol::offer::OfferKind;
use crate::protocol::raw;
use crate::protocol::types::{CallToolResult, ContentBlock};
use crate::protocol::version::{Era, ProtocolVersion};

/// The lane that background jobs run on.
pub(crate) const JOBS_LANE: &str = "jobs";

/// Every lane of an engine.
pub(crate) type Lanes = [RunningLane<QueuedCall>];

/// What can start something: the lanes, and what their calls share. It keeps neither alive longer than the engine does.
#[derive(Clone)]
pub(crate) struct Starter {
    pub(super) shared: Arc<Shared>,
    pub(super) lanes: Weak<Lanes>,
}

/// Whether a workspace whose queue is full may refuse it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    New,
    /// A job that has had its answers, or was interrupted by the end of another server.
    Accepted,
    /// One whose attempt got no permit to wait.
    Postponed,
}

/// A job to be made of a call.
pub(super) struct NewJob {
    pub(super) order: Order,
    /// What was asked and kept before.
    pub(super) carried: Carried,
    /// Whether its client gets a task of the extension, and not an id to use the job tools with.
    pub(super) as_task: bool,
}

impl Starter {
    /// What the first attempt of a job is handed in with. Taken first: who is asked before there is a job, and answers, is not refused then.
    pub(super) fn reserve(&self, order: &Order) -> Result<Ticket<QueuedCall>, ErrorObject> {
        let lanes = self.lanes.upgrade().ok_or_else(shutting_down)?;
        let lane = &lanes[self.shared.desk.jobs_lane];
        // A job in a workspace waits there first, and its turn is in that queue.
        let ticket = match order.workspace {
            None => lane.reserve(),
            Some(_) => lane.ticket().ok_or(LaneRefusal::Closed),
        };
        ticket.map_err(|refusal| lane_refused(refusal, lane.name()))
    }

    /// Makes a job and answers the call with it, or refuses. False if the call had been cancelled by then.
    pub(super) fn order(&self, call: &Arc<Call>, new: NewJob, ticket: Ticket<QueuedCall>) -> bool {
        let shared = &self.shared;
        let is_over = shared.has_no_patience_with(shared.desk.jobs_lane);
        let Some(jobs) = shared.desk.jobs.as_ref().filter(|_| !is_over) else {
            return refuse(call, &shutting_down());
        };
        let id = match jobs.create(new.order, new.carried) {
            Ok(id) => id,
            Err(NotKept::Full) => {
                let message = "As many background jobs as may wait or run do so; try again later";
                return refuse(call, &ErrorObject::overloaded(message));
            }
            Err(NotKept::Store(error)) => {
                let tag = &call.facts.tag;
                log::error!("a job could not be stored: {error} request_id={tag}");
                return call.fail(&internal_error(tag), Outcome::Error);
            }
        };
        let _first = call.job.set(Arc::clone(&id));
        // Its client has left before it could learn the id, so nobody will ever ask for it.
        if !self.tell_made(call, &id, new.as_task) {
            let _nobody_asks = jobs.cancel(&id);
            return false;
        }
        self.attempt(&id, ticket, Standing::New);
        true
    }

    fn tell_made(&self, call: &Call, id: &Arc<str>, as_task: bool) -> bool {
        let server_info = &self.shared.identity.server_info;
        let jobs = self.shared.desk.jobs.as_ref();
        let Some(jobs) = jobs.filter(|_| as_task) else {
            let text = format!(
                "Job {id} has begun. Ask `job_status` how it goes, and `job_result` for its result."
            );
            let mut result = CallToolResult::structured(json!({ "job": &**id }));
            result.content.insert(0, ContentBlock::text(text));
            return answer_with(call, &Reply::Tool(result), &self.shared);
        };
        let body = jobs.look(id, |record| {
            let task = Task::now(record, TaskView::Created, server_info);
            encode::write(&call.facts.id, &task)
        });
        body.is_some_and(|body| call.answer(body, None, Outcome::Ok))
    }

    /// Hands in the next attempt of a job, unless it has ended.
    pub(super) fn attempt(&self, id: &Arc<str>, ticket: Ticket<QueuedCall>, standing: Standing) {
        let Some(jobs) = &self.shared.desk.jobs else {
            return;
        };
        // Known to the job before there is a call, and filled when there is one.
        let running: Arc<OnceLock<Weak<Call>>> = Arc::default();
        let told = Arc::clone(&running);
        let stop = Arc::new(move || {
            if let Some(call) = told.get().and_then(Weak::upgrade) {
                call.cancel();
            }
        });
        let Some((order, carried)) = jobs.begin(id, stop) else {
            return;
        };
        let Some(callable) = self.shared.catalogue.find(OfferKind::Tool, &order.tool) else {
            let error = format!("The tool `{}` is no longer there", order.tool);
            jobs.end(id, failed(&ErrorObject::invalid_params(error)));
            return;
        };
        let workspace = order.workspace.clone();
        let port = self.port_of(id, jobs, &order, ticket.another());
        let queued = self.attempt_of(port, order, carried, callable);
        let call = Arc::clone(&queued.control.call);
        // It is empty: nobody else has this lock.
        let _was_empty = running.set(Arc::downgrade(&call));
        if jobs.has_ended(id) {
            call.cancel();
        }
        match (workspace, queued.handler_call.callable.desk.access) {
            (Some((owner, name)), Some(access)) => {
                let key = Key { owner, name };
                self.enter(queued, ticket, &key, access, standing);
            }
            _ if standing == Standing::Postponed => {
                let waits = &self.shared.waits[self.shared.desk.jobs_lane];
                waits.line_up(Box::new(move |permit| {
                    *queued.control.permit.lock() = permit;
                    ticket.submit(queued);
                }));
            }
            _ => ticket.submit(queued),
        }
    }

    fn port_of(
        &self,
        id: &Arc<str>,
        jobs: &Arc<Jobs>,
        order: &Order,
        next: Ticket<QueuedCall>,
    ) -> RecordPort {
        let again = order.workspace.is_none().then(|| {
            let (starter, id) = (self.clone(), Arc::clone(id));
            Box::new(move || starter.attempt(&id, next.hold(), Standing::Postponed)) as Again
        });
        RecordPort {
            id: Arc::clone(id),
            jobs: Arc::clone(jobs),
            errands: Arc::clone(&self.shared.desk.errands),
            restartable: order.restartable,
            again,
        }
    }

    fn attempt_of(
        &self,
        port: RecordPort,
        order: Order,
        carried: Carried,
        callable: Arc<Callable>,
    ) -> QueuedCall {
        let shared = &self.shared;
        let (id, jobs) = (Arc::clone(&port.id), Arc::clone(&port.jobs));
        let tag = RequestTag::fresh(None);
        let era = version_of(&order).era();
        note_asker(&tag, era, order.client_info.as_deref());
        let facts = Facts {
            id: RequestId::String((&*id).into()),
            // Of whichever era its client is: the record is fetched in both, and what the older one does not know is left out then.
            era: Era::Modern,
            method: "tools/call",
            name: Some(Arc::clone(&callable.name)),
            lane: Some(JOBS_LANE.into()),
            tag: tag.clone(),
            owner: Owner::Nobody,
            traceparent: None,
        };
        // A job that has been accepted runs; what its arguments take, its record is charged for.
        let input = HandlerInput {
            arguments: order.arguments.as_deref().map(raw::owned),
            rounds: Some(Box::new(Rounds::carrying(carried))),
            _kept: None,
        };
        let port = AnswerPort::Record(port);
        let call = Call::open(facts, callable.liveness, port, None, input);
        let info = info_of(&order, &callable, tag);
        // Who follows tasks has declared that, and nobody else can answer.
        let asking = match order.capabilities {
            Some(_) => Asking::Rounds,
            None => Asking::Never,
        };
        let control = Control {
            record: Some((jobs, id)),
            ..Control::new(call, info, asking, shared.desk.jobs_lane, shared)
        };
        QueuedCall::new(control, callable)
    }

    /// Lets a call into its workspace, now or when its turn has come; or answers why not.
    pub(super) fn enter(
        &self,
        queued: QueuedCall,
        ticket: Ticket<QueuedCall>,
        key: &Key,
        access: AccessMode,
        standing: Standing,
    ) -> bool {
        let call = Arc::clone(&queued.control.call);
        let Some((workspaces, _)) = &self.shared.desk.workspaces else {
            refuse(&call, &shutting_down());
            return false;
        };
        let mut visit: Box<dyn Visitor> = Box::new(Visit {
            queued,
            ticket,
            starter: self.clone(),
            owner: key.owner.clone(),
            standing,
        });
        loop {
            let workspace = match workspaces.find_or_open(key) {
                Ok(workspace) => workspace,
                Err(problem) => {
                    self.tell(&call, no_workspace(problem, key));
                    return false;
                }
            };
            visit = match workspace.enter(access, visit) {
                Ok(()) => return true,
                Err(Outside::Full(_until_it_is_answered)) => {
                    let message = format!(
                        "Too many calls wait for the workspace `{}`; try again in a second",
                        key.name
                    );
                    refuse(&call, &ErrorObject::overloaded(message));
                    return false;
                }
                // It was closed just now, and this call did not wait in it: the next one is opened, if it may be.
                Err(Outside::Closed(visit)) => visit,
            };
        }
    }

    /// Answers with a tool error, for the model.
    pub(super) fn tell(&self, call: &Call, problem: String) {
        let reply = Reply::Tool(CallToolResult::error(problem));
        answer_with(call, &reply, &self.shared);
    }
}

/// The revision of the client that has ordered a job, as far as matters.
fn version_of(order: &Order) -> ProtocolVersion {
    match order.is_legacy {
        true => ProtocolVersion::LATEST_LEGACY,
        false => ProtocolVersion::V2026_07_28,
    }
}

/// What the handler of an attempt may know of its request, kept since the job was ordered.
fn info_of(order: &Order, callable: &Callable, tag: RequestTag) -> RequestInfo {
    let capabilities = order.capabilities.as_deref();
    let client_info = order.client_info.as_deref();
    RequestInfo {
        tag,
        target: Arc::clone(&callable.name),
        client: ClientSource::Request(Client::new(client_info, capabilities, version_of(order))),
        trace: None,
        progress_token: None,
        headers: Vec::new(),
        log_level: None,
    }
}

/// A call that wants a workspace.
struct Visit {
    queued: QueuedCall,
    ticket: Ticket<QueuedCall>,
    starter: Starter,
    owner: Option<Arc<str>>,
    standing: Standing,
}

impl Visitor for Visit {
    fn was_accepted(&self) -> bool {
        self.standing == Standing::Accepted
    }

    fn is_stale(&self) -> bool {
        self.queued.control.call.has_ended()
    }

    fn label(&self) -> Arc<str> {
        Arc::clone(&self.queued.handler_call.callable.name)
    }

    fn go(mut self: Box<Self>, turn: Turn) {
        if let Some((_, maker)) = &self.starter.shared.desk.workspaces {
            let inside = Inside {
                name: Arc::clone(&turn.workspace().name),
                owner: self.owner.take(),
                cell: Arc::downgrade(&turn.cell),
                span: turn.span.clone(),
                maker: Arc::clone(maker),
            };
            // It has one turn, and this is it.
            let _first = self.queued.control.inside.set(Box::new(inside));
        }
        let _first = self.queued.control.seat.set(turn.seat());
        self.queued.handler_call.turn = Some(Box::new(turn));
        self.ticket.submit(self.queued);
    }

    fn turn_away(self: Box<Self>) {
        if self.starter.shared.hurry.is_cancelled() {
            // Not the workspace was closed, but everything: a job may run again.
            return self.queued.control.call.abort(&shutting_down());
        }
        let problem =
            "The workspace was closed while this call waited for it; open one and try again";
        let is_job = self.queued.control.record.is_some();
        // The lane may close while the errand waits for a store.
        let Visit {
            queued, starter, ..
        } = *self;
        let errands = Arc::clone(&starter.shared.desk.errands);
        let tell = move || {
            // All of it: the call must not be dropped before it is answered.
            let queued = queued;
            starter.tell(&queued.control.call, problem.into());
        };
        match is_job {
            true => errands.run([Box::new(tell) as Errand]),
            false => tell(),
        }
    }
}

fn refuse(call: &Call, error: &ErrorObject) -> bool {
    call.fail(error, Outcome::Refused)
}

/// What a model is told that has named a workspace which it cannot use.
pub(super) fn no_workspace(problem: NoWorkspace, key: &Key) -> String {
    match problem {
        NoWorkspace::Unknown => format!(
            "There is no workspace `{}`: call `open_workspace` first, and pass the name that it returns as `workspace`",
            crate::protocol::errors::shortened(&key.name)
        ),
        NoWorkspace::TooManyOfOne(most) => {
            format!(
                "You have {most} workspaces open, which is the most; close one with `close_workspace`"
            )
        }
        NoWorkspace::TooMany => {
            "The server has as many workspaces open as it can; try again later".into()
        }
    }
}
