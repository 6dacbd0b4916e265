//! URI templates of resources, such as `test://template/{id}/data`: which variables one has, and which values a URI gives them.
//!
//! Level 1 of RFC 6570 and nothing more, because templates of higher levels cannot be matched without guessing. Pure; must not know
//! resources or their handlers. Specification: `server/resources` ("Resource Templates") of revision 2026-07-28.

use std::collections::BTreeSet;

/// A template: literal text in which each `{name}` stands for one or more characters other than `/`, `?` and `#`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UriTemplate {
    /// The literal before the first variable.
    head: String,
    variables: Vec<Variable>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Variable {
    name: String,
    /// The literal that follows. Only the last one may be empty.
    tail: String,
}

/// Whether this begins as a URI does. Specification: RFC 3986, section 3.1.
pub(crate) fn has_scheme(uri: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    uri.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(is_part)
    })
}

impl UriTemplate {
    /// Reads a template; a template without variables is one, too, and matches itself.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with it.
    pub(crate) fn parse(template: &str) -> Result<UriTemplate, String> {
        let slip = |what: String| format!("URI template `{template}`: {what}");
        let mut pieces = template.split('{');
        let head = literal(pieces.next().unwrap_or_default()).map_err(slip)?;
        let mut variables: Vec<Variable> = Vec::new();
        let mut names = BTreeSet::new();
        for piece in pieces {
            let (name, tail) = piece
                .split_once('}')
                .ok_or_else(|| slip("a `{` has no `}`".into()))?;
            let name = variable_name(name).map_err(slip)?;
            let tail = literal(tail).map_err(slip)?;
            if let Some(last) = variables.last()
                && last.tail.is_empty()
            {
                return Err(slip(format!(
                    "`{{{}}}` and `{{{name}}}` need a literal between them, which says where the first one ends",
                    last.name
                )));
            }
            if !names.insert(name.clone()) {
                return Err(slip(format!("the variable `{name}` is there twice")));
            }
            variables.push(Variable { name, tail });
        }
        Ok(UriTemplate { head, variables })
    }

    /// The names of its variables, in order.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(|variable| &*variable.name)
    }

    /// The values that this URI, as a whole, gives to the variables, percent-decoded, in their order; `None` if it does not match.
    ///
    /// Where a URI can be divided in more than one way, each variable ends as early as it can, the first one first.
    /// A decoded value may be anything, `..` and `a/b` included: it is not safe as a path just because it matched.
    pub(crate) fn matches(&self, uri: &str) -> Option<Vec<(&str, String)>> {
        let mut rest = uri.strip_prefix(&*self.head)?;
        let mut values = Vec::with_capacity(self.variables.len());
        for (index, variable) in self.variables.iter().enumerate() {
            let is_last = index + 1 == self.variables.len();
            let (value, after) = split(rest, &variable.tail, is_last)?;
            values.push((&*variable.name, decoded(value)?));
            rest = after;
        }
        rest.is_empty().then_some(values)
    }
}

/// Divides the text into a value, the literal after it, and the rest.
///
/// The first place where the literal stands is the right one, so nothing is ever tried twice. The literal has a `/`, `?` or `#` in it: then
/// the first of these in the text is that one, and there is only one place. Or it has not: then the next value can as well begin earlier.
/// Both hold for percent-encoded characters because a literal consists of whole ones and is never looked for in the middle of one.
fn split<'a>(text: &'a str, literal: &str, is_last: bool) -> Option<(&'a str, &'a str)> {
    let mut end = unit(text)?;
    loop {
        let rest = &text[end..];
        let found = match is_last {
            true => (rest == literal).then_some(""),
            false => rest.strip_prefix(literal),
        };
        if let Some(after) = found {
            return Some((&text[..end], after));
        }
        end += unit(rest)?;
    }
}

/// The length of the character of a value that the text begins with, percent-encoded or not; `None` if none can stand there.
fn unit(text: &str) -> Option<usize> {
    match text.chars().next()? {
        '/' | '?' | '#' => None,
        '%' => encoded_octet(text.as_bytes()).map(|_| 3),
        char => Some(char.len_utf8()),
    }
}

