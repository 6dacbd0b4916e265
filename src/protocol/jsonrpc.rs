//! JSON-RPC 2.0 as MCP uses it: bytes to [`Message`] and values back to bytes.
//!
//! Pure data: no I/O, no threads, no MCP methods. A message borrows from the bytes it was read from; the `params` of a notification stay raw, because most mean
//! nothing here. Specification: `basic/index` ("Messages") of each revision.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess};
use serde_json::value::RawValue;

use crate::base::limits::Limits;
use crate::protocol::errors::{ErrorCode, ErrorObject};
use crate::protocol::id::RequestId;
use crate::protocol::meta::Params;
use crate::protocol::raw;
use crate::protocol::sentence::Sentence;
use crate::protocol::text::{Text, write_json};
use crate::protocol::tree::{Excess, excess};

/// What one body or line holds, borrowed from its bytes.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    Request(Request<'a>, ReadParams<'a>),
    OneWay(OneWay<'a>),
    /// The members of an array, still raw; one more than a batch may have when there are too many.
    Batch(Vec<&'a RawValue>),
}

/// The parameters of a request, or what is wrong with them.
pub(crate) type ReadParams<'a> = Result<Box<Params<'a>>, ErrorObject>;

/// A message that has no answer.
#[derive(Debug)]
pub(crate) enum OneWay<'a> {
    Notification(Notification<'a>),
    /// The client's answer to a request of ours. It is never answered, whatever is wrong with it.
    Response(Response<'a>),
}

#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) id: RequestId,
    pub(crate) method: Cow<'a, str>,
    /// As they came; `None` as well where `plain` has read them already.
    pub(crate) params: Option<&'a RawValue>,
}

#[derive(Debug)]
pub(crate) struct Notification<'a> {
    pub(crate) method: Cow<'a, str>,
    pub(crate) params: Option<&'a RawValue>,
}

#[derive(Debug)]
pub(crate) struct Response<'a> {
    /// `None` when it is no id at all, so that it answers nothing of ours.
    pub(crate) id: Option<RequestId>,
    /// Its result or its error.
    pub(crate) body: Result<&'a RawValue, &'a RawValue>,
}

/// A message that cannot be served, with its id as far as it could be read.
#[derive(Debug, PartialEq)]
pub(crate) struct Malformed {
    pub(crate) id: Option<RequestId>,
    pub(crate) error: ErrorObject,
}

/// One body or line to read. Refuses what nests too deep or has too many values before any parser that recurses or collects sees it.
pub(crate) fn bounded<'a>(bytes: &'a [u8], limits: &Limits) -> Result<&'a [u8], Malformed> {
    // Editors and shells put a byte order mark in front.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let (depth_max, values_max) = (limits.json_depth_max, limits.json_values_max);
    if let Some(excess) = excess(bytes, depth_max, values_max) {
        let message = match excess {
            Excess::Depth => format!("The message nests deeper than {depth_max} levels"),
            Excess::Values => format!("The message has more than {values_max} values"),
        };
        return Err(Malformed {
            id: glimpse(bytes),
            error: ErrorObject::invalid_request(message),
        });
    }
    Ok(bytes)
}

/// Reads one body or line that is [`bounded`].
pub(crate) fn parse_frame(bytes: &[u8], batch_len_max: usize) -> Result<Message<'_>, Malformed> {
    if !is_array(bytes) {
        return parse_message(bytes);
    }
    let list: &RawValue =
        serde_json::from_slice(bytes).map_err(|error| unreadable(bytes, &error))?;
    Ok(Message::Batch(raw::items(list.get(), batch_len_max)))
}

fn is_array(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().first() == Some(&b'[')
}

