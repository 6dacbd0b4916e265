//! Whether answers may leave on the thread that made them, instead of by the transport's own. Always, but for tests of the other way.

/// Off in a build with debug assertions whose environment has `MCP_THREADS_LONG_WAY`, which is how the tests of the laws are run both ways. A release build
/// looks at no environment.
pub(crate) fn is_on() -> bool {
    #[cfg(debug_assertions)]
    {
        use std::env;
        use std::sync::LazyLock;
        static IS_OFF: LazyLock<bool> =
            LazyLock::new(|| env::var_os("MCP_THREADS_LONG_WAY").is_some());
        !*IS_OFF
    }
    #[cfg(not(debug_assertions))]
    true
}
