//! One SQL statement: run on a thread of its own, watched from the handler's, which reports progress and interrupts it when the call is cancelled.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use mcp_threads::RequestContext;
use mcp_threads::crossbeam_channel::{bounded, never, select};
use mcp_threads::schemars::JsonSchema;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, ErrorCode};
use serde::Serialize;
use serde_json::Value;

/// The first rows of a result.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
pub(crate) struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
    /// Whether there are more.
    more: bool,
    /// How many rows the statement has changed.
    changed: u64,
}

/// A model reads no more, and a client must not be able to make the server keep more.
const ROWS_MAX: usize = 200;

/// How many steps of SQLite's machine are one step of progress.
const STEPS: i32 = 10_000;

/// How often progress is reported, and an interrupt repeated.
const INTERVAL: Duration = Duration::from_millis(100);

/// Runs it. SQLite counts its steps, so that progress means progress: a statement that waits for a lock reports none.
pub(crate) fn run<S>(
    cx: &mut RequestContext<S>,
    connection: &mut Connection,
    sql: &str,
) -> Result<Table, Error> {
    let interrupt = connection.get_interrupt_handle();
    let steps = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&steps);
    let count = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        false // go on
    };
    connection.progress_handler(STEPS, Some(count))?;
    let cancellation = cx.cancellation().clone();
    let (finish, finished) = bounded(1);
    thread::scope(|scope| {
        // The receiver lives longer, so the result arrives; a panic disconnects.
        scope.spawn(move || finish.send(read(connection, sql)));
        let mut reported = 0;
        let mut cancelled = cancellation.channel();
        let ignored = never();
        loop {
            select! {
                recv(finished) -> result => {
                    return result.unwrap_or(Err(Error::InvalidQuery));
                }
                recv(cancelled) -> _ => cancelled = &ignored,
                default(INTERVAL) => {}
            }
            // Again and again: an interrupt before the statement has begun is lost.
            if cancellation.is_cancelled() {
                interrupt.interrupt();
            }
            let now = steps.load(Ordering::Relaxed);
            if now > reported {
                reported = now;
                cx.progress(mcp_threads::Progress::new(now as f64).message("running"));
            }
        }
    })
}

fn read(connection: &Connection, sql: &str) -> Result<Table, Error> {
    let mut statement = connection.prepare(sql)?;
    let columns: Vec<String> = statement
        .column_names()
        .into_iter()
        .map(Into::into)
        .collect();
    let before = connection.total_changes();
    let mut table = Table {
        rows: Vec::new(),
        more: false,
        changed: 0,
        columns,
    };
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if table.rows.len() == ROWS_MAX {
            table.more = true;
            break;
        }
        let values = (0..table.columns.len()).map(|at| row.get_ref(at).map(value));
        table.rows.push(values.collect::<Result<_, _>>()?);
    }
    drop(rows);
    table.changed = connection.total_changes() - before;
    Ok(table)
}

fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(bytes) => format!("{} bytes", bytes.len()).into(),
    }
}

/// Whether the connection is of no use any more, and not just its statement.
pub(crate) fn is_broken(error: &Error) -> bool {
    let broken = [
        ErrorCode::SystemIoFailure,
        ErrorCode::CannotOpen,
        ErrorCode::NotADatabase,
        ErrorCode::DatabaseCorrupt,
        ErrorCode::FileLockingProtocolFailed,
    ];
    error
        .sqlite_error_code()
        .is_some_and(|code| broken.contains(&code))
}
