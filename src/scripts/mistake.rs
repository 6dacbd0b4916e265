//! What is wrong with a file of scripts: where, what, and what to write instead.
//!
//! Must not know what a file can say.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong with a file of scripts, or that clients may dislike.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// The column, in characters from 1.
    pub column: usize,
    /// What is wrong and what to write, in a sentence.
    pub message: String,
    /// Whether the file works nevertheless.
    pub is_warning: bool,
}

/// Everything that is wrong with a file of scripts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mistakes {
    /// The file, as it was named.
    pub file: PathBuf,
    /// In the order of the file.
    pub list: Vec<Mistake>,
}

impl fmt::Display for Mistakes {
    /// One line for each: `tools.toml:3:5: error: ..`, as compilers write and editors read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        for (at, mistake) in self.list.iter().enumerate() {
            let (line, column, message) = (mistake.line, mistake.column, &mistake.message);
            let between = if at == 0 { "" } else { "\n" };
            let kind = ["error", "warning"][usize::from(mistake.is_warning)];
            write!(f, "{between}{file}:{line}:{column}: {kind}: {message}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// The line and column of a byte of the text.
pub(super) fn position(text: &str, at: usize) -> (usize, usize) {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}

/// The known word that is nearest to this one, if any is near: with a third of its characters changed, added, taken away or swapped with their neighbour
/// (optimal string alignment).
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = known
        .into_iter()
        .map(|known| (strsim::osa_distance(word, known), known));
    let (distance, known) = near.min_by_key(|(distance, _)| *distance)?;
    let allowed = word.chars().count().max(known.chars().count()) / 3;
    (distance <= allowed.max(1)).then_some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_near() {
        let known = ["description", "name", "run", "read_only"];
        for (word, expected) in [
            ("descripton", Some("description")),
            ("nmae", Some("name")),
            ("readonly", Some("read_only")),
            ("rum", Some("run")),
            ("colour", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }

    #[test]
    fn a_position_counts_characters() {
        let text = "a\nä€ b\n";
        let at = |needle| position(text, text.find(needle).expect("it is there"));
        assert_eq!((at("a"), at("ä"), at("b")), ((1, 1), (2, 1), (2, 4)));
        assert_eq!(position(text, 999), (3, 1));
    }
}
