//! Bytes in, the head of one HTTP/1.1 request out, or the reason why it is refused.
//!
//! Pure. A head that came whole, of at most 4 KiB and 16 fields, is parsed in one pass ([`Head::parse_at_once`]); of any other, such as one with a bare line
//! feed, `scan` finds the end and what is wrong first, and [`Head::parse`] follows. Both run `httparse` and add the rules that it leaves out. What is ambiguous is refused, never guessed, because a proxy in front of us may have guessed
//! otherwise (request smuggling). Must not know sockets, threads, the clock or MCP. RFC 9112 §3, §5, §6.

use std::mem::{self, MaybeUninit};
use std::{iter, str};

use httparse::{Header, Request, Status};

use crate::transport::http::exchange::Field;

/// A request line has a method, a target and a version; real targets are a path.
pub(super) const TARGET_BYTES_MAX: usize = 4 * 1024;

/// Most header fields in one request. Real clients send about ten, proxies a few more.
pub(super) const FIELDS_MAX: usize = 100;

/// Why a request is refused, and with what status. The connection is closed after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) reason: &'static str,
}

pub(super) const fn refused(status: u16, reason: &'static str) -> Refused {
    Refused { status, reason }
}

pub(super) const fn bad(reason: &'static str) -> Refused {
    refused(400, reason)
}

pub(super) const TOO_MANY_FIELDS: Refused = refused(431, "the request has too many header fields");

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum BodyFraming {
    /// There is none.
    #[default]
    Empty,
    /// After this many bytes.
    Length(u64),
    /// After the chunk of size zero and its trailers.
    Chunked,
}

/// Up to this many fields are parsed without asking the heap for room; real clients send about ten. No more, because each thread that reads heads keeps the pages of stack that it has once touched.
const FIELDS_ON_STACK: usize = 16;

pub(super) const BAD_VALUE: Refused = bad("a header value is malformed");
pub(super) const NOT_UTF8: Refused = bad("the request head is not UTF-8");
const MALFORMED: Refused = bad("the request head is malformed");

/// A range in the text of the head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ByteRange {
    start: u32,
    end: u32,
}

impl ByteRange {
    /// Where `part` lies in `whole`, of which it must be a slice.
    fn of(part: &[u8], whole: &[u8]) -> ByteRange {
        let start = part.as_ptr() as usize - whole.as_ptr() as usize;
        // A head is far below 4 GiB; were it not, the range would be another one within it.
        ByteRange {
            start: start as u32,
            end: (start + part.len()) as u32,
        }
    }

    fn of_text(self, text: &str) -> &str {
        let range = self.start as usize..self.end as usize;
        text.get(range).unwrap_or_default()
    }
}

/// A header field, in a hash table with chains.
struct FieldRanges {
    name: ByteRange,
    value: ByteRange,
    /// The next field of the same chain, counted from one; zero after the last.
    next: u8,
}

/// How many chains there are.
const CHAINS: usize = 32;

/// The chain of a name: the same for names that differ in case alone, and different for all that are looked for in each request.
pub(super) fn chain(name: &[u8]) -> usize {
    let letter = |byte: Option<&u8>| usize::from(byte.map_or(0, |byte| byte | 0x20));
    (name.len() + 12 * letter(name.first()) + letter(name.last())) % CHAINS
}

