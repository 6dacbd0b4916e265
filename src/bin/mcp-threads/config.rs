//! `config`: what to write into a client's configuration, with absolute paths.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::terminal::{say, tell};
use crate::{ExitResult, ScriptFile, shell_word};

#[derive(Args)]
pub(crate) struct Config {
    #[command(flatten)]
    file: ScriptFile,
    /// Whose configuration
    #[arg(long, value_enum, value_name = "CLIENT", default_value = "claude")]
    client: ClientKind,
}

#[derive(Clone, Copy, ValueEnum)]
enum ClientKind {
    Claude,
    ClaudeCode,
    Vscode,
    Cursor,
    Windsurf,
    Zed,
    Codex,
}

impl Config {
    pub(crate) fn run(self) -> ExitResult {
        let scripts = self.file.load()?;
        let program = std::env::current_exe()?;
        let file = self.file.path.canonicalize()?;
        let words = ["serve", "--stdio"].into_iter();
        let words = words.chain(self.file.trust.option());
        let file = file.to_string_lossy();
        let args: Vec<&str> = words.chain([&*file]).collect();
        let program = program.to_string_lossy();
        let (place, text) = self.client.entry(scripts.name(), &program, &args);
        tell(place);
        say(text)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl ClientKind {
    /// Where its configuration is, and how it spells a server on stdio there.
    fn entry(self, name: &str, program: &str, args: &[&str]) -> (&'static str, String) {
        let json = |key: &str, server: Value| format!("{:#}", json!({ key: { name: server } }));
        let server = json!({ "command": program, "args": args });
        match self {
            ClientKind::Claude => (
                "Claude Desktop: claude_desktop_config.json (Settings, Developer, Edit Config)",
                json("mcpServers", server),
            ),
            ClientKind::ClaudeCode => {
                let words = [program].into_iter().chain(args.iter().copied());
                let words: Vec<_> = words.map(shell_word).collect();
                let (name, words) = (shell_word(name), words.join(" "));
                let line = format!("claude mcp add {name} -- {words}");
                ("Claude Code: run this", line)
            }
            ClientKind::Vscode => {
                let server = json!({ "command": program, "args": args, "type": "stdio" });
                ("VS Code: .vscode/mcp.json", json("servers", server))
            }
            ClientKind::Cursor => ("Cursor: .cursor/mcp.json", json("mcpServers", server)),
            ClientKind::Windsurf => (
                "Windsurf: ~/.codeium/windsurf/mcp_config.json",
                json("mcpServers", server),
            ),
            ClientKind::Zed => ("Zed: settings.json", json("context_servers", server)),
            ClientKind::Codex => {
                let (name, program, args) = (toml_key(name), json!(program), json!(args));
                let text = format!("[mcp_servers.{name}]\ncommand = {program}\nargs = {args}");
                // The one character that may stand in a string of JSON and in none of TOML.
                let text = text.replace('\u{7f}', "\\u007f");
                ("Codex: ~/.codex/config.toml", text)
            }
        }
    }
}

fn toml_key(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    match name.bytes().all(is_plain) {
        true => name.to_owned(),
        false => json!(name).to_string(),
    }
}
