//! Who the server is: `server/discover`, `initialize`, and the `_meta` that every modern result carries.
//!
//! Must not know tools or sessions. Specification: `server/discover` of revision 2026-07-28, `basic/lifecycle` of 2025-11-25.

use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::engine::listing::Cacheable;
use crate::protocol::meta::SERVER_INFO_KEY;
use crate::protocol::results::CacheHint;
use crate::protocol::text::write_json;
use crate::protocol::types::Implementation;
use crate::protocol::version::ProtocolVersion;

/// How long a client may keep what `server/discover` said.
const DISCOVER_TTL: Duration = Duration::from_secs(300);

/// The server's introduction in both eras.
pub(crate) struct Identity {
    implementation: Implementation,
    instructions: Option<String>,
    /// `{"io.modelcontextprotocol/serverInfo": ...}`
    pub(crate) server_info: Box<RawValue>,
}

impl Identity {
    pub(crate) fn new(implementation: Implementation, instructions: Option<String>) -> Self {
        // Written once, on one line, so that it can be copied as it is.
        let mut server_info = Vec::new();
        write_json(
            &mut server_info,
            &json!({ SERVER_INFO_KEY: implementation }),
        );
        let server_info = serde_json::from_slice(&server_info);
        Identity {
            server_info: server_info.expect("an Implementation is JSON"),
            implementation,
            instructions,
        }
    }

    /// The result of `server/discover`.
    pub(crate) fn discover(&self, capabilities: Value) -> Vec<u8> {
        let mut result = json!(Cacheable::new(
            CacheHint::public(DISCOVER_TTL),
            &self.server_info
        ));
        let versions = ProtocolVersion::ALL.iter();
        result["supportedVersions"] = versions.map(|version| version.as_str()).collect();
        self.written(result, capabilities)
    }

    /// The result of `initialize`.
    pub(crate) fn initialize(&self, version: ProtocolVersion, capabilities: Value) -> Vec<u8> {
        let result = json!({
            "protocolVersion": version.as_str(),
            "serverInfo": self.implementation,
        });
        self.written(result, capabilities)
    }

    /// With what both say of the server.
    fn written(&self, mut result: Value, capabilities: Value) -> Vec<u8> {
        result["capabilities"] = capabilities;
        if let Some(instructions) = &self.instructions {
            result["instructions"] = instructions.as_str().into();
        }
        let mut out = Vec::new();
        write_json(&mut out, &result);
        out
    }
}

/// These capabilities where there is no session, and so nowhere to announce a change, and no level of log messages.
pub(super) fn without_session(capabilities: &Value) -> Value {
    let names = capabilities.as_object().into_iter().flat_map(Map::keys);
    let names = names.filter(|name| *name != "logging");
    names.map(|name| (name.clone(), json!({}))).collect()
}
