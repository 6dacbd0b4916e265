//! What the server offers of one kind, such as tools: by name, in the order of registration, and as a list. All of it may come and go while it is used.
//!
//! A change costs the same whatever else is there: one entry of a map, one item rendered. The list and the order are made of what is rendered when
//! somebody asks for them first, as one immutable snapshot, so a list is never mixed from two, and a call keeps what it found. Must not know who
//! asks. Specification: `server/tools`, `server/prompts`, `server/resources` ("Listing ...").

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, OnceLock, RwLock};

use crate::engine::listing::{ListItem, Listing, Style};
use crate::handler::registration::{Callable, OfferKind, Registration};

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
    by_name: HashMap<Arc<str>, Offer>,
    /// How many have been registered, which gives each its place in the list.
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
    place: u64,
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
enum IfTaken {
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
        let state = self.state.read().expect(HELD);
        let offer = state.by_name.get(name).filter(|offer| offer.enabled)?;
        Some(Arc::clone(&offer.callable))
    }

    /// How many are offered, those that are disabled included.
    pub(crate) fn len(&self) -> usize {
        self.state.read().expect(HELD).by_name.len()
    }

    /// Whether there has ever been one, so that clients may know of the kind.
    pub(crate) fn is_declared(&self) -> bool {
        self.state.read().expect(HELD).registered > 0
    }

    /// Whether there has ever been a completer for one.
    pub(crate) fn completes(&self) -> bool {
        self.state.read().expect(HELD).completes
    }

    pub(crate) fn snapshot(&self) -> Arc<OfferedList> {
        let state = self.state.read().expect(HELD);
        let make = || Arc::new(state.snapshot(Arc::clone(&self.style)));
        Arc::clone(state.snapshot.get_or_init(make))
    }

    /// Adds one more, at the end of the list.
    ///
    /// # Errors
    ///
    /// When its name is taken, also by one that is disabled.
    pub(crate) fn add(&self, registration: Registration, lane: usize) -> Result<(), String> {
        self.put(registration, lane, IfTaken::Refuse)
    }

    /// Puts one in the place of that of its name, in one step: there is no moment without it. At the end of the list if there is none.
    pub(crate) fn replace(&self, registration: Registration, lane: usize) -> Result<(), String> {
        self.put(registration, lane, IfTaken::Replace)
    }

    fn put(&self, registration: Registration, lane: usize, taken: IfTaken) -> Result<(), String> {
        let item = ListItem::render(&registration.shown);
        let callable = Arc::new(registration.callable.on_lane(lane));
        let before = self.change(|state| {
            let name = Arc::clone(&callable.name);
            let before = state.by_name.get(&name).map(|offer| offer.place);
            if before.is_some() && taken == IfTaken::Refuse {
                let what = self.kind.name();
                return Err(format!("{what} `{name}` is registered twice"));
            }
            state.completes |= !callable.completers.is_empty();
            let offer = Offer {
                callable: Arc::clone(&callable),
                item,
                place: before.unwrap_or(state.registered),
                enabled: true,
            };
            state.registered += u64::from(before.is_none());
            Ok(state.by_name.insert(name, offer))
        })?;
        drop(before);
        Ok(())
    }

    /// Forgets one. False when there is none of that name.
    pub(crate) fn remove(&self, name: &str) -> bool {
        let removed = self.change(|state| state.by_name.remove(name).ok_or(()));
        removed.is_ok()
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
        offered.sort_unstable_by_key(|offer| offer.place);
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
            offers.add(registration, 0).expect("its name is free");
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
