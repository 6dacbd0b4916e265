//! The modern era's streams of change notifications: opened by `subscriptions/listen`, ended by the client or by the drain.
//!
//! A subscription is a call without a worker: it is cancelled, logged and answered as calls are, and costs a thread of the transport's
//! and a bounded outbox. The list of them is locked while one is acknowledged and while a change is published, so that nothing can come in
//! front of an acknowledgement; and again while they are taken out to be ended, so that nothing can come behind the result. Must not know HTTP.
//! Specification: `basic/patterns/subscriptions` of revision 2026-07-28.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::{Arc, MutexGuard};

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::base::budget::Charge;
use crate::base::lock::Lock;
use crate::base::owner::Owner;
use crate::desk::jobs::{Jobs, Watching};
use crate::desk::record::JobRecord;
use crate::desk::wire::{Task, TaskView};
use crate::engine::call::Call;
use crate::engine::encode;
use crate::observe::access::Outcome;
use crate::protocol::id::RequestId;
use crate::protocol::jsonrpc;
use crate::protocol::meta::SUBSCRIPTION_ID_KEY;
use crate::protocol::offer::{Change, OfferKind};

/// The open streams.
#[derive(Default)]
pub(crate) struct Subscriptions(Lock<Vec<Subscription>>);

struct Subscription {
    call: Arc<Call>,
    wants: Wants,
    /// What it keeps.
    _kept: Charge,
}

/// What is honoured of a client's wishes, as the acknowledgement shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wants {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) tools_list_changed: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) prompts_list_changed: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) resources_list_changed: bool,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) resource_subscriptions: BTreeSet<Box<str>>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) task_ids: BTreeSet<Box<str>>,
    #[serde(skip)]
    pub(super) _watching: Vec<Watching>,
}

/// What it costs to watch a resource, beside its URI, in bytes.
pub(super) const URI_BYTES: usize = 96;

/// What a subscription costs that watches nothing, in bytes.
const SUBSCRIPTION_BYTES: usize = 1024;

/// What it costs to keep an id, which each message of a stream repeats.
pub(super) fn id_bytes(id: &RequestId) -> usize {
    serde_json::to_string(id).map_or(0, |text| 2 * text.len())
}

impl Wants {
    pub(super) fn bytes(&self) -> usize {
        let uris = self.resource_subscriptions.iter();
        let tasks = self.task_ids.iter().map(|id| id.len() + 2 * URI_BYTES);
        SUBSCRIPTION_BYTES
            + tasks.sum::<usize>()
            + uris.map(|uri| uri.len() + URI_BYTES).sum::<usize>()
    }

    fn include(&self, change: Change<'_>) -> bool {
        match change {
            Change::List(OfferKind::Tool) => self.tools_list_changed,
            Change::List(OfferKind::Prompt) => self.prompts_list_changed,
            Change::List(_) => self.resources_list_changed,
            Change::Resource(uri) => self.resource_subscriptions.contains(uri),
        }
    }
}

impl Subscriptions {
    /// Puts a change into the outbox of every stream that wants it.
    pub(super) fn publish(&self, change: Change<'_>) {
        for Subscription { call, wants, .. } in &*self.open_now() {
            if wants.include(change) {
                let message = notification(change, Some(&call.facts.id));
                call.with_outbox(|outbox, source| outbox.announce(message, Some(source)));
            }
        }
    }

