//! Requests of ours that a legacy session's client has not answered yet.
//!
//! The worker that asks waits here for the answer, for its call's cancellation, for the end of the stream that carries the question, or for the
//! deadline, whichever comes first. An answer is found by
//! the id we gave, in the session it was asked in and nowhere else. Must not know what is asked. Specification: `client/elicitation`,
//! `client/sampling`, `client/roots` of revision 2025-11-25.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use serde_json::value::RawValue;

use crate::base::awake;
use crate::base::budget::{Budget, Charge};
use crate::base::cancel::CancellationToken;
use crate::base::counted::Counted;
use crate::base::lock::Lock;
use crate::base::log;
use crate::handler::ask::AskError;
use crate::protocol::id::RequestId;
use crate::protocol::raw;

/// What the asks of every session have in common.
#[derive(Default)]
pub(crate) struct AskCounter {
    open: Arc<AtomicUsize>,
    /// No two asks of a server have the same id, so that a late answer on a pipe that was initialized again is nobody's.
    last_id: AtomicI64,
}

impl AskCounter {
    /// How many are open.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

/// What the client answered, still as the text that it sent, and what a longer one is charged.
type ClientAnswer = Result<(Box<RawValue>, Option<Charge>), AskError>;

/// An answer is charged above this size. Below it the bound on those who wait for one is enough.
const FREE_ANSWER_BYTES: usize = 4 * 1024;

/// The open requests of one session.
#[derive(Default)]
pub(crate) struct Asks {
    state: Lock<AsksState>,
}

#[derive(Default)]
struct AsksState {
    open: HashMap<RequestId, Sender<ClientAnswer>>,
    /// The client has closed its side, so nothing will be answered any more.
    closed: bool,
}

/// One request of ours, from before it is sent until its answer is there or nobody waits any more.
pub(crate) struct PendingAsk<'a> {
    asks: &'a Asks,
    /// The id to send it under: a text that no client numbers its own requests with.
    pub(crate) id: RequestId,
    answered: Receiver<ClientAnswer>,
    _counted: Counted,
}

impl Asks {
    /// Opens a request and gives it an id.
    ///
    /// # Errors
    ///
    /// When the client can answer nothing any more.
    pub(crate) fn open(&self, counter: &Arc<AskCounter>) -> Result<PendingAsk<'_>, AskError> {
        let (sender, answered) = bounded(1);
        let mut state = self.state.lock();
        if state.closed {
            return Err(AskError::Left);
        }
        let number = counter.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let id = RequestId::String(format!("mcp-threads/ask/{number}").into());
        state.open.insert(id.clone(), sender);
        Ok(PendingAsk {
            asks: self,
            id,
            answered,
            _counted: Counted::one(&counter.open),
        })
    }

    /// Ends every wait, now and later, because the client can answer nothing any more.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.open.clear();
    }

    /// Hands an answer to the handler that waits for it. One that nobody waits for is ignored.
    pub(crate) fn answer(
        &self,
        id: &RequestId,
        body: Result<&RawValue, &RawValue>,
        memory: &Arc<Budget>,
    ) {
        let Some(waiting) = self.state.lock().open.remove(id) else {
            log::debug!("a client answered a request that is not open");
            return;
        };
        let answer = match body {
            Ok(raw) => {
                let bytes = Some(raw.get().len()).filter(|bytes| *bytes > FREE_ANSWER_BYTES);
                match bytes.map(|bytes| memory.charge(bytes)).transpose() {
                    Ok(charge) => Ok((raw::owned(raw), charge)),
                    Err(_) => Err(AskError::NoRoom),
                }
            }
            Err(raw) => Err(AskError::refused(raw)),
        };
        // An error means that nobody waits any more.
        let _nobody_waits = waiting.send(answer);
    }
}

impl PendingAsk<'_> {
    /// Waits for the answer. `unread` disconnects when nobody reads the question's stream any more and nobody can come back for it.
    pub(crate) fn wait(
        &self,
        call: &CancellationToken,
        unread: &Receiver<Infallible>,
        patience: Duration,
    ) -> ClientAnswer {
        let deadline = awake::after(patience);
        loop {
            let left = deadline.saturating_duration_since(awake::now());
            select! {
                recv(self.answered) -> answer => return answer.unwrap_or(Err(AskError::Left)),
                recv(call.channel()) -> _ => return Err(AskError::Cancelled),
                // The answer may have come in a request of its own just before.
                recv(unread) -> _ => return self.answered.try_recv().unwrap_or(Err(AskError::Left)),
                default(left) => if left.is_zero() {
                    return Err(AskError::TimedOut);
                }
            }
        }
    }
}

