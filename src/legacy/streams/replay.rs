//! What has been sent on the streams of one session and may have to be sent again, and the event ids that name places in it.
//!
//! Must not know which streams are open, or how an event looks on the wire.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use crate::base::budget::{Budget, Charge};

/// A place in a stream: the event id that a client sends back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(super) stream: u64,
    /// Zero stands in front of the first event.
    pub(super) event: u64,
}

impl Cursor {
    /// Takes what [`Display`](fmt::Display) writes and nothing else, for it comes from the client.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (stream, event) = text.split_once('-')?;
        let cursor = Cursor {
            stream: stream.parse().ok()?,
            event: event.parse().ok()?,
        };
        (cursor.to_string() == text).then_some(cursor)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.stream, self.event)
    }
}

/// A message that has been sent, and what it costs to keep it.
struct Sent {
    at: Cursor,
    message: Vec<u8>,
    _charge: Charge,
}

/// The messages of every stream of a session, the oldest first.
#[derive(Default)]
pub(super) struct Replay {
    sent: VecDeque<Sent>,
    /// Of the messages together.
    pub(super) bytes: usize,
}

impl Replay {
    /// Keeps a message until newer ones need its room. Says whether there was any, and what had to go for it; one that is longer than all the room
    /// is not kept.
    pub(super) fn keep(
        &mut self,
        at: Cursor,
        message: &[u8],
        bytes_max: usize,
        memory: &Arc<Budget>,
    ) -> (bool, Vec<Cursor>) {
        let mut gone = Vec::new();
        while message.len() <= bytes_max {
            if self.bytes + message.len() <= bytes_max
                && let Ok(_charge) = memory.try_charge(message.len() + SENT_BYTES)
            {
                let message = message.to_vec();
                self.bytes += message.len();
                self.sent.push_back(Sent {
                    at,
                    message,
                    _charge,
                });
                return (true, gone);
            }
            let Some(oldest) = self.sent.pop_front() else {
                break;
            };
            self.bytes -= oldest.message.len();
            gone.push(oldest.at);
        }
        (false, gone)
    }

    pub(super) fn holds(&self, at: Cursor) -> bool {
        self.sent.iter().any(|sent| sent.at == at)
    }

    /// What was sent on this place's stream behind it.
    pub(super) fn behind(&self, from: Cursor) -> Vec<(Cursor, Vec<u8>)> {
        let behind = |at: &Cursor| at.stream == from.stream && at.event > from.event;
        let sent = self.sent.iter().filter(|sent| behind(&sent.at));
        sent.map(|sent| (sent.at, sent.message.clone())).collect()
    }

    /// Forgets everything of one stream.
    pub(super) fn forget(&mut self, stream: u64) {
        self.sent.retain(|sent| sent.at.stream != stream);
        self.bytes = self.sent.iter().map(|sent| sent.message.len()).sum();
    }
}

/// What it costs to keep a message, beside the message, in bytes.
const SENT_BYTES: usize = 64;
