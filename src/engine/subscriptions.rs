//! The modern era's streams of change notifications: opened by `subscriptions/listen`, ended by the client or by the drain.
//!
//! A subscription is a call without a worker: it is cancelled, logged and answered as calls are, and costs the thread of its connection
//! and a bounded outbox. The list of them is locked while one is acknowledged and while a change is published, so that nothing can come in
//! front of an acknowledgement; and again while they end, so that nothing can come behind the result. Must not know HTTP.
//! Specification: `basic/patterns/subscriptions` of revision 2026-07-28.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::base::budget::Charge;
use crate::engine::in_flight::{Call, InFlight, Opening};
use crate::engine::reply::{Asked, over_budget, refuse_taken_id, shutting_down};
use crate::engine::{Engine, Origin, encode};
use crate::handler::client::{Client, ClientSource};
use crate::handler::context::RequestInfo;
use crate::observe::access::Outcome;
use crate::protocol::change::Change;
use crate::protocol::jsonrpc::{self, ErrorObject, RequestId, Text};
use crate::protocol::meta::{SUBSCRIPTION_ID_KEY, SubscriptionFilter};
use crate::protocol::method::Method;
use crate::protocol::raw;
use crate::protocol::trace::TraceContext;
use crate::protocol::version::{Era, ProtocolVersion};

/// What stands in the log where a call names what it calls, and its lane.
const NOTHING: &str = "-";

/// The open streams.
#[derive(Default)]
pub(super) struct Subscriptions(Mutex<Vec<Subscription>>);

struct Subscription {
    call: Arc<Call>,
    wants: Wants,
    /// What it keeps.
    _kept: Charge,
}

/// What is honoured of a client's wishes, as the acknowledgement shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wants {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    tools_list_changed: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    prompts_list_changed: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    resources_list_changed: bool,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    resource_subscriptions: BTreeSet<Box<str>>,
}

/// What it costs to watch a resource, beside its URI, in bytes.
pub(super) const URI_BYTES: usize = 96;

/// What a subscription costs that watches nothing, in bytes.
const SUBSCRIPTION_BYTES: usize = 1024;

/// What it costs to keep an id, which each message of a stream repeats.
fn id_bytes(id: &RequestId) -> usize {
    serde_json::to_string(id).map_or(0, |text| 2 * text.len())
}

impl Wants {
    fn bytes(&self) -> usize {
        let uris = self.resource_subscriptions.iter();
        SUBSCRIPTION_BYTES + uris.map(|uri| uri.len() + URI_BYTES).sum::<usize>()
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
        let mut open = self.lock();
        prune(&mut open);
        for Subscription { call, wants, .. } in &*open {
            if wants.include(change) {
                call.announce(notification(change, Some(&call.id)));
            }
        }
    }

    /// How many are open.
    pub(super) fn len(&self) -> usize {
        let open = self.lock();
        open.iter().filter(|one| !one.call.has_ended()).count()
    }

