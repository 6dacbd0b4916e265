"""Steps about what is read rather than called: resources, templates, prompts, and completions for them."""

import base64
import json

from sdk import MODERN, check, check_equal, refused

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="


async def resources_are_listed(c):
    listed = [(resource["uri"], resource["name"], resource["mimeType"]) for resource in await c.fetch("resources")]
    check_equal(
        listed,
        [
            ("test://static-text", "static-text", "text/plain"),
            ("test://static-binary", "static-binary", "image/png"),
            ("test://watched-resource", "watched-resource", "text/plain"),
        ],
    )


async def templates_are_listed(c):
    listed = [(template["uriTemplate"], template["mimeType"]) for template in await c.fetch("resourceTemplates")]
    check_equal(listed, [("test://template/{id}/data", "application/json")])


async def a_text_is_read(c):
    wanted = {"uri": "test://static-text", "mimeType": "text/plain", "text": "This is the content of the static text resource."}
    check_equal(await c.read("test://static-text"), [wanted])


async def bytes_are_read(c):
    (contents,) = await c.read("test://static-binary")
    check_equal((contents["uri"], contents["mimeType"]), ("test://static-binary", "image/png"))
    check_equal(base64.b64decode(contents["blob"], validate=True), base64.b64decode(PNG))


async def a_template_is_read(c):
    (contents,) = await c.read("test://template/a%20b/data")
    check_equal((contents["uri"], contents["mimeType"]), ("test://template/a%20b/data", "application/json"))
    check_equal(json.loads(contents["text"]), {"id": "a b", "templateTest": True, "data": "Data for ID: a b"})


async def an_unknown_resource_is_named(c):
    error = await refused(c.read("test://no-such-resource"))
    check_equal((error.code, error.data), (-32602 if c.era == MODERN else -32002, {"uri": "test://no-such-resource"}))


async def prompts_are_listed(c):
    prompts = {prompt["name"]: prompt for prompt in await c.fetch("prompts")}
    check_equal(
        sorted(prompts),
        [
            "test_input_required_result_prompt",
            "test_prompt_with_arguments",
            "test_prompt_with_embedded_resource",
            "test_prompt_with_image",
            "test_simple_prompt",
        ],
    )
    check_equal(
        prompts["test_prompt_with_arguments"]["arguments"],
        [
            {"name": "arg1", "description": "First test argument", "required": True},
            {"name": "arg2", "description": "Second test argument", "required": True},
        ],
    )


async def a_prompt_without_arguments(c):
    check_equal(await c.prompt("test_simple_prompt"), [says("This is a simple prompt for testing.")])


async def a_prompt_with_arguments(c):
    got = await c.prompt("test_prompt_with_arguments", {"arg1": "héllo", "arg2": "'"})
    check_equal(got, [says("Prompt with arguments: arg1='héllo', arg2='''")])


async def a_prompt_with_a_resource(c):
    got = await c.prompt("test_prompt_with_embedded_resource", {"resourceUri": "test://mine"})
    resource = {"uri": "test://mine", "mimeType": "text/plain", "text": "Embedded resource content for testing."}
    check_equal(
        got,
        [
            {"role": "user", "content": {"type": "resource", "resource": resource}},
            says("Please process the embedded resource above."),
        ],
    )


async def a_prompt_with_an_image(c):
    check_equal(
        await c.prompt("test_prompt_with_image"),
        [
            {"role": "user", "content": {"type": "image", "data": PNG, "mimeType": "image/png"}},
            says("Please analyze the image above."),
        ],
    )


async def a_prompt_without_its_arguments(c):
    for arguments in [{}, {"arg1": "only"}]:
        check_equal((await refused(c.prompt("test_prompt_with_arguments", arguments))).code, -32602)
    check_equal((await refused(c.prompt("no-such-prompt"))).code, -32602)


async def an_argument_of_a_prompt_is_completed(c):
    ref = {"type": "ref/prompt", "name": "test_prompt_with_arguments"}
    for typed, values in [("test", ["test one", "test two"]), ("al", ["alpha"]), ("zzz", [])]:
        got = await c.complete(ref, "arg1", typed)
        check_equal(got["values"], values)
        check(not got.get("hasMore"), f"{got} has more")
    check_equal((await c.complete(ref, "arg2", "a"))["values"], [])


async def a_variable_of_a_template_is_completed(c):
    got = await c.complete({"type": "ref/resource", "uri": "test://template/{id}/data"}, "id", "7")
    check_equal(got["values"], [f"7{digit}" for digit in range(10)])


def says(text):
    return {"role": "user", "content": {"type": "text", "text": text}}


ALL = [
    resources_are_listed,
    templates_are_listed,
    a_text_is_read,
    bytes_are_read,
    a_template_is_read,
    an_unknown_resource_is_named,
    prompts_are_listed,
    a_prompt_without_arguments,
    a_prompt_with_arguments,
    a_prompt_with_a_resource,
    a_prompt_with_an_image,
    a_prompt_without_its_arguments,
    an_argument_of_a_prompt_is_completed,
    a_variable_of_a_template_is_completed,
]
