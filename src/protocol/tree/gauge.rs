//! The count of what a tree takes while it is read, and the errors that end the reading.
//!
//! Must not know serde's data model beyond lists, maps and strings, or whose tree it is.

use std::cell::{Cell, RefCell};
use std::fmt::{self, Display};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::de;
use serde_json::Value;

use crate::base::budget::{Budget, Charge, OverBudget, StepTurn};
use crate::base::heap::HeapTrim;
use crate::protocol::sentence::Sentence;
use crate::protocol::tree::map_kind::{DOUBLING_MAX, bytes_of_member};

/// How much is charged at a time.
const STEP_BYTES: usize = 1024 * 1024;
/// After a tree of more bytes the heap is trimmed; its reading took several times as long.
const UNTRIMMED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// More than any tree may take.
const REFUSED_BYTES: usize = usize::MAX / 2;
pub(super) const VALUE_BYTES: usize = size_of::<Value>();
/// A list has room for so many items as soon as it has one.
pub(super) const ITEMS_MIN: usize = 4;

/// What the trees of one call may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TreeRoom<'a> {
    pub(super) bytes_max: usize,
    /// The account of its client, or of the whole server.
    pub(super) memory: &'a Arc<Budget>,
    /// What that can ever have left. For more than that nobody is told to try again, or waits.
    pub(crate) left_max: usize,
    /// Where that is told how much it wanted when there was less.
    pub(crate) wanted: Option<&'a AtomicUsize>,
}

impl TreeRoom<'_> {
    /// Why so many bytes are not there. What others always keep is taken to be a step.
    pub(super) fn for_want_of(&self, bytes: usize) -> Unread {
        if let Some(wanted) = self.wanted {
            wanted.store(bytes, Ordering::Relaxed);
        }
        match bytes.saturating_add(STEP_BYTES) > self.left_max {
            true => Unread::TooLargeForAll,
            false => Unread::NoMemory,
        }
    }
}

/// Why a text was not read.
#[derive(Debug, PartialEq)]
pub(crate) enum Unread {
    /// It does not fit the type.
    Unfit(String),
    /// It would take more than one call may: so many bytes.
    TooLarge(usize),
    /// It would take more than the server has left.
    NoMemory,
    /// It would take more than the server ever has left.
    TooLargeForAll,
}

impl Unread {
    pub(crate) fn into_sentence(self) -> String {
        match self {
            Unread::Unfit(problem) => problem,
            Unread::TooLarge(most) => format!(
                "as a tree they would take more than {most} bytes (`Limits::json_tree_bytes_max`)"
            ),
            Unread::NoMemory => "the server has no memory left for it; try again later".into(),
            Unread::TooLargeForAll => {
                "they would take more memory than there is for it (`Limits::memory_bytes_max`)"
                    .into()
            }
        }
    }
}

/// What a tree takes, for as long as it is kept. To be dropped after the tree, on the same thread.
#[derive(Debug)]
pub(crate) struct TreeCharge {
    pub(super) charge: Charge,
    /// Made after the first step.
    trim: Option<HeapTrim>,
}

impl Drop for TreeCharge {
    fn drop(&mut self) {
        if let (Some(trim), UNTRIMMED_BYTES_MAX..) = (self.trim.take(), self.charge.bytes()) {
            trim.trim();
        }
    }
}

/// What the tree that is being read takes so far.
pub(super) struct Gauge<'r> {
    room: &'r TreeRoom<'r>,
    used: Cell<usize>,
    charge: RefCell<Option<TreeCharge>>,
    refused: Cell<Option<Unread>>,
    /// There when memory was short. Dropped after the charge, which is dropped after what was read.
    turn: Cell<Option<StepTurn>>,
}

impl<'r> Gauge<'r> {
    pub(super) fn new(room: &'r TreeRoom<'r>) -> Self {
        Gauge {
            room,
            used: Cell::new(0),
            charge: RefCell::new(None),
            refused: Cell::new(None),
            turn: Cell::new(None),
        }
    }

    /// What was read, with what it is charged, or why it was not.
    pub(super) fn judge<T>(self, read: Result<T, Slip>) -> Result<(T, Option<TreeCharge>), Unread> {
        match (self.refused.into_inner(), read) {
            (Some(refused), _) => Err(refused),
            (None, Ok(value)) => Ok((value, self.charge.into_inner())),
            (None, Err(slip)) => Err(Unread::Unfit(slip.0)),
        }
    }

    /// One more item in a list that had so many.
    pub(super) fn item(&self, before: usize) -> Result<(), Slip> {
        let more = match before {
            0 => ITEMS_MIN,
            DOUBLING_MAX.. => 1,
            _ if before >= ITEMS_MIN && before.is_power_of_two() => before,
            _ => return Ok(()),
        };
        self.take(more * VALUE_BYTES)
    }

