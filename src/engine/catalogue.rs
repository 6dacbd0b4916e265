//! Everything the server offers: tools, prompts, resources and templates, by name, in the order of registration, and as lists. All of it may come and go
//! while it is used.
//!
//! A change costs the same whatever else is there: one entry of a map, one item rendered. The list and the order are made of what is rendered when
//! somebody asks for them first, as one immutable snapshot, so a list is never mixed from two, and a call keeps what it found. Must not know who
//! asks. Specification: `server/tools`, `server/prompts`, `server/resources` ("Listing ...").

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, RwLock, RwLockReadGuard};
use std::time::Duration;

use serde_json::value::{RawValue, to_raw_value};

use crate::base::errands::{Errands, dropping};
use crate::base::error::Error;
use crate::base::in_flight::Folded;
use crate::base::lock::Lock;
use crate::base::log;
use crate::engine::listing::{ListItem, Listing, Style};
use crate::handler::registration::{Callable, Registration};
use crate::protocol::offer::OfferKind;
use crate::protocol::results::CacheHint;

/// How many tools the narrowest clients take.
const TOOLS_MAX: usize = 128;

/// What is offered.
pub(crate) struct Catalogue {
    /// The names of the lanes, in the engine's order.
    lanes: Vec<Arc<str>>,
    /// The shortest liveness that anything had that was ever offered, in nanoseconds.
    shortest_liveness: AtomicU64,
    /// By kind.
    offers: [Offers; OfferKind::ALL.len()],
    /// What is offered no longer, until nobody else has it: so the thread that lets go of it last, which may be the clock's or a client's, never runs the
    /// author's destructor.
    removed: Lock<Vec<Arc<Callable>>>,
    waste: Arc<Errands>,
}

impl Catalogue {
    pub(crate) fn new(
        lanes: Vec<Arc<str>>,
        page_len: usize,
        cache: CacheHint,
        server_info: &RawValue,
    ) -> Self {
        let offers = |kind: OfferKind| {
            let style = Style {
                member: kind.member(),
                page_len: page_len.max(1),
                cache,
                server_info: server_info.to_owned(),
            };
            Offers::new(kind, style)
        };
        Catalogue {
            lanes,
            shortest_liveness: AtomicU64::new(u64::MAX),
            offers: OfferKind::ALL.map(offers),
            removed: Lock::default(),
            waste: Errands::new("the destructor of a handler"),
        }
    }

    /// Takes one more, or one in the place of that of its name, which comes back to be [discarded](Self::discard).
    ///
    /// # Errors
    ///
    /// When its lane does not exist or its name is taken; the error names it.
    pub(crate) fn put(
        &self,
        registration: Registration,
        if_taken: IfTaken,
    ) -> Result<Option<Arc<Callable>>, Error> {
        let lane = self
            .lanes
            .iter()
            .position(|lane| *lane == registration.lane);
        let lane = lane.ok_or_else(|| {
            Error::configuration(format!(
                "{} `{}` runs on lane `{}`, which does not exist; add it with `Server::lane`",
                registration.kind.name(),
                registration.callable.name,
                registration.lane
            ))
        })?;
        let kind = registration.kind;
        if let Some(liveness) = registration.callable.liveness {
            let nanoseconds = u64::try_from(liveness.as_nanos()).unwrap_or(u64::MAX);
            let shortest = &self.shortest_liveness;
            shortest.fetch_min(nanoseconds, Ordering::Relaxed);
        }
        let offers = self.offers(kind);
        let added = offers.put(registration, lane, if_taken);
        if added.is_ok() && kind == OfferKind::Tool && offers.read().by_name.len() == TOOLS_MAX + 1
        {
            log::warn!("more than {TOOLS_MAX} tools: some clients refuse, or leave out, the rest");
        }
        added.map_err(Error::configuration)
    }

    /// Has what is offered no longer dropped when nobody uses it any more. Waits for no destructor: an inline handler may be what removes it (law 6).
    pub(crate) fn discard(&self, callable: Arc<Callable>) {
        let mut removed = self.removed.lock();
        // What is called by itself may be used for longer.
        removed.extend(
            callable
                .completers
                .values()
                .chain(&callable.before_job)
                .cloned(),
        );
        removed.push(callable);
        drop(removed);
        self.sweep();
    }

