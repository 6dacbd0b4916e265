//! Tests of the table, step by step: every interleaving that matters is one order of calls.

use std::collections::HashSet;
use std::io;
use std::panic::Location;
use std::sync::{Mutex, MutexGuard};

use super::*;
use crate::base::cancel::{Canceller, cancellation};
use crate::base::life::Life;
use crate::pool::holder::HolderIdentity;

/// A table of these slots.
fn table(names: &[&str]) -> Arc<PoolTable> {
    PoolTable::new("test", names.iter().map(|name| (*name).into()))
}

fn holder(identity: HolderIdentity) -> Holder {
    let shown = "a test".into();
    Holder { shown, identity }
}

/// A call, which lasts as long as its canceller.
fn call() -> (Canceller, Holder) {
    let (canceller, token) = cancellation();
    (canceller, holder(HolderIdentity::Call(token.clone())))
}

/// What a call wants of a table with so many slots.
fn want(call: &Holder, part_of: &[Holder], fits: &[bool]) -> Arc<Want> {
    Arc::new(Want {
        fits: fits.to_vec(),
        call: call.clone(),
        part_of: part_of.to_vec(),
        at: Location::caller(),
    })
}

fn give_back(table: &Arc<PoolTable>, grant: Grant) -> bool {
    table.give_back(grant, Some(|| {}))
}

#[track_caller]
fn claim(table: &Arc<PoolTable>, want: &Arc<Want>) -> Grant {
    let line = table.line_up(Arc::clone(want));
    let grant = line.got().expect("one is free");
    line.leave_with(grant);
    grant
}

#[test]
fn what_is_given_back_is_the_first_in_lines_before_anybody_is_woken() {
    let table = table(&["a"]);
    let (_alive, call) = call();
    let want = want(&call, &[], &[true]);
    let grant = claim(&table, &want);
    let first = table.line_up(Arc::clone(&want));
    let second = table.line_up(Arc::clone(&want));
    assert!(first.woken.try_recv().is_err());
    assert!(give_back(&table, grant));
    assert!(first.woken.try_recv().is_ok());
    assert!(first.got().is_some() && second.got().is_none());
    let late = table.line_up(Arc::clone(&want));
    assert!(late.got().is_none(), "the slot is taken already");
}

#[test]
fn what_was_handed_to_somebody_who_leaves_goes_to_the_next() {
    let table = table(&["a"]);
    let (_alive, call) = call();
    let want = want(&call, &[], &[true]);
    let grant = claim(&table, &want);
    let first = table.line_up(Arc::clone(&want));
    let second = table.line_up(Arc::clone(&want));
    give_back(&table, grant);
    drop(first);
    assert!(second.got().is_some());
    drop(second);
    claim(&table, &want);
}

#[test]
fn nobody_passes_somebody_whom_it_fits_and_everybody_else_does() {
    let table = table(&["a", "b"]);
    let (_alive, call) = call();
    let (any, only_b) = (
        want(&call, &[], &[true, true]),
        want(&call, &[], &[false, true]),
    );
    let (a, b) = (claim(&table, &any), claim(&table, &any));
    let first = table.line_up(Arc::clone(&only_b));
    let second = table.line_up(Arc::clone(&any));
    give_back(&table, a);
    assert!(first.got().is_none(), "it does not fit");
    assert_eq!(second.got().map(|grant| grant.slot), Some(0));
    give_back(&table, b);
    assert_eq!(first.got().map(|grant| grant.slot), Some(1));
}

#[test]
fn what_is_kept_is_free_for_its_own_alone_until_their_life_ends() {
    let table = table(&["a"]);
    let ((_alive, call), life) = (call(), Life::default());
    let workspace = holder(HolderIdentity::Lasting(life.span()));
    let own = want(&call, std::slice::from_ref(&workspace), &[true]);
    let stranger = want(&call, &[], &[true]);
    let grant = claim(&table, &own);
    table.change(grant, |holding| holding.kept_for = Some(workspace.clone()));
    give_back(&table, grant);
    let waits = table.line_up(Arc::clone(&stranger));
    assert!(waits.got().is_none());
    let again = claim(&table, &own);
    assert!(waits.got().is_none());
    assert!(!give_back(&table, grant), "that claim is another's now");
    assert!(give_back(&table, again));
    assert_eq!(table.held_by(&life.span()).len(), 1);
    drop(life);
    table.sweep();
    assert!(waits.got().is_some());
    // What is in use when the life ends goes when it is given back.
    drop(waits);
    let life = Life::default();
    let grant = claim(&table, &own);
    let workspace = holder(HolderIdentity::Lasting(life.span()));
    table.change(grant, |holding| holding.kept_for = Some(workspace));
    drop(life);
    table.sweep();
    assert!(table.change(grant, |_| ()).is_some(), "it is in use");
    give_back(&table, grant);
    claim(&table, &stranger);
}

