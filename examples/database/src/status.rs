//! What `status` shows: published by those who work, read by those who ask, who wait for nobody.

use std::sync::{Arc, Mutex, MutexGuard};

use mcp_threads::Snapshot;
use mcp_threads::schemars::JsonSchema;
use serde::Serialize;

/// The state of the database, as it was last said.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
pub(crate) struct Status {
    /// What runs now.
    running: Vec<String>,
    done: u64,
    failed: u64,
    last_error: Option<String>,
}

/// Where it is kept by those who change it, and published for everybody else.
#[derive(Default)]
pub(crate) struct Board {
    status: Mutex<Status>,
    shown: Arc<Snapshot<Status>>,
}

/// A query that runs. Dropped, it runs no more, however it has ended.
pub(crate) struct Running {
    board: Arc<Board>,
    sql: String,
}

impl Board {
    pub(crate) fn shown(&self) -> &Arc<Snapshot<Status>> {
        &self.shown
    }

    pub(crate) fn begin(self: &Arc<Self>, sql: &str) -> Running {
        self.change(|status| status.running.push(sql.to_owned()));
        Running {
            board: Arc::clone(self),
            sql: sql.to_owned(),
        }
    }

    fn change(&self, change: impl FnOnce(&mut Status)) {
        let mut status = self.lock();
        change(&mut status);
        self.shown.publish(status.clone());
    }

    fn lock(&self) -> MutexGuard<'_, Status> {
        self.status
            .lock()
            .expect("nothing panics while it changes the status")
    }
}

impl Running {
    pub(crate) fn end(self, error: Option<&rusqlite::Error>) {
        self.board.change(|status| match error {
            None => status.done += 1,
            Some(error) => {
                status.failed += 1;
                status.last_error = Some(error.to_string());
            }
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.board.change(|status| {
            let at = status.running.iter().position(|sql| *sql == self.sql);
            at.map(|at| status.running.remove(at));
        });
    }
}
