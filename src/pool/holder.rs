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
use crate::protocol::errors::cut;

/// So much of a secret name tells it from others, and no more.
const CHARS_SHOWN: usize = 8;

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
pub struct Holder {
    /// What is shown of it.
    pub(super) shown: Arc<str>,
    pub(super) identity: HolderIdentity,
}

/// By what two are told apart.
#[derive(Clone, Debug)]
pub(super) enum HolderIdentity {
    Call(CancellationToken),
    Lasting(Span),
}

impl Holder {
    /// The call itself.
    pub(super) fn call(call: &dyn CallControl) -> Self {
        let info = call.info();
        let shown = format!("`{}` (request {})", info.target, info.tag);
        Holder {
            shown: shown.into(),
            identity: HolderIdentity::Call(call.cancellation().clone()),
        }
    }

    /// What the call is part of, if it is.
    pub(super) fn of(call: &dyn CallControl, scope: Scope) -> Option<Self> {
        let (shown, span) = match scope {
            Scope::Job => {
                let (id, span) = call.job()?;
                (format!("job {}", cut(&id, CHARS_SHOWN)), span)
            }
            Scope::Workspace => {
                let inside = call.workspace()?;
                // Without an owner the name is a handle.
                let name = match inside.owner {
                    Some(_) => inside.name.to_string(),
                    None => cut(&inside.name, CHARS_SHOWN).into_owned(),
                };
                (format!("workspace `{name}`"), inside.span.clone())
            }
            Scope::Session => {
                let span = call.session()?;
                let name = match call.owner() {
                    Owner::Pipe(number) => number.to_string(),
                    Owner::Session(id) => cut(id, CHARS_SHOWN).into_owned(),
                    Owner::Nobody => String::new(),
                };
                (format!("session {name}"), span)
            }
        };
        Some(Holder {
            shown: shown.into(),
            identity: HolderIdentity::Lasting(span),
        })
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
        matches!(&self.identity, HolderIdentity::Call(own) if own.is_same(token))
    }

    /// Whether what outlives a call has ended.
    pub(super) fn is_over(&self) -> bool {
        matches!(&self.identity, HolderIdentity::Lasting(span) if span.is_over())
    }

    pub(super) fn has_span(&self, wanted: &Span) -> bool {
        matches!(&self.identity, HolderIdentity::Lasting(span) if span == wanted)
    }
}

impl PartialEq for Holder {
    fn eq(&self, other: &Self) -> bool {
        match &self.identity {
            HolderIdentity::Call(token) => other.is_call(token),
            HolderIdentity::Lasting(span) => other.has_span(span),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}
