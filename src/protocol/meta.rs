//! `params` and its `_meta`, read once, whatever the method.
//!
//! Every field is optional here, because which ones a request needs depends on its method and era, which the engine's routes
//! know. A field of the wrong type is refused for every method. The trace that a request says it is part of is handed on as it came, and never a reason
//! to refuse it. Must not know HTTP headers or lanes. Specification: `basic/index` ("_meta", "OpenTelemetry trace context") of revision 2026-07-28; earlier
//! revisions leave the keys of a trace free, and are read alike.

use serde::de;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::observe::access::{self, RequestTag};
use crate::protocol::errors::ErrorObject;
use crate::protocol::id::RequestId;
use crate::protocol::raw;
use crate::protocol::sentence::Sentence;
use crate::protocol::text::Text;
use crate::protocol::types::LoggingLevel;
use crate::protocol::version::Era;

/// The key under which a result names the server.
pub(crate) const SERVER_INFO_KEY: &str = "io.modelcontextprotocol/serverInfo";

/// The key under which a message names the subscription it belongs to.
pub(crate) const SUBSCRIPTION_ID_KEY: &str = "io.modelcontextprotocol/subscriptionId";

/// The parameters of any request or notification that this library serves. Boxed what hardly a request has, for every one writes all the others.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
pub(crate) struct Params<'a> {
    #[serde(borrow, default, deserialize_with = "object", rename = "_meta")]
    pub(crate) meta: Option<Meta<'a>>,
    #[serde(borrow)]
    pub(crate) name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) arguments: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) cursor: Option<Text<'a>>,
    /// Of `resources/read`, `resources/subscribe` and `resources/unsubscribe`.
    #[serde(borrow)]
    pub(crate) uri: Option<Text<'a>>,
    /// Of `completion/complete`.
    #[serde(borrow, default, deserialize_with = "object", rename = "ref")]
    pub(crate) reference: Option<Box<CompletionReference<'a>>>,
    #[serde(borrow, default, deserialize_with = "object")]
    pub(crate) argument: Option<Box<CompletionArgument<'a>>>,
    #[serde(borrow, default, deserialize_with = "object")]
    pub(crate) context: Option<Context<'a>>,
    /// Of a call that comes back with answers. Anything but an object answers nothing.
    #[serde(borrow)]
    pub(crate) input_responses: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) request_state: Option<Text<'a>>,
    /// Of `tasks/get`, `tasks/update` and `tasks/cancel`.
    #[serde(borrow)]
    pub(crate) task_id: Option<Text<'a>>,
    /// Of `initialize`.
    #[serde(borrow)]
    pub(crate) protocol_version: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) capabilities: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) client_info: Option<&'a RawValue>,
    /// Of `logging/setLevel`.
    pub(crate) level: Option<LoggingLevel>,
    /// Of `subscriptions/listen`.
    #[serde(borrow, default, deserialize_with = "object")]
    pub(crate) notifications: Option<Box<SubscriptionFilter<'a>>>,
    /// Of `notifications/cancelled`.
    pub(crate) request_id: Option<RequestId>,
    #[serde(borrow)]
    pub(crate) reason: Option<Text<'a>>,
}

/// What stands in `_meta`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Meta<'a> {
    #[serde(borrow, rename = "io.modelcontextprotocol/protocolVersion")]
    pub(crate) protocol_version: Option<Text<'a>>,
    #[serde(borrow, rename = "io.modelcontextprotocol/clientCapabilities")]
    pub(crate) client_capabilities: Option<&'a RawValue>,
    #[serde(borrow, rename = "io.modelcontextprotocol/clientInfo")]
    pub(crate) client_info: Option<&'a RawValue>,
    #[serde(rename = "io.modelcontextprotocol/logLevel")]
    pub(crate) log_level: Option<LoggingLevel>,
    /// Opts the request into progress notifications; echoed as it came. A string or an integer, like an id.
    #[serde(rename = "progressToken")]
    pub(crate) progress_token: Option<RequestId>,
    /// Of OpenTelemetry, like the two below it; whatever is wrong with them, the request is served.
    #[serde(borrow)]
    pub(crate) traceparent: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) tracestate: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) baggage: Option<&'a RawValue>,
}

