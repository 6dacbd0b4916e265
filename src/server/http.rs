//! Serving over HTTP: the part of the builder that knows addresses, paths, callers and fronts.

use std::fmt;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
#[cfg(all(feature = "http", unix))]
use std::sync::Arc;

use crate::base::error::{Error, Result};
use crate::handler::Fork;
use crate::protocol::version::Era;
use crate::server::running::RunningServer;
use crate::server::{Parts, Server};
use crate::transport::http::Callers;
use crate::transport::http::endpoint::Endpoint;
#[cfg(all(feature = "http", unix))]
use crate::transport::http::guarded::{GuardedFront, Listener};
use crate::transport::http::paths::{Paths, Route};
use crate::transport::http::policy::{Overload, OverloadStatus};
#[cfg(feature = "tiny-http")]
use crate::transport::http::tiny::TinyFront;

/// What only HTTP needs to know.
pub(super) struct HttpSettings {
    path: String,
    /// `None` for no answer to probes.
    health_path: Option<String>,
    hosts: Vec<String>,
    origins: Vec<String>,
    overload: Overload,
}

impl Default for HttpSettings {
    fn default() -> Self {
        HttpSettings {
            path: "/mcp".into(),
            health_path: Some("/healthz".into()),
            hosts: Vec::new(),
            origins: Vec::new(),
            overload: Overload::default(),
        }
    }
}

/// The settings, found to make sense.
pub(super) struct HttpRules {
    paths: Paths,
    callers: Callers,
    overload: Overload,
}

impl HttpRules {
    pub(super) fn endpoint(self, parts: &Parts) -> Endpoint {
        let HttpRules {
            paths,
            callers,
            overload,
        } = self;
        Endpoint::new(&parts.engine, paths, callers, overload, &parts.limits)
    }
}

