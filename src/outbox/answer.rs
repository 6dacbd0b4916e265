//! The answer to one request, how far the request got, and how far the answer.
//!
//! Must not know how it waits or who writes it.

use crate::base::budget::Charge;
use crate::observe::access::Access;
use crate::protocol::version::Era;

/// The terminal message of one request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: Vec<u8>,
    /// The code, if the message is a JSON-RPC error.
    pub(crate) error: Option<i64>,
    pub(crate) admission: Admission,
    pub(crate) era: Era,
    pub(crate) access: Access,
    /// What its body costs; small ones are not charged.
    pub(crate) charge: Option<Charge>,
}

impl Answer {
    /// The answer of a request that was admitted.
    pub(crate) fn new(body: Vec<u8>, error: Option<i64>, era: Era, access: Access) -> Self {
        Answer {
            body,
            error,
            admission: Admission::Admitted,
            era,
            access,
            charge: None,
        }
    }
}

/// How far a request got before it was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It was understood; the answer is the method's own.
    Admitted,
    /// It was refused before any method saw it.
    Malformed,
    /// It named a session that does not exist, or no more.
    UnknownSession,
}

/// Sends an answer as far as that needs no waiting, and tells of its end if all of it has left. It never waits, and tries once.
pub(crate) type ShortWay = Box<dyn FnMut(Answer) -> ShortSent + Send>;

/// What has become of an answer on the short way.
pub(crate) enum ShortSent {
    /// All of it has left. Its receiver need not hear of it at once, because the client's next word will wake it.
    All,
    /// All of it has left, and the receiver has something to do now.
    AllAndWake,
    Part(Rest),
    Nothing(Answer),
}

/// What is left of an answer whose beginning has been sent: the body from here on, as it is.
#[derive(Debug)]
pub(crate) struct Rest {
    pub(crate) answer: Answer,
    pub(crate) from: usize,
}

impl Rest {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.answer.body[self.from..]
    }
}

/// How the requests come whose answers leave here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pace {
    /// One by one: each answer leaves at once.
    #[default]
    Single,
    /// Several together, and more of them are being handed in: what is answered meanwhile leaves together, when all have been, or when it is much.
    Burst,
    /// Several together, of which all have been handed in: as long as several answers are due, they may leave together.
    BetweenBursts,
}
