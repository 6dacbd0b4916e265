//! The short way out: an answer that leaves on the thread that made it, without the receiver being woken to write it.
//!
//! A transport that can take bytes without waiting offers a [`ShortWay`]. It is used only while the receiver waits and nothing is queued, so that nothing
//! can be overtaken; and while it is used the receiver reads nothing, so that nobody else writes. What it did not take goes the long way, through the
//! queue. Must not know what bytes go where.

use crate::base::log;
use crate::base::panics;
use crate::outbox::answer::{Answer, Pace, ShortSent, ShortWay};
use crate::outbox::producer::{OutboxState, SharedOutbox};
use crate::outbox::queue::Item;

/// So much does not wait for the end of a burst.
const BURST_BYTES: usize = 32 * 1024;

impl SharedOutbox {
    /// Sends an answer by the short way, if there is one now; otherwise, and what is left of it, by the long one.
    pub(super) fn answer(&self, answer: Answer) {
        let mut state = self.lock();
        let Some(short_way) = state.begin_short() else {
            return self.answer_long(state, Item::Answer(answer));
        };
        // The receiver may wait for this lock, and so must not wait for the kernel.
        drop(state);
        let mut next = Some((short_way, answer));
        while let Some((mut short_way, answer)) = next {
            let sent = panics::catch(|| short_way(answer)).map_err(|panic| {
                log::error!("sending an answer panicked: {panic}");
            });
            next = self.end_short(short_way, sent.ok());
        }
    }

    /// Notes how sending an answer has ended. Returns the next one, if it can go the same way at once.
    fn end_short(
        &self,
        short_way: ShortWay,
        sent: Option<ShortSent>,
    ) -> Option<(ShortWay, Answer)> {
        let mut state = self.lock();
        state.sending = false;
        let waits_for = match &state.waits {
            Some(waits) => waits.hears_of_sent,
            None => false,
        };
        if !state.receiver_gone {
            state.short_way = Some(short_way);
        }
        let (rest, wakes_owner) = match sent {
            Some(ShortSent::All) => (None, false),
            Some(ShortSent::AllAndWake) => (None, true),
            Some(ShortSent::Part(rest)) => (Some(Item::Rest(rest)), true),
            Some(ShortSent::Nothing(answer)) => (Some(Item::Answer(answer)), true),
            None => (Some(Item::NoAnswer(None)), true),
        };
        match rest {
            None => {
                state.due -= 1;
                state.has_sent = true;
            }
            Some(rest) if state.receiver_gone => {
                drop(state);
                rest.ended_unread();
                return None;
            }
            Some(mut rest) => {
                state.answers += 1;
                state.charge(&mut rest);
                // Ahead of what has been put in meanwhile: the client has its beginning.
                state.queue.push_front(rest);
            }
        }
        let next = match wakes_owner || waits_for {
            true => None,
            false => state.next_short(),
        };
        if wakes_owner || waits_for || (next.is_none() && state.has_news()) {
            self.arrived(state);
        }
        next
    }
}

impl OutboxState {
    /// Takes the short way, if nothing is ahead of it: a receiver that waits has found the queue empty, and is woken by the first that comes into it. Answers
    /// to requests that came together go the long way, on which they can leave together.
    fn begin_short(&mut self) -> Option<ShortWay> {
        let leaves_at_once = match self.pace {
            Pace::Single => true,
            Pace::BetweenBursts => self.due == 1,
            Pace::Burst => false,
        };
        if self.waits.is_none() || self.sending || !leaves_at_once {
            return None;
        }
        let short_way = self.short_way.take()?;
        self.sending = true;
        Some(short_way)
    }

    /// Takes the short way for an answer that came while it was used, if that is all that came: nobody has been woken for it.
    fn next_short(&mut self) -> Option<(ShortWay, Answer)> {
        let answer = self.queue.pop_lone_answer()?;
        if self.due == 1
            && let Some(short_way) = self.begin_short()
        {
            self.answers -= 1;
            return Some((short_way, answer));
        }
        self.queue.push_front(Item::Answer(answer));
        None
    }

    /// Whether what there is waits for the end of a burst. Never while the thread that would end it waits for room.
    pub(super) fn is_held_back(&self) -> bool {
        self.pace == Pace::Burst
            && self.queue.bytes() < BURST_BYTES
            && !(self.room_waited_for || self.closed || self.superseded)
    }

    /// Whether something has come that the receiver was not told of while an answer was being sent.
    fn has_news(&self) -> bool {
        self.closed || self.superseded || !self.queue.is_empty()
    }
}

/// Whether answers may leave on the thread that made them: always, but for tests of the other way. Off in a build with debug assertions whose environment has `MCP_THREADS_LONG_WAY`, which is how the tests of the laws are run both ways. A release build
/// looks at no environment.
pub(crate) fn short_way_is_on() -> bool {
    #[cfg(debug_assertions)]
    {
        use std::env;
        use std::sync::LazyLock;
        static IS_OFF: LazyLock<bool> =
            LazyLock::new(|| env::var_os("MCP_THREADS_LONG_WAY").is_some());
        !*IS_OFF
    }
    #[cfg(not(debug_assertions))]
    true
}
