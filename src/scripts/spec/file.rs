//! Reads a whole file of scripts: its server, its resources and prompts, and its tools by way of [`tool`].
//!
//! Reading never stops at a mistake, so that all are reported at once. Must not know how anything is run.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::scripts::mistake::Mistake;
use crate::scripts::spec::command::{Defaults, arguments, template};
use crate::scripts::spec::{File, PLACES_MAX, PromptSpec, ResourceSpec, ServerSpec, Source, tool};
use crate::scripts::table::{At, Notes, Table};

/// Reads the text of a file that stands in `base`. Without a mistake that is no warning, there is a file.
pub(in crate::scripts) fn read(
    text: &str,
    path: &Path,
    base: &Path,
) -> (Option<File>, Vec<Mistake>) {
    let notes = Notes::new(text);
    let (root, slips) = DeTable::parse_recoverable(text);
    for slip in slips {
        let at = slip.span().map_or(0, |span| span.start);
        let problem = format!("this is not TOML: {}", slip.message().replace('\n', ", "));
        notes.error(at, problem);
    }
    let root = Table::new(&notes, "the file", 0, root.get_ref());
    let file = read_root(root, path, base);
    let mistakes = notes.finish();
    let file = Some(file).filter(|_| mistakes.iter().all(|mistake| mistake.is_warning));
    (file, mistakes)
}

fn read_root(root: Table<'_>, path: &Path, base: &Path) -> File {
    let server = root.table("server", "[server]");
    let text = |key| server.as_ref()?.said(key);
    let stem = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned());
    let (name, version) = (text("name").or(stem), text("version"));
    let (title, instructions) = (text("title"), text("instructions"));
    if let Some(server) = server {
        server.finish();
    }
    let defaults = Defaults::read(root.table("defaults", "[defaults]"), base);
    let pools = pools(&root);
    let tools = root.tables("tool", "a [[tool]]").into_iter();
    let tools = tools
        .filter_map(|table| tool::read(table, &defaults, &pools))
        .collect();
    let resources = root.tables("resource", "a [[resource]]").into_iter();
    let resources = resources
        .filter_map(|table| resource(table, &defaults))
        .collect();
    let prompts = root.tables("prompt", "a [[prompt]]").into_iter();
    let prompts = prompts.filter_map(|table| prompt(table, base)).collect();
    let file = File {
        server: ServerSpec {
            name: name.unwrap_or_else(|| "scripts".to_owned()),
            version: version.unwrap_or_else(|| "1.0.0".to_owned()),
            title,
            instructions,
        },
        tools,
        resources,
        prompts,
        base: base.to_owned(),
    };
    if ["tool", "resource", "prompt"]
        .iter()
        .all(|kind| root.place(kind).is_none())
    {
        root.notes.warning(
            0,
            "the file offers nothing yet; write [[tool]], a name, and run = [\"./program\"]",
        );
    }
    said_once(&root, "tool", "name");
    said_once(&root, "resource", "uri");
    said_once(&root, "prompt", "name");
    root.finish();
    file
}

/// The sizes of the pools, by name.
fn pools(root: &Table<'_>) -> BTreeMap<String, usize> {
    let mut pools = BTreeMap::new();
    for (name, value) in root.members("pools") {
        let DeValue::Table(table) = value.get_ref() else {
            let problem = format!("write [pools.{}] above its size", name.value);
            root.notes.error(name.at, problem);
            continue;
        };
        let what = format!("the pool `{}`", name.value);
        let table = Table::new(root.notes, what, name.at, table);
        let size = table.count("size", 1..=PLACES_MAX).unwrap_or(1);
        table.finish();
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if name.value.is_empty() || !name.value.bytes().all(is_name) {
            let problem = format!(
                "`{}` is no name of a pool; it has the characters A-Z a-z 0-9 _ -",
                name.value
            );
            root.notes.error(name.at, problem);
        }
        pools.insert(name.value, size);
    }
    pools
}

/// Reports each table of `[[kind]]` whose `key` another has already.
fn said_once(root: &Table<'_>, kind: &'static str, key: &'static str) {
    let mut lines = BTreeMap::new();
    for table in root.tables(kind, "") {
        let Some(At { value, at }) = table.string(key) else {
            continue;
        };
        if let Some(line) = lines.get(&value) {
            let problem =
                format!("there is a [[{kind}]] with the {key} `{value}` in line {line} already");
            root.notes.error(at, problem);
        } else {
            lines.insert(value, root.notes.line(at));
        }
    }
}

fn resource(mut table: Table<'_>, defaults: &Defaults<'_>) -> Option<ResourceSpec> {
    let uri = table.text("uri");
    if let Some(At { value: uri, at }) = &uri {
        table.rename(format!("the resource `{uri}`"));
        if !uri.contains(':') {
            let problem =
                format!("`{uri}` is no URI; it begins with a scheme, such as `notes:` or `file:`");
            table.notes.error(*at, problem);
        }
    }
    table.require("resource", "uri");
    let source = match table.text("file") {
        Some(file) => {
            let path = defaults.base.join(&file.value);
            if !path.is_file() {
                let problem = format!("there is no file `{}`", path.display());
                table.notes.error(file.at, problem);
            }
            Source::File(path)
        }
        None if table.place("run").or(table.place("shell")).is_none() => {
            let problem = format!(
                "{} needs a file = \"..\", or a command: run = [\"./program\"]",
                table.what
            );
            table.notes.error(table.at, problem);
            return None;
        }
        None => Source::Command(defaults.command(&table, &[])?),
    };
    let uri = uri.map(|uri| uri.value).unwrap_or_default();
    let spec = ResourceSpec {
        name: table.said("name").unwrap_or_else(|| uri.clone()),
        uri,
        title: table.said("title"),
        description: table.said("description"),
        mime_type: table.said("mime_type"),
        source,
    };
    table.finish();
    Some(spec)
}

fn prompt(mut table: Table<'_>, base: &Path) -> Option<PromptSpec> {
    let name = table.text("name");
    if let Some(name) = &name {
        table.rename(format!("the prompt `{}`", name.value));
    }
    let arguments = arguments("prompt", &table, base);
    let text = template(&table, "text", &arguments);
    table.require("prompt", "name");
    table.require("prompt", "text");
    let title = table.said("title");
    let description = table.said("description");
    table.finish();
    Some(PromptSpec {
        name: name?.value,
        title,
        description,
        arguments,
        text: text?,
    })
}
