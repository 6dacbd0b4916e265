//! The ids that peers give: of requests, and the progress tokens that look like them.
//!
//! Echoed as they came, found however they are spelled. Pure. Specification: `basic/index` ("Requests") of each revision.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::de::{self, Deserialize, Deserializer};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::protocol::number::Decimal;
use crate::protocol::text::Text;

/// The longest id or progress token, in bytes. They are echoed and kept for as long as a call runs.
const ID_BYTES_MAX: usize = 1024;

/// The id of a request: a string or an integer, chosen by the client, unique among its requests in flight. An integer is equal to another with the same
/// value, however either is spelled.
#[derive(Clone, Debug)]
pub(crate) enum RequestId {
    /// An integer as nearly all are.
    Number(i64),
    /// An integer that is larger, or came in another spelling: clients whose only number is a float send `1.0`.
    Spelled(Box<Spelled>),
    /// A string id.
    String(Box<str>),
}

/// An integer, and how it came. In a box, because it is rare and every call has an id.
#[derive(Clone, Debug)]
pub(crate) struct Spelled {
    value: i128,
    text: Box<RawValue>,
}

impl RequestId {
    /// The id that a JSON value is, if it can be one.
    pub(crate) fn read(raw: &RawValue) -> Option<Self> {
        let text = raw.get();
        if text.starts_with('"') {
            let Text(id) = serde_json::from_str(text).ok()?;
            return (id.len() <= ID_BYTES_MAX).then(|| RequestId::String(id.into()));
        }
        if text.len() > ID_BYTES_MAX {
            return None;
        }
        // JSON has no sign in front of a number but a minus.
        if text.len() < 19
            && !text.starts_with('-')
            && let Ok(value) = text.parse::<i64>()
        {
            return Some(value.into());
        }
        let value = Decimal::read(text)?.integer()?;
        let is_plain = text.len() < 19 && !text.contains(['.', 'e', 'E']) && text != "-0";
        Some(match i64::try_from(value) {
            Ok(value) if is_plain => RequestId::Number(value),
            _ => RequestId::Spelled(Box::new(Spelled {
                value,
                text: raw.to_owned(),
            })),
        })
    }

    fn number(&self) -> Option<i128> {
        match self {
            RequestId::Number(value) => Some((*value).into()),
            RequestId::Spelled(spelled) => Some(spelled.value),
            RequestId::String(_) => None,
        }
    }
}

impl PartialEq for RequestId {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (RequestId::String(one), RequestId::String(other)) => one == other,
            _ => self.number().is_some() && self.number() == other.number(),
        }
    }
}

impl Eq for RequestId {}

impl Hash for RequestId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            RequestId::String(text) => text.hash(state),
            RequestId::Number(value) => value.hash(state),
            RequestId::Spelled(spelled) => match i64::try_from(spelled.value) {
                Ok(value) => value.hash(state),
                Err(_) => spelled.value.hash(state),
            },
        }
    }
}

impl From<i64> for RequestId {
    fn from(value: i64) -> Self {
        RequestId::Number(value)
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        RequestId::read(raw).ok_or_else(|| {
            let wanted = "a string of at most 1024 bytes or an integer";
            de::Error::custom(format!("`progressToken` and `requestId` must be {wanted}"))
        })
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            RequestId::Number(value) => serializer.serialize_i64(*value),
            RequestId::Spelled(spelled) => spelled.text.serialize(serializer),
            RequestId::String(text) => serializer.serialize_str(text),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestId::Number(value) => write!(f, "{value}"),
            RequestId::Spelled(spelled) => write!(f, "{}", spelled.value),
            RequestId::String(text) => write!(f, "{text:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<RequestId> {
        let raw: &RawValue = serde_json::from_str(text).expect("the row is JSON");
        RequestId::read(raw)
    }

    #[test]
    fn an_id_is_echoed_as_it_came() {
        let rows = [
            "0",
            "-0",
            "-7",
            "1.0",
            "7e0",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551616",
            "170141183460469231731687303715884105727",
            "12345678901234567890.000",
            r#""1""#,
            r#""""#,
        ];
        for text in rows {
            let id = read(text).expect("it is an id");
            assert_eq!(serde_json::to_string(&id).ok().as_deref(), Some(text));
        }
    }

    #[test]
    fn an_id_is_found_however_it_is_spelled() {
        for (left, right, same) in [
            ("1", "1.0", true),
            ("1", "10e-1", true),
            ("18446744073709551616", "18446744073709551616.0", true),
            ("18446744073709551616", "18446744073709551617", false),
            ("1", r#""1""#, false),
            (r#""a""#, r#""\u0061""#, true),
        ] {
            assert_eq!(read(left) == read(right), same, "{left} and {right}");
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let long = format!("\"{}\"", "x".repeat(ID_BYTES_MAX + 1));
        let longest = format!("\"{}\"", "x".repeat(ID_BYTES_MAX));
        let digits = format!("1.{}", "0".repeat(ID_BYTES_MAX));
        for text in [
            "null",
            "1.5",
            "1e-1",
            "true",
            "[1]",
            "{}",
            "1e99",
            &long,
            &digits,
            r#""\ud800""#,
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert!(read(&longest).is_some());
    }
}
