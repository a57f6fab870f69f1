"""The meta style is Meta's own template wherever that template can say the conversation."""

import importlib.util
import json
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from lunar_tune.prompts import load_prompt
from lunar_tune.settings import PromptSettings

META = load_prompt(PromptSettings(style="meta"))
SPACE = " \t\n\v\f\r"
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<"), max_size=20).filter(
    lambda text: text.strip() == text.strip(SPACE)  # jinja2 trims Unicode's spaces too, the server does not
)
plain_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | words | st.sampled_from([0.5, 12.25, -3.125]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
arguments = st.dictionaries(words, plain_values, max_size=3)
names = st.from_regex(r"[a-zA-Z0-9_-]{1,12}", fullmatch=True)


def looks_serialised(text):
    edge = text.strip(SPACE)
    return len(edge) > 1 and edge[0] + edge[-1] in ("{}", "[]", '""')


def are_parts(value):
    return isinstance(value, list) and value and all(isinstance(v, dict) and "type" in v for v in value)


results = words.filter(lambda text: not looks_serialised(text)) | plain_values.filter(
    lambda value: isinstance(value, (dict, list)) and not are_parts(value)
)
calling = st.fixed_dictionaries({"name": names, "arguments": arguments}).map(
    lambda function: {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}
)
exchange = st.one_of(
    st.tuples(
        words.map(lambda t: {"role": "user", "content": t}), words.map(lambda t: {"role": "assistant", "content": t})
    ),
    st.tuples(
        words.map(lambda text: {"role": "user", "content": text}),
        calling,
        results.map(lambda result: {"role": "tool", "content": result}),
        words.map(lambda text: {"role": "assistant", "content": text}),
    ),
)
tools = st.none() | st.lists(
    st.tuples(names, words, arguments.filter(bool)).map(
        lambda tool: {
            "type": "function",
            "function": {"name": tool[0], "description": tool[1], "parameters": tool[2]},
        }
    ),
    min_size=1,
    max_size=2,
)


@cache
def oracle():
    """Meta's template as transformers would run it, from the copy in the TRL package."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    spec = importlib.util.find_spec("trl")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("Meta's template comes with the package trl (pip install --no-deps trl)")
    path = Path(spec.submodule_search_locations[0]) / "chat_templates" / "llama3_2.jinja"

    def tojson(value, indent=None):
        return json.dumps(value, ensure_ascii=False, indent=indent)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = tojson
    return environment.from_string(path.read_text(encoding="utf-8"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(system=st.none() | words, turns=st.lists(exchange, max_size=3), last=words, tools=tools)
def test_it_writes_the_same_bytes(system, turns, last, tools):
    messages = [{"role": "system", "content": system}] if system is not None else []
    messages += [message for turn in turns for message in turn] + [{"role": "user", "content": last}]
    theirs = oracle().render(
        messages=messages,
        tools=tools,
        bos_token="<|begin_of_text|>",
        date_string="26 Jul 2024",
        add_generation_prompt=True,
    )
    assume(not any("<|" in m["content"] for m in messages if isinstance(m["content"], str)))
    assert META.text(messages, tools or [], "2024-07-26") == theirs


def test_a_serialised_result_is_not_quoted_again():
    messages = [{"role": "user", "content": "u"}, {"role": "tool", "content": '{"t": 3}'}]
    assert 'ipython<|end_header_id|>\n\n{"t": 3}<|eot_id|>' in META.text(messages, [], "2024-07-26")


def test_another_result_is_quoted_as_meta_quotes_it():
    messages = [{"role": "user", "content": "u"}, {"role": "tool", "content": 'a "b"'}]
    assert 'ipython<|end_header_id|>\n\n"a \\"b\\""<|eot_id|>' in META.text(messages, [], "2024-07-26")
