//! What a client says about itself: its name and its capabilities, kept as the text that it sent.
//!
//! Text and no tree, because a tree costs a hundred times as much and a handshake-era session keeps this for as long as it lives; it is read when a
//! handler wants to know. Must not know how a client introduces itself. Specification: `basic/index` ("`_meta`") and, for the earlier revisions,
//! `basic/lifecycle`.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::protocol::raw;
use crate::protocol::types::Implementation;
use crate::protocol::version::ProtocolVersion;

/// What a client says about itself. Show it and log it, but do not trust it.
#[derive(Clone, Debug)]
pub struct Client {
    info: Option<Cow<'static, RawValue>>,
    capabilities: Option<Cow<'static, RawValue>>,
    protocol_version: ProtocolVersion,
}

/// Who asks: the client of a session, or that of one request.
pub(crate) enum ClientSource {
    Session(Arc<Client>),
    Request(Client),
}

impl Client {
    pub(crate) fn new(
        info: Option<&RawValue>,
        capabilities: Option<&RawValue>,
        protocol_version: ProtocolVersion,
    ) -> Self {
        Client {
            info: info.map(kept),
            capabilities: capabilities.map(kept),
            protocol_version,
        }
    }

    /// A client of the handshake era that has not introduced itself. Without a version it speaks the last one that needs no header.
    pub(crate) fn unknown(version: Option<ProtocolVersion>) -> Self {
        Client::new(None, None, version.unwrap_or(ProtocolVersion::V2025_03_26))
    }

    /// Its name and version, if it gave them. They are read anew each time.
    pub fn info(&self) -> Option<Implementation> {
        serde_json::from_str(self.info.as_ref()?.get()).ok()
    }

    /// Its declared capabilities, as the object that it sent; `null` if it declared none. They are read anew each time.
    pub fn capabilities(&self) -> Value {
        let declared = self.capabilities.as_ref();
        declared
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
            .unwrap_or_default()
    }

    /// The revision this request is served under.
    pub fn protocol_version(&self) -> ProtocolVersion {
        self.protocol_version
    }

    /// Whether it can show a form; see [`RequestContext::elicit`](crate::RequestContext::elicit).
    pub fn supports_elicitation(&self) -> bool {
        // An empty object means forms, as it did before there was anything else.
        let is_empty = |modes: &RawValue| {
            let inside = modes.get().strip_prefix('{');
            inside.is_some_and(|inside| inside.trim_ascii_start() == "}")
        };
        self.declared(&["elicitation"])
            .is_some_and(|modes| is_empty(modes) || raw::member(modes, "form").is_some())
    }

    /// Whether it can open a web page for the user; see [`RequestContext::elicit_url`](crate::RequestContext::elicit_url).
    pub fn supports_url_elicitation(&self) -> bool {
        self.supports(&["elicitation", "url"])
    }

    /// Whether it lets a server ask its model; see [`RequestContext::sample`](crate::RequestContext::sample).
    pub fn supports_sampling(&self) -> bool {
        self.supports(&["sampling"])
    }

    /// Whether it can list the user's folders; see [`RequestContext::roots`](crate::RequestContext::roots).
    pub fn supports_roots(&self) -> bool {
        self.supports(&["roots"])
    }

    /// Whether it declares the capability at this path.
    pub(crate) fn supports(&self, path: &[&str]) -> bool {
        self.declared(path)
            .is_some_and(|raw| raw.get().starts_with('{'))
    }

    fn declared(&self, path: &[&str]) -> Option<&RawValue> {
        path.iter()
            .try_fold(self.capabilities.as_deref()?, |at, name| {
                raw::member(at, name)
            })
    }

    /// Bytes of text that it holds.
    pub(crate) fn len(&self) -> usize {
        let texts = [&self.info, &self.capabilities];
        texts.into_iter().flatten().map(|raw| raw.get().len()).sum()
    }
}

/// What a client said, kept. The empty object, which each modern request of a client has that declares nothing, is kept once.
fn kept(raw: &RawValue) -> Cow<'static, RawValue> {
    match raw.get() {
        "{}" => Cow::Borrowed(&raw::EMPTY),
        _ => Cow::Owned(raw.to_owned()),
    }
}

impl ClientSource {
    pub(crate) fn get(&self) -> &Client {
        match self {
            ClientSource::Session(client) => client,
            ClientSource::Request(client) => client,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_is_declared_by_an_object() {
        let rows = [
            ("null", "[false, false, false, false]"),
            ("[]", "[false, false, false, false]"),
            ("{}", "[false, false, false, false]"),
            (r#"{"elicitation":{}}"#, "[true, false, false, false]"),
            (
                r#"{"elicitation":{"url":{}}}"#,
                "[false, true, false, false]",
            ),
            (
                r#"{"elicitation":{"form":{},"url":1}}"#,
                "[true, false, false, false]",
            ),
            (
                r#"{"elicitation":[{}],"sampling":true}"#,
                "[false, false, false, false]",
            ),
            (
                r#"{"sampling":1,"sampling":{},"r\u006fots":{"":0}}"#,
                "[false, false, true, true]",
            ),
        ];
        for (declared, expected) in rows {
            let raw = RawValue::from_string(declared.into()).expect("the row is JSON");
            let client = Client::new(None, Some(&raw), ProtocolVersion::V2025_11_25);
            let supported = [
                client.supports_elicitation(),
                client.supports_url_elicitation(),
                client.supports_sampling(),
                client.supports_roots(),
            ];
            assert_eq!(format!("{supported:?}"), expected, "{declared}");
        }
    }
}