/// Reads one message, which is no batch.
pub(crate) fn parse_message(bytes: &[u8]) -> Result<Message<'_>, Malformed> {
    // A derived `Deserialize` also reads an array: its items are the fields in the order of the code. And its error repeats a string, whole.
    if is_array(bytes) || bytes.trim_ascii_start().first() == Some(&b'"') {
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
#[serde(expecting = "an object")]
struct Envelope<'a> {
    #[serde(borrow)]
    jsonrpc: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<Text<'a>>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

pub(crate) fn present<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl<'a> Envelope<'a> {
    fn into_message(self) -> Result<Message<'a>, Malformed> {
        let id = self.id.and_then(RequestId::read);
        let Some(Text(method)) = self.method else {
            return match self.response_body() {
                Some(body) => Ok(Message::OneWay(OneWay::Response(Response { id, body }))),
                None => Err(Malformed {
                    id,
                    error: ErrorObject::invalid_request(
                        "A message needs a `method`, or an `id` with a `result` or an `error`",
                    ),
                }),
            };
        };
        let error = if self.id.is_some() && id.is_none() {
            ErrorObject::invalid_request(
                "`id` must be a string of at most 1024 bytes or an integer",
            )
        } else if self.jsonrpc.is_none_or(|version| version.0 != "2.0") {
            ErrorObject::invalid_request("`jsonrpc` must be \"2.0\"")
        } else {
            let is_object = |params: &&RawValue| params.get().starts_with('{');
            return match (id, self.params) {
                // It may have no answer, whatever is wrong with it.
                (None, params) => {
                    let params = params.filter(is_object);
                    let notification = Notification { method, params };
                    Ok(Message::OneWay(OneWay::Notification(notification)))
                }
                (Some(id), params) if params.as_ref().is_none_or(is_object) => {
                    let request = Request { id, method, params };
                    Ok(Message::Request(request, Params::parse(params)))
                }
                (id, _) => Err(Malformed {
                    id,
                    error: ErrorObject::invalid_params("`params` must be an object"),
                }),
            };
        };
        Err(Malformed { id, error })
    }

    /// What a response says. Of both, the error; a member that is `null` counts only without the other.
    fn response_body(&self) -> Option<Result<&'a RawValue, &'a RawValue>> {
        let is_null = |raw: &&RawValue| raw.get() == "null";
        match (self.result, self.error) {
            (Some(result), error) if error.as_ref().is_none_or(is_null) => Some(Ok(result)),
            (_, Some(error)) => Some(Err(error)),
            (_, None) => None,
        }
    }
}

/// Turns a slip of the parser into the error the peer gets, under the id as far as it can be seen.
fn unreadable(bytes: &[u8], error: &serde_json::Error) -> Malformed {
    let said = Sentence::of(error);
    let error = match error.is_data() {
        true => ErrorObject::invalid_request(format!("Not a JSON-RPC message: {said}")),
        false => ErrorObject::new(ErrorCode::PARSE_ERROR, format!("Not valid JSON: {said}")),
    };
    Malformed {
        id: glimpse(bytes),
        error,
    }
}

/// The id of a request of which only the beginning can be read: the rest is cut off or broken. `None` for what may be a response, because an
/// error under its id could reach another request.
pub(crate) fn glimpse(bytes: &[u8]) -> Option<RequestId> {
    #[derive(Default)]
    struct Seen {
        id: Option<RequestId>,
        is_request: bool,
        is_response: bool,
    }
    impl<'de> de::Visitor<'de> for &mut Seen {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a message")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            while let Some(Text(key)) = map.next_key()? {
                self.is_request |= matches!(&*key, "method" | "params");
                self.is_response |= matches!(&*key, "result" | "error");
                if key == "id" {
                    self.id = RequestId::read(map.next_value()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(())
        }
    }
    let mut seen = Seen::default();
    // An error is where the readable part ends.
    let _broken = serde_json::Deserializer::from_slice(bytes).deserialize_map(&mut seen);
    seen.id.filter(|_| seen.is_request && !seen.is_response)
}

/// A whole result response, in this buffer; `write` appends the result.
pub(crate) fn result_response(
    mut out: Vec<u8>,
    id: &RequestId,
    write: impl FnOnce(&mut Vec<u8>),
) -> Vec<u8> {
    begin(&mut out, Some(id));
    out.extend_from_slice(b"\"result\":");
    write(&mut out);
    out.push(b'}');
    out
}

/// A whole error response. Without an id the member is left out, as the revisions since 2025-11-25 have it.
pub(crate) fn error_response(id: Option<&RequestId>, error: &ErrorObject) -> Vec<u8> {
    let mut out = Vec::with_capacity(128 + error.message.len());
    begin(&mut out, id);
    out.extend_from_slice(b"\"error\":");
    write_json(&mut out, error);
    out.push(b'}');
    out
}

/// A whole notification.
pub(crate) fn notification(method: &str, params: &impl Serialize) -> Vec<u8> {
    call(None, method, |out| write_json(out, params))
}

/// A request of ours, or without an id a notification, with the parameters that `write` appends. The method is one of ours, in which nothing is to be escaped.
pub(crate) fn call(
    id: Option<&RequestId>,
    method: &str,
    write: impl FnOnce(&mut Vec<u8>),
) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    begin(&mut out, id);
    out.extend_from_slice(b"\"method\":\"");
    out.extend_from_slice(method.as_bytes());
    out.extend_from_slice(b"\",\"params\":");
    write(&mut out);
    out.push(b'}');
    out
}

