//! Multi round-trip requests: what one attempt of a modern call asked, what it was given, and what the next one must know.
//!
//! A handler that asks something unanswered ends its attempt; the client comes back with the answer and the handler runs again from its
//! beginning, with every answer given so far. What was given in earlier rounds travels with the client, sealed. Must not know lanes or
//! transports. Specification: `basic/patterns/mrtr` of revision 2026-07-28.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::base::budget::Charge;
use crate::base::limits::Limits;
use crate::desk::record::{Carried, Question};
use crate::engine::seal::{Binding, Sealer, Unsealable};
use crate::handler::ask::{Ask, AskError, is_answer_to};
use crate::protocol::errors::{ErrorCode, ErrorObject};
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
}

/// One attempt. What a client gave stays the text that it is until a handler knows its type.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    /// An object with what this attempt was given; what it does not ask for is ignored.
    given: Option<Box<RawValue>>,
    /// The state that a modern client came back with, until it is opened.
    sealed: Option<String>,
    /// What travels on.
    pub(super) carried: Carried,
    /// What this attempt has asked.
    asked: BTreeMap<String, Ask>,
    /// The capabilities that its questions needed and that were not declared.
    lacking: Option<Value>,
    /// What the last answer of a session's client takes; what an earlier one took is given back, for that has been read. Of those that are carried to a
    /// job, all. And what the answer takes that a script makes.
    pub(super) answered: Vec<Charge>,
}

/// The result that ends an attempt which needs more.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InputRequired<'a> {
    result_type: &'a str,
    input_requests: BTreeMap<&'a str, &'a Ask>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_state: Option<String>,
    #[serde(rename = "_meta")]
    meta: &'a RawValue,
}

impl Rounds {
    /// What a modern client comes back with.
    pub(super) fn read(params: &Params<'_>, rules: &RoundRules) -> Box<Self> {
        let state = params.request_state.as_ref();
        Box::new(Rounds {
            // Anything but an object answers nothing, and the client is asked again.
            given: params.input_responses.map(raw::owned),
            // What is longer than any that was given out need not be kept to be refused.
            sealed: state.map(|Text(state)| {
                match state.len() <= Sealer::sealed_len(rules.state_bytes_max) {
                    true => state.to_string(),
                    false => String::new(),
                }
            }),
            ..Rounds::default()
        })
    }

    /// Opens the state that the client came back with.
    ///
    /// # Errors
    ///
    /// When it is not one that this server gave out for this very request, or has expired.
    pub(crate) fn open(
        &mut self,
        bound_to: &Binding<'_>,
        rules: &RoundRules,
    ) -> Result<(), ErrorObject> {
        if let Some(state) = self.sealed.take() {
            let refuse = |why: &str| {
                ErrorObject::invalid_params(format!("`requestState` {why}; start again without it"))
            };
            let opened = rules.sealer.open(&state, SystemTime::now(), || *bound_to);
            let payload = opened.map_err(|unsealable| match unsealable {
                Unsealable::Tampered => refuse("is not one that was given out for this request"),
                Unsealable::Expired => refuse("has expired"),
            })?;
            self.carried = serde_json::from_slice(&payload)
                .map_err(|_| refuse("is of another version of this server"))?;
        }
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

    /// Whether this attempt has asked something else under this key: both would get the same answer.
    pub(crate) fn has_asked_another(&self, key: &str, ask: &Ask) -> bool {
        self.asked.get(key).is_some_and(|before| before != ask)
    }

    /// The answer to this ask, if it has been given; otherwise the client will be asked, unless it is under this key already, or lacks capabilities.
    pub(crate) fn ask(
        &mut self,
        key: &str,
        ask: Ask,
        lacking: Option<Value>,
    ) -> Result<Box<RawValue>, AskError> {
        let given = self.given.as_deref();
        let answer = given.and_then(|given| raw::member(given, key));
        if let Some(answer) = answer.filter(|answer| is_answer_to(ask.method, answer)) {
            self.carried
                .answers
                .insert(key.to_owned(), raw::owned(answer));
        }
        let answer = self.answer(key);
        if let (None, Some(required)) = (&answer, lacking) {
            add(self.lacking.get_or_insert_default(), &required);
            let era = Era::Modern;
            return Err(AskError::Unsupported { required, era });
        }
        self.asked.entry(key.to_owned()).or_insert(ask);
        answer.ok_or(AskError::Unanswered)
    }

    /// What has been answered under this key.
    pub(crate) fn answer(&self, key: &str) -> Option<Box<RawValue>> {
        self.carried.answers.get(key).cloned()
    }

    /// Carries what a session's client has answered to the job that follows.
    pub(crate) fn carry(&mut self, key: &str, answer: &RawValue, charge: Charge) {
        self.carried
            .answers
            .insert(key.to_owned(), raw::owned(answer));
        self.answered.push(charge);
    }

    /// The error of a handler that has given up because its client lacks capabilities: it names all that it lacks, and the client is asked nothing in vain.
    pub(crate) fn give_up(&mut self, error: ErrorObject) -> ErrorObject {
        match self.lacking.take() {
            Some(required) if error.code == ErrorCode::MISSING_CLIENT_CAPABILITY => {
                self.asked.clear();
                let era = Era::Modern;
                let lacking = AskError::Unsupported { required, era };
                lacking.protocol_error().unwrap_or(error)
            }
            _ => error,
        }
    }

    /// The result that asks the client, if this attempt asked anything that was not answered.
    ///
    /// # Errors
    ///
    /// When there is more to carry than a state may hold.
    pub(crate) fn required<'a>(
        &'a self,
        bound_to: &Binding<'_>,
        rules: &RoundRules,
        server_info: &'a RawValue,
    ) -> Option<Result<InputRequired<'a>, ErrorObject>> {
        let input_requests = self.unanswered();
        if input_requests.is_empty() {
            return None;
        }
        let sealed = self.sealed(bound_to, rules);
        Some(sealed.map(|request_state| InputRequired {
            result_type: "input_required",
            input_requests,
            request_state,
            meta: server_info,
        }))
    }

    fn unanswered(&self) -> BTreeMap<&str, &Ask> {
        let open = |(key, _): &(&String, _)| !self.carried.answers.contains_key(*key);
        let asked = self.asked.iter().filter(open);
        asked
            .map(|(key, request)| (key.as_str(), request))
            .collect()
    }

    /// `None` when there is nothing to carry.
    fn sealed(
        &self,
        bound_to: &Binding<'_>,
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
            .seal(&payload, expiry(rules.state_ttl), bound_to);
        Ok(Some(state))
    }
}

