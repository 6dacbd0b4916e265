//! Turns: in order, alone or beside each other, given back however a call ends.

use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};
use proptest::prelude::*;

use super::*;

/// What has happened to a call: it is inside, or it was turned away.
type Happened = (Arc<str>, Option<Turn>);

struct Call {
    label: Arc<str>,
    is_stale: Arc<AtomicBool>,
    happens: Sender<Happened>,
}

impl Visitor for Call {
    fn is_stale(&self) -> bool {
        self.is_stale.load(Ordering::Relaxed)
    }

    fn was_accepted(&self) -> bool {
        &*self.label == "again"
    }

    fn label(&self) -> Arc<str> {
        Arc::clone(&self.label)
    }

    fn go(self: Box<Self>, turn: Turn) {
        // At its end a test does not listen any more.
        let _heard = self.happens.send((self.label, Some(turn)));
    }

    fn turn_away(self: Box<Self>) {
        let _heard = self.happens.send((self.label, None));
    }
}

struct Desk {
    workspace: Arc<Workspace>,
    happens: Sender<Happened>,
    happened: Receiver<Happened>,
}

impl Desk {
    fn new(queue_len_max: usize) -> Self {
        let (happens, happened) = unbounded();
        Desk {
            workspace: Workspace::new("desk".into(), queue_len_max, false, Errands::new("a test")),
            happens,
            happened,
        }
    }

    fn call(&self, label: impl ToString) -> Box<Call> {
        Box::new(Call {
            label: label.to_string().into(),
            is_stale: Arc::default(),
            happens: self.happens.clone(),
        })
    }

    fn enter(&self, access: AccessMode, label: impl ToString) -> bool {
        self.workspace.enter(access, self.call(label)).is_ok()
    }

    /// Who has come in, if somebody has.
    fn inside(&self) -> Option<(Arc<str>, Turn)> {
        let (label, turn) = self.happened.try_recv().ok()?;
        Some((label, turn.expect("nobody was turned away")))
    }

    #[track_caller]
    fn is_inside(&self, expected: &str) -> Turn {
        let (label, turn) = self.inside().expect("its turn has come");
        assert_eq!(&*label, expected);
        turn
    }

    #[track_caller]
    fn nobody_comes(&self) {
        assert!(self.inside().is_none());
    }
}

#[test]
fn law_15_changes_take_turns_in_order_and_hold_nothing_while_they_wait() {
    let desk = Desk::new(2);
    for label in 0..3 {
        assert!(desk.enter(AccessMode::Change, label));
    }
    let full = desk.workspace.enter(AccessMode::Change, desk.call("3"));
    assert!(matches!(full, Err(Outside::Full(call)) if &*call.label() == "3"));
    for label in 0..3 {
        let turn = desk.is_inside(&label.to_string());
        desk.nobody_comes();
        drop(turn);
    }
    assert!(desk.workspace.look().busy_with.is_empty());
}

#[test]
fn law_12_what_was_let_in_before_is_not_refused_by_a_full_queue() {
    let desk = Desk::new(1);
    for label in ["a", "b"] {
        assert!(desk.enter(AccessMode::Change, label));
    }
    assert!(!desk.enter(AccessMode::Change, "c"), "it is full");
    assert!(desk.enter(AccessMode::Change, "again"));
    for label in ["a", "b", "again"] {
        drop(desk.is_inside(label));
    }
}

#[test]
fn reads_share_it_and_do_not_keep_a_change_out_for_ever() {
    let desk = Desk::new(9);
    assert!(desk.enter(AccessMode::Read, "a") && desk.enter(AccessMode::Read, "b"));
    let (a, b) = (desk.is_inside("a"), desk.is_inside("b"));
    assert!(desk.enter(AccessMode::Change, "c") && desk.enter(AccessMode::Read, "d"));
    desk.nobody_comes(); // a read behind a change waits for it
    drop(a);
    desk.nobody_comes();
    drop(b);
    let c = desk.is_inside("c");
    desk.nobody_comes();
    drop(c);
    drop(desk.is_inside("d"));
}

