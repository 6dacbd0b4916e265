//! Reads a whole file of scripts: its server, its resources and prompts, and its tools by way of [`tool`].
//!
//! Reading never stops at a mistake, so that all are reported at once. Must not know how anything is run.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::DeTable;

use crate::scripts::mistake::Mistake;
use crate::scripts::spec::command::{Settings, arguments, template};
use crate::scripts::spec::{
    File, OfferSpec, PLACES_MAX, PromptSpec, ResourceSpec, ServerSpec, Source, tool,
};
use crate::scripts::table::{Notes, Table, is_name};

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
    let server = server(root.table("server", "[server]"), path);
    let defaults = root.table("defaults", "[defaults]");
    let settings = Settings::read(&defaults, base);
    defaults.finish();
    let pools = pools(&root);
    let mut offers = each(&root, "tool", "name", |table, name| {
        tool::read(table, name, &settings, &pools).map(OfferSpec::Tool)
    });
    offers.extend(each(&root, "resource", "uri", |table, uri| {
        resource(table, uri, &settings).map(OfferSpec::Resource)
    }));
    offers.extend(each(&root, "prompt", "name", |table, name| {
        prompt(table, name, base).map(OfferSpec::Prompt)
    }));
    if !["tool", "resource", "prompt"]
        .iter()
        .any(|kind| root.has(kind))
    {
        let problem =
            "the file offers nothing yet; write [[tool]], a name, and run = [\"./program\"]";
        root.notes.warning(0, problem);
    }
    root.finish();
    File { server, offers }
}

fn server(table: Table<'_>, path: &Path) -> ServerSpec {
    let stem = || Some(path.file_stem()?.to_string_lossy().into_owned());
    let server = ServerSpec {
        name: table
            .text("name")
            .or_else(stem)
            .unwrap_or_else(|| "scripts".to_owned()),
        version: table.text("version").unwrap_or_else(|| "1.0.0".to_owned()),
        title: table.text("title"),
        instructions: table.text("instructions"),
    };
    table.finish();
    server
}

/// The sizes of the pools, by name.
fn pools(root: &Table<'_>) -> BTreeMap<String, usize> {
    let above = |name: &str| format!("write [pools.{name}] above its size");
    let pools = root.named_tables("pools", "pool", above).into_iter();
    let pools = pools.map(|(name, table)| {
        let size = table.count("size", 1..=PLACES_MAX).unwrap_or(1);
        if !is_name(&name, "_-") {
            let problem =
                format!("`{name}` is no name of a pool; it has the characters A-Z a-z 0-9 _ -");
            root.notes.error(table.at, problem);
        }
        table.finish();
        (name, size)
    });
    pools.collect()
}

/// Reads each table of `[[kind]]`, which bears its name in what is said of it; no two may have the same.
fn each(
    root: &Table<'_>,
    kind: &'static str,
    key: &'static str,
    read: impl Fn(&Table<'_>, Option<&str>) -> Option<OfferSpec>,
) -> Vec<OfferSpec> {
    let mut lines = BTreeMap::new();
    let tables = root.tables(kind).into_iter();
    let offers = tables.filter_map(|mut table| {
        let name = table.text(key);
        table.require(kind, key);
        if let Some(name) = &name {
            table.what = format!("the {kind} `{name}`");
            let line = root.notes.line(table.place(key));
            if let Some(first) = lines.insert(name.clone(), line) {
                let problem = format!(
                    "there is a [[{kind}]] with the {key} `{name}` in line {first} already"
                );
                table.wrong(key, problem);
            }
        }
        let offer = read(&table, name.as_deref());
        table.finish();
        offer
    });
    offers.collect()
}

fn resource(table: &Table<'_>, uri: Option<&str>, settings: &Settings<'_>) -> Option<ResourceSpec> {
    if let Some(uri) = uri.filter(|uri| !uri.contains(':')) {
        let problem =
            format!("`{uri}` is no URI; it begins with a scheme, such as `notes:` or `file:`");
        table.wrong("uri", problem);
    }
    let source = match table.text("file") {
        Some(file) => {
            let path = settings.base.join(file);
            if !path.is_file() {
                table.wrong("file", format!("there is no file `{}`", path.display()));
            }
            Some(Source::File(path))
        }
        None if table.has("run") || table.has("shell") => {
            settings.command(table, &[]).map(Source::Command)
        }
        None => {
            let what = &table.what;
            let problem =
                format!("{what} needs a file = \"..\", or a command: run = [\"./program\"]");
            table.notes.error(table.at, problem);
            None
        }
    };
    let uri = uri.unwrap_or_default();
    Some(ResourceSpec {
        name: table.text("name").unwrap_or_else(|| uri.to_owned()),
        uri: uri.to_owned(),
        title: table.text("title"),
        description: table.text("description"),
        mime_type: table.text("mime_type"),
        source: source?,
    })
}

fn prompt(table: &Table<'_>, name: Option<&str>, base: &Path) -> Option<PromptSpec> {
    let arguments = arguments("prompt", table, base);
    let text = template(table, "text", &arguments);
    table.require("prompt", "text");
    Some(PromptSpec {
        title: table.text("title"),
        description: table.text("description"),
        name: name?.to_owned(),
        arguments,
        text: text?,
    })
}
