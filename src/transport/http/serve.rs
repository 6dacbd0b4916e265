//! One HTTP exchange from head to last byte, told once for every front: begin reading here.
//!
//! Runs on the thread that the connection has its turn on: finds the path, checks the head, reads the body, hands the message to the engine and what it
//! answers to `write`. While the server drains, nothing is refused here that may belong to an accepted call: the answer to a question of ours, a
//! cancellation, a client that comes back for its stream, the end of a session. New calls are refused by their lanes; inline tools have none and are answered.
//! Must not know how bytes are read, which lane runs what, or what a method means.

use std::io;

use crate::base::log;
use crate::engine::{Accepted, Via};
use crate::legacy::Sessions;
use crate::observe::access::{Outcome, Peer, RequestTag};
use crate::protocol::modern::HeaderFields;
use crate::transport::http::endpoint::{Endpoint, Route, readable_fields};
use crate::transport::http::exchange::{Awaits, BodyError, Exchange, Field, Heard, Serve};
use crate::transport::http::policy::{self, ALLOW, NO_SESSIONS, Verb, method_not_allowed};
use crate::transport::http::refusal::HttpRefusal;
use crate::transport::http::write::{HttpReply, Waiting, write};

/// What a header that may stand only once says; a refusal when it stands twice.
pub(super) fn optional<'a, E: Exchange>(
    exchange: &'a E,
    name: &'a str,
) -> Result<Option<&'a str>, HttpRefusal> {
    match exchange.single(name) {
        Field::Absent => Ok(None),
        Field::One(value) => Ok(Some(value)),
        Field::Repeated => Err(HttpRefusal::new(400, format!("{name} is there twice"))),
    }
}

/// A message that was accepted, while its exchange rests.
pub(crate) struct UnderWay {
    tag: RequestTag,
    origin: Option<String>,
    accepted: Accepted,
    waiting: Waiting,
}

/// What is left of an exchange that rests. An error of writing means that the client has gone.
type Served = io::Result<Option<(Waiting, Accepted, Awaits)>>;

impl Serve for Endpoint {
    type UnderWay = Box<UnderWay>;

    /// Serves one exchange.
    fn serve<E: Exchange>(&self, exchange: &mut E) -> Option<(Box<UnderWay>, Awaits)> {
        let tag = tag(exchange);
        let route = self.paths.find(exchange.target());
        let origin = self.callers.check_origin(exchange);
        let checked = match (&origin, route) {
            (_, Some(Route::Health)) => Ok(Verb::Health),
            (Err(refusal), _) => Err(refusal.clone()),
            (Ok(_), route) => self.check(exchange, route),
        };
        let reply = HttpReply {
            endpoint: self,
            exchange,
            tag: &tag,
            origin: origin.as_ref().ok().and_then(Option::as_deref),
        };
        let served = match checked {
            Ok(Verb::Post) => self.post(reply),
            Ok(Verb::Get) => self.get(reply).map(|()| None),
            Ok(Verb::Delete) => self.delete(reply).map(|()| None),
            Ok(Verb::Preflight) => preflight(reply).map(|()| None),
            Ok(Verb::Health) => self.health(reply).map(|()| None),
            Err(refusal) => reply.refuse(&refusal).map(|()| None),
        };
        rests(served, tag, origin.ok().flatten())
    }

    fn go_on<E: Exchange>(
        &self,
        exchange: &mut E,
        under_way: Box<UnderWay>,
        heard: Heard,
    ) -> Option<(Box<UnderWay>, Awaits)> {
        let UnderWay {
            tag,
            origin,
            accepted,
            mut waiting,
        } = *under_way;
        waiting.hear(heard);
        let reply = HttpReply {
            endpoint: self,
            exchange,
            tag: &tag,
            origin: origin.as_deref(),
        };
        let served = self.write(reply, waiting, accepted);
        rests(served, tag, origin)
    }

    fn refuse<E: Exchange>(&self, exchange: &mut E, refusal: &HttpRefusal) -> io::Result<()> {
        let tag = tag(exchange);
        let origin = self.callers.check_origin(exchange).ok().flatten();
        let reply = HttpReply {
            endpoint: self,
            exchange,
            tag: &tag,
            origin: origin.as_deref(),
        };
        reply.refuse(refusal)
    }
}

fn rests(
    served: Served,
    tag: RequestTag,
    origin: Option<String>,
) -> Option<(Box<UnderWay>, Awaits)> {
    let served = served.unwrap_or_else(|error| {
        log::debug!("the client has gone: {error} request_id={tag}");
        None
    });
    let (waiting, accepted, rest) = served?;
    let under_way = Box::new(UnderWay {
        tag,
        origin,
        accepted,
        waiting,
    });
    Some((under_way, rest))
}

/// The request's own id, if it has a good one, and where it comes from.
fn tag<E: Exchange>(exchange: &E) -> RequestTag {
    let peer = exchange.peer().map_or(Peer::Local, Peer::Address);
    RequestTag::from_client(exchange.value("X-Request-Id"), peer)
}

impl Endpoint {
    /// Everything that stands in the head. Who may not call at all learns nothing else. Out of line, like the branches of `serve`: a turn is to touch little of its stack.
    #[inline(never)]
    fn check<E: Exchange>(&self, exchange: &E, route: Option<Route>) -> Result<Verb, HttpRefusal> {
        self.callers.check_host(exchange)?;
        match route {
            Some(_) => policy::check(exchange),
            None => Err(HttpRefusal::new(
                404,
                "There is no MCP endpoint at this path; by default it is /mcp",
            )),
        }
    }

