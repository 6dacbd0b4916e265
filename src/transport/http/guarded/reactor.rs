//! The *reactor*: connections that rest, and the one thread that hears of them and gives each its turn.
//!
//! ```text
//!   arrives, is rung, is heard of, its time is over
//!   ──────────────────────────────▶ turn: Connection::proceed ──▶ rests again, or ends
//!                                     │ is about to wait, or takes too long
//!                                     ▼
//!                       another thread runs the reactor (leader/followers); this one
//!                       keeps the connection until it rests, and brings it back
//! ```
//!
//! So a connection costs a thread only while something of it is waited for that cannot rest: half a request, a reader that is slow, a stream. What is about to
//! wait says so ([`about_to_wait`](crate::base::waiting::about_to_wait)); what does not, or computes, is found out by the [`Overseer`]. Must not know what is asked, nor how it is answered.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use super::connection::{Common, Connection, TurnEnd};
use super::link::Link;
use super::readiness::{News, Readiness};
use super::registry::{Connections, Leave};
use super::socket::Bell;
use crate::base::lock::Lock;
use crate::base::log;
use crate::base::log_rate::LogRate;
use crate::base::waiting::relieve_with;
use crate::outbox::Wake;
use crate::transport::http::exchange::{Heard, Heeds, Serve};

/// One for so many cores: a turn takes a tenth of the time that a call takes in all.
const CORES_EACH: usize = 4;

/// Who is heard of so late, for that the process did not run.
const SUSPENDED: Duration = Duration::from_secs(1);

/// A turn that lasts until it has been seen twice, this far apart, is one that waits or computes.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// In a round that lasts so long, turns keep others in line though each is shorter: they are looked for this often. Those of a reactor that is merely busy last
/// microseconds, and are not seen twice.
const LOOK_SOON: Duration = Duration::from_millis(1);

/// What others know of a reactor: where it is found, and what is brought to it.
pub(super) struct Inbox<S: Serve> {
    serve: Arc<S>,
    common: Arc<Common>,
    posts: Lock<Vec<Post<S>>>,
    bell: Arc<Bell>,
    /// The reactor while one of its connections has its turn.
    lent: Lock<Option<Lent<S>>>,
    /// How many turns have begun.
    turns: AtomicU64,
    /// How many threads have begun to run the reactor.
    runs: AtomicU64,
    overseer: Arc<Overseer>,
}

enum Post<S: Serve> {
    Arrives(Box<Connection<S>>),
    /// There is something to do for this one.
    Rung(usize),
}

struct Lent<S: Serve> {
    reactor: Box<Reactor<S>>,
    /// The run of which it is the turn; `None` when another thread is about to begin one.
    run: Option<u64>,
}

/// The connections that rest.
struct Reactor<S: Serve> {
    readiness: Readiness,
    /// By number.
    resting: Vec<Option<Box<Connection<S>>>>,
    /// What has been heard and not been acted on.
    news: VecDeque<News>,
    /// Those that have had their turn and are not done: they have the next in the next round, whatever is heard of them.
    again: Vec<Box<Connection<S>>>,
    /// How often it has listened. What is heard then has its turn in one *round*.
    rounds: u64,
    /// Not later than when the first of them has rested long enough.
    due: Option<Instant>,
    /// Whose turn it is, and what is heeded of it.
    turn_of: Option<(usize, Arc<Link>, Heeds)>,
    unwatched: LogRate,
}

/// Sees that no turn of any reactor lasts. Sleeps while nothing happens.
pub(super) struct Overseer {
    sleeps: AtomicBool,
    /// Wakes it.
    bell: Arc<Bell>,
}

/// What is done with a connection that has been admitted.
pub(super) type Welcome = Arc<dyn Fn(Arc<Link>, Leave) + Send + Sync>;

