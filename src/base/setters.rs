//! Setters of builders, which all have one form: they take the builder, change one member, and give it back.
//!
//! Must not know what is built.

/// Declares setters inside an `impl`: the documentation, the name, its arguments, and what member they become, or by which method of it they are added.
macro_rules! setters {
    ($(
        $(#[$doc:meta])*
        $name:ident($($argument:ident: $type:ty),*) => $($member:ident).+ $(($added:expr))? $(= $value:expr)?;
    )+) => {$(
        $(#[$doc])*
        #[must_use]
        #[allow(unused_mut, reason = "some members change behind a lock")]
        pub fn $name(mut self $(, $argument: $type)*) -> Self {
            self.$($member).+ $(($added))? $(= $value)?;
            self
        }
    )+};
}

/// Calls the setters of these names with the members of the same names, as far as those are there.
#[cfg(all(feature = "scripts", unix))]
macro_rules! set {
    ($builder:ident, $from:ident, $($setting:ident),+) => {
        $(if let Some(value) = $from.$setting.clone() {
            $builder = $builder.$setting(value);
        })+
    };
}

#[cfg(all(feature = "scripts", unix))]
pub(crate) use set;
pub(crate) use setters;
