//! One request of tiny_http as an [`Exchange`].
//!
//! Must not know MCP, threads or listeners.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use tiny_http::{HTTPVersion, Request};

use crate::base::budget::Budget;
use crate::base::counted::Counted;
use crate::base::log;
use crate::transport::http::exchange::{Body, BodyError, Exchange, HttpResponse};
use crate::transport::http::response::{Framing, write_chunk, write_head, write_last_chunk};

/// One request of tiny_http.
pub(super) struct TinyExchange<'a> {
    /// `None` once the answer has begun.
    request: Option<Request>,
    method: String,
    /// tiny_http may keep an HTTP/1.0 client's connection open, and so would never end its stream.
    can_stream: bool,
    /// How much of the body has been read.
    read: u64,
    body: Body,
    writer: Option<Box<dyn Write + Send>>,
    close: bool,
    /// Until the request has been read to its end.
    pub(super) half: Option<Counted>,
    /// What its body is charged to.
    memory: &'a Arc<Budget>,
}

/// When tiny_http lets go of a body that has not been read to its declared end, or reads to where it was cut short, it allocates a buffer for all
/// that is missing, and a promise of terabytes would abort the process. Beyond this, in bytes, the body is neither read nor let go of: its
/// connection leaks, but the process lives.
const MISSING_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Room for the first read of a body.
const BODY_READ_BYTES: usize = 64 * 1024;

impl<'a> TinyExchange<'a> {
    pub(super) fn new(request: Request, memory: &'a Arc<Budget>) -> Self {
        TinyExchange {
            method: request.method().as_str().to_owned(),
            can_stream: *request.http_version() >= HTTPVersion(1, 1),
            request: Some(request),
            read: 0,
            body: Body::default(),
            writer: None,
            close: false,
            half: None,
            memory,
        }
    }

    fn head(&mut self, status: u16, fields: &[(&str, &str)], framing: Framing) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        write_head(&mut out, status, fields, framing, self.close);
        out
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(request) = self.request.take() {
            self.writer = Some(into_writer(request, self.read)?);
            self.half = None;
        }
        let writer = self.writer.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        writer.write_all(bytes)?;
        writer.flush()
    }
}

/// The length of the body as declared; a chunked one ends by itself.
fn declared(request: &Request) -> u64 {
    let length = request.body_length();
    length.map_or(u64::MAX, |length| length as u64)
}

/// The rest of the body, never beyond what was declared: after an `Upgrade` header tiny_http hands out the bare connection.
fn rest(request: &mut Request, read: u64) -> impl Read {
    let missing = declared(request).saturating_sub(read);
    request.as_reader().take(missing)
}

/// Reads to the end, or so many bytes. Room is made as they arrive, so a promise costs nothing.
fn read_up_to(
    most: usize,
    mut from: impl Read,
    body: &mut Body,
    memory: &Arc<Budget>,
) -> Result<(), BodyError> {
    loop {
        let arrived = body.bytes.len();
        let room = arrived.max(BODY_READ_BYTES).min(most - arrived);
        body.make_room(room, memory)?;
        let read = from.by_ref().take(room as u64).read_to_end(&mut body.bytes);
        match read {
            Err(_) => return Err(BodyError::Malformed("The body's framing is broken")),
            Ok(count) if count < room || arrived + count == most => return Ok(()),
            Ok(_) => {}
        }
    }
}

/// tiny_http hands out the writer only for the whole request, and then waits for the rest of the body with one buffer of its declared size,
/// whatever that is. So the body is read to its end before, in small pieces.
fn into_writer(mut request: Request, read: u64) -> io::Result<Box<dyn Write + Send>> {
    let missing = declared(&request).saturating_sub(read);
    if request.body_length().is_some() && missing > MISSING_BYTES_MAX {
        std::mem::forget(request);
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    // Where it is cut short, the writer finds that out.
    let _dropped = io::copy(&mut rest(&mut request, read), &mut io::sink());
    Ok(request.into_writer())
}

impl Drop for TinyExchange<'_> {
    fn drop(&mut self) {
        if let Some(request) = self.request.take()
            && let Err(error) = into_writer(request, self.read)
        {
            log::debug!("a request that nobody answered: {error}");
        }
    }
}

impl Exchange for TinyExchange<'_> {
    fn method(&self) -> &str {
        &self.method
    }

    fn target(&self) -> &str {
        self.request.as_ref().map_or("", target)
    }

    fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let headers = self
            .request
            .as_ref()
            .map_or(&[][..], |request| request.headers());
        let wanted = headers
            .iter()
            .filter(move |header| header.field.as_str().as_str().eq_ignore_ascii_case(name));
        wanted.map(|header| header.value.as_str().trim())
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.request.as_ref()?.remote_addr().copied()
    }

    fn read_body(&mut self, bytes_max: usize) -> Result<(), BodyError> {
        let request = self.request.as_mut().ok_or(BodyError::Gone)?;
        let declared = request.body_length();
        if declared.is_some_and(|length| length > bytes_max) {
            return Err(BodyError::TooLarge);
        }
        let most = declared.unwrap_or(bytes_max.saturating_add(1));
        let read = read_up_to(most, rest(request, 0), &mut self.body, self.memory);
        let arrived = self.body.bytes.len();
        self.read = arrived as u64;
        read?;
        match declared {
            _ if arrived > bytes_max => Err(BodyError::TooLarge),
            Some(length) if arrived < length => Err(BodyError::Gone),
            _ => {
                self.half = None;
                Ok(())
            }
        }
    }

    fn body(&self) -> &[u8] {
        &self.body.bytes
    }

    fn forget_body(&mut self) {
        self.body = Body::default();
    }

    fn respond(&mut self, response: &HttpResponse<'_>) -> io::Result<()> {
        let framing = match response.status {
            204 => Framing::None,
            _ => Framing::Length(response.body.len()),
        };
        let mut out = self.head(response.status, response.fields, framing);
        if self.method != "HEAD" {
            out.extend_from_slice(response.body);
        }
        self.write(&out)
    }

    fn begin_stream(&mut self, fields: &[(&str, &str)]) -> io::Result<()> {
        let mut all = vec![("Content-Type", "text/event-stream")];
        all.extend_from_slice(fields);
        let head = self.head(200, &all, Framing::Chunked);
        self.write(&head)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut out = Vec::with_capacity(bytes.len() + 16);
        write_chunk(&mut out, bytes);
        self.write(&out)
    }

    fn finish(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut out = Vec::with_capacity(bytes.len() + 16);
        write_chunk(&mut out, bytes);
        write_last_chunk(&mut out);
        self.write(&out)
    }

    fn client_left(&mut self) -> bool {
        false
    }

    fn can_stream(&self) -> bool {
        self.can_stream
    }

    fn close_after(&mut self) {
        self.close = true;
    }
}

/// The target without scheme and authority, which a proxy may have left in (RFC 9112 §3.2.2). Whether they agree with `Host` is not
/// looked at; `Host` is what counts.
pub(crate) fn target(request: &Request) -> &str {
    let target = request.url();
    let rest = target
        .strip_prefix("http://")
        .or_else(|| target.strip_prefix("https://"));
    match rest.map(|rest| rest.find('/').map(|at| &rest[at..])) {
        None => target,
        Some(path) => path.unwrap_or("/"),
    }
}