#[test]
fn a_call_that_is_cancelled_while_it_waits_frees_its_place() {
    let desk = Desk::new(1);
    assert!(desk.enter(AccessMode::Change, "a"));
    let waiting = desk.call("b");
    let is_stale = Arc::clone(&waiting.is_stale);
    assert!(desk.workspace.enter(AccessMode::Change, waiting).is_ok());
    assert!(!desk.enter(AccessMode::Change, "c"), "the queue is full");
    is_stale.store(true, Ordering::Relaxed);
    assert_eq!(desk.workspace.look().waiting, 0);
    assert!(desk.enter(AccessMode::Change, "c"), "its place is free");
    drop(desk.is_inside("a"));
    drop(desk.is_inside("c"));
}

#[test]
fn a_panic_leaves_no_half_broken_value() {
    let desk = Desk::new(9);
    assert!(desk.enter(AccessMode::Change, "crash") && desk.enter(AccessMode::Change, "next"));
    let crash = desk.is_inside("crash");
    let cell = Arc::clone(&crash.cell);
    let broken = Arc::clone(&cell);
    let thrown = std::thread::spawn(move || {
        let _held = broken.value.write();
        panic!("on purpose");
    });
    thrown.join().expect_err("it panicked");
    drop(crash);
    assert!(!Arc::ptr_eq(&cell, &desk.is_inside("next").cell));
    assert_eq!(desk.workspace.look().panics, 1);
}

#[test]
fn a_closed_one_takes_nobody_and_turns_away_those_who_wait() {
    let desk = Desk::new(9);
    assert!(desk.enter(AccessMode::Change, "a") && desk.enter(AccessMode::Change, "b"));
    let inside = desk.is_inside("a");
    drop(desk.workspace.close());
    let (label, turn) = desk.happened.try_recv().expect("it hears of it");
    assert!(&*label == "b" && turn.is_none());
    let late = desk.workspace.enter(AccessMode::Read, desk.call("c"));
    assert!(matches!(late, Err(Outside::Closed(_))));
    drop(inside);
    desk.nobody_comes();
}

proptest! {
    #[test]
    fn nobody_who_waits_is_forgotten_and_a_change_is_alone(
        steps in prop::collection::vec((0..4_u8, any::<prop::sample::Index>()), 1..80),
    ) {
        let desk = Desk::new(1000);
        let mut inside: Vec<Turn> = Vec::new();
        let (mut entered, mut left) = (0, 0);
        for (step, which) in steps {
            match step {
                0 | 1 => {
                    let access = if step == 0 { AccessMode::Change } else { AccessMode::Read };
                    prop_assert!(desk.enter(access, entered));
                    entered += 1;
                }
                _ if !inside.is_empty() => {
                    drop(inside.swap_remove(which.index(inside.len())));
                    left += 1;
                }
                _ => {}
            }
            while let Some((_, turn)) = desk.inside() {
                inside.push(turn);
            }
            let changes = inside.iter().filter(|turn| turn.access == AccessMode::Change).count();
            prop_assert!(changes == 0 || inside.len() == 1, "a change is alone");
            let seen = desk.workspace.look();
            prop_assert_eq!(seen.busy_with.len(), inside.len());
            prop_assert_eq!(seen.waiting + inside.len() + left, entered);
            prop_assert!(seen.waiting == 0 || !inside.is_empty(), "nobody waits for nobody");
        }
    }
}

#[test]
fn who_waits_and_is_not_wanted_any_more_is_dropped_without_the_lock() {
    /// Comes back while it is dropped.
    struct Curious(Arc<Workspace>, Sender<usize>);

    impl Visitor for Curious {
        fn is_stale(&self) -> bool {
            true
        }
        fn was_accepted(&self) -> bool {
            false
        }
        fn label(&self) -> Arc<str> {
            "curious".into()
        }
        fn go(self: Box<Self>, _: Turn) {}
        fn turn_away(self: Box<Self>) {}
    }

    impl Drop for Curious {
        fn drop(&mut self) {
            let _heard = self.1.send(self.0.look().waiting);
        }
    }

    let (seen, sees) = unbounded();
    // All of it elsewhere, for a lock that is never given back would hold up the test's end as well.
    std::thread::spawn(move || {
        let desk = Desk::new(9);
        assert!(desk.enter(AccessMode::Change, "inside"));
        let curious = Curious(Arc::clone(&desk.workspace), seen);
        let entered = desk.workspace.enter(AccessMode::Change, Box::new(curious));
        assert!(entered.is_ok() && desk.enter(AccessMode::Change, "next"));
    });
    assert_eq!(sees.recv_timeout(Duration::from_secs(60)), Ok(1));
}
