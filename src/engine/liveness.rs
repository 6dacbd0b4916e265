//! What becomes of a call that gives no sign of life: it is logged and cancelled, and given up if that does not help.
//!
//! The lanes' watchdog finds it, on the clock's thread, which runs no code of the embedder's: the end of a job is an errand, as its store may hang,
//! the hook of [`Server::on_stalled`](crate::Server::on_stalled) has a thread of its own, and what may drop a handler's values is dropped aside.
//! Must not know how silence is measured.

use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Tick;
use crate::base::errands::dropping;
use crate::base::log;
use crate::base::pulse::Pulse;
use crate::engine::background::Lanes;
use crate::engine::control::Control;
use crate::engine::errors::silent;
use crate::engine::shared::Shared;
use crate::lane::{Running, RunningLane, Silence, Watchdog};
use crate::observe::stalled::StalledCall;

impl Shared {
    /// Looks at every running call from time to time.
    pub(super) fn watch(self: &Arc<Self>, lanes: &Arc<Lanes>) -> Tick {
        let of_lanes = lanes.iter().filter_map(RunningLane::liveness).min();
        let (shared, lanes) = (Arc::downgrade(self), Arc::downgrade(lanes));
        let mut watchdog = Watchdog::new(self.limits.stall_grace);
        Tick {
            first: Duration::ZERO,
            hears_nudges: true,
            run: Box::new(move |due| match (shared.upgrade(), lanes.upgrade()) {
                (Some(shared), Some(lanes)) => {
                    let of_tools = shared.catalogue.shortest_liveness();
                    let shortest = [of_tools, of_lanes].into_iter().flatten().min();
                    watchdog.look(&lanes, shortest, due)
                }
                // The server has ended, and so does the clock.
                _ => Duration::MAX,
            }),
        }
    }
}

impl Running for Arc<Control> {
    fn pulse(&self) -> &Pulse {
        &self.call.pulse
    }

    fn given_up(&self) -> Option<&str> {
        self.call.token().given_up()
    }

    fn stall(self, silence: &Silence<'_>) {
        let stalled = self.stalled(silence);
        log::warn!("a call gives no sign of life and is cancelled: {stalled}");
        self.call.stall(silence.silent_for);
        self.shared.liveness.tell(stalled);
    }

    fn abandon(self, silence: &Silence<'_>) {
        let stalled = self.stalled(silence);
        log::error!("a call is given up, and its worker with it: {stalled}");
        let given_up = stalled.given_up.as_deref();
        self.call
            .give_up(&silent(&self.call.facts.tag, silence.silent_for, given_up));
        let workspaces = self.shared.desk.workspaces.as_ref();
        if let (Some(seat), Some((workspaces, _))) = (self.seat.get(), workspaces) {
            workspaces.waste.run(seat.give_up().map(dropping));
        }
        self.shared.forfeit(self.call.token());
        // Of one that was found silent it has been told before.
        if stalled.given_up.is_some() {
            self.shared.liveness.tell(stalled);
        }
    }
}

impl Control {
    fn stalled(&self, silence: &Silence<'_>) -> StalledCall {
        let (facts, pulse) = (&self.call.facts, &self.call.pulse);
        StalledCall {
            name: facts.name.clone().unwrap_or_else(|| facts.method.into()),
            request_id: facts.tag.to_string(),
            lane: silence.lane.into(),
            silent_for: silence.silent_for,
            last_sign: pulse.last().map(|sign| sign.to_string()),
            waits_for: pulse.waits_for(),
            thread: silence.thread.waits_in(),
            given_up: self.call.token().given_up().map(ToOwned::to_owned),
        }
    }
}