    /// Tells of a job's change every stream that has subscribed to it; not of one that another has followed, for that is told by who made it, and
    /// nobody shall hear of it before this one.
    pub(super) fn publish_task(&self, jobs: &Jobs, record: &JobRecord) {
        let open = self.open_now();
        let follows = |one: &&Subscription| one.wants.task_ids.contains(&*record.id);
        let mut following = open.iter().filter(follows).peekable();
        if following.peek().is_some() && jobs.is_newest(record) {
            following.for_each(|one| send_task(&one.call, record));
        }
    }

    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.open_now().len()
    }

    /// Forgets those that have ended, so that the list is never longer than what is open and one.
    pub(super) fn prune(&self) {
        drop(self.open_now());
    }

    fn open_now(&self) -> MutexGuard<'_, Vec<Subscription>> {
        let mut open = self.0.lock();
        open.retain(|one| !one.call.has_ended());
        open
    }

    /// Tells one stream how a task is that it follows, unless that has changed since it was looked at: then it is told of the change.
    pub(super) fn tell_task(&self, call: &Call, jobs: &Jobs, record: &JobRecord) {
        let _in_order = self.0.lock();
        if jobs.is_newest(record) {
            send_task(call, record);
        }
    }

    /// Opens one more, if `admit` lets it: `admit` is told how many its owner has open, under the lock that ending all of them takes. It is charged for what it keeps, and for its acknowledgement until that has been read.
    pub(super) fn open<E>(
        &self,
        owner: &Owner,
        admit: impl FnOnce(usize) -> Result<(Arc<Call>, Wants, [Charge; 2]), E>,
    ) -> Result<Arc<Call>, E> {
        let mut open = self.open_now();
        let owned = open.iter().filter(|one| one.call.facts.owner == *owner);
        let (call, wants, [kept, said]) = admit(owned.count())?;
        call.start();
        let acknowledged = acknowledgement(&call.facts.id, &wants);
        call.with_outbox(|outbox, source| outbox.send_opening(acknowledged, said, source));
        open.push(Subscription {
            call: Arc::clone(&call),
            wants,
            _kept: kept,
        });
        Ok(call)
    }

    /// Ends every stream with its result.
    pub(super) fn end(&self, server_info: &RawValue) {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Ended {
            result_type: &'static str,
            #[serde(rename = "_meta")]
            meta: RawMeta,
        }
        // Answered without the lock: an answer for which memory is short makes room, and looks for that here, too.
        let all = mem::take(&mut *self.0.lock());
        for Subscription { call, .. } in all {
            let id = &call.facts.id;
            let ended = Ended {
                result_type: "complete",
                meta: subscription_meta(id, Some(server_info)),
            };
            call.answer(encode::write(id, &ended), None, Outcome::Ok);
        }
    }
}

/// The state of a task, as one stream is told of it.
fn send_task(call: &Call, record: &JobRecord) {
    let meta = subscription_meta(&call.facts.id, None);
    let meta = to_raw_value(&meta).expect("it is JSON");
    let task = Task::now(record, TaskView::Announced, &meta);
    let message = jsonrpc::notification("notifications/tasks", &task);
    call.with_outbox(|outbox, source| outbox.announce(message, Some(source)));
}

fn acknowledgement(id: &RequestId, wants: &Wants) -> Vec<u8> {
    let params = StreamParams {
        meta: Some(subscription_meta(id, None)),
        notifications: Some(wants),
        uri: None,
    };
    jsonrpc::notification("notifications/subscriptions/acknowledged", &params)
}

/// What a stream is told.
#[derive(Serialize)]
struct StreamParams<'a> {
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    meta: Option<RawMeta>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notifications: Option<&'a Wants>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<&'a str>,
}

/// Raw, because an id goes back as it came.
type RawMeta = BTreeMap<String, Box<RawValue>>;

/// What every message of a stream says: which one it belongs to; and, if it is a result, who the server is.
fn subscription_meta(id: &RequestId, server_info: Option<&RawValue>) -> RawMeta {
    let server_info = server_info.map(|info| serde_json::from_str(info.get()));
    let mut meta: RawMeta = server_info.and_then(Result::ok).unwrap_or_default();
    let id = to_raw_value(id).expect("an id is JSON");
    meta.insert(SUBSCRIPTION_ID_KEY.to_owned(), id);
    meta
}

