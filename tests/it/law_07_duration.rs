//! Law 7: liveness, not duration. A call may take as long as it takes, and its client sees life meanwhile.

use std::time::Duration;

use mcp_threads::Limits;
use serde_json::json;

use crate::harness::on_every_front;
use crate::harness::{Event, Gate, call, probes, text};

#[test]
fn law_7_a_call_longer_than_every_interval_is_not_cut_and_shows_life() {
    on_every_front(|front| {
        let gate = Gate::new();
        let server = probes(&gate).limits(
            Limits::default()
                .stream_after(Duration::from_millis(30))
                .heartbeat_interval(Duration::from_millis(10)),
        );
        let (served, http) = front.serve(server);
        let mut reply = http
            .modern(&call(1, "wait", json!({ "who": "long" })))
            .send();
        assert_eq!(gate.began(), "long");
        assert!(
            reply.is_stream(),
            "it said nothing for so long that the stream was opened"
        );
        for _ in 0..20 {
            assert_eq!(reply.event(), Some(Event::Comment));
        }
        gate.let_go(1);
        let answer = reply.message();
        assert_eq!((&answer["id"], text(&answer)), (&json!(1), "long"));
        served.stop();
    });
}
