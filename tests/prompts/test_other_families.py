"""Mistral and Qwen: the documented texts, answers that read back as themselves, and special tokens that stay text."""

import importlib
import importlib.util
import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from lunar_tune.errors import BaseError
from lunar_tune.prompts import load_prompt, prompt_of
from lunar_tune.settings import PromptSettings

mistral, qwen = (importlib.import_module(f"lunar_tune.prompts.{name}") for name in ("mistral", "qwen"))
MISTRALS, QWENS = tuple(mistral.KINDS), tuple(qwen.KINDS)
DATE = "2024-07-26"
CALCULATOR = {
    "type": "function",
    "function": {
        "name": "calculator",
        "description": "Performs mathematical calculations",
        "parameters": {
            "type": "object",
            "properties": {
                "operation": {"type": "string", "description": "The operation to be done in python format."}
            },
            "required": ["operation"],
        },
    },
}


def made(family, **more):
    return load_prompt(replace(PromptSettings(), family=family, **more))


@pytest.fixture(scope="module", params=[*MISTRALS, *QWENS])
def prompt(request):
    return made(request.param)


def call(name="calculator", arguments=None, id="VvvODy9mT"):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments or {"operation": "2+2"}}}


def said(role, content="", **more):
    return {"role": role, "content": content, **more}


SUM = [
    said("user", "What's 2+2?"),
    said("assistant", "", tool_calls=[call()]),
    said("tool", '{"sum": 4}', tool_call_id="VvvODy9mT"),
    said("assistant", "2+2=4"),
]


def row(messages, tools=(CALCULATOR,)):
    return {"id": "r", "date": DATE, "messages": list(messages), "tools": list(tools)}


def written(prompt, messages, tools=(CALCULATOR,)):
    return "".join(segment.text for segment in prompt.segments(row(messages, tools)))


# -- the documented texts --


@pytest.mark.parametrize(("family", "space"), [("mistral", " "), ("mistral-tekken", "")])
def test_mistral_writes_the_text_of_its_documentation(family, space):
    """The example of mistralai/cookbook, tokenization/tool_calling.md (v3), with our ids and an object as result."""
    tools = json.dumps([CALCULATOR])
    assert written(made(family), SUM) == (
        f"<s>[AVAILABLE_TOOLS]{space}{tools}[/AVAILABLE_TOOLS][INST]{space}What's 2+2?[/INST]"
        f'[TOOL_CALLS]{space}[{{"name": "calculator", "arguments": {{"operation": "2+2"}}, "id": "000000001"}}]</s>'
        f'[TOOL_RESULTS]{space}{{"content": {{"sum": 4}}, "call_id": "000000001"}}[/TOOL_RESULTS]{space}2+2=4</s>'
    )


@pytest.mark.parametrize(
    ("family", "text"),
    [
        ("mistral", "<s>[INST] s\n\nHow are you?[/INST] Fine, and you?</s>[INST] Great![/INST] Glad!</s>"),
        ("mistral-tekken", "<s>[INST]s\n\nHow are you?[/INST]Fine, and you?</s>[INST]Great![/INST]Glad!</s>"),
    ],
)  # fmt: skip
def test_mistral_chats_as_documented(family, text):
    chat = [("system", "s"), ("user", "How are you?"), ("assistant", "Fine, and you?"),
            ("user", "Great!"), ("assistant", "Glad!")]  # fmt: skip
    assert written(made(family), [said(*turn) for turn in chat], ()) == text


