//! [`Draft`], what is run of something registered, before the server has found its lane.
//!
//! Must not know what is registered.

use std::sync::Arc;

use crate::handler::invoke::{Build, Invoke};

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
