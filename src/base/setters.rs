//! Setters of builders, which all have one form: they take the builder, change one member, and give it back.
//!
//! Must not know what is built.

/// Declares setters inside an `impl`: the documentation, the name, the argument if it takes one, and the member that it becomes.
macro_rules! setters {
    ($(
        $(#[$doc:meta])*
        $name:ident($($argument:ident: $type:ty)?) => $($member:ident).+ = $value:expr;
    )+) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name(mut self $(, $argument: $type)?) -> Self {
            self.$($member).+ = $value;
            self
        }
    )+};
}

pub(crate) use setters;
