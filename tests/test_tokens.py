"""Ids and mask: what is supervised is what the assistant said, and what is left out is said."""

import json
import random
from pathlib import Path

import pytest

from lunar_tune.artefacts import SPLITS, Dataset, TokenRow
from lunar_tune.bases import load_tokenizer
from lunar_tune.files import write_jsonl
from lunar_tune.prompts import load_prompt
from lunar_tune.settings import PromptSettings
from lunar_tune.tokens import (
    end_id,
    first_difference,
    fit_rows,
    left_out,
    prompt_ids,
    read_tokens,
    tokenize_dataset,
    tokenize_row,
    tripwires,
)

NANO = Path(__file__).parents[1] / "fixtures" / "nano"
PROMPT = load_prompt(PromptSettings())
TOOLS = [{"type": "function", "function": {"name": "f", "description": "", "parameters": {}}}]


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(NANO)


def say(role, content, **rest):
    return {"role": role, "content": content, **rest}


def row(*messages, id="r"):
    return {"id": id, "date": "2024-07-26", "messages": list(messages), "tools": TOOLS, "meta": {}}


def random_row(seed):
    rng = random.Random(seed)
    messages = [say("system", "s")] if rng.random() < 0.5 else []
    for turn in range(rng.randint(1, 5)):
        messages.append(say("user", f"question {turn} \U0001f600"))
        answer = say("assistant", rng.choice(["", " an answer\n", "<|eot_id|>"]), weight=rng.randint(0, 1))
        calls = [{"function": {"name": "f", "arguments": {"n": n, "t": "é"}}} for n in range(rng.randint(0, 2))]
        messages.append({**answer, "tool_calls": calls} if calls else answer)
        messages += [say("tool", "done")] * len(calls)
    return row(*messages, id=f"r{seed}")


def runs(tokens):
    """Return the supervised pieces of a row as lists of ids."""
    found, before = [], 0
    for id_, m in zip(tokens.ids, tokens.mask, strict=True):
        if m and not before:
            found.append([])
        if m:
            found[-1].append(id_)
        before = m
    return found


@pytest.mark.parametrize("style", ["tagged", "meta"])
@pytest.mark.parametrize("seed", range(40))
def test_supervised_tokens_are_the_weighted_answers(tokenizer, style, seed):
    prompt = load_prompt(PromptSettings(style=style))
    made = random_row(seed)
    tokens = tokenize_row(made, prompt, tokenizer)
    assert tokenizer.decode(tokens.ids) == "".join(segment.text for segment in prompt.segments(made))
    said = []
    for message in made["messages"]:
        if message["role"] == "assistant" and message["weight"]:
            calls = [call["function"]["arguments"] for call in message.get("tool_calls", ())]
            content = message["content"].strip().replace("<|eot_id|>", "<| eot_id|>")
            said += (
                [(content, calls)] if style == "tagged" or len(calls) < 2 else [(content, calls[:1]), ("", calls[1:])]
            )
    answers = [tokenizer.decode(ids) for ids in runs(tokens)]
    assert all(answer.endswith("<|eot_id|>") for answer in answers)
    replies = [prompt.parse(answer.removesuffix("<|eot_id|>"), TOOLS) for answer in answers]
    assert [(reply.content, [call.arguments for call in reply.tool_calls]) for reply in replies] == said


@pytest.mark.parametrize("seed", range(10))
def test_the_ids_before_an_answer_are_those_of_the_prompt(tokenizer, seed):
    made = random_row(seed)
    tokens = tokenize_row(made, PROMPT, tokenizer)
    for index, message in enumerate(made["messages"]):
        if message["role"] == "assistant":
            asked = prompt_ids(made["messages"][:index], TOOLS, made["date"], PROMPT, tokenizer)
            assert tokens.ids[: len(asked)] == tuple(asked)


def exchanges(number, words=3, weight=1):
    return [
        m
        for n in range(number)
        for m in (say("user", f"u{n} " * words), say("assistant", f"a{n} " * words, weight=weight))
    ]


def learnt(tokenizer, pieces):
    return [tokenizer.decode(ids).removesuffix("<|eot_id|>").split()[0] for piece in pieces for ids in runs(piece)]


