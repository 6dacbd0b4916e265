//! Law 3: capacity is held until the handler has really returned.

use serde_json::json;

use crate::harness::message::cancel;
#[cfg(any(feature = "http", feature = "tiny-http"))]
use crate::harness::on_every_front;
use crate::harness::{Gate, Served, call, code, legacy_call, probes, text};

#[test]
fn law_3_a_cancelled_call_keeps_its_worker_on_a_pipe() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(probes(&gate).workers(1).queue(1));
    client.initialize("2025-11-25");
    client.send(&legacy_call(1, "gate", json!({ "who": "deaf" })));
    assert_eq!(gate.began(), "deaf");
    client.send(&cancel(1));
    assert_eq!(
        client.sent_so_far().len(),
        0,
        "a cancelled call has no answer"
    );
    let main = served.main();
    assert_eq!(
        (main.busy, main.done, main.cancelled),
        (1, 0, 0),
        "its handler still runs"
    );

    client.send(&legacy_call(2, "echo", json!({ "text": "queued" })));
    served.until_main("the next call waits", |main| main.queued == 1);
    assert_eq!(code(&client.ask(&legacy_call(3, "echo", json!({})))), 503);

    gate.let_go(1);
    assert_eq!(text(&client.answer(2)), "queued");
    let main = served.main();
    assert_eq!((main.cancelled, main.refused), (1, 1));
    client.close();
    assert_eq!(client.rest().len(), 0);
    served.stop();
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_3_a_cancelled_call_keeps_its_worker_over_http() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(probes(&gate).workers(1).queue(1));
        let session = http.initialize("2025-06-18");
        let first = session
            .post(&legacy_call(1, "gate", json!({ "who": "deaf" })))
            .connect();
        assert_eq!(gate.began(), "deaf");
        assert_eq!(session.post(&cancel(1)).send().status, 202);
        // The stream of the cancelled request ends, and carries nothing.
        let mut reply = first.reply();
        assert_eq!(reply.body(), "");
        let main = served.main();
        assert_eq!(
            (main.busy, main.cancelled),
            (1, 0),
            "its handler still runs"
        );

        let second = http
            .modern(&call(2, "echo", json!({ "text": "queued" })))
            .connect();
        served.until_main("the next call waits", |main| main.queued == 1);
        assert_eq!(http.modern(&call(3, "echo", json!({}))).send().status, 503);

        gate.let_go(1);
        assert_eq!(text(&second.reply().message()), "queued");
        served.until_main("it is counted as cancelled", |main| {
            main.cancelled == 1 && main.busy == 0
        });
        served.stop();
    });
}

/// The flaw of the design's second story: the permit came back when the client left, while the handler was still running.
#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_3_a_client_that_leaves_frees_no_worker() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(probes(&gate).workers(2).queue(1));
        for id in [1, 2] {
            let unread = http.modern(&call(id, "gate", json!({}))).connect();
            gate.began();
            drop(unread);
        }
        let third = http
            .modern(&call(3, "echo", json!({ "text": "third" })))
            .connect();
        served.until_main("the third waits", |main| main.queued == 1);
        assert_eq!(served.main().busy, 2);
        assert_eq!(http.modern(&call(4, "echo", json!({}))).send().status, 503);
        gate.let_go(2);
        assert_eq!(text(&third.reply().message()), "third");
        served.stop();
    });
}

/// A queued call that is cancelled never runs, and its place comes back when a worker gets to it.
#[test]
fn law_3_a_call_cancelled_in_the_queue_never_runs() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(probes(&gate).workers(1).queue(1));
    client.initialize("2025-11-25");
    client.send(&legacy_call(1, "gate", json!({ "who": "first" })));
    assert_eq!(gate.began(), "first");
    client.send(&legacy_call(2, "gate", json!({ "who": "never" })));
    client.send(&cancel(2));
    assert_eq!(client.sent_so_far().len(), 0);
    gate.let_go(2);
    assert_eq!(text(&client.answer(1)), "first");
    served.until_main("both are accounted for", |main| {
        (main.done, main.cancelled) == (1, 1)
    });
    assert!(gate.nobody_came());
    client.close();
    assert_eq!(client.rest().len(), 0);
    served.stop();
}
