//! What a server is built from: tools, prompts, resources and templates as they are handed in.
//!
//! Every kind becomes one [`Registration`]: what clients are shown, and a [`Draft`] of what is run. Must not know the engine that takes them.

use std::sync::Arc;

use crate::handler::draft::Draft;
use crate::handler::fork::Fork;
use crate::handler::prompt::{self, Prompt};
use crate::handler::resource::{self, Resource, ResourceTemplate};
use crate::handler::tool::{self, Tool};

/// Something that can be registered with a server: a [`Tool`], a [`Prompt`], a [`Resource`] or a
/// [`ResourceTemplate`]. You do not implement it.
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

impl<S> sealed::Sealed for Tool<S> {}
impl<S> sealed::Sealed for Prompt<S> {}
impl<S> sealed::Sealed for Resource<S> {}
impl<S> sealed::Sealed for ResourceTemplate<S> {}

impl<S: Fork + Send + Sync + 'static> Register<S> for Tool<S> {
    fn registration(self, template: &Arc<S>) -> Registration {
        let (definition, draft) = self.parts(template);
        Registration(Kind::Tool { definition, draft })
    }
}

impl<S: Fork + Send + Sync + 'static> Register<S> for Prompt<S> {
    fn registration(self, template: &Arc<S>) -> Registration {
        let (definition, draft, completers) = self.parts(template);
        Registration(Kind::Prompt {
            definition,
            draft,
            completers,
        })
    }
}

impl<S: Fork + Send + Sync + 'static> Register<S> for Resource<S> {
    fn registration(self, template: &Arc<S>) -> Registration {
        let (definition, draft) = self.parts(template);
        Registration(Kind::Resource { definition, draft })
    }
}

impl<S: Fork + Send + Sync + 'static> Register<S> for ResourceTemplate<S> {
    fn registration(self, template: &Arc<S>) -> Registration {
        let (definition, draft, completers) = self.parts(template);
        Registration(Kind::Template {
            definition,
            draft,
            completers,
        })
    }
}
