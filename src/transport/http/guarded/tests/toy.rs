//! Something to serve: a toy that does what the test says and tells it what it sees.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::PATIENCE;
use crate::base::limits::Limits;
use crate::base::waiting::about_to_wait;
use crate::outbox::Wake;
use crate::transport::http::exchange::{
    Awaits, BodyError, Exchange, Heard, Heeds, HttpResponse, Serve,
};
use crate::transport::http::refusal::HttpRefusal;

/// What the toy tells the test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// `serve` was called for this target.
    Entered(String),
    /// `client_left` said so.
    Departed,
    /// A write failed.
    WriteFailed(io::ErrorKind),
    /// A body could not be read, and why.
    NoBody(String),
}

/// What the test tells the toy, while it is inside `/wait` or `/stream`.
pub(super) enum Command {
    Answer,
    Send(Vec<u8>),
    Finish(Vec<u8>),
    /// Write until it fails.
    Flood,
    /// Ask once whether the client has left, and tell.
    Look(Sender<bool>),
}

/// Answers by target: `/echo`, `/ignore`, `/wait`, `/stream`, `/big`, `/panic`, `/silent`, anything else.
pub(super) struct Toy {
    pub(super) limits: Arc<Limits>,
    /// How often it looks for a client that has left.
    pub(super) looks: Duration,
    pub(super) events: Sender<Event>,
    pub(super) commands: Receiver<Command>,
}

impl Toy {
    fn tell(&self, event: Event) {
        let _ = self.events.send(event); // the test may be over
    }

    fn wait<E: Exchange>(&self, exchange: &mut E) {
        assert!(about_to_wait(), "there is a thread");
        loop {
            match self.commands.recv_timeout(self.looks) {
                Ok(Command::Answer) => return self.respond(exchange, 200, b"waited"),
                Ok(Command::Look(reply)) => {
                    reply.send(exchange.client_left()).expect("the test asks")
                }
                Ok(_) => panic!("not while waiting"),
                Err(_) if exchange.client_left() => return self.tell(Event::Departed),
                Err(_) => {}
            }
        }
    }

    fn stream<E: Exchange>(&self, exchange: &mut E) {
        exchange
            .begin_stream(&[("X-Stream", "yes")])
            .expect("the first answer");
        loop {
            let sent = match self.commands.recv_timeout(self.looks) {
                Ok(Command::Send(bytes)) => exchange.send(&bytes),
                Ok(Command::Finish(bytes)) => {
                    return exchange.finish(&bytes).unwrap_or_else(|error| {
                        self.tell(Event::WriteFailed(error.kind()));
                    });
                }
                Ok(Command::Flood) => loop {
                    if let Err(error) = exchange.send(&[b'x'; 64 * 1024]) {
                        break Err(error);
                    }
                },
                Ok(Command::Look(reply)) => {
                    reply.send(exchange.client_left()).expect("the test asks");
                    Ok(())
                }
                Ok(Command::Answer) => panic!("not while streaming"),
                Err(_) if exchange.client_left() => return self.tell(Event::Departed),
                Err(_) => Ok(()),
            };
            if let Err(error) = sent {
                return self.tell(Event::WriteFailed(error.kind()));
            }
        }
    }

    fn echo<E: Exchange>(&self, exchange: &mut E) {
        match exchange.read_body(self.limits.body_bytes_max) {
            Ok(()) => {
                let body = exchange.body().to_owned();
                self.respond(exchange, 200, &body);
            }
            Err(error) => {
                self.tell(Event::NoBody(format!("{error:?}")));
                let status = match error {
                    BodyError::TooLarge => 413,
                    BodyError::TooSlow => 408,
                    BodyError::Malformed(_) => 400,
                    BodyError::Unavailable(_) => 503,
                    BodyError::Gone => return,
                };
                self.respond(exchange, status, b"no body");
            }
        }
    }

