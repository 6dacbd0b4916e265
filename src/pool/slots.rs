//! The slots of a pool and the line in front of them, as data: who holds which, who waits, and who gets what is free.
//!
//! Everything here happens under the table's lock, and nothing of it is the embedder's code. A slot that becomes free is handed to the first in line whom it
//! fits, who then has it: nobody is woken to look again, so no wake-up can be lost. Must not know what lies in a slot.

use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use crate::base::life::Span;
use crate::pool::holder::Holder;
use crate::pool::report::{Claimed, PoolWaiter, PooledResource};

/// Everything that the lock guards.
#[derive(Default)]
pub(super) struct PoolState {
    pub(super) slots: Vec<ResourceSlot>,
    /// By their tickets, which are drawn in the order of arrival.
    pub(super) line: BTreeMap<u64, Waiter>,
    last_ticket: u64,
    last_claim: u64,
}

/// A slot for one resource.
#[derive(Default)]
pub(super) struct ResourceSlot {
    pub(super) name: Arc<str>,
    /// The claim on it, if there is one.
    pub(super) holding: Option<Holding>,
    /// Whether a resource lies on the shelf, or is in use.
    pub(super) is_made: bool,
    /// Whether its external lock is ours. Without a claim it is being given back, and the slot is nobody's until then.
    pub(super) is_locked: bool,
    /// Who has the external lock, as far as it is known.
    pub(super) elsewhere: Option<String>,
    pub(super) failed: Option<Failed>,
}

/// Why a resource could not be made, and how often in a row.
pub(super) struct Failed {
    pub(super) problem: Arc<str>,
    pub(super) times: u32,
    /// It is tried again then.
    pub(super) again: Instant,
}

/// A claim on a slot.
pub(super) struct Holding {
    /// Grows, so that a late guard can be told from the present one.
    pub(super) claim: u64,
    pub(super) call: Holder,
    pub(super) kept_for: Option<Holder>,
    pub(super) label: Arc<str>,
    pub(super) since: Instant,
    pub(super) at: &'static Location<'static>,
    pub(super) is_warned: bool,
    /// Whether the resource is with its call; else it lies there, kept for what comes next.
    pub(super) in_use: bool,
}

/// What somebody wants. Immutable.
pub(super) struct Want {
    /// For each slot whether it fits.
    pub(super) fits: Vec<bool>,
    pub(super) call: Holder,
    /// What the call is part of: what is kept for one of these is free for it.
    pub(super) part_of: Vec<Holder>,
    pub(super) at: &'static Location<'static>,
}

/// Somebody in line.
pub(super) struct Waiter {
    pub(super) want: Arc<Want>,
    since: Instant,
    /// What it has got; then it only has to notice.
    pub(super) got: Option<Grant>,
    /// Slots whose external lock somebody else has, and when to ask again. Until then nobody behind may have them either.
    paused: BTreeMap<usize, Instant>,
    wake: Sender<()>,
}

/// A claim that has been granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) slot: usize,
    pub(super) claim: u64,
}

impl PoolState {
    pub(super) fn new(names: impl Iterator<Item = Arc<str>>) -> Self {
        let slot = |name| ResourceSlot {
            name,
            ..ResourceSlot::default()
        };
        PoolState {
            slots: names.map(slot).collect(),
            ..PoolState::default()
        }
    }

    /// Puts somebody at the end of the line.
    pub(super) fn line_up(&mut self, want: Arc<Want>, wake: Sender<()>) -> u64 {
        self.last_ticket += 1;
        let waiter = Waiter {
            want,
            since: Instant::now(),
            got: None,
            paused: BTreeMap::new(),
            wake,
        };
        self.line.insert(self.last_ticket, waiter);
        self.deal();
        self.last_ticket
    }

    /// Hands everything that is free to the first in line whom it fits: what is kept for one of its own first, then what is made, then the rest.
    pub(super) fn deal(&mut self) {
        self.deal_at(Instant::now());
    }

