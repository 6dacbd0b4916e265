//! A sentence about what a peer has sent, however long that is.
//!
//! Errors of parsers repeat the value they did not expect, whole and escaped: of 4 MiB they would make 24. Pure.

use std::fmt::{self, Display, Write};

/// How long a sentence may be.
const BYTES_MAX: usize = 512;

/// A text that takes in no more than it may hold and its end mark, so that nobody formats what nobody will read.
pub(crate) struct Sentence(String);

impl Sentence {
    const CUT: &str = "...";

    /// What is written, cut where it is too long.
    pub(crate) fn write(write: impl FnOnce(&mut Sentence) -> fmt::Result) -> String {
        let mut sentence = Sentence(String::new());
        match write(&mut sentence) {
            Ok(()) => sentence.0,
            Err(fmt::Error) => sentence.0 + Self::CUT,
        }
    }

    /// What this says of itself, cut where it is too long.
    pub(crate) fn of(something: &impl Display) -> String {
        Self::write(|sentence| write!(sentence, "{something}"))
    }
}

impl Write for Sentence {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = BYTES_MAX - Self::CUT.len() - self.0.len();
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        let end = (0..=room).rev().find(|end| text.is_char_boundary(*end));
        self.0.push_str(&text[..end.unwrap_or_default()]);
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        let fits = "e".repeat(BYTES_MAX - 3);
        assert_eq!(Sentence::of(&fits), fits);
        assert_eq!(Sentence::of(&(fits.clone() + "e")), fits.clone() + "...");
        let wide = "é".repeat(BYTES_MAX);
        let cut = Sentence::of(&wide);
        assert!(cut.ends_with("é...") && cut.len() >= BYTES_MAX - 1 && cut.len() <= BYTES_MAX);
        let pieces = Sentence::write(|sentence| {
            (0..1000).try_for_each(|number| write!(sentence, "{number} "))
        });
        assert!(
            pieces.starts_with("0 1 2 ") && pieces.len() == BYTES_MAX,
            "{pieces}"
        );
    }
}
