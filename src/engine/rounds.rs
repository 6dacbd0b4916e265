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
        let expires = SystemTime::now() + rules.state_ttl;
        let state = rules.sealer.seal(&payload, expires, &attempted.binding());
        Ok(Some(state))
    }
}
