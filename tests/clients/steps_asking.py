"""Steps in which the server asks: what it asks the client, and what it makes of each kind of answer.

The handlers are the same in both eras; in one their questions are requests, in the other they end the first round. The client can not tell
either, since the SDK answers both from the same callbacks.
"""

from sdk import MODERN, check, check_equal

ANA = {"action": "accept", "content": {"username": "ana", "email": "ana@example.com"}}


def accept(**content):
    return {"action": "accept", "content": content}


def sampled(text):
    return {"role": "assistant", "content": {"type": "text", "text": text}, "model": "a-model", "stopReason": "endTurn"}


def form(schema):
    """A schema without what a person sees, which is the server's choice of words."""
    properties = {name: {"type": property["type"]} for name, property in schema["properties"].items()}
    return {"type": schema["type"], "properties": properties, "required": schema.get("required", [])}


async def a_person_accepts(c):
    c.will_answer(elicit=[ANA])
    check_equal(await c.text("test_elicitation", message="Who are you?"), "User response: ana <ana@example.com>")
    ((kind, params),) = c.asked
    check_equal((kind, params["message"], params.get("mode", "form")), ("elicit", "Who are you?", "form"))
    fields = {"username": {"type": "string"}, "email": {"type": "string"}}
    check_equal(form(params["requestedSchema"]), {"type": "object", "properties": fields, "required": ["username", "email"]})


async def a_person_declines(c):
    c.will_answer(elicit=[{"action": "decline"}])
    check_equal(await c.text("test_elicitation", message="?"), "User response: declined")


async def a_person_dismisses(c):
    c.will_answer(elicit=[{"action": "cancel"}])
    check_equal(await c.text("test_elicitation", message="?"), "User response: dismissed")


async def a_form_with_defaults(c):
    c.will_answer(elicit=[accept(name="Jane", age=41, score=1.5, status="pending", verified=False)])
    said = await c.text("test_elicitation_sep1034_defaults")
    check_equal(said, 'Elicitation completed: action=accept, content={"name":"Jane","age":41,"score":1.5,"status":"pending","verified":false}')
    properties = c.asked[0][1]["requestedSchema"]["properties"]
    defaults = {name: property["default"] for name, property in properties.items()}
    check_equal(defaults, {"name": "John Doe", "age": 30, "score": 95.5, "status": "active", "verified": True})


async def a_form_with_choices(c):
    choices = {"untitledSingle": "option1", "titledSingle": "value2", "untitledMulti": ["option1", "option3"], "titledMulti": []}
    c.will_answer(elicit=[accept(**choices)])
    said = await c.text("test_elicitation_sep1330_enums")
    wanted = '{"untitledSingle":"option1","titledSingle":"value2","untitledMulti":["option1","option3"],"titledMulti":[]}'
    check_equal(said, f"Elicitation completed: action=accept, content={wanted}")


async def a_model_answers(c):
    c.will_answer(sample=[sampled("Paris")])
    check_equal(await c.text("test_sampling", prompt="Capital of France?"), "LLM response: Paris")
    ((kind, params),) = c.asked
    check_equal(kind, "sample")
    check_equal(params["messages"], [{"role": "user", "content": {"type": "text", "text": "Capital of France?"}}])
    check_equal(params["maxTokens"], 100)


async def folders_are_named(c):
    c.will_answer(roots=[{"roots": [{"uri": "file:///home/ana"}, {"uri": "file:///tmp", "name": "scratch"}]}])
    check_equal(await c.text("test_input_required_result_list_roots"), "The client works in: file:///home/ana, file:///tmp")
    check_equal([kind for kind, _ in c.asked], ["roots"])


async def three_questions_of_one_call(c):
    c.will_answer(elicit=[accept(name="Ana")], sample=[sampled("Good day")], roots=[{"roots": [{"uri": "file:///a"}]}])
    check_equal(await c.text("test_input_required_result_multiple_inputs"), "Good day, Ana of 1 folders")
    check_equal(sorted(kind for kind, _ in c.asked), ["elicit", "roots", "sample"])


async def several_rounds(c):
    c.will_answer(elicit=[accept(name="Ana"), accept(color="red")])
    check_equal(await c.text("test_input_required_result_multi_round"), "Ana likes red")
    check_equal([params["message"] for _, params in c.asked], ["Step 1: What is your name?", "Step 2: What is your favorite color?"])


async def a_state_travels(c):
    c.will_answer(elicit=[accept(ok=True)])
    check_equal(await c.text("test_input_required_result_request_state"), "state-ok")


async def a_prompt_asks(c):
    c.will_answer(elicit=[accept(context="a garden")])
    text = {"type": "text", "text": "Keep this context in mind: a garden"}
    check_equal(await c.prompt("test_input_required_result_prompt"), [{"role": "user", "content": text}])


async def an_answer_that_does_not_fit(c):
    c.will_answer(elicit=[accept(name=7)])
    result = await c.call("test_input_required_result_elicitation")
    check_equal((result.get("isError"), len(c.asked)), (True, 1))
    check("invalid type" in result["content"][0]["text"], f"{result} does not say what is wrong")


async def a_client_that_can_answer_nothing(c):
    """On a connection that declares no capability at all."""
    check_equal(await c.text("test_input_required_result_capabilities"), "0 of 3 could be asked")
    for tool, arguments, needed in [
        ("test_sampling", {"prompt": "?"}, {"sampling": {}}),
        ("test_elicitation", {"message": "?"}, {"elicitation": {}}),
        ("test_input_required_result_list_roots", {}, {"roots": {}}),
    ]:
        if c.era == MODERN:
            error = await c.error(tool, **arguments)
            check_equal(error.code, -32021)
            (capability,) = needed
            check(capability in error.data["requiredCapabilities"], f"{error.data} does not name {capability}")
        else:
            check_equal((await c.call(tool, arguments)).get("isError"), True)


ALL = [
    a_person_accepts,
    a_person_declines,
    a_person_dismisses,
    a_form_with_defaults,
    a_form_with_choices,
    a_model_answers,
    folders_are_named,
    three_questions_of_one_call,
    several_rounds,
    a_state_travels,
    a_prompt_asks,
    an_answer_that_does_not_fit,
]
