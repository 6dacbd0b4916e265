//! The array that answers a batch: an adapter between its members' answers and the one place they leave by.
//!
//! JSON-RPC batches exist only in revision 2025-03-26. A batch has one place in the outbox; its members' answers are gathered
//! as they come and leave together with the last one. Must not know what is asked.

use std::mem;
use std::sync::Arc;

use crate::base::budget::Charge;
use crate::base::lock::Lock;
use crate::observe::access::{Access, Outcome, RequestTag};
use crate::outbox::{Answer, AnswerSlot, Outbox};
use crate::protocol::version::Era;

/// One request's part of a batch. Dropped unused, it counts as answered with nothing.
pub(crate) struct Member {
    batch: Arc<Batch>,
    /// With what it costs.
    answer: Option<(Vec<u8>, Option<Charge>)>,
}

struct Batch {
    outbox: Option<Outbox>,
    gathered: Lock<Gathered>,
}

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
        answer: None,
    };
    (0..members).map(|_| member()).collect()
}

impl Member {
    /// Adds the answer to the array. Never waits.
    pub(crate) fn send(mut self, answer: Answer) {
        // The array leaves as one; that this part of it has ended, nobody else will tell.
        answer.access.ended(None);
        // A refusal comes uncharged, and waits for the others.
        let charge = || self.outbox()?.charge_answer(answer.body.len()).ok();
        let charge = answer.charge.or_else(charge);
        self.answer = Some((answer.body, charge));
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
        self.batch.gather(self.answer.take());
    }
}

impl Batch {
    fn gather(&self, answer: Option<(Vec<u8>, Option<Charge>)>) {
        let mut gathered = self.gathered.lock();
        if let Some((body, charge)) = answer {
            match (&mut gathered.charge, charge) {
                (Some(all), Some(charge)) => all.absorb(charge),
                (all, charge) => *all = all.take().or(charge),
            }
            let separator = if gathered.body.is_empty() { b'[' } else { b',' };
            gathered.body.push(separator);
            gathered.body.extend_from_slice(&body);
        }
        gathered.missing -= 1;
        if gathered.missing > 0 {
            return;
        }
        let (slot, mut body) = (gathered.slot.take(), mem::take(&mut gathered.body));
        let (tag, charge) = (gathered.tag.clone(), gathered.charge.take());
        // An answer may reach the kernel: no lock may be held over it. If there are only notifications, or everything was cancelled, the slot says so by being
        // dropped.
        drop(gathered);
        if let Some(slot) = slot.filter(|_| !body.is_empty()) {
            body.push(b']');
            let access = Access::immediate(tag, "batch", Outcome::Ok);
            slot.send(Answer {
                charge,
                ..Answer::new(body, None, Era::Legacy, access)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use crossbeam_channel::unbounded;

    use super::*;
    use crate::base::budget::Budget;
    use crate::outbox::{Item, Rings, ShortSent, answer, outbox_on};

    #[test]
    fn law_13_an_answer_that_waits_for_the_rest_of_its_batch_is_charged() {
        let account = Budget::whole(1_000_000);
        let (outbox, receiver) = outbox_on(&account, 1, 1_000_000);
        let slot = outbox.reserve().expect("the receiver lives");
        let mut members = split(slot, 2, RequestTag::fresh(None));
        let before = account.used();
        let uncharged = answer("a refusal");
        assert!(uncharged.charge.is_none());
        members.pop().expect("two").send(uncharged);
        assert_eq!(account.used(), before + "a refusal".len());
        drop(members);
        let gathered = receiver.recv(None);
        assert!(matches!(&gathered, Item::Answer(array) if array.body == b"[a refusal]"));
    }

    /// Who answers may wait for the kernel, or for the program's logger.
    #[test]
    fn a_batch_is_not_locked_while_its_array_is_sent() {
        let (outbox, receiver) = outbox_on(&Budget::whole(1_000_000), 1, 1_000_000);
        let slot = outbox.reserve().expect("the receiver lives");
        let member = split(slot, 1, RequestTag::fresh(None)).pop().expect("one");
        let batch = Arc::clone(&member.batch);
        let (found, finds) = unbounded();
        receiver.set_short_way(Some(Box::new(move |_| {
            let (batch, found) = (Arc::clone(&batch), found.clone());
            let looking = thread::spawn(move || found.send(batch.gathered.lock().missing));
            assert_eq!(finds.recv_timeout(Duration::from_secs(20)), Ok(0));
            looking.join().expect("it has looked").expect("it is heard");
            ShortSent::All
        })));
        let waits = receiver.try_recv(&(Arc::new(|| {}) as _), Rings::ForItems);
        assert!(waits.is_err());
        member.send(answer("one"));
        assert!(matches!(receiver.recv(None), Item::Sent));
    }
}