    /// One more member in a map that had so many.
    pub(super) fn member(&self, before: usize) -> Result<(), Slip> {
        match bytes_of_member(before) {
            0 => Ok(()),
            bytes => self.take(bytes),
        }
    }

    /// The heap's share of a string.
    pub(super) fn string(&self, text: &str) -> Result<(), Slip> {
        match text.len() {
            0 => Ok(()),
            length => self.take((length + 8).next_multiple_of(16).max(32)),
        }
    }

    fn take(&self, bytes: usize) -> Result<(), Slip> {
        let used = self.used.get() + bytes;
        self.used.set(used);
        let most = self.room.bytes_max.min(REFUSED_BYTES - 1);
        if used > most {
            return Err(self.refuse(Unread::TooLarge(most)));
        }
        let mut held = self.charge.borrow_mut();
        let before = held.as_ref().map_or(0, |held| held.charge.bytes());
        if used <= before {
            return Ok(());
        }
        let more = STEP_BYTES.max(used - before);
        if self.charge(&mut held, more).is_ok() {
            return Ok(());
        }
        let turn = self.room.memory.top().turn();
        self.charge(&mut held, more).map_err(|_| {
            self.turn.set(Some(turn));
            self.refuse(self.room.for_want_of(before + more))
        })
    }

    fn charge(&self, held: &mut Option<TreeCharge>, more: usize) -> Result<(), OverBudget> {
        match held {
            Some(held) => {
                held.trim.get_or_insert_with(HeapTrim::new);
                held.charge.grow(more)
            }
            None => self.room.memory.charge(more).map(|charge| {
                *held = Some(TreeCharge { charge, trim: None });
            }),
        }
    }

    /// Remembers why; the text of the error that ends the reading does not matter. A reader that goes on all the same gets nothing more.
    fn refuse(&self, unread: Unread) -> Slip {
        self.used.set(REFUSED_BYTES);
        let first = self.refused.take().unwrap_or(unread);
        self.refused.set(Some(first));
        Slip(String::new())
    }
}

/// An error of reading, cut to a sentence where it is made: serde's own repeats the value, whole and escaped.
#[derive(Debug)]
pub(crate) struct Slip(String);

impl Slip {
    pub(crate) fn new(text: String) -> Self {
        Slip(text)
    }

    pub(super) fn of(error: impl Display) -> Self {
        Slip(Sentence::of(&error))
    }
}

impl Display for Slip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Slip {}

impl de::Error for Slip {
    fn custom<T: Display>(message: T) -> Self {
        Slip::of(message)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;
    use std::time::Duration;

    use crossbeam_channel::{Receiver, bounded};
    use serde::Deserializer;
    use serde::de::{SeqAccess, Visitor};

    use super::*;
    use crate::base::limits::Limits;

    /// Reads a list of which there are two at once, and gives late back what it took in vain.
    struct Meeting<'t> {
        other: &'t Barrier,
        other_ended: Receiver<()>,
    }

    impl Drop for Meeting<'_> {
        fn drop(&mut self) {
            // Only if it has not waited for this one.
            let _too_early = self.other_ended.recv_timeout(Duration::from_millis(300));
        }
    }

    impl<'de> Visitor<'de> for Meeting<'_> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
            items.next_element::<u8>()?;
            self.other.wait();
            while items.next_element::<u8>()?.is_some() {}
            Ok(())
        }
    }

    #[test]
    fn law_13_two_are_not_both_refused_for_what_both_have_taken() {
        const ITEMS: usize = 65_536;
        // Each has a step, and neither fits beside that of the other.
        let memory = Budget::whole(ITEMS * VALUE_BYTES + STEP_BYTES / 2);
        let (limits, peers) = (
            Limits::default(),
            [(); 2].map(|()| memory.of_peer(usize::MAX)),
        );
        let json = format!("[{}]", vec!["0"; ITEMS].join(","));
        let other = Barrier::new(2);
        let (end, ended) = bounded(2);
        let read = |peer| {
            let room = TreeRoom::new(&limits, peer);
            let meeting = Meeting {
                other: &other,
                other_ended: ended.clone(),
            };
            let read = room.read_gauged(&json, |json| json.deserialize_any(meeting));
            end.send(()).expect("both ends are here");
            read.map(drop)
        };
        let read = thread::scope(|scope| {
            let both = peers.each_ref().map(|peer| scope.spawn(|| read(peer)));
            both.map(|thread| thread.join().expect("it does not panic"))
        });
        assert!(read.iter().any(Result::is_ok), "{read:?}");
        assert_eq!(memory.used(), 0);
    }
}
