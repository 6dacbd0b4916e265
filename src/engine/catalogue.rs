//! Everything the server offers: tools, prompts, resources and templates by name. Must not know who asks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::value::{RawValue, to_raw_value};

use crate::base::error::Error;
use crate::base::log;
use crate::engine::listing::Style;
use crate::engine::offers::{OfferedList, Offers};
use crate::handler::registration::{Callable, OfferKind, Registration};
use crate::protocol::method::Method;
use crate::protocol::results::CacheHint;

/// How many tools the narrowest clients take.
const TOOLS_MAX: usize = 128;

/// What is offered.
pub(crate) struct Catalogue {
    /// The names of the lanes, in the engine's order.
    lanes: Vec<Arc<str>>,
    /// The shortest liveness that anything had that was ever offered, in nanoseconds.
    shortest_liveness: AtomicU64,
    tools: Offers,
    prompts: Offers,
    resources: Offers,
    templates: Offers,
}

/// A resource found by its URI: what reads it, and with which variables.
pub(crate) struct Found {
    pub(crate) callable: Arc<Callable>,
    pub(crate) variables: Option<Box<RawValue>>,
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
            tools: offers(OfferKind::Tool),
            prompts: offers(OfferKind::Prompt),
            resources: offers(OfferKind::Resource),
            templates: offers(OfferKind::Template),
        }
    }

    /// Takes one more.
    ///
    /// # Errors
    ///
    /// When its lane does not exist or its name is taken; the error names it.
    pub(crate) fn add(&self, registration: Registration) -> Result<(), Error> {
        self.put(registration, Offers::add)
    }

    /// Takes one in the place of that of its name, if there is one.
    pub(crate) fn replace(&self, registration: Registration) -> Result<(), Error> {
        self.put(registration, Offers::replace)
    }

    fn put(
        &self,
        registration: Registration,
        put: fn(&Offers, Registration, usize) -> Result<(), String>,
    ) -> Result<(), Error> {
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
        let added = put(offers, registration, lane);
        if added.is_ok() && kind == OfferKind::Tool && offers.len() == TOOLS_MAX + 1 {
            log::warn!("more than {TOOLS_MAX} tools: some clients refuse, or leave out, the rest");
        }
        added.map_err(Error::configuration)
    }

    /// The shortest liveness that anything has, or had when it was offered.
    pub(crate) fn shortest_liveness(&self) -> Option<Duration> {
        let nanoseconds = self.shortest_liveness.load(Ordering::Relaxed);
        (nanoseconds != u64::MAX).then(|| Duration::from_nanos(nanoseconds))
    }

    /// Everything of one kind, to change it.
    pub(crate) fn offers(&self, kind: OfferKind) -> &Offers {
        match kind {
            OfferKind::Tool => &self.tools,
            OfferKind::Prompt => &self.prompts,
            OfferKind::Resource => &self.resources,
            OfferKind::Template => &self.templates,
        }
    }

    pub(crate) fn tool(&self, name: &str) -> Option<Arc<Callable>> {
        self.tools.find(name)
    }

    pub(crate) fn prompt(&self, name: &str) -> Option<Arc<Callable>> {
        self.prompts.find(name)
    }

    /// The resource at this URI: a fixed one, else the first template that matches.
    pub(crate) fn resource(&self, uri: &str) -> Option<Found> {
        if let Some(callable) = self.resources.find(uri) {
            return Some(Found {
                callable,
                variables: None,
            });
        }
        let templates = self.templates.snapshot();
        templates.callables.iter().find_map(|callable| {
            let variables = callable.template.as_ref()?.matches(uri)?;
            let variables: BTreeMap<_, _> = variables.into_iter().collect();
            Some(Found {
                callable: Arc::clone(callable),
                variables: to_raw_value(&variables).ok(),
            })
        })
    }

    /// Whether there is, or may be, a resource at this URI.
    pub(crate) fn covers(&self, uri: &str) -> bool {
        self.resource(uri).is_some()
    }

    /// What completes this argument of a prompt; `Err` when there is no such prompt.
    pub(crate) fn prompt_completer(
        &self,
        name: &str,
        argument: &str,
    ) -> Result<Option<Arc<Callable>>, ()> {
        let prompt = self.prompts.find(name).ok_or(())?;
        Ok(prompt.completers.get(argument).map(Arc::clone))
    }

    /// What completes this variable of a template; `Err` when there is no such template or resource.
    pub(crate) fn template_completer(
        &self,
        uri: &str,
        variable: &str,
    ) -> Result<Option<Arc<Callable>>, ()> {
        let found = self.templates.find(uri);
        let found = found.or_else(|| self.resources.find(uri)).ok_or(())?;
        Ok(found.completers.get(variable).map(Arc::clone))
    }

    /// The list that a method pages through.
    pub(crate) fn list(&self, method: Method) -> Arc<OfferedList> {
        let offers = match method {
            Method::PromptsList => &self.prompts,
            Method::ResourcesList => &self.resources,
            Method::TemplatesList => &self.templates,
            _ => &self.tools,
        };
        offers.snapshot()
    }

    pub(crate) fn has_prompts(&self) -> bool {
        self.prompts.is_declared()
    }

    pub(crate) fn has_resources(&self) -> bool {
        self.resources.is_declared() || self.templates.is_declared()
    }

    pub(crate) fn has_completers(&self) -> bool {
        self.prompts.completes() || self.templates.completes()
    }
}
