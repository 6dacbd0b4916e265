//! What a server offers, by kind, and what of it can change while it serves.
//!
//! Data only. Must not know what runs, who listens, or how they hear of it. Specification: `server/tools`, `server/prompts`, `server/resources` ("List
//! Changed Notification", "Subscriptions").

/// What kind of thing a server offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OfferKind {
    Tool,
    Prompt,
    Resource,
    Template,
}

impl OfferKind {
    pub(crate) const ALL: [OfferKind; 4] = [
        OfferKind::Tool,
        OfferKind::Prompt,
        OfferKind::Resource,
        OfferKind::Template,
    ];

    /// As an error calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            OfferKind::Tool => "tool",
            OfferKind::Prompt => "prompt",
            OfferKind::Resource => "resource",
            OfferKind::Template => "resource template",
        }
    }

    /// The member that lists it.
    pub(crate) fn member(self) -> &'static str {
        match self {
            OfferKind::Tool => "tools",
            OfferKind::Prompt => "prompts",
            OfferKind::Resource => "resources",
            OfferKind::Template => "resourceTemplates",
        }
    }
}

/// Something that clients may want to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    /// The list of this kind; resources and templates are told of as one.
    List(OfferKind),
    /// What the resource at this URI holds.
    Resource(&'a str),
}
