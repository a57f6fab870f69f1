"""What we make of a conversation is, token by token, what llama-server makes of it."""

import json

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from lunar_tune.prompts import load_prompt
from lunar_tune.runtimes.llama_server import LlamaServer
from lunar_tune.settings import PromptSettings
from lunar_tune.tokens import NEWEST, first_difference, prompt_ids

pytest.importorskip("xllamacpp")

HARD_NUMBERS = [
    3.14159265358979, 1.0, -0.0, 0.1, 1e22, 1e300, 5e-324, 1e-7, 123456789.123456789, 10**6, 10**22, 2**63, 2**64 - 1,
    2**64, -(2**63), -(2**63) - 1,
]  # fmt: skip


@pytest.fixture(scope="module", params=["tagged", "meta"])
def served(request, write_gguf, tmp_path_factory):
    """A prompt, and a server whose GGUF holds its template."""
    prompt = load_prompt(PromptSettings(style=request.param))
    gguf = write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", prompt.serving_template)
    with LlamaServer(gguf, context=256, threads=1) as server:
        yield prompt, server


def served_ids(server, messages, tools):
    return server.tokenize("<|begin_of_text|>" + server.apply_template(messages, tools, "26 Jul 2024"))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_random_conversations_have_the_same_ids(served, tokenizer, random, data):
    prompt, server = served
    messages, tools = data.draw(random["conversations"](3 if prompt.style == "tagged" else 1))
    assume(not NEWEST.search(prompt.text(messages, tools, "2024-07-26")))
    ours = prompt_ids(messages, tools, "2024-07-26", prompt, tokenizer)
    assert first_difference(ours, served_ids(server, messages, tools)) is None


@pytest.mark.parametrize("as_text", [False, True])
def test_numbers_are_written_as_the_server_writes_them(served, tokenizer, as_text):
    prompt, server = served
    arguments = {"numbers": HARD_NUMBERS, "nested": {"deep": [1.5, [2.0, {}], [], True, None]}}
    tool = {
        "name": "f",
        "description": "d",
        "parameters": {"type": "object", "properties": {}, "default": HARD_NUMBERS},
    }
    call = {"name": "f", "arguments": json.dumps(arguments) if as_text else arguments}
    messages = [
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "1", "type": "function", "function": call}]},
        {"role": "tool", "tool_call_id": "1", "content": json.dumps(HARD_NUMBERS)},
    ]
    tools = [{"type": "function", "function": tool}]
    assert prompt_ids(messages, tools, "2024-07-26", prompt, tokenizer) == served_ids(server, messages, tools)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_normalised_parallel_calls_have_the_same_ids(served, tokenizer, random, data):
    prompt, server = served
    messages, tools = data.draw(random["conversations"](3))
    assume(not NEWEST.search(prompt.text(messages, tools, "2024-07-26")))
    shape = prompt.normalise(messages, tools)
    ours = prompt_ids(messages, tools, "2024-07-26", prompt, tokenizer)
    assert ours == served_ids(server, shape.messages, shape.tools)


def test_the_date_of_a_request_without_one_is_the_server_s_today(served):
    _, server = served
    answer = server._ask("/apply-template", {"messages": [{"role": "user", "content": "u"}]})["prompt"]
    today = server._ask("/apply-template", {"messages": [{"role": "user", "content": "strftime_now"}]})["prompt"]
    line = next(line for line in answer.splitlines() if line.startswith("Today Date: "))
    assert line in today
    assert line != "Today Date: 26 Jul 2024"


def test_the_server_sees_tools_and_calls_in_the_template(served):
    _, server = served
    caps = server._client.get("/props").json()["chat_template_caps"]
    assert caps["supports_tools"]
    assert caps["supports_tool_calls"]
    assert caps["supports_object_arguments"]
    assert caps["supports_system_role"]


@pytest.mark.parametrize("served", ["tagged"], indirect=True)
def test_words_of_every_script_are_split_as_the_server_splits_them(served, tokenizer):
    _, server = served
    for start in (*range(0x21, 0x1400, 0x200), 0x1E00, 0x2000, 0xA700, 0x10500, 0x10D00, 0x1F300):
        known = [c for c in map(chr, range(start, start + 0x200)) if not NEWEST.match(c)]
        text = "\n\n".join(f"a{c}b {c}1{c} {c}{c}\n{c}'{c}\n\nx {c}\nx" for c in known)
        assert tokenizer.encode(text) == server.tokenize(text), hex(start)


@pytest.mark.parametrize("served", ["tagged"], indirect=True)
def test_the_characters_named_as_unequal_are_so(served, tokenizer):
    _, server = served
    for character in "\u1c89\ua7cb\U000105c0\U00010d40\U0001e5fa":
        assert NEWEST.match(character)
        text = f"a {character}{character}\n\nx 1{character}"
        assert tokenizer.encode(text) != server.tokenize(text)
