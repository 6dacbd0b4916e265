//! What a message means: validate, route, register, submit, or answer at once.
//!
//! The entry is [`Engine::accept`]: it is called by the thread that owns the connection or pipe and waits for no handler and no client, for whatever
//! might take time goes to a lane. Only a store of background jobs is read and written right there, so that a job is announced when it is kept: with a
//! store on disk the next message on the same pipe waits for that. Must not know sockets, pipes or HTTP words. In reading order, first the path of a call:
//!
//! - `ingress`: where a message came from, and what its transport hears of it besides the answer;
//! - `reply`: the place for the one answer, and the one builder of refusals;
//! - `arrive`: bytes to a request of its era, and the table of the modern methods; `footing`: which era that is;
//! - `dispatch`: finds the target, opens the call, hands it to the lane or refuses it;
//! - `planning`: whether a tool runs on its lane, in a workspace, or as a background job;
//! - `call`: the life of one call, and who may end it;
//! - `control`: what the handler's context reaches the server by;
//! - `execution`: what the worker does, from the fork of the state to the answer;
//! - `encode`: a result into bytes, with the envelope around it.
//!
//! What hangs off it can be read when it is needed:
//!
//! - `shared`, `lifecycle`, `identity`: what all calls share, how the engine starts and drains, who the server is;
//! - `catalogue`, `listing`, `offers`: what is registered, its lists in pages, and how both change while serving;
//! - `errors`: what clients hear that are not served;
//! - `handshake`: the table of the handshake era's methods;
//! - `one_way`, `completing`: messages without an answer; completions of arguments;
//! - `rounds`, `seal`: multi round-trip requests, and the seal on what the client carries between them;
//! - `subscriptions`, `listen`, `changes`: change notifications of the modern era;
//! - `background`, `record_port`, `tasks`: calls that become jobs, and the tasks extension;
//! - `liveness`, `stalled`: what becomes of a call that gives no sign of life, and who is told;
//! - `desk_plan`, `desk_tools`, `sweep`: how jobs and workspaces are set up, the server's own tools for them, and what the clock ends.

mod arrive;
mod background;
mod call;
mod catalogue;
mod changes;
mod completing;
mod control;
mod desk_plan;
mod desk_tools;
mod dispatch;
mod encode;
mod errors;
mod footing;
mod handshake;
mod identity;
mod ingress;
mod lifecycle;
mod listen;
mod listing;
mod liveness;
mod offers;
mod one_way;
mod planning;
mod record_port;
mod reply;
mod rounds;
mod seal;
mod shared;
mod stalled;
mod subscriptions;
mod sweep;
mod tasks;
mod work;

pub(crate) use self::desk_plan::DeskPlan;
#[cfg(any(feature = "tiny-http", all(feature = "http", unix)))]
pub(crate) use self::ingress::Accepted;
pub(crate) use self::ingress::{Pipe, Via};
pub(crate) use self::lifecycle::{Engine, EnginePlan};
pub(crate) use self::reply::{Refusal, ReplyPort};
