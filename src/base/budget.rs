//! Bytes kept for peers: one account for the whole server, and below it one for each peer, or for a share of them and below that for each.
//!
//! What is kept is charged where it arrives and given back when the [`Charge`] is dropped, so no path can forget it. An account never goes
//! above its bound; what does not fit is refused, or something that may be dropped makes room for it (`on_shortage`). Two atomics a charge, no
//! lock. Must not know what is kept, or for whom.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::base::heap;
use crate::base::waiting::about_to_wait;

/// An account of bytes with a bound.
pub(crate) struct Budget {
    bytes_max: usize,
    used: AtomicUsize,
    /// What is charged here is charged there too.
    whole: Option<Arc<Budget>>,
    /// Drops what may be dropped, the oldest first, when so many bytes do not fit.
    relief: OnceLock<Box<Relief>>,
    /// Made when something is first short; see [`turn`](Self::turn).
    turn: OnceLock<(Sender<()>, Receiver<()>)>,
}

type Relief = dyn Fn(usize) + Send + Sync;

/// Bytes that are in use. Dropped, it gives them back.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

/// A [`turn`](Budget::turn), until it is dropped.
pub(crate) struct StepTurn(Receiver<()>);

impl Drop for StepTurn {
    fn drop(&mut self) {
        self.0.try_recv().expect("it is in there");
    }
}

/// Which account was too small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OverBudget {
    /// The peer's own.
    Own,
    /// One above it, that of the whole server or of a share of it: when others give back, there is room again.
    Whole,
    /// None: the process has no address space left. Nothing that could be dropped would change that.
    Process,
}

impl Budget {
    /// The account of a whole server.
    pub(crate) fn whole(bytes_max: usize) -> Arc<Self> {
        Budget::new(bytes_max, None)
    }

    /// An account below this one: a peer's, or the share of many. What it is charged is charged to this one too.
    pub(crate) fn of_peer(self: &Arc<Self>, bytes_max: usize) -> Arc<Self> {
        Budget::new(bytes_max, Some(Arc::clone(self)))
    }

    /// That of the whole server, of which this is a part.
    pub(crate) fn top(self: &Arc<Self>) -> &Arc<Self> {
        self.whole.as_ref().map_or(self, Budget::top)
    }

    fn new(bytes_max: usize, whole: Option<Arc<Self>>) -> Arc<Self> {
        Arc::new(Budget {
            bytes_max,
            used: AtomicUsize::new(0),
            whole,
            relief: OnceLock::new(),
            turn: OnceLock::new(),
        })
    }

    /// Waits for the turn of one that takes step by step, and was short of a step; to be asked of the whole server. Until it has either taken that or given back all of its steps, no other
    /// is refused: else all could be, each for what the others had taken in vain.
    pub(crate) fn turn(&self) -> StepTurn {
        let _is_relieved = about_to_wait();
        let (take, taken) = self.turn.get_or_init(|| bounded(1));
        take.send(()).expect("both ends are here");
        StepTurn(taken.clone())
    }

    /// What is to be done when this account is too small, before anything is refused. Said once; it is called without any lock of
    /// this room, on the thread that charges, with the bytes that do not fit.
    pub(crate) fn on_shortage(&self, relief: impl Fn(usize) + Send + Sync + 'static) {
        // A second one is ignored: an account has one owner.
        let _said_before = self.relief.set(Box::new(relief));
    }

    /// Charges so many bytes, or none. Drops nothing to make room, so it may be called under any lock.
    pub(crate) fn try_charge(self: &Arc<Self>, bytes: usize) -> Result<Charge, OverBudget> {
        self.take(bytes)?;
        Ok(Charge {
            budget: Arc::clone(self),
            bytes,
        })
    }

    /// Charges so many bytes. When an account is too small, what may be dropped of it is dropped first, the peer's own before others': to be called
    /// without a lock that dropping it could need.
    pub(crate) fn charge(self: &Arc<Self>, bytes: usize) -> Result<Charge, OverBudget> {
        let mut charged = self.try_charge(bytes);
        if let (Err(OverBudget::Own), Some(relief)) = (&charged, self.relief.get()) {
            relief(bytes);
            charged = self.try_charge(bytes);
        }
        if let Err(OverBudget::Whole) = charged {
            self.whole.as_ref().unwrap_or(self).relieve(bytes);
            charged = self.try_charge(bytes);
        }
        charged
    }

    fn relieve(&self, bytes: usize) {
        match (self.relief.get(), &self.whole) {
            (Some(relief), _) => relief(bytes),
            (None, Some(whole)) => whole.relieve(bytes),
            (None, None) => {}
        }
    }

    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether so many bytes would fit into this account, those above it aside, if so many others were given back.
    pub(crate) fn would_fit(&self, bytes: usize, given_back: usize) -> bool {
        let rest = self.used().saturating_sub(given_back);
        rest.saturating_add(bytes) <= self.bytes_max
    }