def test_a_long_row_becomes_several_that_learn_every_turn_once(tokenizer):
    made = row(say("system", "Be brief."), *exchanges(12))
    whole = tokenize_row(made, PROMPT, tokenizer)
    window = len(tokenize_row(row(say("system", "Be brief."), *exchanges(4)), PROMPT, tokenizer).ids)
    pieces, verdicts = fit_rows(made, PROMPT, tokenizer, window)
    assert verdicts == []
    assert len(pieces) > 2
    assert learnt(tokenizer, pieces) == [f"a{n}" for n in range(12)]
    for piece in pieces:
        text = tokenizer.decode(piece.ids)
        assert len(piece.ids) <= window
        assert text.endswith("<|eot_id|>")
        assert "Be brief." in text
    own = [int(piece.id.partition("#")[2] or 1) for piece in pieces]
    assert [piece.id for piece in pieces] == ["r", *(f"r#{place}" for place in own[1:])]
    for place, piece in zip(own[1:], pieces[1:], strict=True):
        before = (place - 1) // 2 - 1
        text = tokenizer.decode(piece.ids)
        assert f"u{before} " in text  # the exchange before its own is its context
        assert f"a{before}" not in learnt(tokenizer, [piece])
    assert fit_rows(made, PROMPT, tokenizer, len(whole.ids)) == ([whole], [])


def test_pieces_are_the_served_text_of_their_messages(tokenizer):
    made = row(say("system", "s"), *exchanges(8))
    pieces, _ = fit_rows(made, PROMPT, tokenizer, 160)
    last = pieces[-1]
    own = int(last.id.partition("#")[2])
    for first in range(1, own + 1, 2):
        part = row(*made["messages"][:1], *made["messages"][first:], id=last.id)
        if tokenize_row(part, PROMPT, tokenizer).ids == last.ids:
            return
    pytest.fail("no run of messages after the system prompt gives this piece")


def test_an_answer_is_never_cut_through_and_what_does_not_fit_is_said(tokenizer):
    long = say("assistant", "b " * 400, weight=1)
    made = row(*exchanges(2), say("user", "call it"), say("assistant", "first", weight=1), long, *exchanges(2))
    pieces, verdicts = fit_rows(made, PROMPT, tokenizer, 200)
    assert learnt(tokenizer, pieces) == ["a0", "a1", "first", "a0", "a1"]
    assert [(v.reason, v.message) for v in verdicts] == [("window", 6)]


def test_context_turns_of_a_long_row_stay_context(tokenizer):
    made = row(*exchanges(3, weight=0), *exchanges(3))
    pieces, verdicts = fit_rows(made, PROMPT, tokenizer, 140)
    assert verdicts == []
    assert learnt(tokenizer, pieces) == ["a0", "a1", "a2"]


@pytest.mark.parametrize(
    ("made", "window", "reason"),
    [
        (row(say("user", "u"), say("assistant", "a", weight=0)), 4096, "unsupervised"),
        (row(say("user", "u")), 4096, "unsupervised"),
        (row(say("user", "u"), say("assistant", "a" * 900, weight=1)), 100, "window"),
        (row(say("user", "u"), say("assistant", "\u00a0\n\nfoo", weight=1)), 4096, "boundary"),
        (row(say("user", "\u1c89"), say("assistant", "a", weight=1)), 4096, "letters"),
    ],
)
def test_rows_left_out_say_why(tokenizer, made, window, reason):
    pieces, verdicts = fit_rows(made, PROMPT, tokenizer, window)
    assert pieces == []
    assert [(v.id, v.step, v.reason) for v in verdicts] == [("r", "tokens", reason)]


def test_a_special_token_that_the_template_does_not_know_is_noticed(tmp_path):
    spec = json.loads((NANO / "tokenizer.json").read_text(encoding="utf-8"))
    new = {**spec["added_tokens"][0], "id": len(spec["model"]["vocab"]) + len(spec["added_tokens"]), "content": "<NEW>"}
    spec["added_tokens"].append(new)
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec), encoding="utf-8")
    made = row(say("user", "a <NEW> one"), say("assistant", "a", weight=1))
    assert [v.reason for v in fit_rows(made, PROMPT, load_tokenizer(tmp_path), 4096)[1]] == ["special"]


def dataset(folder, **rows):
    for name in SPLITS:
        write_jsonl(folder / f"{name}.jsonl", rows.get(name, []))
    return Dataset("ds-1", folder, {name: len(rows.get(name, [])) for name in SPLITS}, {})


