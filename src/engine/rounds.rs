//! Multi round-trip requests: what one attempt of a modern call asked, what it was given, and what the next one must know.
//!
//! A handler that asks something unanswered ends its attempt; the client comes back with the answer and the handler runs again from its
//! beginning, with every answer given so far. What was given in earlier rounds travels with the client, sealed. Must not know lanes or
//! transports. Specification: `basic/patterns/mrtr` of revision 2026-07-28.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::base::limits::Limits;
use crate::base::owner::Owner;
use crate::desk::record::{Carried, Question};
use crate::engine::seal::{Binding, Sealer, Unsealable};
use crate::handler::ask::{Ask, AskError};
use crate::protocol::digest::{Digest, digest_of};
use crate::protocol::errors::ErrorObject;
use crate::protocol::meta::Params;
use crate::protocol::raw;
use crate::protocol::text::Text;
use crate::protocol::version::Era;

/// What the rounds of every call have in common.
pub(crate) struct RoundRules {
    pub(crate) sealer: Sealer,
    pub(crate) state_bytes_max: usize,
    pub(crate) state_ttl: Duration,
}

impl RoundRules {
    /// With a random key if there is none.
    pub(super) fn new(seal_key: Option<&[u8]>, limits: &Limits) -> Self {
        RoundRules {
            sealer: seal_key.map_or_else(Sealer::random, Sealer::new),
            state_bytes_max: limits.request_state_bytes_max,
            state_ttl: limits.request_state_ttl,
        }
    }

    /// How long a state can be as it travels.
    fn state_len_max(&self) -> usize {
        Sealer::sealed_len(self.state_bytes_max)
    }
}

/// What a client sends when it comes back.
#[derive(Debug, Default)]
pub(crate) struct Retry {
    pub(crate) responses: Option<Box<RawValue>>,
    pub(crate) state: Option<String>,
}

impl Retry {
    /// What a modern client comes back with, if it does.
    pub(super) fn read(params: &Params<'_>, era: Era, rules: &RoundRules) -> Option<Retry> {
        let state = params.request_state.as_ref();
        if era == Era::Legacy || (params.input_responses.is_none() && state.is_none()) {
            return None;
        }
        Some(Retry {
            responses: params.input_responses.map(ToOwned::to_owned),
            // What is longer than any that was given out need not be kept to be refused.
            state: state.map(|Text(state)| match state.len() <= rules.state_len_max() {
                true => state.to_string(),
                false => String::new(),
            }),
        })
    }
}

/// One attempt. What a client gave stays the text that it is until a handler knows its type.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    /// An object with what this attempt was given; what it does not ask for is ignored.
    given: Option<Box<RawValue>>,
    /// What travels on.
    carried: Carried,
    /// What this attempt has asked.
    asked: BTreeMap<String, InputRequest>,
    /// What its arguments say, once somebody had to know.
    arguments_digest: OnceCell<Digest>,
}

#[derive(Debug, PartialEq, Serialize)]
struct InputRequest {
    method: &'static str,
    params: Value,
}

/// The result that ends an attempt which needs more.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InputRequired<'a> {
    result_type: &'a str,
    input_requests: BTreeMap<&'a str, &'a InputRequest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_state: Option<String>,
    #[serde(rename = "_meta")]
    meta: &'a RawValue,
}

/// The call that a state belongs to.
pub(crate) struct Attempted<'a> {
    pub(crate) owner: &'a Owner,
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) arguments: Option<&'a RawValue>,
}

impl Rounds {
    /// Takes what the client came back with.
    ///
    /// # Errors
    ///
    /// When the state is not one that this server gave out for this very request, or has expired.
    pub(crate) fn resume(
        &mut self,
        retry: Retry,
        attempted: &Attempted<'_>,
        rules: &RoundRules,
    ) -> Result<(), ErrorObject> {
        if let Some(state) = retry.state {
            let refuse = |why: &str| {
                ErrorObject::invalid_params(format!("`requestState` {why}; start again without it"))
            };
            let opened = rules
                .sealer
                .open(&state, SystemTime::now(), || self.binding(attempted));
            let payload = opened.map_err(|unsealable| match unsealable {
                Unsealable::Tampered => refuse("is not one that was given out for this request"),
                Unsealable::Expired => refuse("has expired"),
            })?;
            self.carried = serde_json::from_slice(&payload)
                .map_err(|_| refuse("is of another version of this server"))?;
        }
        // Anything but an object answers nothing, and the client is asked again.
        self.given = retry.responses;
        Ok(())
    }

