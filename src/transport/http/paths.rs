//! The table of HTTP paths: what is served where.
//!
//! Must not know who may call.

/// What is served at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// The MCP endpoint.
    Mcp,
    /// Whether the server takes calls, for probes.
    Health,
}

/// Every path with what is served there. A slash at the end makes no other path.
#[derive(Clone, Debug)]
pub(crate) struct Paths(Vec<(String, Route)>);

impl Paths {
    /// Takes the paths, or says in a sentence which of them could never be asked for.
    pub(crate) fn new<'a>(
        paths: impl IntoIterator<Item = (&'a str, Route)>,
    ) -> Result<Self, String> {
        let mut table: Vec<(String, Route)> = Vec::new();
        for (path, route) in paths {
            let is_sent = |byte: u8| byte.is_ascii_graphic() && !b"?#".contains(&byte);
            if !path.starts_with('/') || !path.bytes().all(is_sent) {
                return Err(format!(
                    "the path `{path}` must begin with `/` and have only visible ASCII characters other than `?` and `#`"
                ));
            }
            let path = without_slash(path).to_owned();
            if table.iter().any(|(taken, _)| *taken == path) {
                return Err(format!("the path `{path}/` is to serve two things"));
            }
            table.push((path, route));
        }
        Ok(Paths(table))
    }

    /// What is served at a request's target, if anything is.
    pub(crate) fn find(&self, target: &str) -> Option<Route> {
        let path = origin_form(target).split(['?', '#']).next()?;
        let path = without_slash(path);
        let mut table = self.0.iter();
        table.find(|(known, _)| known == path).map(|entry| entry.1)
    }
}

fn without_slash(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

/// The target without scheme and authority, which a proxy may have left in (RFC 9112 §3.2.2). Whether they agree with `Host` is the front's to
/// see to; `Host` is what counts here.
fn origin_form(target: &str) -> &str {
    let rest = target
        .strip_prefix("http://")
        .or_else(|| target.strip_prefix("https://"));
    match rest.map(|rest| rest.find('/').map(|at| &rest[at..])) {
        None => target,
        Some(path) => path.unwrap_or("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_leads_to_what_is_served_there() {
        let paths = Paths::new([("/mcp", Route::Mcp), ("/up/", Route::Health)]);
        let paths = paths.expect("these can be asked for");
        for (target, route) in [
            ("/mcp", Some(Route::Mcp)),
            ("/mcp/", Some(Route::Mcp)),
            ("/mcp?x=1", Some(Route::Mcp)),
            ("/mcp/?x=/", Some(Route::Mcp)),
            ("http://localhost/mcp", Some(Route::Mcp)),
            ("/up", Some(Route::Health)),
            ("/up/", Some(Route::Health)),
            ("/mcp//", None),
            ("//mcp", None),
            ("/MCP", None),
            ("/mcp/x", None),
            ("/", None),
            ("http://localhost", None),
            ("", None),
        ] {
            assert_eq!(paths.find(target), route, "{target}");
        }
        let root = Paths::new([("/", Route::Mcp)]).expect("the root is a path");
        assert_eq!(root.find("/?x"), Some(Route::Mcp));
        assert_eq!(root.find("http://localhost"), Some(Route::Mcp));
    }

    #[test]
    fn a_path_that_nobody_could_ask_for_is_a_mistake() {
        for path in ["mcp", "", "/a b", "/é", "/a?b", "/a#b", "/a\n"] {
            let mistake = Paths::new([(path, Route::Mcp)]).expect_err("it cannot be asked for");
            assert!(mistake.contains(path), "{mistake}");
        }
        let twice = Paths::new([("/a", Route::Mcp), ("/a/", Route::Health)]);
        assert!(twice.is_err_and(|mistake| mistake.contains("`/a/`")));
    }
}
