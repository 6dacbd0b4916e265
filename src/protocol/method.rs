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

struct MethodRow(&'static str, Method, &'static [Era]);

const MODERN: &[Era] = &[Era::Modern];
const LEGACY: &[Era] = &[Era::Legacy];
const BOTH: &[Era] = &[Era::Modern, Era::Legacy];

/// One line a method: its name, and the eras that have it.
const TABLE: &[MethodRow] = &[
    MethodRow("tools/call", Method::ToolsCall, BOTH),
    MethodRow("tools/list", Method::ToolsList, BOTH),
    MethodRow("resources/read", Method::ResourcesRead, BOTH),
    MethodRow("resources/list", Method::ResourcesList, BOTH),
    MethodRow("resources/templates/list", Method::TemplatesList, BOTH),
    MethodRow("prompts/get", Method::PromptsGet, BOTH),
    MethodRow("prompts/list", Method::PromptsList, BOTH),
    MethodRow("completion/complete", Method::Complete, BOTH),
    MethodRow("server/discover", Method::Discover, MODERN),
    MethodRow("initialize", Method::Initialize, LEGACY),
    MethodRow("ping", Method::Ping, LEGACY),
    MethodRow("logging/setLevel", Method::SetLevel, LEGACY),
    MethodRow("subscriptions/listen", Method::Listen, MODERN),
    MethodRow("resources/subscribe", Method::Subscribe, LEGACY),
    MethodRow("resources/unsubscribe", Method::Unsubscribe, LEGACY),
    MethodRow("tasks/get", Method::TasksGet, MODERN),
    MethodRow("tasks/update", Method::TasksUpdate, MODERN),
    MethodRow("tasks/cancel", Method::TasksCancel, MODERN),
];

/// What stands in the log for a name that is not here.
pub(crate) const UNKNOWN: &str = "?";

impl Method {
    /// The method with this name, if the era has it.
    pub(crate) fn find(name: &str, era: Era) -> Option<Method> {
        let MethodRow(_, method, eras) = TABLE.iter().find(|row| row.0 == name)?;
        eras.contains(&era).then_some(*method)
    }

    /// The name itself if any era has it.
    pub(crate) fn known(name: &str) -> &'static str {
        TABLE
            .iter()
            .find(|row| row.0 == name)
            .map_or(UNKNOWN, |row| row.0)
    }

    /// The method's name on the wire.
    pub(crate) fn name(self) -> &'static str {
        TABLE
            .iter()
            .find(|row| row.1 == self)
            .map_or(UNKNOWN, |row| row.0)
    }
}
