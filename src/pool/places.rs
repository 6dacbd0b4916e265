//! The places of a pool and the line in front of them, as data: who holds which, who waits, and who gets what is free.
//!
//! Everything here happens under the table's lock, and nothing of it is the embedder's code. A place that becomes free is handed to the first in line whom it
//! fits, who then has it: nobody is woken to look again, so no wake-up can be lost. Must not know what lies in a place.

use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use crate::base::life::Span;
use crate::pool::holder::Holder;
use crate::pool::report::{Claimed, PoolWaiter, PooledResource};

/// Everything that the lock guards.
pub(super) struct PoolState {
    pub(super) places: Vec<ResourceSlot>,
    /// By their tickets, which are drawn in the order of arrival.
    pub(super) line: BTreeMap<u64, Waiter>,
    last_ticket: u64,
    last_claim: u64,
}

/// A place for one resource.
pub(super) struct ResourceSlot {
    pub(super) name: Arc<str>,
    pub(super) occupancy: Occupancy,
    /// Whether a resource lies on the shelf, or is in use.
    pub(super) is_made: bool,
    /// Whether its external lock is ours.
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

pub(super) enum Occupancy {
    Free,
    /// Somebody has a claim on it and uses it.
    Used(Holding),
    /// Somebody has a claim on it, and does not use it.
    Kept(Holding),
    /// Nobody has it, and its external lock is being given back.
    Leaving,
}

/// A claim on a place.
pub(super) struct Holding {
    /// Grows, so that a late guard can be told from the present one.
    pub(super) claim: u64,
    pub(super) call: Holder,
    pub(super) kept_for: Option<Holder>,
    pub(super) label: Arc<str>,
    pub(super) since: Instant,
    pub(super) at: &'static Location<'static>,
    pub(super) is_warned: bool,
}

/// What somebody wants. Immutable.
pub(super) struct Want {
    /// For each place whether it fits.
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
    /// Places whose external lock somebody else has, and when to ask again. Until then nobody behind may have them either.
    paused: Vec<(usize, Instant)>,
    wake: Sender<()>,
}

/// A claim that has been granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) place: usize,
    pub(super) claim: u64,
}

impl PoolState {
    pub(super) fn new(names: impl Iterator<Item = Arc<str>>) -> Self {
        let place = |name| ResourceSlot {
            name,
            occupancy: Occupancy::Free,
            is_made: false,
            is_locked: false,
            elsewhere: None,
            failed: None,
        };
        PoolState {
            places: names.map(place).collect(),
            line: BTreeMap::new(),
            last_ticket: 0,
            last_claim: 0,
        }
    }

