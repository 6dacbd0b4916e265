//! A gate that handlers stop at until the test lets them go, so that tests assert order and counts instead of sleeping.

use crossbeam_channel::{Receiver, Sender, select, unbounded};
use mcp_threads::{Cancelled, RequestContext};

use super::PATIENCE;

/// The test's side. Dropped, it lets everyone go.
pub(crate) struct Gate {
    began: Receiver<String>,
    cancelled: Receiver<String>,
    go: Sender<()>,
    door: Door,
}

/// The handlers' side.
#[derive(Clone)]
pub(crate) struct Door {
    began: Sender<String>,
    cancelled: Sender<String>,
    go: Receiver<()>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        let (begin, began) = unbounded();
        let (cancel, cancelled) = unbounded();
        let (go, let_go) = unbounded();
        let door = Door {
            began: begin,
            cancelled: cancel,
            go: let_go,
        };
        Gate {
            began,
            cancelled,
            go,
            door,
        }
    }

    pub(crate) fn door(&self) -> Door {
        self.door.clone()
    }

    /// Waits until the next handler stands at the gate, and says which.
    #[track_caller]
    pub(crate) fn began(&self) -> String {
        match self.began.recv_timeout(PATIENCE) {
            Ok(who) => who,
            Err(_) => panic!("no handler has come to the gate in {PATIENCE:?}"),
        }
    }

    /// Whether nobody has come since [`began`](Self::began) was last asked.
    pub(crate) fn nobody_came(&self) -> bool {
        self.began.is_empty()
    }

    /// Waits until a handler has seen its cancellation, and says which.
    #[track_caller]
    pub(crate) fn cancelled(&self) -> String {
        match self.cancelled.recv_timeout(PATIENCE) {
            Ok(who) => who,
            Err(_) => panic!("no handler has seen a cancellation in {PATIENCE:?}"),
        }
    }

    /// Lets this many handlers go, those to come included.
    pub(crate) fn let_go(&self, count: usize) {
        for _ in 0..count {
            self.go.send(()).expect("the gate holds its own door");
        }
    }
}

impl Door {
    /// Stands at the gate, deaf to cancellation.
    pub(crate) fn pass(&self, who: &str) {
        self.say(who);
        // An error means that the test is over.
        let _let_go_or_over = self.go.recv_timeout(2 * PATIENCE);
    }

    /// Stands at the gate until let go or cancelled.
    pub(crate) fn pass_or_leave<S>(
        &self,
        cx: &RequestContext<S>,
        who: &str,
    ) -> Result<(), Cancelled> {
        self.say(who);
        select! {
            recv(self.go) -> _ => Ok(()),
            recv(cx.cancellation().channel()) -> _ => {
                cx.check().inspect_err(|_| self.see_cancelled(who))
            }
            default(2 * PATIENCE) => Ok(()),
        }
    }

    pub(crate) fn see_cancelled(&self, who: &str) {
        let _test_is_over = self.cancelled.send(who.to_owned());
    }

    fn say(&self, who: &str) {
        let _test_is_over = self.began.send(who.to_owned());
    }
}
