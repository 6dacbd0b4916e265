//! Serving over HTTP: the part of the builder that knows addresses, paths, callers and fronts.

use std::fmt;
use std::net::{Ipv6Addr, TcpListener, ToSocketAddrs};
#[cfg(all(feature = "http", unix))]
use std::path::Path;
use std::sync::Arc;

use crate::base::error::{Error, Result};
use crate::base::setters::setters;
use crate::handler::Fork;
use crate::protocol::version::Era;
use crate::server::builder::{Server, starters};
use crate::server::http_settings::HttpSettings;
#[cfg(all(feature = "http", unix))]
use crate::server::inherited;
use crate::server::running::RunningServer;
use crate::server::shared::SharedServer;
use crate::transport::http::endpoint::{Endpoint, Reach};
#[cfg(all(feature = "http", unix))]
use crate::transport::http::guarded::{GuardedFront, Listener};
use crate::transport::http::policy::OverloadStatus;
#[cfg(feature = "tiny-http")]
use crate::transport::http::tiny::TinyFront;

impl SharedServer {
    /// An endpoint for one more front.
    pub(super) fn endpoint(&self, reach: Reach) -> Result<Endpoint> {
        let (paths, callers) = self.serving.http.rules(reach)?;
        Ok(Endpoint {
            engine: Arc::clone(&self.engine),
            paths,
            callers,
            overload: self.serving.http.overload,
            limits: Arc::clone(self.limits()),
        })
    }

    #[cfg(all(feature = "http", unix))]
    fn guarded(&self, listener: Listener, reach: Reach) -> Result<GuardedFront> {
        let connections = Arc::clone(self.engine.connections());
        let endpoint = Arc::new(self.endpoint(reach)?);
        let (limits, bodies) = (Arc::clone(self.limits()), Arc::clone(self.engine.bodies()));
        GuardedFront::start(listener, endpoint, limits, bodies, connections).map_err(unusable)
    }
}

impl<S: Fork + Send + Sync + 'static> Server<S> {
    setters! {
        /// The path of the HTTP endpoint, beginning with `/`. Default `/mcp`.
        path(path: impl Into<String>) => serving.http.path = path.into();

        /// The path of health checks, beginning with `/`. Default `/healthz`. A `GET` there gets `200` while the server takes calls and `503` while it
        /// drains, whatever its `Host`, and leaves no line in the access log.
        health_path(path: impl Into<String>) => serving.http.health_path = Some(path.into());

        /// Answers no health checks.
        without_health_path() => serving.http.health_path = None;

    /// Host names, without scheme and port, that HTTP requests may have in `Host`, such as `mcp.example.com`; any other gets `403`. `*.example.com`
    /// stands for every name below that one, and `*` for any at all, for a server behind a proxy that checks it already.
    ///
    /// A server on a loopback address accepts `localhost`, `127.0.0.1` and `[::1]` without being told. On any other address, `0.0.0.0` included, this
    /// list is required, because it protects the server against DNS rebinding by a web page. Specification: `basic/transports/streamable-http`.
        allowed_hosts(hosts: impl IntoIterator<Item = impl Into<String>>) => serving.http.hosts.extend(hosts.into_iter().map(Into::into));

    /// Origins of web pages that may call the server, with scheme, such as `https://app.example`; `null` stands for pages without one, such as files.
    /// Pages of these origins get the header fields that browsers ask for (CORS), and any other origin gets `403`. A server on a loopback address accepts
    /// pages from loopback names, on any port, without being told. [`allowed_hosts`](Self::allowed_hosts) do not count.
        allowed_origins(origins: impl IntoIterator<Item = impl Into<String>>) => serving.http.origins.extend(origins.into_iter().map(Into::into));
    }

    /// With which status HTTP answers a call of this era that was refused because its lane was full or the server was shutting down. Default
    /// [`OverloadStatus::ServiceUnavailable`] in the modern era and [`OverloadStatus::Ok`] in the handshake era. The body is the same JSON-RPC error
    /// either way, and so is `Retry-After`.
    #[must_use]
    pub fn overload(mut self, era: Era, status: OverloadStatus) -> Self {
        let overload = &mut self.serving.http.overload;
        match era {
            Era::Modern => overload.modern = status,
            Era::Legacy => overload.legacy = status,
        }
        self
    }

    starters! {
        /// [Starts](Self::start) the server over HTTP on this address; see [`RunningServer::serve_http`].
        serve_http(address: impl ToSocketAddrs + fmt::Debug);

        /// [Starts](Self::start) the server over HTTP on a listener that is bound already; see [`RunningServer::serve_listener`].
        serve_listener(listener: TcpListener);
    }

    #[cfg(feature = "tiny-http")]
    starters! {
        /// [Starts](Self::start) the server over HTTP with tiny_http; see [`RunningServer::serve_tiny_http`].
        serve_tiny_http(address: impl ToSocketAddrs + fmt::Debug);
    }

    #[cfg(all(feature = "http", unix))]
    starters! {
        /// [Starts](Self::start) the server over HTTP on a Unix-domain socket; see [`RunningServer::serve_unix`].
        serve_unix(path: impl AsRef<Path>, permissions: u32);

        /// [Starts](Self::start) the server over HTTP on the socket that the process was started with; see [`RunningServer::serve_inherited`].
        serve_inherited();
    }
}

