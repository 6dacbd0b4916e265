//! A request as nearly every client writes it, read in one pass over its text.
//!
//! A fast path: names are told apart by comparing bytes, and what stays raw is checked in passing, so that nothing is looked at twice. Whatever is out of the
//! ordinary (line breaks, an escape in a name, a member twice, one that is seldom sent, a `null`, deep nesting, a mistake) is left to the slow path, which reads
//! part by part and says what is wrong. Pure.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::base::limits::Limits;
use crate::protocol::id::RequestId;
use crate::protocol::jsonrpc::Request;
use crate::protocol::meta::{Meta, Params};
use crate::protocol::raw;
use crate::protocol::text::Text;

/// What nests deeper is out of the ordinary: skipping it recurses.
const DEPTH_MAX: usize = 32;

/// A whole request and its parameters, within the bounds of a message. `None` if anything about it is out of the ordinary.
pub(crate) fn request<'a>(
    text: &'a str,
    limits: &Limits,
) -> Option<(Request<'a>, Box<Params<'a>>)> {
    let text = text.trim_end_matches([' ', '\t', '\r', '\n']);
    // Two values begin at least two bytes apart.
    let may_have_too_many = text.len() / 2 >= limits.json_values_max;
    if may_have_too_many || has_control(text.as_bytes()) {
        return None;
    }
    let mut json = PlainText {
        text,
        rest: text.as_bytes(),
        depth_left: limits.json_depth_max.min(DEPTH_MAX),
    };
    let mut is_version_2 = false;
    let (mut id, mut method, mut params) = (None, None, None);
    json.object(|json| match () {
        () if !is_version_2 && json.is_name(r#""jsonrpc""#) => {
            json.skip_white_space();
            json.rest = json.rest.strip_prefix(br#""2.0""#)?;
            is_version_2 = true;
            Some(())
        }
        () if json.is_name(r#""id""#) => json.id(&mut id),
        () if json.is_name(r#""method""#) => json.text(&mut method),
        () if params.is_none() && json.is_name(r#""params""#) => {
            params = Some(Box::default());
            json.params(params.as_mut()?)
        }
        () => None,
    })?;
    json.rest.is_empty().then_some(())?;
    is_version_2.then_some(())?;
    let request = Request {
        id: id?,
        method: method?.0,
        params: None,
    };
    Some((request, params?))
}

/// Whether one of these bytes is a control character. All are looked at, without a branch, so that the compiler makes vector instructions of it.
fn has_control(bytes: &[u8]) -> bool {
    const STRIDE: usize = 256;
    let least = |stride: &[u8]| stride.iter().fold(u8::MAX, |least, byte| least.min(*byte));
    bytes.chunks(STRIDE).any(|stride| least(stride) < b' ')
}

/// A text without control characters on its way through.
struct PlainText<'a> {
    text: &'a str,
    /// What has not been read yet.
    rest: &'a [u8],
    /// How many lists and objects may be opened within those that are open.
    depth_left: usize,
}

impl<'a> PlainText<'a> {
    fn params(&mut self, params: &mut Params<'a>) -> Option<()> {
        self.object(|json| match () {
            () if json.is_name(r#""name""#) => json.text(&mut params.name),
            () if json.is_name(r#""arguments""#) => json.raw(&mut params.arguments),
            () if params.meta.is_none() && json.is_name(r#""_meta""#) => {
                json.meta(params.meta.insert(Meta::default()))
            }
            () if json.is_name(r#""uri""#) => json.text(&mut params.uri),
            () if json.is_name(r#""cursor""#) => json.text(&mut params.cursor),
            () if json.is_name(r#""inputResponses""#) => json.raw(&mut params.input_responses),
            () if json.is_name(r#""requestState""#) => json.text(&mut params.request_state),
            () if json.is_name(r#""taskId""#) => json.text(&mut params.task_id),
            () => None,
        })
    }

    fn meta(&mut self, meta: &mut Meta<'a>) -> Option<()> {
        self.object(|json| match () {
            () if json.is_name(r#""io.modelcontextprotocol/protocolVersion""#) => {
                json.text(&mut meta.protocol_version)
            }
            () if json.is_name(r#""io.modelcontextprotocol/clientCapabilities""#) => {
                json.raw(&mut meta.client_capabilities)
            }
            () if json.is_name(r#""io.modelcontextprotocol/clientInfo""#) => {
                json.raw(&mut meta.client_info)
            }
            () if json.is_name(r#""io.modelcontextprotocol/logLevel""#) => {
                json.value(&mut meta.log_level)
            }
            () if json.is_name(r#""progressToken""#) => json.value(&mut meta.progress_token),
            () if json.is_name(r#""traceparent""#) => json.raw(&mut meta.traceparent),
            () if json.is_name(r#""tracestate""#) => json.raw(&mut meta.tracestate),
            () if json.is_name(r#""baggage""#) => json.raw(&mut meta.baggage),
            () => json
                .string()
                .and(json.take(b':'))
                .and_then(|()| json.skip()),
        })
    }

    /// An object, whose members `read` takes, from their names on.
    fn object(&mut self, mut read: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.members([b'{', b'}'], |json| {
            json.skip_white_space();
            read(json)
        })
    }

    /// Goes behind this name, given in its quotes, and its colon, if they are next. To compare takes less than to find where a name ends.
    #[inline(always)]
    fn is_name(&mut self, quoted: &str) -> bool {
        let behind = self.rest.strip_prefix(quoted.as_bytes());
        let value = behind.and_then(|rest| rest.trim_ascii_start().strip_prefix(b":"));
        let Some(value) = value else {
            return false;
        };
        self.rest = value;
        true
    }

    /// What stands between these brackets, whose members `read` takes.
    fn members(
        &mut self,
        [open, close]: [u8; 2],
        mut read: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        self.take(open)?;
        self.depth_left = self.depth_left.checked_sub(1)?;
        if self.take(close).is_none() {
            loop {
                read(self)?;
                if self.take(b',').is_none() {
                    break self.take(close)?;
                }
            }
        }
        self.depth_left += 1;
        Some(())
    }

    /// This byte, if it is the next one behind white space.
    fn take(&mut self, byte: u8) -> Option<()> {
        self.skip_white_space();
        let (first, rest) = self.rest.split_first()?;
        (*first == byte).then(|| self.rest = rest)
    }

    /// All other white space is control characters.
    fn skip_white_space(&mut self) {
        while let [b' ', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    fn next(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Where what has not been read yet begins.
    fn at(&self) -> usize {
        self.text.len() - self.rest.len()
    }

    /// Goes behind so many bytes: their text.
    fn pass(&mut self, len: usize) -> Option<&'a str> {
        let from = self.at();
        self.rest = self.rest.get(len..)?;
        self.text.get(from..from + len)
    }

    /// A string without escapes.
    fn string(&mut self) -> Option<&'a str> {
        self.take(b'"')?;
        let string = self.pass(clean_len(self.rest)?)?;
        // Here white space is no white space.
        self.rest = self.rest.strip_prefix(b"\"")?;
        Some(string)
    }

    fn text(&mut self, into: &mut Option<Text<'a>>) -> Option<()> {
        let text = Text(Cow::Borrowed(self.string()?));
        into.replace(text).is_none().then_some(())
    }

    fn id(&mut self, into: &mut Option<RequestId>) -> Option<()> {
        self.skip_white_space();
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit());
        let digits = digits.count();
        let is_short = (1..=18).contains(&digits) && (digits == 1 || self.next() != Some(b'0'));
        if !is_short {
            return self.value(into);
        }
        let id = self.pass(digits)?.parse::<i64>().ok()?;
        into.replace(id.into()).is_none().then_some(())
    }

    /// Any value but `null`, as serde_json reads it.
    fn value<T: Deserialize<'a>>(&mut self, into: &mut Option<T>) -> Option<()> {
        let value: Option<T> = serde_json::from_str(self.json()?).ok()?;
        into.replace(value?).is_none().then_some(())
    }

    /// Any value but `null`, as it is.
    fn raw(&mut self, into: &mut Option<&'a RawValue>) -> Option<()> {
        let json = self.json().filter(|json| *json != "null")?;
        into.replace(raw::of(json)?).is_none().then_some(())
    }

    /// The text of any value.
    fn json(&mut self) -> Option<&'a str> {
        self.skip_white_space();
        let from = self.at();
        self.skip()?;
        self.text.get(from..self.at())
    }

    /// Goes behind a value.
    fn skip(&mut self) -> Option<()> {
        self.skip_white_space();
        match self.next()? {
            b'"' => self.skip_string(),
            b'{' => self.members([b'{', b'}'], |json| {
                json.skip_string()?;
                json.take(b':')?;
                json.skip()
            }),
            b'[' => self.members([b'[', b']'], Self::skip),
            // A number or a word.
            _ => {
                let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ');
                let len = self.rest.iter().position(ends)?;
                serde_json::from_str(self.pass(len)?)
                    .ok()
                    .map(|IgnoredAny| ())
            }
        }
    }

    fn skip_string(&mut self) -> Option<()> {
        self.take(b'"')?;
        loop {
            self.rest = match self.rest.get(clean_len(self.rest)?..)? {
                [b'"', rest @ ..] => {
                    self.rest = rest;
                    break Some(());
                }
                [
                    _,
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't',
                    rest @ ..,
                ] => rest,
                [_, b'u', digits @ ..] => {
                    let (digits, rest) = digits.split_first_chunk::<4>()?;
                    digits.iter().all(u8::is_ascii_hexdigit).then_some(rest)?
                }
                _ => break None,
            };
        }
    }
}

/// How many bytes stand before the first quote or backslash, if there is one. First looks at eight at once, in a word: names are short.
fn clean_len(bytes: &[u8]) -> Option<usize> {
    const LOWEST: u64 = u64::from_ne_bytes([1; 8]);
    const SHORT: usize = 48;
    let words = bytes[..bytes.len().min(SHORT)].chunks_exact(8);
    let mut looked_at = 0;
    for word in words {
        let word = u64::from_le_bytes(word.try_into().ok()?);
        let is = |byte: u8| {
            let differs = word ^ (LOWEST * u64::from(byte));
            differs.wrapping_sub(LOWEST) & !differs
        };
        // Each byte that is found has its highest bit set. What was borrowed can set others, but only behind the first.
        let found = (is(b'"') | is(b'\\')) & (LOWEST << 7);
        if found != 0 {
            return Some(looked_at + found.trailing_zeros() as usize / 8);
        }
        looked_at += 8;
    }
    let found = memchr::memchr2(b'"', b'\\', &bytes[looked_at..]);
    found.map(|at| looked_at + at)
}

#[cfg(test)]
mod tests;