/// The octet that these bytes begin with, if they begin with a percent-encoded one.
fn encoded_octet(bytes: &[u8]) -> Option<u8> {
    let &[b'%', high, low, ..] = bytes else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// The text with every percent-encoded octet decoded; `None` if one is malformed or the whole is not UTF-8.
fn decoded(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some(&first) = rest.first() {
        let (octet, length) = match first {
            b'%' => (encoded_octet(rest)?, 3),
            _ => (first, 1),
        };
        octets.push(octet);
        rest = &rest[length..];
    }
    String::from_utf8(octets).ok()
}

/// Checks a literal. RFC 6570, section 2.1, says what can stand in one; what an expansion would change is left out, so that a literal
/// and its expansion are the same text.
fn literal(text: &str) -> Result<String, String> {
    if let Some(char) = text.chars().find(|char| !is_literal(*char)) {
        return Err(match char {
            '}' => "a `}` has no `{`".into(),
            _ if char.is_ascii() => format!("{char:?} cannot stand in a URI"),
            _ => format!("write {char:?} percent-encoded, as it stands in a URI"),
        });
    }
    match decoded(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err(format!(
            "`{text}` has a `%` that does not begin a percent-encoded UTF-8 character"
        )),
    }
}

fn is_literal(char: char) -> bool {
    char.is_ascii_graphic() && !matches!(char, '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}')
}

/// Checks what stands between braces. RFC 6570, sections 2.2 to 2.4: operators, lists and modifiers belong to higher levels.
fn variable_name(text: &str) -> Result<String, String> {
    let Some(first) = text.chars().next() else {
        return Err("`{}` names no variable".into());
    };
    let is_operator = "+#./;?&=,!@|".contains(first);
    let is_modified = text.ends_with('*') || text.contains([',', ':']);
    if is_operator || is_modified {
        return Err(format!(
            "`{{{text}}}` is not supported; level 1 templates have plain `{{name}}` variables"
        ));
    }
    let is_name = text
        .split('.')
        .all(|part| !part.is_empty() && part.bytes().all(is_name_byte));
    match is_name {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "`{{{text}}}` is not a variable; a name has letters, digits, `_` and single dots between them"
        )),
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bad_template_is_refused_with_its_reason() {
        let rows = [
            ("a{", "a `{` has no `}`"),
            ("a{b", "a `{` has no `}`"),
            ("{a{b}}", "a `{` has no `}`"),
            ("a}b", "a `}` has no `{`"),
            ("{a}}", "a `}` has no `{`"),
            ("{}", "`{}` names no variable"),
            ("{a b}", "`{a b}` is not a variable"),
            ("{a-b}", "`{a-b}` is not a variable"),
            ("{a.}", "`{a.}` is not a variable"),
            ("{a..b}", "`{a..b}` is not a variable"),
            ("{é}", "`{é}` is not a variable"),
            ("{+path}", "`{+path}` is not supported"),
            ("{#a}", "`{#a}` is not supported"),
            ("{.a}", "`{.a}` is not supported"),
            ("{/a}", "`{/a}` is not supported"),
            ("{;a}", "`{;a}` is not supported"),
            (
                "x{?q}",
                "`{?q}` is not supported; level 1 templates have plain `{name}` variables",
            ),
            ("{&a}", "`{&a}` is not supported"),
            ("{=a}", "`{=a}` is not supported"),
            ("{a,b}", "`{a,b}` is not supported"),
            ("{a:3}", "`{a:3}` is not supported"),
            ("{a*}", "`{a*}` is not supported"),
            ("{a}/{b}/{a}", "the variable `a` is there twice"),
            ("{a}{b}", "`{a}` and `{b}` need a literal between them"),
            ("a b/{c}", "' ' cannot stand in a URI"),
            ("a\n{c}", "'\\n' cannot stand in a URI"),
            ("é/{c}", "write 'é' percent-encoded"),
            ("%{c}", "`%` has a `%` that does not begin"),
            ("{c}/%4", "has a `%` that does not begin"),
            ("{c}%zz", "has a `%` that does not begin"),
            ("{c}%A9", "has a `%` that does not begin"),
        ];
        for (template, expected) in rows {
            let error = UriTemplate::parse(template).expect_err(template);
            assert!(
                error.contains(expected) && error.contains(&format!("`{template}`")),
                "{template}: {error}"
            );
        }
    }

    /// The values by `=` and `;`, or `-` for no match.
    fn matched(template: &str, uri: &str) -> String {
        let template = UriTemplate::parse(template).expect(template);
        match template.matches(uri) {
            None => "-".into(),
            Some(values) => values
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect::<Vec<_>>()
                .join(";"),
        }
    }

    #[test]
    fn a_uri_matches_as_a_whole_or_not_at_all() {
        let data = "test://template/{id}/data";
        let rows = [
            (data, "test://template/123/data", "id=123"),
            (data, "test://template//data", "-"),
            (data, "test://template/1/2/data", "-"),
            (data, "test://template/1/data/", "-"),
            (data, "xtest://template/1/data", "-"),
            (data, "test://template/1/dat", "-"),
            (data, "TEST://template/1/data", "-"),
            (data, "test://template/a%2Fb/data", "id=a/b"),
            (data, "test://template/..%2f../data", "id=../.."),
            (data, "test://template/%C3%A9é /data", "id=éé "),
            (data, "test://template/%C3/data", "-"),
            (data, "test://template/%/data", "-"),
            (data, "test://template/%4/data", "-"),
            (data, "test://template/%+1/data", "-"),
            (data, "test://template/%é/data", "-"),
            (data, "test://template/a?b/data", "-"),
            (data, "test://template/a#b/data", "-"),
            (data, "test://template/+/data", "id=+"),
            (data, "", "-"),
            ("", "", ""),
            ("", "a", "-"),
            ("a://b", "a://b", ""),
            ("a://b", "a://bc", "-"),
            ("{a}", "x", "a=x"),
            ("{a}", "", "-"),
            ("{a}", "x/y", "-"),
            ("a:{b}/{c}", "a:x/y", "b=x;c=y"),
            ("a:{b}/{c}", "a:x/y/z", "-"),
            ("a:{b}/{c}", "a:x/", "-"),
            ("a:{b}?q={c}", "a:x?q=y", "b=x;c=y"),
            ("{a}-{b}", "x-y-z", "a=x;b=y-z"),
            ("{a}-{b}", "--x", "a=-;b=x"),
            ("{a}-{b}", "---", "a=-;b=-"),
            ("{a}-{b}", "--", "-"),
            ("{a}-{b}.x", "1-2.x.x", "a=1;b=2.x"),
            ("{a}x/{b}", "xxx/y", "a=xx;b=y"),
            // A literal is not looked for inside a percent-encoded character.
            ("{a}2{b}", "%202x", "a= ;b=x"),
            ("{a}%20{b}", "x%20y", "a=x;b=y"),
            ("{a.b}.{c_1}", "1.2", "a.b=1;c_1=2"),
        ];
        for (template, uri, expected) in rows {
            assert_eq!(matched(template, uri), expected, "{template} on {uri}");
        }
    }

    #[test]
    fn variables_are_listed_in_order() {
        let template = UriTemplate::parse("x:{b}/{a}?{c.d}").expect("a template");
        assert_eq!(template.variables().collect::<Vec<_>>(), ["b", "a", "c.d"]);
    }

    #[test]
    fn a_long_uri_costs_no_more_than_its_length() {
        let template = (0..40).fold("x:".to_owned(), |text, n| format!("{text}{{v{n}}}-"));
        let template = UriTemplate::parse(&template).expect("a template");
        // With backtracking this would not end.
        let uri = format!("x:{}", "-".repeat(100_000));
        assert!(template.matches(&uri).is_some());
        assert!(template.matches(&format!("{uri}!")).is_none());
    }

    /// RFC 6570, section 3.2.2: everything but the unreserved characters is percent-encoded.
    fn expand(template: &UriTemplate, values: &[String]) -> String {
        let mut uri = template.head.clone();
        for (variable, value) in template.variables.iter().zip(values) {
            for byte in value.bytes() {
                match byte {
                    b'-' | b'.' | b'_' | b'~' => uri.push(byte.into()),
                    _ if byte.is_ascii_alphanumeric() => uri.push(byte.into()),
                    _ => uri.push_str(&format!("%{byte:02X}")),
                }
            }
            uri.push_str(&variable.tail);
        }
        uri
    }

    /// Every way to divide the text, tried in the order that prefers early ends.
    fn naive(variables: &[Variable], text: &str) -> Option<Vec<String>> {
        let Some((variable, others)) = variables.split_first() else {
            return text.is_empty().then(Vec::new);
        };
        let ends = (1..=text.len()).filter(|end| text.is_char_boundary(*end));
        ends.into_iter().find_map(|end| {
            let value = &text[..end];
            if value.contains(['/', '?', '#']) {
                return None;
            }
            let value = decoded(value)?;
            let mut values = naive(others, text[end..].strip_prefix(&*variable.tail)?)?;
            values.insert(0, value);
            Some(values)
        })
    }

    fn any_template(literals: &'static str) -> impl Strategy<Value = UriTemplate> {
        let tails = prop::collection::vec(literals, 0..4);
        ("[a-z]{0,3}", tails, prop::option::of(literals)).prop_map(|(head, tails, last)| {
            let mut text = head;
            for (index, tail) in tails.iter().enumerate() {
                text += &format!("{{v{index}}}{tail}");
            }
            match last {
                Some(last) => text += &last,
                None => text += "{last}",
            }
            UriTemplate::parse(&text).expect("it is made of what may stand in one")
        })
    }

    proptest! {
        #[test]
        fn what_was_expanded_is_found_again(
            template in any_template("[/:?&=!]{1,3}"),
            values in prop::collection::vec(".{1,8}|[%/ é2]{1,8}", 5),
        ) {
            let values: Vec<_> = values.into_iter().take(template.variables.len()).collect();
            let found = template.matches(&expand(&template, &values));
            let expected = template.variables().zip(values).collect();
            prop_assert_eq!(found, Some(expected));
        }

        #[test]
        fn agrees_with_trying_everything(
            template in any_template("[ab2/]|[ab2/]{2}|%20|%C3%A9"),
            units in prop::collection::vec("[ab2/]|%20|%C3%A9|%|é", 0..10),
        ) {
            let uri = format!("{}{}", template.head, units.concat());
            let found = template.matches(&uri);
            let values = found.map(|found| found.into_iter().map(|(_, value)| value).collect::<Vec<_>>());
            prop_assert_eq!(values, naive(&template.variables, &units.concat()));
        }

        #[test]
        fn never_panics(template in ".*|[{}a%0]*", uri in ".*|[a%0é]*") {
            if let Ok(template) = UriTemplate::parse(&template) {
                template.matches(&uri);
            }
        }
    }
}
