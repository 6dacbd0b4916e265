//! [`Draft`], what the builders of tools, prompts, resources and templates have in common: what their author has said so far, and the settings that say it.
//!
//! Must not know what a call of it means.

use std::sync::Arc;

use crate::handler::arguments::ArgumentRules;
use crate::handler::invoke::Build;
use crate::handler::registration::{Callable, Registration};
use crate::handler::shown::Shown;
use crate::handler::text_arguments::{TextArgument, unfillable};
use crate::protocol::offer::OfferKind;

/// The lane of what names none.
const MAIN_LANE: &str = "main";

/// What an author has said so far of something to register.
pub(crate) struct Draft<S> {
    pub(crate) shown: Shown,
    pub(crate) lane: Arc<str>,
    pub(crate) handler: Option<Build<S>>,
    /// What the handler's arguments are held to; its author has not said yet.
    pub(crate) rules: Arc<ArgumentRules>,
    pub(crate) completers: Vec<(String, Build<S>)>,
}

impl<S> Draft<S> {
    pub(crate) fn named(name: impl Into<String>) -> Self {
        Draft::new(Shown {
            name: name.into(),
            ..Shown::default()
        })
    }

    pub(crate) fn new(shown: Shown) -> Self {
        Draft {
            shown,
            lane: MAIN_LANE.into(),
            handler: None,
            rules: Arc::new(ArgumentRules::none()),
            completers: Vec::new(),
        }
    }

    /// What is wrong with a draft whose arguments are texts: one that no text can fill, or a completer of what is not there.
    pub(crate) fn text_problem<'a>(
        &self,
        arguments: &[TextArgument],
        known: impl IntoIterator<Item = &'a str>,
        what: &str,
    ) -> Option<String> {
        let known: Vec<_> = known.into_iter().collect();
        let mut completed = self.completers.iter().map(|(name, _)| name.as_str());
        let stranger = completed.find(|name| !known.contains(name));
        unfillable(arguments).or_else(|| {
            let stranger = stranger?;
            Some(format!(
                "it completes `{stranger}`, which is not one of its {what}"
            ))
        })
    }

    /// Joins it with the server's state.
    ///
    /// # Errors
    ///
    /// A sentence, when it has no handler.
    pub(crate) fn register(
        self,
        kind: OfferKind,
        template: &Arc<S>,
    ) -> Result<Registration, String> {
        let shown = self.shown;
        let key = shown.uri.as_ref().or(shown.uri_template.as_ref());
        let name: Arc<str> = key.unwrap_or(&shown.name).as_str().into();
        let callable = |build: Build<S>, rules: &Arc<ArgumentRules>| {
            let handler = build(Arc::clone(template), Arc::clone(rules));
            Callable::new(Arc::clone(&name), handler)
        };
        let Some(handler) = self.handler else {
            return Err(format!("{} `{name}` has no handler", kind.name()));
        };
        let completers = self.completers.into_iter();
        let strict = Arc::new(ArgumentRules::none());
        let completers =
            completers.map(|(argument, build)| (argument, Arc::new(callable(build, &strict))));
        Ok(Registration {
            kind,
            lane: self.lane,
            callable: Callable {
                completers: completers.collect(),
                ..callable(handler, &self.rules)
            },
            shown,
        })
    }
}

/// The settings that every builder has. Each gives its own words for what depends on the kind.
macro_rules! shared_settings {
    ($description:literal, $lane:literal) => {
        setters! {
            /// A name for people.
            title(title: impl Into<String>) => draft.shown.title = Some(title.into());

            #[doc = $description]
            description(description: impl Into<String>) => draft.shown.description = Some(description.into());

            /// A `_meta` object for the definition.
            meta(meta: Map<String, Value>) => draft.shown.meta = Some(meta);

            #[doc = $lane]
            lane(name: &str) => draft.lane = name.into();

            /// Adds an icon.
            icon(icon: Icon) => draft.shown.icons.push(icon);
        }
    };
}

/// The setting of the builders whose arguments can be completed.
macro_rules! completed_settings {
    ($what:literal) => {
        #[doc = concat!("Suggests values for ", $what, " while the user types.")]
        ///
        /// The handler takes nothing or a [`Completing`](crate::Completing), and its values are sent as they are: leave out those that do not fit what was typed. Specification: `server/utilities/completion`.
        #[must_use]
        pub fn complete<Shape: 'static, H: Handler<S, Shape>>(
            mut self,
            name: impl Into<String>,
            handler: H,
        ) -> Self
        where
            H::Output: Into<Completion>,
        {
            self.draft.completers.push((name.into(), complete(handler)));
            self
        }
    };
}

/// What makes a builder registrable by its `into_registration`, and how it shows itself, whose handlers cannot be shown.
macro_rules! registers {
    ($($builder:ident),+) => {$(
        impl<S: Fork + Send + Sync + 'static> Register<S> for $builder<S> {
            fn registrations(self, template: &Arc<S>) -> Vec<Result<Registration, String>> {
                vec![self.into_registration(template)]
            }
        }

        impl<S> std::fmt::Debug for $builder<S> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let shown = &self.draft.shown;
                f.debug_tuple(stringify!($builder)).field(shown).finish()
            }
        }
    )+};
}

pub(crate) use {completed_settings, registers, shared_settings};