/// What a client wants to be told.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SubscriptionFilter<'a> {
    #[serde(deserialize_with = "flag")]
    pub(crate) tools_list_changed: bool,
    #[serde(deserialize_with = "flag")]
    pub(crate) prompts_list_changed: bool,
    #[serde(deserialize_with = "flag")]
    pub(crate) resources_list_changed: bool,
    /// A list of URIs, which may be longer than anybody should read.
    #[serde(borrow)]
    pub(crate) resource_subscriptions: Option<&'a RawValue>,
    /// A list of ids, likewise.
    #[serde(borrow)]
    pub(crate) task_ids: Option<&'a RawValue>,
}

/// What is to be completed: a prompt by its name, or a resource template by its URI. Not an enum with a tag, for which serde would keep all that
/// stands before the tag as a tree.
#[derive(Debug, Deserialize)]
pub(crate) struct CompletionReference<'a> {
    #[serde(rename = "type")]
    pub(crate) kind: ReferenceKind,
    #[serde(borrow)]
    pub(crate) name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) uri: Option<Text<'a>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum ReferenceKind {
    #[serde(rename = "ref/prompt")]
    Prompt,
    #[serde(rename = "ref/resource")]
    Resource,
}

/// The argument or variable that is being typed.
#[derive(Debug, Deserialize)]
pub(crate) struct CompletionArgument<'a> {
    #[serde(borrow)]
    pub(crate) name: Text<'a>,
    #[serde(borrow)]
    pub(crate) value: Text<'a>,
}

/// What else is known while it is being typed.
#[derive(Debug, Deserialize)]
pub(crate) struct Context<'a> {
    #[serde(borrow)]
    pub(crate) arguments: Option<&'a RawValue>,
}

/// Refuses an introduction that is longer than any handler should have to read, and any session to keep.
pub(crate) fn check_introduction(
    info: Option<&RawValue>,
    capabilities: Option<&RawValue>,
) -> Result<(), ErrorObject> {
    const BYTES_MAX: usize = 64 * 1024;
    let parts = [info, capabilities].into_iter().flatten();
    if parts.map(|raw| raw.get().len()).sum::<usize>() <= BYTES_MAX {
        return Ok(());
    }
    Err(ErrorObject::invalid_params(
        "The client's information and capabilities are longer than 64 KiB",
    ))
}

/// An object, or `null` for none. What is derived would take a list as well, and read its items as members in the order of the code.
fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    match Option::<&RawValue>::deserialize(deserializer)? {
        None => Ok(None),
        Some(raw) if raw.get().starts_with('{') => {
            let read = serde_json::from_str(raw.get());
            read.map(Some).map_err(de::Error::custom)
        }
        Some(_) => Err(de::Error::custom("expected an object")),
    }
}

/// A boolean, or `null` for `false`.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match <&RawValue>::deserialize(deserializer)?.get() {
        "true" => Ok(true),
        "false" | "null" => Ok(false),
        _ => Err(de::Error::custom("expected a boolean")),
    }
}

impl<'a> Params<'a> {
    /// Reads them; no `params` at all is the same as `{}`. They are boxed because they are large and handed from hand to hand on the
    /// stack.
    pub(crate) fn parse(raw: Option<&'a RawValue>) -> Result<Box<Self>, ErrorObject> {
        let Some(raw) = raw else {
            return Ok(Box::default());
        };
        serde_json::from_str(raw.get()).map_err(|error| {
            ErrorObject::invalid_params(format!("Invalid params: {}", Sentence::of(&error)))
        })
    }

    /// Whether parameters that could not be read have the metadata of the modern era all the same.
    pub(crate) fn is_modern_but_for_more(raw: Option<&RawValue>) -> bool {
        let meta = raw.and_then(|raw| raw::member(raw, "_meta"));
        let meta = meta.map(|meta| serde_json::from_str::<Meta<'_>>(meta.get()));
        meta.is_some_and(|meta| {
            meta.is_ok_and(|meta| {
                meta.protocol_version.is_some() && meta.client_capabilities.is_some()
            })
        })
    }

    /// Whether the request carries the marks of the modern era.
    pub(crate) fn is_modern(&self) -> bool {
        self.meta.as_ref().is_some_and(|meta| {
            meta.protocol_version.is_some() || meta.client_capabilities.is_some()
        })
    }

    /// Whether a modern client comes back with answers, or with what it was given to carry.
    pub(crate) fn is_retry(&self) -> bool {
        self.input_responses.is_some() || self.request_state.is_some()
    }
}

/// How many bytes the three values may have together; W3C Baggage wants 8192 carried. A request with more counts as one without.
const TRACE_BYTES_MAX: usize = 8 * 1024;

/// The trace context that a client sent with its request: the keys `traceparent`, `tracestate` and `baggage` of `_meta`. Pass it to a tracing
/// library, or to the services that the handler calls. Specification: `basic/index` ("`_meta`").
///
/// A value that is not a string is left out, and so is everything when it is longer than 8 KiB together. The formats are not checked.
/// The text comes from the client: do not trust it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceContext {
    /// W3C Trace Context: the trace, and the client's span in it.
    pub traceparent: Option<String>,
    /// W3C Trace Context: data of tracing vendors.
    pub tracestate: Option<String>,
    /// W3C Baggage: properties that travel with the trace.
    pub baggage: Option<String>,
}

