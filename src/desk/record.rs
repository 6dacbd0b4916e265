//! One background job as data: how far it is, and every move it may make.
//!
//! Pure: a move is asked for and says whether it was made; a job that has ended makes none. Must not know locks, clocks, stores or the wire.
//!
//! ```text
//!            ask                 answer (the last one)
//! Working ─────────> InputRequired ─────────> Working
//!    │ end                 │ cancel, fail
//!    └──> Completed, Failed, Cancelled <──┘       nothing leaves these
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

/// How far a background job is: the five states of the tasks extension. Specification: `io.modelcontextprotocol/tasks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum JobStatus {
    /// It waits for a worker or runs.
    Working,
    /// It waits for somebody to answer a question, and holds no worker.
    InputRequired,
    /// It has a result, which may be a tool error.
    Completed,
    /// It ended with what would have been a JSON-RPC error: a panic, a crash of the server.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl Order {
    /// Whose bound it counts against.
    pub(crate) fn owner(&self) -> Option<Arc<str>> {
        self.principal.as_ref().or(self.listed_in.as_ref()).cloned()
    }
}

impl JobStatus {
    /// What a record of this length takes: what has ended is only in the store, what lives is there, in the table, and with the worker that runs it.
    pub(crate) fn kept_bytes(self, len: usize) -> usize {
        match self.is_final() {
            true => len,
            false => 3 * len,
        }
    }

    /// Whether nothing will change any more.
    pub fn is_final(self) -> bool {
        matches!(
            self,
            JobStatus::Completed | JobStatus::Failed | JobStatus::Cancelled
        )
    }

    /// Its name in the protocol, such as `input_required`.
    pub fn as_str(self) -> &'static str {
        match self {
            JobStatus::Working => "working",
            JobStatus::InputRequired => "input_required",
            JobStatus::Completed => "completed",
            JobStatus::Failed => "failed",
            JobStatus::Cancelled => "cancelled",
        }
    }
}

/// What a job is made from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) tool: Arc<str>,
    /// Who alone may look at it; `None`: a bearer of the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) principal: Option<Arc<str>>,
    /// The session or pipe in whose list it stands, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) listed_in: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) arguments: Option<Arc<RawValue>>,
    /// The workspace it works in: its owner, if it has one, and its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) workspace: Option<(Option<Arc<str>>, Arc<str>)>,
    /// What its client said it can be asked, as it said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) capabilities: Option<Arc<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client_info: Option<Arc<RawValue>>,
    /// Whether its client is of the handshake era, whose results have another form.
    #[serde(default)]
    pub(crate) is_legacy: bool,
    /// Whether a restart may run it again from its beginning.
    #[serde(default)]
    pub(crate) restartable: bool,
}

/// A question that a job waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Question {
    /// What the handler's author calls it.
    pub(crate) name: String,
    pub(crate) method: String,
    pub(crate) params: Value,
}

/// What a later attempt must know of the earlier ones.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Carried {
    #[serde(rename = "a", default)]
    pub(crate) answers: BTreeMap<String, Box<RawValue>>,
    #[serde(rename = "k", default)]
    pub(crate) kept: BTreeMap<String, Box<RawValue>>,
}

/// How a job ended, rendered once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JobOutcome {
    /// The result of its call.
    Result(Arc<RawValue>),
    /// The JSON-RPC error of its call, and the same in a sentence.
    Error(Arc<RawValue>, String),
    Cancelled,
}

/// A job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct JobRecord {
    pub(crate) id: Arc<str>,
    pub(crate) order: Order,
    pub(crate) status: JobStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    /// Milliseconds since 1970, like all times here.
    pub(crate) created_ms: u64,
    pub(crate) updated_ms: u64,
    /// When it may be forgotten; set when it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_ms: Option<u64>,
    /// Outstanding questions by their keys on the wire, which are minted: no key is ever used for a second question.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) questions: BTreeMap<String, Question>,
    #[serde(default)]
    pub(crate) carried: Carried,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<JobOutcome>,
}

/// What an answer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerEffect {
    /// Nothing in it was asked.
    Nothing,
    /// Some questions are left.
    Some,
    /// The last question has its answer: the job can go on.
    All,
}

/// The longest status message that is kept, in bytes.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1024;

/// A line of a list.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) id: Arc<str>,
    pub(crate) tool: Arc<str>,
    pub(crate) status: JobStatus,
    pub(crate) message: Option<String>,
    pub(crate) created_ms: u64,
    pub(crate) updated_ms: u64,
}

impl JobRecord {
    /// As it stands in a list.
    pub(crate) fn listed(&self) -> Listed {
        Listed {
            id: Arc::clone(&self.id),
            tool: Arc::clone(&self.order.tool),
            status: self.status,
            message: self.message.clone(),
            created_ms: self.created_ms,
            updated_ms: self.updated_ms,
        }
    }