    fn deal_at(&mut self, now: Instant) {
        if self.line.values().all(|waiter| waiter.got.is_some()) {
            return;
        }
        let rank = |slot: &ResourceSlot| match &slot.holding {
            Some(holding) => (!holding.in_use).then_some(0),
            None if slot.is_locked => None,
            None if slot.is_made => Some(1),
            None => slot.may_be_made(now).then_some(2),
        };
        let ranks: Vec<_> = self.slots.iter().map(rank).collect();
        for rank in 0..3 {
            for slot in (0..ranks.len()).filter(|slot| ranks[*slot] == Some(rank)) {
                self.hand_out(slot, now);
            }
        }
    }

    fn hand_out(&mut self, at: usize, now: Instant) {
        let slot = &mut self.slots[at];
        let first = self
            .line
            .values_mut()
            .find(|waiter| waiter.got.is_none() && waiter.want.fits[at] && slot.is_open_to(waiter));
        let Some(waiter) =
            first.filter(|waiter| waiter.paused.get(&at).is_none_or(|end| *end <= now))
        else {
            return;
        };
        self.last_claim += 1;
        slot.grant(&waiter.want, self.last_claim);
        waiter.got = Some(Grant {
            slot: at,
            claim: self.last_claim,
        });
        // It is full when the waiter has not noticed an earlier one, and then it will.
        let _is_woken_anyway = waiter.wake.try_send(());
    }

    /// Has everybody in line look again.
    pub(super) fn wake_all(&self) {
        for waiter in self.line.values() {
            let _is_woken_anyway = waiter.wake.try_send(());
        }
    }

    /// The claim, if it is still good.
    pub(super) fn holding(&mut self, grant: Grant) -> Option<&mut Holding> {
        let holding = self.slots[grant.slot].holding.as_mut();
        holding.filter(|holding| holding.claim == grant.claim)
    }

    /// Ends the use of a slot: it stays with what its claim is kept for, as long as that lives, or is free.
    pub(super) fn end_use(&mut self, at: usize) -> Option<usize> {
        let holding = self.slots[at].holding.as_mut();
        let kept = holding.filter(|holding| {
            let kept_for = holding.kept_for.as_ref();
            kept_for.is_some_and(|holder| !holder.is_over())
        });
        match kept {
            Some(holding) => {
                holding.in_use = false;
                None
            }
            None => self.vacate(at),
        }
    }

    /// Takes back a claim that is kept by nobody. Without an external lock it is free now; else that has to be given back first.
    pub(super) fn vacate(&mut self, at: usize) -> Option<usize> {
        let slot = &mut self.slots[at];
        slot.holding = None;
        slot.is_locked.then_some(at)
    }

    /// Revokes a claim. A resource that is in use stays with its late user, so another will have to be made.
    pub(super) fn take_back(&mut self, at: usize) -> Option<usize> {
        let slot = &mut self.slots[at];
        let in_use = slot.holding.as_ref().is_some_and(|holding| holding.in_use);
        slot.is_made &= !in_use;
        self.vacate(at)
    }

    /// Looks, and says when it is worth to look again without having been woken: a pause or a time of back-off ends. What has ended by now has been
    /// looked at; the end of the claim that has the slot wakes the next.
    pub(super) fn next_look(&mut self, ticket: u64) -> Option<Instant> {
        let now = Instant::now();
        self.deal_at(now);
        let waiter = self.line.get(&ticket)?;
        let fitting = self.slots.iter().zip(&waiter.want.fits);
        let failed = fitting.filter_map(|(slot, fits)| slot.failed.as_ref().filter(|_| *fits));
        let paused = waiter.paused.values().copied();
        let ends = failed.map(|failed| failed.again).chain(paused);
        ends.filter(|end| *end > now).min()
    }

    /// Who has what fits, in a sentence. With the times it is for those who give up; without, it changes only when something happens.
    pub(super) fn holders(&self, want: &Want, said: fn(&ResourceSlot) -> String) -> String {
        const SHOWN_MAX: usize = 4;
        let fitting = self.slots.iter().zip(&want.fits).filter(|(_, fits)| **fits);
        let mut said: Vec<_> = fitting.map(|(slot, _)| said(slot)).collect();
        let more = said.len().saturating_sub(SHOWN_MAX);
        said.truncate(SHOWN_MAX);
        let mut text = said.join(", ");
        if more > 0 {
            text.push_str(&format!(", and {more} more"));
        }
        text
    }

