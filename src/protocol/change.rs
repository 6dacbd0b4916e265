//! What of a server can change while it serves.
//!
//! Data only. Must not know who listens, or how they hear of it. Specification: `server/tools`, `server/prompts`, `server/resources` ("List
//! Changed Notification", "Subscriptions").

/// Something that clients may want to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    /// The list of tools.
    Tools,
    /// The list of prompts.
    Prompts,
    /// The list of resources or of templates.
    Resources,
    /// What the resource at this URI holds.
    Resource(&'a str),
}
