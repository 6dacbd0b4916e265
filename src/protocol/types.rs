//! The schema's types under the schema's names: what tools, results and logs are made of.
//!
//! Data only; every type serialises to exactly what `schema/<revision>/schema.ts` says. Must not know behaviour.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::base::setters::setters;

/// Name and version of a program, as servers and clients introduce themselves. They are self-reported: show them, do not trust them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Implementation {
    /// The program's identifier.
    pub name: String,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The program's version.
    #[serde(default)]
    pub version: String,
    /// A sentence about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Where to read more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub website_url: Option<String>,
    /// Its icons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub icons: Vec<Icon>,
}

/// An icon of a server, a tool, a resource or a prompt. Specification: `basic/index` ("`icons`").
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Icon {
    /// An `https:` or `data:` URI.
    pub src: String,
    /// Its media type, when the URI does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// Sizes such as `48x48`, or `any`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sizes: Vec<String>,
    /// `light` or `dark`: the background it is meant for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub theme: Option<String>,
}

impl Icon {
    /// An icon at this `https:` or `data:` URI.
    pub fn new(src: impl Into<String>) -> Self {
        Icon {
            src: src.into(),
            mime_type: None,
            sizes: Vec::new(),
            theme: None,
        }
    }

    setters! {
        /// The same with its media type, when the URI does not tell.
        with_mime_type(mime_type: impl Into<String>) => mime_type = Some(mime_type.into());

        /// The same with its sizes, such as `48x48`, or `any`.
        with_sizes(sizes: impl IntoIterator<Item = impl Into<String>>)
            => sizes = sizes.into_iter().map(Into::into).collect();

        /// The same for a background that is `light` or `dark`.
        with_theme(theme: impl Into<String>) => theme = Some(theme.into());
    }
}

/// Hints about what a tool does. Clients treat them as untrusted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ToolAnnotations {
    /// It changes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) read_only_hint: Option<bool>,
    /// It may destroy something. Clients assume `true` when this is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) destructive_hint: Option<bool>,
    /// Calling it twice with the same arguments does no more than calling it once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) idempotent_hint: Option<bool>,
    /// It talks to an open world, such as the web. Clients assume `true` when this is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) open_world_hint: Option<bool>,
}

/// How serious a log message is, least serious first (RFC 5424). Specification: `server/utilities/logging`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoggingLevel {
    /// Detail for debugging.
    Debug,
    /// General information.
    Info,
    /// Normal but significant.
    Notice,
    /// A warning.
    Warning,
    /// An operation failed.
    Error,
    /// A component failed.
    Critical,
    /// Act at once.
    Alert,
    /// The system is unusable.
    Emergency,
}

/// Whom content is for and how important it is. Specification: `server/resources` ("Annotations").
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Annotations {
    /// Who it is for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub audience: Vec<Role>,
    /// From 0.0, optional, to 1.0, effectively required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<f64>,
    /// When it last changed, in ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
}

impl Annotations {
    setters! {
        /// For these readers.
        with_audience(audience: impl IntoIterator<Item = Role>) => audience = audience.into_iter().collect();

        /// From 0.0, optional, to 1.0, effectively required.
        with_priority(priority: f64) => priority = Some(priority);

        /// When it last changed, in ISO 8601.
        with_last_modified(when: impl Into<String>) => last_modified = Some(when.into());
    }
}

/// Who speaks in a conversation: the user or the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Role {
    /// The user.
    User,
    /// The model.
    Assistant,
}

/// Bytes that go over the wire as Base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blob(pub(crate) Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