    pub(super) fn resources(&self) -> Vec<PooledResource> {
        let waits_for = |at: usize| {
            let waiting = self.line.values();
            waiting
                .filter(|waiter| waiter.got.is_none() && waiter.want.fits[at])
                .count()
        };
        let shown = |(at, slot): (usize, &ResourceSlot)| PooledResource {
            name: slot.name.to_string(),
            claimed: slot.holding.as_ref().map(|holding| Claimed {
                holder: holding.holder().clone(),
                label: holding.label.to_string(),
                held_for: holding.since.elapsed(),
                at: holding.at,
                in_use: holding.in_use,
            }),
            held_elsewhere: slot.elsewhere.clone(),
            problem: slot
                .failed
                .as_ref()
                .map(|failed| failed.problem.to_string()),
            waiting: waits_for(at),
        };
        self.slots.iter().enumerate().map(shown).collect()
    }

    pub(super) fn waiting(&self) -> Vec<PoolWaiter> {
        let waiting = self.line.values().filter(|waiter| waiter.got.is_none());
        let shown = |waiter: &Waiter| PoolWaiter {
            call: waiter.want.call.clone(),
            waits_for: waiter.since.elapsed(),
            at: waiter.want.at,
        };
        waiting.map(shown).collect()
    }

    /// What is held by what has this life, and for how long.
    pub(super) fn held_by(&self, span: &Span) -> Vec<(Arc<str>, Duration)> {
        let held = self.slots.iter().filter_map(|slot| {
            let holding = slot.holding.as_ref()?;
            let is_theirs = holding.holder().has_span(span);
            is_theirs.then(|| (Arc::clone(&slot.name), holding.since.elapsed()))
        });
        held.collect()
    }
}

impl ResourceSlot {
    fn may_be_made(&self, now: Instant) -> bool {
        self.failed
            .as_ref()
            .is_none_or(|failed| failed.again <= now)
    }

    fn is_open_to(&self, waiter: &Waiter) -> bool {
        match &self.holding {
            Some(holding) => !holding.in_use && waiter.want.part_of.contains(holding.holder()),
            None => !self.is_locked,
        }
    }

    /// A claim begins, or one that was kept goes on.
    fn grant(&mut self, want: &Want, claim: u64) {
        let call = || want.call.clone();
        let holding = self.holding.get_or_insert_with(|| Holding {
            claim,
            call: call(),
            kept_for: None,
            label: "".into(),
            since: Instant::now(),
            at: want.at,
            is_warned: false,
            in_use: true,
        });
        (holding.claim, holding.call, holding.in_use) = (claim, call(), true);
        self.elsewhere = None;
    }

    /// Who has it, and for how long.
    pub(super) fn sentence_with_time(&self) -> String {
        let since = self.holding.as_ref().map(|holding| holding.since.elapsed());
        let since = since.map(|since| format!(" since {:.1} s", since.as_secs_f32()));
        self.sentence() + &since.unwrap_or_default()
    }

    /// Who has it.
    pub(super) fn sentence(&self) -> String {
        let name = &self.name;
        if let Some(holding) = &self.holding {
            let holder = holding.holder();
            let mut text = format!("{name} is held by {holder}");
            if !holding.label.is_empty() {
                text.push_str(&format!(" for {:?}", holding.label));
            }
            return text;
        }
        match (&self.failed, &self.elsewhere) {
            (Some(Failed { problem, .. }), _) => format!("{name} cannot be had: {problem}"),
            (None, Some(holder)) => format!("{name} is held by {holder}"),
            (None, None) => format!("{name} is asked for by others"),
        }
    }
}

impl Holding {
    /// Whom others see: the call, or what the claim is kept for.
    pub(super) fn holder(&self) -> &Holder {
        self.kept_for.as_ref().unwrap_or(&self.call)
    }

    /// A line for the log.
    pub(super) fn said(&self, what: &str) -> String {
        let (holder, seconds) = (self.holder(), self.since.elapsed().as_secs_f32());
        format!(
            "{what} by {holder} for {seconds:.1} s, claimed at {}",
            self.at
        )
    }
}

impl Waiter {
    /// Takes the waiter back into the line, where it stood, because somebody else has this slot's external lock.
    pub(super) fn pause(&mut self, slot: usize, until: Instant) {
        self.got = None;
        self.paused.insert(slot, until);
    }
}
