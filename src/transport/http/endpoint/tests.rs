//! Who may call, and where: every rule with a name that it takes and one that it does not, and every path with what is served there.

use super::*;
use crate::transport::http::exchange::tests::TestExchange;

fn callers(loopback: bool, hosts: &[&str], origins: &[&str]) -> Result<Callers, String> {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let (hosts, origins): (Vec<String>, Vec<String>) = (owned(hosts), owned(origins));
    let reach = match loopback {
        true => Reach::ThisMachine,
        false => Reach::Network,
    };
    Callers::new(reach, &hosts, &origins)
}

#[test]
fn a_host_is_allowed_by_name_by_address_by_suffix_or_not_at_all() {
    let hosts = [
        "mcp.example",
        "*.wide.example",
        "10.0.0.7",
        "2001:db8::1",
        "Dot.example.",
    ];
    let local = callers(true, &hosts, &[]).expect("these can match");
    let remote = callers(false, &hosts, &[]).expect("these can match");
    let any = callers(false, &["*"], &[]).expect("anything can match");
    for (host, on_loopback, beyond) in [
        (Some("mcp.example"), true, true),
        (Some("MCP.example:443"), true, true),
        (Some("mcp.example."), true, true),
        (Some("dot.example"), true, true),
        (Some("a.mcp.example"), false, false),
        (Some("a.wide.example"), true, true),
        (Some("a.b.WIDE.example:1"), true, true),
        (Some("wide.example"), false, false),
        (Some(".wide.example"), false, false),
        (Some("notwide.example"), false, false),
        (Some("10.0.0.7:80"), true, true),
        (Some("[2001:DB8:0::1]:80"), true, true),
        (Some("127.0.0.1:80"), true, false),
        (Some("LOCALHOST:8080"), true, false),
        (Some("[::1]:8080"), true, false),
        (Some("[::ffff:127.0.0.1]"), true, false),
        (Some("[::1]8080"), false, false),
        (Some("127.0.0.1:80:80"), false, false),
        (Some("127.0.0.1@evil.example"), false, false),
        (Some("localhost.evil.example"), false, false),
        (Some("évil.example"), false, false),
        (Some(""), false, false),
        (None, false, false),
    ] {
        let fields = host.map(|host| ("host", host)).into_iter().collect();
        let head = TestExchange::head("POST", "/mcp", fields);
        let checked = |callers: &Callers| callers.check_host(&head).is_ok();
        let all = (checked(&local), checked(&remote), checked(&any));
        assert_eq!(all, (on_loopback, beyond, true), "{host:?}");
    }
}

#[test]
fn an_origin_is_allowed_as_it_is_listed_and_hosts_widen_nothing() {
    let origins = [
        "https://App.example:443",
        "http://app.example:8080",
        "null",
        "vscode-webview://abc",
    ];
    let hosts = ["app.example", "mcp.example", "*"];
    let local = callers(true, &hosts, &origins).expect("these can match");
    let remote = callers(false, &hosts, &origins).expect("these can match");
    for (origin, on_loopback, beyond) in [
        ("https://app.example", true, true),
        ("HTTPS://APP.example", true, true),
        ("http://app.example:8080", true, true),
        ("vscode-webview://abc", true, true),
        ("null", true, true),
        ("https://app.example:444", false, false),
        ("http://app.example", false, false),
        ("https://mcp.example", false, false),
        ("http://localhost:5173", true, false),
        ("https://[::1]", true, false),
        ("http://127.0.0.1/path", false, false),
        ("ftp://localhost", false, false),
        ("localhost", false, false),
        ("", false, false),
    ] {
        let head = TestExchange::head("POST", "/mcp", vec![("origin", origin)]);
        let checked = |callers: &Callers| callers.check_origin(&head).ok();
        let allowed = |is| {
            if is {
                Some(Some(origin.to_owned()))
            } else {
                None
            }
        };
        let all = (checked(&local), checked(&remote));
        assert_eq!(all, (allowed(on_loopback), allowed(beyond)), "{origin}");
    }
    let strict = callers(true, &[], &[]).expect("nothing is listed");
    let null = TestExchange::head("POST", "/mcp", vec![("origin", "null")]);
    assert!(strict.check_origin(&null).is_err(), "null only by name");
}

#[test]
fn a_rule_that_could_never_match_is_a_mistake() {
    for host in [
        "",
        "http://a",
        "a/b",
        "a:80",
        "[::1]",
        "a b",
        "bücher.example",
        "a.*.b",
        "*a",
        "*.",
        "a,b",
        ".a",
    ] {
        let mistake = callers(true, &[host], &[]).expect_err(host);
        assert!(mistake.contains(&format!("`{host}`")), "{mistake}");
    }
    for origin in [
        "",
        "*",
        "app.example",
        "https://",
        "://a",
        "https://a/",
        "https://a/b",
        "https://*.a",
        "https://ä.example",
        "https://a:b",
        "https://u@a",
        "https://a?b",
        "https://a b",
        "Null ",
    ] {
        let mistake = callers(true, &[], &[origin]).expect_err(origin);
        assert!(mistake.contains(&format!("`{origin}`")), "{mistake}");
    }
}

#[test]
fn a_refusal_names_what_came_and_the_option() {
    let evil = TestExchange::head(
        "POST",
        "/mcp",
        vec![("host", "evil.example"), ("origin", "http://evil.example")],
    );
    for loopback in [true, false] {
        let callers = callers(loopback, &["mcp.example"], &[]).expect("it can match");
        for (refusal, value, option) in [
            (
                callers.check_host(&evil).expect_err("it is evil"),
                "`evil.example`",
                "`allowed_hosts`",
            ),
            (
                callers.check_origin(&evil).expect_err("it is evil"),
                "`http://evil.example`",
                "`allowed_origins`",
            ),
        ] {
            let body = String::from_utf8(refusal.body()).expect("JSON is UTF-8");
            for word in [value, option] {
                assert!(refusal.reason().contains(word), "{refusal:?}");
                assert_eq!(
                    body.contains(word),
                    loopback,
                    "only this machine is told: {body}"
                );
            }
            assert_eq!(refusal.status, 403);
        }
    }
}

#[test]
fn a_page_may_send_what_is_read_and_nothing_else() {
    let asked = "content-type, MCP-Protocol-Version,x-evil,mcp-param-city, cookie , Mcp-Session-Id";
    let head = TestExchange::head(
        "OPTIONS",
        "/mcp",
        vec![("access-control-request-headers", asked)],
    );
    assert_eq!(
        readable_fields(&head),
        "content-type, MCP-Protocol-Version, mcp-param-city, Mcp-Session-Id"
    );
}

#[test]
fn a_target_leads_to_what_is_served_there() {
    let paths = Paths::new([("/mcp", Route::Mcp), ("/up/", Route::Health)]);
    let paths = paths.expect("these can be asked for");
    for (target, route) in [
        ("/mcp", Some(Route::Mcp)),
        ("/mcp/", Some(Route::Mcp)),
        ("/mcp?x=1", Some(Route::Mcp)),
        ("/mcp/?x=/", Some(Route::Mcp)),
        ("/up", Some(Route::Health)),
        ("/up/", Some(Route::Health)),
        ("/mcp//", None),
        ("//mcp", None),
        ("/MCP", None),
        ("/mcp/x", None),
        ("/", None),
        ("", None),
    ] {
        assert_eq!(paths.find(target), route, "{target}");
    }
    let root = Paths::new([("/", Route::Mcp)]).expect("the root is a path");
    assert_eq!(root.find("/?x"), Some(Route::Mcp));
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