    fn respond<E: Exchange>(&self, exchange: &mut E, status: u16, body: &[u8]) {
        let response = HttpResponse {
            status,
            fields: &[("X-Toy", "1")],
            body,
        };
        if let Err(error) = exchange.respond(&response) {
            self.tell(Event::WriteFailed(error.kind()));
        }
    }
}

/// Answers what it is told to, on the thread that the connection has its turn on. It is asked about each request in one line, with what rings for it; where it has
/// no answer yet the exchange rests, and it is asked again without.
pub(super) struct Says<F>(pub(super) F);

impl<F: Fn(&str, Option<Wake>) -> Option<String>> Says<F> {
    fn say<E: Exchange>(&self, exchange: &mut E, ring: Option<Wake>) -> Option<((), Awaits)> {
        exchange.read_body(1 << 20).expect("a body");
        let fields: Vec<&str> = exchange.fields("X-FIELD").collect();
        let (method, target) = (exchange.method(), exchange.target());
        let len = exchange.body().len();
        let Some(said) = (self.0)(&format!("{method} {target} {fields:?} {len}"), ring) else {
            let (heeds, until) = (Heeds::End, Instant::now() + PATIENCE);
            return Some(((), Awaits { heeds, until }));
        };
        let _the_client_has_left = exchange.respond(&HttpResponse {
            status: 200,
            fields: &[],
            body: said.as_bytes(),
        });
        None
    }
}

impl<F> Serve for Says<F>
where
    F: Fn(&str, Option<Wake>) -> Option<String> + Send + Sync + 'static,
{
    type UnderWay = ();

    fn serve<E: Exchange>(&self, exchange: &mut E) -> Option<((), Awaits)> {
        let ring = exchange.ring();
        self.say(exchange, ring)
    }

    fn go_on<E: Exchange>(&self, exchange: &mut E, (): (), _: Heard) -> Option<((), Awaits)> {
        self.say(exchange, None)
    }

    fn refuse<E: Exchange>(&self, exchange: &mut E, refusal: &HttpRefusal) -> io::Result<()> {
        refuse_plainly(exchange, refusal)
    }
}

/// What a toy says to what the front refuses: the refusal and nothing else.
fn refuse_plainly<E: Exchange>(exchange: &mut E, refusal: &HttpRefusal) -> io::Result<()> {
    let fields: Vec<_> = refusal.fields().collect();
    exchange.respond(&HttpResponse {
        status: refusal.status,
        fields: &fields,
        body: &refusal.body(),
    })
}

impl Serve for Toy {
    fn refuse<E: Exchange>(&self, exchange: &mut E, refusal: &HttpRefusal) -> io::Result<()> {
        refuse_plainly(exchange, refusal)
    }

    type UnderWay = Infallible;

    fn go_on<E: Exchange>(
        &self,
        _: &mut E,
        never: Infallible,
        _: Heard,
    ) -> Option<(Infallible, Awaits)> {
        match never {}
    }

    fn serve<E: Exchange>(&self, exchange: &mut E) -> Option<(Infallible, Awaits)> {
        let target = exchange.target().to_owned();
        self.tell(Event::Entered(target.clone()));
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        match path {
            "/echo" => self.echo(exchange),
            "/wait" => self.wait(exchange),
            "/stream" => self.stream(exchange),
            "/big" => {
                let len = query.parse().expect("a number");
                self.respond(exchange, 200, &vec![b'b'; len]);
            }
            "/status" => {
                self.respond(exchange, query.parse().expect("a number"), b"body");
            }
            "/panic" => panic!("the toy was told to"),
            "/silent" => {}
            "/fields" => {
                let values: Vec<&str> = exchange.fields("x-field").collect();
                let text = format!("{} {} {}", exchange.method(), target, values.join("|"));
                self.respond(exchange, 200, text.as_bytes());
            }
            _ => self.respond(exchange, 404, b"what?"),
        }
        None
    }
}
