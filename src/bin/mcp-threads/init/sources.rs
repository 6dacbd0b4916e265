//! Where tools can be made from: the recipes of a justfile, the targets of a Makefile, the scripts of a package, the programs of a directory.
//!
//! Each is read as far as it takes to call its parts; what it cannot be sure of it leaves out. Must not know what is written.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::init::draft::{DraftArgument, ToolDraft};

pub(super) const JUSTFILES: [&str; 3] = ["justfile", "Justfile", ".justfile"];
pub(super) const MAKEFILES: [&str; 3] = ["GNUmakefile", "makefile", "Makefile"];
pub(super) const PACKAGE: &str = "package.json";

/// What `just` puts into its shell lines as it is, so nothing of it may mean something to a shell.
const HARMLESS: &str = "[A-Za-z0-9_./:@%+,=-]*";

/// The recipes of a justfile, with the comments above them.
pub(super) fn justfile(text: &str) -> Vec<ToolDraft> {
    let mut drafts = Vec::new();
    let (mut comment, mut is_private, mut asks) = (String::new(), false, false);
    for line in text.lines() {
        if let Some(said) = line.strip_prefix('#') {
            add_line(&mut comment, said);
            continue;
        }
        if line.starts_with('[') {
            is_private |= line.contains("private");
            asks |= line.contains("confirm");
            continue;
        }
        if let Some(head) = just_head(line) {
            let mut words = words(head).into_iter();
            let name = words.next().unwrap_or_default().trim_start_matches('@');
            if !is_private && !name.starts_with('_') && is_plain(name) {
                let arguments: Vec<_> = words.filter_map(just_argument).collect();
                let mut run = vec!["just".to_owned()];
                run.extend(asks.then(|| "--yes".to_owned()));
                run.push(name.to_owned());
                let mut draft = ToolDraft::new(name, comment.clone(), run);
                draft.asks |= asks;
                draft.arguments = arguments;
                drafts.push(draft);
            }
        }
        comment.clear();
        (is_private, asks) = (false, false);
    }
    drafts
}

/// What stands before the colon of a recipe.
fn just_head(line: &str) -> Option<&str> {
    if line.starts_with([' ', '\t']) {
        return None;
    }
    let colon = unquoted(line).find(|(_, char, _)| *char == ':')?.0;
    (!line[colon..].starts_with(":=")).then_some(&line[..colon])
}

/// The characters of a line that stand in no quotes, with how many parentheses are open around them.
fn unquoted(line: &str) -> impl Iterator<Item = (usize, char, usize)> {
    let (mut quote, mut depth) = (None, 0_usize);
    line.char_indices().filter_map(move |(at, char)| {
        match (quote, char) {
            (Some(end), _) if char == end => quote = None,
            (None, '"' | '\'' | '`') => quote = Some(char),
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.saturating_sub(1),
            (None, _) => return Some((at, char, depth)),
            (Some(_), _) => {}
        }
        None
    })
}

/// The words of a line, in which quoted and parenthesised spaces are nothing.
fn words(line: &str) -> Vec<&str> {
    let spaces = unquoted(line).filter(|(_, char, depth)| char.is_whitespace() && *depth == 0);
    let ends = spaces.map(|(at, ..)| at).chain([line.len()]);
    let words = ends.scan(0, |from, end| {
        Some(line[std::mem::replace(from, end)..end].trim())
    });
    words.filter(|word| !word.is_empty()).collect()
}

fn just_argument(word: &str) -> Option<DraftArgument> {
    let is_list = word.starts_with(['*', '+']);
    let word = word.trim_start_matches(['*', '+', '$']);
    let (name, default) = match word.split_once('=') {
        Some((name, default)) => (name, literal(default)),
        None => (word, None),
    };
    is_plain(name).then(|| DraftArgument {
        name: name.to_owned(),
        // What is left out of a list of words is left out behind it as well; anything else has its place.
        default: default.filter(|_| !is_list),
        is_list,
        pattern: Some(HARMLESS),
    })
}

/// The text of a string; of anything else it takes `just` to know it.
fn literal(text: &str) -> Option<String> {
    let quote = text
        .chars()
        .next()
        .filter(|quote| matches!(quote, '"' | '\''))?;
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    (!inner.contains([quote, '\\'])).then(|| inner.to_owned())
}

/// The targets of a Makefile that are commands, with the comments above or behind them.
pub(super) fn makefile(text: &str) -> Vec<ToolDraft> {
    let mut drafts: Vec<ToolDraft> = Vec::new();
    let (mut comment, mut is_definition) = (String::new(), false);
    for line in text.lines() {
        is_definition |= line.starts_with("define ");
        if line.starts_with("endef") {
            is_definition = false;
            continue;
        }
        if let Some(said) = line.strip_prefix('#') {
            add_line(&mut comment, said.trim_start_matches('#'));
            continue;
        }
        if let Some((targets, rest)) = make_rule(line).filter(|_| !is_definition) {
            let behind = rest
                .split_once("##")
                .map(|(_, said)| said.trim().to_owned());
            for name in targets.split_whitespace().filter(|name| is_plain(name)) {
                if !name.starts_with('_') && drafts.iter().all(|draft| draft.name != name) {
                    let run = vec!["make".to_owned(), name.to_owned()];
                    let description = behind.clone().unwrap_or_else(|| comment.clone());
                    drafts.push(ToolDraft::new(name, description, run));
                }
            }
        }
        comment.clear();
    }
    drafts
}

