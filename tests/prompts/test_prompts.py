"""The prompt of the settings: its text, its pieces, its name."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lunar_tune.errors import LunarError
from lunar_tune.prompts import load_prompt
from lunar_tune.prompts.base import spoken_date
from lunar_tune.prompts.llama3 import SPECIAL
from lunar_tune.settings import PromptSettings

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a place.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
NOTE = {"type": "function", "function": {"name": "add_note", "description": "", "parameters": {}}}
ROW = {
    "id": "r",
    "date": "2024-07-06",
    "tools": [WEATHER, NOTE],
    "messages": [
        {"role": "system", "content": " You are Lunar. "},
        {"role": "user", "content": "Weather in Oslo? Note it."},
        {
            "role": "assistant",
            "content": "One moment.",
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Oslo"}}},
                {"id": "b", "type": "function", "function": {"name": "add_note", "arguments": {"n": 1.0}}},
            ],
            "weight": 1,
        },
        {"role": "tool", "tool_call_id": "b", "content": "noted"},
        {"role": "tool", "tool_call_id": "a", "content": '{"t": 3}'},
        {"role": "assistant", "content": "3 degrees.", "weight": 0},
    ],
}
SYSTEM = "<|start_header_id|>system<|end_header_id|>\n\n"
TAGGED = (
    "<|begin_of_text|>"
    + SYSTEM
    + "Cutting Knowledge Date: December 2023\nToday Date: 06 Jul 2024\n\nYou are Lunar.\n\n"
    'You can call these tools. Write every call as <tool_call>{"name": "tool", "arguments": {}}</tool_call>, '
    "each on its own line.\n"
    '{"name": "get_weather", "description": "The weather of a place.", "parameters": {"type": "object", '
    '"properties": {"city": {"type": "string"}}, "required": ["city"]}}\n'
    '{"name": "add_note", "parameters": {}}<|eot_id|>'
    "<|start_header_id|>user<|end_header_id|>\n\nWeather in Oslo? Note it.<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    'One moment.\n<tool_call>{"name": "get_weather", "arguments": {"city": "Oslo"}}</tool_call>\n'
    '<tool_call>{"name": "add_note", "arguments": {"n": 1.0}}</tool_call><|eot_id|>',
    "<|start_header_id|>ipython<|end_header_id|>\n\nnoted<|eot_id|>"
    '<|start_header_id|>ipython<|end_header_id|>\n\n{"t": 3}<|eot_id|>'
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "3 degrees.<|eot_id|>",
)


def test_the_tagged_style_writes_this_text():
    pieces = load_prompt(PromptSettings()).segments(ROW)
    assert tuple(piece.text for piece in pieces) == TAGGED
    assert [(piece.turn, piece.supervised) for piece in pieces] == [(None, False), (2, True), (None, False), (5, False)]


def test_the_meta_style_makes_two_turns_of_two_calls():
    pieces = load_prompt(PromptSettings(style="meta")).segments(ROW)
    assert [(piece.turn, piece.supervised, piece.text) for piece in pieces[1:]] == [
        (2, True, 'One moment.\n{"name": "get_weather", "parameters": {"city": "Oslo"}}<|eot_id|>'),
        (
            None,
            False,
            '<|start_header_id|>ipython<|end_header_id|>\n\n{"t": 3}<|eot_id|>'
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        (2, True, '{"name": "add_note", "parameters": {"n": 1.0}}<|eot_id|>'),
        (
            None,
            False,
            '<|start_header_id|>ipython<|end_header_id|>\n\n"noted"<|eot_id|>'
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        (5, False, "3 degrees.<|eot_id|>"),
    ]


def test_without_tools_both_styles_are_the_same_text():
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": "a"},
    ]
    tagged, meta = (
        load_prompt(PromptSettings(style=style)).text(messages, [], "2024-07-06") for style in ("tagged", "meta")
    )
    assert tagged == meta
    assert tagged.startswith(
        "<|begin_of_text|>" + SYSTEM + "Cutting Knowledge Date: December 2023\nToday Date: 06 Jul 2024\n\ns<|eot_id|>"
    )


@pytest.mark.parametrize("key", ["args", "parameters"])
def test_the_key_of_arguments_is_a_setting(key):
    prompt = load_prompt(PromptSettings(call_key=key))
    assert f'{{"name": "get_weather", "{key}": {{"city": "Oslo"}}}}' in prompt.segments(ROW)[1].text
    assert f'"{key}": {{{{ json $call.Function.Arguments }}}}' in prompt.go_template
    assert '"arguments"' not in prompt.serving_template
    assert prompt.version != load_prompt(PromptSettings()).version


def test_a_version_names_what_shapes_the_text():
    versions = {
        load_prompt(PromptSettings(style=style, call_key=key)).version
        for style, key in [("tagged", "arguments"), ("tagged", "args"), ("meta", "arguments")]
    }
    assert len(versions) == 3
    assert load_prompt(PromptSettings()).version == load_prompt(PromptSettings(family="llama3"), "other").version


def test_an_unknown_model_type_is_told_the_families():
    with pytest.raises(LunarError, match="llama3") as told:
        load_prompt(PromptSettings(), "gemma2")
    assert "gemma2" in str(told.value)


@pytest.mark.parametrize(("iso", "spoken"), [("2024-07-26", "26 Jul 2024"), ("0999-12-01", "01 Dec 0999")])
def test_dates_are_english(iso, spoken):
    assert spoken_date(iso) == spoken


def test_the_served_template_is_the_trained_one_without_marks(prompt):
    from lunar_tune.prompts.jinja import pieces

    assert "generation %}" in prompt.template
    assert "generation %}" not in prompt.serving_template
    shape = prompt.normalise(ROW["messages"], ROW["tools"])
    served = "".join(pieces(prompt.serving_template, prompt._variables(shape, ROW["date"])))
    assert served == "".join(piece.text for piece in prompt.segments(ROW))


def test_templates_and_code_know_the_same_special_tokens(prompt):
    line = next(line for line in prompt.template.splitlines() if "set special" in line)
    assert tuple(json.loads(line[line.index("[") : line.rindex("]") + 1])) == SPECIAL


def test_go_templates_have_what_ollama_looks_for(prompt):
    for needed in (".System", ".Tools", ".ToolCalls", 'eq .Role "tool"', "currentDate"):
        assert needed in prompt.go_template
    assert "begin_of_text" not in prompt.go_template  # the server adds it


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_special_tokens_in_texts_become_text(prompt, tokenizer, random, data):
    messages, tools = data.draw(random["conversations"]())
    ids = tokenizer.encode(prompt.text(messages, tools, "2024-07-26"))
    found = tokenizer.decode([id_ for id_ in ids if id_ in tokenizer.special_ids])
    turns = len(prompt.normalise(messages, tools).messages)
    own_system = messages[0]["role"] != "system"
    own_user = prompt.style == "meta" and tools and messages[0 if own_system else 1]["role"] != "user"
    whole = "<|start_header_id|><|end_header_id|><|eot_id|>" * (turns + own_system + bool(own_user))
    assert found == "<|begin_of_text|>" + whole + "<|start_header_id|><|end_header_id|>"


def test_special_tokens_in_texts_are_counted(prompt):
    call = {"function": {"name": "f", "arguments": {"<|eot_id|>": ["<|python_tag|>", "<|reserved_special_token_7|>"]}}}
    messages = [
        {"role": "user", "content": "<|eot_id|><|eot_id|> <| eot_id|> <|unknown|>"},
        {"role": "assistant", "content": "<|end_header_id|>", "tool_calls": [call]},
    ]
    tools = [{"type": "function", "function": {"name": "f", "description": "<|begin_of_text|>", "parameters": {}}}]
    assert prompt.neutralised(messages, tools) == 7
    text = prompt.text(messages, tools, "2024-07-26")
    assert '{"<\\u007ceot_id|>": ["<\\u007cpython_tag|>", "<\\u007creserved_special_token_7|>"]}' in text
    assert "<| eot_id|><| eot_id|> <| eot_id|> <|unknown|>" in text


def row_saying(content="", arguments=None, tools=(WEATHER,), **weight):
    call = {"function": {"name": "get_weather", "arguments": arguments}}
    turn = {
        "role": "assistant",
        "content": content,
        **({"tool_calls": [call]} if arguments is not None else {}),
        **weight,
    }
    return {"id": "r", "date": "2024-07-26", "messages": [{"role": "user", "content": "u"}, turn], "tools": list(tools)}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (row_saying(arguments={"n": 3.14159265}), "differs"),
        (row_saying(arguments={"n": 2**64}), None),  # the same number, written as a float
        (row_saying(arguments={"n": 2**63}), "differs"),
        (row_saying(arguments={"n": [59.913868, -0.5, 10**15, 1e22]}), None),
        (row_saying(arguments={"x": "<|eot_id|>\u2028\x00 é"}), None),
        (row_saying(arguments=[1]), "unreadable"),
        (row_saying(arguments={}, tools=[NOTE]), "unreadable"),
        (row_saying(arguments={}, tools=()), "unreadable"),
        (row_saying(arguments={}, tools=(), weight=0), None),
        (row_saying("text with <|eot_id|>"), None),
        (row_saying(""), None),
    ],
)
def test_turns_that_cannot_be_written_faithfully_are_named(prompt, row, reason):
    verdicts = prompt.unfaithful(row)
    assert [(v.reason, v.message, v.step) for v in verdicts] == ([(reason, 1, "tokens")] if reason else [])


def test_text_that_looks_like_a_call_is_not_taught():
    tagged, meta = (load_prompt(PromptSettings(style=style)) for style in ("tagged", "meta"))
    assert tagged.unfaithful(row_saying('<tool_call>{"name": "get_weather", "arguments": {}}</tool_call>'))
    assert meta.unfaithful(row_saying('{"name": "get_weather", "parameters": {}}'))
    assert not meta.unfaithful(row_saying('<tool_call>{"name": "get_weather", "arguments": {}}</tool_call>'))