impl RunningServer {
    /// Serves over HTTP on this address, too, such as `127.0.0.1:8080`. Port 0 picks a free one. Returns at once.
    ///
    /// # Errors
    ///
    /// When the address cannot be listened on, when it is not a loopback address and no [`allowed_hosts`](Server::allowed_hosts) are set, when a
    /// thread cannot be started, and after a shutdown.
    pub fn serve_http(&self, address: impl ToSocketAddrs + fmt::Debug) -> Result<&Self> {
        self.serve_listener(bind(&address)?)
    }

    /// Serves over HTTP on a listener that is bound already, too, as in socket activation. Returns at once.
    ///
    /// # Errors
    ///
    /// As [`serve_http`](Self::serve_http).
    pub fn serve_listener(&self, listener: TcpListener) -> Result<&Self> {
        #[cfg(all(feature = "http", unix))]
        return self.open(|shared| {
            let reach = reach(&listener)?;
            Ok(Box::new(shared.guarded(listener.into(), reach)?))
        });
        #[cfg(not(all(feature = "http", unix)))]
        self.serve_tiny(listener)
    }

    /// Serves over HTTP on this address with [tiny_http](https://docs.rs/tiny_http), too. Returns at once. [`serve_http`](Self::serve_http) does the
    /// same where nothing better is compiled in.
    ///
    /// It is for comparison, and for systems that are not Unix; for anything else [`serve_http`](Self::serve_http) is better. What tiny_http 0.12 cannot
    /// do: it has no bound on the length of a header line, no deadline for a slow head, body or reader, no cap on connections, and it notices
    /// that a client has left only when a write fails. Running out of descriptors ends its accept loop for good. It reads a refused body to its
    /// end before the refusal goes out, closes a connection whose head is not ASCII without an answer, and half a body holds its memory for as long as its client likes.
    /// It takes in all that a client sends ahead of answers which it does not read, and everybody else waits behind that. At the end idle connections are not
    /// closed. In a burst of connections its thread pool can leave some unanswered for seconds. On loopback, or behind a proxy that has these bounds, that may do.
    ///
    /// # Errors
    ///
    /// As [`serve_http`](Self::serve_http).
    #[cfg(feature = "tiny-http")]
    pub fn serve_tiny_http(&self, address: impl ToSocketAddrs + fmt::Debug) -> Result<&Self> {
        self.serve_tiny(bind(&address)?)
    }