#[test]
fn what_is_kept_stays_so_when_it_was_handed_to_one_of_its_own_that_leaves() {
    let table = table(&["a"]);
    let ((_alive, call), life) = (call(), Life::default());
    let workspace = holder(HolderIdentity::Lasting(life.span()));
    let own = want(&call, std::slice::from_ref(&workspace), &[true]);
    let grant = claim(&table, &own);
    table.change(grant, |holding| holding.kept_for = Some(workspace));
    let cancelled = table.line_up(Arc::clone(&own));
    let stranger = table.line_up(want(&call, &[], &[true]));
    give_back(&table, grant);
    assert!(cancelled.got().is_some());
    // It has not noticed, and leaves: a cancellation that comes at the same moment.
    drop(cancelled);
    assert!(stranger.got().is_none(), "it is still kept");
    assert_eq!(table.held_by(&life.span()).len(), 1);
    claim(&table, &own);
}

/// A lock whose other holders are a set of names.
#[derive(Clone, Default)]
struct Elsewhere(Arc<Mutex<Locks>>);

#[derive(Default)]
struct Locks {
    theirs: HashSet<String>,
    ours: HashSet<String>,
    is_broken: bool,
    /// What it cannot give back without a panic.
    sticky: HashSet<String>,
}

impl ExternalLock for Elsewhere {
    fn try_lock(&self, name: &str, _: &str) -> io::Result<bool> {
        let mut locks = self.0.lock().expect("not poisoned");
        if locks.is_broken {
            return Err(io::Error::other("no answer"));
        }
        Ok(!locks.theirs.contains(name) && locks.ours.insert(name.to_owned()))
    }

    fn unlock(&self, name: &str) {
        let mut locks = self.0.lock().expect("not poisoned");
        assert!(locks.ours.remove(name), "{name} is not ours");
        let is_sticky = locks.sticky.contains(name);
        drop(locks);
        assert!(!is_sticky, "on purpose");
    }

    fn holder(&self, _: &str) -> Option<String> {
        Some("the other".into())
    }
}

impl Elsewhere {
    fn lock(&self) -> MutexGuard<'_, Locks> {
        self.0.lock().expect("not poisoned")
    }
}

#[test]
fn a_lock_that_is_held_elsewhere_is_asked_for_again_and_its_holder_is_named() {
    let table = table(&["a"]);
    let lock = Elsewhere::default();
    table.set(|rules| {
        rules.lock = Some(Arc::new(lock.clone()));
        rules.poll = Duration::from_secs(3600);
    });
    let (_alive, call) = call();
    let want = want(&call, &[], &[true]);
    lock.lock().theirs.insert("a".into());
    let first = table.line_up(Arc::clone(&want));
    let second = table.line_up(Arc::clone(&want));
    let grant = first.got().expect("nobody here has it");
    let taken = table.take_lock(grant, &first, "label");
    assert!(taken.is_none());
    assert_eq!(
        table.holders(&want, ResourceSlot::sentence),
        "a is held by the other"
    );
    assert!(second.got().is_none(), "the first one goes on asking");
    assert!(table.change(grant, |_| ()).is_none());
    table.sweep();
    assert!(first.got().is_none(), "it is too early to ask again");
    drop(first);
    // Another one asks all the time.
    table.set(|rules| rules.poll = Duration::ZERO);
    let (first, second) = (second, table.line_up(Arc::clone(&want)));
    let grant = first.got().expect("it has not asked yet");
    let taken = table.take_lock(grant, &first, "label");
    assert!(taken.is_none());
    lock.lock().theirs.clear();
    table.sweep();
    let grant = first.got().expect("its pause is over");
    assert_eq!(table.take_lock(grant, &first, "label"), Some(Ok(())));
    first.leave_with(grant);
    assert_eq!(lock.lock().ours.len(), 1);
    give_back(&table, grant);
    assert_eq!(lock.lock().ours.len(), 0, "it is given back");
    let grant = second.got().expect("it is the next");
    lock.lock().is_broken = true;
    let taken = table.take_lock(grant, &second, "label");
    assert_eq!(taken, Some(Err("no answer".into())));
}

#[test]
fn law_8_a_lock_whose_release_panics_costs_nothing_but_a_line() {
    let table = table(&["a"]);
    let lock = Elsewhere::default();
    table.set(|rules| rules.lock = Some(Arc::new(lock.clone())));
    lock.lock().sticky.insert("a".into());
    let (_alive, call) = call();
    let want = want(&call, &[], &[true]);
    for _ in 0..2 {
        let line = table.line_up(Arc::clone(&want));
        let grant = line.got().expect("it is free");
        assert_eq!(table.take_lock(grant, &line, "label"), Some(Ok(())));
        line.leave_with(grant);
        assert_eq!(lock.lock().ours.len(), 1, "it has been asked for");
        assert!(give_back(&table, grant));
    }
}

