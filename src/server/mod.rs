//! The server: what an embedder builds ([`Server`], in `builder`), starts and ends (`running`, `shared`). This file is the door.

mod builder;
mod changes;
mod desk;
#[cfg(any(feature = "tiny-http", all(feature = "http", unix)))]
mod http;
#[cfg(any(feature = "tiny-http", all(feature = "http", unix)))]
mod http_settings;
#[cfg(all(feature = "http", unix))]
mod inherited;
#[cfg(feature = "tiny-http")]
mod mount;
mod running;
mod shared;
#[cfg(feature = "ctrlc")]
mod signals;
mod test_client;

pub use self::builder::Server;
#[cfg(feature = "tiny-http")]
pub use self::mount::Mount;
pub use self::running::{RunningServer, ServerHandle};
pub use self::shared::DrainReport;
pub use self::test_client::TestClient;
#[cfg(any(feature = "tiny-http", all(feature = "http", unix)))]
pub use crate::transport::http::policy::OverloadStatus;
