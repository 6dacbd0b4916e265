//! An MCP server for an SQLite database that never hangs as a whole, whatever one of its queries or peers does.
//!
//! ```sh
//! cargo run -- data.sqlite                    # serves http://127.0.0.1:8080/mcp
//! cargo run -- data.sqlite 127.0.0.1:9000     # serves there
//! cargo run -- data.sqlite --stdio            # serves a client that starts it
//! ```
//!
//! `query` runs SQL on a connection of its own, reports progress and can be cancelled; `status` answers at once from what was last published; `stall` talks to
//! a peer that never answers. The README beside this tells why.

mod query;
mod status;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use mcp_threads::schemars::JsonSchema;
use mcp_threads::{Json, Lane, RequestContext, ResourcePool, Server, Snapshot, Tool, ToolError};
use rusqlite::Connection;
use serde::Deserialize;

use query::Table;
use status::{Board, Status};

/// How long a peer may take to answer.
const PEER_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a call may show no sign of life before its worker is replaced: a net, for those who forget the timeout.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// What all calls share.
#[derive(Clone)]
struct Database {
    connections: ResourcePool<Connection, usize>,
    board: Arc<Board>,
    /// A peer that accepts and never answers.
    peer: SocketAddr,
}

type Context = RequestContext<Database>;

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Query {
    /// One SQL statement.
    sql: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Stall {
    /// Whether the socket has a timeout, as it should.
    #[serde(default = "yes")]
    timeout: bool,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Nothing {}

fn yes() -> bool {
    true
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    env_logger::Builder::from_default_env()
        .target(env_logger::Target::Pipe(Box::new(mcp_threads::log_lossy())))
        .init();
    let mut arguments = std::env::args().skip(1);
    let path = arguments
        .next()
        .ok_or("usage: database FILE [ADDRESS | --stdio]")?;
    // It is never accepted from: the kernel completes the handshake, and then nothing comes.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    // Kept in the file. Several connections that change it at once would find it locked, and no timeout helps against that.
    Connection::open(&path)?.pragma_update(None, "journal_mode", "WAL")?;
    let database = Database {
        connections: connections(path),
        board: Arc::default(),
        peer: silent.local_addr()?,
    };
    let server = server(database);
    match arguments.next().as_deref() {
        Some("--stdio") => {
            let running = server.serve_stdio()?;
            writeln!(mcp_threads::log_lossy(), "serving on stdin and stdout")?;
            running.run_until_ctrl_c()?;
        }
        address => {
            let running = server.serve_http(address.unwrap_or("127.0.0.1:8080"))?;
            let url = running.url().expect("it serves HTTP");
            writeln!(mcp_threads::log_lossy(), "listening on {url}")?;
            running.run_until_ctrl_c()?;
        }
    }
    Ok(())
}

/// Four connections, each made when it is first needed, and looked at before it is used again.
fn connections(path: String) -> ResourcePool<Connection, usize> {
    let open = move || {
        let connection = Connection::open(&path)?;
        // Another connection may write; that is waited for, and not for ever.
        connection.busy_timeout(Duration::from_secs(5))?;
        Ok::<_, rusqlite::Error>(connection)
    };
    ResourcePool::lazy("connections", 4, open)
        .check(|connection| connection.query_row("SELECT 1", [], |_| Ok(())).is_ok())
        .warn_after(Duration::from_secs(60))
}

fn server(database: Database) -> Server<Database> {
    let shown: Arc<Snapshot<Status>> = Arc::clone(database.board.shown());
    Server::new("database", env!("CARGO_PKG_VERSION"))
        .instructions("An SQLite database. Long queries can be cancelled; `status` always answers.")
        .pool(&database.connections)
        .with_state(database)
        // A bulkhead: whatever its peers do, the database has its own workers.
        .lane(Lane::new("peers").workers(2).queue(4))
        .drain_deadline(Duration::from_secs(2))
        .register(
            Tool::new("query")
                .description("Runs one SQL statement and returns its first rows.")
                .handler(query),
        )
        .register(
            Tool::new("status")
                .description("What the database is doing; answers at once, whatever that is.")
                .lane("urgent")
                .read_only(true)
                .handler(move |_: Nothing| Json(Status::clone(&shown.read()))),
        )
        .register(
            Tool::new("stall")
                .description("Asks a peer that never answers.")
                .lane("peers")
                .liveness(SILENCE_MAX)
                .handler(stall),
        )
}

fn query(cx: &mut Context, args: Query) -> Result<Json<Table>, ToolError> {
    let Database {
        connections, board, ..
    } = cx.state().clone();
    // Waits while all of them are in use, and says so; the guard gives it back.
    let mut connection = connections.claim(cx)?;
    connection.label(&args.sql);
    let running = board.begin(&args.sql);
    let result = query::run(cx, &mut connection, &args.sql);
    running.end(result.as_ref().err());
    match result {
        Ok(table) => Ok(Json(table)),
        Err(error) => {
            if query::is_broken(&error) {
                connection.broken();
            }
            Err(error.into())
        }
    }
}

/// What one should do anyway: every wait for somebody else has an end. Without it the worker is lost until the peer speaks, or the watchdog replaces it.
fn stall(cx: &mut Context, args: Stall) -> Result<String, ToolError> {
    let mut peer = TcpStream::connect_timeout(&cx.state().peer, PEER_TIMEOUT)?;
    if args.timeout {
        peer.set_read_timeout(Some(PEER_TIMEOUT))?;
        peer.set_write_timeout(Some(PEER_TIMEOUT))?;
    }
    peer.write_all(b"are you there?\n")?;
    let mut answer = [0; 64];
    let len = peer.read(&mut answer).map_err(|error| {
        ToolError::new(format!(
            "The peer did not answer within {PEER_TIMEOUT:?}: {error}"
        ))
    })?;
    Ok(String::from_utf8_lossy(&answer[..len]).into_owned())
}
