//! The checks a modern request passes before it is served, in the one order that satisfies every client.
//!
//! Metadata first, then the mirrored header against it, then the version, then the method, then the name: a client must learn about the
//! nearest mistake first. Pure: header values come in as strings, wherever they were read. Specification: `basic/index` ("_meta") and
//! `basic/transports/streamable-http` ("Request Metadata", "Server Validation") of revision 2026-07-28.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::protocol::errors::{ErrorCode, ErrorObject, shortened};
use crate::protocol::meta::{Params, check_introduction};
use crate::protocol::offer::OfferKind;
use crate::protocol::version::{Era, Method, ProtocolVersion};

/// What a request has under the name of a header field that may stand only once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field<'a> {
    Absent,
    /// Without the blanks around it, and not decoded.
    One(&'a str),
    Repeated,
}

/// The header fields of a request, by name.
pub(crate) trait HeaderFields {
    /// Names compare without case.
    fn field<'a>(&'a self, name: &'a str) -> Field<'a>;

    /// Its one value. Of a field that stands twice there is none, which is no version either.
    fn value<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        match self.field(name) {
            Field::Absent => None,
            Field::One(value) => Some(value),
            Field::Repeated => Some(""),
        }
    }
}

/// The header fields that mirror parts of every body.
const MIRRORS: [&str; 3] = [VERSION_FIELD, "Mcp-Method", "Mcp-Name"];
pub(crate) const VERSION_FIELD: &str = "MCP-Protocol-Version";

/// Checks a modern request and finds its method. A transport without header fields has none to check.
pub(crate) fn admit(
    method: &str,
    params: &Params<'_>,
    fields: Option<&dyn HeaderFields>,
) -> Result<Method, ErrorObject> {
    let version = required_metadata(params)?;
    let mirrored = fields.map(|fields| MIRRORS.map(|name| fields.field(name)));
    if let Some(mirrored) = mirrored {
        // Nobody can say which of its values was acted on.
        if let Some(at) = mirrored.iter().position(|field| *field == Field::Repeated) {
            return Err(mismatch(format!("{} stands more than once", MIRRORS[at])));
        }
        must_match(MIRRORS[0], mirrored[0], version)?;
    }
    supported(version)?;
    if let Some(mirrored) = mirrored {
        must_match(MIRRORS[1], mirrored[1], method)?;
    }
    let method =
        Method::find(method, Era::Modern).ok_or_else(|| ErrorObject::method_not_found(method))?;
    if let (Some(mirrored), Some(name)) = (mirrored, mirrored_name(method, params)) {
        name_must_match(mirrored[2], name)?;
    }
    Ok(method)
}

/// The protocol version of a request that has all the metadata it needs.
fn required_metadata<'a>(params: &'a Params<'_>) -> Result<&'a str, ErrorObject> {
    const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
    const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
    let missing = |key: &str| {
        ErrorObject::invalid_params(format!(
            "Missing `params._meta[\"{key}\"]`: every request of revision 2026-07-28 carries it; a client of an earlier revision sends `initialize` first"
        ))
    };
    let meta = params.meta.as_ref().ok_or_else(|| missing(VERSION))?;
    let version = meta
        .protocol_version
        .as_ref()
        .ok_or_else(|| missing(VERSION))?;
    check_introduction(meta.client_info, meta.client_capabilities)?;
    match meta.client_capabilities {
        Some(raw) if raw.get().starts_with('{') => Ok(&version.0),
        Some(_) => Err(ErrorObject::invalid_params(format!(
            "`{CAPABILITIES}` must be an object"
        ))),
        None => Err(missing(CAPABILITIES)),
    }
}

/// Whether a modern message may name this version.
pub(crate) fn supported(version: &str) -> Result<(), ErrorObject> {
    let known = ProtocolVersion::parse(version);
    if known.is_some_and(|version| version.era() == Era::Modern) {
        return Ok(());
    }
    // Those of the handshake as well, unless it is one of them that is named where none of them can be.
    let is_fit = |one: &ProtocolVersion| known.is_none() || one.era() == Era::Modern;
    let fit = ProtocolVersion::ALL.iter().copied().filter(is_fit);
    let fit: Vec<_> = fit.map(ProtocolVersion::as_str).collect();
    Err(ErrorObject::new(
        ErrorCode::UNSUPPORTED_PROTOCOL_VERSION,
        "Unsupported protocol version",
    )
    .with_data(json!({ "supported": fit, "requested": shortened(version) })))
}

/// What `Mcp-Name` has to say for this method, if anything.
fn mirrored_name<'a>(method: Method, params: &'a Params<'_>) -> Option<Option<&'a str>> {
    match method {
        Method::Call(OfferKind::Resource) => Some(params.uri.as_ref().map(|uri| &*uri.0)),
        Method::Call(_) => Some(params.name.as_ref().map(|name| &*name.0)),
        Method::TasksGet | Method::TasksUpdate | Method::TasksCancel => {
            Some(params.task_id.as_ref().map(|id| &*id.0))
        }
        _ => None,
    }
}