    /// An attempt of a job that knows what the earlier ones left.
    pub(crate) fn carrying(carried: Carried) -> Self {
        Rounds {
            carried,
            ..Rounds::default()
        }
    }

    /// What a job has to keep when its attempt has asked something that is not answered: the questions, and what the next attempt must know.
    pub(crate) fn left_over(&self) -> Option<(Vec<Question>, Carried)> {
        let questions: Vec<_> = self
            .unanswered()
            .into_iter()
            .map(|(name, request)| Question {
                name: name.to_owned(),
                method: request.method.to_owned(),
                params: request.params.clone(),
            })
            .collect();
        (!questions.is_empty()).then(|| (questions, self.carried.clone()))
    }

    /// What was asked and kept, for a job that the call becomes.
    pub(crate) fn take_carried(&mut self) -> Carried {
        std::mem::take(&mut self.carried)
    }

    /// The answer to this ask, if it has been given; otherwise the client will be asked.
    ///
    /// # Panics
    ///
    /// In debug builds, when this attempt has asked something else under this key: both would get the same answer.
    pub(crate) fn ask(&mut self, key: &str, ask: &Ask) -> Result<Box<RawValue>, AskError> {
        let request = InputRequest {
            method: ask.method,
            params: ask.params.clone(),
        };
        match self.asked.entry(key.to_owned()) {
            Entry::Vacant(place) => drop(place.insert(request)),
            Entry::Occupied(before) => debug_assert!(
                *before.get() == request,
                "the key `{key}` has been used for another question of this handler"
            ),
        }
        let given = self.given.as_deref();
        let answer = given.and_then(|given| raw::member(given, key));
        if let Some(answer) = answer.filter(|answer| ask.accepts(answer)) {
            self.carried
                .answers
                .insert(key.to_owned(), answer.to_owned());
        }
        let answer = self.carried.answers.get(key);
        answer.cloned().ok_or(AskError::Unanswered)
    }

    pub(crate) fn kept(&self, key: &str) -> Option<Box<RawValue>> {
        self.carried.kept.get(key).cloned()
    }

    pub(crate) fn keep(&mut self, key: &str, value: Box<RawValue>) {
        self.carried.kept.insert(key.to_owned(), value);
    }