    fn take(&self, bytes: usize) -> Result<(), OverBudget> {
        if self.whole.is_none() && !heap::is_to_be_had(bytes) {
            return Err(OverBudget::Process);
        }
        let fits = |used: usize| {
            used.checked_add(bytes)
                .filter(|used| *used <= self.bytes_max)
        };
        let taken = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        match (&self.whole, taken) {
            (None, Err(_)) => Err(OverBudget::Whole),
            (Some(_), Err(_)) => Err(OverBudget::Own),
            (None, Ok(_)) => Ok(()),
            (Some(whole), Ok(_)) => whole.take(bytes).map_err(|short| {
                self.used.fetch_sub(bytes, Ordering::Relaxed);
                match short {
                    OverBudget::Process => short,
                    OverBudget::Own | OverBudget::Whole => OverBudget::Whole,
                }
            }),
        }
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.give_back(bytes);
        }
    }
}

impl Charge {
    /// Charges so many bytes more, or none. May be called under any lock.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), OverBudget> {
        self.budget.take(bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Takes another charge over, of the same account.
    pub(crate) fn absorb(&mut self, mut other: Charge) {
        if Arc::ptr_eq(&self.budget, &other.budget) {
            self.bytes += std::mem::take(&mut other.bytes);
        }
    }

    /// Gives so many bytes back, at most all of them.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.budget.give_back(bytes);
    }

    /// What it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Budget({} of {} bytes)", self.used(), self.bytes_max)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::thread;

    use super::*;

    #[test]
    fn law_13_a_charge_counts_here_and_for_the_whole_until_it_is_dropped() {
        let whole = Budget::whole(100);
        let (one, other) = (whole.of_peer(60), whole.of_peer(60));
        let mut first = one.charge(50).expect("it fits");
        assert_eq!((one.used(), whole.used()), (50, 50));
        assert_eq!(first.grow(11), Err(OverBudget::Own));
        assert_eq!(other.charge(51).err(), Some(OverBudget::Whole));
        assert_eq!((first.bytes(), other.used(), whole.used()), (50, 0, 50));
        first.grow(10).expect("it fits exactly");
        drop(first);
        assert_eq!((one.used(), whole.used()), (0, 0));
        assert_eq!(one.charge(usize::MAX).err(), Some(OverBudget::Own));
    }

    #[test]
    fn law_13_a_share_is_less_than_the_whole() {
        let whole = Budget::whole(100);
        let share = whole.of_peer(40);
        let (one, other) = (share.of_peer(30), share.of_peer(30));
        let mut first = one.charge(25).expect("it fits");
        assert_eq!(other.charge(16).err(), Some(OverBudget::Whole));
        whole.on_shortage(|_bytes| {});
        assert_eq!(first.grow(16), Err(OverBudget::Own));
        assert_eq!((other.used(), share.used(), whole.used()), (0, 25, 25));
        first.absorb(one.charge(5).expect("it fits"));
        let _rest = other.charge(10).expect("it fits");
        assert_eq!((first.bytes(), share.used(), whole.used()), (30, 40, 40));
    }

    #[test]
    fn what_a_peer_may_lose_makes_room_for_what_it_must_have() {
        let whole = Budget::whole(1000);
        whole.on_shortage(|_bytes| panic!("the whole has room"));
        let peer = whole.of_peer(100);
        let kept = Arc::new(Mutex::new(vec![peer.charge(60).expect("it fits")]));
        let droppable = Arc::clone(&kept);
        peer.on_shortage(move |_bytes| drop(droppable.lock().expect("not poisoned").pop()));
        assert_eq!(peer.try_charge(50).err(), Some(OverBudget::Own));
        assert_eq!(peer.charge(50).expect("it has made room").bytes(), 50);
        assert!(kept.lock().expect("not poisoned").is_empty());
    }

    #[test]
    fn what_may_be_dropped_makes_room() {
        let whole = Budget::whole(100);
        let kept = Arc::new(Mutex::new(vec![whole.charge(60).expect("it fits")]));
        let droppable = Arc::clone(&kept);
        whole.on_shortage(move |_bytes| drop(droppable.lock().expect("not poisoned").pop()));
        assert_eq!(whole.try_charge(50).err(), Some(OverBudget::Whole));
        let peer = whole.of_peer(100);
        let charged = peer.charge(50).expect("the other one has made room");
        assert_eq!((whole.used(), charged.bytes()), (50, 50));
        assert_eq!(
            peer.charge(51).err(),
            Some(OverBudget::Own),
            "no room to make"
        );
    }

    #[test]
    fn law_13_many_threads_never_go_above_the_bound() {
        let whole = Budget::whole(64);
        thread::scope(|scope| {
            for _ in 0..4 {
                let peer = whole.of_peer(64);
                let whole = &whole;
                scope.spawn(move || {
                    for round in 0..2000 {
                        let charge = peer.try_charge(1 + round % 40);
                        assert!(whole.used() <= 64, "{whole:?}");
                        drop(charge);
                    }
                });
            }
        });
        assert_eq!(whole.used(), 0);
    }
}