/// What a request has that is part of no trace.
pub(crate) static NO_TRACE: TraceContext = TraceContext {
    traceparent: None,
    tracestate: None,
    baggage: None,
};

impl TraceContext {
    /// The trace context in a request's metadata. `None` when none of the three fields is there, which costs no allocation, or when they are longer
    /// together than is carried.
    pub(crate) fn read(meta: &Meta<'_>) -> Option<Box<Self>> {
        let raw = [meta.traceparent, meta.tracestate, meta.baggage];
        if raw.iter().all(Option::is_none) {
            return None;
        }
        Self::of(raw)
    }

    /// Out of line from what a request without a trace needs.
    #[inline(never)]
    fn of(raw: [Option<&RawValue>; 3]) -> Option<Box<Self>> {
        let texts = raw.map(|raw| text(raw?));
        let bytes: usize = texts.iter().flatten().map(|text| text.0.len()).sum();
        if bytes > TRACE_BYTES_MAX {
            return None;
        }
        let [traceparent, tracestate, baggage] = texts.map(|text| Some(text?.0.into_owned()));
        Some(Box::new(TraceContext {
            traceparent,
            tracestate,
            baggage,
        }))
    }
}

/// The part of a request's trace that may stand in the access log, if it is what it should be and anybody reads that.
pub(crate) fn logged_trace(meta: Option<&Meta<'_>>) -> Option<Box<str>> {
    let meta = meta.filter(|_| access::is_logged())?;
    let trace = TraceContext::read(meta)?.traceparent?;
    access::is_traceparent(&trace).then(|| trace.into())
}

/// Notes for the access log who asks, by what a client says about itself.
pub(crate) fn note_asker(tag: &RequestTag, era: Era, info: Option<&RawValue>) {
    let name = info.and_then(|info| text(raw::member(info, "name")?));
    tag.note_asker(era.as_str(), name.as_ref().map(|Text(name)| &**name));
}

fn text(raw: &RawValue) -> Option<Text<'_>> {
    serde_json::from_str(raw.get()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(meta: &Value) -> Option<Box<TraceContext>> {
        let meta = meta.to_string();
        let meta: Meta<'_> = serde_json::from_str(&meta).expect("nothing in it is refused");
        TraceContext::read(&meta)
    }

    #[test]
    fn strings_are_handed_on_and_the_rest_is_ignored() {
        let of = |parts: [Option<&str>; 3]| {
            let [traceparent, tracestate, baggage] = parts.map(|part| part.map(str::to_owned));
            TraceContext {
                traceparent,
                tracestate,
                baggage,
            }
        };
        let rows = [
            (json!({}), None),
            (json!({ "traceparent": null }), None),
            (
                json!({ "traceparent": "a", "tracestate": "b=\"1\"", "baggage": "ü" }),
                Some(of([Some("a"), Some("b=\"1\""), Some("ü")])),
            ),
            (
                json!({ "baggage": "c=1" }),
                Some(of([None, None, Some("c=1")])),
            ),
            (
                json!({ "traceparent": 7, "tracestate": {"a": []}, "baggage": "c" }),
                Some(of([None, None, Some("c")])),
            ),
        ];
        for (meta, expected) in rows {
            assert_eq!(read(&meta), expected.map(Box::new), "{meta}");
        }
    }

    #[test]
    fn what_is_too_long_together_is_ignored() {
        let of = |length: usize| {
            read(&json!({ "traceparent": "x".repeat(100), "baggage": "x".repeat(length - 100) }))
        };
        assert!(of(TRACE_BYTES_MAX).is_some());
        assert_eq!(of(TRACE_BYTES_MAX + 1), None);
    }
}
