//! How long a call may give no sign of life on this server, and who hears of one that gives none.
//!
//! Must not know how silence is found, or what becomes of it.

use std::time::Duration;

use crate::base::setters::setters;
use crate::handler::Fork;
use crate::observe::stalled::StalledCall;
use crate::server::builder::Server;

impl<S: Fork + Send + Sync + 'static> Server<S> {
    setters! {
        /// How long any call may give no sign of life, unless its tool or its lane says otherwise. Default none: nothing is watched. See [`Tool::liveness`](crate::Tool::liveness).
        liveness(longest_silence: Duration) => settings.liveness = Some(longest_silence);

        /// What is called when a call has given no sign of life for as long as it may, and when one is given up by
        /// [`CancellationToken::give_up`](crate::CancellationToken::give_up): to drop what it hangs in and make it anew, which may bring the handler back. On
        /// a thread of its own, one call after another. A hook that cannot keep up is told of 64; a panic in it is logged.
        ///
        /// ```
        /// # use std::time::Duration;
        /// # use mcp_threads::Server;
        /// let server = Server::new("engine", "1.0.0")
        ///     .liveness(Duration::from_secs(60))
        ///     .on_stalled(|call| eprintln!("{} hangs: {call}", call.name));
        /// ```
        on_stalled(hook: impl Fn(&StalledCall) + Send + Sync + 'static) => settings.on_stalled = Some(Box::new(hook));
    }
}
