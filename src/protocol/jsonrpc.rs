//! JSON-RPC 2.0 as MCP uses it: bytes to [`Message`] and values back to bytes.
//!
//! Pure data: no I/O, no threads, no MCP methods. A message borrows from the bytes it was read from; `params` stay raw until someone
//! knows their shape. Specification: `basic/index` ("Messages") of each revision.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::protocol::depth;
pub(crate) use crate::protocol::errors::shortened;
pub use crate::protocol::errors::{ErrorCode, ErrorObject};
use crate::protocol::sentence::Sentence;

/// The longest id or progress token, in bytes. They are echoed and kept for as long as a call runs.
const ID_BYTES_MAX: usize = 1024;

/// The id of a request: a string or an integer, chosen by the client, unique among its requests in flight.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum RequestId {
    /// An integer id.
    Number(i64),
    /// A string id.
    String(Box<str>),
}

/// One message, borrowed from the bytes it was read from.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    Request(Request<'a>),
    Notification(Notification<'a>),
    /// The client's answer to a request of ours.
    Response(Response<'a>),
}

#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) id: RequestId,
    pub(crate) method: Cow<'a, str>,
    pub(crate) params: Option<&'a RawValue>,
}

#[derive(Debug)]
pub(crate) struct Notification<'a> {
    pub(crate) method: Cow<'a, str>,
    pub(crate) params: Option<&'a RawValue>,
}

#[derive(Debug)]
pub(crate) struct Response<'a> {
    pub(crate) id: RequestId,
    pub(crate) body: ResponseBody<'a>,
}

/// How a request of ours ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ResponseBody<'a> {
    Result(&'a RawValue),
    Error(&'a RawValue),
}

/// What one body or line holds.
#[derive(Debug)]
pub(crate) enum Frame<'a> {
    One(Message<'a>),
    /// The members of an array, still raw. Only revision 2025-03-26 may send one.
    Batch(Vec<&'a RawValue>),
}

/// A message that cannot be served, with its id as far as it could be read.
#[derive(Debug, PartialEq)]
pub(crate) struct Malformed {
    pub(crate) id: Option<RequestId>,
    pub(crate) error: ErrorObject,
}

/// Reads one body or line. Refuses nesting deeper than `depth_max` before any recursive parser sees it.
pub(crate) fn parse_frame(bytes: &[u8], depth_max: usize) -> Result<Frame<'_>, Malformed> {
    if depth::exceeds(bytes, depth_max) {
        let message = format!("The message nests deeper than {depth_max} levels");
        return Err(Malformed {
            id: None,
            error: ErrorObject::invalid_request(message),
        });
    }
    match is_array(bytes) {
        true => serde_json::from_slice(bytes)
            .map(Frame::Batch)
            .map_err(|error| unreadable(bytes, &error)),
        false => parse_message(bytes).map(Frame::One),
    }
}

fn is_array(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().first() == Some(&b'[')
}

/// Reads one message.
pub(crate) fn parse_message(bytes: &[u8]) -> Result<Message<'_>, Malformed> {
    // Whoever derives how an object is read also reads an array, as its members in the order of the code.
    if is_array(bytes) {
        return Err(Malformed {
            id: None,
            error: ErrorObject::invalid_request("A message must be an object"),
        });
    }
    let envelope: Envelope<'_> =
        serde_json::from_slice(bytes).map_err(|error| unreadable(bytes, &error))?;
    envelope.into_message()
}

/// The fields of any message. `Option<&RawValue>` would read `null` as absent, and a `null` id is not an absent one.
#[derive(serde::Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    jsonrpc: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// A string that borrows when it has no escapes, also inside an `Option`.
#[derive(serde::Deserialize, Debug)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

