//! Background jobs: made of calls, run attempt by attempt, and given their turns in workspaces.
//!
//! The order in which a job is made: a place on its lane is reserved, the record is stored, its client is answered, the first attempt is handed in. Nothing
//! is stored when the lane is full, and what is stored can be looked at before its id can be read. An attempt that asks ends; the answer brings
//! the next one. Must not know what a client may do with a job.

use std::sync::{Arc, OnceLock, Weak};

use serde_json::json;

use crate::base::lock::Lock;
use crate::base::log;
use crate::base::owner::Owner;
use crate::desk::jobs::{NotKept, failed, now_ms};
use crate::desk::record::{Carried, Order};
use crate::desk::wire::{Task, TaskView};
use crate::desk::workspace::{Outside, Turn, Visitor};
use crate::desk::workspaces::{Key, NoWorkspace};
use crate::engine::call::{Call, Facts};
use crate::engine::control::{Asking, Control};
use crate::engine::encode;
use crate::engine::errors::{internal_error, lane_refused, shutting_down};
use crate::engine::record_port::RecordPort;
use crate::engine::reply::ReplyPort;
use crate::engine::rounds::Rounds;
use crate::engine::shared::Shared;
use crate::engine::work::QueuedCall;
use crate::handler::client::{Client, ClientSource};
use crate::handler::control::RequestInfo;
use crate::handler::registration::{Callable, Reply};
use crate::handler::workspace::{AccessMode, Inside};
use crate::lane::{LaneRefusal, RunningLane, Ticket, Waits};
use crate::observe::access::{Outcome, RequestTag};
use crate::protocol::errors::ErrorObject;
use crate::protocol::id::RequestId;
use crate::protocol::meta::ProgressToken;
use crate::protocol::types::CallToolResult;
use crate::protocol::version::ProtocolVersion;

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

/// A job to be made of a call.
pub(super) struct NewJob {
    pub(super) callable: Arc<Callable>,
    pub(super) order: Order,
    /// What was asked and kept before.
    pub(super) carried: Carried,
    /// Whether its client gets a task of the extension, and not an id to use the job tools with.
    pub(super) as_task: bool,
}

impl Starter {
    /// Makes a job and answers the call with it, or refuses.
    pub(super) fn order(&self, call: &Arc<Call>, new: NewJob) {
        let (Some(jobs), Some(lanes)) = (&self.shared.desk.jobs, self.lanes.upgrade()) else {
            return refuse(call, &shutting_down());
        };
        let lane = &lanes[self.shared.jobs_lane];
        // A job in a workspace waits there first, and its place is in that queue.
        let ticket = match new.order.workspace {
            None => lane.reserve(),
            Some(_) => lane.ticket().ok_or(LaneRefusal::Closed),
        };
        let ticket = match ticket {
            Ok(ticket) => ticket,
            Err(refusal) => return refuse(call, &lane_refused(refusal, lane.name())),
        };
        let principal = new.order.principal.clone();
        let id = match jobs.create(new.order, new.carried) {
            Ok(id) => id,
            Err(NotKept::Full) => {
                let message = "As many background jobs as may wait or run do so; try again later";
                return refuse(call, &ErrorObject::overloaded(message));
            }
            Err(NotKept::Store(error)) => {
                let tag = &call.facts.tag;
                log::error!("a job could not be stored: {error} request_id={tag}");
                call.fail(&internal_error(tag), Outcome::Error);
                return;
            }
        };
        // Its client has left before it could learn the id, so nobody will ever ask for it.
        if !self.tell_made(call, &id, principal.as_deref(), new.as_task) {
            let _nobody_asks = jobs.cancel(&id, principal.as_deref());
            return;
        }
        self.attempt(&id, ticket);
    }

    fn tell_made(
        &self,
        call: &Call,
        id: &Arc<str>,
        principal: Option<&str>,
        as_task: bool,
    ) -> bool {
        let request = &call.facts.id;
        let server_info = &self.shared.identity.server_info;
        let jobs = self.shared.desk.jobs.as_ref();
        let body = match (jobs, as_task) {
            (Some(jobs), true) => jobs.look(id, principal, |record| {
                let shown = TaskView::Created { meta: server_info };
                let now_ms = now_ms();
                encode::write(
                    request,
                    &Task {
                        record,
                        shown,
                        now_ms,
                    },
                )
            }),
            _ => {
                let text = format!(
                    "Job {id} has begun. Ask `job_status` how it goes, and `job_result` for its result."
                );
                let mut result = CallToolResult::text(text);
                result.structured_content = Some(json!({ "job": &**id }));
                let reply = Reply::Tool(result);
                Some(encode::response(
                    request,
                    &reply,
                    call.facts.era,
                    server_info,
                    0,
                ))
            }
        };
        body.is_some_and(|body| call.answer(body, None, Outcome::Ok))
    }

