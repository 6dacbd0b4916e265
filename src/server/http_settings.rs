//! What only HTTP needs to know of how a server is to serve, and whether it makes sense.
//!
//! Must not know who builds a server, or its fronts.

use crate::base::error::{Error, Result};
use crate::transport::http::Callers;
use crate::transport::http::endpoint::{Paths, Reach, Route};
use crate::transport::http::policy::Overload;

/// What only HTTP needs to know.
pub(super) struct HttpSettings {
    pub(super) path: String,
    /// `None` for no answer to probes.
    pub(super) health_path: Option<String>,
    pub(super) hosts: Vec<String>,
    pub(super) origins: Vec<String>,
    pub(super) overload: Overload,
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

impl HttpSettings {
    /// Checks what could never match, and so would lock everyone out without a word.
    pub(super) fn rules(&self, reach: Reach) -> Result<(Paths, Callers)> {
        let mcp = (self.path.as_str(), Route::Mcp);
        let health = self.health_path.as_deref();
        let paths = Paths::new(
            [mcp]
                .into_iter()
                .chain(health.map(|path| (path, Route::Health))),
        );
        if reach == Reach::Network && self.hosts.is_empty() {
            return Err(Error::configuration(
                "a server beyond loopback must know by which hosts it may be called: name them with `allowed_hosts`",
            ));
        }
        let callers = Callers::new(reach, &self.hosts, &self.origins);
        Ok((
            paths.map_err(Error::configuration)?,
            callers.map_err(Error::configuration)?,
        ))
    }
}
