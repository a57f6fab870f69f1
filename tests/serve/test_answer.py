"""What a model writes is never an error: whatever its parser makes of it, the agent gets text or whole calls."""

import json

import httpx
import pytest

from lunar_tune.serve import Door
from lunar_tune.settings import ServeSettings

TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Add.",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    },
}
USER = [{"role": "user", "content": "hi"}]


def meta(name, a):
    return f'{{"name": "{name}", "parameters": {{"a": {a}}}}}'


def tagged(name, a):
    return f'<tool_call>{{"name": "{name}", "arguments": {{"a": {a}}}}}</tool_call>'


ONE, TWO = [("add", {"a": 1})], [("add", {"a": 1}), ("add", {"a": 2})]
REPLIES = {  # style -> (what the model writes, the content and the calls that the agent gets)
    "meta": [
        (meta("add", 1), "", ONE),
        (meta("add", 1) + "\n" + meta("add", 2), "", TWO),
        (meta("add", 1) + "\n" + meta("nope", 2), None, []),
        (meta("add", 1) + " is how it is written.", None, []),
        (meta("nope", 1), None, []),
        ('{"x": 1}', None, []),
        ("```json\n{}\n```", None, []),
        ("Just text.", None, []),
    ],
    "tagged": [
        (tagged("add", 1), "", ONE),
        (f"Sure.\n{tagged('add', 1)}\n{tagged('add', 2)}", "Sure.", TWO),
        (meta("add", 1), "", ONE),  # without its tag
        ('Sure.\n{"name": "add", "arguments": {"a": 1}}', "Sure.", ONE),
        (meta("nope", 1), None, []),
        (tagged("add", 1) + " done", "done", ONE),
        (tagged("nope", 1), None, []),
        ("<tool_call>not json</tool_call>", None, []),
        ('{"x": 1}', None, []),
        ("Just text.", None, []),
    ],
}
LONG = "Let me see. "  # a token that is followed by a call and more text, which fails the worker's parser
BROKEN = '{"name": "add", "arguments": {"a": 1]}'
MENDED = '{"a": 7}'  # what is left to write when the schema holds the model
HALF = '<tool_call>{"name": "add", "arguments": {"a"'


@pytest.fixture(scope="module")
def doors(make_house, token_of):
    """Return, by style, a door and the request fields that make its model write a given text."""
    opened = {}
    for style, replies in REPLIES.items():
        house, others = make_house(), [*(text for text, _, _ in replies), BROKEN, MENDED]
        house.current(LONG, tagged("add", 3) + " Well, done.", style=style, others=others)
        door = Door(house.home, ServeSettings(port=0, context=1024), "lunar-custom", threads=1).start()
        opened[style] = (
            door,
            lambda *texts, all=(*others, LONG): {
                "logit_bias": [[token_of(all, text), 20.0 - 5 * n] for n, text in enumerate(texts)]
            },
        )
    yield opened
    for door, _ in opened.values():
        door.stop()


def post(door, **fields):
    body = {"messages": USER, "temperature": 0, **fields}
    answer = httpx.post(f"{door.url}/v1/chat/completions", json=body, timeout=60, trust_env=False)
    assert answer.status_code == 200, answer.text
    return answer


def ask(door, **fields):
    """Return (content, calls, finish reason) of a whole answer."""
    choice = post(door, **fields).json()["choices"][0]
    calls = choice["message"].get("tool_calls") or ()
    assert all(call["id"] and call["type"] == "function" for call in calls)
    read = [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls]
    return choice["message"]["content"] or "", read, choice["finish_reason"]


def ask_streamed(door, **fields):
    """Return the same, put together from the events of a stream."""
    answer = post(door, stream=True, **fields)
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in answer.text.splitlines() if line]
    assert lines.pop() == "data: [DONE]"
    content, calls, finishes = "", {}, []
    for line in lines:
        chunk = json.loads(line.removeprefix("data: "))
        assert chunk["object"] == "chat.completion.chunk"
        assert chunk["system_fingerprint"] == answer.headers["x-lunar-version"]
        for choice in chunk["choices"]:
            content += choice["delta"].get("content") or ""
            for piece in choice["delta"].get("tool_calls", ()):
                held = calls.setdefault(piece["index"], ["", ""])
                held[0] += piece["function"].get("name") or ""
                held[1] += piece["function"].get("arguments") or ""
            finishes += [choice["finish_reason"]] if choice["finish_reason"] else []
    (finish,) = finishes
    return content, [(name, json.loads(text)) for name, text in calls.values()], finish


@pytest.mark.parametrize("how", [ask, ask_streamed])
@pytest.mark.parametrize(("style", "index"), [(s, i) for s, replies in REPLIES.items() for i in range(len(replies))])
def test_every_answer_is_text_or_calls(doors, style, index, how):
    door, writing = doors[style]
    text, content, calls = REPLIES[style][index]
    got, read, finish = how(door, tools=[TOOL], max_tokens=60, **writing(text))
    assert (got.strip(), read) == (text if content is None else content, calls)
    assert finish == ("tool_calls" if calls else "stop")