/// What a request's head says: a copy of its text, and ranges in that. One value serves a connection's every request, so that its memory is used again.
#[derive(Default)]
pub(super) struct Head {
    /// Length of the head in bytes, its final empty line included.
    pub(super) len: usize,
    pub(super) framing: BodyFraming,
    pub(super) version: Version,
    /// The client waits for `100 Continue` before it sends the body.
    pub(super) expects_continue: bool,
    /// The client asked that the connection be closed after the answer.
    pub(super) wants_close: bool,
    text: String,
    method: ByteRange,
    target: ByteRange,
    /// The last first.
    fields: Vec<FieldRanges>,
    /// The first field of each chain, counted from one; zero where there is none.
    chains: [u8; CHAINS],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Version {
    Http10,
    #[default]
    Http11,
}

impl Head {
    /// Parses a head that has come in one piece with CRLF after each line, as nearly all do, in one pass. False if it is another, or none yet: then it is for a scanner to say what it is.
    pub(super) fn parse_at_once(&mut self, bytes: &[u8], bytes_max: usize) -> bool {
        let mut room = [const { MaybeUninit::uninit() }; FIELDS_ON_STACK];
        let is_good = self.parse_into(bytes, &mut room).is_ok()
            && self.len <= bytes_max.min(TARGET_BYTES_MAX)
            && is_token_byte(bytes[0])
            && bytes[..self.len].ends_with(b"\r\n\r\n")
            && self.fields.iter().all(|field| {
                let before = &bytes[..field.name.start as usize];
                before.ends_with(b"\r\n")
            });
        if !is_good {
            self.forget();
        }
        is_good
    }

    /// Parses the whole head that a scanner has found.
    pub(super) fn parse(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        let mut room = Vec::with_capacity(FIELDS_MAX);
        self.parse_into(bytes, room.spare_capacity_mut())?;
        match self.len == bytes.len() {
            true => Ok(()),
            // The two disagree about where the head ends: exactly what must not happen.
            false => Err(MALFORMED),
        }
    }

    pub(super) fn method(&self) -> &str {
        self.method.of_text(&self.text)
    }

    pub(super) fn target(&self) -> &str {
        self.target.of_text(&self.text)
    }

    /// The values of the fields with this name, compared without case.
    pub(super) fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let mut at = self.chains[chain(name.as_bytes())];
        iter::from_fn(move || self.next_of(&mut at, name))
    }

