//! [`Scripts`], a file that has been read: what it offers, to whom, and how a running server changes to a newer one.
//!
//! Must not know the file's syntax, or how anything is run.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;
use std::sync::Arc;

use serde_json::Value;

use crate::base::error::Result;
use crate::base::log;
use crate::handler::Fork;
use crate::handler::command::missing_program;
use crate::handler::registration::{Register, Registration, sealed};
use crate::lane::Lane;
use crate::pool::ResourcePool;
use crate::scripts::argument::schema::schema;
use crate::scripts::call::{Pools, requirements};
use crate::scripts::mistake::{Mistake, Mistakes, position};
use crate::scripts::offer::{self, set};
use crate::scripts::spec::{CommandSpec, File, PLACES_MAX, Run, Source, ToolSpec, file};
use crate::scripts::trust;
use crate::server::{Server, ServerHandle};

/// How many scripts run at once on a server that serves nothing else. They wait for their programs and cost little.
const WORKERS: usize = 64;

/// A file of scripts, read and checked: tools that are programs, resources and prompts. Unix only, feature `scripts`.
///
/// ```no_run
/// use mcp_threads::{Scripts, Server};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::new("mine", "1.0.0")
///     .tool("hello", "Says hello.", || "hello")
///     .register(Scripts::load("tools.toml")?);
/// # Ok(())
/// # }
/// ```
///
/// The file's format stands in the README, in the section about scripts. A server whose tools are background jobs
/// needs [`Server::job_tools`] for clients that do not know tasks.
#[derive(Clone)]
pub struct Scripts {
    file: Arc<File>,
    /// Kept while a server changes to a newer file: calls that began before have their places.
    pools: Pools,
    /// The lanes that the server has from its start, and their workers: there the calls of one tool wait for their turn without a worker of `main`. A tool
    /// that may run more often since has its turns by its pool alone.
    lanes: Arc<BTreeMap<String, usize>>,
    warnings: Mistakes,
}

/// What is known of one tool of a file.
#[derive(Clone, Debug)]
pub struct ScriptTool<'a> {
    spec: &'a ToolSpec,
    base: &'a Path,
}

impl Scripts {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// With everything that is wrong with it, also when somebody else can write it or a script that it names by a path, or the directory of one of
    /// these.
    pub fn load(path: impl AsRef<Path>) -> std::result::Result<Self, Mistakes> {
        let path = path.as_ref();
        let scripts = Self::load_trusting(path)?;
        let mut files = [path.to_owned()].into_iter().chain(scripts.programs());
        if let Some(problem) = files.find_map(|file| trust::problem(&file)) {
            return Err(whole(path, problem));
        }
        drop(files);
        Ok(scripts)
    }

    /// Reads a file without a check of who can write it.
    ///
    /// # Errors
    ///
    /// With everything that is wrong with it.
    pub fn load_trusting(path: impl AsRef<Path>) -> std::result::Result<Self, Mistakes> {
        let path = path.as_ref();
        let unreadable = |error| whole(path, format!("the file cannot be read: {error}"));
        let text = std::fs::read(path).map_err(unreadable)?;
        let text = String::from_utf8(text).map_err(|error| not_text(path, &error))?;
        let real = path.canonicalize().map_err(unreadable)?;
        let base = real.parent().unwrap_or(Path::new("/"));
        let (read, list) = file::read(&text, path, base);
        let warnings = Mistakes {
            file: path.to_owned(),
            list,
        };
        match read.map(Arc::new) {
            Some(file) => Ok(Scripts {
                pools: pools(&file),
                lanes: Arc::new(turns(&file).collect()),
                file,
                warnings,
            }),
            None => Err(warnings),
        }
    }

    /// The files that are run: programs named by a path, and scripts that interpreters are given.
    fn programs(&self) -> impl Iterator<Item = PathBuf> {
        let tools = self.file.tools.iter().map(|tool| &tool.command);
        let resources = self.file.resources.iter();
        let resources = resources.filter_map(|resource| match &resource.source {
            Source::Command(command) => Some(command),
            Source::File(_) => None,
        });
        tools.chain(resources).flat_map(CommandSpec::files)
    }

    /// What clients may dislike, though it works.
    pub fn warnings(&self) -> &Mistakes {
        &self.warnings
    }

    /// The name that the file gives its server, or that of the file.
    pub fn name(&self) -> &str {
        &self.file.server.name
    }