    /// Hands in the next attempt of a job, unless it has ended.
    pub(super) fn attempt(&self, id: &Arc<str>, ticket: Ticket<QueuedCall>) {
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
        let Some(attempt) = jobs.begin(id, stop) else {
            return;
        };
        let order = attempt.order;
        let Some(callable) = self.shared.catalogue.tool(&order.tool) else {
            let error = format!("The tool `{}` is no longer there", order.tool);
            jobs.end(id, failed(&ErrorObject::invalid_params(error)));
            return;
        };
        let workspace = order.workspace.clone();
        let Some(lanes) = self.lanes.upgrade() else {
            return;
        };
        let waits = lanes[self.shared.jobs_lane].waits();
        let queued = self.attempt_of(id, order, attempt.carried, callable, waits);
        let call = Arc::clone(&queued.responder.0);
        // It is empty: nobody else has this lock.
        let _was_empty = running.set(Arc::downgrade(&call));
        if jobs.has_ended(id) {
            call.cancel();
        }
        match (workspace, queued.handler_call.callable.desk.access) {
            (Some((owner, name)), Some(access)) => {
                self.enter(queued, ticket, &Key { owner, name }, access);
            }
            _ => ticket.submit(queued),
        }
    }

    fn attempt_of(
        &self,
        id: &Arc<str>,
        order: Order,
        carried: Carried,
        callable: Arc<Callable>,
        waits: &Arc<Waits>,
    ) -> QueuedCall {
        let shared = &self.shared;
        let jobs = shared.desk.jobs.as_ref().expect("a job has a table");
        let tag = RequestTag::fresh();
        let request = RequestId::String((&**id).into());
        let facts = Facts {
            id: request.clone(),
            era: version_of(&order).era(),
            method: "tools/call",
            name: Some(Arc::clone(&callable.name)),
            lane: Some(JOBS_LANE.into()),
            tag: tag.clone(),
            owner: Owner::Nobody,
            traceparent: None,
        };
        let port = ReplyPort::Record(RecordPort {
            id: Arc::clone(id),
            jobs: Arc::clone(jobs),
            restartable: order.restartable,
            observer: Arc::clone(&shared.observer),
        });
        let call = Call::new(facts, callable.liveness, port);
        let info = info_of(&order, &callable, request, tag);
        let control = Control {
            rounds: Lock::new(Rounds::carrying(carried)),
            record: Some((Arc::clone(jobs), Arc::clone(id))),
            ..Control::new(Arc::new(call), info, Asking::Rounds, waits, shared)
        };
        // A job that has been accepted runs; what its arguments take, its record is charged for.
        QueuedCall::new(
            control,
            callable,
            order.arguments.map(|raw| (*raw).to_owned()),
        )
    }

    /// Lets a call into its workspace, now or when its turn has come; or answers why not.
    pub(super) fn enter(
        &self,
        queued: QueuedCall,
        ticket: Ticket<QueuedCall>,
        key: &Key,
        access: AccessMode,
    ) -> bool {
        let call = Arc::clone(&queued.responder.0);
        let Some((workspaces, _)) = &self.shared.desk.workspaces else {
            refuse(&call, &shutting_down());
            return false;
        };
        let mut visit: Box<dyn Visitor> = Box::new(Visit {
            queued,
            ticket,
            starter: self.clone(),
            owner: key.owner.clone(),
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
        let Facts { id, era, .. } = &call.facts;
        let body = encode::response(id, &reply, *era, &self.shared.identity.server_info, 0);
        call.answer(body, None, Outcome::ToolError);
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
fn info_of(order: &Order, callable: &Callable, request: RequestId, tag: RequestTag) -> RequestInfo {
    let capabilities = order.capabilities.as_deref();
    let client_info = order.client_info.as_deref();
    RequestInfo {
        tag,
        target: Arc::clone(&callable.name),
        client: ClientSource::Request(Client::new(client_info, capabilities, version_of(order))),
        trace: None,
        // So that progress is made into notifications, from which the record has it.
        progress_token: Some(ProgressToken::new(request)),
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
}

impl Visitor for Visit {
    fn is_stale(&self) -> bool {
        self.queued.responder.0.has_ended()
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
            let _first = self.queued.handler_call.control.inside.set(inside);
        }
        let _first = self.queued.handler_call.control.seat.set(turn.seat());
        self.queued.turn = Some(turn);
        self.ticket.submit(self.queued);
    }

    fn turn_away(self: Box<Self>) {
        if self.starter.shared.is_hurried() {
            // Not the workspace was closed, but everything: a job may run again.
            return self.queued.responder.0.abort(&shutting_down());
        }
        let problem =
            "The workspace was closed while this call waited for it; open one and try again";
        self.starter.tell(&self.queued.responder.0, problem.into());
    }
}

fn refuse(call: &Call, error: &ErrorObject) {
    call.fail(error, Outcome::Refused);
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
