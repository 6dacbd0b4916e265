//! The revisions of MCP that this library speaks, and the two eras they fall into.
//!
//! Specification: `basic/versioning` of revision 2026-07-28.

use std::fmt;

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
    pub const ALL: [ProtocolVersion; 4] = [
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
        Self::ALL
            .into_iter()
            .chain([ProtocolVersion::V2024_11_05])
            .find(|version| version.as_str() == name)
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
