"""What a model wrote is read as what it meant, and never raises."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar_tune.episodes import ToolCall
from lunar_tune.prompts import load_prompt
from lunar_tune.settings import PromptSettings

TAGGED, META = (load_prompt(PromptSettings(style=style)) for style in ("tagged", "meta"))
TOOLS = [{"type": "function", "function": {"name": name}} for name in ("f", "g")]
F, G = (
    '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>',
    '<tool_call>{"name": "g", "arguments": {}}</tool_call>',
)
JSON_F = '{"name": "f", "parameters": {"a": 1}}'
CALL_F, CALL_G = ToolCall(name="f", arguments={"a": 1}), ToolCall(name="g", arguments={})


@pytest.mark.parametrize(
    ("text", "content", "calls"),
    [
        ("", "", []),
        (" hello\u00a0 ", "hello\u00a0", []),
        (F, "", [CALL_F]),
        (f"Sure.\n{F}\n{G}\n", "Sure.", [CALL_F, CALL_G]),
        (F + G, "", [CALL_F, CALL_G]),
        (F.removesuffix("</tool_call>"), "", [CALL_F]),
        (f"{F}\n{G}".removesuffix("</tool_call>"), "", [CALL_F, CALL_G]),
        (F.replace("arguments", "args"), "", [CALL_F]),
        (F.replace("arguments", "parameters"), "", [CALL_F]),
        (F.replace("{", " {\n ").replace("}", "\t} "), "", [CALL_F]),
        (f"before {F} after", "before\nafter", [CALL_F]),
        ('{"name": "f", "arguments": {}}', '{"name": "f", "arguments": {}}', []),
    ],
)
def test_tagged(text, content, calls):
    reply = TAGGED.parse(text, TOOLS)
    assert (reply.content, list(reply.tool_calls), reply.problem) == (content, calls, None)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (F.replace('"f"', '"h"'), "not offered"),
        (F.replace("}}", "}"), "broken JSON"),
        (F.replace('{"a": 1}', "[1]"), "no object"),
        (F.replace('{"a": 1}', "NaN"), "broken JSON"),
        ('<tool_call>{"arguments": {}}</tool_call>', "without a name"),
        ('<tool_call>{"name": "f"}</tool_call>', "without arguments"),
        ("<tool_call>f()</tool_call>", "broken JSON"),
        ("<tool_call>", "broken JSON"),
        (f"{F}<tool_call>", "broken JSON"),
        (F.replace("</tool_call>", " and so on"), "inside a call"),
        ("<tool_call>" + "[" * 100_000, "broken JSON"),
    ],
)
def test_tagged_problems_keep_the_text(text, problem):
    reply = TAGGED.parse(text, TOOLS)
    assert reply.content == text.strip()
    assert not reply.tool_calls
    assert problem in (reply.problem or "")


@pytest.mark.parametrize(
    ("text", "content", "calls", "problem"),
    [
        ("hello", "hello", [], None),
        (JSON_F, "", [CALL_F], None),
        ("<|python_tag|>" + JSON_F, "", [CALL_F], None),
        (JSON_F.replace("parameters", "arguments"), "", [CALL_F], None),
        (f"Sure.\n\n{JSON_F} ", "Sure.", [CALL_F], None),
        ('{"a": 1}', '{"a": 1}', [], None),
        ('{"name": "Ada"}', '{"name": "Ada"}', [], None),
        ("if (x) {\n}", "if (x) {\n}", [], None),
        (JSON_F.replace('"f"', '"h"'), JSON_F.replace('"f"', '"h"'), [], "not offered"),
        (f"{JSON_F}\n{JSON_F}", f"{JSON_F}\n{JSON_F}", [], "after a call"),
        (JSON_F[:-1], JSON_F[:-1], [], "broken JSON"),
        (JSON_F + " ok", JSON_F + " ok", [], "after a call"),
    ],
)
def test_meta(text, content, calls, problem):
    reply = META.parse(text, TOOLS)
    assert (reply.content, list(reply.tool_calls)) == (content, calls)
    assert (problem or "") in (reply.problem or "")
    assert (reply.problem is None) == (problem is None)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_calls_survive_being_written_and_read(prompt, random, data):
    most = 3 if prompt.style == "tagged" else 1
    arguments = data.draw(st.lists(random["objects"], min_size=1, max_size=most))
    content = data.draw(st.sampled_from(["", "Sure.", "Two\n\nlines", "{", "é 😀"]))
    calls = [{"type": "function", "function": {"name": "f", "arguments": value}} for value in arguments]
    turn = {"role": "assistant", "content": content, "tool_calls": calls}
    row = {"id": "r", "date": "2024-07-26", "tools": TOOLS, "messages": [{"role": "user", "content": "u"}, turn]}
    reply = prompt.parse(prompt.segments(row)[1].text.removesuffix("<|eot_id|>"), TOOLS)
    if not prompt.unfaithful(row):
        assert reply.content == content
        assert [call.arguments for call in reply.tool_calls] == arguments
    else:  # only a number can be written otherwise than it was
        assert json.loads(json.dumps(arguments), parse_int=lambda _: 0, parse_float=lambda _: 0) == json.loads(
            json.dumps([call.arguments for call in reply.tool_calls]), parse_int=lambda _: 0, parse_float=lambda _: 0
        )


garbage = st.lists(
    st.sampled_from(
        [F, G, JSON_F, "<tool_call>", "</tool_call>", "{", "}", '"', '{"name": ', '"f"', "[", "\n", " ", "x"]
    )
    | st.text(max_size=5),
    max_size=8,
).map("".join)


@settings(max_examples=100, deadline=None)
@given(text=garbage, tools=st.sampled_from([TOOLS, [], [{}], [{"function": None}]]))
def test_garbage_never_raises(prompt, text, tools):
    reply = prompt.parse(text, tools)
    assert not (reply.problem and reply.tool_calls)
    assert all(call.name in ("f", "g") and isinstance(call.arguments, dict) for call in reply.tool_calls)
