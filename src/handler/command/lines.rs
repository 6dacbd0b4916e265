//! What a command says, as lines that can be shown to a person: whole, cut at characters, without terminal escapes.
//!
//! Must not know where the bytes come from or who is shown the lines.

use std::time::{Duration, Instant};

use crate::base::awake;

/// Bytes of one line that are kept to be shown; the rest of the line is skipped.
const LINE_BYTES_MAX: usize = 1024;

/// Lines of one piece of output that are shown, the newest; a flood of lines is no more readable than its end.
const LINES_PER_PIECE_MAX: usize = 16;

/// How long a line may be unfinished before what there is of it is shown: a prompt, a row of dots.
const UNFINISHED_AFTER: Duration = Duration::from_millis(100);

/// Cuts one stream of bytes into lines. A line ends with `\n` or `\r`; blank ones are left out.
#[derive(Debug, Default)]
pub(super) struct LineCutter {
    /// The beginning of the line that has not ended yet.
    rest: Vec<u8>,
    /// When the rest is to be shown unfinished; `None` when all of it has been.
    due: Option<Instant>,
}

impl LineCutter {
    /// Takes the next piece and gives its newest lines to `show`.
    pub(super) fn feed(&mut self, piece: &[u8], mut show: impl FnMut(&str)) {
        let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let ended = piece.iter().filter(|byte| is_end(byte)).count();
        let mut skipped = ended.saturating_sub(LINES_PER_PIECE_MAX);
        for part in piece.split_inclusive(is_end) {
            let is_whole = part.last().is_some_and(is_end);
            let text = &part[..part.len() - usize::from(is_whole)];
            let room = text.len().min(LINE_BYTES_MAX - self.rest.len());
            self.rest.extend_from_slice(&text[..room]);
            if !is_whole {
                if room > 0 {
                    self.due
                        .get_or_insert_with(|| awake::now() + UNFINISHED_AFTER);
                }
                break;
            }
            match skipped.checked_sub(1) {
                Some(fewer) => skipped = fewer,
                // One that is too long may be cut in a character.
                None if self.rest.len() < LINE_BYTES_MAX => show_line(&self.rest, &mut show),
                None => show_line(&self.rest[..whole_characters(&self.rest)], &mut show),
            }
            self.rest.clear();
            self.due = None;
        }
    }

    /// When [`show_unfinished`](Self::show_unfinished) has something to show.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Shows the line that has not ended, if it has waited long enough; it is shown again when it has.
    pub(super) fn show_unfinished(&mut self, show: impl FnMut(&str)) {
        if self.due.is_some_and(|due| due <= awake::now()) {
            self.show_rest(show);
        }
    }

    /// Shows what has not been shown of a line that has not ended.
    pub(super) fn show_rest(&mut self, show: impl FnMut(&str)) {
        if self.due.take().is_some() {
            show_line(&self.rest[..whole_characters(&self.rest)], show);
        }
    }
}

fn show_line(line: &[u8], mut show: impl FnMut(&str)) {
    let text = shown(line);
    if !text.trim().is_empty() {
        show(&text);
    }
}

/// The text of a line, without escape sequences and other control characters.
fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\u{1b}' => match chars.next() {
                Some('[') => skip_csi(&mut chars),
                Some(']' | 'P' | 'X' | '^' | '_') => skip_string(&mut chars),
                // An intermediate character, as in `ESC ( B`: one more follows.
                Some(' '..='/') => drop(chars.next()),
                _ => {}
            },
            '\u{9b}' => skip_csi(&mut chars),
            '\t' => plain.push(char),
            _ if char.is_control() => {}
            _ => plain.push(char),
        }
    }
    plain
}

/// A control sequence: parameters, then one final character.
fn skip_csi(chars: &mut impl Iterator<Item = char>) {
    for char in chars {
        if ('@'..='~').contains(&char) {
            return;
        }
    }
}

/// A control string (a window title, a link): up to BEL or `ESC \`.
fn skip_string(chars: &mut impl Iterator<Item = char>) {
    let mut escaped = false;
    for char in chars {
        if matches!(char, '\u{7}' | '\u{9c}') || (escaped && char == '\\') {
            return;
        }
        escaped = char == '\u{1b}';
    }
}

/// The length without a character of UTF-8 that is cut at the end.
pub(super) fn whole_characters(bytes: &[u8]) -> usize {
    let from = bytes.len().saturating_sub(3);
    let start = bytes[from..].iter().rposition(|byte| byte & 0xC0 != 0x80);
    let Some(start) = start.map(|at| from + at) else {
        return bytes.len();
    };
    match std::str::from_utf8(&bytes[start..]) {
        // No length: the character goes on behind the end.
        Err(error) if error.error_len().is_none() => start,
        _ => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut shown) = (LineCutter::default(), Vec::new());
        for piece in pieces {
            lines.feed(piece, |line| shown.push(line.to_owned()));
        }
        lines.show_rest(|line| shown.push(format!("{line}…")));
        shown
    }

    #[test]
    fn output_becomes_lines_however_it_is_cut() {
        let rows: &[(&[u8], &[&str])] = &[
            (b"one\ntwo\n", &["one", "two"]),
            (b"one\r\ntwo\r\n\r\n \nthree", &["one", "two", "three…"]),
            (b"10%\r20%\r", &["10%", "20%"]),
            ("für\ndich €\n".as_bytes(), &["für", "dich €"]),
            (
                b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07plain\n",
                &["red plain"],
            ),
            (b"\x1b]8;;http://x\x1b\\link\x1b(B\x1b7\n", &["link"]),
            ("\u{9b}2Kx\u{8}\ty\n".as_bytes(), &["x\ty"]),
            (b"bad \xff byte\n", &["bad \u{fffd} byte"]),
            (b"no utf-8: caf\xe9\n", &["no utf-8: caf\u{fffd}"]),
            (
                "cut \u{20ac}"
                    .as_bytes()
                    .split_last()
                    .map_or(b"", |(_, cut)| cut),
                &["cut …"],
            ),
            (b"\x1b[3", &[]),
        ];
        for (bytes, expected) in rows {
            assert_eq!(lines(&[bytes]), *expected, "{bytes:?} in one piece");
            for at in 1..bytes.len() {
                let cut = lines(&[&bytes[..at], &bytes[at..]]);
                assert_eq!(cut, *expected, "{bytes:?} cut at {at}");
            }
            let single: Vec<_> = bytes.chunks(1).collect();
            assert_eq!(lines(&single), *expected, "{bytes:?} byte by byte");
        }
    }

    #[test]
    fn a_flood_of_lines_is_shown_by_its_end() {
        let flood: String = (1..=100).map(|line| format!("{line}\n")).collect();
        let shown = lines(&[flood.as_bytes()]);
        let expected: Vec<_> = (85..=100).map(|line| line.to_string()).collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_long_line_is_cut_at_a_character() {
        for ahead in 0..4 {
            let long = format!("{}{}\nnext\n", "x".repeat(ahead), "€".repeat(2000));
            let shown = lines(&[long.as_bytes()]);
            assert_eq!(shown.len(), 2);
            assert!(shown[0].len() > LINE_BYTES_MAX - 3 && shown[0].len() <= LINE_BYTES_MAX);
            assert!(!shown[0].contains('\u{fffd}'), "{ahead}");
            assert_eq!(shown[1], "next");
        }
    }
}
