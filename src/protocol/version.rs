//! The revisions of MCP that this library speaks, the two eras they fall into, and the methods that a client may send in each.
//!
//! Tables of facts; what a method *does* is the engine's. A name that is not here is `-32601`. Specification: `basic/versioning` of revision 2026-07-28.

use std::fmt;

use crate::protocol::offer::OfferKind;

/// A revision of the protocol; later ones are greater. Specification: `basic/versioning`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ProtocolVersion {
    /// The first revision. Its clients are served as those of 2025-03-26, whose messages are the same.
    V2024_11_05,
    /// The handshake era with JSON-RPC batches.
    V2025_03_26,
    /// The handshake era with the `MCP-Protocol-Version` header.
    V2025_06_18,
    /// The last revision of the handshake era.
    V2025_11_25,
    /// The stateless era.
    V2026_07_28,
}

/// The two kinds of revisions, which differ in how a client gives its version, name and capabilities. Specification: `basic/versioning`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Era {
    /// On every request, in `params._meta`. No sessions.
    Modern,
    /// Once, in an `initialize` handshake that opens a session.
    Legacy,
}

impl Era {
    /// What the access log calls it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Era::Modern => "modern",
            Era::Legacy => "legacy",
        }
    }
}

impl ProtocolVersion {
    /// Those that clients shall use, newest first, as `server/discover` lists them: all but `2024-11-05`.
    pub const ALL: &[ProtocolVersion] = &[
        ProtocolVersion::V2026_07_28,
        ProtocolVersion::V2025_11_25,
        ProtocolVersion::V2025_06_18,
        ProtocolVersion::V2025_03_26,
    ];

    /// The newest revision with a handshake: what `initialize` answers to a version it does not know.
    pub const LATEST_LEGACY: ProtocolVersion = ProtocolVersion::V2025_11_25;

    /// The revision's name, such as `2026-07-28`.
    pub fn as_str(self) -> &'static str {
        match self {
            ProtocolVersion::V2024_11_05 => "2024-11-05",
            ProtocolVersion::V2025_03_26 => "2025-03-26",
            ProtocolVersion::V2025_06_18 => "2025-06-18",
            ProtocolVersion::V2025_11_25 => "2025-11-25",
            ProtocolVersion::V2026_07_28 => "2026-07-28",
        }
    }

    /// The revision with this name, or `None` if it is not supported.
    pub fn parse(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().chain(&[ProtocolVersion::V2024_11_05]);
        all.find(|version| version.as_str() == name).copied()
    }

    /// The era the revision belongs to.
    pub fn era(self) -> Era {
        match self {
            ProtocolVersion::V2026_07_28 => Era::Modern,
            _ => Era::Legacy,
        }
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A request method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Initialize,
    Ping,
    Discover,
    /// Lists what is offered of this kind.
    List(OfferKind),
    /// Calls a tool, gets a prompt, reads a resource.
    Call(OfferKind),
    Complete,
    SetLevel,
    Listen,
    Subscribe,
    Unsubscribe,
    TasksGet,
    TasksUpdate,
    TasksCancel,
}

const MODERN: &[Era] = &[Era::Modern];
const LEGACY: &[Era] = &[Era::Legacy];
const BOTH: &[Era] = &[Era::Modern, Era::Legacy];

/// One line a method: its name, and the eras that have it.
const TABLE: &[(&str, Method, &[Era])] = &[
    ("tools/call", Method::Call(OfferKind::Tool), BOTH),
    ("tools/list", Method::List(OfferKind::Tool), BOTH),
    ("resources/read", Method::Call(OfferKind::Resource), BOTH),
    ("resources/list", Method::List(OfferKind::Resource), BOTH),
    (
        "resources/templates/list",
        Method::List(OfferKind::Template),
        BOTH,
    ),
    ("prompts/get", Method::Call(OfferKind::Prompt), BOTH),
    ("prompts/list", Method::List(OfferKind::Prompt), BOTH),
    ("completion/complete", Method::Complete, BOTH),
    ("server/discover", Method::Discover, MODERN),
    ("initialize", Method::Initialize, LEGACY),
    ("ping", Method::Ping, LEGACY),
    ("logging/setLevel", Method::SetLevel, LEGACY),
    ("subscriptions/listen", Method::Listen, MODERN),
    ("resources/subscribe", Method::Subscribe, LEGACY),
    ("resources/unsubscribe", Method::Unsubscribe, LEGACY),
    ("tasks/get", Method::TasksGet, MODERN),
    ("tasks/update", Method::TasksUpdate, MODERN),
    ("tasks/cancel", Method::TasksCancel, MODERN),
];

/// What stands in the log for a name that is not here.
pub(crate) const UNKNOWN: &str = "?";

impl Method {
    /// The method with this name, if the era has it.
    pub(crate) fn find(name: &str, era: Era) -> Option<Method> {
        let (_, method, eras) = TABLE.iter().find(|row| row.0 == name)?;
        eras.contains(&era).then_some(*method)
    }

    /// The name itself if any era has it.
    pub(crate) fn known(name: &str) -> &'static str {
        TABLE
            .iter()
            .find(|row| row.0 == name)
            .map_or(UNKNOWN, |row| row.0)
    }

    /// The method's name on the wire.
    pub(crate) fn name(self) -> &'static str {
        TABLE
            .iter()
            .find(|row| row.1 == self)
            .map_or(UNKNOWN, |row| row.0)
    }
}
