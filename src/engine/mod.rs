//! What a message means: validate, route, register, submit, or answer at once.
//!
//! The way in is [`Engine::accept`], which never blocks: it is called by the thread that owns the connection or pipe, and whatever
//! might take time goes to a lane. Must not know sockets, pipes or HTTP words.

mod accept;
mod call_job;
mod calls;
mod catalogue;
mod changes;
mod encode;
mod handshake;
mod identity;
mod in_flight;
mod lifecycle;
mod listing;
mod offers;
mod origin;
mod reply;
mod rounds;
mod routes;
mod seal;
mod subscriptions;

pub(crate) use self::lifecycle::{Engine, Plan};
pub(crate) use self::origin::{Accepted, Origin, Pipe};
