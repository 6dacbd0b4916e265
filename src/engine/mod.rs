//! What a message means: validate, route, register, submit, or answer at once.
//!
//! The entry is [`Engine::accept`]: it is called by the thread that owns the connection or pipe and waits for no client and for no handler but one that
//! is inline, for whatever might take time goes to a lane. Only a store of background jobs is read and written right there, so that a job is announced when it is kept: with a
//! store on disk the next message on the same pipe waits for that. Must not know how a pipe or HTTP is read and written. In reading order, first the path of a call:
//!
//! - `arrive`: bytes to a request of its era, and the table of the modern methods;
//! - `ingress`: where a message came from, which era that makes it, and what its transport asks and hears besides the answer;
//! - `dispatch`: finds the target, opens the call, hands it to the lane or refuses it;
//! - `call`: the life of one call, and who may end it;
//! - `work`: what the worker does, from the beginning of the call to its answer;
//! - `encode`: a result into bytes, with the envelope around it;
//! - `reply`: the port for the one answer, and the one builder of refusals.
//!
//! What hangs off it can be read when it is needed:
//!
//! - `planning`: of a tool that is no plain one, whether it runs in a workspace, as a background job, or at once;
//! - `control`: what the handler's context reaches the server by;
//! - `shared`, `lifecycle`, `identity`: what all calls share and what the clock ends, how the engine starts, changes and drains, who the server is;
//! - `catalogue`, `listing`: what is registered, how it changes while serving, and its lists in pages;
//! - `errors`: what clients that are not served are told;
//! - `handshake`: the table of the handshake era's methods;
//! - `completing`: completions of arguments;
//! - `rounds`, `seal`: multi round-trip requests, and the seal on what the client carries between them;
//! - `subscriptions`, `listen`: change notifications of the modern era;
//! - `background`, `tasks`: calls that become jobs, turns in workspaces, and the tasks extension;
//! - `liveness`, `stalled`: what becomes of a call that gives no sign of life, and who is told;
//! - `desk_plan`, `desk_tools`: how jobs and workspaces are set up, and the server's own tools for them.

mod arrive;
mod background;
mod call;
mod catalogue;
mod completing;
mod control;
mod desk_plan;
mod desk_tools;
mod dispatch;
mod encode;
mod errors;
mod handshake;
mod identity;
mod ingress;
mod lifecycle;
mod listen;
mod listing;
mod liveness;
mod planning;
mod reply;
mod rounds;
mod seal;
mod shared;
mod stalled;
mod subscriptions;
mod tasks;
mod work;

pub(crate) use self::catalogue::IfTaken;
pub(crate) use self::ingress::{Accepted, Pipe, Via};
pub(crate) use self::lifecycle::{Engine, EnginePlan};
pub(crate) use self::reply::{AnswerPort, Refusal};
