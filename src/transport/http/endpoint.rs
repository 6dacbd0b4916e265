//! The MCP endpoint: what all its exchanges share, its paths, and who may call.
//!
//! `Host` and `Origin` are what keeps a web page from talking to a local server through DNS rebinding; what browsers are told about them is CORS. A rule that
//! could never match is a mistake that [`Callers::new`] finds. What is done with an exchange stands in `serve`, which begins the reading, then `get` and
//! `write`. Must not know how bytes are read, nor methods of MCP. Specification: `basic/transports/streamable-http` ("Security & Endpoint") of revision
//! 2026-07-28; Fetch standard, "CORS protocol".

use std::net::IpAddr;
use std::sync::Arc;

use crate::base::counted::Counted;
use crate::base::limits::Limits;
use crate::engine::Engine;
use crate::outbox::OutboxReceiver;
use crate::protocol::errors::shortened;
use crate::transport::http::exchange::{Exchange, Field};
use crate::transport::http::policy::Overload;
use crate::transport::http::refusal::HttpRefusal;

/// The MCP endpoint.
pub(crate) struct Endpoint {
    pub(crate) engine: Arc<Engine>,
    pub(crate) paths: Paths,
    pub(crate) callers: Callers,
    pub(crate) overload: Overload,
    pub(crate) limits: Arc<Limits>,
}

impl Endpoint {
    /// A permit for one more event stream, if not too many are open.
    pub(super) fn stream_permit(&self) -> Option<Counted> {
        Counted::one_of(self.engine.streams(), self.limits.streams_max)
    }

    /// What one exchange reads from. A client that cannot be streamed to cannot be asked either.
    pub(super) fn outbox(&self, can_stream: bool) -> OutboxReceiver {
        let (outbox, receiver) = self.engine.outbox(1);
        if !can_stream {
            outbox.take_no_requests();
        }
        receiver
    }
}

/// What is served at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// The MCP endpoint.
    Mcp,
    /// Whether the server takes calls, for probes.
    Health,
}

/// Every path with what is served there. A slash at the end makes no other path.
#[derive(Clone, Debug)]
pub(crate) struct Paths(Vec<(String, Route)>);

impl Paths {
    /// Takes the paths, or says in a sentence which of them could never be asked for.
    pub(crate) fn new<'a>(
        paths: impl IntoIterator<Item = (&'a str, Route)>,
    ) -> Result<Self, String> {
        let mut table: Vec<(String, Route)> = Vec::new();
        for (path, route) in paths {
            let is_sent = |byte: u8| byte.is_ascii_graphic() && !b"?#".contains(&byte);
            if !path.starts_with('/') || !path.bytes().all(is_sent) {
                return Err(format!(
                    "the path `{path}` must begin with `/` and have only visible ASCII characters other than `?` and `#`"
                ));
            }
            let path = without_slash(path).to_owned();
            if table.iter().any(|(taken, _)| *taken == path) {
                return Err(format!("the path `{path}/` is to serve two things"));
            }
            table.push((path, route));
        }
        Ok(Paths(table))
    }

    /// What is served at a request's target, if anything is.
    pub(crate) fn find(&self, target: &str) -> Option<Route> {
        let path = target.split(['?', '#']).next()?;
        let path = without_slash(path);
        let mut table = self.0.iter();
        table.find(|(known, _)| known == path).map(|entry| entry.1)
    }
}

fn without_slash(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

/// From where a front can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Any loopback name will do, and a refusal may say what was sent.
    ThisMachine,
    Network,
}

/// The rules for `Host` and `Origin`.
#[derive(Clone, Debug)]
pub(crate) struct Callers {
    reach: Reach,
    hosts: Vec<HostRule>,
    /// In lower case, whole.
    origins: Vec<String>,
}

#[derive(Clone, Debug)]
enum HostRule {
    /// `*`: a proxy in front has looked already.
    Any,
    /// `*.example.com`, kept as `.example.com`.
    Below(String),
    Name(String),
    Address(IpAddr),
}

impl Callers {
    /// Reads the rules, or says in a sentence which of them could never match.
    pub(crate) fn new(reach: Reach, hosts: &[String], origins: &[String]) -> Result<Self, String> {
        let hosts = hosts.iter().map(|host| {
            HostRule::parse(host).ok_or_else(|| {
                format!("the allowed host `{host}` must be a name or an address without scheme, port or brackets, `*.` and a name, or `*` for any; other alphabets as `xn--..`")
            })
        });
        let origins = origins.iter().map(|origin| {
            parse_origin(origin).ok_or_else(|| {
                format!("the allowed origin `{origin}` must be scheme and host as browsers send them, such as `https://app.example`, without path or `*`, or `null`")
            })
        });
        Ok(Callers {
            reach,
            hosts: hosts.collect::<Result<_, _>>()?,
            origins: origins.collect::<Result<_, _>>()?,
        })
    }

    /// Refuses a request whose `Host` is none of the server's.
    pub(crate) fn check_host<E: Exchange>(&self, exchange: &E) -> Result<(), HttpRefusal> {
        if self.hosts.iter().any(|rule| matches!(rule, HostRule::Any)) {
            return Ok(());
        }
        match exchange.single("Host") {
            Field::One(host) if self.allows_host(host) => Ok(()),
            field => Err(self.refuse("Host", &field, "allowed_hosts")),
        }
    }