    /// Has dropped what nobody uses any more.
    pub(crate) fn sweep(&self) {
        // Nobody can find them, so a count of one does not grow again.
        let is_unused = |callable: &mut Arc<Callable>| Arc::strong_count(callable) == 1;
        let mut removed = self.removed.lock();
        let unused: Vec<_> = removed.extract_if(.., is_unused).collect();
        drop(removed);
        self.waste.run(unused.into_iter().map(dropping));
    }

    /// The shortest liveness that anything has, or had when it was offered.
    pub(crate) fn shortest_liveness(&self) -> Option<Duration> {
        let nanoseconds = self.shortest_liveness.load(Ordering::Relaxed);
        (nanoseconds != u64::MAX).then(|| Duration::from_nanos(nanoseconds))
    }

    /// Everything of one kind, to change it.
    pub(crate) fn offers(&self, kind: OfferKind) -> &Offers {
        &self.offers[kind as usize]
    }

    pub(crate) fn find(&self, kind: OfferKind, name: &str) -> Option<Arc<Callable>> {
        self.offers(kind).find(name)
    }

    /// What reads this URI: a fixed resource, else the first template that matches, with the values of its variables.
    pub(crate) fn resource(&self, uri: &str) -> Option<(Arc<Callable>, Option<Box<RawValue>>)> {
        if let Some(callable) = self.find(OfferKind::Resource, uri) {
            return Some((callable, None));
        }
        let templates = self.offers(OfferKind::Template).snapshot();
        templates.callables.iter().find_map(|callable| {
            let variables = callable.template.as_ref()?.matches(uri)?;
            let variables: BTreeMap<_, _> = variables.into_iter().collect();
            Some((Arc::clone(callable), to_raw_value(&variables).ok()))
        })
    }

    /// Whether there is, or has been, something of this kind; resources and templates count as one, and tools are always declared.
    pub(crate) fn declares(&self, kind: OfferKind) -> bool {
        let is_declared = |kind| self.offers(kind).read().registered > 0;
        match kind {
            OfferKind::Tool => true,
            OfferKind::Prompt => is_declared(OfferKind::Prompt),
            OfferKind::Resource | OfferKind::Template => {
                is_declared(OfferKind::Resource) || is_declared(OfferKind::Template)
            }
        }
    }

    pub(crate) fn has_completers(&self) -> bool {
        self.offers.iter().any(|offers| offers.read().completes)
    }
}

const HELD: &str = "no code panics while it holds what is offered";

/// Everything of one kind.
pub(crate) struct Offers {
    kind: OfferKind,
    style: Arc<Style>,
    /// Written only to change one entry. Nothing of the author's is dropped while it is held: a handler's destructor may come back here.
    state: RwLock<OffersState>,
}

#[derive(Default)]
struct OffersState {
    by_name: HashMap<Arc<str>, Offer, BuildHasherDefault<Folded>>,
    /// How many have been registered, which gives each its ordinal in the list.
    registered: u64,
    /// Whether one of them has ever had a completer.
    completes: bool,
    /// How often the list has changed.
    generation: u64,
    /// Of this generation, once somebody has asked.
    snapshot: OnceLock<Arc<OfferedList>>,
}

struct Offer {
    callable: Arc<Callable>,
    item: ListItem,
    ordinal: u64,
    /// One that is not is neither listed nor found.
    enabled: bool,
}

/// What is offered at one time, in the order of registration.
pub(crate) struct OfferedList {
    pub(crate) callables: Vec<Arc<Callable>>,
    pub(crate) list: Listing,
}

/// What becomes of one whose name another has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfTaken {
    Refuse,
    Replace,
}

impl Offers {
    pub(crate) fn new(kind: OfferKind, style: Style) -> Self {
        Offers {
            kind,
            style: Arc::new(style),
            state: RwLock::default(),
        }
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<Callable>> {
        let state = self.read();
        let offer = state.by_name.get(name).filter(|offer| offer.enabled)?;
        Some(Arc::clone(&offer.callable))
    }

    fn read(&self) -> RwLockReadGuard<'_, OffersState> {
        self.state.read().expect(HELD)
    }

    pub(crate) fn snapshot(&self) -> Arc<OfferedList> {
        let state = self.read();
        let make = || Arc::new(state.snapshot(Arc::clone(&self.style)));
        Arc::clone(state.snapshot.get_or_init(make))
    }

