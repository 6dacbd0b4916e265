//! Serving over HTTP: the part of the builder that knows addresses, hosts and fronts.

use std::fmt;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;

use crate::base::error::{Error, Result};
use crate::handler::Fork;
use crate::server::running::RunningServer;
use crate::server::{Parts, Server};
use crate::transport::front::Front;
use crate::transport::http::endpoint::Endpoint;
#[cfg(all(feature = "http", unix))]
use crate::transport::http::guarded::{GuardedFront, Listener};
use crate::transport::http::policy::Guard;
#[cfg(feature = "tiny-http")]
use crate::transport::http::tiny::TinyFront;

/// Which HTTP implementation reads the bytes. Both serve the same protocol; they differ in how well they withstand
/// slow, broken and hostile clients. A program carries the code of those it names, and of the default if it serves HTTP at all.
#[derive(Clone, Copy)]
pub struct HttpFront {
    name: &'static str,
    start: StartFront,
}

type StartFront = fn(TcpListener, &Arc<Endpoint>, &Parts) -> Result<Box<dyn Front>>;

impl HttpFront {
    /// A thread for each connection, every size bounded, every wait with a deadline, a client that leaves noticed. The
    /// default where it is compiled in (feature `http`, Unix).
    #[cfg(all(feature = "http", unix))]
    pub const GUARDED: HttpFront = HttpFront {
        name: "guarded",
        start: |listener, endpoint, parts| {
            let front = guarded(listener.into(), endpoint, parts);
            Ok(Box::new(front.map_err(unusable)?))
        },
    };

    /// tiny_http (feature `tiny-http`): smaller, but it has no bound on the length of a header line, no deadline for a slow
    /// request, no cap on connections, and it notices that a client has left only when a write fails. In a burst of
    /// connections its thread pool can leave some unanswered for seconds. For loopback, or behind a proxy.
    #[cfg(feature = "tiny-http")]
    pub const TINY: HttpFront = HttpFront {
        name: "tiny",
        start: |listener, endpoint, _| {
            let front = TinyFront::start(listener, Arc::clone(endpoint))?;
            Ok(Box::new(front))
        },
    };
}

impl fmt::Debug for HttpFront {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpFront({})", self.name)
    }
}

impl PartialEq for HttpFront {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for HttpFront {}

impl Default for HttpFront {
    fn default() -> Self {
        #[cfg(all(feature = "http", unix))]
        return HttpFront::GUARDED;
        #[cfg(not(all(feature = "http", unix)))]
        return HttpFront::TINY;
    }
}

#[cfg(all(feature = "http", unix))]
fn guarded(
    listener: Listener,
    endpoint: &Arc<Endpoint>,
    parts: &Parts,
) -> std::io::Result<GuardedFront> {
    let connections = Arc::clone(parts.engine.connections());
    let limits = Arc::clone(&parts.limits);
    GuardedFront::start(listener, Arc::clone(endpoint), limits, connections)
}

fn unusable(error: std::io::Error) -> Error {
    Error::io("cannot use the listener", error)
}

/// What only HTTP needs to know.
pub(super) struct HttpSettings {
    path: String,
    hosts: Vec<String>,
    origins: Vec<String>,
    /// The default if there is none.
    front: Option<HttpFront>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        HttpSettings {
            path: "/mcp".into(),
            hosts: Vec::new(),
            origins: Vec::new(),
            front: None,
        }
    }
}