impl<S: Fork + Send + Sync + 'static> Server<S> {
    /// The path of the HTTP endpoint, beginning with `/`. Default `/mcp`.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.settings.http.path = path.into();
        self
    }

    /// The path of health checks, beginning with `/`. Default `/healthz`. A `GET` there gets `200` while the server takes calls and `503` while it
    /// drains, whatever its `Host`, and leaves no line in the access log.
    #[must_use]
    pub fn health_path(mut self, path: impl Into<String>) -> Self {
        self.settings.http.health_path = Some(path.into());
        self
    }

    /// Answers no health checks.
    #[must_use]
    pub fn without_health_path(mut self) -> Self {
        self.settings.http.health_path = None;
        self
    }

    /// Host names, without scheme and port, that HTTP requests may have in `Host`, such as `mcp.example.com`; any other gets `403`. `*.example.com`
    /// stands for every name below that one, and `*` for any at all, for a server behind a proxy that checks it already.
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

    /// Origins of web pages that may call the server, with scheme, such as `https://app.example`; `null` stands for pages without one, such as files.
    /// Pages of these origins get the header fields that browsers ask for (CORS), and any other origin gets `403`. A server on a loopback address accepts
    /// pages from loopback names, on any port, without being told. [`allowed_hosts`](Self::allowed_hosts) do not count.
    #[must_use]
    pub fn allowed_origins(mut self, origins: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.settings
            .http
            .origins
            .extend(origins.into_iter().map(Into::into));
        self
    }

    /// With which status HTTP answers a call of this era that was refused because its lane was full or the server was shutting down. Default
    /// [`OverloadStatus::ServiceUnavailable`] in the modern era and [`OverloadStatus::Ok`] in the handshake era. The body is the same JSON-RPC error
    /// either way, and so is `Retry-After`.
    #[must_use]
    pub fn overload(mut self, era: Era, status: OverloadStatus) -> Self {
        let overload = &mut self.settings.http.overload;
        match era {
            Era::Modern => overload.modern = status,
            Era::Legacy => overload.legacy = status,
        }
        self
    }

    /// Starts serving over HTTP on this address, such as `127.0.0.1:8080`. Port 0 picks a free one. Returns at once.
    ///
    /// # Errors
    ///
    /// When the address cannot be listened on, when it is not a loopback address and no [`allowed_hosts`](Self::allowed_hosts) are set, when a
    /// thread cannot be started, and when the configuration is wrong.
    pub fn serve_http(self, address: impl ToSocketAddrs + fmt::Debug) -> Result<RunningServer> {
        let listener = bind(&address)?;
        self.serve_listener(listener)
    }

    /// Starts serving over HTTP on a listener that is bound already, as in socket activation. Returns at once.
    ///
    /// # Errors
    ///
    /// As [`serve_http`](Self::serve_http).
    pub fn serve_listener(self, listener: TcpListener) -> Result<RunningServer> {
        #[cfg(all(feature = "http", unix))]
        {
            let address = listener.local_addr().map_err(unusable)?;
            let rules = self.http_rules(is_loopback(&address))?;
            self.serve_guarded(rules, |_| Ok(listener.into()))
        }
        #[cfg(not(all(feature = "http", unix)))]
        self.serve_tiny(listener)
    }

    /// Starts serving over HTTP on this address with [tiny_http](https://docs.rs/tiny_http). Returns at once. [`serve_http`](Self::serve_http) does the
    /// same where nothing better is compiled in.
    ///
    /// It is for comparison, and for systems that are not Unix; for anything else [`serve_http`](Self::serve_http) is better. What tiny_http 0.12 cannot
    /// do: it has no bound on the length of a header line, no deadline for a slow head, body or reader, no cap on connections, and it notices
    /// that a client has left only when a write fails. Running out of descriptors ends its accept loop for good. It reads a refused body to its
    /// end before the refusal goes out. At the end idle connections are not closed. In a burst of connections its thread pool can leave some
    /// unanswered for seconds. On loopback, or behind a proxy that has these bounds, that may do.
    ///
    /// # Errors
    ///
    /// As [`serve_http`](Self::serve_http).
    #[cfg(feature = "tiny-http")]
    pub fn serve_tiny_http(
        self,
        address: impl ToSocketAddrs + fmt::Debug,
    ) -> Result<RunningServer> {
        let listener = bind(&address)?;
        self.serve_tiny(listener)
    }

    #[cfg(feature = "tiny-http")]
    fn serve_tiny(self, listener: TcpListener) -> Result<RunningServer> {
        let address = listener.local_addr().map_err(unusable)?;
        let rules = self.http_rules(is_loopback(&address))?;
        let parts = self.start()?;
        let front = TinyFront::start(listener, rules.endpoint(&parts))?;
        Ok(parts.run(Box::new(front)))
    }

    /// Starts serving over HTTP on a Unix-domain socket. Returns at once.
    ///
    /// The socket is made with these permissions, such as `0o600` for its owner alone, and removed at the end. A socket that
    /// a dead server left behind is replaced. Clients send a loopback name, such as `localhost`, in `Host`.
    ///
    /// # Errors
    ///
    /// When there is a live server or another file at `path`, when the permissions let nobody connect, and as [`serve_http`](Self::serve_http).
    #[cfg(all(feature = "http", unix))]
    pub fn serve_unix(
        self,
        path: impl AsRef<std::path::Path>,
        permissions: u32,
    ) -> Result<RunningServer> {
        let path = path.as_ref();
        // To connect is to write.
        if permissions & 0o222 == 0 || permissions > 0o777 {
            return Err(Error::configuration(format!(
                "with the permissions {permissions:#o} nobody can connect; `0o600` lets its owner"
            )));
        }
        let rules = self.http_rules(true)?;
        self.serve_guarded(rules, |_| {
            Listener::bind_unix(path, permissions)
                .map_err(|error| Error::bind(path.display(), error))
        })
    }

    #[cfg(all(feature = "http", unix))]
    fn serve_guarded(
        self,
        rules: HttpRules,
        listener: impl FnOnce(&Parts) -> Result<Listener>,
    ) -> Result<RunningServer> {
        let parts = self.start()?;
        let listener = listener(&parts)?;
        let connections = Arc::clone(parts.engine.connections());
        let limits = Arc::clone(&parts.limits);
        let endpoint = Arc::new(rules.endpoint(&parts));
        let front = GuardedFront::start(listener, endpoint, limits, connections);
        Ok(parts.run(Box::new(front.map_err(unusable)?)))
    }

    /// Checks what could never match, and so would lock everyone out without a word.
    pub(super) fn http_rules(&self, loopback: bool) -> Result<HttpRules> {
        let settings = &self.settings.http;
        let mcp = (settings.path.as_str(), Route::Mcp);
        let health = settings.health_path.as_deref();
        let paths = Paths::new(
            [mcp]
                .into_iter()
                .chain(health.map(|path| (path, Route::Health))),
        );
        if !loopback && settings.hosts.is_empty() {
            return Err(Error::configuration(
                "a server beyond loopback must know by which hosts it may be called: name them with `allowed_hosts`",
            ));
        }
        let callers = Callers::new(loopback, &settings.hosts, &settings.origins);
        Ok(HttpRules {
            paths: paths.map_err(Error::configuration)?,
            callers: callers.map_err(Error::configuration)?,
            overload: settings.overload,
        })
    }
}

fn bind(address: &(impl ToSocketAddrs + fmt::Debug)) -> Result<TcpListener> {
    TcpListener::bind(address).map_err(|error| Error::bind(format_args!("{address:?}"), error))
}

fn unusable(error: std::io::Error) -> Error {
    Error::io("cannot use the listener", error)
}

fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}
