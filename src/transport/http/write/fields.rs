//! The header fields of an answer: those that every answer has, and those of a terminal message.
//!
//! Must not know how they are written, or on which thread.

use crate::outbox::Answer;
use crate::protocol::errors::ErrorCode;
use crate::transport::http::endpoint::cors_fields;
use crate::transport::http::refusal::JSON;

/// More fields than these no answer has, besides what the front adds.
pub(super) const FIELDS_MAX: usize = 12;

const RETRY_AFTER: (&str, &str) = ("Retry-After", "1");

/// The fields that a terminal message has besides those that every answer has.
pub(super) fn answer_fields<'f>(
    answer: &Answer,
    opens: Option<&'f str>,
) -> impl Iterator<Item = (&'f str, &'f str)> + use<'f> {
    let is_refused = answer.error == Some(ErrorCode::OVERLOADED);
    let session = opens.map(|session| ("Mcp-Session-Id", session));
    let retry = is_refused.then_some(RETRY_AFTER);
    [Some(JSON), session, retry].into_iter().flatten()
}

/// Puts the fields of this answer behind those that every answer has. How many there are.
#[expect(clippy::map_identity, reason = "it shortens the lifetime of the items")]
pub(super) fn collect<'all, 'f: 'all>(
    all: &mut [(&'all str, &'all str); FIELDS_MAX],
    request_id: &'all str,
    origin: Option<&'all str>,
    fields: impl IntoIterator<Item = (&'f str, &'f str)>,
) -> usize {
    let every = [("X-Request-Id", request_id)];
    let cors = origin.map(cors_fields).into_iter().flatten();
    let fields = fields.into_iter().map(|(name, value)| (name, value));
    let mut count = 0;
    every
        .into_iter()
        .chain(cors)
        .chain(fields)
        .for_each(|field| {
            if let Some(slot) = all.get_mut(count) {
                *slot = field;
                count += 1;
            }
        });
    count
}