pub(crate) fn present<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl<'a> Envelope<'a> {
    fn into_message(self) -> Result<Message<'a>, Malformed> {
        let id = match self.id {
            None => None,
            Some(raw) => Some(read_id(raw)?),
        };
        let refuse = |message: &'static str| Malformed {
            id: id.clone(),
            error: ErrorObject::invalid_request(message),
        };
        if self
            .jsonrpc
            .as_ref()
            .is_none_or(|version| version.0 != "2.0")
        {
            return Err(refuse("`jsonrpc` must be \"2.0\""));
        }
        let Some(Text(method)) = self.method else {
            let body = match (self.result, self.error) {
                (Some(result), None) => Some(ResponseBody::Result(result)),
                (None, Some(error)) => Some(ResponseBody::Error(error)),
                _ => None,
            };
            return match (body, id.clone()) {
                (Some(body), Some(id)) => Ok(Message::Response(Response { id, body })),
                _ => Err(refuse(
                    "A message needs a `method`, or an `id` with a `result` or an `error`",
                )),
            };
        };
        let is_object = |params: &&RawValue| params.get().starts_with('{');
        if id.is_some() && !self.params.as_ref().is_none_or(is_object) {
            return Err(Malformed {
                id,
                error: ErrorObject::invalid_params("`params` must be an object"),
            });
        }
        Ok(match id {
            Some(id) => Message::Request(Request {
                id,
                method,
                params: self.params,
            }),
            // It may have no answer, whatever is wrong with it.
            None => Message::Notification(Notification {
                method,
                params: self.params.filter(is_object),
            }),
        })
    }
}

fn read_id(raw: &RawValue) -> Result<RequestId, Malformed> {
    serde_json::from_str(raw.get()).map_err(|_| Malformed {
        id: None,
        error: ErrorObject::invalid_request(
            "`id` must be a string of at most 1024 bytes or an integer",
        ),
    })
}

/// Turns a slip of the parser into the error the peer gets, and rescues the id if it stands where one expects it.
fn unreadable(bytes: &[u8], error: &serde_json::Error) -> Malformed {
    #[derive(serde::Deserialize)]
    struct OnlyId {
        id: Option<RequestId>,
    }
    if error.is_data() {
        let id = serde_json::from_slice::<OnlyId>(bytes)
            .ok()
            .and_then(|found| found.id);
        let message = format!("Not a JSON-RPC message: {}", Sentence::of(error));
        return Malformed {
            id,
            error: ErrorObject::invalid_request(message),
        };
    }
    let message = format!("Not valid JSON: {}", Sentence::of(error));
    Malformed {
        id: None,
        error: ErrorObject::new(ErrorCode::PARSE_ERROR, message),
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = RequestId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an integer")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<RequestId, E> {
                Ok(RequestId::Number(number))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<RequestId, E> {
                i64::try_from(number)
                    .map(RequestId::Number)
                    .map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RequestId, E> {
                if text.len() > ID_BYTES_MAX {
                    return Err(E::custom("longer than 1024 bytes"));
                }
                Ok(RequestId::String(text.into()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            RequestId::Number(number) => serializer.serialize_i64(*number),
            RequestId::String(text) => serializer.serialize_str(text),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestId::Number(number) => write!(f, "{number}"),
            RequestId::String(text) => write!(f, "{text:?}"),
        }
    }
}

/// Appends everything of a result response up to the result's value; [`close_response`] ends it.
pub(crate) fn open_result(out: &mut Vec<u8>, id: &RequestId) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    write_json(out, id);
    out.extend_from_slice(b",\"result\":");
}

/// Ends what [`open_result`] began.
pub(crate) fn close_response(out: &mut Vec<u8>) {
    out.push(b'}');
}

/// A whole error response. Without an id the member is left out, as the revisions since 2025-11-25 have it.
pub(crate) fn error_response(id: Option<&RequestId>, error: &ErrorObject) -> Vec<u8> {
    let mut out = Vec::with_capacity(128 + error.message.len());
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",");
    if let Some(id) = id {
        out.extend_from_slice(b"\"id\":");
        write_json(&mut out, id);
        out.push(b',');
    }
    out.extend_from_slice(b"\"error\":");
    write_json(&mut out, error);
    out.push(b'}');
    out
}

/// A whole notification.
pub(crate) fn notification(method: &str, params: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",");
    close_call(&mut out, method, params);
    out
}

/// A request of ours.
pub(crate) fn request(id: &RequestId, method: &str, params: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    write_json(&mut out, id);
    out.push(b',');
    close_call(&mut out, method, params);
    out
}

/// Ends a notification or a request with what they have in common.
fn close_call(out: &mut Vec<u8>, method: &str, params: &impl Serialize) {
    out.extend_from_slice(b"\"method\":");
    write_json(out, method);
    out.extend_from_slice(b",\"params\":");
    write_json(out, params);
    out.push(b'}');
}

