//! The shapes of handlers that take their workspace's value.
//!
//! Must not know how a call gets its turn.

use serde::de::DeserializeOwned;

use crate::handler::context::RequestContext;
use crate::handler::fork::Fork;
use crate::handler::invoke::{Handler, Invocation, NotCalled};
use crate::handler::workspace::{AccessMode, Inside, WorkspaceParam};

/// Runs `run` with the workspace that the call is in; that it is in one is checked when the server starts.
fn inside<T>(
    invocation: &Invocation<'_>,
    run: impl FnOnce(&Inside) -> Result<T, String>,
) -> Result<T, NotCalled> {
    let inside = invocation.call.workspace();
    let inside = inside.ok_or_else(|| "This tool runs only in a workspace".to_owned());
    inside
        .and_then(run)
        .map_err(|problem| NotCalled(Ok(problem)))
}

impl<S, W, F, A, R> Handler<S, fn(&mut RequestContext<S>, &mut W, A) -> R> for F
where
    S: Fork + 'static,
    W: Send + Sync + 'static,
    F: Fn(&mut RequestContext<S>, &mut W, A) -> R + Send + Sync + 'static,
    A: DeserializeOwned,
{
    type Arguments = A;
    type Output = R;

    fn workspace() -> Option<WorkspaceParam> {
        Some(WorkspaceParam::of::<W>(AccessMode::Change))
    }

    fn call(&self, template: &S, invocation: Invocation<'_>) -> Result<R, NotCalled> {
        let (arguments, _charged) = invocation.read()?;
        let mut cx = invocation.context(template);
        inside(&invocation, |inside| {
            inside.change(|value| self(&mut cx, value, arguments))
        })
    }
}

impl<S, W, F, A, R> Handler<S, fn(&mut RequestContext<S>, &W, A) -> R> for F
where
    S: Fork + 'static,
    W: Send + Sync + 'static,
    F: Fn(&mut RequestContext<S>, &W, A) -> R + Send + Sync + 'static,
    A: DeserializeOwned,
{
    type Arguments = A;
    type Output = R;

    fn workspace() -> Option<WorkspaceParam> {
        Some(WorkspaceParam::of::<W>(AccessMode::Read))
    }

    fn call(&self, template: &S, invocation: Invocation<'_>) -> Result<R, NotCalled> {
        let (arguments, _charged) = invocation.read()?;
        let mut cx = invocation.context(template);
        inside(&invocation, |inside| {
            inside.read(|value| self(&mut cx, value, arguments))
        })
    }
}