@pytest.mark.parametrize("how", [ask, ask_streamed])
def test_text_before_a_call_that_the_worker_fails_is_said_once(doors, how):
    door, writing = doors["tagged"]
    content, calls, finish = how(door, tools=[TOOL], max_tokens=60, **writing(LONG))
    assert content.count("Let me see.") == 1
    assert content.count("done.") == 1
    assert (calls, finish) == ([("add", {"a": 3})], "tool_calls")


@pytest.mark.parametrize("how", [ask, ask_streamed])
def test_the_arguments_of_a_broken_call_are_written_again(doors, how):
    door, writing = doors["tagged"]
    content, calls, finish = how(door, tools=[TOOL], max_tokens=60, **writing(BROKEN, MENDED))
    assert (content, calls, finish) == ("", [("add", {"a": 7})], "tool_calls")


def test_without_tools_a_call_is_text(doors):
    door, writing = doors["tagged"]
    for more in ({}, {"tools": []}, {"tools": [TOOL], "tool_choice": "none"}):
        assert ask(door, **writing(tagged("add", 1)), **more)[:2] == (tagged("add", 1), [])


@pytest.mark.parametrize("choice", ["auto", "required", {"type": "function", "function": {"name": "add"}}])
def test_tool_choice_is_passed_on(doors, choice):
    door, writing = doors["tagged"]
    assert ask(door, tools=[TOOL], tool_choice=choice, max_tokens=40, **writing(tagged("add", 1)))[1] == ONE


def test_a_schema_that_the_worker_cannot_read_costs_only_the_constraint(doors):
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "curious"}}}
    door, writing = doors["tagged"]
    assert ask(door, tools=[tool], **writing(tagged("add", 1)))[1] == ONE


HISTORY = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}},
            {"id": "b", "type": "function", "function": {"name": "add", "arguments": {"a": 2}}},
        ],
    },
    {"role": "tool", "tool_call_id": "a", "content": "1"},
    {"role": "tool", "tool_call_id": "b", "content": "2"},
]


@pytest.mark.parametrize("style", ["tagged", "meta"])
def test_a_history_of_several_calls_is_taken_in_every_style(doors, style):
    door, writing = doors[style]
    assert ask(door, messages=HISTORY, tools=[TOOL], **writing("Just text."))[0] == "Just text."


@pytest.mark.parametrize("how", [ask, ask_streamed])
def test_a_history_with_a_broken_call_of_the_model_is_taken(doors, how):
    broken = {"id": "a", "type": "function", "function": {"name": "add", "arguments": "{not json"}}
    history = [
        *USER,
        {"role": "assistant", "content": "", "tool_calls": [broken]},
        {"role": "tool", "content": "error"},
    ]
    door, writing = doors["tagged"]
    assert how(door, messages=history, tools=[TOOL], **writing("Just text."))[0] == "Just text."


def test_odd_characters_arrive(doors):
    odd = '{"messages": [{"role": "user", "content": "\\ud800 \\u0000 \\u00e9<|eot_id|>"}]}'
    url = f"{doors['tagged'][0].url}/v1/chat/completions"
    assert httpx.post(url, content=odd, timeout=60, trust_env=False).status_code == 200


def test_usage_is_told(doors):
    door, writing = doors["tagged"]
    fields = {"tools": [TOOL], **writing(tagged("nope", 1))}
    usage = post(door, **fields).json()["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 2
    text = post(door, stream=True, stream_options={"include_usage": True}, **fields).text
    chunks = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    assert chunks[-1]["usage"] == usage


def test_a_call_that_the_token_limit_cut_off_is_neither_a_call_nor_text(house, open_door):
    house.current("Wait. ", HALF, ": 1}}</tool_call>", " and", " more")
    door = open_door()
    for how in (ask, ask_streamed):
        said, calls, finish = how(door, tools=[TOOL], max_tokens=2)
        assert (said.strip(), calls, finish) == ("Wait.", [], "length")


def test_the_models_own_parameters_are_the_defaults(house, open_door):
    parameters = {"stop": ["two"], "num_predict": 5, "num_ctx": 9}
    system = "You are the model's own system prompt."
    house.current("one ", "two ", "three", modelfile={"parameters": parameters, "system": system})
    door = open_door()
    assert ask(door)[0] == "one "
    assert ask(door, max_completion_tokens=1) == ("one ", [], "length")
    bare = post(door).json()["usage"]["prompt_tokens"]
    own = post(door, messages=[{"role": "system", "content": "x"}, *USER]).json()["usage"]["prompt_tokens"]
    assert own == bare - len(system) + 1  # a token a letter: the request's own system prompt replaces the model's


def test_without_a_prompt_in_the_manifest_the_worker_alone_answers(house, open_door):
    house.current(tagged("nope", 1), prompt=None)
    door = open_door()
    assert ask(door)[0] == tagged("nope", 1)
    assert ask(door, tools=[TOOL])[:2] == (tagged("nope", 1), [])