impl<S: Fork + Send + Sync + 'static> Server<S> {
    /// The path of the HTTP endpoint, beginning with `/`. Default `/mcp`.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.settings.http.path = path.into();
        self
    }

    /// Host names, without scheme and port, that HTTP requests may have in `Host` and `Origin`, such as `mcp.example.com`. Any other gets `403`.
    ///
    /// A server on a loopback address accepts `localhost`, `127.0.0.1` and `[::1]` without being told. On any other address, `0.0.0.0` included, this
    /// list is required, because it protects the server against DNS rebinding by a web page. Specification: `basic/transports/streamable-http`.
    #[must_use]
    pub fn allowed_hosts(mut self, hosts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.settings
            .http
            .hosts
            .extend(hosts.into_iter().map(Into::into));
        self
    }

    /// Origins of web pages that may call the server, with scheme, such as `https://app.example`. Origins on the
    /// [`allowed_hosts`](Self::allowed_hosts) are accepted anyway.
    #[must_use]
    pub fn allowed_origins(mut self, origins: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.settings
            .http
            .origins
            .extend(origins.into_iter().map(Into::into));
        self
    }

    /// Chooses the HTTP implementation. Default [`HttpFront::default`].
    #[must_use]
    pub fn front(mut self, front: HttpFront) -> Self {
        self.settings.http.front = Some(front);
        self
    }

    /// Starts serving over HTTP on this address, such as `127.0.0.1:8080`. Port 0 picks a free one. Returns at once.
    ///
    /// # Errors
    ///
    /// When the address cannot be listened on, when it is not a loopback address and no [`allowed_hosts`](Self::allowed_hosts) are set, when a
    /// thread cannot be started, and when the configuration is wrong.
    pub fn serve_http(self, address: impl ToSocketAddrs + fmt::Debug) -> Result<RunningServer> {
        let listener = TcpListener::bind(&address)
            .map_err(|error| Error::bind(format_args!("{address:?}"), error))?;
        self.serve_listener(listener)
    }

    /// Starts serving over HTTP on a listener that is bound already, as in socket activation. Returns at once.
    ///
    /// # Errors
    ///
    /// As [`serve_http`](Self::serve_http).
    pub fn serve_listener(self, listener: TcpListener) -> Result<RunningServer> {
        let address = listener.local_addr().map_err(unusable)?;
        let guard = self.guard(&address)?;
        let front = self.settings.http.front.unwrap_or_default();
        let parts = self.start()?;
        let endpoint = Arc::new(Endpoint::new(&parts.engine, guard, &parts.limits));
        let front = (front.start)(listener, &endpoint, &parts)?;
        Ok(parts.run(front))
    }

    /// Starts serving over HTTP on a Unix-domain socket. Returns at once.
    ///
    /// The socket is made with these permissions, such as `0o600` for its owner alone, and removed at the end. A socket that
    /// a dead server left behind is replaced. Clients send a loopback name, such as `localhost`, in `Host`.
    ///
    /// # Errors
    ///
    /// When there is a live server or another file at `path`, and as [`serve_http`](Self::serve_http).
    #[cfg(all(feature = "http", unix))]
    pub fn serve_unix(
        self,
        path: impl AsRef<std::path::Path>,
        permissions: u32,
    ) -> Result<RunningServer> {
        let path = path.as_ref();
        self.check_names()?;
        let guard = self.guard_with(true);
        let parts = self.start()?;
        let listener = Listener::bind_unix(path, permissions)
            .map_err(|error| Error::bind(path.display(), error))?;
        let endpoint = Arc::new(Endpoint::new(&parts.engine, guard, &parts.limits));
        let front = guarded(listener, &endpoint, &parts).map_err(unusable)?;
        Ok(parts.run(Box::new(front)))
    }

    /// Who may call on this address.
    fn guard(&self, address: &SocketAddr) -> Result<Guard> {
        self.check_names()?;
        let loopback = address.ip().is_loopback();
        if !loopback && self.settings.http.hosts.is_empty() {
            return Err(Error::configuration(format!(
                "{address} is not a loopback address: name the hosts it may be called by with `allowed_hosts`"
            )));
        }
        Ok(self.guard_with(loopback))
    }

    /// What could never match, and so would lock everyone out without a word.
    pub(super) fn check_names(&self) -> Result<()> {
        let HttpSettings {
            path,
            hosts,
            origins,
            ..
        } = &self.settings.http;
        if !path.starts_with('/') || path.contains(['?', '#', ' ']) {
            return Err(Error::configuration(format!(
                "the path `{path}` must begin with `/` and have no `?`, `#` or blank"
            )));
        }
        if let Some(host) = hosts.iter().find(|host| {
            host.is_empty()
                || host.contains(['/', '[', ' '])
                || (host.contains(':') && host.parse::<std::net::Ipv6Addr>().is_err())
        }) {
            return Err(Error::configuration(format!(
                "the allowed host `{host}` must be a name or an address without scheme, port or brackets"
            )));
        }
        let is_origin = |origin: &&String| {
            origin.split_once("://").is_some_and(|(scheme, host)| {
                !scheme.is_empty() && !host.is_empty() && !host.contains('/')
            })
        };
        if let Some(origin) = origins.iter().find(|origin| !is_origin(origin)) {
            return Err(Error::configuration(format!(
                "the allowed origin `{origin}` must be scheme and host, such as `https://app.example`, without a path"
            )));
        }
        Ok(())
    }

    pub(super) fn guard_with(&self, loopback: bool) -> Guard {
        let HttpSettings {
            path,
            hosts,
            origins,
            ..
        } = &self.settings.http;
        Guard {
            path: path.clone(),
            loopback,
            hosts: hosts.clone(),
            origins: origins.clone(),
        }
    }
}
