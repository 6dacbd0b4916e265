//! The methods of the tasks extension: look at a job, answer what it asks, cancel it.
//!
//! All are answered by the thread that took the request, and none waits for a worker. The declaration comes before the look-up, and unknown, expired and
//! foreign are one answer. Must not know how a job runs. Specification: `io.modelcontextprotocol/tasks` (repository `ext-tasks`).

use crate::base::log;
use crate::desk::jobs::{Jobs, NotKept};
use crate::desk::record::AnswerEffect;
use crate::desk::wire::{Task, TaskView};
use crate::engine::background::Standing;
use crate::engine::errors::{internal_error, shutting_down};
use crate::engine::lifecycle::Engine;
use crate::engine::planning::{declares_tasks, tasks_required};
use crate::engine::reply::Asked;
use crate::protocol::errors::{ErrorObject, shortened};
use crate::protocol::raw;
use crate::protocol::version::Method;

impl Engine {
    /// Answers `tasks/get`, `tasks/update` and `tasks/cancel`.
    #[inline(never)]
    pub(super) fn task(&self, method: Method, asked: Asked<'_>) {
        let Some(jobs) = &self.shared.desk.jobs else {
            return asked.fail(&ErrorObject::method_not_found(method.name()));
        };
        if !declares_tasks(&asked.params) {
            return asked.fail(&tasks_required());
        }
        let done = match (&asked.params.task_id, method) {
            (None, _) => Err(ErrorObject::invalid_params("`taskId` is missing")),
            (Some(id), Method::TasksUpdate) => self.update(jobs, &id.0, &asked),
            (Some(id), Method::TasksCancel) => {
                let cancelled = jobs.cancel(&id.0);
                cancelled
                    .map(|()| self.acknowledgement())
                    .ok_or_else(|| unknown(&id.0))
            }
            (Some(id), _) => {
                let found = jobs.look(&id.0, |record| {
                    let meta = &self.shared.identity.server_info;
                    let task = Task::now(record, TaskView::Looked, meta);
                    serde_json::to_vec(&task).expect("a task is JSON")
                });
                found.ok_or_else(|| unknown(&id.0))
            }
        };
        match done {
            Ok(result) => asked.answer(&result),
            Err(error) => asked.fail(&error),
        }
    }

    /// Hands answers to a job. What is answered has gone before this is acknowledged.
    fn update(&self, jobs: &Jobs, id: &str, asked: &Asked<'_>) -> Result<Vec<u8>, ErrorObject> {
        let responses = asked
            .params
            .input_responses
            .filter(|raw| raw.get().starts_with('{'));
        let responses = responses
            .ok_or_else(|| ErrorObject::invalid_params("`inputResponses` must be an object"))?;
        // Taken first: an answer is not to be spent on a job that cannot go on any more.
        let ticket = self.lanes[self.shared.desk.jobs_lane].ticket();
        let ticket = ticket.ok_or_else(shutting_down)?;
        let answered = jobs.take_answers(id, |key| raw::member(responses, key).map(raw::owned));
        match answered {
            None => Err(unknown(id)),
            Some(Err(NotKept::Full)) => Err(ErrorObject::overloaded(
                "There is no room to keep what you answered; try again later",
            )),
            Some(Err(NotKept::Store(error))) => {
                let tag = &asked.tag;
                log::error!("an answer to a job could not be stored: {error} request_id={tag}");
                Err(internal_error(tag))
            }
            Some(Ok(AnswerEffect::All)) => {
                self.starter()
                    .attempt(&id.into(), ticket, Standing::Accepted);
                Ok(self.acknowledgement())
            }
            Some(Ok(AnswerEffect::Some | AnswerEffect::Nothing)) => Ok(self.acknowledgement()),
        }
    }

    fn acknowledgement(&self) -> Vec<u8> {
        let meta = &self.shared.identity.server_info;
        format!(r#"{{"resultType":"complete","_meta":{meta}}}"#).into_bytes()
    }
}

fn unknown(id: &str) -> ErrorObject {
    ErrorObject::invalid_params(format!("Unknown task: {}", shortened(id)))
}
