//! Multi round-trip requests: what one attempt of a modern call asked, what it was given, and what the next one must know.
//!
//! A handler that asks something unanswered ends its attempt; the client comes back with the answer and the handler runs again from its
//! beginning, with every answer given so far. What was given in earlier rounds travels with the client, sealed. Must not know lanes or
//! transports. Specification: `basic/patterns/mrtr` of revision 2026-07-28.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::engine::seal::{Binding, Sealer, Unsealable, digest_of};
use crate::handler::ask::{Ask, AskError};
use crate::protocol::jsonrpc::ErrorObject;

/// What the rounds of every call have in common.
pub(crate) struct RoundRules {
    pub(crate) sealer: Sealer,
    pub(crate) state_bytes_max: usize,
    pub(crate) state_ttl: Duration,
}

/// What a client sends when it comes back.
#[derive(Debug, Default)]
pub(crate) struct Retry {
    pub(crate) responses: Option<Box<RawValue>>,
    pub(crate) state: Option<String>,
}

/// One attempt.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    /// What this attempt was given and has not asked for yet; what it does not ask for is ignored.
    given: BTreeMap<String, Value>,
    /// What travels on.
    carried: Carried,
    /// What the client is to be asked when the attempt has ended.
    pending: BTreeMap<String, InputRequest>,
}

/// What a later round must know of the earlier ones.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Carried {
    #[serde(rename = "a", default)]
    answers: BTreeMap<String, Value>,
    #[serde(rename = "k", default)]
    kept: BTreeMap<String, Value>,
}

#[derive(Debug, Serialize)]
struct InputRequest {
    method: &'static str,
    params: Value,
}

/// The result that ends an attempt which needs more.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InputRequired<'a> {
    result_type: &'a str,
    input_requests: &'a BTreeMap<String, InputRequest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_state: Option<String>,
    #[serde(rename = "_meta")]
    meta: &'a RawValue,
}

/// The call that a state belongs to.
pub(crate) struct Attempted<'a> {
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) arguments: Option<&'a RawValue>,
}

impl Attempted<'_> {
    fn binding(&self) -> Binding<'_> {
        Binding {
            principal: None,
            method: self.method,
            target: self.target,
            arguments_digest: digest_of(self.arguments),
        }
    }
}

impl Rounds {
    /// Takes what the client came back with.
    ///
    /// # Errors
    ///
    /// When the state is not one that this server gave out for this very request, or has expired.
    pub(crate) fn resume(
        &mut self,
        retry: &Retry,
        attempted: &Attempted<'_>,
        rules: &RoundRules,
    ) -> Result<(), ErrorObject> {
        if let Some(state) = &retry.state {
            let refuse = |why: &str| {
                ErrorObject::invalid_params(format!("`requestState` {why}; start again without it"))
            };
            let opened = rules
                .sealer
                .open(state, SystemTime::now(), &attempted.binding());
            let payload = opened.map_err(|unsealable| match unsealable {
                Unsealable::Tampered => refuse("is not one that was given out for this request"),
                Unsealable::Expired => refuse("has expired"),
            })?;
            self.carried = serde_json::from_slice(&payload)
                .map_err(|_| refuse("is of another version of this server"))?;
        }
        // Anything but an object answers nothing, and the client is asked again.
        if let Some(responses) = &retry.responses {
            self.given = serde_json::from_str(responses.get()).unwrap_or_default();
        }
        Ok(())
    }

    /// The answer to this ask, if it has been given; otherwise the client will be asked.
    pub(crate) fn ask(&mut self, key: &str, ask: &Ask) -> Result<Value, AskError> {
        if let Some(answer) = self.given.remove(key)
            && ask.accepts(&answer)
        {
            self.carried.answers.insert(key.to_owned(), answer);
        }
        match self.carried.answers.get(key) {
            Some(answer) => Ok(answer.clone()),
            None => {
                let request = InputRequest {
                    method: ask.method,
                    params: ask.params.clone(),
                };
                self.pending.insert(key.to_owned(), request);
                Err(AskError::Unanswered)
            }
        }
    }

    pub(crate) fn kept(&self, key: &str) -> Option<Value> {
        self.carried.kept.get(key).cloned()
    }

    pub(crate) fn keep(&mut self, key: &str, value: Value) {
        self.carried.kept.insert(key.to_owned(), value);
    }

