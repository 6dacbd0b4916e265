//! Where tools can be made from: the recipes of a justfile, the targets of a Makefile, the scripts of a package, the programs of a directory.
//!
//! Each is read as far as it takes to call its parts; what it cannot be sure of it leaves out. Must not know what is written.

use std::fs::{self, File};
use std::io::Read;
use std::mem::take;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::init::draft::{DraftArgument, ToolDraft};
use crate::terminal::tell;

pub(super) const JUSTFILES: [&str; 3] = ["justfile", "Justfile", ".justfile"];
pub(super) const MAKEFILES: [&str; 3] = ["GNUmakefile", "makefile", "Makefile"];
pub(super) const PACKAGE: &str = "package.json";

/// What `just` puts into its shell lines as it is, so nothing of it may mean something to a shell.
const HARMLESS: &str = "[A-Za-z0-9_./:@%+,=-]*";

/// The recipes of a justfile, with the comments above them.
pub(super) fn justfile(text: &str) -> Vec<ToolDraft> {
    let mut drafts = Vec::new();
    // Attributes stand between a recipe and its comment.
    let (mut comment, mut attributes) = (String::new(), String::new());
    for (above, line) in commented(text) {
        add_line(&mut comment, &above);
        if line.starts_with('[') {
            attributes += line;
            continue;
        }
        drafts.extend(recipe(line, take(&mut comment), &take(&mut attributes)));
    }
    drafts
}

fn recipe(line: &str, comment: String, attributes: &str) -> Option<ToolDraft> {
    let mut words = words(just_head(line)?).into_iter();
    let name = words.next()?.trim_start_matches('@');
    if attributes.contains("private") || name.starts_with('_') || !is_plain(name) {
        return None;
    }
    let asks = attributes.contains("confirm");
    let run = ["just"].into_iter().chain(asks.then_some("--yes"));
    let mut draft = ToolDraft::new(name, comment, run.chain([name]));
    draft.asks |= asks;
    draft.arguments = words.filter_map(just_argument).collect();
    Some(draft)
}

/// The lines that are no comments, each with the comment right above it.
fn commented(text: &str) -> impl Iterator<Item = (String, &str)> {
    let mut comment = String::new();
    text.lines()
        .filter_map(move |line| match line.strip_prefix('#') {
            Some(said) => {
                add_line(&mut comment, said.trim_start_matches('#'));
                None
            }
            None => Some((take(&mut comment), line)),
        })
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
    let items_min = usize::from(word.starts_with('+') && !word.contains('='));
    let word = word.trim_start_matches(['*', '+', '$']);
    let (name, default) = match word.split_once('=') {
        Some((name, default)) => (name, literal(default)),
        None => (word, None),
    };
    (is_plain(name) && name.len() <= 64).then(|| DraftArgument {
        name: name.to_owned(),
        // What is left out of a list of words is left out behind it as well; anything else has its place.
        default: default.filter(|_| !is_list),
        items_min: is_list.then_some(items_min),
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
    let mut is_definition = false;
    for (comment, line) in commented(text) {
        is_definition |= line.starts_with("define ");
        is_definition &= !line.starts_with("endef");
        let Some((targets, rest)) = make_rule(line).filter(|_| !is_definition) else {
            continue;
        };
        let behind = rest.split_once("##").map(|(_, said)| said.trim());
        let about = behind.unwrap_or(&comment);
        let is_shown = |name: &&str| is_plain(name) && !name.starts_with('_');
        for name in targets.split_whitespace().filter(is_shown) {
            if drafts.iter().all(|draft| draft.name != name) {
                drafts.push(ToolDraft::new(name, about.to_owned(), ["make", name]));
            }
        }
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
        let mut hooks = ["pre", "post"].iter();
        hooks.any(|hook| {
            let of = name.strip_prefix(hook);
            of.is_some_and(|of| package["scripts"].get(of).is_some())
        })
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
            ToolDraft::new(name, description, run)
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
    let drafts = files.iter().filter_map(|file| program(file, directory));
    Ok(drafts.collect())
}

fn program(file: &Path, directory: &str) -> Option<ToolDraft> {
    let name = file.file_name()?.to_str()?;
    let found = file.metadata().ok()?;
    if name.starts_with('.') || !found.is_file() {
        return None;
    }
    let mut text = Vec::new();
    // One that cannot be read has no header.
    let _unread = File::open(file).and_then(|file| file.take(4096).read_to_end(&mut text));
    let text = String::from_utf8_lossy(&text);
    if found.permissions().mode() & 0o111 == 0 {
        if text.starts_with("#!") {
            let shown = file.strip_prefix(".").unwrap_or(file).display();
            tell(format!(
                "left out: `{shown}` is not executable (`chmod +x` makes it so)"
            ));
        }
        return None;
    }
    let path = Path::new(directory).join(name);
    let path = match path.is_absolute() || directory.starts_with('.') {
        true => path.display().to_string(),
        false => format!("./{}", path.display()),
    };
    let mut draft = ToolDraft::new(file.file_stem()?.to_str()?, header(&text), [&*path]);
    draft.arguments = vec![DraftArgument {
        name: "words".to_owned(),
        default: None,
        items_min: Some(0),
        pattern: None,
    }];
    Some(draft)
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
