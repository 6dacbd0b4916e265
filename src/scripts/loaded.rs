//! [`Scripts`], a file that has been read: what it offers, to whom, and how a running server changes to a newer one.
//!
//! Must not know the file's syntax, or how anything is run.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::base::error::Result;
use crate::base::log;
use crate::base::setters::set;
use crate::handler::registration::{Register, Registration};
use crate::handler::{Execution, Fork};
use crate::lane::Lane;
use crate::pool::ResourcePool;
use crate::protocol::offer::OfferKind;
use crate::scripts::argument::schema::schema;
use crate::scripts::call::{Pools, requirements};
use crate::scripts::mistake::Mistakes;
use crate::scripts::offer;
use crate::scripts::spec::{CommandSpec, File, OfferSpec, PLACES_MAX, ToolSpec, file};
use crate::scripts::table::Notes;
use crate::scripts::trust;
use crate::server::{Server, ServerHandle};

/// How many scripts run at once on a server that serves nothing else. They wait for their programs and cost little.
const WORKERS: usize = 64;
/// Background scripts that run at once, or wait for their turn, which half of them may.
const JOB_WORKERS: usize = 16;

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
#[derive(Clone, Debug)]
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
        let refuse = |problem| wrong(path, "", 0, problem);
        // Before it is read: what nobody else can write is afterwards what was looked at.
        trust::problem(path).map_or(Ok(()), |problem| Err(refuse(problem)))?;
        let scripts = Self::load_trusting(path)?;
        let commands = scripts.file.offers.iter().filter_map(OfferSpec::command);
        let mut run = commands.flat_map(trust::files);
        let problem = run.find_map(|file| trust::problem(&file));
        problem.map_or(Ok(scripts), |problem| Err(refuse(problem)))
    }

    /// Reads a file without a check of who can write it.
    ///
    /// # Errors
    ///
    /// With everything that is wrong with it.
    pub fn load_trusting(path: impl AsRef<Path>) -> std::result::Result<Self, Mistakes> {
        let path = path.as_ref();
        let unreadable = |error| wrong(path, "", 0, format!("the file cannot be read: {error}"));
        let text = std::fs::read(path).map_err(unreadable)?;
        let text = String::from_utf8(text).map_err(|error| {
            let good = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes());
            wrong(path, &text, good, "the file is not UTF-8 from here on")
        })?;
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
        self.file.tools().map(|spec| ScriptTool { spec })
    }

    /// The URIs of the resources, in the order of the file.
    pub fn resources(&self) -> impl Iterator<Item = &str> {
        self.file.names(OfferKind::Resource)
    }

    /// What the resource of this URI needs and does not find on this machine, in sentences: its program, environment variables, files with secrets.
    pub fn missing_for_resource(&self, uri: &str) -> Vec<String> {
        let key = (OfferKind::Resource, uri);
        let mut offers = self.file.offers.iter();
        let offer = offers.find(|offer| offer.key() == key);
        let command = offer.and_then(OfferSpec::command);
        command.map_or(Vec::new(), CommandSpec::missing)
    }

    /// The names of the prompts, in the order of the file.
    pub fn prompts(&self) -> impl Iterator<Item = &str> {
        self.file.names(OfferKind::Prompt)
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
        let may_be_job = |tool: &ToolSpec| tool.execution != Execution::Inline;
        if self.file.tools().any(may_be_job) {
            server = server.lane(Lane::new("jobs").workers(JOB_WORKERS).queue(256));
        }
        server.register(self)
    }

    /// Changes a running server from these scripts to newer ones: what is new is added, what has gone is removed, what differs is replaced, and clients
    /// are told. A server says only once who it is, so the table `[server]` counts when it starts.
    ///
    /// # Errors
    ///
    /// When something cannot be added, such as a tool whose name the server uses already. What was added and replaced until then is undone, so that the
    /// older ones are what is served.
    pub fn update(&mut self, handle: &ServerHandle, mut newer: Scripts) -> Result<()> {
        let (old, new) = (Arc::clone(&self.file), Arc::clone(&newer.file));
        newer.lanes = Arc::clone(&self.lanes);
        // What both have is the same pool, for tools that have changed and for those that have not.
        let pools = newer.pools.iter();
        let pools = pools.map(|(name, pool)| (name, self.pools.get(name).unwrap_or(pool)));
        let pools = pools.map(|(name, pool)| (name.clone(), pool.clone()));
        newer.pools = Arc::new(pools.collect());
        let mut done = Vec::new();
        let has = |file: &File, key| file.offers.iter().any(|offer| offer.key() == key);
        let mut changed = new
            .offers
            .iter()
            .filter(|offer| !old.offers.contains(offer));
        let renewed = changed.try_for_each(|spec| {
            let offer = FileOffer(&newer, spec);
            match has(&old, spec.key()) {
                true => handle.replace(offer)?,
                false => handle.add(offer)?,
            }
            done.push(spec.key());
            Ok(())
        });
        if renewed.is_err() {
            for (kind, name) in done {
                match old.offers.iter().find(|spec| spec.key() == (kind, name)) {
                    // It was served a moment ago; and what is told is why the newer one is not.
                    Some(spec) => drop(handle.replace(FileOffer(self, spec))),
                    None => drop(handle.remove(kind, name)),
                }
            }
            return renewed;
        }
        let gone = old.offers.iter().map(OfferSpec::key);
        for (kind, name) in gone.filter(|key| !has(&new, *key)) {
            handle.remove(kind, name);
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
    file.tools().filter_map(ToolSpec::turns)
}

fn pools(file: &File) -> Pools {
    let claimed = file.tools().flat_map(|tool| tool.claims.keys().cloned());
    let names = claimed.chain(turns(file).map(|(name, _)| name));
    let pool = |name: String| {
        let pool = ResourcePool::lazy(&name, PLACES_MAX, || Ok::<_, String>(()));
        (name, pool)
    };
    Arc::new(names.map(pool).collect())
}

/// One thing that is wrong with a file, at this byte of its text.
fn wrong(path: &Path, text: &str, at: usize, problem: impl Into<String>) -> Mistakes {
    let notes = Notes::new(text);
    notes.error(at, problem);
    Mistakes {
        file: path.to_owned(),
        list: notes.finish(),
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
        let mut missing = requirements(self.spec);
        missing.extend(self.spec.command.missing());
        missing
    }
}

/// One thing that the file offers.
struct FileOffer<'a>(&'a Scripts, &'a OfferSpec);

impl<S: Fork + Send + Sync + 'static> Register<S> for FileOffer<'_> {
    fn registrations(self, template: &Arc<S>) -> Vec<std::result::Result<Registration, String>> {
        let FileOffer(scripts, spec) = self;
        match spec {
            OfferSpec::Tool(spec) => {
                offer::tool(spec, &scripts.pools, &scripts.lanes).registrations(template)
            }
            OfferSpec::Resource(spec) => offer::resource(spec).registrations(template),
            OfferSpec::Prompt(spec) => offer::prompt(spec).registrations(template),
        }
    }
}

impl<S: Fork + Send + Sync + 'static> Register<S> for Scripts {
    fn registrations(self, template: &Arc<S>) -> Vec<std::result::Result<Registration, String>> {
        let offers = self.file.offers.iter();
        let registrations = offers.flat_map(|spec| FileOffer(&self, spec).registrations(template));
        registrations.collect()
    }

    fn lanes(&self) -> Vec<Lane> {
        // All of its workers may wait: for a newer file may allow fewer at once, and then nobody else waits for them.
        let lane =
            |(name, workers): (String, usize)| Lane::new(&name).workers(workers).waiting(workers);
        turns(&self.file).map(lane).collect()
    }
}