    pub(crate) fn new(order: Order, carried: Carried, now_ms: u64) -> Self {
        JobRecord {
            // 122 random bits, in letters that an HTTP header takes as they are.
            id: Uuid::new_v4().to_string().into(),
            order,
            status: JobStatus::Working,
            message: None,
            created_ms: now_ms,
            updated_ms: now_ms,
            expires_ms: None,
            questions: BTreeMap::new(),
            carried,
            outcome: None,
        }
    }

    /// Says how it goes, cut at a character to [`MESSAGE_BYTES_MAX`].
    pub(crate) fn tell(&mut self, mut message: String, now_ms: u64) -> bool {
        if self.status != JobStatus::Working {
            return false;
        }
        let mut end = message.len().min(MESSAGE_BYTES_MAX);
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        self.message = Some(message);
        self.touch(now_ms);
        true
    }

    /// Ends an attempt that asked something. The next one will find what is carried.
    pub(crate) fn ask(
        &mut self,
        questions: impl IntoIterator<Item = Question>,
        carried: Carried,
        now_ms: u64,
    ) -> bool {
        if self.status != JobStatus::Working {
            return false;
        }
        self.questions = questions
            .into_iter()
            .map(|question| (mint_key(&question.name), question))
            .collect();
        self.carried = carried;
        self.status = JobStatus::InputRequired;
        self.message = Some("Waits for an answer".into());
        self.touch(now_ms);
        true
    }

    /// Takes answers by their keys on the wire. What was not asked is ignored, whatever it looks like.
    pub(crate) fn answer(
        &mut self,
        mut take: impl FnMut(&str) -> Option<Box<RawValue>>,
        now_ms: u64,
    ) -> AnswerEffect {
        if self.status != JobStatus::InputRequired {
            return AnswerEffect::Nothing;
        }
        let before = self.questions.len();
        let carried = &mut self.carried;
        self.questions.retain(|key, question| match take(key) {
            Some(answer) => {
                carried.answers.insert(question.name.clone(), answer);
                false
            }
            None => true,
        });
        if self.questions.len() == before {
            return AnswerEffect::Nothing;
        }
        self.touch(now_ms);
        if !self.questions.is_empty() {
            return AnswerEffect::Some;
        }
        self.status = JobStatus::Working;
        self.message = None;
        AnswerEffect::All
    }

    /// Ends it. Only the first end counts.
    pub(crate) fn end(&mut self, outcome: JobOutcome, now_ms: u64, keep_ms: u64) -> bool {
        if self.status.is_final() {
            return false;
        }
        (self.status, self.message) = match &outcome {
            JobOutcome::Result(_) => (JobStatus::Completed, None),
            JobOutcome::Error(_, sentence) => (JobStatus::Failed, Some(sentence.clone())),
            JobOutcome::Cancelled => (JobStatus::Cancelled, None),
        };
        self.questions.clear();
        self.carried = Carried::default();
        self.order.arguments = None;
        self.outcome = Some(outcome);
        self.touch(now_ms);
        self.expires_ms = Some(self.updated_ms.saturating_add(keep_ms));
        true
    }

    /// Milliseconds from its creation until it may be forgotten; `None` while it has not ended, for its age ends no job.
    pub(crate) fn ttl_ms(&self) -> Option<u64> {
        Some(self.expires_ms?.saturating_sub(self.created_ms).max(1))
    }

    /// How long a client should wait before it looks again: longer the older the job is.
    pub(crate) fn poll_interval_ms(&self, now_ms: u64) -> u64 {
        const SHORTEST: u64 = 500;
        const LONGEST: u64 = 10_000;
        (now_ms.saturating_sub(self.created_ms) / 20).clamp(SHORTEST, LONGEST)
    }

    /// The clock of the machine may go back; a job's does not.
    fn touch(&mut self, now_ms: u64) {
        self.updated_ms = self.updated_ms.max(now_ms);
    }
}

