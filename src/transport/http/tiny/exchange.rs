//! One request of tiny_http as an [`Exchange`].
//!
//! Must not know MCP, threads or listeners.

use std::io::{self, Read, Write};

use tiny_http::{HTTPVersion, Request};

use crate::transport::http::exchange::{BodyError, Exchange, Response};
use crate::transport::http::response::{
    Framing, date_now, write_chunk, write_head, write_last_chunk,
};

/// One request of tiny_http.
pub(super) struct TinyExchange {
    /// `None` once the answer has begun.
    request: Option<Request>,
    method: String,
    /// An HTTP/1.0 client cannot be streamed to, because tiny_http may keep its connection open and so never ends the stream: what is
    /// to be streamed is held here and sent whole.
    held: Option<Vec<u8>>,
    /// How much of the body has been read.
    read: usize,
    writer: Option<Box<dyn Write + Send>>,
    close: bool,
}

/// When tiny_http lets go of a request whose body has not been read, it allocates a buffer for all that was declared and is missing. Beyond
/// this, in bytes, the request is not let go of: its connection leaks, but the process lives.
const MISSING_BYTES_MAX: usize = 64 * 1024 * 1024;

impl TinyExchange {
    pub(super) fn new(request: Request) -> Self {
        let method = request.method().as_str().to_owned();
        let held = (*request.http_version() < HTTPVersion(1, 1)).then(Vec::new);
        TinyExchange {
            request: Some(request),
            method,
            held,
            read: 0,
            writer: None,
            close: false,
        }
    }

    /// The rest of the body, never beyond what was declared: after an `Upgrade` header tiny_http hands out the bare connection.
    fn rest(request: &mut Request, read: usize) -> impl Read {
        let declared = request
            .body_length()
            .map_or(u64::MAX, |length| length as u64);
        request
            .as_reader()
            .take(declared.saturating_sub(read as u64))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(request) = self.request.take() {
            self.writer = Some(into_writer(request, self.read)?);
        }
        let writer = self.writer.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        writer.write_all(bytes)?;
        writer.flush()
    }
}

/// tiny_http hands out the writer only for the whole request, and then waits for the rest of the body with one buffer of its declared size,
/// whatever that is. So the body is read to its end before, in small pieces.
fn into_writer(mut request: Request, mut read: usize) -> io::Result<Box<dyn Write + Send>> {
    let mut buffer = [0; 16 * 1024];
    let mut rest = TinyExchange::rest(&mut request, read);
    while let Ok(size @ 1..) = rest.read(&mut buffer) {
        read += size;
    }
    drop(rest);
    let missing = request.body_length().unwrap_or(0).saturating_sub(read);
    if missing > MISSING_BYTES_MAX {
        std::mem::forget(request);
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    Ok(request.into_writer())
}

impl Drop for TinyExchange {
    fn drop(&mut self) {
        if let Some(request) = self.request.take()
            && let Err(error) = into_writer(request, self.read)
        {
            log::debug!("a request that nobody answered: {error}");
        }
    }
}

impl Exchange for TinyExchange {
    fn method(&self) -> &str {
        &self.method
    }

    fn target(&self) -> &str {
        self.request.as_ref().map_or("", |request| request.url())
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

    fn read_body(&mut self, bytes_max: usize) -> Result<Vec<u8>, BodyError> {
        let Some(request) = &mut self.request else {
            return Err(BodyError::Gone);
        };
        let declared = request.body_length();
        if declared.is_some_and(|length| length > bytes_max) {
            return Err(BodyError::TooLarge);
        }
        let mut body = Vec::with_capacity(declared.unwrap_or(0));
        let most = u64::try_from(bytes_max)
            .unwrap_or(u64::MAX)
            .saturating_add(1);
        let read = Self::rest(request, 0).take(most).read_to_end(&mut body);
        self.read = body.len();
        read.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => BodyError::TooSlow,
            _ => BodyError::Malformed("The body's framing is broken"),
        })?;
        match declared {
            _ if body.len() > bytes_max => Err(BodyError::TooLarge),
            Some(length) if body.len() < length => Err(BodyError::Gone),
            _ => Ok(body),
        }
    }

    fn respond(&mut self, response: &Response<'_>) -> io::Result<()> {
        let framing = match response.status {
            204 => Framing::None,
            _ => Framing::Length(response.body.len()),
        };
        let mut out = Vec::with_capacity(256 + response.body.len());
        write_head(
            &mut out,
            response.status,
            response.fields,
            framing,
            self.close,
            &date_now(),
        );
        if self.method != "HEAD" {
            out.extend_from_slice(response.body);
        }
        self.write(&out)
    }

    fn begin_stream(&mut self, fields: &[(&str, &str)]) -> io::Result<()> {
        if self.held.is_some() {
            return Ok(());
        }
        let mut all = vec![("Content-Type", "text/event-stream")];
        all.extend_from_slice(fields);
        let mut out = Vec::with_capacity(256);
        write_head(
            &mut out,
            200,
            &all,
            Framing::Chunked,
            self.close,
            &date_now(),
        );
        self.write(&out)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(held) = &mut self.held {
            held.extend_from_slice(bytes);
            return Ok(());
        }
        let mut out = Vec::with_capacity(bytes.len() + 16);
        write_chunk(&mut out, bytes);
        self.write(&out)
    }

    fn finish(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(mut held) = self.held.take() {
            held.extend_from_slice(bytes);
            let fields = &[("Content-Type", "text/event-stream")];
            return self.respond(&Response {
                status: 200,
                fields,
                body: &held,
            });
        }
        let mut out = Vec::with_capacity(bytes.len() + 16);
        write_chunk(&mut out, bytes);
        write_last_chunk(&mut out);
        self.write(&out)
    }

    fn client_left(&mut self) -> bool {
        false
    }

    fn can_stream(&self) -> bool {
        self.held.is_none()
    }

    fn close_after(&mut self) {
        self.close = true;
    }
}