    /// Forgets those that have ended, so that the list is never longer than what is open and one.
    pub(super) fn prune(&self) {
        prune(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Subscription>> {
        self.0
            .lock()
            .expect("no code panics while it holds the subscriptions")
    }
}

fn prune(open: &mut Vec<Subscription>) {
    open.retain(|one| !one.call.has_ended());
}

impl Engine {
    /// `subscriptions/listen`: acknowledged at once, and open until somebody ends it.
    pub(super) fn listen(&self, asked: Asked<'_>, origin: &Origin<'_>) -> Option<Arc<Call>> {
        self.subscriptions.prune();
        let wants = self.honoured(asked.params.notifications.as_ref());
        let kept = wants.and_then(|wants| {
            let kept = self.kept.charge(wants.bytes() + id_bytes(&asked.id));
            Ok((wants, kept.map_err(over_budget)?))
        });
        let (wants, kept) = match kept {
            Ok(kept) => kept,
            Err(error) => {
                asked.fail(Method::Listen.name(), &error);
                return None;
            }
        };
        let calls = match origin {
            Origin::Pipe(pipe) => Some(&pipe.calls),
            Origin::Http { .. } => None,
        };
        let mut open = self.subscriptions.lock();
        if let Err(error) = self.has_room(&open, calls) {
            drop(open);
            asked.fail(Method::Listen.name(), &error);
            return None;
        }
        let call = self.open_subscription(asked, calls)?;
        call.start();
        call.send_opening(acknowledgement(&call.id, &wants));
        open.push(Subscription {
            call: Arc::clone(&call),
            wants,
            _kept: kept,
        });
        Some(call)
    }

    /// Of what the client wants, what this server tells of. A resource is watched only if there is one at its URI or a template that covers it: to
    /// name another in the acknowledgement would promise what can never come true.
    fn honoured(&self, wanted: Option<&SubscriptionFilter<'_>>) -> Result<Wants, ErrorObject> {
        let wanted =
            wanted.ok_or_else(|| ErrorObject::invalid_params("`notifications` is missing"))?;
        let most = self.limits.subscription_uris_max;
        let uris: Vec<Text<'_>> =
            raw::list("resourceSubscriptions", wanted.resource_subscriptions, most)?;
        if uris.len() > most {
            return Err(ErrorObject::invalid_params(format!(
                "One subscription may watch at most {most} resources"
            )));
        }
        let mut resource_subscriptions = BTreeSet::new();
        for Text(uri) in uris {
            self.check_watchable(&uri)?;
            if self.catalogue.covers(&uri) {
                resource_subscriptions.insert(uri.into());
            }
        }
        Ok(Wants {
            tools_list_changed: wanted.tools_list_changed && self.announces(Change::Tools),
            prompts_list_changed: wanted.prompts_list_changed && self.announces(Change::Prompts),
            resources_list_changed: wanted.resources_list_changed
                && self.announces(Change::Resources),
            resource_subscriptions,
        })
    }

    /// Whether one more may be open. Over HTTP it is the transport that counts streams.
    fn has_room(
        &self,
        open: &[Subscription],
        calls: Option<&Arc<InFlight>>,
    ) -> Result<(), ErrorObject> {
        if self.is_draining() {
            return Err(shutting_down());
        }
        let Some(calls) = calls else { return Ok(()) };
        let most = self.limits.subscriptions_max;
        if open.iter().filter(|one| one.call.is_among(calls)).count() < most {
            return Ok(());
        }
        Err(ErrorObject::overloaded(format!(
            "{most} subscriptions are open on this pipe, which is the most; end one first"
        )))
    }

    fn open_subscription(
        &self,
        asked: Asked<'_>,
        calls: Option<&Arc<InFlight>>,
    ) -> Option<Arc<Call>> {
        let trace = asked.params.meta.as_ref().and_then(TraceContext::read);
        let traceparent = trace.as_deref().and_then(TraceContext::logged);
        let opening = Opening {
            id: asked.id,
            era: asked.era,
            method: Method::Listen,
            name: NOTHING.into(),
            lane: NOTHING.into(),
            info: RequestInfo {
                tag: asked.tag.clone(),
                target: NOTHING.into(),
                client: ClientSource::Request(Client::new(
                    None,
                    None,
                    ProtocolVersion::V2026_07_28,
                )),
                progress_token: None,
                log_level: None,
                trace,
            },
            engine: self.me.clone(),
            asks: None,
        };
        let opened = Call::open(opening, asked.slot, calls);
        let refuse =
            |taken| refuse_taken_id(taken, asked.tag, Method::Listen, Era::Modern, traceparent);
        opened.map_err(refuse).ok()
    }

    /// Ends every stream with its result. There will be no others: the server drains.
    pub(super) fn end_subscriptions(&self) {
        let mut open = self.subscriptions.lock();
        for Subscription { call, .. } in open.drain(..) {
            let mut meta = subscription_meta(&call.id);
            let server_info = serde_json::from_str::<Meta>(self.identity.server_info.get());
            meta.extend(server_info.unwrap_or_default());
            #[derive(Serialize)]
            #[serde(rename_all = "camelCase")]
            struct Ended {
                result_type: &'static str,
                #[serde(rename = "_meta")]
                meta: Meta,
            }
            let ended = Ended {
                result_type: "complete",
                meta,
            };
            call.answer(encode::write(&call.id, &ended), None, Outcome::Ok);
        }
    }
}

fn acknowledgement(id: &RequestId, wants: &Wants) -> Vec<u8> {
    #[derive(Serialize)]
    struct Params<'a> {
        #[serde(rename = "_meta")]
        meta: Meta,
        notifications: &'a Wants,
    }
    let params = Params {
        meta: subscription_meta(id),
        notifications: wants,
    };
    jsonrpc::notification("notifications/subscriptions/acknowledged", &params)
}

/// Raw, because an id goes back as it came.
type Meta = BTreeMap<String, Box<RawValue>>;

/// What every message of a stream says: which one it belongs to.
fn subscription_meta(id: &RequestId) -> Meta {
    let id = to_raw_value(id).expect("an id is JSON");
    Meta::from([(SUBSCRIPTION_ID_KEY.to_owned(), id)])
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
        meta: Option<Meta>,
        #[serde(skip_serializing_if = "Option::is_none")]
        uri: Option<&'a str>,
    }
    let meta = subscription.map(subscription_meta);
    jsonrpc::notification(method, &Params { meta, uri })
}