    /// The digest is made once for each attempt, however often it is needed.
    fn binding<'b>(&self, attempted: &Attempted<'b>) -> Binding<'b> {
        let digest = || digest_of(attempted.arguments);
        Binding {
            principal: attempted.owner.principal(),
            method: attempted.method,
            target: attempted.target,
            arguments_digest: *self.arguments_digest.get_or_init(digest),
        }
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
        let input_requests = self.unanswered();
        if input_requests.is_empty() {
            return None;
        }
        let sealed = self.sealed(attempted, rules);
        Some(sealed.map(|request_state| InputRequired {
            result_type: "input_required",
            input_requests,
            request_state,
            meta: server_info,
        }))
    }

    fn unanswered(&self) -> BTreeMap<&str, &InputRequest> {
        let open = |(key, _): &(&String, _)| !self.carried.answers.contains_key(*key);
        let asked = self.asked.iter().filter(open);
        asked
            .map(|(key, request)| (key.as_str(), request))
            .collect()
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
            .seal(&payload, expiry(rules.state_ttl), &self.binding(attempted));
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
        owner: &Owner::Nobody,
        method: "tools/call",
        target: "deploy",
        arguments: None,
    };

    fn ask() -> Ask {
        Ask::new("roots/list", json!({}), "roots")
    }

    fn raw(value: &Value) -> Box<RawValue> {
        to_raw_value(value).expect("it is JSON")
    }

    fn answer(rounds: &mut Rounds) -> String {
        let answer = rounds.ask("a", &ask()).expect("it has been answered");
        answer.get().to_owned()
    }

    fn retry(responses: &Value, state: Option<String>) -> Retry {
        Retry {
            responses: Some(raw(responses)),
            state,
        }
    }

    /// What one attempt that asks for these keys leaves for the next: the state, and what is asked.
    fn attempt(retry: Retry, keys: &[&str]) -> (Option<String>, Vec<String>) {
        let mut rounds = Rounds::default();
        rounds
            .resume(retry, &ATTEMPTED, &rules())
            .expect("the state is ours");
        for key in keys {
            let _unanswered = rounds.ask(key, &ask());
        }
        let pending = rounds.unanswered();
        let pending = pending.into_keys().map(ToOwned::to_owned).collect();
        (
            rounds.sealed(&ATTEMPTED, &rules()).expect("it fits"),
            pending,
        )
    }

    #[test]
    fn answers_gather_from_round_to_round() {
        let answered = |key: &str| json!({ key: { "roots": [] } });
        let (state, pending) = attempt(Retry::default(), &["a", "b", "c"]);
        assert_eq!((state, pending.len()), (None, 3));
        let (state, pending) = attempt(retry(&answered("b"), None), &["a", "b", "c"]);
        assert_eq!(pending, ["a", "c"]);
        let (state, pending) = attempt(retry(&answered("a"), state), &["a", "b", "c"]);
        assert_eq!(pending, ["c"]);
        let (_, pending) = attempt(retry(&answered("c"), state), &["a", "b", "c"]);
        assert_eq!(pending.len(), 0);
    }

    #[test]
    fn the_same_question_may_be_asked_again_and_another_one_needs_another_key() {
        let mut rounds = Rounds::default();
        for _ in 0..2 {
            assert!(rounds.ask("a", &ask()).is_err());
        }
        let other = Ask::new("roots/list", json!({ "other": 1 }), "roots");
        let asked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            drop(rounds.ask("a", &other));
        }));
        assert_eq!(asked.is_err(), cfg!(debug_assertions));
    }

    #[test]
    fn what_is_not_asked_for_is_not_carried() {
        let stranger = json!({ "stranger": { "roots": [] }, "a": { "content": 7 } });
        let (state, pending) = attempt(retry(&stranger, None), &["a"]);
        assert_eq!((state, pending), (None, vec!["a".to_owned()]));
    }

    #[test]
    fn what_is_kept_travels_and_a_later_answer_replaces_an_earlier_one() {
        let mut rounds = Rounds::default();
        rounds.keep("number", raw(&json!(7)));
        let state = rounds.sealed(&ATTEMPTED, &rules()).expect("it fits");
        let mut again = Rounds::default();
        let first = retry(&json!({ "a": { "roots": [1] } }), state);
        again
            .resume(first, &ATTEMPTED, &rules())
            .expect("the state is ours");
        assert_eq!(
            again.kept("number").map(|kept| kept.get().to_owned()),
            Some("7".into())
        );
        assert!(again.kept("other").is_none());
        assert_eq!(answer(&mut again), r#"{"roots":[1]}"#);
        let state = again.sealed(&ATTEMPTED, &rules()).expect("it fits");
        let second = retry(&json!({ "a": { "roots": [2] } }), state);
        let mut last = Rounds::default();
        last.resume(second, &ATTEMPTED, &rules())
            .expect("the state is ours");
        assert_eq!(answer(&mut last), r#"{"roots":[2]}"#);
    }

    #[test]
    fn a_genuine_state_of_another_version_is_refused() {
        let rules = rules();
        let expires = SystemTime::now() + rules.state_ttl;
        for payload in [&b""[..], b"7", b"{\"a\":7}", b"\xff"] {
            let mut rounds = Rounds::default();
            let binding = rounds.binding(&ATTEMPTED);
            let state = rules.sealer.seal(payload, expires, &binding);
            let refused = rounds.resume(retry(&json!({}), Some(state)), &ATTEMPTED, &rules);
            let message = refused.expect_err("it cannot be read").message;
            assert!(message.contains("another version"), "{message}");
        }
    }
}
