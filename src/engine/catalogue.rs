//! Everything the server offers: tools, prompts, resources and templates by name, and every page of their lists rendered once.
//!
//! Prompts and resources are frozen at start. Tools may come and go while serving; see `tools`. Must not know who asks. Specification: `server/tools`,
//! `server/prompts`, `server/resources` ("Listing ...").

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::base::error::Error;
use crate::engine::listing::Listing;
use crate::engine::target::{Rules, Target, resolve, target};
use crate::engine::tools::{Tool, Tools};
#[cfg(feature = "validate")]
use crate::handler::checked::checked;
use crate::handler::draft::Draft;
use crate::handler::registration::{Kind, Registration};
use crate::handler::{prompt, resource, tool};
use crate::protocol::method::Method;
use crate::protocol::uri_template::UriTemplate;

/// Completers by the argument or variable they complete.
type Completers = BTreeMap<String, Arc<Target>>;
type Prompts = HashMap<Arc<str>, (Arc<Target>, Completers)>;
type Templates = Vec<(UriTemplate, Arc<Target>, Completers)>;

/// What is offered.
pub(crate) struct Catalogue {
    tools: Tools,
    prompts: Prompts,
    resources: HashMap<Arc<str>, Arc<Target>>,
    /// The first that matches reads.
    templates: Templates,
    lists: Lists,
}

struct Lists {
    prompts: Arc<Listing>,
    resources: Arc<Listing>,
    templates: Arc<Listing>,
}

/// A resource found by its URI: what reads it, and with which variables.
pub(crate) struct Found {
    pub(crate) target: Arc<Target>,
    pub(crate) variables: Option<Box<RawValue>>,
}

/// What is gathered while the catalogue is being made.
#[derive(Default)]
struct Gathered {
    tools: Vec<Tool>,
    prompts: Prompts,
    resources: HashMap<Arc<str>, Arc<Target>>,
    templates: Templates,
    shown: Shown,
}

/// The definitions of what is frozen.
#[derive(Default)]
struct Shown {
    prompts: Vec<prompt::Definition>,
    resources: Vec<resource::Definition>,
    templates: Vec<resource::TemplateDefinition>,
}

impl Catalogue {
    /// Takes everything in the order it was registered.
    ///
    /// # Errors
    ///
    /// When a definition is invalid or a name stands twice; the error names it.
    pub(crate) fn new(registrations: Vec<Registration>, rules: &Rules<'_>) -> Result<Self, Error> {
        let mut gathered = Gathered::default();
        for Registration(kind) in registrations {
            gathered.add(kind, rules).map_err(Error::configuration)?;
        }
        let tools = Tools::new(gathered.tools, rules).map_err(Error::configuration)?;
        Ok(Catalogue {
            tools,
            prompts: gathered.prompts,
            resources: gathered.resources,
            templates: gathered.templates,
            lists: Lists::render(&gathered.shown, rules),
        })
    }

    /// The tools, to change them.
    pub(crate) fn tools(&self) -> &Tools {
        &self.tools
    }

    pub(crate) fn tool(&self, name: &str) -> Option<Arc<Target>> {
        self.tools.find(name)
    }

    pub(crate) fn prompt(&self, name: &str) -> Option<Arc<Target>> {
        self.prompts.get(name).map(|(target, _)| Arc::clone(target))
    }

    /// The resource at this URI: a fixed one, else the first template that matches.
    pub(crate) fn resource(&self, uri: &str) -> Option<Found> {
        if let Some(target) = self.resources.get(uri) {
            return Some(Found {
                target: Arc::clone(target),
                variables: None,
            });
        }
        self.templates.iter().find_map(|(template, target, _)| {
            let variables: BTreeMap<_, _> = template.matches(uri)?.into_iter().collect();
            Some(Found {
                target: Arc::clone(target),
                variables: to_raw_value(&variables).ok(),
            })
        })
    }

    /// Whether there is, or may be, a resource at this URI.
    pub(crate) fn covers(&self, uri: &str) -> bool {
        self.resources.contains_key(uri)
            || self
                .templates
                .iter()
                .any(|(template, _, _)| template.matches(uri).is_some())
    }

    /// What completes this argument of a prompt; `Err` when there is no such prompt.
    pub(crate) fn prompt_completer(
        &self,
        name: &str,
        argument: &str,
    ) -> Result<Option<&Arc<Target>>, ()> {
        let (_, completers) = self.prompts.get(name).ok_or(())?;
        Ok(completers.get(argument))
    }

