//! Words with placeholders: `--branch={branch}`. What fills a placeholder is data and never read again.
//!
//! Must not know where the values come from.

use std::collections::BTreeMap;

/// A text with placeholders, `{name}`; `{{` and `}}` are the braces themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Slot(String),
}

/// The text of an argument: one word, or the items of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Filling {
    One(String),
    Many(Vec<String>),
}

/// What a word takes beside its text.
pub(super) const WORD_BYTES: usize = 64;

/// What words take, in bytes.
pub(super) fn words_bytes(words: &[String]) -> usize {
    words.iter().map(|word| word.len() + WORD_BYTES).sum()
}

/// What fills the placeholders; an absent one is an optional argument that was not given.
pub(super) type Fillings = BTreeMap<String, Filling>;

impl Template {
    /// Reads one; a sentence says what is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(behind) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = behind;
                continue;
            }
            let end = rest.find('}').filter(|_| brace == "{");
            let Some(end) = end else {
                return Err(format!(
                    "`{brace}` stands alone; write `{brace}{brace}` for the brace itself, or `{{name}}` for an argument"
                ));
            };
            let name = rest[..end].trim();
            if name.is_empty() || name.contains(['{', ' ']) {
                return Err(format!(
                    "`{{{name}}}` names no argument; write `{{{{` for a brace itself"
                ));
            }
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Slot(name.to_owned()));
            rest = &rest[end + 1..];
        }
        plain.push_str(rest);
        if !plain.is_empty() || parts.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Template(parts))
    }

    /// The names in it.
    pub(super) fn slots(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Slot(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// Whether the value of an argument would begin the word.
    pub(super) fn begins_with_slot(&self) -> bool {
        matches!(self.0.first(), Some(Part::Slot(_)))
    }

    /// The text, if it has no placeholders.
    pub(super) fn plain(&self) -> Option<&str> {
        match &self.0[..] {
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The words that it becomes: one; none when an argument in it is absent; one for each item when there is an array in it. A sentence when they
    /// would take more than so many bytes: a text beside an array, and an array beside another, come to the product of both.
    pub(super) fn words(
        &self,
        fillings: &Fillings,
        bytes_max: usize,
    ) -> Result<Vec<String>, String> {
        let mut words = vec![String::new()];
        for part in &self.0 {
            let filling = match part {
                Part::Text(text) => &Filling::One(text.clone()),
                Part::Slot(name) => match fillings.get(name) {
                    None => return Ok(Vec::new()),
                    Some(filling) => filling,
                },
            };
            let items = match filling {
                Filling::One(text) => std::slice::from_ref(text),
                Filling::Many(items) => items,
            };
            allow(&words, items, bytes_max)?;
            words = words
                .iter()
                .flat_map(|word| items.iter().map(move |item| format!("{word}{item}")))
                .collect();
        }
        Ok(words)
    }

    /// One text for people: items with commas, nothing for what is absent.
    pub(super) fn text(&self, fillings: &Fillings) -> String {
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Slot(name) => match fillings.get(name) {
                None => String::new(),
                Some(Filling::One(text)) => text.clone(),
                Some(Filling::Many(items)) => items.join(", "),
            },
        });
        parts.collect()
    }
}

/// Whether each of these words may be followed by each of these items. One word is as long as what is in it, and never too much.
fn allow(words: &[String], items: &[String], bytes_max: usize) -> Result<(), String> {
    let bytes = |texts: &[String]| texts.iter().map(String::len).sum::<usize>();
    let count = words.len().saturating_mul(items.len());
    let total = (bytes(words).saturating_mul(items.len()))
        .saturating_add(bytes(items).saturating_mul(words.len()))
        .saturating_add(count.saturating_mul(WORD_BYTES));
    match count > 1 && total > bytes_max {
        true => Err(too_many(total, bytes_max)),
        false => Ok(()),
    }
}

/// What is said of words that take too much.
pub(super) fn too_many(bytes: usize, bytes_max: usize) -> String {
    format!(
        "the arguments make words of a command that are too many bytes ({bytes}; the most are {bytes_max})"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    fn fillings() -> Fillings {
        let one = |text: &str| Filling::One(text.to_owned());
        let many = |items: &[&str]| Filling::Many(items.iter().map(ToString::to_string).collect());
        BTreeMap::from([
            ("a".to_owned(), one("1")),
            ("odd".to_owned(), one("{a} $(x) `y`")),
            ("list".to_owned(), many(&["x", "y z"])),
            ("empty".to_owned(), many(&[])),
        ])
    }

    #[test]
    fn a_word_is_filled_spread_or_left_out() {
        let rows: &[(&str, &[&str], &str)] = &[
            ("plain", &["plain"], "plain"),
            ("", &[""], ""),
            ("{a}", &["1"], "1"),
            ("--x={a}-{a}", &["--x=1-1"], "--x=1-1"),
            ("{odd}", &["{a} $(x) `y`"], "{a} $(x) `y`"),
            ("{list}", &["x", "y z"], "x, y z"),
            ("-f={list}", &["-f=x", "-f=y z"], "-f=x, y z"),
            ("{empty}", &[], ""),
            ("--x={absent}", &[], "--x="),
            ("{{a}} {a}", &["{a} 1"], "{a} 1"),
        ];
        for (text, words, shown) in rows {
            let template = Template::parse(text).expect("it is one");
            let filled = template.words(&fillings(), MIB).expect("they are few");
            assert_eq!(filled, *words, "{text}");
            assert_eq!(template.text(&fillings()), *shown, "{text}");
        }
    }

    #[test]
    fn law_9_arrays_do_not_multiply_without_a_bound() {
        let many = |count| Filling::Many(vec!["x".to_owned(); count]);
        let fillings = BTreeMap::from([
            ("text".to_owned(), Filling::One("n".repeat(MIB))),
            ("ten".to_owned(), many(10)),
            ("thousand".to_owned(), many(1000)),
            ("million".to_owned(), many(1_000_000)),
        ]);
        for (text, count) in [
            ("{text}{text}{text}-{text}", Some(1)),
            ("{text}{ten}", Some(10)),
            ("{ten}{thousand}", Some(10_000)),
            ("{text}{thousand}", None),
            ("{thousand}{text}", None),
            ("{thousand}{thousand}", None),
            ("{ten}{ten}{ten}{ten}{ten}{ten}{ten}{ten}", None),
            ("{million}{million}{million}{million}", None),
        ] {
            let template = Template::parse(text).expect("it is one");
            let words = template.words(&fillings, 32 * MIB);
            assert_eq!(words.ok().map(|words| words.len()), count, "{text}");
        }
    }

    #[test]
    fn a_lonely_brace_is_a_mistake() {
        for text in ["{", "}", "a{b", "{}", "{a b}", "{a{b}}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
