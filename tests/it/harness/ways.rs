//! Every way to a server: both eras, over a pipe and over HTTP by either front.

use mcp_threads::{Fork, Server};
use serde_json::Value;

use super::talk::introduce;
#[cfg(any(feature = "http", feature = "tiny-http"))]
use super::talk::introduced;
#[cfg(any(feature = "http", feature = "tiny-http"))]
use super::{Http, Session};
use super::{PipeClient, Served};

/// What carries the messages of one conversation.
pub(crate) enum Way {
    Pipe(PipeClient),
    #[cfg(any(feature = "http", feature = "tiny-http"))]
    Http(Http),
    #[cfg(any(feature = "http", feature = "tiny-http"))]
    Session(Session),
}

/// One conversation in one era by one way.
pub(crate) struct Route {
    pub(crate) name: &'static str,
    pub(crate) is_modern: bool,
    pub(crate) way: Way,
}

/// Holds a conversation by each way, with a fresh server and a client of these capabilities. Nothing may be left over or open.
#[track_caller]
pub(crate) fn on_every_way<S: Fork + Send + Sync + 'static>(
    make: impl Fn() -> Server<S>,
    capabilities: &Value,
    converse: impl Fn(Route) -> Way,
) {
    for is_modern in [true, false] {
        let (served, mut client) = Served::pipe(make());
        if !is_modern {
            introduce(&mut client, capabilities);
        }
        let name = ["pipe, legacy", "pipe, modern"][usize::from(is_modern)];
        let way = Way::Pipe(client);
        run(
            served,
            &converse,
            Route {
                name,
                is_modern,
                way,
            },
        );
    }
    #[cfg(any(feature = "http", feature = "tiny-http"))]
    super::on_every_front(|front| {
        for is_modern in [true, false] {
            let (served, http) = front.serve(make());
            let (name, way) = match is_modern {
                true => ("HTTP, modern", Way::Http(http)),
                false => ("HTTP, legacy", Way::Session(introduced(http, capabilities))),
            };
            run(
                served,
                &converse,
                Route {
                    name,
                    is_modern,
                    way,
                },
            );
        }
    });
}

fn run(served: Served, converse: &impl Fn(Route) -> Way, route: Route) {
    let name = route.name;
    eprintln!("{name}:"); // shown only when the test fails
    let way = converse(route);
    assert_eq!(served.stats().asks, 0, "{name}: nothing is left open");
    match way {
        Way::Pipe(mut client) => {
            client.close();
            assert_eq!(client.rest().len(), 0, "{name}: nothing is left over");
        }
        #[cfg(any(feature = "http", feature = "tiny-http"))]
        Way::Http(_) | Way::Session(_) => {}
    }
    served.stop();
}
