//! A digest of JSON that depends on what it says and not on how it is written.
//!
//! The order of members, white space, and the spelling of numbers and strings do not matter; every digit of a number does. Made in one pass over
//! the text, without a tree. Pure.

use std::borrow::Cow;

use hmac_sha256::Hash;
use serde_json::value::RawValue;

use crate::base::heap;
use crate::protocol::number::Decimal;
use crate::protocol::text::Text;
use crate::protocol::tree::end_of_string;

pub(crate) type Digest = [u8; 32];

/// How many members may wait to be sorted at once: those of one object, and of the objects around it. With more, the text has to come again as it was.
const MEMBERS_MAX: usize = 128 * 1024;

/// The digest of a request's arguments; none are the same as `{}`.
pub(crate) fn digest_of(arguments: Option<&RawValue>) -> Digest {
    let text = arguments.map_or("{}", RawValue::get);
    let mut hash = Hash::new();
    let mut walk = Walk {
        text,
        at: 0,
        waiting: 0,
    };
    if walk.value(&mut hash).is_some() {
        return hash.finalize();
    }
    // Half of a surrogate pair, an exponent beyond 64 bits, too many members: it has to come again as it was. No tag is a NUL.
    let mut hash = Hash::new();
    hash.update(b"\0");
    hash.update(text);
    hash.finalize()
}

/// Goes once over a valid JSON text. Every value is hashed with a tag, and with its length where nothing else ends it, so that no two values
/// run into each other. `None` for what has no canonical form.
struct Walk<'a> {
    text: &'a str,
    at: usize,
    waiting: usize,
}

impl<'a> Walk<'a> {
    fn value(&mut self, hash: &mut Hash) -> Option<()> {
        match self.next()? {
            b'{' => self.object(hash)?,
            b'[' => {
                hash.update(b"[");
                while self.next_in(b']')? {
                    self.value(hash)?;
                }
                hash.update(b"]");
            }
            b'"' => string(&self.string()?, hash),
            _ => {
                let rest = &self.text[self.at..];
                let ends = |char: char| char.is_ascii_whitespace() || ",]}".contains(char);
                let token = &rest[..rest.find(ends).unwrap_or(rest.len())];
                self.at += token.len();
                match token {
                    "null" | "true" | "false" => hash.update(token),
                    number => decimal(&Decimal::read(number)?, hash),
                }
            }
        }
        Some(())
    }

    /// Its members are hashed one by one, and sorted by their hashes.
    fn object(&mut self, hash: &mut Hash) -> Option<()> {
        let mut members: Vec<Digest> = Vec::new();
        while self.next_in(b'}')? {
            let mut member = Hash::new();
            string(&self.string()?, &mut member);
            // The colon.
            self.next()?;
            self.at += 1;
            self.value(&mut member)?;
            heap::reserve(&mut members, 1);
            members.push(member.finalize());
            self.waiting += 1;
            if self.waiting > MEMBERS_MAX {
                return None;
            }
        }
        self.waiting -= members.len();
        members.sort_unstable();
        hash.update(b"{");
        hash.update(members.len().to_be_bytes());
        members.iter().for_each(|member| hash.update(member));
        Some(())
    }

    /// The first byte of what comes next.
    fn next(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let blanks = rest.iter().take_while(|byte| byte.is_ascii_whitespace());
        self.at += blanks.count();
        self.text.as_bytes().get(self.at).copied()
    }

    /// Steps over an opening bracket or a comma, or over the bracket that closes. Whether there is one more inside.
    fn next_in(&mut self, close: u8) -> Option<bool> {
        let byte = self.next()?;
        self.at += usize::from(matches!(byte, b'[' | b'{' | b','));
        let is_over = self.next()? == close;
        self.at += usize::from(is_over);
        Some(!is_over)
    }

    /// Steps over a string.
    fn string(&mut self) -> Option<Cow<'a, str>> {
        let from = self.at;
        self.at = end_of_string(self.text.as_bytes(), from + 1);
        let quoted = self.text.get(from..self.at)?;
        let text = quoted.strip_prefix('"')?.strip_suffix('"')?;
        match text.contains('\\') {
            false => Some(Cow::Borrowed(text)),
            true => serde_json::from_str(quoted).ok().map(|Text(text)| text),
        }
    }
}

fn string(text: &str, hash: &mut Hash) {
    hash.update(b"\"");
    hash.update(text.len().to_be_bytes());
    hash.update(text);
}

