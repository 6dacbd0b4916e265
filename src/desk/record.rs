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

use crate::handler::ask::is_answer_to;

/// How far a background job is: the five states of the tasks extension. Specification: `io.modelcontextprotocol/tasks`.
// A store in a file keeps the number of each: only ever append.
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

impl JobStatus {
    /// What a record of this length takes: what has ended is only in the store, what lives is there, in the table, and with the worker that runs it, and
    /// may get a message, which is in no store.
    pub(crate) fn kept_bytes(self, len: usize) -> usize {
        match self.is_final() {
            true => len,
            false => 3 * len + MESSAGE_BYTES_MAX,
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
    /// The session or pipe in whose list it stands, and against whose bound it counts, if it has one. To look at it takes its id alone.
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
    /// Whether its client is of the handshake era.
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

/// How a job ended, rendered once, for the modern era.
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
    /// Shared, because a record is copied for each change that is told.
    #[serde(default)]
    pub(crate) carried: Arc<Carried>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<JobOutcome>,
    /// How often it has changed in this run of the server, to tell which of two of them is the newer.
    #[serde(skip)]
    pub(crate) changes: u64,
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

impl JobRecord {
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
            carried: carried.into(),
            outcome: None,
            changes: 0,
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
        self.say(message, now_ms);
        true
    }

    /// Has this short message, whatever its state.
    pub(crate) fn say(&mut self, message: String, now_ms: u64) {
        self.message = Some(message);
        self.touch(now_ms);
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
        self.carried = carried.into();
        self.status = JobStatus::InputRequired;
        self.message = Some("Waits for an answer".into());
        self.touch(now_ms);
        true
    }

    /// Takes answers by their keys on the wire. What was not asked is ignored, whatever it looks like.
    pub(crate) fn take_answers(
        &mut self,
        mut take: impl FnMut(&str) -> Option<Box<RawValue>>,
        now_ms: u64,
    ) -> AnswerEffect {
        if self.status != JobStatus::InputRequired {
            return AnswerEffect::Nothing;
        }
        let before = self.questions.len();
        let carried = Arc::make_mut(&mut self.carried);
        self.questions.retain(|key, question| {
            let answer = take(key).filter(|answer| is_answer_to(&question.method, answer));
            let is_open = answer.is_none();
            if let Some(answer) = answer {
                carried.answers.insert(question.name.clone(), answer);
            }
            is_open
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
        self.carried = Arc::default();
        self.order.arguments = None;
        self.outcome = Some(outcome);
        self.expire_after(now_ms, keep_ms);
        true
    }

    /// It has ended now, and may be forgotten that much later.
    pub(crate) fn expire_after(&mut self, now_ms: u64, keep_ms: u64) {
        self.touch(now_ms);
        self.expires_ms = Some(self.updated_ms.saturating_add(keep_ms));
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
        self.changes += 1;
        self.updated_ms = self.updated_ms.max(now_ms);
    }
}

/// A key that was never used before: the author's name for the question, so that a person can read it, and something random.
fn mint_key(name: &str) -> String {
    let random = Uuid::new_v4().simple().to_string();
    format!("{name}-{}", &random[..12])
}

#[cfg(test)]
pub(super) mod tests;
