//! What has been sent on the streams of one session and may have to be sent again, and the event ids that name places in it.
//!
//! Must not know which streams are open, or how an event looks on the wire.

use std::collections::VecDeque;
use std::fmt;

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

/// The messages of every stream of a session, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Replay {
    sent: VecDeque<(Cursor, Vec<u8>)>,
    /// Of the messages together.
    bytes: usize,
}

impl Replay {
    /// Keeps a message until newer ones need its room; one that is longer than all the room is not kept. Says
    /// what had to go.
    pub(super) fn keep(
        &mut self,
        at: Cursor,
        message: &[u8],
        bytes_max: usize,
    ) -> Result<Vec<Cursor>, TooLong> {
        if message.len() > bytes_max {
            return Err(TooLong);
        }
        self.bytes += message.len();
        self.sent.push_back((at, message.to_vec()));
        let mut gone = Vec::new();
        while self.bytes > bytes_max
            && let Some((at, message)) = self.sent.pop_front()
        {
            self.bytes -= message.len();
            gone.push(at);
        }
        Ok(gone)
    }

    pub(super) fn holds(&self, at: Cursor) -> bool {
        self.sent.iter().any(|(kept, _)| *kept == at)
    }

    /// What was sent on this place's stream behind it.
    pub(super) fn behind(&self, from: Cursor) -> Vec<(Cursor, Vec<u8>)> {
        let behind = |at: &Cursor| at.stream == from.stream && at.event > from.event;
        let sent = self.sent.iter().filter(|(at, _)| behind(at));
        sent.cloned().collect()
    }

    /// Forgets everything of one stream.
    pub(super) fn forget(&mut self, stream: u64) {
        self.sent.retain(|(at, _)| at.stream != stream);
        self.bytes = self.sent.iter().map(|(_, message)| message.len()).sum();
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// A message that is longer than all there may be.
#[derive(Debug)]
pub(super) struct TooLong;
