//! The framing of a request's body: where it ends, and which of its bytes are content.
//!
//! Pure and incremental: bytes in, content appended, "need more bytes" is a value, and every split gives the same result. What a
//! body may carry besides its content (chunk extensions, trailers) is read, bounded and dropped. Must not know sockets, threads,
//! the clock or MCP. RFC 9112 §7.1.

use super::head::is_token_byte;
use crate::transport::http::exchange::BodyError;

/// Longest line that announces a chunk: its size and its extension. Real ones have under ten bytes.
pub(super) const CHUNK_LINE_BYTES_MAX: usize = 256;

/// All chunk extensions of one body together. They carry nothing, so without a bound a body of the allowed size could cost any number of
/// bytes to read.
pub(super) const CHUNK_EXTENSION_BYTES_MAX: usize = 16 * 1024;

/// The trailer section behind a chunked body, which is read and dropped.
pub(super) const TRAILER_BYTES_MAX: usize = 4 * 1024;

/// What one call of [`Chunked::decode`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    /// So many bytes of the input belonged to the body.
    pub(super) consumed: usize,
    /// The body is whole. As long as it is not, all input is consumed.
    pub(super) done: bool,
}

/// Takes a chunked body apart.
pub(super) struct Chunked {
    state: ChunkState,
    /// Bytes of the present chunk that are still to come.
    chunk_left: u64,
    /// Bytes of the present line: a chunk's, or one of the trailers.
    line_len: usize,
    extension_len: usize,
    trailer_len: usize,
}

/// What the next byte must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkState {
    FirstDigit,
    Digit,
    Extension,
    SizeLineFeed,
    Content,
    ContentReturn,
    ContentLineFeed,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLineFeed,
    LastLineFeed,
    Done,
}

const SIZE: &str = "a chunk size is malformed";
const END_OF_CHUNK: &str = "a chunk does not end where its size says";
const TRAILER: &str = "a trailer is malformed";

impl Chunked {
    pub(super) fn new() -> Chunked {
        Chunked {
            state: ChunkState::FirstDigit,
            chunk_left: 0,
            line_len: 0,
            extension_len: 0,
            trailer_len: 0,
        }
    }

    /// Takes in what has arrived and appends its content to `body`, which never grows beyond `bytes_max`.
    pub(super) fn decode(
        &mut self,
        input: &[u8],
        body: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<Decoded, BodyError> {
        let mut consumed = 0;
        while self.state != ChunkState::Done && consumed < input.len() {
            if self.state == ChunkState::Content {
                consumed += self.take_content(&input[consumed..], body);
                continue;
            }
            let byte = input[consumed];
            consumed += 1;
            self.state = match self.state {
                ChunkState::FirstDigit | ChunkState::Digit | ChunkState::Extension => {
                    self.size_line(byte)?
                }
                ChunkState::SizeLineFeed => {
                    expect(byte, b'\n', SIZE)?;
                    self.open_chunk(body.len(), bytes_max)?
                }
                ChunkState::ContentReturn => {
                    expect(byte, b'\r', END_OF_CHUNK)?;
                    ChunkState::ContentLineFeed
                }
                ChunkState::ContentLineFeed => {
                    expect(byte, b'\n', END_OF_CHUNK)?;
                    ChunkState::FirstDigit
                }
                _ => self.trailer(byte)?,
            };
        }
        let done = self.state == ChunkState::Done;
        Ok(Decoded { consumed, done })
    }

    /// One byte of the line that announces a chunk: hexadecimal digits, perhaps an extension, a carriage return.
    fn size_line(&mut self, byte: u8) -> Result<ChunkState, BodyError> {
        if self.state == ChunkState::FirstDigit {
            self.chunk_left = 0;
            self.line_len = 0;
        }
        self.line_len += 1;
        if self.line_len > CHUNK_LINE_BYTES_MAX {
            return Err(BodyError::Malformed("a chunk's first line is too long"));
        }
        if self.state == ChunkState::Extension {
            self.extension_len += 1;
            if self.extension_len > CHUNK_EXTENSION_BYTES_MAX {
                return Err(BodyError::Malformed("the chunk extensions are too long"));
            }
        }
        match (self.state, byte) {
            (ChunkState::FirstDigit | ChunkState::Digit, _) if byte.is_ascii_hexdigit() => {
                self.size_digit(byte)?;
                Ok(ChunkState::Digit)
            }
            (ChunkState::Digit, b';') => Ok(ChunkState::Extension),
            (ChunkState::Digit | ChunkState::Extension, b'\r') => Ok(ChunkState::SizeLineFeed),
            (ChunkState::Extension, _) if is_text_byte(byte) => Ok(ChunkState::Extension),
            _ => Err(BodyError::Malformed(SIZE)),
        }
    }

    fn size_digit(&mut self, byte: u8) -> Result<(), BodyError> {
        let digit = (byte as char).to_digit(16).unwrap_or_default();
        self.chunk_left = self
            .chunk_left
            .checked_mul(16)
            .and_then(|size| size.checked_add(u64::from(digit)))
            .ok_or(BodyError::Malformed(SIZE))?;
        Ok(())
    }

    /// The size is known: is there room for so much?
    fn open_chunk(&mut self, body_len: usize, bytes_max: usize) -> Result<ChunkState, BodyError> {
        if self.chunk_left == 0 {
            return Ok(ChunkState::TrailerStart);
        }
        let room = bytes_max.saturating_sub(body_len);
        if self.chunk_left > room as u64 {
            return Err(BodyError::TooLarge);
        }
        Ok(ChunkState::Content)
    }

    fn take_content(&mut self, input: &[u8], body: &mut Vec<u8>) -> usize {
        let wanted = usize::try_from(self.chunk_left).unwrap_or(usize::MAX);
        let taken = wanted.min(input.len());
        body.extend_from_slice(&input[..taken]);
        self.chunk_left -= taken as u64;
        if self.chunk_left == 0 {
            self.state = ChunkState::ContentReturn;
        }
        taken
    }

    /// One byte behind the last chunk. Trailers are checked, because a bare line feed or a fold here is as ambiguous as in
    /// the head, and then dropped.
    fn trailer(&mut self, byte: u8) -> Result<ChunkState, BodyError> {
        self.trailer_len += 1;
        if self.trailer_len > TRAILER_BYTES_MAX + "\r\n".len() {
            return Err(BodyError::Malformed("the trailers are too long"));
        }
        match (self.state, byte) {
            (ChunkState::TrailerStart, b'\r') => Ok(ChunkState::LastLineFeed),
            (ChunkState::LastLineFeed, b'\n') => Ok(ChunkState::Done),
            (ChunkState::TrailerStart | ChunkState::TrailerName, _) if is_token_byte(byte) => {
                Ok(ChunkState::TrailerName)
            }
            (ChunkState::TrailerName, b':') => Ok(ChunkState::TrailerValue),
            (ChunkState::TrailerValue, b'\r') => Ok(ChunkState::TrailerLineFeed),
            (ChunkState::TrailerValue, _) if is_text_byte(byte) => Ok(ChunkState::TrailerValue),
            (ChunkState::TrailerLineFeed, b'\n') => Ok(ChunkState::TrailerStart),
            _ => Err(BodyError::Malformed(TRAILER)),
        }
    }
}

fn expect(byte: u8, wanted: u8, reason: &'static str) -> Result<(), BodyError> {
    if byte == wanted {
        Ok(())
    } else {
        Err(BodyError::Malformed(reason))
    }
}

/// What may stand in a field value: blanks, visible characters, anything above ASCII; no control characters.
fn is_text_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}