/// One block of a tool's result: text, an image, audio, a link to a resource, or a resource itself.
///
/// Specification: `server/tools` ("Tool Result").
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ContentBlock {
    #[serde(flatten)]
    kind: ContentKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<Annotations>,
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    meta: Option<Map<String, Value>>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(
    tag = "type",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
enum ContentKind {
    Text { text: String },
    Image { data: Blob, mime_type: String },
    Audio { data: Blob, mime_type: String },
    ResourceLink(ResourceLink),
    Resource { resource: ResourceContents },
}

impl ContentBlock {
    /// A block of text.
    pub fn text(text: impl Into<String>) -> Self {
        ContentKind::Text { text: text.into() }.into()
    }

    /// The text, if that is all there is to it.
    pub(crate) fn plain_text(&self) -> Option<&str> {
        match &self.kind {
            ContentKind::Text { text } if self.annotations.is_none() && self.meta.is_none() => {
                Some(text)
            }
            _ => None,
        }
    }

    /// An image, such as `image/png`.
    pub fn image(bytes: impl Into<Vec<u8>>, mime_type: impl Into<String>) -> Self {
        ContentKind::Image {
            data: Blob(bytes.into()),
            mime_type: mime_type.into(),
        }
        .into()
    }

    /// A sound, such as `audio/wav`.
    pub fn audio(bytes: impl Into<Vec<u8>>, mime_type: impl Into<String>) -> Self {
        ContentKind::Audio {
            data: Blob(bytes.into()),
            mime_type: mime_type.into(),
        }
        .into()
    }

    /// A link to a resource that the client may read.
    pub fn resource_link(link: ResourceLink) -> Self {
        ContentKind::ResourceLink(link).into()
    }

    /// A resource, embedded.
    pub fn resource(resource: ResourceContents) -> Self {
        ContentKind::Resource { resource }.into()
    }

    /// Says a link in words, for clients that know no links.
    pub(crate) fn link_as_text(&mut self) {
        if let ContentKind::ResourceLink(link) = &self.kind {
            let text = format!("{}: {}", link.name, link.uri);
            self.kind = ContentKind::Text { text };
        }
    }

    setters! {
        /// The same block with annotations.
        with_annotations(annotations: Annotations) => annotations = Some(annotations);

        /// The same block with a `_meta` object.
        with_meta(meta: Map<String, Value>) => meta = Some(meta);
    }
}

impl From<ContentKind> for ContentBlock {
    fn from(kind: ContentKind) -> Self {
        ContentBlock {
            kind,
            annotations: None,
            meta: None,
        }
    }
}

/// A link to a resource, without its contents. Specification: `server/tools` ("Resource Links").
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ResourceLink {
    /// Where it is.
    pub uri: String,
    /// Its identifier.
    pub name: String,
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// A sentence about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// Its size in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Its icons.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub icons: Vec<Icon>,
}

impl ResourceLink {
    /// A link with its two required parts.
    pub fn new(uri: impl Into<String>, name: impl Into<String>) -> Self {
        ResourceLink {
            uri: uri.into(),
            name: name.into(),
            ..Self::default()
        }
    }

    setters! {
        /// The same with a name for people.
        with_title(title: impl Into<String>) => title = Some(title.into());

        /// The same with a sentence about it.
        with_description(description: impl Into<String>) => description = Some(description.into());

        /// The same with its media type.
        with_mime_type(mime_type: impl Into<String>) => mime_type = Some(mime_type.into());

        /// The same with its size in bytes.
        with_size(bytes: u64) => size = Some(bytes);
    }
}

/// The contents of a resource: text or bytes. Specification: `server/resources` ("Resource Contents").
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ResourceContents {
    /// Where it is.
    pub uri: String,
    /// Its media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    #[serde(flatten)]
    body: ResourceBody,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
enum ResourceBody {
    Text(String),
    Blob(Blob),
}

impl ResourceContents {
    /// A resource of text.
    pub fn text(uri: impl Into<String>, text: impl Into<String>) -> Self {
        ResourceContents {
            uri: uri.into(),
            mime_type: None,
            body: ResourceBody::Text(text.into()),
        }
    }

    /// A resource of bytes.
    pub fn blob(uri: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        ResourceContents {
            uri: uri.into(),
            mime_type: None,
            body: ResourceBody::Blob(Blob(bytes.into())),
        }
    }

    setters! {
        /// The same with its media type.
        with_mime_type(mime_type: impl Into<String>) => mime_type = Some(mime_type.into());
    }
}

/// A tool's result: content for the model, structured content for programs, and whether it failed.
///
/// Specification: `server/tools` ("Tool Result").
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct CallToolResult {
    /// What the model reads.
    pub content: Vec<ContentBlock>,
    /// What a program reads: any JSON value. Revisions before 2026-07-28 know only objects; others reach those clients as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub structured_content: Option<Value>,
    /// Whether the tool failed. The content then says why, so that the model can try something else.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_error: bool,
    /// The result's `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_content_has_the_shape_of_the_schema() {
        let annotations = Annotations {
            audience: vec![Role::User],
            priority: Some(0.5),
            last_modified: None,
        };
        let rows = [
            (
                ContentBlock::text("a"),
                json!({"type": "text", "text": "a"}),
            ),
            (
                ContentBlock::image(*b"\x00\xff", "image/png"),
                json!({"type": "image", "data": "AP8=", "mimeType": "image/png"}),
            ),
            (
                ContentBlock::audio(*b"abc", "audio/wav"),
                json!({"type": "audio", "data": "YWJj", "mimeType": "audio/wav"}),
            ),
            (
                ContentBlock::resource_link(ResourceLink {
                    size: Some(3),
                    ..ResourceLink::new("file:///a", "a")
                }),
                json!({"type": "resource_link", "uri": "file:///a", "name": "a", "size": 3}),
            ),
            (
                ContentBlock::resource(
                    ResourceContents::text("test://t", "x").with_mime_type("text/plain"),
                ),
                json!({"type": "resource", "resource": {"uri": "test://t", "mimeType": "text/plain", "text": "x"}}),
            ),
            (
                ContentBlock::resource(ResourceContents::blob("test://b", *b"abc"))
                    .with_annotations(annotations),
                json!({"type": "resource", "resource": {"uri": "test://b", "blob": "YWJj"},
                       "annotations": {"audience": ["user"], "priority": 0.5}}),
            ),
        ];
        for (block, expected) in rows {
            assert_eq!(
                serde_json::to_value(&block).expect("a block is JSON"),
                expected
            );
        }
    }
}
