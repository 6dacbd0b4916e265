//! `params` and its `_meta`, read once, whatever the method.
//!
//! Every field is optional here, because which ones a request needs depends on its method and era, which the engine's routes
//! know. A field of the wrong type is refused for every method. Must not know HTTP headers or lanes.
//! Specification: `basic/index` ("_meta") of revision 2026-07-28.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::protocol::errors::ErrorObject;
use crate::protocol::id::RequestId;
use crate::protocol::jsonrpc::Request;
use crate::protocol::raw;
use crate::protocol::sentence::Sentence;
use crate::protocol::text::Text;
use crate::protocol::types::LoggingLevel;

/// The key under which a result names the server.
pub(crate) const SERVER_INFO_KEY: &str = "io.modelcontextprotocol/serverInfo";

/// The key under which a message names the subscription it belongs to.
pub(crate) const SUBSCRIPTION_ID_KEY: &str = "io.modelcontextprotocol/subscriptionId";

/// The parameters of any request or notification that this library serves.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
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
    pub(crate) reference: Option<CompletionReference<'a>>,
    #[serde(borrow, default, deserialize_with = "object")]
    pub(crate) argument: Option<CompletionArgument<'a>>,
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
    pub(crate) notifications: Option<SubscriptionFilter<'a>>,
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
    #[serde(rename = "progressToken")]
    pub(crate) progress_token: Option<ProgressToken>,
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

/// Opts a request into progress notifications; echoed as it came. A string or an integer, like an id.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub(crate) struct ProgressToken(RequestId);

impl ProgressToken {
    /// The token of something that has an id and no client.
    pub(crate) fn new(id: RequestId) -> Self {
        ProgressToken(id)
    }
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
fn object<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Object<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_unit<E>(self) -> Result<Option<T>, E> {
            Ok(None)
        }

        // serde's own error would repeat all of it.
        fn visit_str<E: de::Error>(self, _: &str) -> Result<Option<T>, E> {
            Err(E::invalid_type(Unexpected::Other("string"), &self))
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    }
    deserializer.deserialize_any(Object(PhantomData))
}

/// A boolean, or `null` for `false`.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match <&RawValue>::deserialize(deserializer)?.get() {
        "true" => Ok(true),
        "false" | "null" => Ok(false),
        _ => Err(de::Error::custom("expected a boolean")),
    }
}

/// A member of a request.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum RequestMember {
    Jsonrpc,
    Id,
    Method,
    Params,
}

/// Reads the members of a request, each once and no others. Not derived, because what is derived takes three times as much of a connection's stack.
struct PlainRequest;

impl<'de> Visitor<'de> for PlainRequest {
    type Value = (Request<'de>, Box<Params<'de>>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut version, mut id, mut method, mut params) = (None, None, None, None);
        while let Some(member) = map.next_key()? {
            match member {
                RequestMember::Jsonrpc if version.is_none() => {
                    version = Some(map.next_value::<Text<'_>>()?)
                }
                RequestMember::Id if id.is_none() => id = RequestId::read(map.next_value()?),
                RequestMember::Method if method.is_none() => {
                    method = Some(map.next_value::<Text<'_>>()?)
                }
                RequestMember::Params if params.is_none() => {
                    params = map.next_value::<BoxedParams<'_>>()?.0
                }
                _ => return Err(de::Error::custom("out of the ordinary")),
            }
        }
        match (version, id, method, params) {
            (Some(Text(version)), Some(id), Some(Text(method)), Some(params))
                if version == "2.0" =>
            {
                let request = Request {
                    id,
                    method,
                    params: None,
                };
                Ok((request, params))
            }
            _ => Err(de::Error::custom("out of the ordinary")),
        }
    }
}

/// An object, or `null` for none.
#[derive(Deserialize)]
#[serde(transparent)]
struct BoxedParams<'a>(#[serde(borrow, deserialize_with = "object")] Option<Box<Params<'a>>>);

impl<'a> Params<'a> {
    /// Reads them; no `params` at all is the same as `{}`. They are boxed because they are large and handed from hand to hand, on the
    /// stack of a thread that each connection has.
    pub(crate) fn parse(raw: Option<&'a RawValue>) -> Result<Box<Self>, ErrorObject> {
        let Some(raw) = raw else {
            return Ok(Box::default());
        };
        serde_json::from_str(raw.get()).map_err(|error| {
            ErrorObject::invalid_params(format!("Invalid params: {}", Sentence::of(&error)))
        })
    }

    /// A whole request and its parameters in one pass, if it is as nearly all are. `None` if anything about it is out of the ordinary; what, is found by
    /// reading it part by part.
    pub(crate) fn of_plain_request(text: &'a str) -> Option<(Request<'a>, Box<Self>)> {
        // The error about a string would repeat it, whole.
        if !text.starts_with('{') {
            return None;
        }
        let mut json = serde_json::Deserializer::from_str(text);
        let plain = json.deserialize_map(PlainRequest).ok()?;
        json.end().ok().map(|()| plain)
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::jsonrpc::{Message, parse_message};

    /// A request that is read in one pass is read as the other way reads it, and what is out of the ordinary is left to that.
    #[test]
    fn a_plain_request_is_read_in_one_pass_and_nothing_else_is() {
        let plain = [
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{}}"#,
            r#"{"params":{"name":"a\"b","arguments":{"a":[1]},"_meta":null},"method":"\u0078","id":"1","jsonrpc":"2.0"}"#,
            r#"{"jsonrpc":"2.0","id":1.0,"method":"x","params":{"unknown":1,"_meta":{"progressToken":7,"a/b":{}},"inputResponses":3}}"#,
        ];
        for bytes in plain {
            let (request, params) = Params::of_plain_request(bytes).expect(bytes);
            let Ok(Message::Request(expected)) = parse_message(bytes.as_bytes()) else {
                panic!("{bytes} is a request");
            };
            let expected_params = Params::parse(expected.params).expect(bytes);
            assert_eq!(request.id, expected.id);
            assert_eq!(request.method, expected.method);
            assert_eq!(format!("{params:?}"), format!("{expected_params:?}"));
        }
        for bytes in [
            r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":null}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":[]}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"x","params":{}}"#,
            r#"{"jsonrpc":"1.0","id":1,"method":"x","params":{}}"#,
            r#"{"id":1,"method":"x","params":{}}"#,
            r#"{"jsonrpc":"2.0","method":"x","params":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{},"result":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"x","params":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"name":1}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{}} x"#,
            r#"["2.0",1,"x",{}]"#,
            "",
        ] {
            assert!(Params::of_plain_request(bytes).is_none(), "{bytes}");
        }
    }
}