fn decimal(number: &Decimal, hash: &mut Hash) {
    hash.update(if number.is_negative { b"-" } else { b"+" });
    hash.update(number.exponent.to_be_bytes());
    string(&number.digits, hash);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn digest(text: &str) -> Digest {
        let raw: &RawValue = serde_json::from_str(text).expect("the row is JSON");
        digest_of(Some(raw))
    }

    #[test]
    fn arguments_have_one_digest_however_they_are_written() {
        let same = [
            (
                r#"{"a":1,"b":[2,{"c":3,"d":4}]}"#,
                " { \"b\" : [ 2 , {\"d\":4,\"c\":3} ] ,\n\"a\":1 }",
            ),
            (r#"{"a":[]}"#, "{\"a\" : [ \t]}"),
            (r#"{"a":{}}"#, "{\"a\":{ }\r}"),
            (r#"{"a":1}"#, r#"{"a":1.0}"#),
            (r#"{"a":1200}"#, r#"{"a":1.2E3}"#),
            (r#"{"a":0}"#, r#"{"a":-0.0}"#),
            (r#"{"a":0.5}"#, r#"{"a":5e-1}"#),
            (r#"{"a":20000000000000000000}"#, r#"{"a":2e19}"#),
            (r#"{"aé/":"\n"}"#, r#"{"\u0061\u00e9\/":"\u000A"}"#),
            (r#"{"a\"b":"\\"}"#, r#"{"a\u0022b":"\u005c"}"#),
        ];
        for (left, right) in same {
            assert_eq!(digest(left), digest(right), "{left} and {right}");
        }
        assert_eq!(digest_of(None), digest("{}"));
    }

    #[test]
    fn different_arguments_have_different_digests() {
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        let deeper = format!("{}{}", "[".repeat(101), "]".repeat(101));
        let all = [
            "{}",
            "[]",
            "[[]]",
            "[[],[]]",
            "[{}]",
            r#""""#,
            "null",
            "true",
            r#"{"a":1}"#,
            r#"{"a":"1"}"#,
            r#"{"a":"null"}"#,
            r#"{"a":null}"#,
            r#"{"a":-1}"#,
            r#"{"a":10}"#,
            r#"{"a":1.5}"#,
            r#"{"b":1}"#,
            r#"{"a":1,"b":1}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"a":2}"#,
            r#"{"a":{"b":1}}"#,
            r#"{"a":[1,2]}"#,
            r#"{"a":[2,1]}"#,
            r#"{"a":[12]}"#,
            r#"{"a":["b","c"]}"#,
            r#"{"a":["bc"]}"#,
            r#"{"a":9007199254740992}"#,
            r#"{"a":9007199254740993}"#,
            r#"{"a":18446744073709551615}"#,
            r#"{"a":20000000000000000000}"#,
            r#"{"a":20000000000000001023}"#,
            r#"{"a":0.1}"#,
            r#"{"a":0.10000000000000000001}"#,
            r#"{"a":1e400}"#,
            r#"{"a":1e99999999999999999999}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"a":"\ud801"}"#,
            &deep,
            &deeper,
        ];
        for (index, left) in all.iter().enumerate() {
            for right in &all[index + 1..] {
                assert_ne!(digest(left), digest(right), "{left} and {right}");
            }
        }
    }

    #[test]
    fn with_too_many_members_the_text_itself_counts() {
        let members = |range: std::ops::Range<usize>| {
            let members: Vec<_> = range.map(|number| format!("\"{number}\":0")).collect();
            members.join(",")
        };
        let object = |left: &str, right: &str| digest(&format!("{{{left},{right}}}"));
        let rest = members(1..MEMBERS_MAX);
        assert_eq!(object(r#""a":0"#, &rest), object(&rest, r#""a":0"#));
        let rest = members(0..MEMBERS_MAX);
        assert_ne!(object(r#""a":0"#, &rest), object(&rest, r#""a":0"#));
        // Those of objects that are closed wait no longer.
        let list = format!("{{{rest}}}");
        let list = |last: &str| digest(&format!("[{list},{list},{{{last}}}]"));
        assert_eq!(list(r#""a":1,"b":2"#), list(r#""b":2,"a":1"#));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a\"\\\\é\n]{0,3}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[ab\"]{0,2}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn only_what_it_says_counts(left in any_json(), right in any_json()) {
            let plain = digest(&left.to_string());
            let pretty = serde_json::to_string_pretty(&left).expect("a Value is JSON");
            prop_assert_eq!(plain, digest(&pretty));
            prop_assert_eq!(plain == digest(&right.to_string()), left == right);
            let (one, other) = (json!([left, right]), json!([right, left]));
            prop_assert_eq!(digest(&one.to_string()) == digest(&other.to_string()), one == other);
        }
    }
}
