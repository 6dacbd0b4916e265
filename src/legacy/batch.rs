//! The array that answers a batch: an adapter between its members' answers and the one place they leave by.
//!
//! JSON-RPC batches exist only in revision 2025-03-26. A batch has one place in the outbox; its members' answers are gathered
//! as they come and leave together with the last one. Must not know what is asked.

use std::mem;
use std::sync::Arc;

use crate::base::budget::Charge;
use crate::base::panics::Lock;
use crate::observe::access::{Access, Outcome, RequestTag};
use crate::outbox::{Answer, AnswerSlot, Outbox};
use crate::protocol::version::Era;

/// One request's part of a batch. Dropped unused, it counts as answered with nothing.
#[derive(Debug)]
pub(crate) struct Member {
    batch: Arc<Batch>,
    used: bool,
}

#[derive(Debug)]
struct Batch {
    outbox: Option<Outbox>,
    gathered: Lock<Gathered>,
}

#[derive(Debug)]
struct Gathered {
    /// `None` once the array has left.
    slot: Option<AnswerSlot>,
    tag: RequestTag,
    /// The array so far, without its closing bracket.
    body: Vec<u8>,
    /// What it costs.
    charge: Option<Charge>,
    missing: usize,
}

/// Splits one place into as many as the batch has members.
pub(crate) fn split(slot: AnswerSlot, members: usize, tag: RequestTag) -> Vec<Member> {
    let batch = Arc::new(Batch {
        outbox: slot.outbox().cloned(),
        gathered: Lock::new(Gathered {
            slot: Some(slot),
            tag,
            body: Vec::new(),
            charge: None,
            missing: members,
        }),
    });
    let member = || Member {
        batch: Arc::clone(&batch),
        used: false,
    };
    (0..members).map(|_| member()).collect()
}

impl Member {
    /// Adds the answer to the array. Never waits.
    pub(crate) fn send(mut self, answer: Answer) {
        // The array leaves as one; that this part of it has ended, nobody else will tell.
        answer.access.ended(None);
        self.used = true;
        self.batch.gather(Some((&answer.body, answer.charge)));
    }

    /// Ends the request without an answer.
    pub(crate) fn withdraw(self, access: &Access) {
        access.ended(None);
    }

    /// Where events of the same request go.
    pub(crate) fn outbox(&self) -> Option<&Outbox> {
        self.batch.outbox.as_ref()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if !self.used {
            self.batch.gather(None);
        }
    }
}

impl Batch {
    fn gather(&self, answer: Option<(&[u8], Option<Charge>)>) {
        let mut gathered = self.gathered.lock();
        if let Some((body, charge)) = answer {
            match (&mut gathered.charge, charge) {
                (Some(all), Some(charge)) => all.absorb(charge),
                (all, charge) => *all = all.take().or(charge),
            }
            let separator = if gathered.body.is_empty() { b'[' } else { b',' };
            gathered.body.push(separator);
            gathered.body.extend_from_slice(body);
        }
        gathered.missing -= 1;
        if gathered.missing > 0 {
            return;
        }
        let Some(slot) = gathered.slot.take() else {
            return;
        };
        if gathered.body.is_empty() {
            // Only notifications, or everything was cancelled: the slot says so by being dropped.
            return;
        }
        let mut body = mem::take(&mut gathered.body);
        body.push(b']');
        let access = Access::immediate(gathered.tag.clone(), "batch", Outcome::Ok);
        slot.send(Answer {
            charge: gathered.charge.take(),
            ..Answer::new(body, None, Era::Legacy, access)
        });
    }
}
