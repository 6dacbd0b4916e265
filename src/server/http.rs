//! Serving over HTTP: the part of the builder that knows addresses, hosts and fronts.

use std::fmt;
use std::net::{TcpListener, ToSocketAddrs};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::handler::Fork;
use crate::server::Server;
use crate::server::running::{Front, RunningServer};
use crate::transport::http::endpoint::Endpoint;
use crate::transport::http::policy::Guard;
use crate::transport::http::tiny::TinyFront;

impl<S: Fork + Send + Sync + 'static> Server<S> {
    /// Starts serving over HTTP on this address, such as `127.0.0.1:8080`. Port 0 picks a free one. Returns at once.
    ///
    /// # Errors
    ///
    /// When the address cannot be listened on, and when what was registered cannot work.
    pub fn serve_http(self, address: impl ToSocketAddrs + fmt::Debug) -> Result<RunningServer> {
        let listener = TcpListener::bind(&address)
            .map_err(|error| Error::bind(format!("{address:?}"), error))?;
        self.serve_listener(listener)
    }

    /// Starts serving over HTTP on a listener that is bound already, as in socket activation. Returns at once.
    ///
    /// # Errors
    ///
    /// As [`serve_http`](Self::serve_http).
    pub fn serve_listener(self, listener: TcpListener) -> Result<RunningServer> {
        let address = listener
            .local_addr()
            .map_err(|error| Error::io("cannot use the listener", error))?;
        let loopback = Guard::is_loopback(&address);
        if !loopback && self.hosts.is_empty() {
            return Err(Error::configuration(format!(
                "{address} is not a loopback address: name the hosts it may be called by with `allowed_hosts`"
            )));
        }
        let guard = Guard {
            path: self.path.clone(),
            loopback,
            hosts: self.hosts.clone(),
            origins: self.origins.clone(),
        };
        let parts = self.start()?;
        let endpoint = Endpoint {
            engine: Arc::clone(&parts.engine),
            guard,
            limits: Arc::clone(&parts.limits),
        };
        let front = TinyFront::start(listener, Arc::new(endpoint))?;
        Ok(parts.run(Front::Tiny(front)))
    }
}