fn name_must_match(header: Field<'_>, body: Option<&str>) -> Result<(), ErrorObject> {
    let Field::One(raw) = header else {
        return Err(mismatch(
            "Mcp-Name is missing; it mirrors `params.name`, `params.uri` or `params.taskId`".into(),
        ));
    };
    let header = decoded("Mcp-Name", raw).map_err(mismatch)?;
    // The method's own check says what is missing.
    body.map_or(Ok(()), |body| {
        must_match(MIRRORS[2], Field::One(&header), body)
    })
}

fn must_match(name: &str, header: Field<'_>, body: &str) -> Result<(), ErrorObject> {
    match header {
        Field::One(header) if header == body => Ok(()),
        Field::One(header) => Err(mismatch(differ(name, header, body))),
        _ => Err(mismatch(absent(name, body))),
    }
}

pub(super) fn differ(name: &str, header: &str, body: &str) -> String {
    let (header, body) = (shortened(header), shortened(body));
    format!("{name} header value '{header}' does not match body value '{body}'")
}

pub(super) fn absent(name: &str, body: &str) -> String {
    format!("{name} is missing; the body says '{}'", shortened(body))
}

/// What a client hears when a header field and the body differ.
pub(crate) fn mismatch(what: String) -> ErrorObject {
    ErrorObject::new(
        ErrorCode::HEADER_MISMATCH,
        format!("Header mismatch: {what}"),
    )
}

/// What the value of a header field says: itself, or what is in its `=?base64?...?=` form.
///
/// # Errors
///
/// A sentence, when it has characters that may not stand there as they are, or the Base64 is not valid.
pub(crate) fn decoded<'v>(field: &str, value: &'v str) -> Result<Cow<'v, str>, String> {
    let is_sendable = |byte| matches!(byte, b'\t' | b' '..=b'~');
    if !value.bytes().all(is_sendable) {
        return Err(format!(
            "{field} has characters that must be sent in Base64"
        ));
    }
    let encoded = value.strip_prefix("=?base64?");
    let Some(encoded) = encoded.and_then(|rest| rest.strip_suffix("?=")) else {
        return Ok(Cow::Borrowed(value));
    };
    let bytes = STANDARD.decode(encoded).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.map(Cow::Owned)
        .ok_or_else(|| format!("{field} is not valid Base64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

    struct Headers<'a>([Option<&'a str>; 3]);

    impl HeaderFields for Headers<'_> {
        fn field<'a>(&'a self, name: &'a str) -> Field<'a> {
            let at = MIRRORS.iter().position(|known| *known == name);
            at.and_then(|at| self.0[at])
                .map_or(Field::Absent, Field::One)
        }
    }

    fn admitted(method: &str, params: &str, headers: [Option<&str>; 3]) -> Result<Method, i64> {
        let raw =
            serde_json::value::RawValue::from_string(params.to_owned()).expect("the row is JSON");
        let params = Params::parse(Some(&raw)).map_err(|error| error.code)?;
        admit(method, &params, Some(&Headers(headers))).map_err(|error| error.code)
    }

    #[test]
    fn what_is_refused_is_not_called_supported() {
        let refused = supported("2025-11-25").expect_err("a modern message names no other");
        let data = refused.data.expect("it has data");
        assert_eq!(data["supported"], json!(["2026-07-28"]));
    }

    #[test]
    fn the_nearest_mistake_is_named_first() {
        let v = Some("2026-07-28");
        let call = Some("tools/call");
        let with = |rest: &str| format!("{{{META}{rest}}}");
        let unknown = META.replace("2026-07-28", "v999");
        let rows = [
            ("tools/list", "{}".to_owned(), [None, None, None], Err(-32602)),
            ("tools/list", r#"{"_meta":{}}"#.to_owned(), [v, None, None], Err(-32602)),
            ("tools/list", r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#.into(), [v, None, None], Err(-32602)),
            ("tools/list", r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":7,"io.modelcontextprotocol/clientCapabilities":{}}}"#.into(), [v, None, None], Err(-32602)),
            ("tools/list", format!("{{{unknown}}}"), [v, None, None], Err(-32020)),
            ("tools/list", format!("{{{unknown}}}"), [Some("v999"), None, None], Err(-32022)),
            ("tools/list", with(""), [None, None, None], Err(-32020)),
            ("tools/list", with(""), [v, None, None], Err(-32020)),
            ("tools/list", with(""), [v, Some("TOOLS/LIST"), None], Err(-32020)),
            ("tools/list", with(""), [v, Some("tools/list"), None], Ok(Method::List(OfferKind::Tool))),
            ("ping", with(""), [v, Some("ping"), None], Err(-32601)),
            ("initialize", with(""), [v, Some("initialize"), None], Err(-32601)),
            ("tools/call", with(r#","name":"a""#), [v, call, None], Err(-32020)),
            ("tools/call", with(r#","name":"a""#), [v, call, Some("b")], Err(-32020)),
            ("tools/call", with(r#","name":"a""#), [v, call, Some("=?base64?YQ?=")], Err(-32020)),
            ("tools/call", with(r#","name":"a""#), [v, call, Some("=?base64?YQ==?=")], Ok(Method::Call(OfferKind::Tool))),
            ("tools/call", with(r#","name":"YQ==""#), [v, call, Some("YQ==")], Ok(Method::Call(OfferKind::Tool))),
        ];
        for (method, params, headers, expected) in rows {
            assert_eq!(
                admitted(method, &params, headers),
                expected,
                "{method} {params} {headers:?}"
            );
        }
    }
}
