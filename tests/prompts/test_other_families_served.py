"""What we make of a conversation for Mistral and Qwen is, token by token, what llama-server makes of it."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from lunar_tune.bases import load_tokenizer
from lunar_tune.prompts import load_prompt
from lunar_tune.runtimes.llama_server import LlamaServer
from lunar_tune.settings import PromptSettings
from lunar_tune.tokens import NEWEST, first_difference, fit_rows, prompt_ids

pytest.importorskip("xllamacpp")
pytest.importorskip("torch")

BASES = {"mistral": "mistral", "mistral-tekken": "mistral-tekken", "qwen": "qwen2", "qwen3": "qwen3"}


def families():
    """The maker of tiny bases that the tests of export have."""
    path = Path(__file__).parents[1] / "export" / "families.py"
    if "families" not in sys.modules:
        spec = importlib.util.spec_from_file_location("families", path)
        sys.modules["families"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["families"])
    return sys.modules["families"]


@pytest.fixture(scope="module", params=BASES)
def served(request, tmp_path_factory):
    """A prompt, its base's tokenizer, and a server whose GGUF holds its template."""
    from lunar_tune.export.gguf import write_gguf

    folder = tmp_path_factory.mktemp(request.param)
    base = families().make(folder / "base", BASES[request.param])
    prompt = load_prompt(replace(PromptSettings(), family=request.param))
    write_gguf(base, None, folder / "m.gguf", "F16", chat_template=prompt.serving_template, name="m")
    with LlamaServer(folder / "m.gguf", context=256, threads=1) as server:
        yield prompt, load_tokenizer(base), server


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_random_conversations_have_the_same_ids(served, random, data):
    prompt, tokenizer, server = served
    messages, tools = data.draw(random["conversations"](2))
    shaped = prompt.shaped(messages, tools)
    text = prompt.text(messages, tools, "2024-07-26")
    assume(not NEWEST.search(text))
    ours = prompt_ids(messages, tools, "2024-07-26", prompt, tokenizer)
    theirs = server.tokenize(prompt.begin + server.apply_template(*shaped, "26 Jul 2024"))
    assert first_difference(ours, theirs) is None


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_rows_become_tokens_whose_mask_is_the_answers(served, random, data):
    prompt, tokenizer, _ = served
    row = data.draw(random["rows"]())
    rows, verdicts = fit_rows(row, prompt, tokenizer, 100_000)
    wanted = "".join(piece.text for piece in prompt.segments(row) if piece.supervised)
    if not wanted:
        assert {verdict.reason for verdict in verdicts} == {"unsupervised"}
        return
    assert {verdict.reason for verdict in verdicts} <= {"letters", "boundary"}
    for found in rows:
        learnt = [id_ for id_, mask in zip(found.ids, found.mask, strict=True) if mask]
        assert learnt == [i for p in prompt.segments(row) if p.supervised for i in tokenizer.encode(p.text)]


def test_the_server_sees_tools_and_calls_in_the_template(served):
    _, _, server = served
    caps = server._client.get("/props").json()["chat_template_caps"]
    for name in ("supports_tools", "supports_tool_calls", "supports_object_arguments", "supports_system_role"):
        assert caps[name], name