/// Adds capabilities to others.
fn add(all: &mut Value, more: &Value) {
    match (all, more) {
        (Value::Object(all), Value::Object(more)) => {
            for (name, inside) in more {
                add(all.entry(name).or_insert(Value::Null), inside);
            }
        }
        (all @ Value::Null, more) => *all = more.clone(),
        _ => {}
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

    const BINDING: Binding<'_> = Binding {
        method: "tools/call",
        target: "deploy",
        arguments: None,
    };

    fn ask() -> Ask {
        Ask {
            method: "roots/list",
            params: json!({}),
        }
    }

    fn raw(value: &Value) -> Box<RawValue> {
        to_raw_value(value).expect("it is JSON")
    }

    fn answer(rounds: &mut Rounds) -> String {
        let answer = rounds.ask("a", ask(), None).expect("it has been answered");
        answer.get().to_owned()
    }

    fn retry(responses: &Value, state: Option<String>) -> Rounds {
        Rounds {
            given: Some(raw(responses)),
            sealed: state,
            ..Rounds::default()
        }
    }

    /// What one attempt that asks for these keys leaves for the next: the state, and what is asked.
    fn attempt(mut rounds: Rounds, keys: &[&str]) -> (Option<String>, Vec<String>) {
        rounds.open(&BINDING, &rules()).expect("the state is ours");
        for key in keys {
            let _unanswered = rounds.ask(key, ask(), None);
        }
        let pending = rounds.unanswered();
        let pending = pending.into_keys().map(ToOwned::to_owned).collect();
        (rounds.sealed(&BINDING, &rules()).expect("it fits"), pending)
    }

    #[test]
    fn answers_gather_from_round_to_round() {
        let answered = |key: &str| json!({ key: { "roots": [] } });
        let (state, pending) = attempt(Rounds::default(), &["a", "b", "c"]);
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
            assert!(rounds.ask("a", ask(), None).is_err());
        }
        let other = Ask {
            params: json!({ "other": 1 }),
            ..ask()
        };
        let is_another = ["a", "b"].map(|key| rounds.has_asked_another(key, &other));
        assert_eq!(is_another, [true, false]);
        assert!(!rounds.has_asked_another("a", &ask()));
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
        let kept = raw(&json!(7));
        rounds.carried.kept.insert("number".into(), kept);
        let state = rounds.sealed(&BINDING, &rules()).expect("it fits");
        let mut again = retry(&json!({ "a": { "roots": [1] } }), state);
        again.open(&BINDING, &rules()).expect("the state is ours");
        assert_eq!(
            again
                .carried
                .kept
                .get("number")
                .map(|kept| kept.get().to_owned()),
            Some("7".into())
        );
        assert!(!again.carried.kept.contains_key("other"));
        assert_eq!(answer(&mut again), r#"{"roots":[1]}"#);
        let state = again.sealed(&BINDING, &rules()).expect("it fits");
        let mut last = retry(&json!({ "a": { "roots": [2] } }), state);
        last.open(&BINDING, &rules()).expect("the state is ours");
        assert_eq!(answer(&mut last), r#"{"roots":[2]}"#);
    }

    #[test]
    fn a_genuine_state_of_another_version_is_refused() {
        let rules = rules();
        let expires = SystemTime::now() + rules.state_ttl;
        for payload in [&b""[..], b"7", b"{\"a\":7}", b"\xff"] {
            let state = rules.sealer.seal(payload, expires, &BINDING);
            let refused = retry(&json!({}), Some(state)).open(&BINDING, &rules);
            let message = refused.expect_err("it cannot be read").message;
            assert!(message.contains("another version"), "{message}");
        }
    }
}