/// Appends a value of ours as JSON.
///
/// # Panics
///
/// When the value cannot be JSON at all, such as a map with keys that are not strings. Only for types of this crate.
pub(crate) fn write_json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value)
        .expect("the library's own types are always JSON and a Vec takes every write");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows: the bytes, and what they are, in a short notation.
    #[test]
    fn every_shape_of_message_is_read_or_refused_with_its_id() {
        let rows: &[(&str, &str)] = &[
            (
                r#"{"jsonrpc":"2.0","id":0,"method":"ping"}"#,
                "request 0 ping",
            ),
            (
                r#" {"jsonrpc":"2.0","id":"a\"b","method":"p\u0069ng","params":{}} "#,
                r#"request "a\"b" ping {}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1766000000000,"method":"x"}"#,
                "request 1766000000000 x",
            ),
            (r#"{"jsonrpc":"2.0","method":"n"}"#, "notification n"),
            (
                r#"{"jsonrpc":"2.0","method":"n","params":[1]}"#,
                "notification n",
            ),
            (r#"{"jsonrpc":"2.0","id":1,"result":null}"#, "response 1"),
            (
                r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}"#,
                "response 1",
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#,
                "-32600 1",
            ),
            (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, "-32600 -"),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, "-32600 -"),
            (
                r#"{"jsonrpc":"2.0","id":99999999999999999999,"method":"ping"}"#,
                "-32600 -",
            ),
            (r#"{"jsonrpc":"1.0","id":4,"method":"ping"}"#, "-32600 4"),
            (r#"{"id":4,"method":"ping"}"#, "-32600 4"),
            (r#"{"jsonrpc":"2.0","id":4,"method":7}"#, "-32600 4"),
            (
                r#"{"jsonrpc":"2.0","id":4,"method":"a","method":"b"}"#,
                "-32600 4",
            ),
            (r#"{"jsonrpc":"2.0","id":4}"#, "-32600 4"),
            (
                r#"{"jsonrpc":"2.0","id":4,"method":"a","params":[1]}"#,
                "-32602 4",
            ),
            (
                r#"{"jsonrpc":"2.0","id":4,"method":"a","params":null}"#,
                "-32602 4",
            ),
            (r#""text""#, "-32600 -"),
            (r#"{"jsonrpc":"2.0","#, "-32700 -"),
            (r#"{"jsonrpc":"2.0"} trailing"#, "-32700 -"),
            ("", "-32700 -"),
            ("[]", "batch 0"),
            (r#" [{"a":1},2]"#, "batch 2"),
            ("[1,", "-32700 -"),
            (r#"{"a":[[[[[]]]]]}"#, "-32600 -"),
        ];
        for (bytes, expected) in rows {
            assert_eq!(&describe(bytes), expected, "{bytes}");
        }
    }

    fn describe(bytes: &str) -> String {
        let params =
            |params: Option<&RawValue>| params.map(|raw| format!(" {raw}")).unwrap_or_default();
        match parse_frame(bytes.as_bytes(), 5) {
            Ok(Frame::One(Message::Request(r))) => {
                format!("request {} {}{}", r.id, r.method, params(r.params))
            }
            Ok(Frame::One(Message::Notification(n))) => {
                format!("notification {}{}", n.method, params(n.params))
            }
            Ok(Frame::One(Message::Response(response))) => format!("response {}", response.id),
            Ok(Frame::Batch(members)) => format!("batch {}", members.len()),
            Err(Malformed {
                id: Some(id),
                error,
            }) => format!("{} {id}", error.code),
            Err(Malformed { id: None, error }) => format!("{} -", error.code),
        }
    }

    #[test]
    fn an_error_response_is_these_bytes() {
        let error = ErrorObject::new(503, "busy").with_data(serde_json::json!({"lane": "main"}));
        let with_id = error_response(Some(&RequestId::String("x".into())), &error);
        assert_eq!(
            String::from_utf8(with_id).expect("JSON is UTF-8"),
            r#"{"jsonrpc":"2.0","id":"x","error":{"code":503,"message":"busy","data":{"lane":"main"}}}"#
        );
        let without = error_response(None, &ErrorObject::new(1, "m"));
        assert_eq!(
            without,
            br#"{"jsonrpc":"2.0","error":{"code":1,"message":"m"}}"#
        );
    }
}
