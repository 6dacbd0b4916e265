//! Encodes the head of an HTTP/1.1 answer and the framing of a streamed body.
//!
//! Pure: values in, bytes appended to a buffer. Both fronts use it, so both send the same bytes. Must not know sockets or MCP.
//! RFC 9112 §4 and §7.1.

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::protocol::text::write_json;

/// How the end of a body is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// `Content-Length: n`.
    Length(usize),
    /// `Transfer-Encoding: chunked`, for HTTP/1.1 clients.
    Chunked,
    /// The body ends with the connection, for HTTP/1.0 clients.
    UntilClose,
    /// No body at all (`204`, `304`).
    None,
}

/// Appends status line and header fields, up to and including the empty line.
pub(crate) fn write_head(
    out: &mut Vec<u8>,
    status: u16,
    fields: &[(&str, &str)],
    framing: Framing,
    close: bool,
) {
    out.extend_from_slice(b"HTTP/1.1 ");
    write_json(out, &status);
    out.push(b' ');
    out.extend_from_slice(reason(status).as_bytes());
    out.extend_from_slice(b"\r\nDate: ");
    out.extend_from_slice(&date_now());
    out.extend_from_slice(b"\r\n");
    for (name, value) in fields {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    match framing {
        Framing::Length(length) => {
            out.extend_from_slice(b"Content-Length: ");
            write_json(out, &length);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Framing::UntilClose | Framing::None => {}
    }
    if close || framing == Framing::UntilClose {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends one chunk. An empty slice appends nothing, for an empty chunk would end the body.
pub(crate) fn write_chunk(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    out.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Appends the chunk that ends a chunked body.
pub(crate) fn write_last_chunk(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}

/// An HTTP date, which has always this length.
type Date = [u8; 29];

/// The present as an HTTP date, formatted once a second on each thread that sends.
fn date_now() -> Date {
    thread_local! {
        static LAST: Cell<(u64, Date)> = const { Cell::new((0, *b"Thu, 01 Jan 1970 00:00:00 GMT")) };
    }
    let now = SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH);
    let second = since.map_or(0, |since| since.as_secs());
    let (of, mut date) = LAST.get();
    if of != second
        && let Ok(formatted) = <Date>::try_from(httpdate::fmt_http_date(now).as_bytes())
    {
        date = formatted;
        LAST.set((second, date));
    }
    date
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        204 => "No Content",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_these_bytes() {
        let mut out = Vec::new();
        write_head(
            &mut out,
            503,
            &[("Retry-After", "1")],
            Framing::Length(120),
            true,
        );
        let head = String::from_utf8(out).expect("ASCII");
        let (before, date) = head.split_once("Date: ").expect("it has a date");
        assert_eq!(before, "HTTP/1.1 503 Service Unavailable\r\n");
        assert_eq!(
            &date[size_of::<Date>()..],
            "\r\nRetry-After: 1\r\nContent-Length: 120\r\nConnection: close\r\n\r\n"
        );
    }

    /// Every status that this library sends anywhere has its phrase.
    #[test]
    fn no_status_is_without_its_phrase() {
        for status in [
            200, 202, 204, 400, 403, 404, 405, 406, 408, 409, 413, 414, 415, 417, 431, 500, 501,
            503, 505,
        ] {
            assert_ne!(reason(status), "", "{status}");
        }
    }

    #[test]
    fn chunks_are_these_bytes() {
        let mut out = Vec::new();
        write_chunk(&mut out, b"");
        write_chunk(&mut out, b"0123456789abcdef");
        write_last_chunk(&mut out);
        assert_eq!(out, b"10\r\n0123456789abcdef\r\n0\r\n\r\n");
    }
}