/// What every message begins with.
fn begin(out: &mut Vec<u8>, id: Option<&RequestId>) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",");
    if let Some(id) = id {
        out.extend_from_slice(b"\"id\":");
        write_json(out, id);
        out.push(b',');
    }
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
                "response 1 failed",
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"result":{},"error":null}"#,
                "response 1",
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"result":null,"error":{}}"#,
                "response 1 failed",
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#,
                "response 1 failed",
            ),
            (
                r#"{"jsonrpc":"2.0","id":null,"error":{}}"#,
                "response - failed",
            ),
            (r#"{"id":[],"result":{}}"#, "response -"),
            (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, "-32600 -"),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, "-32600 -"),
            (
                r#"{"jsonrpc":"2.0","id":99999999999999999999,"method":"ping"}"#,
                "request 99999999999999999999 ping",
            ),
            (
                r#"{"jsonrpc":"2.0","id":1.0,"method":"ping"}"#,
                "request 1 ping",
            ),
            (
                "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}",
                "request 1 ping",
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
                "request 4 a",
            ),
            (r#""text""#, "-32600 -"),
            (r#"{"jsonrpc":"2.0","#, "-32700 -"),
            (r#"{"jsonrpc":"2.0"} trailing"#, "-32700 -"),
            ("", "-32700 -"),
            ("[]", "batch 0"),
            (r#" [{"a":1},2]"#, "batch 2"),
            ("[1,", "-32700 -"),
            (r#"{"a":[[[[[]]]]]}"#, "-32600 -"),
            (r#"{"id":7,"params":[[[[[]]]]]}"#, "-32600 7"),
            (r#"[1,2,3,4,"more than a batch has",6]"#, "batch 4"),
            (r#"{"a":[1,2,3,4,5,6,7,8]}"#, "-32600 -"),
            (r#"{"id":7,"method":"a","params":{"a": tru"#, "-32700 7"),
            (r#"{"method":"a","id":"x","params":{"a":"b"#, "-32700 \"x\""),
            (r#"{"id":7,"result":{"method": tru"#, "-32700 -"),
            (r#"{"id":7,"jsonrpc":"2.0""#, "-32700 -"),
            (r#"{"id":7,"params":{"a":"cut"#, "-32700 7"),
            (r#"{"id":7,"params":{},"result":{"a":"cut"#, "-32700 -"),
        ];
        for (bytes, expected) in rows {
            assert_eq!(&describe(bytes.as_bytes()), expected, "{bytes}");
        }
        let cut = b"{\"jsonrpc\":\"2.0\",\"method\":\"a\",\"params\":{\"a\":\"\xff\"},\"id\":5}";
        assert_eq!(describe(cut), "-32700 5", "invalid UTF-8");
    }

    fn describe(bytes: &[u8]) -> String {
        let limits = Limits::default().json_depth_max(5).json_values_max(9);
        let params =
            |params: Option<&RawValue>| params.map(|raw| format!(" {raw}")).unwrap_or_default();
        let frame = bounded(bytes, &limits).and_then(|bytes| parse_frame(bytes, 3));
        match frame {
            Ok(Message::Request(r, _)) => {
                format!("request {} {}{}", r.id, r.method, params(r.params))
            }
            Ok(Message::OneWay(OneWay::Notification(n))) => {
                format!("notification {}{}", n.method, params(n.params))
            }
            Ok(Message::OneWay(OneWay::Response(Response { id, body }))) => {
                let id = id.map_or("-".into(), |id| id.to_string());
                match body {
                    Ok(_) => format!("response {id}"),
                    Err(_) => format!("response {id} failed"),
                }
            }
            Ok(Message::Batch(members)) => format!("batch {}", members.len()),
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