    /// What the server tells models about itself.
    pub fn instructions(&self) -> Option<&str> {
        self.file.server.instructions.as_deref()
    }

    /// The tools, in the order of the file.
    pub fn tools(&self) -> impl Iterator<Item = ScriptTool<'_>> {
        let base = &*self.file.base;
        let tools = self.file.tools.iter();
        tools.map(move |spec| ScriptTool { spec, base })
    }

    /// The URIs of the resources, in the order of the file.
    pub fn resources(&self) -> impl Iterator<Item = &str> {
        self.file.resources.iter().map(|resource| &*resource.uri)
    }

    /// The names of the prompts, in the order of the file.
    pub fn prompts(&self) -> impl Iterator<Item = &str> {
        self.file.prompts.iter().map(|prompt| &*prompt.name)
    }

    /// A server of its own, named and described as the file says: with room for 64 scripts at once on the lane `main`, and the tools that look after
    /// background jobs if there are any.
    pub fn into_server(self) -> Server {
        let spec = Arc::clone(&self.file);
        let spec = &spec.server;
        let mut server = Server::new(&*spec.name, &*spec.version)
            .workers(WORKERS)
            .job_tools();
        set!(server, spec, title, instructions);
        server.register(self)
    }

    /// Changes a running server from these scripts to newer ones: what is new is added, what has gone is removed, what differs is replaced, and clients
    /// are told. A server says only once who it is, so the table `[server]` counts when it starts.
    ///
    /// # Errors
    ///
    /// When something cannot be added, such as a tool whose name the server uses already. What was added until then is removed again, so that a file that is
    /// mended can be taken; what was replaced stays.
    pub fn update(&mut self, handle: &ServerHandle, mut newer: Scripts) -> Result<()> {
        let (old, new) = (Arc::clone(&self.file), Arc::clone(&newer.file));
        newer.lanes = Arc::clone(&self.lanes);
        // What both have is the same pool, for tools that have changed and for those that have not.
        let mut pools = (*newer.pools).clone();
        for (name, pool) in &mut pools {
            if let Some(old) = self.pools.get(name) {
                pool.clone_from(old);
            }
        }
        newer.pools = Arc::new(pools);
        renew_all(handle, &newer, &old)?;
        for tool in gone(&old.tools, &new.tools, |tool| &tool.name) {
            handle.remove_tool(&tool.name);
        }
        for resource in gone(&old.resources, &new.resources, |resource| &resource.uri) {
            handle.remove_resource(&resource.uri);
        }
        for prompt in gone(&old.prompts, &new.prompts, |prompt| &prompt.name) {
            handle.remove_prompt(&prompt.name);
        }
        if new.server != old.server {
            log::warn!(
                "the table [server] has changed, which counts when a server starts: clients see the new one after a restart"
            );
        }
        *self = newer;
        Ok(())
    }
}

fn turns(file: &File) -> impl Iterator<Item = (String, usize)> {
    file.tools.iter().filter_map(ToolSpec::turns)
}

fn pools(file: &File) -> Pools {
    let claimed = file
        .tools
        .iter()
        .flat_map(|tool| tool.claims.keys().cloned());
    let names = claimed.chain(turns(file).map(|(name, _)| name));
    let pool = |name: String| {
        let pool = ResourcePool::lazy(&name, PLACES_MAX, || Ok::<_, String>(()));
        (name, pool)
    };
    Arc::new(names.map(pool).collect())
}

/// One thing that is wrong with a file as a whole.
fn whole(path: &Path, message: String) -> Mistakes {
    let mistake = Mistake {
        line: 1,
        column: 1,
        message,
        is_warning: false,
    };
    Mistakes {
        file: path.to_owned(),
        list: vec![mistake],
    }
}

fn not_text(path: &Path, error: &FromUtf8Error) -> Mistakes {
    let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
    let mut mistakes = whole(path, "the file is not UTF-8 from here on".to_owned());
    let (line, column) = position(&String::from_utf8_lossy(good), good.len());
    (mistakes.list[0].line, mistakes.list[0].column) = (line, column);
    mistakes
}

/// Offers what is new or has changed in these scripts, all of it or nothing that is new.
fn renew_all(handle: &ServerHandle, newer: &Scripts, old: &File) -> Result<()> {
    let mut added = Vec::new();
    let renewed = renew_each(handle, newer, old, &mut added);
    if renewed.is_err() {
        for (remove, name) in added {
            remove(handle, name);
        }
    }
    renewed
}