    /// The same of a field that may stand only once. In line, because a compiler knows the chain of a name that it sees, and most chains are empty.
    #[inline(always)]
    pub(super) fn single(&self, name: &str) -> Field<'_> {
        match self.chains[chain(name.as_bytes())] {
            0 => Field::Absent,
            first => self.single_from(first, name),
        }
    }

    fn single_from(&self, mut at: u8, name: &str) -> Field<'_> {
        match self.next_of(&mut at, name) {
            None => Field::Absent,
            Some(_) if self.next_of(&mut at, name).is_some() => Field::Repeated,
            Some(value) => Field::One(value),
        }
    }

    /// The value of the next field with this name in a chain. Compared as bytes, for which no end of a character is looked for.
    fn next_of(&self, at: &mut u8, name: &str) -> Option<&str> {
        while let Some(field) = self.fields.get(usize::from(*at).wrapping_sub(1)) {
            *at = field.next;
            let range = field.name.start as usize..field.name.end as usize;
            let found = self.text.as_bytes().get(range).unwrap_or_default();
            if found == name.as_bytes() || found.eq_ignore_ascii_case(name.as_bytes()) {
                return Some(field.value.of_text(&self.text));
            }
        }
        None
    }

    /// Forgets the last head: of one that cannot be read nothing is said.
    fn forget(&mut self) {
        self.method = ByteRange::default();
        self.target = ByteRange::default();
        self.fields.clear();
        self.chains = [0; CHAINS];
        self.text.clear();
    }

    /// Gives the memory back to the heap.
    pub(super) fn release(&mut self) {
        self.fields = Vec::new();
        self.text = String::new();
    }

    fn parse_into<'b>(
        &mut self,
        bytes: &'b [u8],
        room: &mut [MaybeUninit<Header<'b>>],
    ) -> Result<(), Refused> {
        self.forget();
        let mut request = Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(bytes, room);
        self.len = match parsed.map_err(|error| explain(error, bytes))? {
            Status::Complete(len) => len,
            Status::Partial => return Err(MALFORMED),
        };
        match str::from_utf8(&bytes[..self.len]) {
            Ok(text) => self.text.push_str(text),
            Err(_) => return Err(NOT_UTF8),
        }
        self.version = match request.version {
            Some(0) => Version::Http10,
            _ => Version::Http11,
        };
        let method = request.method.unwrap_or_default();
        let target = request.path.unwrap_or_default();
        self.method = ByteRange::of(method.as_bytes(), bytes);
        let framed = self.accept_fields(bytes, request.headers)?;
        self.framing = framed.framing(self.version)?;
        let host = framed.host(self.version)?;
        let target = origin_form(method, target, host)?;
        self.target = ByteRange::of(target.as_bytes(), bytes);
        Ok(())
    }

    /// Notes where the fields are and what those say that HTTP itself listens to.
    fn accept_fields<'h>(
        &mut self,
        bytes: &[u8],
        headers: &[Header<'h>],
    ) -> Result<Listened<'h>, Refused> {
        // All of them first: what is refused may have an origin.
        self.fields.reserve(headers.len());
        for (at, header) in (1..).zip(headers.iter().rev()) {
            let name = header.name.as_bytes();
            self.fields.push(FieldRanges {
                name: ByteRange::of(name, bytes),
                value: ByteRange::of(header.value, bytes),
                next: mem::replace(&mut self.chains[chain(name)], at),
            });
        }
        self.expects_continue = false;
        self.wants_close = self.version == Version::Http10;
        let mut listened = Listened::default();
        for header in headers {
            let (name, value) = (header.name, header.value);
            // The length first: it settles nearly every field with one comparison.
            match name.len() {
                4 if name.eq_ignore_ascii_case("host") => {
                    once(&mut listened.host, value, "the Host field is repeated")?;
                }
                6 if name.eq_ignore_ascii_case("expect") => self.accept_expectation(value)?,
                10 if name.eq_ignore_ascii_case("connection") => {
                    self.wants_close |= list(value).any(|item| item.eq_ignore_ascii_case(b"close"));
                }
                14 if name.eq_ignore_ascii_case("content-length") => {
                    let reason = "the Content-Length field is repeated";
                    once(&mut listened.content_length, value, reason)?;
                }
                17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                    let reason = "the Transfer-Encoding field is repeated";
                    once(&mut listened.transfer_encoding, value, reason)?;
                }
                _ => {}
            }
        }
        Ok(listened)
    }

    fn accept_expectation(&mut self, value: &[u8]) -> Result<(), Refused> {
        if self.version == Version::Http10 {
            return Ok(()); // RFC 9110 §10.1.1: ignored
        }
        if !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(refused(417, "the only expectation is 100-continue"));
        }
        self.expects_continue = true;
        Ok(())
    }
}

/// The fields that decide where a message ends and for whom it is.
#[derive(Default)]
struct Listened<'h> {
    host: Option<&'h [u8]>,
    content_length: Option<&'h [u8]>,
    transfer_encoding: Option<&'h [u8]>,
}

impl<'h> Listened<'h> {
    /// How the body is delimited. RFC 9112 §6.3, less everything that it leaves to the reader's tolerance.
    fn framing(&self, version: Version) -> Result<BodyFraming, Refused> {
        match (self.content_length, self.transfer_encoding) {
            (None, None) => Ok(BodyFraming::Empty),
            (Some(length), None) => content_length(length),
            (Some(_), Some(_)) => Err(bad("both Content-Length and Transfer-Encoding")),
            (None, Some(_)) if version == Version::Http10 => {
                Err(bad("HTTP/1.0 has no Transfer-Encoding"))
            }
            (None, Some(codings)) => transfer_encoding(codings),
        }
    }

    fn host(&self, version: Version) -> Result<Option<&'h [u8]>, Refused> {
        match self.host {
            None if version == Version::Http11 => Err(bad("the Host field is missing")),
            Some(host) if !host.iter().all(|byte| is_host_byte(*byte)) => {
                Err(bad("the Host field is malformed"))
            }
            host => Ok(host),
        }
    }
}

fn once<'h>(
    slot: &mut Option<&'h [u8]>,
    value: &'h [u8],
    reason: &'static str,
) -> Result<(), Refused> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(bad(reason)),
    }
}

