//! The tools, which may come and go while they are called.
//!
//! What is offered is one immutable snapshot: the tools by name and their list, rendered. A change makes a new one beside it and puts it in its
//! place, so a list is never mixed from two, nobody waits while another is rendered, and a call keeps what it found. Must not know who
//! asks. Specification: `server/tools` ("Listing Tools").

use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock};

use serde_json::{Map, Value, json};

use crate::engine::listing::Listing;
use crate::engine::target::{Rules, Target};
use crate::handler::tool::Definition;

const HELD: &str = "no code panics while it holds the tools";

/// All of them.
pub(crate) struct Tools {
    /// Held only to look or to replace, never while something is made.
    current: RwLock<Arc<Snapshot>>,
    /// Every tool in the order of registration, those that are disabled included. Held while a change is made, so that there is one at a
    /// time.
    known: Mutex<Known>,
}

/// What is offered at one time.
struct Snapshot {
    by_name: HashMap<Arc<str>, Arc<Target>>,
    list: Arc<Listing>,
}

#[derive(Default)]
struct Known {
    tools: Vec<Tool>,
    /// How often the list has changed.
    generation: u64,
}

/// One tool, as it was registered.
pub(crate) struct Tool {
    definition: Box<Definition>,
    target: Arc<Target>,
    enabled: bool,
}

impl Tool {
    pub(crate) fn new(definition: Definition, target: Arc<Target>) -> Self {
        Tool {
            definition: Box::new(definition),
            target,
            enabled: true,
        }
    }

    fn is_twice(&self) -> String {
        format!("tool `{}` is registered twice", self.target.name)
    }
}

impl Tools {
    /// The tools that a server starts with.
    pub(crate) fn new(tools: Vec<Tool>, rules: &Rules<'_>) -> Result<Self, String> {
        let mut known = Known::default();
        for tool in tools {
            known.add(tool).map_err(|tool| tool.is_twice())?;
        }
        Ok(Tools {
            current: RwLock::new(Arc::new(known.snapshot(rules))),
            known: Mutex::new(known),
        })
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<Target>> {
        self.current().by_name.get(name).map(Arc::clone)
    }

    pub(crate) fn list(&self) -> Arc<Listing> {
        Arc::clone(&self.current().list)
    }

    /// Adds one more, at the end of the list.
    pub(crate) fn add(&self, tool: Tool, rules: &Rules<'_>) -> Result<(), String> {
        let added = self.change(rules, |known| known.add(tool));
        added.map_err(|tool| tool.is_twice())
    }

    /// Forgets a tool. False when there is none of that name.
    pub(crate) fn remove(&self, name: &str, rules: &Rules<'_>) -> bool {
        let removed = self.change(rules, |known| {
            let at = known.position(name).ok_or(())?;
            Ok::<_, ()>(known.tools.remove(at))
        });
        removed.is_ok()
    }

    /// Offers a tool, or keeps it back. `None` when there is none of that name, else whether that changes anything.
    pub(crate) fn enable(&self, name: &str, enabled: bool, rules: &Rules<'_>) -> Option<bool> {
        let changed = self.change(rules, |known| {
            let at = known.position(name).ok_or(None)?;
            match std::mem::replace(&mut known.tools[at].enabled, enabled) == enabled {
                true => Err(Some(false)),
                false => Ok(()),
            }
        });
        changed.map_or_else(|unchanged| unchanged, |()| Some(true))
    }

    /// Makes a change and a new snapshot of it, unless there is nothing to change. What is left over comes back and is dropped when nothing is
    /// held any more: it may be the last of a handler, whose end is its author's code.
    fn change<T, E>(
        &self,
        rules: &Rules<'_>,
        change: impl FnOnce(&mut Known) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut known = self.known.lock().expect(HELD);
        let left_over = change(&mut known)?;
        known.generation += 1;
        let snapshot = Arc::new(known.snapshot(rules));
        let before = std::mem::replace(&mut *self.current.write().expect(HELD), snapshot);
        drop(known);
        drop(before);
        Ok(left_over)
    }

    fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current.read().expect(HELD))
    }
}

impl Known {
    fn position(&self, name: &str) -> Option<usize> {
        self.tools
            .iter()
            .position(|tool| *tool.target.name == *name)
    }

    /// Gives back one whose name is taken.
    fn add(&mut self, tool: Tool) -> Result<(), Tool> {
        if self.position(&tool.target.name).is_some() {
            return Err(tool);
        }
        self.tools.push(tool);
        Ok(())
    }

    fn snapshot(&self, rules: &Rules<'_>) -> Snapshot {
        let offered = || self.tools.iter().filter(|tool| tool.enabled);
        let by_name = offered()
            .map(|tool| (Arc::clone(&tool.target.name), Arc::clone(&tool.target)))
            .collect();
        let modern: Vec<&Definition> = offered().map(|tool| &*tool.definition).collect();
        let legacy: Vec<Definition> = modern.iter().map(|shown| legacy_tool(shown)).collect();
        let legacy: Vec<&Definition> = legacy.iter().collect();
        let style = rules.style("tools", self.generation);
        Snapshot {
            by_name,
            list: Arc::new(Listing::render(&style, &modern, &legacy)),
        }
    }
}

/// What handshake-era clients understand: structured content is an object there, and so is its schema, and the schema of each member.
fn legacy_tool(definition: &Definition) -> Definition {
    let is_object = |schema: &Value| schema.get("type") == Some(&Value::from("object"));
    let mut definition = definition.clone();
    definition.output_schema = definition.output_schema.filter(is_object);
    let schemas = [&mut definition.input_schema, &mut definition.output_schema];
    schemas
        .into_iter()
        .flatten()
        .for_each(properties_as_objects);
    definition
}

/// Says in objects what a schema says of its properties with `true` and `false`.
fn properties_as_objects(schema: &mut Value) {
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for property in properties.into_iter().flat_map(Map::values_mut) {
        match property {
            Value::Bool(true) => *property = json!({}),
            Value::Bool(false) => *property = json!({ "not": {} }),
            _ => {}
        }
    }
}