/// The targets of a rule, and what stands behind its colon. An assignment has a `=` before that or right behind it.
fn make_rule(line: &str) -> Option<(&str, &str)> {
    const DIRECTIVES: [&str; 12] = [
        "ifeq", "ifneq", "ifdef", "ifndef", "else", "endif", "include", "-include", "export",
        "unexport", "override", "vpath",
    ];
    let first = line.split([' ', '\t', '(']).next().unwrap_or_default();
    if first.is_empty() || first.starts_with('.') || DIRECTIVES.contains(&first) {
        return None;
    }
    let (targets, rest) = line.split_once(':')?;
    let is_assignment =
        targets.contains(['=', '$']) || rest.trim_start_matches(':').starts_with('=');
    (!is_assignment).then_some((targets, rest))
}

/// The scripts of a package, without those that run before and after others.
pub(super) fn package(text: &str, base: &Path) -> Result<Vec<ToolDraft>, String> {
    let package: Value =
        serde_json::from_str(text).map_err(|error| format!("package.json is no JSON: {error}"))?;
    let scripts = package["scripts"].as_object().into_iter().flatten();
    let is_hook = |name: &str| {
        let of = ["pre", "post"]
            .into_iter()
            .filter_map(|hook| name.strip_prefix(hook));
        of.into_iter()
            .any(|of| package["scripts"].get(of).is_some())
    };
    let locks = [
        ("pnpm-lock.yaml", "pnpm"),
        ("yarn.lock", "yarn"),
        ("bun.lock", "bun"),
    ];
    let found = locks
        .into_iter()
        .find(|(lock, _)| base.join(lock).is_file());
    let runner: &[&str] = match found {
        Some((_, "pnpm")) => &["pnpm", "--silent", "run"],
        Some((_, runner)) => &[runner, "run", "--silent"],
        None => &["npm", "run", "--silent"],
    };
    let scripts = scripts
        .filter(|(name, _)| !is_hook(name))
        .map(|(name, line)| {
            let description = format!("Runs `{}`.", line.as_str().unwrap_or_default());
            let run = runner.iter().copied().chain([name.as_str()]);
            ToolDraft::new(name, description, run.map(ToOwned::to_owned).collect())
        });
    Ok(scripts.collect())
}

/// The executable files of a directory, with the comments at their heads. Scripts that are not executable are told.
pub(super) fn programs(base: &Path, directory: &str) -> Result<Vec<ToolDraft>, String> {
    let place = base.join(directory);
    let entries = fs::read_dir(&place).map_err(|error| {
        format!(
            "`{}` is neither just, make nor package.json, and no directory: {error}",
            place.display()
        )
    })?;
    let mut files: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.sort();
    let drafts = files.iter().filter_map(|file| {
        let name = file
            .file_name()?
            .to_str()
            .filter(|name| !name.starts_with('.'))?;
        let found = file.metadata().ok().filter(|found| found.is_file())?;
        let text = fs::read(file).unwrap_or_default();
        let text = String::from_utf8_lossy(&text[..text.len().min(4096)]);
        if found.permissions().mode() & 0o111 == 0 {
            if text.starts_with("#!") {
                eprintln!(
                    "left out: `{}` is not executable (`chmod +x` makes it so)",
                    file.strip_prefix(".").unwrap_or(file).display()
                );
            }
            return None;
        }
        let path = Path::new(directory).join(name);
        let path = match path.is_absolute() || directory.starts_with('.') {
            true => path.display().to_string(),
            false => format!("./{}", path.display()),
        };
        let stem = file.file_stem()?.to_str()?;
        let mut draft = ToolDraft::new(stem, header(&text), vec![path]);
        draft.arguments = vec![DraftArgument {
            name: "words".to_owned(),
            default: None,
            is_list: true,
            pattern: None,
        }];
        Some(draft)
    });
    Ok(drafts.collect())
}

/// The comment at the head of a script.
fn header(text: &str) -> String {
    let mut comment = String::new();
    let is_before = |line: &&str| line.starts_with("#!") || line.trim().is_empty();
    let lines = text.lines().skip_while(is_before);
    for line in lines.map_while(|line| line.strip_prefix('#')) {
        add_line(&mut comment, line);
    }
    comment
}

fn add_line(comment: &mut String, line: &str) {
    let line = line.trim();
    if !comment.is_empty() && !line.is_empty() {
        comment.push(' ');
    }
    comment.push_str(line);
}

/// A name that can be typed as it is.
fn is_plain(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    !name.is_empty() && !name.starts_with('-') && name.bytes().all(is_plain)
}