    /// Adds one at the end of the list, or puts it in the place of that of its name, in one step: there is no moment without it.
    ///
    /// # Errors
    ///
    /// When its name is taken and must not be, also by one that is disabled.
    pub(crate) fn put(
        &self,
        registration: Registration,
        lane: usize,
        if_taken: IfTaken,
    ) -> Result<Option<Arc<Callable>>, String> {
        let item = ListItem::render(&registration.shown);
        let callable = Arc::new(registration.callable.on_lane(lane));
        let replaced = self.change(|state| {
            let name = Arc::clone(&callable.name);
            let before = state.by_name.get(&name);
            let before = before.map(|offer| (offer.ordinal, offer.enabled));
            if before.is_some() && if_taken == IfTaken::Refuse {
                let what = self.kind.name();
                return Err(format!("{what} `{name}` is registered twice"));
            }
            state.completes |= !callable.completers.is_empty();
            let offer = Offer {
                callable: Arc::clone(&callable),
                item,
                ordinal: before.map_or(state.registered, |(ordinal, _)| ordinal),
                enabled: before.is_none_or(|(_, enabled)| enabled),
            };
            state.registered += u64::from(before.is_none());
            Ok(state.by_name.insert(name, offer))
        })?;
        Ok(replaced.map(|offer| offer.callable))
    }

    /// Forgets one, which comes back to be [discarded](Catalogue::discard). `None` when there is none of that name.
    pub(crate) fn remove(&self, name: &str) -> Option<Arc<Callable>> {
        let removed = self.change(|state| state.by_name.remove(name).ok_or(()));
        removed.ok().map(|offer| offer.callable)
    }

    /// Offers one, or keeps it back. `None` when there is none of that name, else whether that changes anything.
    pub(crate) fn enable(&self, name: &str, enabled: bool) -> Option<bool> {
        let changed = self.change(|state| {
            let offer = state.by_name.get_mut(name).ok_or(None)?;
            match mem::replace(&mut offer.enabled, enabled) == enabled {
                true => Err(Some(false)),
                false => Ok(()),
            }
        });
        changed.map_or_else(|unchanged| unchanged, |()| Some(true))
    }

    /// Makes a change, and forgets the snapshot unless there was nothing to change. What is left over is dropped when nothing is held any more.
    fn change<T, E>(&self, change: impl FnOnce(&mut OffersState) -> Result<T, E>) -> Result<T, E> {
        let mut state = self.state.write().expect(HELD);
        let left_over = change(&mut state)?;
        state.generation += 1;
        let before = state.snapshot.take();
        drop(state);
        drop(before);
        Ok(left_over)
    }
}

impl OffersState {
    fn snapshot(&self, style: Arc<Style>) -> OfferedList {
        let offered = self.by_name.values().filter(|offer| offer.enabled);
        let mut offered: Vec<_> = offered.collect();
        offered.sort_unstable_by_key(|offer| offer.ordinal);
        let items = offered.iter().map(|offer| offer.item.clone()).collect();
        OfferedList {
            callables: offered
                .iter()
                .map(|offer| Arc::clone(&offer.callable))
                .collect(),
            list: Listing::new(style, self.generation, items),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::handler::Tool;
    use crate::protocol::results::CacheHint;

    /// Four thousand tools take four thousand renderings: none of what is there is touched again, and no list is made that nobody has asked for.
    #[test]
    fn a_change_costs_the_same_whatever_else_is_there() {
        let style = Style {
            member: "tools",
            page_len: 100,
            cache: CacheHint::NONE,
            server_info: RawValue::NULL.to_owned(),
        };
        let offers = Offers::new(OfferKind::Tool, style);
        let add = |number: usize| {
            let tool = Tool::<()>::new(format!("tool-{number}")).handler(|| "");
            let registration = tool.into_registration(&Arc::new(())).expect("it is valid");
            let added = offers.put(registration, 0, IfTaken::Refuse);
            added.expect("its name is free");
        };
        add(0);
        let first = || {
            let state = offers.state.read().expect(HELD);
            state.by_name["tool-0"].item.clone()
        };
        let rendered = first();
        let made = offers.snapshot();
        for number in 1..4000 {
            add(number);
            let state = offers.state.read().expect(HELD);
            assert!(state.snapshot.get().is_none(), "nobody has asked");
        }
        assert!(first().is_same(&rendered), "it was rendered once");
        assert_eq!(
            (made.callables.len(), offers.snapshot().callables.len()),
            (1, 4000)
        );
    }
}