/// Digits and nothing else: no sign, no blank, no list.
fn content_length(value: &[u8]) -> Result<BodyFraming, Refused> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(bad("the Content-Length is not a number"));
    }
    let digits = str::from_utf8(value).unwrap_or_default();
    let length = digits.parse().map(BodyFraming::Length);
    length.map_err(|_| bad("the Content-Length is too large to be one"))
}

/// `chunked`, and only that. A coding before it is one we do not have; anything else is not delimited at all.
fn transfer_encoding(value: &[u8]) -> Result<BodyFraming, Refused> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(BodyFraming::Chunked);
    }
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let chunked = list(value).filter(|coding| is_chunked(coding)).count();
    let well_formed = list(value).all(|coding| !coding.is_empty());
    if well_formed && chunked == 1 && list(value).last().is_some_and(is_chunked) {
        return Err(refused(501, "the only transfer coding is chunked"));
    }
    Err(bad("the Transfer-Encoding does not end the body"))
}

/// The target in the form everybody sends: the path and query of an absolute one, whose host must be the request's.
fn origin_form<'t>(method: &str, target: &'t str, host: Option<&[u8]>) -> Result<&'t str, Refused> {
    if !target.is_ascii() {
        return Err(bad("the request target is not ASCII"));
    }
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return Ok(target);
    }
    if method == "CONNECT" {
        return Err(refused(501, "this server is not a proxy"));
    }
    let malformed = bad("the request target is malformed");
    let (scheme, rest) = target.split_once("://").ok_or(malformed)?;
    let port = match scheme {
        _ if scheme.eq_ignore_ascii_case("http") => ":80",
        _ if scheme.eq_ignore_ascii_case("https") => ":443",
        _ => return Err(malformed),
    };
    let path_at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(path_at);
    if let Some(host) = host {
        let host = str::from_utf8(host).unwrap_or_default();
        let same = bare_host(authority, port).eq_ignore_ascii_case(bare_host(host, port));
        if !same || authority.is_empty() {
            return Err(bad("the request target names another host"));
        }
    }
    match path.as_bytes().first() {
        // An absolute target without a path means "/"; the scheme's own slash is one to point at.
        None => Ok(&target[scheme.len() + 1..scheme.len() + 2]),
        Some(b'/') => Ok(path),
        Some(_) => Err(malformed),
    }
}

/// An authority without the port that its scheme implies.
fn bare_host<'h>(authority: &'h str, default_port: &str) -> &'h str {
    authority.strip_suffix(default_port).unwrap_or(authority)
}

fn explain(error: httparse::Error, bytes: &[u8]) -> Refused {
    use httparse::Error;
    match error {
        Error::TooManyHeaders => TOO_MANY_FIELDS,
        Error::HeaderName => bad("a header name is malformed"),
        Error::HeaderValue => BAD_VALUE,
        Error::Version if names_other_version(bytes) => {
            refused(505, "this server speaks HTTP/1.1 and HTTP/1.0")
        }
        _ => bad("the request line is malformed"),
    }
}

/// Whether the request line is well formed but for the version, which is one of HTTP, and none that is served here.
fn names_other_version(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let line = lines.find(|line| *line != b"\r").unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut parts = line.split(|byte| *byte == b' ').skip(2);
    let version = parts.next().and_then(|part| part.strip_prefix(b"HTTP/"));
    let well_formed = matches!(
        version,
        Some([major, b'.', minor]) if major.is_ascii_digit() && minor.is_ascii_digit()
    );
    well_formed && parts.next().is_none()
}

fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// RFC 3986 §3.2.2, a host and a port, less the comma: it is how a proxy joins two Host fields into one.
fn is_host_byte(byte: u8) -> bool {
    matches!(
        byte,
        b'!' | b'$'..=b'+' | b'-' | b'.' | b'0'..=b';' | b'=' | b'A'..=b'[' | b']' | b'_' | b'a'..=b'z' | b'~'
    )
}

/// RFC 9110 §5.6.2.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
