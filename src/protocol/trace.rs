//! The trace that a request says it is part of: the OpenTelemetry keys of `_meta`.
//!
//! Handed on as it came, and never a reason to refuse a request. Must not know what is done with it. Specification: `basic/index`
//! ("OpenTelemetry trace context") of revision 2026-07-28; earlier revisions leave the keys free, and are read alike.

use serde_json::value::RawValue;

use crate::observe::access::Traceparent;
use crate::protocol::meta::Meta;
use crate::protocol::text::Text;

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

    /// The part that may stand in the access log, if it is what it should be.
    pub(crate) fn logged(&self) -> Option<Traceparent> {
        Traceparent::parse(self.traceparent.as_deref()?)
    }
}

/// The part of a request's trace that may stand in the access log.
pub(crate) fn logged(meta: Option<&Meta<'_>>) -> Option<Traceparent> {
    TraceContext::read(meta?)?.logged()
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