/// Starts the reactors and their overseer. They end when the front has stopped and the last connection has ended.
pub(super) fn start<S: Serve>(serve: &Arc<S>, common: &Arc<Common>) -> io::Result<Welcome> {
    let connections = &common.connections;
    let overseer = Arc::new(Overseer {
        sleeps: AtomicBool::new(true),
        bell: connections.add_bell()?,
    });
    let mut inboxes = Vec::new();
    for _ in 0..reactors() {
        inboxes.push(Inbox::start(serve, common, &overseer)?);
    }
    let overseen = inboxes.clone();
    let all = Arc::clone(connections);
    let oversee = move || overseer.run(&overseen, &all);
    connections.run(Box::new(oversee), threads_max(common))?;
    let next = AtomicUsize::new(0);
    let welcome = move |link, leave: Leave| {
        let next = next.fetch_add(1, Ordering::Relaxed);
        let inbox = &inboxes[next % inboxes.len()];
        let ring = inbox.ring_of(leave.number);
        let connection = Connection::new(link, leave, Arc::clone(&inbox.common), ring);
        inbox.post(Post::Arrives(Box::new(connection)));
    };
    Ok(Arc::new(welcome))
}

/// One for each connection, for a while, and those that are there for all.
fn threads_max(common: &Common) -> usize {
    let connections_max = common.limits.connections_max;
    connections_max.saturating_add(reactors() + 1)
}

pub(super) fn reactors() -> usize {
    static CORES: LazyLock<usize> =
        LazyLock::new(|| thread::available_parallelism().map_or(1, |cores| cores.get()));
    CORES.div_ceil(CORES_EACH)
}

impl Overseer {
    /// On a thread that does nothing else, so that nothing keeps it from looking.
    fn run<S: Serve>(&self, inboxes: &[Arc<Inbox<S>>], connections: &Connections) {
        let mut seen = vec![(0, 0); inboxes.len()];
        while !connections.is_over() {
            let time = self.oversee(inboxes, &mut seen);
            self.bell.wait_for_ring(time);
        }
        connections.thread_is_spare();
    }

    /// Has turns be relieved that last. When to look again, if not when it is rung.
    fn oversee<S: Serve>(
        &self,
        inboxes: &[Arc<Inbox<S>>],
        seen: &mut [(u64, u64)],
    ) -> Option<Duration> {
        let mut time = None;
        for (inbox, (seen, seen_round)) in inboxes.iter().zip(&mut *seen) {
            let turns = inbox.turns.load(Ordering::Acquire);
            let is_new = mem::replace(seen, turns) != turns;
            let look = match inbox.relieve_unless(is_new) {
                Some(round) if mem::replace(seen_round, round) == round => Some(LOOK_SOON),
                None if !is_new => None,
                _ => Some(LOOK_EVERY),
            };
            time = time.into_iter().chain(look).min();
        }
        if time.is_none() {
            self.sleeps.store(true, Ordering::SeqCst);
            let mut turns = inboxes.iter().zip(seen);
            let is_new = turns.any(|(inbox, seen)| inbox.turns.load(Ordering::SeqCst) != seen.0);
            time = is_new.then_some(LOOK_EVERY);
        }
        time
    }

    /// A turn begins.
    fn note(&self) {
        if self.sleeps.load(Ordering::SeqCst) && self.sleeps.swap(false, Ordering::SeqCst) {
            self.bell.ring();
        }
    }
}

impl<S: Serve> Inbox<S> {
    fn start(
        serve: &Arc<S>,
        common: &Arc<Common>,
        overseer: &Arc<Overseer>,
    ) -> io::Result<Arc<Self>> {
        let bell = common.connections.add_bell()?;
        let reactor = Box::new(Reactor {
            readiness: Readiness::new(&bell)?,
            resting: Vec::new(),
            news: VecDeque::new(),
            again: Vec::new(),
            rounds: 0,
            due: None,
            turn_of: None,
            unwatched: LogRate::default(),
        });
        let inbox = Arc::new(Inbox {
            serve: Arc::clone(serve),
            common: Arc::clone(common),
            posts: Lock::default(),
            bell,
            lent: Lock::new(Some(Lent { reactor, run: None })),
            turns: AtomicU64::new(0),
            runs: AtomicU64::new(0),
            overseer: Arc::clone(overseer),
        });
        inbox.start_run()?;
        Ok(inbox)
    }

