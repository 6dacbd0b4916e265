//! The modern era's streams of change notifications: opened by `subscriptions/listen`, ended by the client or by the drain.
//!
//! A subscription is a call without a worker: it is cancelled, logged and answered as calls are, and costs the thread of its connection
//! and a bounded outbox. The list of them is locked while one is acknowledged and while a change is published, so that nothing can come in
//! front of an acknowledgement; and again while they end, so that nothing can come behind the result. Must not know HTTP.
//! Specification: `basic/patterns/subscriptions` of revision 2026-07-28.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::base::budget::Charge;
use crate::base::lock::Lock;
use crate::base::owner::Owner;
use crate::desk::jobs::now_ms;
use crate::desk::record::JobRecord;
use crate::desk::wire::{Task, TaskView};
use crate::engine::call::Call;
use crate::engine::encode;
use crate::observe::access::Outcome;
use crate::protocol::change::Change;
use crate::protocol::id::RequestId;
use crate::protocol::jsonrpc;
use crate::protocol::meta::SUBSCRIPTION_ID_KEY;

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
        let tasks = self.task_ids.iter().map(|id| id.len() + URI_BYTES);
        SUBSCRIPTION_BYTES
            + tasks.sum::<usize>()
            + uris.map(|uri| uri.len() + URI_BYTES).sum::<usize>()
    }

    fn include(&self, change: Change<'_>) -> bool {
        match change {
            Change::Tools => self.tools_list_changed,
            Change::Prompts => self.prompts_list_changed,
            Change::Resources => self.resources_list_changed,
            Change::Resource(uri) => self.resource_subscriptions.contains(uri),
        }
    }
}

impl Subscriptions {
    /// Puts a change into the outbox of every stream that wants it.
    pub(super) fn publish(&self, change: Change<'_>) {
        let mut open = self.0.lock();
        prune(&mut open);
        for Subscription { call, wants, .. } in &*open {
            if wants.include(change) {
                let message = notification(change, Some(&call.facts.id));
                call.with_outbox(|outbox, token| outbox.announce(message, Some(token)));
            }
        }
    }

    /// Tells of a job's change every stream that has subscribed to it.
    pub(super) fn publish_task(&self, record: &JobRecord, server_info: &RawValue) {
        let mut open = self.0.lock();
        prune(&mut open);
        for Subscription { call, wants, .. } in &*open {
            if wants.task_ids.contains(&*record.id) {
                send_task(call, record, server_info);
            }
        }
    }

    /// How many are open.
    pub(super) fn len(&self) -> usize {
        let open = self.0.lock();
        open.iter().filter(|one| !one.call.has_ended()).count()
    }

    /// Forgets those that have ended, so that the list is never longer than what is open and one.
    pub(super) fn prune(&self) {
        prune(&mut self.0.lock());
    }

    /// Opens one more, if `admit` lets it, and puts in `first` what it is to hear first: `admit` is told how many its owner has open, under the lock that ending all of them takes.
    pub(super) fn open(
        &self,
        owner: &Owner,
        admit: impl FnOnce(usize) -> Option<(Arc<Call>, Wants, Charge)>,
        first: impl FnOnce(&Call, &Wants),
    ) -> Option<Arc<Call>> {
        let mut open = self.0.lock();
        prune(&mut open);
        let owned = open.iter().filter(|one| one.call.facts.owner == *owner);
        let (call, wants, kept) = admit(owned.count())?;
        call.start();
        let acknowledged = acknowledgement(&call.facts.id, &wants);
        call.with_outbox(|outbox, token| outbox.send_opening(acknowledged, token));
        first(&call, &wants);
        open.push(Subscription {
            call: Arc::clone(&call),
            wants,
            _kept: kept,
        });
        Some(call)
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
        let server_info = serde_json::from_str::<RawMeta>(server_info.get()).unwrap_or_default();
        for Subscription { call, .. } in self.0.lock().drain(..) {
            let id = &call.facts.id;
            let mut meta = subscription_meta(id);
            meta.extend(server_info.clone());
            let ended = Ended {
                result_type: "complete",
                meta,
            };
            call.answer(encode::write(id, &ended), None, Outcome::Ok);
        }
    }
}

/// The state of a task, as one stream is told of it.
pub(super) fn send_task(call: &Call, record: &JobRecord, server_info: &RawValue) {
    let mut meta = subscription_meta(&call.facts.id);
    meta.extend(serde_json::from_str::<RawMeta>(server_info.get()).unwrap_or_default());
    let meta = to_raw_value(&meta).expect("it is JSON");
    let task = Task {
        record,
        shown: TaskView::Announced { meta: &meta },
        now_ms: now_ms(),
    };
    let message = jsonrpc::notification("notifications/tasks", &task);
    call.with_outbox(|outbox, token| outbox.announce(message, Some(token)));
}

fn prune(open: &mut Vec<Subscription>) {
    open.retain(|one| !one.call.has_ended());
}

fn acknowledgement(id: &RequestId, wants: &Wants) -> Vec<u8> {
    #[derive(Serialize)]
    struct Params<'a> {
        #[serde(rename = "_meta")]
        meta: RawMeta,
        notifications: &'a Wants,
    }
    let params = Params {
        meta: subscription_meta(id),
        notifications: wants,
    };
    jsonrpc::notification("notifications/subscriptions/acknowledged", &params)
}

/// Raw, because an id goes back as it came.
type RawMeta = BTreeMap<String, Box<RawValue>>;

/// What every message of a stream says: which one it belongs to.
fn subscription_meta(id: &RequestId) -> RawMeta {
    let id = to_raw_value(id).expect("an id is JSON");
    RawMeta::from([(SUBSCRIPTION_ID_KEY.to_owned(), id)])
}

/// The notification of a change; on a modern stream it names its subscription.
pub(super) fn notification(change: Change<'_>, subscription: Option<&RequestId>) -> Vec<u8> {
    let (method, uri) = match change {
        Change::Tools => ("notifications/tools/list_changed", None),
        Change::Prompts => ("notifications/prompts/list_changed", None),
        Change::Resources => ("notifications/resources/list_changed", None),
        Change::Resource(uri) => ("notifications/resources/updated", Some(uri)),
    };
    #[derive(Serialize)]
    struct Params<'a> {
        #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
        meta: Option<RawMeta>,
        #[serde(skip_serializing_if = "Option::is_none")]
        uri: Option<&'a str>,
    }
    let meta = subscription.map(subscription_meta);
    jsonrpc::notification(method, &Params { meta, uri })
}
