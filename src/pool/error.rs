//! Why a claim got nothing.

use std::fmt;

use crate::handler::Cancelled;
use crate::pool::holder::Scope;

/// Why there is no claim. Leave the handler with `?`: the model reads the text, which says who holds what it wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimError {
    /// The wait is over, and nothing that fits has become free.
    Busy {
        /// The pool's name.
        pool: String,
        /// Who holds each resource that fits, or why it cannot be had.
        holders: String,
    },
    /// The call was cancelled.
    Cancelled,
    /// As many calls of this lane wait for a resource, or for an answer of their client, as may; see [`Lane::waiting`](crate::Lane::waiting).
    TooMany {
        /// The lane's name.
        lane: String,
        /// How many may wait.
        most: usize,
    },
    /// No resource of the pool fits, claimed or not.
    NothingFits {
        /// The pool's name.
        pool: String,
    },
    /// The resource could not be made, or its lock could not be asked for; the text says why.
    Unavailable {
        /// The pool's name.
        pool: String,
        /// What went wrong.
        problem: String,
    },
    /// The call is in no such job, workspace or session.
    NotIn(Scope),
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClaimError::Busy { pool, holders } => {
                write!(f, "Nothing is free in `{pool}`: {holders}")
            }
            ClaimError::Cancelled => Cancelled.fmt(f),
            ClaimError::TooMany { lane, most } => write!(
                f,
                "{most} calls of the lane `{lane}` wait already, which is the most; try again later"
            ),
            ClaimError::NothingFits { pool } => {
                write!(f, "Nothing in `{pool}` is like that, free or not")
            }
            ClaimError::Unavailable { pool, problem } => {
                write!(f, "Nothing can be had from `{pool}` now: {problem}")
            }
            ClaimError::NotIn(scope) => {
                let what = match scope {
                    Scope::Job => "no background job",
                    Scope::Workspace => "in no workspace",
                    Scope::Session => "in no session",
                };
                write!(f, "The call is {what}")
            }
        }
    }
}

impl std::error::Error for ClaimError {}

impl From<Cancelled> for ClaimError {
    fn from(_: Cancelled) -> Self {
        ClaimError::Cancelled
    }
}
