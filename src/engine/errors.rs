//! What clients that are not served are told: an account or a lane without room, a handler that hangs or panicked, a server that ends.
//!
//! Must not know how it is sent.

use std::time::Duration;

use serde_json::json;

use crate::base::budget::OverBudget;
use crate::lane::LaneRefusal;
use crate::observe::access::RequestTag;
use crate::protocol::errors::{ErrorCode, ErrorObject, shortened};

/// What a client hears for which nothing more can be kept.
pub(super) fn over_budget(account: OverBudget) -> ErrorObject {
    ErrorObject::overloaded(match account {
        OverBudget::Own => {
            "The server keeps as much for this client as it may; try again when something of it has ended"
        }
        OverBudget::Whole | OverBudget::Process => {
            "The server keeps as much for its clients as it may; try again later"
        }
    })
}

/// What a call hears that its lane does not take.
pub(super) fn lane_refused(refusal: LaneRefusal, lane: &str) -> ErrorObject {
    match refusal {
        LaneRefusal::Closed => shutting_down(),
        LaneRefusal::Wedged => wedged(lane),
        LaneRefusal::Full => {
            let message = format!("The lane `{lane}` is full; try again in a second");
            ErrorObject::new(ErrorCode::OVERLOADED, message)
                .with_data(json!({ "lane": lane, "retryAfterMs": 1000 }))
        }
    }
}

/// What a call hears for which there is no worker any more.
pub(super) fn wedged(lane: &str) -> ErrorObject {
    ErrorObject::overloaded(format!(
        "Every worker of the lane `{lane}` hangs in a call that gives no sign of life; try again later"
    ))
}

/// What a client hears of a call that gave no sign of life for so long, or that was given up for this reason.
pub(super) fn silent(
    tag: &RequestTag,
    silent_for: Duration,
    given_up: Option<&str>,
) -> ErrorObject {
    let silent_ms = u64::try_from(silent_for.as_millis()).unwrap_or(u64::MAX);
    let why = match given_up {
        Some(reason) => format!("was given up: {}", shortened(reason)),
        None => format!("gave no sign of life for {silent_ms} ms and was given up"),
    };
    let message = format!("The call {why}. The server's log has more under request id {tag}");
    ErrorObject::new(ErrorCode::STALLED, message)
        .with_data(json!({ "requestId": tag.as_str(), "silentMs": silent_ms }))
}

/// What a call hears that came too late.
pub(super) fn shutting_down() -> ErrorObject {
    ErrorObject::overloaded("The server is shutting down")
}

/// What a client hears of a panic: that there was one, and under which id the log has the rest.
pub(crate) fn internal_error(tag: &RequestTag) -> ErrorObject {
    let tag = tag.as_str();
    ErrorObject::new(
        ErrorCode::INTERNAL_ERROR,
        format!("Internal error; the server's log has more under request id {tag}"),
    )
    .with_data(json!({ "requestId": tag }))
}
