//! [`Fork`]: how a call gets its own state.
//!
//! Shared-nothing by default: every call works on its own fork of a read-only template, so two calls can never see each other's
//! changes. What is inside an `Arc` is shared, because its author put it there.

/// Makes a call's own copy of the state.
///
/// Every `Clone` type forks by cloning. Implement it yourself for a type whose copy needs more than `Clone`, or less; such a type must not be
/// `Clone` as well:
///
/// ```
/// use mcp_threads::Fork;
/// struct Interpreter { globals: Vec<String>, depth: u32 }
/// impl Fork for Interpreter {
///     fn fork(&self) -> Self {
///         Interpreter { globals: self.globals.clone(), depth: 0 }
///     }
/// }
/// assert_eq!(Interpreter { globals: vec![], depth: 7 }.fork().depth, 0);
/// ```
///
/// It runs on the worker's thread before each call, and its cost is paid by every call. A panic in it fails that one call.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a server's state: derive `Clone` for it, or implement `mcp_threads::Fork`"
)]
pub trait Fork {
    /// The copy.
    #[must_use]
    fn fork(&self) -> Self;
}

impl<T: Clone> Fork for T {
    fn fork(&self) -> Self {
        self.clone()
    }
}
