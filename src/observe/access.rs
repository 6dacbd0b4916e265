//! The trail of one request: its request id, what is known of it at its end, and the line that the access log has of it.
//!
//! The engine fills in what happened, the transport adds the status, and the access log has it once. Must not know how either works.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::base::heap::FREED_ELSEWHERE_MAX;
use crate::base::log;

/// The target of the access log.
const TARGET: &str = "mcp_threads::access";

/// The id under which a request stands in every log line: `X-Request-Id`, or a fresh UUID. Who asks is noted here, by the layer that learns it.
#[derive(Clone, Debug)]
pub(crate) struct RequestTag(Arc<Trail>);

/// Who asks, as far as it is known; nothing of it is looked for unless somebody reads the log.
#[derive(Debug)]
struct Trail {
    /// Of its number, if nobody has given it one; made when a handler or the log reads it, for most requests are never looked at.
    id: OnceLock<Box<str>>,
    number: u64,
    /// `None` if it came from no client.
    peer: Option<Peer>,
    asker: OnceLock<Box<Asker>>,
}

const _: () = assert!(size_of::<Trail>() <= FREED_ELSEWHERE_MAX);

#[derive(Debug)]
struct Asker {
    era: &'static str,
    client: Option<String>,
}

/// Room for an id that is written where it is read.
pub(crate) type IdRoom = [u8; Hyphenated::LENGTH];
pub(crate) const ID_ROOM: IdRoom = [0; Hyphenated::LENGTH];

/// The longest id that is taken from a client.
const ID_BYTES_MAX: usize = 64;

/// A UUID of version 4. It has to be unique, not secret, so it is a counter that two keys mix, and costs no system call; the keys come from the
/// operating system once.
fn uuid_of(number: u64, room: &mut IdRoom) -> &str {
    static KEYS: LazyLock<[u64; 2]> = LazyLock::new(|| {
        let (high, low) = Uuid::new_v4().as_u64_pair();
        [high, low]
    });
    let [high, low] = KEYS.map(|key| mixed(key.wrapping_add(number)));
    let bytes = Uuid::from_u64_pair(high, low).into_bytes();
    let id = uuid::Builder::from_random_bytes(bytes).into_uuid();
    id.hyphenated().encode_lower(room)
}

/// The finalizer of SplitMix64: a bijection, so that what differs stays different.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Peer {
    Address(SocketAddr),
    /// A Unix-domain socket.
    Local,
    Pipe,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Address(address) => address.fmt(f),
            Peer::Local => f.write_str("local"),
            Peer::Pipe => f.write_str("pipe"),
        }
    }
}

/// Whether anybody reads the access log, so that what only stands there must be found out.
pub(crate) fn is_logged() -> bool {
    log::is_wanted(log::Level::Info, TARGET)
}

impl RequestTag {
    /// Takes the client's id if it has 1 to 64 characters of `A-Z a-z 0-9 . _ : / + = @ -`, which no log and no page can take for anything
    /// else, and makes a new one otherwise.
    pub(crate) fn from_client(id: Option<&str>, peer: Peer) -> Self {
        match id {
            Some(id) if (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(is_id_byte) => {
                Self::new(Box::<str>::from(id).into(), 0, Some(peer))
            }
            _ => Self::fresh(peer),
        }
    }

    /// A new UUID of version 4.
    pub(crate) fn fresh(peer: impl Into<Option<Peer>>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self::new(OnceLock::new(), number, peer.into())
    }

    fn new(id: OnceLock<Box<str>>, number: u64, peer: Option<Peer>) -> Self {
        RequestTag(Arc::new(Trail {
            id,
            number,
            peer,
            asker: OnceLock::new(),
        }))
    }

    pub(crate) fn as_str(&self) -> &str {
        let make = || uuid_of(self.0.number, &mut { ID_ROOM }).into();
        self.0.id.get_or_init(make)
    }

    /// The same without keeping it.
    pub(crate) fn text<'a>(&'a self, room: &'a mut IdRoom) -> &'a str {
        match self.0.id.get() {
            Some(id) => id,
            None => uuid_of(self.0.number, room),
        }
    }

    /// The address that it came from, if that is one.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self.0.peer {
            Some(Peer::Address(address)) => Some(address),
            _ => None,
        }
    }

    /// Notes the era it is served in, and what the client calls itself. That is its own text, so only what cannot forge a line is kept of it.
    pub(crate) fn note_asker(&self, era: &'static str, client: Option<&str>) {
        const CHARS_MAX: usize = 64;
        let plain = |char: char| match char {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' | '/' | '@' | '+' => char,
            _ => '_',
        };
        let kept = |name: &str| name.chars().take(CHARS_MAX).map(plain).collect();
        self.0.asker.get_or_init(|| {
            let client = client.map(kept);
            Box::new(Asker { era, client })
        });
    }
}

fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._:/+=@-".contains(&byte)
}

impl fmt::Display for RequestTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether this is a `traceparent` as W3C Trace Context has it, and so can stand in a log: `00-<32 digits>-<16 digits>-<2 digits>`, in lowercase hexadecimal.
pub(crate) fn is_traceparent(text: &str) -> bool {
    const LEN: usize = 55;
    let fits = |(at, byte): (usize, u8)| match at {
        2 | 35 | 52 => byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    };
    text.len() == LEN && text.bytes().enumerate().all(fits)
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok,
    /// The tool said that it failed.
    ToolError,
    /// A JSON-RPC error.
    Error,
    /// Refused: there was no room or no worker for it, the server was draining, or a rule of HTTP forbade it.
    Refused,
    Panicked,
    Cancelled,
    /// It gave no sign of life, and its handler returned only when it was cancelled for that.
    Stalled,
    /// Its handler was given up.
    Abandoned,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::ToolError => "tool_error",
            Outcome::Error => "error",
            Outcome::Refused => "refused",
            Outcome::Panicked => "panicked",
            Outcome::Cancelled => "cancelled",
            Outcome::Stalled => "stalled",
            Outcome::Abandoned => "abandoned",
        }
    }
}

/// What is known of a request at its end.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(crate) tag: RequestTag,
    /// A name of the protocol, never a client's text: a log line must not be forged.
    pub(crate) method: &'static str,
    pub(crate) outcome: Outcome,
    /// What only its line says; `None` if nobody read the log when it ended. Boxed, because every answer is handed on with it.
    details: Option<Box<Details>>,
}

/// What is known of it beside that.
#[derive(Clone, Debug, Default)]
pub(crate) struct Details {
    /// What was called, as its author registered it.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) lane: Option<Arc<str>>,
    pub(crate) queued: Duration,
    pub(crate) running: Duration,
    /// How many of its events were dropped because they were not read in time.
    pub(crate) dropped: usize,
    /// Of the trace that the request is part of; well formed.
    pub(crate) traceparent: Option<Box<str>>,
    /// Why it was refused or given up, if it was. It may quote the client.
    pub(crate) reason: Option<Box<str>>,
}

impl Access {
    pub(crate) fn new(
        tag: &RequestTag,
        method: &'static str,
        outcome: Outcome,
        details: impl FnOnce() -> Details,
    ) -> Self {
        Access {
            tag: tag.clone(),
            method,
            outcome,
            details: is_logged().then(|| Box::new(details())),
        }
    }

    /// The same with the reason of a refusal.
    pub(crate) fn because(mut self, reason: &str) -> Self {
        const CHARS_MAX: usize = 200;
        if let Some(details) = &mut self.details {
            let reason = reason.chars().take(CHARS_MAX).collect::<String>();
            details.reason = Some(reason.into());
        }
        self
    }

    /// The line of something that never got as far as a lane.
    pub(crate) fn immediate(tag: RequestTag, method: &'static str, outcome: Outcome) -> Self {
        Access::new(&tag, method, outcome, Details::default)
    }