    /// What completes this variable of a template; `Err` when there is no such template or resource.
    pub(crate) fn template_completer(
        &self,
        uri: &str,
        variable: &str,
    ) -> Result<Option<&Arc<Target>>, ()> {
        let found = self.templates.iter().find(|entry| *entry.1.name == *uri);
        match found {
            Some((_, _, completers)) => Ok(completers.get(variable)),
            None if self.resources.contains_key(uri) => Ok(None),
            None => Err(()),
        }
    }

    /// The list that a method pages through.
    pub(crate) fn list(&self, method: Method) -> Arc<Listing> {
        match method {
            Method::PromptsList => Arc::clone(&self.lists.prompts),
            Method::ResourcesList => Arc::clone(&self.lists.resources),
            Method::TemplatesList => Arc::clone(&self.lists.templates),
            _ => self.tools.list(),
        }
    }

    pub(crate) fn has_prompts(&self) -> bool {
        !self.prompts.is_empty()
    }

    pub(crate) fn has_resources(&self) -> bool {
        !self.resources.is_empty() || !self.templates.is_empty()
    }

    pub(crate) fn has_completers(&self) -> bool {
        let mut prompts = self.prompts.values().map(|(_, completers)| completers);
        let mut templates = self.templates.iter().map(|(_, _, completers)| completers);
        prompts.any(|completers| !completers.is_empty())
            || templates.any(|completers| !completers.is_empty())
    }
}

impl Gathered {
    fn add(&mut self, kind: Kind, rules: &Rules<'_>) -> Result<(), String> {
        let shown = &mut self.shown;
        match kind {
            Kind::Tool { definition, draft } => self.tools.push(tool(definition, draft, rules)?),
            Kind::Prompt {
                definition,
                draft,
                completers,
            } => {
                reject(definition.problem(&arguments(&completers)))?;
                let target = target("prompt", draft, rules)?;
                let name = Arc::clone(&target.name);
                let entry = (target, complete(completers, rules)?);
                insert("prompt", &mut self.prompts, &name, entry)?;
                shown.prompts.push(definition);
            }
            Kind::Resource { definition, draft } => {
                reject(definition.problem())?;
                let target = target("resource", draft, rules)?;
                insert(
                    "resource",
                    &mut self.resources,
                    &Arc::clone(&target.name),
                    target,
                )?;
                shown.resources.push(definition);
            }
            Kind::Template {
                definition,
                draft,
                completers,
            } => {
                let template = definition.template(&arguments(&completers))?;
                let target = target("resource template", draft, rules)?;
                if self
                    .templates
                    .iter()
                    .any(|(_, known, _)| known.name == target.name)
                {
                    return Err(twice("resource template", &target.name));
                }
                let completers = complete(completers, rules)?;
                self.templates.push((template, target, completers));
                shown.templates.push(definition);
            }
        }
        Ok(())
    }
}

impl Lists {
    fn render(shown: &Shown, rules: &Rules<'_>) -> Self {
        fn list<T: Serialize>(
            member: &'static str,
            items: &[T],
            rules: &Rules<'_>,
        ) -> Arc<Listing> {
            Arc::new(Listing::render(&rules.style(member, 0), items, items))
        }
        Lists {
            prompts: list("prompts", &shown.prompts, rules),
            resources: list("resources", &shown.resources, rules),
            templates: list("resourceTemplates", &shown.templates, rules),
        }
    }
}

/// A tool that can be called, or what is wrong with it.
pub(crate) fn tool(
    definition: tool::Definition,
    draft: Draft,
    rules: &Rules<'_>,
) -> Result<Tool, String> {
    reject(definition.problem())?;
    #[cfg(feature = "validate")]
    let draft = checked(&definition, draft)?;
    let mut target = resolve("tool", draft, rules)?;
    target.mirrors = definition.mirrors()?;
    Ok(Tool::new(definition, Arc::new(target)))
}

fn reject(problem: Option<String>) -> Result<(), String> {
    problem.map_or(Ok(()), Err)
}

fn arguments(completers: &[(String, Draft)]) -> Vec<String> {
    completers.iter().map(|(name, _)| name.clone()).collect()
}

fn complete(completers: Vec<(String, Draft)>, rules: &Rules<'_>) -> Result<Completers, String> {
    let resolve = |(argument, draft)| Ok((argument, target("completer of", draft, rules)?));
    completers.into_iter().map(resolve).collect()
}

fn insert<T>(
    what: &str,
    known: &mut HashMap<Arc<str>, T>,
    name: &Arc<str>,
    entry: T,
) -> Result<(), String> {
    match known.insert(Arc::clone(name), entry) {
        None => Ok(()),
        Some(_) => Err(twice(what, name)),
    }
}

fn twice(what: &str, name: &str) -> String {
    format!("{what} `{name}` is registered twice")
}