    /// How a connection is woken that rests.
    fn ring_of(self: &Arc<Self>, number: usize) -> Wake {
        let inbox = Arc::clone(self);
        Arc::new(move || inbox.post(Post::Rung(number)))
    }

    fn post(&self, post: Post<S>) {
        let mut posts = self.posts.lock();
        posts.push(post);
        let is_first = posts.len() == 1;
        drop(posts);
        if is_first {
            self.bell.ring();
        }
    }

    fn start_run(self: &Arc<Self>) -> io::Result<()> {
        let inbox = Arc::clone(self);
        let connections = &self.common.connections;
        connections.run(Box::new(move || inbox.run()), threads_max(&self.common))
    }

    /// Runs the reactor that is lent to nobody, until it is over or another thread runs it.
    fn run(self: Arc<Self>) {
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        let mut reactor = self.lent.lock().take().map(|lent| lent.reactor);
        let inbox = Arc::clone(&self);
        relieve_with(Some(Box::new(move || inbox.relieve(Some(run)))));
        while let Some(mut at_work) = reactor.take() {
            at_work.leave_turn();
            match at_work.next(&self) {
                Some((connection, heard)) => {
                    reactor = self.turn(run, at_work, connection, heard);
                }
                None => self.common.connections.thread_is_spare(),
            }
        }
        relieve_with(None);
    }

    /// Gives a connection its turn. The reactor comes back, unless another thread runs it by then.
    fn turn(
        self: &Arc<Self>,
        run: u64,
        mut reactor: Box<Reactor<S>>,
        mut connection: Box<Connection<S>>,
        heard: Heard,
    ) -> Option<Box<Reactor<S>>> {
        reactor.turn_of = Some((connection.number, connection.link(), connection.heeded));
        *self.lent.lock() = Some(Lent {
            reactor,
            run: Some(run),
        });
        self.turns.fetch_add(1, Ordering::SeqCst);
        self.overseer.note();
        let mut turn = self.proceed(&mut connection, heard);
        let ours = self.lent.lock().take_if(|lent| lent.run == Some(run));
        if let Some(Lent { mut reactor, .. }) = ours {
            reactor.turn_of = None;
            reactor.settle(connection, turn);
            return Some(reactor);
        }
        connection.heeded = Heeds::Nothing;
        while matches!(turn, TurnEnd::Again) {
            turn = self.proceed(&mut connection, Heard::Bell);
        }
        let rests = match turn {
            TurnEnd::Rests(_) => Some(connection),
            _ => end(connection),
        };
        // Before the connection is anywhere else, or threads would be wanted for more of them than there may be.
        self.common.connections.thread_is_spare();
        if let Some(connection) = rests {
            self.post(Post::Arrives(connection));
        }
        None
    }

    fn proceed(&self, connection: &mut Connection<S>, heard: Heard) -> TurnEnd {
        // Unwind safety: what a panic leaves half done is this connection's own, and it ends.
        let proceeded = catch_unwind(AssertUnwindSafe(|| connection.proceed(&self.serve, heard)));
        proceeded.unwrap_or_else(|_panic| {
            log::error!("a connection ends by a panic");
            TurnEnd::Ends
        })
    }

    /// Has another thread run the reactor, if this run still has it. False if there is no thread.
    fn relieve(self: &Arc<Self>, run: Option<u64>) -> bool {
        // Held until it is known: the other thread waits for it, and so does a turn that ends meanwhile.
        let mut lent = self.lent.lock();
        let Some(lent) = lent.as_mut().filter(|lent| lent.run == run) else {
            return true;
        };
        let is_started = self.start_run().is_ok();
        if is_started {
            lent.run = None;
        }
        is_started
    }

    /// Relieves the turn that lasts, unless it has just begun. The round that it belongs to, if there is one.
    fn relieve_unless(self: &Arc<Self>, is_new: bool) -> Option<u64> {
        let turn = |lent: &Lent<S>| Some((lent.run?, lent.reactor.rounds));
        let (run, round) = self.lent.lock().as_ref().and_then(turn)?;
        if !is_new {
            let _later = self.relieve(Some(run));
        }
        Some(round)
    }
}