    /// Puts somebody at the end of the line.
    pub(super) fn line_up(&mut self, want: Arc<Want>, wake: Sender<()>) -> u64 {
        self.last_ticket += 1;
        let waiter = Waiter {
            want,
            since: Instant::now(),
            got: None,
            paused: Vec::new(),
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
        let rank = |place: &ResourceSlot| match &place.occupancy {
            Occupancy::Kept(_) => Some(0),
            Occupancy::Free if place.is_made => Some(1),
            Occupancy::Free if place.may_be_made(now) => Some(2),
            _ => None,
        };
        let ranks: Vec<_> = self.places.iter().map(rank).collect();
        for rank in 0..3 {
            for place in (0..ranks.len()).filter(|place| ranks[*place] == Some(rank)) {
                self.hand_out(place, now);
            }
        }
    }

    fn hand_out(&mut self, at: usize, now: Instant) {
        let place = &mut self.places[at];
        let first = self.line.values_mut().find(|waiter| {
            waiter.got.is_none() && waiter.want.fits[at] && place.is_open_to(waiter)
        });
        let Some(waiter) = first.filter(|waiter| waiter.pause_of(at).is_none_or(|end| end <= now))
        else {
            return;
        };
        self.last_claim += 1;
        place.grant(&waiter.want, self.last_claim);
        waiter.got = Some(Grant {
            place: at,
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
        let holding = self.places[grant.place].holding_mut()?;
        (holding.claim == grant.claim).then_some(holding)
    }

    /// Ends the use of a place: it stays with what its claim is kept for, as long as that lives, or is free.
    pub(super) fn end_use(&mut self, at: usize) -> Option<usize> {
        let place = &mut self.places[at];
        let kept_for = place
            .holding()
            .and_then(|holding| holding.kept_for.as_ref());
        if kept_for.is_none_or(Holder::is_over) {
            return self.vacate(at);
        }
        let occupancy = std::mem::replace(&mut place.occupancy, Occupancy::Free);
        place.occupancy = match occupancy {
            Occupancy::Used(holding) => Occupancy::Kept(holding),
            other => other,
        };
        None
    }

    /// Takes back a claim that is kept by nobody. Without an external lock it is free now; else that has to be given back first.
    pub(super) fn vacate(&mut self, at: usize) -> Option<usize> {
        let place = &mut self.places[at];
        place.occupancy = match place.is_locked {
            true => Occupancy::Leaving,
            false => Occupancy::Free,
        };
        place.is_locked.then_some(at)
    }

    /// Revokes a claim. A resource that is in use stays with its late user, so another will have to be made.
    pub(super) fn take_back(&mut self, at: usize) -> Option<usize> {
        let place = &mut self.places[at];
        if matches!(place.occupancy, Occupancy::Used(_)) {
            place.is_made = false;
        }
        self.vacate(at)
    }

    /// Looks, and says when it is worth to look again without having been woken: a pause or a time of back-off ends. What has ended by now has been
    /// looked at; the end of the claim that has the place wakes the next.
    pub(super) fn next_look(&mut self, ticket: u64) -> Option<Instant> {
        let now = Instant::now();
        self.deal_at(now);
        let waiter = self.line.get(&ticket)?;
        let fitting = self.places.iter().zip(&waiter.want.fits);
        let failed = fitting.filter_map(|(place, fits)| place.failed.as_ref().filter(|_| *fits));
        let paused = waiter.paused.iter().map(|(_, end)| *end);
        let ends = failed.map(|failed| failed.again).chain(paused);
        ends.filter(|end| *end > now).min()
    }

    /// Who has what fits, in a sentence. With the times it is for those who give up; without, it changes only when something happens.
    pub(super) fn holders(&self, want: &Want, with_times: bool) -> String {
        const SHOWN_MAX: usize = 4;
        let fitting = self
            .places
            .iter()
            .zip(&want.fits)
            .filter(|(_, fits)| **fits);
        let mut said: Vec<_> = fitting
            .map(|(place, _)| place.sentence(with_times))
            .collect();
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
        let shown = |(at, place): (usize, &ResourceSlot)| PooledResource {
            name: place.name.to_string(),
            claimed: place.holding().map(|holding| Claimed {
                holder: holding.holder().clone(),
                label: holding.label.to_string(),
                held_for: holding.since.elapsed(),
                at: holding.at,
                in_use: matches!(place.occupancy, Occupancy::Used(_)),
            }),
            held_elsewhere: place.elsewhere.clone(),
            problem: place
                .failed
                .as_ref()
                .map(|failed| failed.problem.to_string()),
            waiting: waits_for(at),
        };
        self.places.iter().enumerate().map(shown).collect()
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
        let held = self.places.iter().filter_map(|place| {
            let holding = place.holding()?;
            let is_theirs = holding.holder().has_span(span);
            is_theirs.then(|| (Arc::clone(&place.name), holding.since.elapsed()))
        });
        held.collect()
    }
}

impl ResourceSlot {
    pub(super) fn holding(&self) -> Option<&Holding> {
        match &self.occupancy {
            Occupancy::Used(holding) | Occupancy::Kept(holding) => Some(holding),
            Occupancy::Free | Occupancy::Leaving => None,
        }
    }

    pub(super) fn holding_mut(&mut self) -> Option<&mut Holding> {
        match &mut self.occupancy {
            Occupancy::Used(holding) | Occupancy::Kept(holding) => Some(holding),
            Occupancy::Free | Occupancy::Leaving => None,
        }
    }

    fn may_be_made(&self, now: Instant) -> bool {
        self.failed
            .as_ref()
            .is_none_or(|failed| failed.again <= now)
    }

    fn is_open_to(&self, waiter: &Waiter) -> bool {
        match &self.occupancy {
            Occupancy::Free => true,
            Occupancy::Kept(holding) => waiter.want.part_of.contains(holding.holder()),
            Occupancy::Used(_) | Occupancy::Leaving => false,
        }
    }

    /// A claim begins, or one that was kept goes on.
    fn grant(&mut self, want: &Want, claim: u64) {
        let holding = Holding {
            claim,
            call: want.call.clone(),
            kept_for: None,
            label: "".into(),
            since: Instant::now(),
            at: want.at,
            is_warned: false,
        };
        let before = std::mem::replace(&mut self.occupancy, Occupancy::Used(holding));
        if let Occupancy::Kept(kept) = before {
            self.occupancy = Occupancy::Used(Holding {
                claim,
                call: want.call.clone(),
                ..kept
            });
        }
        self.elsewhere = None;
    }

    fn sentence(&self, with_times: bool) -> String {
        let name = &self.name;
        if let Some(holding) = self.holding() {
            let holder = holding.holder();
            let mut text = format!("{name} is held by {holder}");
            if !holding.label.is_empty() {
                text.push_str(&format!(" for {:?}", holding.label));
            }
            if with_times {
                let seconds = holding.since.elapsed().as_secs_f32();
                text.push_str(&format!(" since {seconds:.1} s"));
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
}

impl Waiter {
    /// Takes the waiter back into the line, at its old place, because somebody else has this place's external lock.
    pub(super) fn pause(&mut self, place: usize, until: Instant) {
        self.got = None;
        self.paused.retain(|(paused, _)| *paused != place);
        self.paused.push((place, until));
    }

    fn pause_of(&self, place: usize) -> Option<Instant> {
        let mut paused = self.paused.iter();
        paused
            .find(|(paused, _)| *paused == place)
            .map(|(_, end)| *end)
    }
}
