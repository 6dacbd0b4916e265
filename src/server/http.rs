//! Serving over HTTP: the part of the builder that knows addresses, hosts and fronts.

use std::fmt;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::handler::Fork;
use crate::server::Server;
use crate::server::running::{Front, RunningServer};
use crate::transport::http::endpoint::Endpoint;
#[cfg(all(feature = "http", unix))]
use crate::transport::http::guarded::{GuardedFront, Listener};
use crate::transport::http::policy::Guard;
#[cfg(feature = "tiny-http")]
use crate::transport::http::tiny::TinyFront;

/// Which HTTP implementation reads the bytes. Both serve the same protocol; they differ in how well they withstand
/// slow, broken and hostile clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpFront {
    /// A thread for each connection, every size bounded, every wait with a deadline, a client that leaves noticed. The
    /// default where it is compiled in (feature `http`, Unix).
    #[cfg(all(feature = "http", unix))]
    Guarded,
    /// tiny_http (feature `tiny-http`): smaller, but it has no bound on the length of a header line, no deadline for a slow
    /// request, no cap on connections, and it notices that a client has left only when a write fails. In a burst of
    /// connections its thread pool can leave some unanswered for seconds. For loopback, or behind a proxy.
    #[cfg(feature = "tiny-http")]
    Tiny,
}

impl Default for HttpFront {
    fn default() -> Self {
        #[cfg(all(feature = "http", unix))]
        return HttpFront::Guarded;
        #[cfg(not(all(feature = "http", unix)))]
        return HttpFront::Tiny;
    }
}

/// What only HTTP needs to know.
pub(super) struct HttpSettings {
    path: String,
    hosts: Vec<String>,
    origins: Vec<String>,
    front: HttpFront,
}

impl Default for HttpSettings {
    fn default() -> Self {
        HttpSettings {
            path: "/mcp".into(),
            hosts: Vec::new(),
            origins: Vec::new(),
            front: HttpFront::default(),
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
        self.settings.http.front = front;
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
        let unusable = |error| Error::io("cannot use the listener", error);
        let address = listener.local_addr().map_err(unusable)?;
        let guard = self.guard(&address)?;
        let front = self.settings.http.front;
        let parts = self.start()?;
        let endpoint = Arc::new(Endpoint::new(&parts.engine, guard, &parts.limits));
        let front = match front {
            #[cfg(all(feature = "http", unix))]
            HttpFront::Guarded => {
                let connections = Arc::clone(parts.engine.connections());
                let limits = Arc::clone(&parts.limits);
                let front = GuardedFront::start(listener.into(), endpoint, limits, connections);
                Front::Guarded(front.map_err(unusable)?)
            }
            #[cfg(feature = "tiny-http")]
            HttpFront::Tiny => Front::Tiny(TinyFront::start(listener, endpoint)?),
        };
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
        let connections = Arc::clone(parts.engine.connections());
        let limits = Arc::clone(&parts.limits);
        let front = GuardedFront::start(listener, endpoint, limits, connections)
            .map_err(|error| Error::io("cannot use the listener", error))?;
        Ok(parts.run(Front::Guarded(front)))
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