impl<S: Serve> Reactor<S> {
    /// The connection whose turn it was before another thread began to run this is that thread's.
    fn leave_turn(&mut self) {
        if let Some((number, link, heeded)) = self.turn_of.take() {
            let _gone = self
                .readiness
                .watch(number, &link.socket, heeded, Heeds::Nothing);
        }
    }

    /// The next connection that has its turn, and why. `None` when it is over.
    fn next(&mut self, inbox: &Inbox<S>) -> Option<(Box<Connection<S>>, Heard)> {
        loop {
            while let Some((number, heard)) = self.news.pop_front() {
                // One that has ended, or is another by now, has its turn for nothing.
                if let Some(connection) = self.resting.get_mut(number).and_then(Option::take) {
                    return Some((connection, heard));
                }
            }
            if inbox.common.connections.is_over() {
                return None;
            }
            let now = Instant::now();
            let time = match self.again.is_empty() {
                true => self.due.map(|due| due.saturating_duration_since(now)),
                false => Some(Duration::ZERO),
            };
            let news = &mut self.news;
            let tell = |told| news.push_back(told);
            if self.readiness.wait(&inbox.bell, time, tell) {
                self.take(mem::take(&mut *inbox.posts.lock()));
            }
            self.rounds += 1;
            if self.due.is_some_and(|due| due <= now) {
                self.find_due(now);
            }
            for connection in mem::take(&mut self.again) {
                self.news.push_back((connection.number, Heard::Bell));
                self.rest(connection);
            }
        }
    }

    fn take(&mut self, posts: Vec<Post<S>>) {
        for post in posts {
            let number = match post {
                Post::Rung(number) => number,
                Post::Arrives(connection) => {
                    let number = connection.number;
                    self.rest(connection);
                    number
                }
            };
            // What it was rung for before it came is looked for now.
            self.news.push_back((number, Heard::Bell));
        }
    }

    fn find_due(&mut self, now: Instant) {
        self.due = None;
        for connection in self.resting.iter_mut().flatten() {
            let late = now.checked_duration_since(connection.rests_until);
            match late {
                Some(late) => {
                    if late > SUSPENDED {
                        connection.idle_anew();
                    }
                    self.news.push_back((connection.number, Heard::Silence));
                }
                None => put_first(&mut self.due, connection.rests_until),
            }
        }
    }

    /// A connection has had its turn.
    fn settle(&mut self, mut connection: Box<Connection<S>>, turn: TurnEnd) {
        let number = connection.number;
        let heeds = match turn {
            TurnEnd::Rests(heeds) => heeds,
            TurnEnd::Again => connection.heeded,
            TurnEnd::Ends => Heeds::Nothing,
        };
        let link = connection.link();
        let heeded = mem::replace(&mut connection.heeded, heeds);
        let watched = self.readiness.watch(number, &link.socket, heeded, heeds);
        if let Err(error) = watched {
            if let Some(count) = self.unwatched.again() {
                log::error!("{count} connection(s) end, for they cannot be watched: {error}");
            }
            link.cut();
            connection.heeded = Heeds::Nothing;
            self.news.push_back((number, Heard::End));
        }
        match turn {
            TurnEnd::Ends => drop(end(connection)),
            TurnEnd::Again => self.again.push(connection),
            TurnEnd::Rests(_) => {
                put_first(&mut self.due, connection.rests_until);
                self.rest(connection);
            }
        }
    }

    fn rest(&mut self, connection: Box<Connection<S>>) {
        let number = connection.number;
        if self.resting.len() <= number {
            self.resting.resize_with(number + 1, || None);
        }
        self.resting[number] = Some(connection);
    }
}

/// Ends a connection; `None`. A panic of what it holds harms nobody else.
fn end<S: Serve>(connection: Box<Connection<S>>) -> Option<Box<Connection<S>>> {
    let _reported_by_the_hook = catch_unwind(AssertUnwindSafe(|| drop(connection)));
    None
}

fn put_first(due: &mut Option<Instant>, other: Instant) {
    *due = Some(due.map_or(other, |due| due.min(other)));
}