/// Offers one by one, and notes what is new and how it is removed.
fn renew_each<'a>(
    handle: &ServerHandle,
    newer: &'a Scripts,
    old: &File,
    added: &mut Vec<(Remove, &'a str)>,
) -> Result<()> {
    let new = &newer.file;
    let tool = |spec: &ToolSpec| offer::tool(spec, &new.base, &newer.pools, &newer.lanes);
    let both = (&*new.tools, &*old.tools);
    renew(
        handle,
        both,
        |tool| &tool.name,
        tool,
        |name| {
            added.push((ServerHandle::remove_tool, name));
        },
    )?;
    let both = (&*new.resources, &*old.resources);
    renew(
        handle,
        both,
        |it| &it.uri,
        offer::resource,
        |uri| {
            added.push((ServerHandle::remove_resource, uri));
        },
    )?;
    let both = (&*new.prompts, &*old.prompts);
    renew(
        handle,
        both,
        |it| &it.name,
        offer::prompt,
        |name| {
            added.push((ServerHandle::remove_prompt, name));
        },
    )
}

/// Takes something of this name from a server.
type Remove = fn(&ServerHandle, &str) -> bool;

/// Offers what is new, and what has changed in place of what it was. Tells of what is new.
fn renew<'a, T: PartialEq, R: Register<()>>(
    handle: &ServerHandle,
    (new, old): (&'a [T], &[T]),
    key: fn(&T) -> &str,
    offer: impl Fn(&T) -> R,
    mut is_added: impl FnMut(&'a str),
) -> Result<()> {
    for changed in new.iter().filter(|new| !old.contains(new)) {
        match old.iter().any(|old| key(old) == key(changed)) {
            true => handle.replace(offer(changed))?,
            false => {
                handle.add(offer(changed))?;
                is_added(key(changed));
            }
        }
    }
    Ok(())
}

/// Those that the others have no more.
fn gone<'a, T>(
    these: &'a [T],
    others: &'a [T],
    key: fn(&T) -> &str,
) -> impl Iterator<Item = &'a T> {
    let is_gone = move |this: &&T| others.iter().all(|other| key(other) != key(this));
    these.iter().filter(is_gone)
}

impl fmt::Debug for Scripts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripts")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl ScriptTool<'_> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Its name for people.
    pub fn title(&self) -> Option<&str> {
        self.spec.title.as_deref()
    }

    /// What it does.
    pub fn description(&self) -> Option<&str> {
        self.spec.description.as_deref()
    }

    /// The JSON Schema of its arguments.
    pub fn input_schema(&self) -> Value {
        schema(&self.spec.arguments)
    }

    /// Whether a person is asked before it runs.
    pub fn is_confirmed(&self) -> bool {
        self.spec.confirm.is_some()
    }

    /// What it needs and does not find on this machine, in sentences: programs, environment variables, files with secrets.
    pub fn missing(&self) -> Vec<String> {
        let mut missing = requirements(self.spec, self.base);
        let env = self.spec.command.env.iter();
        missing.extend(env.filter_map(|rule| rule.value().err()));
        if let Run::Argv(program, _) = &self.spec.command.run {
            missing.extend(missing_program(program));
        }
        missing
    }
}

impl sealed::Sealed for Scripts {}

impl<S: Fork + Send + Sync + 'static> Register<S> for Scripts {
    fn registrations(self, template: &Arc<S>) -> Vec<std::result::Result<Registration, String>> {
        let file = &*self.file;
        let tools = file.tools.iter();
        let tools = tools.map(|tool| offer::tool(tool, &file.base, &self.pools, &self.lanes));
        let resources = file.resources.iter().map(offer::resource);
        let prompts = file.prompts.iter().map(offer::prompt);
        let tools = tools.flat_map(|tool| tool.registrations(template));
        let resources = resources.flat_map(|resource| resource.registrations(template));
        let prompts = prompts.flat_map(|prompt| prompt.registrations(template));
        tools.chain(resources).chain(prompts).collect()
    }

    fn lanes(&self) -> Vec<Lane> {
        // All of its workers may wait: for a newer file may allow fewer at once, and then nobody else waits for them.
        let lane =
            |(name, workers): (String, usize)| Lane::new(&name).workers(workers).waiting(workers);
        turns(&self.file).map(lane).collect()
    }
}