    /// Whether the server takes calls, for probes: they know no name of it, and are no news.
    #[inline(never)]
    fn health<E: Exchange>(&self, mut reply: HttpReply<'_, E>) -> io::Result<()> {
        if !matches!(reply.exchange.method(), "GET" | "HEAD") {
            let refusal =
                HttpRefusal::new(405, "A health check is a GET").with("Allow", "GET, HEAD");
            return reply.refuse(&refusal);
        }
        let (status, body) = match self.engine.is_draining() {
            false => (200, "ok\n"),
            true => (503, "draining\n"),
        };
        log::debug!("health check: {status} request_id={}", reply.tag);
        let fields = [
            ("Content-Type", "text/plain"),
            ("Cache-Control", "no-store"),
        ];
        reply.respond(status, fields, body.as_bytes())
    }

    /// Ends the session the request names.
    #[inline(never)]
    fn delete<E: Exchange>(&self, mut reply: HttpReply<'_, E>) -> io::Result<()> {
        if self.engine.legacy_sessions() == Sessions::Stateless {
            return reply.refuse(&method_not_allowed(NO_SESSIONS));
        }
        let ended = match reply.exchange.single("Mcp-Session-Id") {
            Field::One(id) => {
                self.engine.note_session(reply.tag, id);
                self.engine.end_session(id)
            }
            _ => {
                let message = "DELETE needs the Mcp-Session-Id of the session to end";
                return reply.refuse(&HttpRefusal::new(400, message));
            }
        };
        if !ended {
            return reply.refuse(&HttpRefusal::new(404, "No such session"));
        }
        let sent = reply.respond(204, [], b"");
        reply.ended("DELETE", Outcome::Ok, 204);
        sent
    }

    #[inline(never)]
    fn post<E: Exchange>(&self, mut reply: HttpReply<'_, E>) -> Served {
        if let Err(error) = reply.exchange.read_body(self.limits.body_bytes_max) {
            return refuse_body(reply, &error).map(|()| None);
        }
        let incoming = reply.incoming();
        let checked = policy::check_message(&*reply.exchange)
            .and_then(|()| optional(&*reply.exchange, "Mcp-Session-Id"));
        let session_id = match checked {
            Ok(session_id) => session_id,
            Err(refusal) => {
                let refusal = refusal.of(reply.exchange.body());
                return reply.refuse(&refusal).map(|()| None);
            }
        };
        let slot = incoming.outbox().reserve();
        let slot = slot.expect("the receiver is still here");
        let via = Via::Http {
            session_id,
            fields: &*reply.exchange,
        };
        let tag = reply.tag.clone();
        let body = reply.exchange.body();
        let accepted = self.engine.accept(body, tag, via, slot);
        // What is kept of it has been charged by then.
        reply.exchange.forget_body();
        // Looked at before its id is written, which succeeds though nobody reads: afterwards it may have been read.
        if matches!(&accepted, Accepted::Call(call) if call.is_a_job())
            && reply.exchange.client_left()
        {
            self.leave(&accepted);
        }
        let waiting = Waiting::begin(&reply, incoming, &accepted);
        self.write(reply, waiting, accepted)
    }

    fn write<E: Exchange>(
        &self,
        reply: HttpReply<'_, E>,
        waiting: Waiting,
        accepted: Accepted,
    ) -> Served {
        let written = write(reply, waiting, &accepted);
        if written.is_err() {
            self.leave(&accepted);
        }
        let rests = written?;
        Ok(rests.map(|(waiting, rest)| (waiting, accepted, rest)))
    }

    /// Closing the response stream is how a modern client cancels.
    fn leave(&self, accepted: &Accepted) {
        let Accepted::Call(call) = accepted else {
            return;
        };
        call.cancel();
        if call.is_a_job() {
            self.engine.cancel_job_of(call);
        }
    }
}

/// Tells a browser what a page of an accepted origin may send.
#[inline(never)]
fn preflight<E: Exchange>(mut reply: HttpReply<'_, E>) -> io::Result<()> {
    let readable = readable_fields(reply.exchange);
    let allowed = [("Allow", ALLOW)];
    let told = [
        ("Access-Control-Allow-Methods", "GET, POST, DELETE"),
        ("Access-Control-Allow-Headers", readable.as_str()),
        ("Access-Control-Max-Age", "7200"),
    ];
    let is_page = reply.origin.is_some();
    let told = told.into_iter().filter(|_| is_page);
    let sent = reply.respond(204, allowed.into_iter().chain(told), b"");
    reply.ended("OPTIONS", Outcome::Ok, 204);
    sent
}

fn refuse_body<E: Exchange>(reply: HttpReply<'_, E>, error: &BodyError) -> io::Result<()> {
    reply.exchange.close_after();
    let refusal = match error {
        BodyError::TooLarge => HttpRefusal::new(413, "The body is longer than this server takes"),
        BodyError::TooSlow => HttpRefusal::new(408, "The body did not come in time"),
        BodyError::Malformed(message) => HttpRefusal::new(400, *message),
        BodyError::Unavailable(message) => HttpRefusal::busy(message),
        BodyError::Gone => return Err(io::ErrorKind::ConnectionAborted.into()),
    };
    reply.refuse(&refusal)
}
