//! What a message means: validate, route, register, submit, or answer at once.
//!
//! The way in is [`Engine::accept`], which never blocks: it is called by the thread that owns the connection or pipe, and whatever
//! might take time goes to a lane. Must not know sockets, pipes or HTTP words.

mod arrive;
mod background;
mod call;
mod catalogue;
mod changes;
mod control;
mod desk_plan;
mod desk_tools;
mod dispatch;
mod encode;
mod execution;
mod handshake;
mod identity;
mod lifecycle;
mod listen;
mod listing;
mod liveness;
mod offers;
mod origin;
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

pub(crate) use self::desk_plan::DeskPlan;
pub(crate) use self::lifecycle::{Engine, Plan};
#[cfg(any(feature = "tiny-http", all(feature = "http", unix)))]
pub(crate) use self::origin::Accepted;
pub(crate) use self::origin::{Origin, Pipe};
pub(crate) use self::reply::{Refusal, ReplyPort};
pub(crate) use self::stalled::OnStalled;
