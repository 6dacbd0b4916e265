//! `config`: what to write into a client's configuration, with absolute paths.

use std::path::Path;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command};
use serde_json::{Value, json};

use crate::{ExitResult, file, load, shell_word};

/// Each client, where its configuration is, and how it spells a server on stdio.
const CLIENTS: [(&str, &str, Shape); 7] = [
    (
        "claude",
        "Claude Desktop: claude_desktop_config.json (Settings, Developer, Edit Config)",
        Shape::McpServers,
    ),
    ("claude-code", "Claude Code: run this", Shape::ClaudeCode),
    ("vscode", "VS Code: .vscode/mcp.json", Shape::Servers),
    ("cursor", "Cursor: .cursor/mcp.json", Shape::McpServers),
    (
        "windsurf",
        "Windsurf: ~/.codeium/windsurf/mcp_config.json",
        Shape::McpServers,
    ),
    ("zed", "Zed: settings.json", Shape::ContextServers),
    ("codex", "Codex: ~/.codex/config.toml", Shape::Toml),
];

#[derive(Clone, Copy)]
enum Shape {
    McpServers,
    Servers,
    ContextServers,
    ClaudeCode,
    Toml,
}

pub(crate) fn command(command: Command) -> Command {
    let names = PossibleValuesParser::new(CLIENTS.map(|(name, ..)| name));
    command.arg(
        Arg::new("client")
            .long("client")
            .value_name("CLIENT")
            .value_parser(names)
            .default_value("claude")
            .help("Whose configuration"),
    )
}

pub(crate) fn run(matches: &ArgMatches) -> ExitResult {
    let scripts = load(matches)?;
    let wanted = matches
        .get_one::<String>("client")
        .map_or("claude", String::as_str);
    let (_, place, shape) = CLIENTS
        .into_iter()
        .find(|(name, ..)| *name == wanted)
        .ok_or("no such client")?;
    let plain = |error: std::io::Error| error.to_string();
    let program = std::env::current_exe().map_err(plain)?;
    let file = file(matches).canonicalize().map_err(plain)?;
    eprintln!("{place}");
    let mut words = vec!["serve", "--stdio"];
    if matches.get_flag("trust") {
        words.push("--trust");
    }
    println!("{}", text(shape, scripts.name(), &program, &words, &file));
    Ok(ExitCode::SUCCESS)
}

fn text(shape: Shape, name: &str, program: &Path, words: &[&str], file: &Path) -> String {
    let (program, file) = (program.to_string_lossy(), file.to_string_lossy());
    let args: Vec<&str> = words.iter().copied().chain([&*file]).collect();
    let server = json!({ "command": program, "args": args });
    let json = |key: &str, server: &Value| format!("{:#}", json!({ key: { name: server } }));
    match shape {
        Shape::McpServers => json("mcpServers", &server),
        Shape::Servers => {
            let mut server = server;
            server["type"] = "stdio".into();
            json("servers", &server)
        }
        Shape::ContextServers => json("context_servers", &server),
        Shape::ClaudeCode => {
            let quoted: Vec<_> = [&*program]
                .into_iter()
                .chain(args)
                .map(shell_word)
                .collect();
            format!(
                "claude mcp add {} -- {}",
                shell_word(name),
                quoted.join(" ")
            )
        }
        Shape::Toml => format!(
            "[mcp_servers.{}]\ncommand = {}\nargs = {}",
            toml_key(name),
            json!(program),
            json!(args)
        ),
    }
}

fn toml_key(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    match name.bytes().all(is_plain) {
        true => name.to_owned(),
        false => json!(name).to_string(),
    }
}