    /// Writes the request's line of the access log, through [`log`] with the target `mcp_threads::access`. The thread that knows of its end first calls it,
    /// once. It never waits. Transports without a status of their own pass `None`.
    pub(crate) fn ended(&self, status: Option<u16>) {
        if !is_logged() {
            return;
        }
        let details = self.details.clone().unwrap_or_default();
        let trail = &*self.tag.0;
        let asker = trail.asker.get();
        // Quoted and escaped, so that what it quotes of the client forges nothing.
        let reason = details.reason.as_deref();
        let reason = reason.map_or_else(String::new, |reason| format!(" reason={reason:?}"));
        let status = status.map_or_else(|| "-".to_owned(), |status| status.to_string());
        let trace = details.traceparent.as_ref();
        let trace = trace.map_or_else(String::new, |trace| format!(" traceparent={trace}"));
        let dropped = match details.dropped {
            0 => String::new(),
            dropped => format!(" dropped_events={dropped}"),
        };
        log::info!(
            target: TARGET,
            "method={} {}={} status={status} outcome={} lane={} queued_us={} running_us={} peer={} era={} client={} request_id={}{reason}{trace}{dropped}",
            self.method,
            kind(self.method),
            details.name.as_deref().unwrap_or("-"),
            self.outcome.as_str(),
            details.lane.as_deref().unwrap_or("-"),
            details.queued.as_micros(),
            details.running.as_micros(),
            trail.peer.as_ref().map_or("-".to_owned(), Peer::to_string),
            asker.map_or("-", |asker| asker.era),
            asker.and_then(|asker| asker.client.as_deref()).unwrap_or("-"),
            self.tag
        );
    }
}

/// What the name on a line is a name of.
fn kind(method: &str) -> &'static str {
    match method.split('/').next() {
        Some("prompts") => "prompt",
        Some("resources") => "resource",
        Some("completion") => "completion",
        _ => "tool",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn fresh_ids_are_random_uuids_and_never_the_same() {
        let ids: Vec<RequestTag> = (0..1000).map(|_| RequestTag::fresh(None)).collect();
        let distinct: HashSet<&str> = ids.iter().map(RequestTag::as_str).collect();
        assert_eq!(distinct.len(), ids.len());
        for id in distinct {
            let id = Uuid::parse_str(id).expect("a fresh id is a UUID");
            assert_eq!(id.get_version_num(), 4, "{id}");
        }
    }

    #[test]
    fn only_a_well_formed_traceparent_is_one() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
        assert!(is_traceparent(good));
        for at in 0..good.len() {
            for other in ["g", "A", " ", "\n", "\0", "-", "0", "=", "é"] {
                let text = format!("{}{other}{}", &good[..at], &good[at + 1..]);
                let is_separator = good.as_bytes()[at] == b'-';
                let fits = if is_separator {
                    other == "-"
                } else {
                    other == "0"
                };
                assert_eq!(is_traceparent(&text), fits, "{text:?}");
            }
        }
        for text in ["", &good[1..], &format!("{good}0"), &format!("{good}\n")] {
            assert!(!is_traceparent(text), "{text:?}");
        }
    }

    #[test]
    fn a_client_s_id_is_kept_only_when_it_is_short_and_plain() {
        let longest = "x".repeat(64);
        for kept in ["a", "Az09._:/+=@-", longest.as_str()] {
            assert_eq!(
                RequestTag::from_client(Some(kept), Peer::Local).as_str(),
                kept
            );
        }
        let too_long = "x".repeat(65);
        for replaced in [
            None,
            Some(""),
            Some("a b"),
            Some("a\n"),
            Some("<script>"),
            Some("a;b"),
            Some("\"a\""),
            Some("~"),
            Some("é"),
            Some(too_long.as_str()),
        ] {
            let tag = RequestTag::from_client(replaced, Peer::Local);
            assert!(
                Uuid::parse_str(tag.as_str()).is_ok(),
                "{replaced:?} became {tag}"
            );
        }
    }
}
