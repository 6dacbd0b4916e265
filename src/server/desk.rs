//! What an embedder says of the shared desk: workspaces, background jobs, pools.
//!
//! Must not know how any of them works.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use crate::base::setters::setters;
use crate::desk::store::JobStore;
use crate::handler::Fork;
use crate::handler::workspace::Maker;
use crate::pool::ResourcePool;
use crate::server::builder::Server;

impl<S: Fork + Send + Sync + 'static> Server<S> {
    /// Gives tools workspaces: a value of `W` for each, which the calls of one owner share by turns. `make` makes it when a workspace is first used; it is
    /// told the workspace's name and, if it has one, its owner: a text that is the same for the same owner and means nothing else. Its error is a
    /// tool error of the call that needed it.
    ///
    /// Tools that are marked [`in_workspace`](crate::Tool::in_workspace) or [`reads_workspace`](crate::Tool::reads_workspace) get an argument `workspace`, and the
    /// server the tools `open_workspace`, `list_workspaces` and `close_workspace`. A workspace belongs to a handshake-era session or to a pipe, whose
    /// client names it as it likes; the default is "default". So it is on purpose for a pipe of revision 2026-07-28, too, which asks for names that the
    /// client passes: there is nobody else on a pipe. A client of revision 2026-07-28 over HTTP has no identity: it calls `open_workspace`, and
    /// the name that it gets is all that leads there.
    ///
    /// A call that waits for its turn holds no worker. When a handler panics with the value, the next call makes a new one; see
    /// [`close_broken_workspaces`](Self::close_broken_workspaces). How many there may be, and for how long, stands in [`Limits`](crate::Limits).
    ///
    /// ```
    /// use mcp_threads::{RequestContext, Server, Tool};
    ///
    /// #[derive(serde::Deserialize, mcp_threads::schemars::JsonSchema)]
    /// #[schemars(crate = "mcp_threads::schemars")]
    /// struct Add { n: i64 }
    ///
    /// fn add(_: &mut RequestContext, sum: &mut i64, args: Add) -> i64 {
    ///     *sum += args.n;
    ///     *sum
    /// }
    ///
    /// let server = Server::new("sums", "1.0.0")
    ///     .workspaces(|_name, _owner| Ok::<_, String>(0_i64))
    ///     .register(Tool::new("add").description("Adds to the sum.").in_workspace().handler(add));
    /// ```
    #[must_use]
    pub fn workspaces<W: Send + Sync + 'static, E: Display>(
        mut self,
        make: impl Fn(&str, Option<&str>) -> Result<W, E> + Send + Sync + 'static,
    ) -> Self {
        self.plan.desk.maker = Some(Maker::new(make));
        self
    }

    setters! {
        /// Closes a workspace in which a handler has panicked: calls that wait for it are turned away, and its next use opens it anew. Default: the calls that
        /// wait go on with a new value.
        close_broken_workspaces(yes: bool) => plan.desk.closes_broken = yes;

        /// Adds the tools `job_status`, `job_result`, `job_list` and `job_cancel`, with which any client can look after background jobs. They are there when
        /// a tool may run in the background; see [`Tool::execution`](crate::Tool::execution).
        job_tools() => plan.desk.has_job_tools = true;

        /// Where background jobs are kept. Default: in memory, by [`MemoryStore`](crate::MemoryStore).
        job_store(store: impl JobStore) => plan.desk.store = Some(Box::new(store));

        /// How long a drain lets background jobs go on, at most as long as everything else. Default: as long as everything else, by
        /// [`drain_deadline`](Self::drain_deadline). What runs or is queued then has failed, unless its tool is
        /// [`restartable`](crate::Tool::restartable) and its store outlives the server; what waits for an answer goes on waiting in such a store.
        job_drain_deadline(deadline: Duration) => plan.desk.drain_deadline = Some(deadline);
    }

    /// Looks after a pool: gives back what has been kept for a job, a workspace or a session that has ended, takes back what has been held longer than its lease,
    /// and shows in `list_workspaces` what a workspace holds of it. Tell each server of the pools that its handlers claim from.
    #[must_use]
    pub fn pool<T, K>(mut self, pool: &ResourcePool<T, K>) -> Self
    where
        T: Send + 'static,
        K: Display + Send + Sync + 'static,
    {
        self.plan.pools.push(Arc::clone(pool.table()));
        self
    }
}