    /// The result that asks the client, if this attempt asked anything that was not answered.
    ///
    /// # Errors
    ///
    /// When there is more to carry than a state may hold.
    pub(crate) fn required<'a>(
        &'a self,
        attempted: &Attempted<'_>,
        rules: &RoundRules,
        server_info: &'a RawValue,
    ) -> Option<Result<InputRequired<'a>, ErrorObject>> {
        if self.pending.is_empty() {
            return None;
        }
        Some(
            self.sealed(attempted, rules)
                .map(|request_state| InputRequired {
                    result_type: "input_required",
                    input_requests: &self.pending,
                    request_state,
                    meta: server_info,
                }),
        )
    }

    /// `None` when there is nothing to carry.
    fn sealed(
        &self,
        attempted: &Attempted<'_>,
        rules: &RoundRules,
    ) -> Result<Option<String>, ErrorObject> {
        if self.carried.answers.is_empty() && self.carried.kept.is_empty() {
            return Ok(None);
        }
        let payload =
            serde_json::to_vec(&self.carried).expect("values that were JSON are JSON again");
        if payload.len() > rules.state_bytes_max {
            return Err(ErrorObject::invalid_params(format!(
                "The answers so far are longer than the {} bytes that may travel between rounds",
                rules.state_bytes_max
            )));
        }
        let state = rules
            .sealer
            .seal(&payload, expiry(rules.state_ttl), &attempted.binding());
        Ok(Some(state))
    }
}

/// A time too long for the clock, such as `Duration::MAX`, ends in ten years.
fn expiry(ttl: Duration) -> SystemTime {
    const NEVER: Duration = Duration::from_secs(60 * 60 * 24 * 3650);
    let now = SystemTime::now();
    now.checked_add(ttl).unwrap_or(now + NEVER)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use serde_json::value::to_raw_value;

    use super::*;

    fn rules() -> RoundRules {
        RoundRules {
            sealer: Sealer::new(b"key"),
            state_bytes_max: 1000,
            state_ttl: Duration::from_secs(60),
        }
    }

    const ATTEMPTED: Attempted<'_> = Attempted {
        method: "tools/call",
        target: "deploy",
        arguments: None,
    };

    fn ask() -> Ask {
        Ask::new("roots/list", json!({}), "roots")
    }

    fn retry(responses: &Value, state: Option<String>) -> Retry {
        Retry {
            responses: to_raw_value(responses).ok(),
            state,
        }
    }

    /// What one attempt that asks for these keys leaves for the next: the state, and what is asked.
    fn attempt(retry: &Retry, keys: &[&str]) -> (Option<String>, Vec<String>) {
        let mut rounds = Rounds::default();
        rounds
            .resume(retry, &ATTEMPTED, &rules())
            .expect("the state is ours");
        for key in keys {
            let _unanswered = rounds.ask(key, &ask());
        }
        let pending = rounds.pending.keys().cloned().collect();
        (
            rounds.sealed(&ATTEMPTED, &rules()).expect("it fits"),
            pending,
        )
    }

    #[test]
    fn answers_gather_from_round_to_round() {
        let answered = |key: &str| json!({ key: { "roots": [] } });
        let (state, pending) = attempt(&Retry::default(), &["a", "b", "c"]);
        assert_eq!((state, pending.len()), (None, 3));
        let (state, pending) = attempt(&retry(&answered("b"), None), &["a", "b", "c"]);
        assert_eq!(pending, ["a", "c"]);
        let (state, pending) = attempt(&retry(&answered("a"), state), &["a", "b", "c"]);
        assert_eq!(pending, ["c"]);
        let (_, pending) = attempt(&retry(&answered("c"), state), &["a", "b", "c"]);
        assert_eq!(pending.len(), 0);
    }

    #[test]
    fn what_is_not_asked_for_is_not_carried() {
        let stranger = json!({ "stranger": { "roots": [] }, "a": { "content": 7 } });
        let (state, pending) = attempt(&retry(&stranger, None), &["a"]);
        assert_eq!((state, pending), (None, vec!["a".to_owned()]));
    }

    #[test]
    fn what_is_kept_travels_and_a_later_answer_replaces_an_earlier_one() {
        let mut rounds = Rounds::default();
        rounds.keep("number", json!(7));
        let state = rounds.sealed(&ATTEMPTED, &rules()).expect("it fits");
        let mut again = Rounds::default();
        let first = retry(&json!({ "a": { "roots": [1] } }), state);
        again
            .resume(&first, &ATTEMPTED, &rules())
            .expect("the state is ours");
        assert_eq!(again.kept("number"), Some(json!(7)));
        assert_eq!(again.kept("other"), None);
        assert_eq!(again.ask("a", &ask()), Ok(json!({ "roots": [1] })));
        let state = again.sealed(&ATTEMPTED, &rules()).expect("it fits");
        let second = retry(&json!({ "a": { "roots": [2] } }), state);
        let mut last = Rounds::default();
        last.resume(&second, &ATTEMPTED, &rules())
            .expect("the state is ours");
        assert_eq!(last.ask("a", &ask()), Ok(json!({ "roots": [2] })));
    }

    #[test]
    fn a_genuine_state_of_another_version_is_refused() {
        let rules = rules();
        let expires = SystemTime::now() + rules.state_ttl;
        for payload in [&b""[..], b"7", b"{\"a\":7}", b"\xff"] {
            let state = rules.sealer.seal(payload, expires, &ATTEMPTED.binding());
            let refused =
                Rounds::default().resume(&retry(&json!({}), Some(state)), &ATTEMPTED, &rules);
            let message = refused.expect_err("it cannot be read").message;
            assert!(message.contains("another version"), "{message}");
        }
    }
}