    /// The accepted origin that the request comes from, if a browser says one.
    pub(crate) fn check_origin<E: Exchange>(
        &self,
        exchange: &E,
    ) -> Result<Option<String>, HttpRefusal> {
        match exchange.single("Origin") {
            Field::Absent => Ok(None),
            Field::One(origin) if self.allows_origin(origin) => Ok(Some(origin.to_owned())),
            field => Err(self.refuse("Origin", &field, "allowed_origins")),
        }
    }

    fn refuse(&self, name: &str, field: &Field<'_>, option: &str) -> HttpRefusal {
        let came = match field {
            Field::Absent => "is missing".to_owned(),
            Field::One(value) => format!("`{}` is not allowed", shortened(value)),
            Field::Repeated => "is there twice".to_owned(),
        };
        let told = format!("{name} {came}; the server's operator can allow it with `{option}`");
        if self.reach == Reach::ThisMachine {
            return HttpRefusal::new(403, told);
        }
        HttpRefusal::new(403, format!("This {name} is not allowed")).because(told)
    }

    fn allows_host(&self, host: &str) -> bool {
        host_name(host).is_some_and(|name| {
            (self.reach == Reach::ThisMachine && is_loopback(name))
                || self.hosts.iter().any(|rule| rule.allows(name))
        })
    }

    /// Accepted hosts do not count: that a server is called by a name says nothing of the pages served there.
    fn allows_origin(&self, origin: &str) -> bool {
        let is_local = |scheme: &str| {
            let host = origin.strip_prefix(scheme).and_then(host_name);
            host.is_some_and(is_loopback)
        };
        let mut origins = self.origins.iter();
        origins.any(|allowed| allowed.eq_ignore_ascii_case(origin))
            || (self.reach == Reach::ThisMachine && (is_local("http://") || is_local("https://")))
    }
}

impl HostRule {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(HostRule::Any);
        }
        if let Ok(address) = text.parse() {
            return Some(HostRule::Address(address));
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        let (name, is_suffix) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let fits = !name.is_empty() && !name.starts_with('.') && name.bytes().all(is_name);
        fits.then(|| match is_suffix {
            true => HostRule::Below(format!(".{name}")),
            false => HostRule::Name(name.to_owned()),
        })
    }

    fn allows(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        match self {
            HostRule::Any => true,
            HostRule::Name(allowed) => allowed.eq_ignore_ascii_case(name),
            HostRule::Address(allowed) => name.parse() == Ok(*allowed),
            HostRule::Below(suffix) => {
                let start = name.len().checked_sub(suffix.len());
                let end = start.and_then(|start| name.get(start..));
                start != Some(0) && end.is_some_and(|end| end.eq_ignore_ascii_case(suffix))
            }
        }
    }
}

/// An origin as browsers write it: in lower case, without the scheme's own port.
fn parse_origin(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    if text == "null" {
        return Some(text);
    }
    let (scheme, authority) = text.split_once("://")?;
    let port = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => "",
    };
    let fits = !scheme.is_empty()
        && !authority.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && !authority.contains(['/', '?', '#', '@', '*', '\\'])
        && (port.is_empty() || host_name(authority).is_some());
    let authority = authority.strip_suffix(port).unwrap_or(authority);
    fits.then(|| format!("{scheme}://{authority}"))
}

/// The name in `name`, `name:port` or `[v6]:port`; `None` if it is none of these.
fn host_name(host: &str) -> Option<&str> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (name, port) = rest.split_once(']')?;
            name.parse::<std::net::Ipv6Addr>().ok()?;
            let port = match port {
                "" => None,
                port => Some(port.strip_prefix(':')?),
            };
            (name, port)
        }
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    let port_fits =
        port.is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit()) && port.len() <= 5);
    (!name.is_empty() && port_fits).then_some(name)
}

fn is_loopback(name: &str) -> bool {
    // As nearly everybody writes it, before it is taken apart.
    name == "127.0.0.1"
        || name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

/// What a browser must read in every answer to a page of this origin.
pub(super) fn cors_fields(origin: &str) -> [(&str, &str); 3] {
    [
        ("Access-Control-Allow-Origin", origin),
        ("Vary", "Origin"),
        (
            "Access-Control-Expose-Headers",
            "Mcp-Session-Id, Retry-After, X-Request-Id",
        ),
    ]
}

/// The fields of a request that mean something here; a page may send no others besides those it always may.
const READ: &[&str] = &[
    "accept",
    "content-type",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
    "x-request-id",
];

/// Of the fields that a page wants to send, those that are read.
pub(super) fn readable_fields<E: Exchange>(exchange: &E) -> String {
    let asked = exchange
        .fields("Access-Control-Request-Headers")
        .flat_map(|value| value.split(','))
        .map(str::trim);
    let is_read = |name: &&str| {
        let name = name.to_ascii_lowercase();
        READ.contains(&&*name) || name.starts_with("mcp-param-")
    };
    let readable: Vec<_> = asked.filter(is_read).collect();
    readable.join(", ")
}

#[cfg(test)]
mod tests;
