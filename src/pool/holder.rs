//! On whose behalf something is claimed: a call, or what outlives it: its job, its workspace, its session.
//!
//! What outlives a call is known by the span of its life, so nobody has to tell a pool when it ends. Its name is shown shortened, because a job's id and
//! a workspace's handle are all that leads to them. Must not know pools.

use std::fmt;
use std::sync::Arc;

use crate::base::cancel::CancellationToken;
use crate::base::life::Span;
use crate::base::owner::Owner;
use crate::handler::control::CallControl;

/// What a claim may be kept for, beyond the call that made it; see [`Claim::keep_for`](crate::Claim::keep_for).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// The background job that the call is an attempt of, until it ends: its next attempt finds the claim again.
    Job,
    /// The workspace that the call is in, until it is closed or has to be made anew.
    Workspace,
    /// The handshake-era session, or the pipe, that the call came by, until it ends.
    Session,
}

/// Who holds a claim, or waits for one. Two are equal when they are the same call, job, workspace or session.
///
/// It is shown in a few words, such as ``workspace `default` ``, from which nobody can learn an id that would give access to anything.
#[derive(Clone, Debug)]
pub struct Holder(HolderKind);

#[derive(Clone, Debug)]
enum HolderKind {
    Call {
        target: Arc<str>,
        request_id: Arc<str>,
        token: CancellationToken,
    },
    Lasting {
        scope: Scope,
        name: Arc<str>,
        span: Span,
    },
}

impl Holder {
    /// The call itself.
    pub(super) fn call(call: &dyn CallControl) -> Self {
        let info = call.info();
        Holder(HolderKind::Call {
            target: Arc::clone(&info.target),
            request_id: info.tag.as_str().into(),
            token: call.cancellation().clone(),
        })
    }

    #[cfg(test)]
    pub(super) fn test_call(token: &CancellationToken) -> Self {
        Holder(HolderKind::Call {
            target: "test".into(),
            request_id: "1".into(),
            token: token.clone(),
        })
    }

    #[cfg(test)]
    pub(super) fn test_workspace(name: &str, span: Span) -> Self {
        Holder(HolderKind::Lasting {
            scope: Scope::Workspace,
            name: name.into(),
            span,
        })
    }

    /// What the call is part of, if it is.
    pub(super) fn of(call: &dyn CallControl, scope: Scope) -> Option<Self> {
        let (name, span) = match scope {
            Scope::Job => call.job().map(|(id, span)| (shortened(&id), span)),
            Scope::Workspace => call.workspace().map(|inside| {
                // Without an owner the name is a handle.
                let name = match inside.owner {
                    Some(_) => Arc::clone(&inside.name),
                    None => shortened(&inside.name),
                };
                (name, inside.span.clone())
            }),
            Scope::Session => call.session().map(|span| {
                let name = match call.owner() {
                    Owner::Pipe(number) => number.to_string().into(),
                    Owner::Session(id) => shortened(id),
                    Owner::Nobody => "".into(),
                };
                (name, span)
            }),
        }?;
        Some(Holder(HolderKind::Lasting { scope, name, span }))
    }

    /// Everything that the call is part of, the narrowest first.
    pub(super) fn all_of(call: &dyn CallControl) -> Vec<Self> {
        [Scope::Job, Scope::Workspace, Scope::Session]
            .into_iter()
            .filter_map(|scope| Holder::of(call, scope))
            .collect()
    }

    /// Whether it is a call that has this token.
    pub(super) fn is_call(&self, token: &CancellationToken) -> bool {
        matches!(&self.0, HolderKind::Call { token: own, .. } if own.is_same(token))
    }

    /// Whether what outlives a call has ended.
    pub(super) fn is_over(&self) -> bool {
        matches!(&self.0, HolderKind::Lasting { span, .. } if span.is_over())
    }

    pub(super) fn has_span(&self, wanted: &Span) -> bool {
        matches!(&self.0, HolderKind::Lasting { span, .. } if span == wanted)
    }
}

impl PartialEq for Holder {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (HolderKind::Call { token, .. }, _) => other.is_call(token),
            (HolderKind::Lasting { span, .. }, _) => other.has_span(span),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            HolderKind::Call {
                target, request_id, ..
            } => write!(f, "`{target}` (request {request_id})"),
            HolderKind::Lasting { scope, name, .. } => match scope {
                Scope::Job => write!(f, "job {name}"),
                Scope::Workspace => write!(f, "workspace `{name}`"),
                Scope::Session => write!(f, "session {name}"),
            },
        }
    }
}

/// So much of a secret name that it can be told from others, and no more.
fn shortened(name: &str) -> Arc<str> {
    const CHARS_SHOWN: usize = 8;
    match name.char_indices().nth(CHARS_SHOWN) {
        Some((at, _)) => format!("{}…", &name[..at]).into(),
        None => name.into(),
    }
}
