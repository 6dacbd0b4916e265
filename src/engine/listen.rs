//! `subscriptions/listen` of the modern era: what of a client's wishes is honoured, and whether there is room for one more stream.
//!
//! Must not know HTTP. Specification: `basic/patterns/subscriptions` of revision 2026-07-28.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::base::budget::OverBudget;
use crate::desk::record::JobRecord;
use crate::engine::call::{Call, HandlerInput};
use crate::engine::errors::{over_budget, shutting_down};
use crate::engine::ingress::Via;
use crate::engine::lifecycle::Engine;
use crate::engine::planning::{declares_tasks, tasks_required};
use crate::engine::reply::Asked;
use crate::engine::shared::Shared;
use crate::engine::subscriptions::{Wants, id_bytes};
use crate::observe::access::Outcome;
use crate::protocol::errors::ErrorObject;
use crate::protocol::meta::{Params, SubscriptionFilter};
use crate::protocol::offer::{Change, OfferKind};
use crate::protocol::raw;
use crate::protocol::text::Text;

impl Engine {
    /// Acknowledged at once, and open until somebody ends it.
    #[inline(never)]
    pub(super) fn listen(&self, asked: Asked<'_>, via: &Via<'_>) -> Option<Arc<Call>> {
        let shared = &self.shared;
        shared.subscriptions.prune();
        let filter = asked.params.notifications.as_deref();
        let wants = shared.honoured(filter).and_then(|wants| {
            let task_ids = shared.followed(filter, &asked.params)?;
            let jobs = shared.desk.jobs.iter();
            let watching = jobs.flat_map(|jobs| task_ids.iter().filter_map(|id| jobs.watch(id)));
            Ok(Wants {
                _watching: watching.collect(),
                task_ids,
                ..wants
            })
        });
        let charged = wants.and_then(|wants| {
            // The acknowledgement repeats it.
            let bytes = wants.bytes() + id_bytes(&asked.id);
            let charge = || {
                // The share of all clients together.
                let charged = shared.kept.charge(bytes);
                charged.map_err(|_| over_budget(OverBudget::Whole))
            };
            Ok(([charge()?, charge()?], wants))
        });
        let (charges, wants) = match charged {
            Ok(charged) => charged,
            Err(error) => {
                asked.fail(&error);
                return None;
            }
        };
        let owner = via.owner();
        let task_ids = wants.task_ids.clone();
        let (facts, port, _) = asked.into_call(owner.clone());
        let call = Call::registered(facts, None, port, via.calls(), HandlerInput::default())?;
        let opened = shared.subscriptions.open(&owner, |open| {
            shared.has_room(open, via)?;
            Ok((Arc::clone(&call), wants, charges))
        });
        // Without the lock: a refusal may be sent on this thread.
        let refused = opened.map_err(|error| call.fail(&error, Outcome::Refused));
        let opened = refused.ok()?;
        // Else a client that comes after the end of a task would wait for ever. Looked at without the lock of the others' subscriptions: it may wait for a store.
        if let Some(jobs) = &shared.desk.jobs {
            let records = task_ids
                .iter()
                .filter_map(|id| jobs.look(id, JobRecord::clone));
            records.for_each(|record| shared.subscriptions.tell_task(&opened, jobs, &record));
        }
        Some(opened)
    }
}

impl Shared {
    /// Of what the client wants, what this server tells of. A resource is watched only if there is one at its URI or a template that covers it: to
    /// name another in the acknowledgement would promise what can never come true.
    fn honoured(&self, wanted: Option<&SubscriptionFilter<'_>>) -> Result<Wants, ErrorObject> {
        let wanted =
            wanted.ok_or_else(|| ErrorObject::invalid_params("`notifications` is missing"))?;
        let most = self.limits.subscription_uris_max;
        let uris = raw::texts("resourceSubscriptions", wanted.resource_subscriptions, most)?;
        let mut resource_subscriptions = BTreeSet::new();
        for Text(uri) in uris {
            self.check_watchable(&uri)?;
            if self.catalogue.resource(&uri).is_some() {
                resource_subscriptions.insert(uri.into());
            }
        }
        Ok(Wants {
            tools_list_changed: wanted.tools_list_changed
                && self.announces(Change::List(OfferKind::Tool)),
            prompts_list_changed: wanted.prompts_list_changed
                && self.announces(Change::List(OfferKind::Prompt)),
            resources_list_changed: wanted.resources_list_changed
                && self.announces(Change::List(OfferKind::Resource)),
            resource_subscriptions,
            task_ids: BTreeSet::new(),
            _watching: Vec::new(),
        })
    }

    /// Of the tasks that a client wants to follow, those that it has.
    fn followed(
        &self,
        wanted: Option<&SubscriptionFilter<'_>>,
        params: &Params<'_>,
    ) -> Result<BTreeSet<Box<str>>, ErrorObject> {
        let Some(task_ids) = wanted.and_then(|wanted| wanted.task_ids) else {
            return Ok(BTreeSet::new());
        };
        if !declares_tasks(params) {
            return Err(tasks_required());
        }
        let most = self.limits.subscription_uris_max;
        let ids = raw::texts("taskIds", Some(task_ids), most)?;
        let has = |id: &Text<'_>| {
            let jobs = self.desk.jobs.as_ref();
            jobs.is_some_and(|jobs| jobs.look(&id.0, |_| ()).is_some())
        };
        Ok(ids
            .into_iter()
            .filter(has)
            .map(|Text(id)| id.into())
            .collect())
    }

    /// Whether one more may be open. Over HTTP it is the transport that counts streams.
    fn has_room(&self, open: usize, via: &Via<'_>) -> Result<(), ErrorObject> {
        if self.draining.load(Ordering::Acquire) {
            return Err(shutting_down());
        }
        let most = self.limits.subscriptions_max;
        if matches!(via, Via::Http { .. }) || open < most {
            return Ok(());
        }
        Err(ErrorObject::overloaded(format!(
            "{most} subscriptions are open on this pipe, which is the most; end one first"
        )))
    }

    /// What is watched is kept, so it must not be long.
    pub(super) fn check_watchable(&self, uri: &str) -> Result<(), ErrorObject> {
        let most = self.limits.subscription_uri_bytes_max;
        match uri.len() <= most {
            true => Ok(()),
            false => Err(ErrorObject::invalid_params(format!(
                "A resource that is watched has a URI of at most {most} bytes"
            ))),
        }
    }
}