#[test]
fn a_call_that_is_given_up_keeps_what_it_has_put_down() {
    let table = table(&["a"]);
    let ((canceller, token), life) = (cancellation(), Life::default());
    let call = holder(HolderIdentity::Call(token.clone()));
    let workspace = holder(HolderIdentity::Lasting(life.span()));
    let want = want(&call, std::slice::from_ref(&workspace), &[true]);
    let grant = claim(&table, &want);
    table.change(grant, |holding| holding.kept_for = Some(workspace));
    assert!(give_back(&table, grant));
    table.forfeit(&token);
    assert_eq!(table.held_by(&life.span()).len(), 1, "it is put down");
    let grant = claim(&table, &want);
    table.forfeit(&token);
    assert!(table.change(grant, |_| ()).is_none(), "it is in use");
    drop(canceller);
}

#[test]
fn a_claim_that_is_taken_back_gives_its_lock_back_before_the_next_one_asks() {
    let table = table(&["a"]);
    let lock = Elsewhere::default();
    table.set(|rules| rules.lock = Some(Arc::new(lock.clone())));
    let (_alive, call) = call();
    let want = want(&call, &[], &[true]);
    let line = table.line_up(Arc::clone(&want));
    let grant = line.got().expect("it is free");
    assert_eq!(table.take_lock(grant, &line, "label"), Some(Ok(())));
    line.leave_with(grant);
    let next = table.line_up(Arc::clone(&want));
    assert_eq!(table.release(&call), 1);
    // Another thread gives it back.
    let woken = next.woken.recv_timeout(Duration::from_secs(60));
    woken.expect("it is handed on");
    let granted = next.got().expect("it is free");
    assert_eq!(table.take_lock(granted, &next, "label"), Some(Ok(())));
    assert!(!give_back(&table, grant), "the late one gives nothing back");
    assert_eq!(lock.lock().ours.len(), 1);
}

#[test]
fn what_is_held_long_is_warned_of_once_and_what_is_held_longer_is_taken_back() {
    let table = table(&["a"]);
    let (_alive, call) = call();
    let want = want(&call, &[], &[true]);
    table.set(|rules| rules.warn_after = Some(Duration::ZERO));
    let grant = claim(&table, &want);
    table.sweep();
    assert_eq!(table.change(grant, |holding| holding.is_warned), Some(true));
    table.set(|rules| rules.lease = Some(Duration::ZERO));
    table.sweep();
    assert!(table.change(grant, |_| ()).is_none());
}

#[test]
fn making_that_fails_is_tried_later_each_time() {
    let table = table(&["a"]);
    let (_alive, call) = call();
    let want = want(&call, &[], &[true]);
    // A pool that no server sweeps is looked at more often than this.
    table.mark_swept();
    table.set(|rules| rules.back_off = [100, 350].map(Duration::from_secs));
    let waits = [100, 200, 350, 350].map(|expected| {
        let grant = claim(&table, &want);
        let line = table.line_up(Arc::clone(&want));
        table.failed(grant, "refused");
        table.give_back(grant, None::<fn()>);
        assert!(line.woken.try_recv().is_ok(), "it has to know when to look");
        assert!(line.got().is_none(), "it is too early");
        let wait = line.next_look().saturating_duration_since(Instant::now());
        // Time passes.
        table.state.lock().slots[0]
            .failed
            .as_mut()
            .expect("it has failed")
            .again = Instant::now();
        (wait, Duration::from_secs(expected))
    });
    for (wait, expected) in waits {
        let late = expected.saturating_sub(wait);
        assert!(late < Duration::from_secs(50), "{waits:?}");
    }
    let grant = claim(&table, &want);
    table.made(grant);
    assert!(table.state.lock().slots[0].failed.is_none());
}

#[test]
fn a_time_that_has_passed_is_looked_at_once_and_not_over_and_over() {
    let table = table(&["a"]);
    // A pool that no server sweeps is looked at more often than this.
    table.mark_swept();
    table.set(|rules| rules.back_off = [Duration::ZERO; 2]);
    let (_alive, call) = call();
    let want = want(&call, &[], &[true]);
    let grant = claim(&table, &want);
    table.failed(grant, "refused");
    table.give_back(grant, None::<fn()>);
    let being_made = claim(&table, &want);
    let waits = table.line_up(Arc::clone(&want));
    let sleeps = || waits.next_look() > Instant::now() + Duration::from_secs(3600);
    assert!(sleeps(), "it is being made");
    table.made(being_made);
    // Its lock was elsewhere when this one asked, and then somebody here got it.
    let mut state = table.state.lock();
    let waiter = state.line.get_mut(&waits.ticket).expect("it waits");
    waiter.pause(0, Instant::now());
    drop(state);
    assert!(sleeps(), "it is in use");
    give_back(&table, being_made);
    assert!(waits.got().is_some());
}
