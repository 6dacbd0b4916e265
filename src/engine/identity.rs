//! Who the server is: `server/discover`, `initialize`, and the `_meta` that every modern result carries.
//!
//! Must not know tools or sessions. Specification: `server/discover` of revision 2026-07-28, `basic/lifecycle` of 2025-11-25.

use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::desk::wire::EXTENSION;
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

/// What the server can do; the same in both eras. Of what may come while it serves, it says only what has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capabilities {
    pub(crate) prompts: bool,
    pub(crate) resources: bool,
    pub(crate) completions: bool,
    /// Whether calls may be answered with tasks. Of the modern era alone.
    pub(crate) tasks: bool,
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
    pub(crate) fn discover(&self, capabilities: Capabilities) -> Vec<u8> {
        let mut out = Vec::new();
        let result = DiscoverResult {
            supported_versions: ProtocolVersion::ALL.map(ProtocolVersion::as_str),
            capabilities: capabilities.modern(),
            instructions: self.instructions.as_deref(),
            modern: Cacheable::new(CacheHint::public(DISCOVER_TTL), &self.server_info),
        };
        write_json(&mut out, &result);
        out
    }

    /// The result of `initialize`. Without a session there is nowhere to announce a change, and no level of log messages.
    pub(crate) fn initialize(
        &self,
        version: ProtocolVersion,
        capabilities: Capabilities,
        has_session: bool,
    ) -> Vec<u8> {
        let mut out = Vec::new();
        let result = InitializeResult {
            protocol_version: version.as_str(),
            capabilities: match has_session {
                true => capabilities.object(),
                false => capabilities.without_session(),
            },
            server_info: &self.implementation,
            instructions: self.instructions.as_deref(),
        };
        write_json(&mut out, &result);
        out
    }
}

impl Capabilities {
    fn without_session(self) -> Value {
        let Value::Object(mut declared) = self.object() else {
            return json!({});
        };
        declared.remove("logging");
        for feature in declared.values_mut() {
            *feature = json!({});
        }
        Value::Object(declared)
    }

    fn modern(self) -> Value {
        let mut object = self.object();
        if self.tasks {
            object["extensions"] = json!({ EXTENSION: {} });
        }
        object
    }

    fn object(self) -> Value {
        let mut object = json!({ "tools": { "listChanged": true }, "logging": {} });
        if self.prompts {
            object["prompts"] = json!({ "listChanged": true });
        }
        if self.resources {
            object["resources"] = json!({ "listChanged": true, "subscribe": true });
        }
        if self.completions {
            object["completions"] = json!({});
        }
        object
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DiscoverResult<'a> {
    supported_versions: [&'a str; ProtocolVersion::ALL.len()],
    capabilities: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<&'a str>,
    #[serde(flatten)]
    modern: Cacheable<'a>,
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
