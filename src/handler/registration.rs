//! What a server is built from: tools, prompts, resources and templates as they are handed in.
//!
//! Every kind becomes one [`Registration`]: what clients are shown, and a [`Draft`] of what is run. Must not know the engine that takes them.

use std::sync::Arc;

use crate::handler::invoke::{Build, Invoke};
use crate::handler::{prompt, resource, tool};

/// Something that can be registered with a server: a [`Tool`](crate::Tool), a [`Prompt`](crate::Prompt), a [`Resource`](crate::Resource) or a
/// [`ResourceTemplate`](crate::ResourceTemplate). You do not implement it.
pub trait Register<S>: sealed::Sealed {
    /// Joins it with the server's state.
    #[doc(hidden)]
    fn registration(self, template: &Arc<S>) -> Registration;
}

pub(crate) mod sealed {
    /// Keeps the kinds of registration the library's own.
    pub trait Sealed {}
}

/// One thing to register, whatever its kind.
#[doc(hidden)]
pub struct Registration(pub(crate) Kind);

pub(crate) enum Kind {
    Tool {
        definition: tool::Definition,
        draft: Draft,
    },
    Prompt {
        definition: prompt::Definition,
        draft: Draft,
        completers: Vec<(String, Draft)>,
    },
    Resource {
        definition: resource::Definition,
        draft: Draft,
    },
    Template {
        definition: resource::TemplateDefinition,
        draft: Draft,
        completers: Vec<(String, Draft)>,
    },
}

/// What calls of it run, and on which lane.
pub(crate) struct Draft {
    pub(crate) name: Arc<str>,
    pub(crate) lane: Arc<str>,
    /// `None` when its author forgot.
    pub(crate) handler: Option<Box<dyn Invoke>>,
}

impl Draft {
    pub(crate) fn new<S>(
        name: &str,
        lane: Arc<str>,
        handler: Option<Build<S>>,
        template: &Arc<S>,
    ) -> Self {
        Draft {
            name: name.into(),
            lane,
            handler: handler.map(|build| build(Arc::clone(template))),
        }
    }
}

/// The completers of a prompt's arguments or a template's variables, which run on its lane.
pub(crate) fn drafts<S>(
    name: &str,
    lane: &Arc<str>,
    completers: Vec<(String, Build<S>)>,
    template: &Arc<S>,
) -> Vec<(String, Draft)> {
    completers
        .into_iter()
        .map(|(argument, build)| {
            let draft = Draft::new(name, Arc::clone(lane), Some(build), template);
            (argument, draft)
        })
        .collect()
}
