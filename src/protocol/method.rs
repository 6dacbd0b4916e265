//! The methods a client may send, by name: in which era each exists and which parameter its `Mcp-Name` header mirrors.
//!
//! A table of facts; what a method *does* is the engine's. A name that is not here is `-32601`.

use crate::protocol::version::Era;

/// A request method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Initialize,
    Ping,
    Discover,
    ToolsList,
    ToolsCall,
    PromptsList,
    PromptsGet,
    ResourcesList,
    TemplatesList,
    ResourcesRead,
    Complete,
    SetLevel,
    Listen,
    Subscribe,
    Unsubscribe,
    TasksGet,
    TasksUpdate,
    TasksCancel,
}

struct MethodRow {
    name: &'static str,
    method: Method,
    modern: bool,
    legacy: bool,
}

const fn row(name: &'static str, method: Method, modern: bool, legacy: bool) -> MethodRow {
    MethodRow {
        name,
        method,
        modern,
        legacy,
    }
}

/// One line a method: name, and whether the modern and the legacy era have it.
const TABLE: &[MethodRow] = &[
    row("tools/call", Method::ToolsCall, true, true),
    row("tools/list", Method::ToolsList, true, true),
    row("resources/read", Method::ResourcesRead, true, true),
    row("resources/list", Method::ResourcesList, true, true),
    row(
        "resources/templates/list",
        Method::TemplatesList,
        true,
        true,
    ),
    row("prompts/get", Method::PromptsGet, true, true),
    row("prompts/list", Method::PromptsList, true, true),
    row("completion/complete", Method::Complete, true, true),
    row("server/discover", Method::Discover, true, false),
    row("initialize", Method::Initialize, false, true),
    row("ping", Method::Ping, false, true),
    row("logging/setLevel", Method::SetLevel, false, true),
    row("subscriptions/listen", Method::Listen, true, false),
    row("resources/subscribe", Method::Subscribe, false, true),
    row("resources/unsubscribe", Method::Unsubscribe, false, true),
    row("tasks/get", Method::TasksGet, true, false),
    row("tasks/update", Method::TasksUpdate, true, false),
    row("tasks/cancel", Method::TasksCancel, true, false),
];

/// What stands in the log for a name that is not here.
pub(crate) const UNKNOWN: &str = "?";

impl Method {
    /// The method with this name, if the era has it.
    pub(crate) fn find(name: &str, era: Era) -> Option<Method> {
        let row = TABLE.iter().find(|row| row.name == name)?;
        let exists = match era {
            Era::Modern => row.modern,
            Era::Legacy => row.legacy,
        };
        exists.then_some(row.method)
    }

    /// The name itself if any era has it.
    pub(crate) fn known(name: &str) -> &'static str {
        TABLE
            .iter()
            .find(|row| row.name == name)
            .map_or(UNKNOWN, |row| row.name)
    }

    /// The method's name on the wire.
    pub(crate) fn name(self) -> &'static str {
        TABLE
            .iter()
            .find(|row| row.method == self)
            .map_or(UNKNOWN, |row| row.name)
    }
}
