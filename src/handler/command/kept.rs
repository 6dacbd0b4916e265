//! What is kept of a long output: its beginning and its end, and how much was between them.
//!
//! Must not know whose output it is.

use std::collections::VecDeque;

use crate::handler::command::lines::whole_characters;

/// The first and the last bytes of a stream.
pub(super) struct Kept {
    head: Vec<u8>,
    head_max: usize,
    tail: VecDeque<u8>,
    tail_max: usize,
    /// Bytes that came, kept or not.
    total: u64,
}

impl Kept {
    pub(super) fn new(bytes_max: usize) -> Self {
        let head_max = bytes_max / 2;
        Kept {
            head: Vec::new(),
            head_max,
            tail: VecDeque::new(),
            tail_max: bytes_max - head_max,
            total: 0,
        }
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let room = self.head_max - self.head.len();
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(head);
        let newest = &rest[rest.len().saturating_sub(self.tail_max)..];
        let room = self.tail_max - newest.len();
        self.tail.drain(..self.tail.len().saturating_sub(room));
        self.tail.extend(newest);
    }

    /// All bytes, if none were left out and they are no text.
    pub(super) fn bytes_that_are_no_text(&self) -> Option<Vec<u8>> {
        let bytes = [&self.head, &*Vec::from(self.tail.clone())].concat();
        let is_whole = self.total == bytes.len() as u64;
        (is_whole && std::str::from_utf8(&bytes).is_err()).then_some(bytes)
    }

    /// The text, and how many bytes were left out of its middle. The text says so where they were.
    pub(super) fn finish(self) -> (String, u64) {
        let (mut head, mut tail) = (self.head, Vec::from(self.tail));
        if self.total == (head.len() + tail.len()) as u64 {
            head.append(&mut tail);
            return (text(head), 0);
        }
        head.truncate(whole_characters(&head));
        let cut = tail.iter().take(3).take_while(|byte| **byte & 0xC0 == 0x80);
        tail.drain(..cut.count());
        let left_out = self.total - (head.len() + tail.len()) as u64;
        (text(head) + &gap(left_out) + &text(tail), left_out)
    }
}

/// What stands in the place of so many bytes.
pub(crate) fn gap(left_out: u64) -> String {
    format!("\n[... {left_out} bytes left out ...]\n")
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(bytes_max: usize, pieces: &[&[u8]]) -> (String, u64) {
        let mut kept = Kept::new(bytes_max);
        for piece in pieces {
            kept.add(piece);
        }
        kept.finish()
    }

    #[test]
    fn the_beginning_and_the_end_are_kept_however_the_output_is_cut() {
        let whole = "0123456789";
        for bytes_max in 0..14 {
            for piece_len in 1..=10 {
                let pieces: Vec<_> = whole.as_bytes().chunks(piece_len).collect();
                let (text, left_out) = kept(bytes_max, &pieces);
                if bytes_max >= 10 {
                    assert_eq!((text.as_str(), left_out), (whole, 0));
                    continue;
                }
                let (head, tail) = (bytes_max / 2, 10 - (bytes_max - bytes_max / 2));
                let expected = format!(
                    "{}\n[... {} bytes left out ...]\n{}",
                    &whole[..head],
                    10 - bytes_max,
                    &whole[tail..]
                );
                assert_eq!((text, left_out), (expected, 10 - bytes_max as u64));
            }
        }
    }

    #[test]
    fn the_cuts_are_between_characters() {
        let (text, left_out) = kept(10, &["€€€€€€€€".as_bytes()]);
        assert_eq!(text, "€\n[... 18 bytes left out ...]\n€");
        assert_eq!(left_out, 18);
    }
}
