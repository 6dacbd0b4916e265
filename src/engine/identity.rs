//! Who the server is, rendered once: `server/discover`, `initialize`, and the `_meta` that every modern result carries.
//!
//! Must not know tools or sessions. Specification: `server/discover` of revision 2026-07-28, `basic/lifecycle` of 2025-11-25.

use std::time::Duration;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use crate::engine::listing::Cacheable;
use crate::protocol::jsonrpc::write_json;
use crate::protocol::meta::SERVER_INFO_KEY;
use crate::protocol::results::CacheHint;
use crate::protocol::types::Implementation;
use crate::protocol::version::ProtocolVersion;

/// How long a client may keep what `server/discover` said.
const DISCOVER_TTL: Duration = Duration::from_secs(300);

/// The server's introduction in both eras.
pub(crate) struct Identity {
    implementation: Implementation,
    instructions: Option<String>,
    /// What the server can do; the same in both eras.
    capabilities: Value,
    /// `{"io.modelcontextprotocol/serverInfo": ...}`
    pub(crate) server_info: Box<RawValue>,
    /// The result of `server/discover`.
    pub(crate) discover: Vec<u8>,
}

impl Identity {
    pub(crate) fn new(
        implementation: Implementation,
        instructions: Option<String>,
        server_info: Box<RawValue>,
        capabilities: Value,
    ) -> Self {
        let mut discover = Vec::new();
        let modern = Cacheable::new(CacheHint::public(DISCOVER_TTL), &server_info);
        write_json(
            &mut discover,
            &DiscoverResult {
                supported_versions: ProtocolVersion::ALL.map(ProtocolVersion::as_str),
                capabilities: &capabilities,
                instructions: instructions.as_deref(),
                modern,
            },
        );
        Identity {
            implementation,
            instructions,
            capabilities,
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
                capabilities: &self.capabilities,
                server_info: &self.implementation,
                instructions: self.instructions.as_deref(),
            },
        );
        out
    }
}

/// `{"io.modelcontextprotocol/serverInfo": ...}`
pub(crate) fn server_info(implementation: &Implementation) -> Box<RawValue> {
    to_raw_value(&json!({ SERVER_INFO_KEY: implementation })).expect("an Implementation is JSON")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DiscoverResult<'a> {
    supported_versions: [&'a str; ProtocolVersion::ALL.len()],
    capabilities: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<&'a str>,
    #[serde(flatten)]
    modern: Cacheable<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InitializeResult<'a> {
    protocol_version: &'a str,
    capabilities: &'a Value,
    server_info: &'a Implementation,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<&'a str>,
}
