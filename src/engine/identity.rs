//! Who the server is, rendered once: `server/discover`, `initialize`, and the `_meta` that every modern result carries.
//!
//! Must not know tools or sessions. Specification: `server/discover` of revision 2026-07-28, `basic/lifecycle` of 2025-11-25.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use crate::engine::catalogue::Modern;
use crate::protocol::jsonrpc::write_json;
use crate::protocol::meta::SERVER_INFO_KEY;
use crate::protocol::types::Implementation;
use crate::protocol::version::ProtocolVersion;

/// How long a client may keep what `server/discover` said, in milliseconds.
const DISCOVER_TTL_MS: u64 = 300_000;

/// The server's introduction in both eras.
pub(crate) struct Identity {
    implementation: Implementation,
    instructions: Option<String>,
    /// `{"io.modelcontextprotocol/serverInfo": ...}`
    pub(crate) server_info: Box<RawValue>,
    /// The result of `server/discover`.
    pub(crate) discover: Vec<u8>,
}

impl Identity {
    pub(crate) fn new(implementation: Implementation, instructions: Option<String>) -> Self {
        let server_info = to_raw_value(&json!({ SERVER_INFO_KEY: implementation }))
            .expect("an Implementation is JSON");
        let mut discover = Vec::new();
        let modern = Modern {
            result_type: "complete",
            ttl_ms: DISCOVER_TTL_MS,
            cache_scope: "public",
            meta: &server_info,
        };
        write_json(
            &mut discover,
            &DiscoverResult {
                supported_versions: ProtocolVersion::ALL.map(ProtocolVersion::as_str),
                capabilities: capabilities(),
                instructions: instructions.as_deref(),
                modern,
            },
        );
        Identity {
            implementation,
            instructions,
            server_info,
            discover,
        }
    }

    /// The result of `initialize`.
    pub(crate) fn initialize(&self, version: ProtocolVersion) -> Vec<u8> {
        let mut out = Vec::new();
        write_json(
            &mut out,
            &InitializeResult {
                protocol_version: version.as_str(),
                capabilities: capabilities(),
                server_info: &self.implementation,
                instructions: self.instructions.as_deref(),
            },
        );
        out
    }
}

/// What the server can do; the same in both eras.
fn capabilities() -> Value {
    json!({ "tools": {}, "logging": {} })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DiscoverResult<'a> {
    supported_versions: [&'a str; ProtocolVersion::ALL.len()],
    capabilities: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<&'a str>,
    #[serde(flatten)]
    modern: Modern<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InitializeResult<'a> {
    protocol_version: &'a str,
    capabilities: Value,
    server_info: &'a Implementation,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<&'a str>,
}
