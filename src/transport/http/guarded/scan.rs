//! Where a head ends that comes in pieces, or what is wrong with one that is refused, found as its bytes arrive.
//!
//! Pure: "need more bytes" is a value, and every split of the same bytes gives the same result. Each byte is looked at once, so
//! a client that sends a byte at a time costs no more than one that sends all at once. What the lines say is `head.rs`'s
//! business. Must not know sockets, threads, the clock or MCP. RFC 9112 §2.

use memchr::memchr;

use super::head::{
    FIELDS_MAX, Refused, TARGET_BYTES_MAX, TOO_MANY_FIELDS, bad, is_token_byte, refused,
};

const HEAD_TOO_LONG: Refused = refused(431, "the request head is too long");
const TARGET_TOO_LONG: Refused = refused(414, "the request target is too long");
const NOT_A_METHOD: Refused = bad("a request begins with a method");
const BARE_LINE_FEED: Refused = bad("a line ends without a carriage return");

/// Finds the end of a head as its bytes arrive, looking at each byte once.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// Everything before this has been looked at.
    scanned: usize,
    line_start: usize,
    /// Complete lines with something in them, the request line included.
    lines: usize,
}

impl Scanner {
    /// Goes on where it stopped. `bytes` is what it was last time plus what has arrived since. The length of the head, once
    /// all of it is there.
    pub(super) fn scan(
        &mut self,
        bytes: &[u8],
        head_bytes_max: usize,
    ) -> Result<Option<usize>, Refused> {
        while let Some(offset) = memchr(b'\n', &bytes[self.scanned..]) {
            let newline = self.scanned + offset;
            self.check_request_line(&bytes[..newline], head_bytes_max)?;
            if newline >= head_bytes_max {
                return Err(HEAD_TOO_LONG);
            }
            if newline == self.line_start || bytes[newline - 1] != b'\r' {
                return Err(BARE_LINE_FEED);
            }
            let empty = newline - 1 == self.line_start;
            self.scanned = newline + 1;
            self.line_start = newline + 1;
            if !empty {
                self.lines += 1;
            } else if self.lines > 0 {
                return Ok(Some(newline + 1));
            } // else an empty line before the request line, which is skipped (RFC 9112 §2.2)
            if self.lines > FIELDS_MAX + 1 {
                return Err(TOO_MANY_FIELDS);
            }
        }
        self.scanned = bytes.len();
        self.check_request_line(bytes, head_bytes_max)?;
        if bytes.len() >= head_bytes_max {
            return Err(HEAD_TOO_LONG);
        }
        Ok(None)
    }

    /// Refuses a request line as soon as its bytes so far cannot become a good one: what does not speak HTTP (TLS, say) need
    /// not wait for the head deadline.
    fn check_request_line(&self, bytes: &[u8], head_bytes_max: usize) -> Result<(), Refused> {
        if self.lines > 0 {
            return Ok(());
        }
        let line = &bytes[self.line_start..bytes.len().min(head_bytes_max)];
        match line {
            [] | [b'\r'] => return Ok(()),
            [first, ..] if !is_token_byte(*first) => return Err(NOT_A_METHOD),
            _ => {}
        }
        let Some(space) = memchr(b' ', line) else {
            return Ok(());
        };
        let target = &line[space + 1..];
        let target_len = memchr(b' ', target).unwrap_or(target.len());
        if target_len > TARGET_BYTES_MAX {
            return Err(TARGET_TOO_LONG);
        }
        Ok(())
    }
}