/// A key that was never used before: the author's name for the question, so that a person can read it, and something random.
fn mint_key(name: &str) -> String {
    let random = Uuid::new_v4().simple().to_string();
    format!("{name}-{}", &random[..12])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use serde_json::value::to_raw_value;

    use super::*;

    const KEEP: u64 = 1000;

    fn raw(value: &Value) -> Arc<RawValue> {
        to_raw_value(value).expect("it is JSON").into()
    }

    fn yes() -> Box<RawValue> {
        to_raw_value("yes").expect("it is JSON")
    }

    fn order() -> Order {
        Order {
            tool: "dig".into(),
            principal: None,
            listed_in: None,
            arguments: Some(raw(&json!({ "depth": 3 }))),
            workspace: None,
            capabilities: None,
            client_info: None,
            is_legacy: false,
            restartable: false,
        }
    }

    fn question(name: &str) -> Question {
        Question {
            name: name.into(),
            method: "elicitation/create".into(),
            params: json!({}),
        }
    }

    fn result() -> JobOutcome {
        JobOutcome::Result(raw(&json!({ "content": [] })))
    }

    #[test]
    fn a_job_asks_is_answered_in_parts_and_goes_on() {
        let mut job = JobRecord::new(order(), Carried::default(), 10);
        let both = [question("size"), question("name")];
        assert!(job.ask(both, Carried::default(), 20));
        assert_eq!(
            (job.status, job.questions.len()),
            (JobStatus::InputRequired, 2)
        );
        let keys: Vec<String> = job.questions.keys().cloned().collect();
        assert!(
            keys[0].starts_with("name-") && keys[1].starts_with("size-"),
            "{keys:?}"
        );
        let only = |wanted: String| move |key: &str| (key == wanted).then(yes);
        assert_eq!(job.answer(|_| None, 30), AnswerEffect::Nothing);
        assert_eq!(job.answer(only(keys[0].clone()), 30), AnswerEffect::Some);
        assert_eq!(
            job.answer(only(keys[0].clone()), 30),
            AnswerEffect::Nothing,
            "it has gone"
        );
        assert_eq!(job.answer(only(keys[1].clone()), 40), AnswerEffect::All);
        assert_eq!((job.status, job.updated_ms), (JobStatus::Working, 40));
        assert_eq!(job.carried.answers.len(), 2);
        assert!(job.ask([question("size")], job.carried.clone(), 50));
        assert!(
            !job.questions.contains_key(&keys[1]),
            "no key is used twice"
        );
    }

    #[test]
    fn a_running_job_has_no_time_to_live_and_a_finished_one_keeps_its_promise() {
        let mut job = JobRecord::new(order(), Carried::default(), 100);
        assert_eq!(job.ttl_ms(), None);
        assert!(job.end(result(), 5000, KEEP));
        assert_eq!((job.ttl_ms(), job.expires_ms), (Some(5900), Some(6000)));
        assert_eq!(
            [0, 20_000, 60_000, 1 << 40].map(|age| job.poll_interval_ms(100 + age)),
            [500, 1000, 3000, 10_000]
        );
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let mut job = JobRecord::new(order(), Carried::default(), 0);
        assert!(job.tell("ü".repeat(MESSAGE_BYTES_MAX), 1));
        assert_eq!(job.message, Some("ü".repeat(MESSAGE_BYTES_MAX / 2)));
    }

    #[derive(Clone, Debug)]
    enum Move {
        Tell,
        Ask,
        Answer,
        Finish,
        Fail,
        Cancel,
    }

    proptest! {
        #[test]
        fn nothing_leaves_an_end_and_no_question_stands_outside_of_input_required(
            moves in prop::collection::vec(
                prop::sample::select(vec![Move::Tell, Move::Ask, Move::Answer, Move::Finish, Move::Fail, Move::Cancel]),
                0..20,
            ),
        ) {
            let mut job = JobRecord::new(order(), Carried::default(), 0);
            let mut ended = None;
            for (now, step) in (1..).zip(moves) {
                match step {
                    Move::Tell => { job.tell("on".into(), now); }
                    Move::Ask => { job.ask([question("a")], Carried::default(), now); }
                    Move::Answer => { job.answer(|_| Some(yes()), now); }
                    Move::Finish => { job.end(result(), now, KEEP); }
                    Move::Fail => {
                        let error = raw(&json!({ "code": 1, "message": "" }));
                        job.end(JobOutcome::Error(error, "it broke".into()), now, KEEP);
                    }
                    Move::Cancel => { job.end(JobOutcome::Cancelled, now, KEEP); }
                }
                prop_assert_eq!(job.status == JobStatus::InputRequired, !job.questions.is_empty());
                prop_assert_eq!(job.status.is_final(), job.outcome.is_some());
                prop_assert_eq!(job.status.is_final(), job.ttl_ms().is_some());
                let text = serde_json::to_string(&job).expect("it is JSON");
                let again: JobRecord = serde_json::from_str(&text).expect("it reads what it wrote");
                prop_assert_eq!(&serde_json::to_string(&again).expect("it is JSON"), &text);
                if let Some(ended) = &ended {
                    prop_assert_eq!(ended, &text, "an end is an end");
                } else if job.status.is_final() {
                    ended = Some(text);
                }
            }
        }
    }
}