def test_a_dataset_is_tokenized_once(tokenizer, tmp_path, monkeypatch):
    rounded = {"function": {"name": "f", "arguments": {"pi": 3.14159265358979}}}
    made = dataset(
        tmp_path / "data",
        train=[
            row(say("user", "u"), say("assistant", "a", weight=1), id="good"),
            row(say("user", "<|eot_id|>"), say("assistant", "b", weight=1), id="special"),
            row(say("user", "u"), say("assistant", "c", weight=0), id="nothing"),
            row(say("user", "u"), say("assistant", "", tool_calls=[rounded], weight=1), id="rounded"),
        ],
        test=[row(say("user", "u"), say("assistant", "d", weight=1), id="held out")],
    )
    extra = [row(say("user", "general"), say("assistant", "e"), id="rehearsal")]
    arguments = (made, PROMPT, tokenizer, "tokenizer-1", 4096, tmp_path / "cache", extra)
    tokens = tokenize_dataset(*arguments)
    train = read_tokens(tokens, "train")
    assert [r.id for r in train] == ["good", "special", "rehearsal"]
    assert train[0] == tokenize_row(row(say("user", "u"), say("assistant", "a"), id="good"), PROMPT, tokenizer)
    assert tokenizer.decode([i for r in train for ids in runs(r) for i in ids]) == "a<|eot_id|>b<|eot_id|>e<|eot_id|>"
    assert tokens.counts["train"] == {
        "rows": 3,
        "tokens": sum(len(r.ids) for r in train),
        "supervised": sum(r.supervised for r in train),
        "neutralised": 1,
        "left_out": {"differs": 1, "unsupervised": 2},
    }
    assert tokens.counts["valid"]["rows"] == 0
    assert [r.id for r in read_tokens(tokens, "test")] == ["held out"]
    assert {(v.id, v.reason, v.message) for v in left_out(tokens)} == {
        ("nothing", "unsupervised", None),
        ("rounded", "differs", 1),
        ("rounded", "unsupervised", None),
    }
    monkeypatch.setattr("lunar_tune.tokens._tokenize_split", None)  # made already: not made again
    assert tokenize_dataset(*arguments) == tokens


def test_other_inputs_make_other_tokens(tokenizer, tmp_path):
    made = dataset(tmp_path / "data", train=[row(say("user", "u"), say("assistant", "a"))])
    cache = tmp_path / "cache"
    meta = load_prompt(PromptSettings(style="meta"))
    ids = {
        tokenize_dataset(made, PROMPT, tokenizer, "t", 4096, cache).id,
        tokenize_dataset(made, meta, tokenizer, "t", 4096, cache).id,
        tokenize_dataset(made, PROMPT, tokenizer, "other", 4096, cache).id,
        tokenize_dataset(made, PROMPT, tokenizer, "t", 2048, cache).id,
        tokenize_dataset(made, PROMPT, tokenizer, "t", 4096, cache, [row(say("user", "u"), say("assistant", "b"))]).id,
    }
    assert len(ids) == 5


def test_arguments_nested_too_deep_are_left_out(tokenizer, tmp_path):
    deep = {}
    for _ in range(400):
        deep = {"a": deep}
    call = {"function": {"name": "f", "arguments": deep}}
    made = dataset(tmp_path / "data", train=[row(say("user", "u"), say("assistant", "", tool_calls=[call], weight=1))])
    tokens = tokenize_dataset(made, PROMPT, tokenizer, "t", 4096, tmp_path / "cache")
    assert tokens.counts["train"]["left_out"] == {"nested": 1}


def test_tripwires():
    good, nothing, endless = (
        TokenRow("a", (1, 2, 9, 3), (0, 1, 1, 0)),
        TokenRow("b", (1,), (0,)),
        TokenRow("c", (1,), (1,)),
    )
    assert [(v.id, v.reason) for v in tripwires([good, nothing, endless], ends={9})] == [
        ("b", "unsupervised"),
        ("c", "endless"),
    ]


def test_what_we_make_trips_no_wire(tokenizer):
    rows = [tokenize_row(random_row(seed), PROMPT, tokenizer) for seed in range(20)]
    assert {v.reason for v in tripwires(rows, {end_id(PROMPT, tokenizer)})} <= {"unsupervised"}
    assert tokenizer.decode([end_id(PROMPT, tokenizer)]) == "<|eot_id|>"


def test_the_first_difference_is_found():
    assert first_difference([1, 2], [1, 2]) is None
    assert first_difference([1, 2], [1, 3]) == 1
    assert first_difference([1, 2], [1]) == 1