@cache
def published(name):
    """Qwen's published template, from the copy in the TRL package, run as transformers would."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    spec = importlib.util.find_spec("trl")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("Qwen's templates come with the package trl (pip install --no-deps trl)")
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    path = Path(spec.submodule_search_locations[0]) / "chat_templates" / name
    return environment.from_string(path.read_text(encoding="utf-8"))


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<"), max_size=12)
arguments = st.dictionaries(words, words | st.integers(-9, 9) | st.booleans() | st.lists(words, max_size=2), max_size=2)
exchanges = st.one_of(
    st.tuples(words, words).map(lambda two: [said("user", two[0]), said("assistant", two[1].strip())]),
    st.tuples(words, st.lists(arguments, min_size=1, max_size=2), words).map(
        lambda three: [
            said("user", three[0]),
            said("assistant", "", tool_calls=[call(arguments=a, id=str(n)) for n, a in enumerate(three[1])]),
            *(said("tool", "x" + three[2], tool_call_id=str(n)) for n, _ in enumerate(three[1])),
            said("assistant", "ok"),
        ]
    ),
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(head=st.none() | words.filter(bool), turns=st.lists(exchanges, max_size=3), tools=st.booleans(), data=st.data())
def test_qwen_writes_the_bytes_of_its_published_template(head, turns, tools, data):
    name, file, options = data.draw(
        st.sampled_from(
            [
                ("qwen", "qwen2_5.jinja", {}),
                ("qwen3", "qwen3.jinja", {"enable_thinking": False}),
                ("qwen3-instruct", "qwen3_instruct_2507.jinja", {}),
            ]
        )
    )
    messages = [said("system", head)] if head else []
    messages += [message for turn in turns for message in turn] + [said("user", "last")]
    assume(all(m["content"].strip() == m["content"].strip(" \t\n\v\f\r") for m in messages if m["role"] == "assistant"))
    tools = [CALCULATOR] if tools else []
    theirs = published(file).render(messages=messages, tools=tools, add_generation_prompt=True, **options)
    ours = made(name).text(messages, tools, DATE)
    # Qwen3 drops the empty thought of earlier answers; here it stays, so that what was trained is what is served
    assert ours.replace(qwen.NO_THOUGHT, "") == theirs.replace(qwen.NO_THOUGHT, "")
    assert ours.count(qwen.NO_THOUGHT) == (
        0 if name != "qwen3" else 1 + sum(m["role"] == "assistant" for m in messages)
    )
    assert ours.endswith(theirs[-30:])


# -- segments --


def test_answers_are_supervised_to_their_end_and_nothing_else(prompt):
    messages = [said("system", "s"), *SUM[:3], {**SUM[3], "weight": 0}]
    pieces = prompt.segments(row(messages))
    assert [(p.turn, p.supervised) for p in pieces if p.turn is not None] == [(2, True), (4, False)]
    for piece in pieces:
        assert piece.text.endswith(prompt.end) == (piece.turn is not None)
        assert "2+2?" not in piece.text or piece.turn is None


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_what_stands_before_an_answer_is_what_is_served(prompt, random, data):
    """The ids before every answer are those of the request that asked for it, at any place in the conversation."""
    drawn = data.draw(random["rows"]())
    before = ""
    for piece in prompt.segments(drawn):
        if piece.turn is not None:
            assert before == prompt.text(drawn["messages"][: piece.turn], drawn["tools"], DATE)
        before += piece.text


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_calls_survive_being_written_and_read(prompt, random, data):
    given_arguments = data.draw(st.lists(random["objects"], min_size=1, max_size=3))
    content = data.draw(st.sampled_from(["", "Sure.", "Two\n\nlines", "{", "é 😀", "a [INST] b <|im_end|> </s>"]))
    calls = [call(arguments=value or {"a": 1}, id=str(n)) for n, value in enumerate(given_arguments)]
    turn = said("assistant", content, tool_calls=calls)
    reply = prompt.parse(prompt.segments(row([said("user", "u"), turn]))[1].text.removesuffix(prompt.end), [CALCULATOR])
    assert reply.problem is None
    if not prompt.unfaithful(row([said("user", "u"), turn])):
        assert reply.content == prompt.plain(content)[0]
        assert [c.arguments for c in reply.tool_calls] == [c["function"]["arguments"] for c in calls]


@pytest.mark.parametrize("style_of_text", ["calls", "json"])
def test_text_that_looks_like_a_call_is_not_taught(prompt, style_of_text):
    text = prompt.segments(row(SUM))[1].text.removesuffix(prompt.end)
    turn = said("assistant", text if style_of_text == "calls" else '{"name": "calculator", "arguments": {}}')
    neutral = prompt.family in MISTRALS or style_of_text == "json"  # [TOOL_CALLS] becomes text
    assert bool(prompt.unfaithful(row([said("user", "u"), turn]))) != neutral


# -- reading --

ONE = '{"name": "calculator", "arguments": {"operation": "2+2"}}'


@pytest.mark.parametrize("family", MISTRALS)
@pytest.mark.parametrize(
    ("text", "content", "calls", "problem"),
    [
        (" hello ", "hello", 0, ""),
        (f"[TOOL_CALLS] [{ONE}]", "", 1, ""),
        (f'[TOOL_CALLS][{ONE[:-1]}, "id": "abc"}}, {ONE}]', "", 2, ""),
        (f" Sure.[TOOL_CALLS] [{ONE}] ", "Sure.", 1, ""),
        (f"[TOOL_CALLS] {ONE}", "", 1, ""),
        (f"[TOOL_CALLS] [{ONE}", f"[TOOL_CALLS] [{ONE}", 0, "broken JSON"),
        (f"[TOOL_CALLS] [{ONE}] and", f"[TOOL_CALLS] [{ONE}] and", 0, "after a call"),
        (
            '[TOOL_CALLS] [{"name": "f", "arguments": {}}]',
            '[TOOL_CALLS] [{"name": "f", "arguments": {}}]',
            0,
            "offered",
        ),
        ("[TOOL_CALLS] []", "[TOOL_CALLS] []", 0, "without a name"),
        ("[TOOL_CALLS] [[", "[TOOL_CALLS] [[", 0, "broken JSON"),
        (f"[{ONE}]", f"[{ONE}]", 0, ""),
    ],
)
def test_mistrals_answers_are_read(family, text, content, calls, problem):
    reply = made(family).parse(text, [CALCULATOR])
    assert (reply.content, len(reply.tool_calls)) == (content, calls)
    assert problem in (reply.problem or "")
    assert bool(reply.problem) == bool(problem)


def test_a_thought_before_an_answer_is_neither_taught_nor_read():
    prompt = made("qwen3")
    thinking = f"<think>\nhm\n</think>\n\nSure.\n<tool_call>\n{ONE}\n</tool_call>"
    reply = prompt.parse(thinking, [CALCULATOR])
    assert (reply.content, len(reply.tool_calls), reply.problem) == ("Sure.", 1, None)
    turn = said("assistant", "<think>\nhm\n</think>\n\nSure.")
    assert prompt.segments(row([said("user", "u"), turn]))[1].text == "Sure.<|im_end|>"
    assert prompt.unfaithful(row([said("user", "u"), turn])) == []
    assert [c.what for c in prompt.normalise([turn], []).changes] == ["content"]


# -- special tokens, ids, names --


def test_special_tokens_in_texts_become_text_and_are_counted(prompt):
    own = ["<|im_end|>", "<|endoftext|>"] if prompt.family in QWENS else ["[INST]", "</s>", "[control_8]"]
    messages = [
        said("system", own[0]),
        said("user", "".join(own)),
        said("assistant", own[1], tool_calls=[call(arguments={own[0]: [own[1]]})]),
        said("tool", own[1], tool_call_id="VvvODy9mT"),
    ]
    tool = {"type": "function", "function": {**CALCULATOR["function"], "description": own[0]}}
    assert prompt.neutralised(messages, [tool]) == 6 + len(own)
    clean = [said("system"), said("user"), said("assistant", tool_calls=[call()]), said("tool")]
    clean = [{**m, "content": "x"} for m in clean]
    ours, theirs = prompt.text(messages, [tool], DATE), prompt.text(clean, [CALCULATOR], DATE)
    for token in own:
        assert ours.count(token) == theirs.count(token)
    read = prompt.parse(prompt.segments(row(messages, [tool]))[1].text.removesuffix(prompt.end), [tool])
    assert read.tool_calls[0].arguments == {own[0]: [own[1]]}


def test_templates_and_code_know_the_same_special_tokens():
    lines = {line.split()[2]: line for line in made("mistral").template.splitlines() if "set " in line and "[" in line}
    for name, values in (("squares", mistral.SQUARES), ("angles", mistral.ANGLES)):
        line = lines[name]
        assert tuple(json.loads(line[line.index("[") : line.rindex("]") + 1])) == values
    line = next(line for line in made("qwen").template.splitlines() if "set special" in line)
    assert tuple(json.loads(line[line.index("[") : line.rindex("]") + 1])) == qwen.SPECIAL


def test_mistrals_results_find_their_call_by_id_else_by_order():
    calls = [call(id="a"), call(id="b")]
    by_id = [said("tool", "1", tool_call_id="b"), said("tool", "2", tool_call_id="a")]
    by_order = [said("tool", "1"), said("tool", "2")]
    again = [said("assistant", tool_calls=[call(id="c")]), said("tool", "3", tool_call_id="c")]
    for results, ids in ((by_id, [2, 1, 3]), (by_order, [1, 2, 3]), (by_id[:1], [2, 3])):
        text = made("mistral").text(
            [said("user", "u"), said("assistant", tool_calls=calls), *results, *again], [], DATE
        )
        assert [int(part[:9]) for part in text.split('"call_id": "')[1:]] == ids


def test_go_templates_have_what_ollama_looks_for(prompt):
    for needed in (".System", ".Tools", ".ToolCalls", 'eq .Role "tool"'):
        assert needed in prompt.go_template
    for never in ("<s>", "SPACE", "BEFORE_ANSWER", "USUAL_SYSTEM", "<|endoftext|>"):
        assert never not in prompt.go_template


def test_every_kind_has_a_version_of_its_own():
    versions = {made(kind).version for kind in (*MISTRALS, *QWENS)} | {made("qwen", call_key="args").version}
    assert len(versions) == len(MISTRALS) + len(QWENS) + 1


def test_a_style_of_llama_3_is_refused():
    with pytest.raises(BaseError, match="no style 'meta'"):
        made("qwen", style="meta")


# -- which family a base is of --

LLAMA = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
CHATML = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
INST = ["<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[TOOL_CALLS]", "[TOOL_RESULTS]"]


@pytest.mark.parametrize(
    ("model_type", "tokens", "template", "family"),
    [
        ("llama", LLAMA, "", "llama3"),
        ("llama", LLAMA + CHATML, "{{ '<|im_start|>' }}", "qwen"),
        ("llama", CHATML, "{{ '<|im_start|>' }}", "qwen"),
        ("llama", INST, "[INST]", "mistral"),
        ("mistral", INST, "", "mistral"),
        ("qwen2", CHATML, "<|im_start|>", "qwen"),
        ("qwen3", CHATML, "", "qwen3"),
        ("qwen3", CHATML, "<|im_start|> enable_thinking <think>", "qwen3"),
        ("qwen3", CHATML, "<|im_start|>", "qwen3-instruct"),
        ("llama", LLAMA + CHATML, "", None),
        ("llama", LLAMA, "{{ '<|user|>' }}", None),
        ("llama", ["<s>", "</s>"], "", None),
        ("mistral", ["<s>", "</s>", "[INST]", "[/INST]"], "", None),
    ],
)
def test_special_tokens_tell_the_family(tmp_path, model_type, tokens, template, family):
    added = [{"id": n, "content": token, "special": True} for n, token in enumerate(tokens)]
    content = {"added_tokens": added, "model": {"type": "BPE", "byte_fallback": True}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": template} if template else {}))
    if family is None:
        with pytest.raises(BaseError, match="no prompt family"):
            prompt_of(PromptSettings(), tmp_path, model_type)
    else:
        assert prompt_of(PromptSettings(), tmp_path, model_type).family == family
    named = prompt_of(replace(PromptSettings(), family="llama3"), tmp_path, model_type)
    assert named.family == "llama3"


def test_tekken_is_told_by_its_tokenizer(tmp_path):
    added = [{"id": n, "content": token, "special": True} for n, token in enumerate(INST)]
    (tmp_path / "tokenizer.json").write_text(json.dumps({"added_tokens": added, "model": {"type": "BPE"}}))
    (tmp_path / "chat_template.jinja").write_text("[INST]")
    assert prompt_of(PromptSettings(), tmp_path, "mistral").family == "mistral-tekken"