impl Drop for PendingAsk<'_> {
    fn drop(&mut self) {
        self.asks.state.lock().open.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::to_raw_value;
    use serde_json::{Value, json};

    use super::*;
    use crate::base::cancel::cancellation;

    fn raw(value: &Value) -> Box<RawValue> {
        to_raw_value(value).expect("it is JSON")
    }

    fn answer(asks: &Asks, id: &RequestId, value: &Value) {
        asks.answer(id, Ok(&raw(value)), &Budget::whole(0));
    }

    fn waited(
        pending: &PendingAsk<'_>,
        call: &CancellationToken,
        patience: Duration,
    ) -> Result<String, AskError> {
        pending
            .wait(call, &crossbeam_channel::never(), patience)
            .map(|(raw, _)| raw.get().to_owned())
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn each_answer_finds_its_question_and_the_first_one_counts() {
        let (asks, counter) = (Asks::default(), Arc::default());
        let (_canceller, call) = cancellation();
        let one = asks.open(&counter).expect("it is open");
        let two = asks.open(&counter).expect("it is open");
        assert_eq!(counter.open(), 2);
        answer(&asks, &two.id, &json!("two"));
        answer(&asks, &RequestId::String("1".into()), &json!("text"));
        answer(&asks, &RequestId::from(1), &json!("unknown"));
        answer(&asks, &one.id, &json!("one"));
        answer(&asks, &one.id, &json!("once more"));
        assert_eq!(waited(&one, &call, LONG), Ok("\"one\"".into()));
        assert_eq!(waited(&two, &call, LONG), Ok("\"two\"".into()));
        drop((one, two));
        assert_eq!(counter.open(), 0);
        assert!(asks.state.lock().open.is_empty());
    }

    #[test]
    fn an_id_is_never_used_again() {
        let (asks, counter) = (Asks::default(), Arc::default());
        let first = asks.open(&counter).expect("it is open").id.clone();
        let (_canceller, call) = cancellation();
        let second = asks.open(&counter).expect("it is open");
        assert_ne!(first, second.id);
        answer(&asks, &first, &json!("late"));
        assert_eq!(
            waited(&second, &call, Duration::ZERO),
            Err(AskError::TimedOut)
        );
    }

    #[test]
    fn sessions_share_no_id() {
        let counter = Arc::default();
        let (one, other) = (Asks::default(), Asks::default());
        let first = one.open(&counter).expect("it is open").id.clone();
        let second = other.open(&counter).expect("it is open").id.clone();
        assert_ne!(first, second);
    }

    #[test]
    fn a_wait_ends_with_its_call_and_with_its_client() {
        let (asks, counter) = (Asks::default(), Arc::default());
        let (canceller, call) = cancellation();
        let one = asks.open(&counter).expect("it is open");
        canceller.cancel();
        assert_eq!(waited(&one, &call, LONG), Err(AskError::Cancelled));
        let (_canceller, call) = cancellation();
        let (reads, unread) = bounded(0);
        let left = asks.open(&counter).expect("it is open");
        drop(reads);
        assert!(matches!(
            left.wait(&call, &unread, LONG),
            Err(AskError::Left)
        ));
        let two = asks.open(&counter).expect("it is open");
        asks.close();
        assert_eq!(waited(&two, &call, LONG), Err(AskError::Left));
        assert_eq!(asks.open(&counter).err(), Some(AskError::Left));
    }

    #[test]
    fn an_error_is_handed_on() {
        let (asks, counter) = (Asks::default(), Arc::default());
        let (_canceller, call) = cancellation();
        let one = asks.open(&counter).expect("it is open");
        let error = raw(&json!({ "code": -1, "message": "no" }));
        asks.answer(&one.id, Err(&error), &Budget::whole(0));
        let refused = AskError::Refused {
            code: -1,
            message: "no".into(),
        };
        assert_eq!(waited(&one, &call, LONG), Err(refused));
    }
}