    #[cfg(feature = "tiny-http")]
    fn serve_tiny(&self, listener: TcpListener) -> Result<&Self> {
        self.open(|shared| {
            let endpoint = shared.endpoint(reach(&listener)?)?;
            let front = TinyFront::start(listener, endpoint, shared.client_end.clone())?;
            Ok(Box::new(front))
        })
    }

    /// Serves over HTTP on a Unix-domain socket, too. Returns at once.
    ///
    /// The socket is made with these permissions, such as `0o600` for its owner alone, and removed at the end. A socket that
    /// a dead server left behind is replaced. Clients send a loopback name, such as `localhost`, in `Host`.
    ///
    /// # Errors
    ///
    /// When there is a live server or another file at `path`, when the permissions let nobody connect, and as [`serve_http`](Self::serve_http).
    #[cfg(all(feature = "http", unix))]
    pub fn serve_unix(&self, path: impl AsRef<Path>, permissions: u32) -> Result<&Self> {
        let path = path.as_ref();
        // To connect is to write.
        if permissions & 0o222 == 0 || permissions > 0o777 {
            return Err(Error::configuration(format!(
                "with the permissions {permissions:#o} nobody can connect; `0o600` lets its owner"
            )));
        }
        self.open(|shared| {
            let listener = Listener::bind_unix(path, permissions)
                .map_err(|error| Error::bind(path.display(), error))?;
            Ok(Box::new(shared.guarded(listener, Reach::ThisMachine)?))
        })
    }

    /// Serves over HTTP on the one listening socket that the process was started with, too, TCP or Unix-domain. Returns at once.
    ///
    /// That is the socket that systemd passes to a service with a `.socket` unit (`LISTEN_FDS`; on Linux), or a listening socket as stdin
    /// (`StandardInput=socket`; everywhere). Clients that connect while the service restarts wait in it. The socket stays its maker's:
    /// it is not removed at the end, and the process keeps its own descriptor of it.
    ///
    /// # Errors
    ///
    /// When there is no such socket or more than one, and as [`serve_http`](Self::serve_http).
    #[cfg(all(feature = "http", unix))]
    pub fn serve_inherited(&self) -> Result<&Self> {
        match inherited::take()? {
            Listener::Tcp(listener) => self.serve_listener(listener),
            unix => self.open(|shared| Ok(Box::new(shared.guarded(unix, Reach::ThisMachine)?))),
        }
    }

    /// Where a client on this machine reaches it, such as `http://127.0.0.1:8080/mcp`; `None` when it serves no HTTP on an IP address. The first
    /// address if there are several. Beyond loopback the host is the first name among the [`allowed_hosts`](Server::allowed_hosts).
    pub fn url(&self) -> Option<String> {
        let address = self.addr()?;
        let HttpSettings { path, hosts, .. } = &self.shared.serving.http;
        let host = match hosts.iter().find(|host| !host.starts_with('*')) {
            Some(host) if !address.ip().to_canonical().is_loopback() => {
                let port = address.port();
                match host.parse::<Ipv6Addr>() {
                    Ok(host) => format!("[{host}]:{port}"),
                    Err(_) => format!("{host}:{port}"),
                }
            }
            _ => address.to_string(),
        };
        Some(format!("http://{host}{path}"))
    }
}

fn bind(address: &(impl ToSocketAddrs + fmt::Debug)) -> Result<TcpListener> {
    TcpListener::bind(address).map_err(|error| {
        // What the system never saw is no address, or a name that nobody knows.
        let hint = match error.raw_os_error() {
            Some(_) => "",
            None => " (an address is HOST:PORT, such as 127.0.0.1:8080)",
        };
        Error::bind(format_args!("{address:?}{hint}"), error)
    })
}

fn unusable(error: std::io::Error) -> Error {
    Error::io("cannot use the listener", error)
}

fn reach(listener: &TcpListener) -> Result<Reach> {
    let address = listener.local_addr().map_err(unusable)?;
    Ok(match address.ip().to_canonical().is_loopback() {
        true => Reach::ThisMachine,
        false => Reach::Network,
    })
}