/// The notification of a change; on a modern stream it names its subscription.
pub(super) fn notification(change: Change<'_>, subscription: Option<&RequestId>) -> Vec<u8> {
    let (method, uri) = match change {
        Change::List(OfferKind::Tool) => ("notifications/tools/list_changed", None),
        Change::List(OfferKind::Prompt) => ("notifications/prompts/list_changed", None),
        Change::List(_) => ("notifications/resources/list_changed", None),
        Change::Resource(uri) => ("notifications/resources/updated", Some(uri)),
    };
    let params = StreamParams {
        meta: subscription.map(|id| subscription_meta(id, None)),
        notifications: None,
        uri,
    };
    jsonrpc::notification(method, &params)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::base::budget::Budget;
    use crate::base::limits::Limits;
    use crate::desk::record::{Carried, Order};
    use crate::desk::store::guarded::Guarded;
    use crate::engine::call::HandlerInput;
    use crate::engine::reply::{AnswerPort, Asked};
    use crate::observe::access::RequestTag;
    use crate::outbox::{Accounts, Bounds, Item, OutboxReceiver, outbox};
    use crate::protocol::meta::Params;
    use crate::protocol::version::Era;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// An open stream that follows these tasks, and its reader, on accounts with so much room.
    fn follow(
        open: &Subscriptions,
        answers: &Arc<Budget>,
        task_ids: BTreeSet<Box<str>>,
    ) -> OutboxReceiver {
        let bounds = Bounds {
            answers_max: 9,
            bytes_max: 1 << 16,
        };
        let accounts = Accounts {
            answers: Arc::clone(answers),
            events: Budget::whole(usize::MAX),
        };
        let (outbox, receiver) = outbox(bounds, accounts);
        let wants = Wants {
            tools_list_changed: false,
            prompts_list_changed: false,
            resources_list_changed: false,
            resource_subscriptions: BTreeSet::new(),
            task_ids,
            _watching: Vec::new(),
        };
        let charges = [(); 2].map(|()| answers.try_charge(0).expect("nothing fits everywhere"));
        let asked = Asked {
            // So long that its answer is charged; a short one is sent without.
            id: RequestId::String("follow".repeat(1024).into()),
            method: "subscriptions/listen",
            params: Params::parse(None).expect("none are good ones"),
            port: AnswerPort::Outbox(outbox.reserve().expect("it is read")),
            tag: &RequestTag::fresh(None),
            era: Era::Modern,
        };
        let admit = |_| {
            let (facts, port, _) = asked.into_call(Owner::Nobody);
            Ok::<_, ()>((
                Call::open(facts, None, port, None, HandlerInput::default()),
                wants,
                charges,
            ))
        };
        let opened = open.open(&Owner::Nobody, admit);
        assert!(opened.is_ok());
        receiver
    }

    /// The texts of what waits to be read.
    fn read(receiver: &OutboxReceiver) -> Vec<String> {
        let next = || match receiver.recv(Some(Instant::now())) {
            Item::Event(bytes) | Item::Opening { message: bytes, .. } => Some(bytes),
            Item::Answer(answer) => Some(answer.body),
            _ => None,
        };
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("JSON is text");
        std::iter::from_fn(next).map(text).collect()
    }

    fn server_info() -> Box<RawValue> {
        RawValue::from_string("{}".into()).expect("it is JSON")
    }

    #[test]
    fn law_12_streams_end_when_memory_is_short() {
        let open = Arc::new(Subscriptions::default());
        let memory = Budget::whole(8);
        let shortage = Arc::clone(&open);
        memory.on_shortage(move |_| shortage.prune());
        let receiver = follow(&open, &memory, BTreeSet::new());
        let (ended, hears) = mpsc::channel();
        thread::spawn(move || {
            open.end(&server_info());
            // At its end a test does not listen any more.
            let _heard = ended.send(());
        });
        assert_eq!(hears.recv_timeout(PATIENCE), Ok(()));
        let read = read(&receiver);
        assert!(read[1].contains("503"), "{read:?}");
    }

    #[test]
    fn law_4_a_change_of_a_task_that_is_told_late_is_not_told_behind_its_successor() {
        let limits = Limits::default().jobs_max(1).job_ttl(PATIENCE);
        let store = Guarded::in_memory();
        let (jobs, _) =
            Jobs::open(Arc::new(limits), store, Budget::whole(usize::MAX)).expect("it opens");
        let (tell, told) = mpsc::channel();
        jobs.on_change(move |record| tell.send(record.clone()).expect("the test listens"));
        let order = Order {
            tool: "dig".into(),
            listed_in: None,
            arguments: None,
            workspace: None,
            capabilities: None,
            client_info: None,
            is_legacy: false,
            restartable: false,
        };
        let id = jobs
            .create(order, Carried::default())
            .expect("there is room");
        let said = jobs.say(&id, "half of it".into());
        jobs.announce(&said.expect("it works"));
        jobs.cancel(&id).expect("it is there");
        let (half, cancelled) = (told.recv().expect("told"), told.recv().expect("told"));
        let open = Subscriptions::default();
        let memory = Budget::whole(usize::MAX);
        let receiver = follow(&open, &memory, [(&*id).into()].into());
        open.publish_task(&jobs, &cancelled);
        open.publish_task(&jobs, &half);
        let read = read(&receiver);
        assert_eq!(read.len(), 2, "{read:?}");
        assert!(read[1].contains("cancelled"), "{read:?}");
    }
}
