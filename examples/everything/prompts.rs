//! Prompts, one for each kind of content, and one that completes its argument.

use mcp_threads::schemars::JsonSchema;
use mcp_threads::{
    Completing, ContentBlock, Prompt, PromptMessage, ResourceContents, Role, Server,
};
use serde::Deserialize;

use super::content::image;
use super::probes::Counter;

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Two {
    /// First test argument
    arg1: String,
    /// Second test argument
    arg2: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Embedded {
    /// The URI of the resource to embed
    #[serde(rename = "resourceUri")]
    resource_uri: String,
}

/// Adds them.
pub(crate) fn register(server: Server<Counter>) -> Server<Counter> {
    server
        .prompt(
            "test_simple_prompt",
            "A prompt without arguments",
            || "This is a simple prompt for testing.",
        )
        .register(
            Prompt::new("test_prompt_with_arguments")
                .description("A prompt with two arguments")
                .complete("arg1", complete)
                .handler(|args: Two| {
                    format!(
                        "Prompt with arguments: arg1='{}', arg2='{}'",
                        args.arg1, args.arg2
                    )
                }),
        )
        .prompt(
            "test_prompt_with_embedded_resource",
            "A prompt that brings a resource",
            |args: Embedded| {
                let text = "Embedded resource content for testing.";
                let resource = ResourceContents::text(args.resource_uri, text);
                with_text(
                    ContentBlock::resource(resource.with_mime_type("text/plain")),
                    "Please process the embedded resource above.",
                )
            },
        )
        .prompt(
            "test_prompt_with_image",
            "A prompt that brings an image",
            || with_text(image(), "Please analyze the image above."),
        )
}

fn with_text(content: ContentBlock, text: &str) -> Vec<PromptMessage> {
    vec![
        PromptMessage::new(Role::User, content),
        PromptMessage::user(text),
    ]
}

fn complete(typed: Completing) -> Vec<&'static str> {
    let known = ["alpha", "beta", "test one", "test two"];
    let fits = |value: &&str| value.starts_with(&typed.value);
    known.into_iter().filter(fits).collect()
}
