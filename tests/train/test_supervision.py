"""What is trained on is the weighted answers, whole and alone: in the tokens, in the passes and in each trainer's loss.

What an answer is comes from the served template here, by subtracting one rendering from the next, never from the masks.
"""

import json
import tempfile
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lunar_tune.artefacts import SPLITS, Dataset
from lunar_tune.bases import load_tokenizer
from lunar_tune.files import write_jsonl
from lunar_tune.prompts import load_prompt
from lunar_tune.prompts.base import spoken_date
from lunar_tune.prompts.jinja import pieces
from lunar_tune.settings import PromptSettings
from lunar_tune.tokens import left_out, read_tokens, tokenize_dataset, whole
from lunar_tune.train.initial import initial_weights
from lunar_tune.train.packing import pack

NANO = Path(__file__).parents[2] / "fixtures" / "nano"
DAY, END = "2024-07-26", "<|eot_id|>"
TOOLS = [
    {"type": "function", "function": {"name": name, "description": "", "parameters": {"type": "object"}}}
    for name in ("find", "save")
]
SPECIAL = (END, "<|start_header_id|>assistant<|end_header_id|>\n\n", "<|begin_of_text|>", "<tool_call>", "{+", "\n\n")

letters = st.text(st.sampled_from("abcXYZ 019.,\n\"'\\{}<|>éßЖ漢字\u00a0\u200b😀🇳🇴"), max_size=20)
texts = st.one_of(letters, st.lists(st.one_of(letters, st.sampled_from(SPECIAL)), max_size=4).map("".join))
values = st.one_of(texts, st.integers(-1000, 1000), st.booleans(), st.lists(letters, max_size=2))
calls = st.lists(
    st.builds(
        lambda name, arguments: {"type": "function", "function": {"name": name, "arguments": arguments}},
        st.sampled_from(["find", "save"]),
        st.dictionaries(st.sampled_from(["query", "text", "é"]), values, max_size=2),
    ),
    max_size=3,
)


@st.composite
def exchanges(draw):
    """A request, any number of turns with calls and their results, and an answer."""
    said = [{"role": "user", "content": draw(texts)}]
    for made in draw(st.lists(calls, max_size=2)):
        turn = {"role": "assistant", "content": draw(texts), "weight": draw(st.integers(0, 1))}
        said += [{**turn, "tool_calls": made} if made else turn]
        said += [{"role": "tool", "content": draw(texts)} for _ in made]
    return [*said, {"role": "assistant", "content": draw(texts), "weight": draw(st.integers(0, 1))}]


@st.composite
def rows(draw):
    system = [{"role": "system", "content": draw(texts)}] if draw(st.booleans()) else []
    messages = [*system, *(m for part in draw(st.lists(exchanges(), min_size=1, max_size=3)) for m in part)]
    return {"date": DAY, "messages": messages, "tools": draw(st.sampled_from([TOOLS, []])), "meta": {}}


conversations = st.lists(rows(), min_size=1, max_size=4).map(
    lambda made: [{**r, "id": f"r{i}"} for i, r in enumerate(made)]
)


@cache
def tokenizer():
    return load_tokenizer(NANO)


def spans(row, prompt, context):
    """Return the text of a row and where its answers of weight 1, `context` excepted, stand in it: (begin, end)."""
    shaped, tools = prompt.shaped(row["messages"], row["tools"])

    def rendered(messages):
        known = {"messages": messages, "tools": tools or None, "bos_token": prompt.begin}
        return "".join(
            pieces(prompt.serving_template, known | {"date_string": spoken_date(DAY), "add_generation_prompt": False})
        )

    weights = []
    for index, message in enumerate(row["messages"]):
        if message["role"] == "assistant":  # the meta style writes several calls as several turns
            written = 1 if prompt.style == "tagged" else max(1, len(message.get("tool_calls", ())))
            weights += [message["weight"] and index not in context] * written
    answers = [place for place, message in enumerate(shaped) if message["role"] == "assistant"]
    found = []
    for place, weight in zip(answers, weights, strict=True):
        before, after = prompt.text(shaped[:place], tools, DAY), rendered(shaped[: place + 1])
        assert after.startswith(before)
        assert after.endswith(END)
        found += [(len(before), len(after))] if weight else []
    return rendered(shaped), found


def tokenized(made, prompt, window):
    """Return what `train` would read of rows, and what was left out of them."""
    with tempfile.TemporaryDirectory() as folder:
        for split in SPLITS:
            write_jsonl(Path(folder) / f"{split}.jsonl", made if split == "train" else [])
        dataset = Dataset("ds", Path(folder), {"train": len(made), "valid": 0, "test": 0}, {})
        tokens = tokenize_dataset(dataset, prompt, tokenizer(), "nano", window, Path(folder) / "cache")
        return read_tokens(tokens, "train"), left_out(tokens)


def learnt(places):
    """Return texts from ascending (place, id) of supervised tokens: one a run of places."""
    if not places:
        return []
    cuts = [0, *(i for i, (a, b) in enumerate(pairwise(places), 1) if b[0] != a[0] + 1), len(places)]
    return [tokenizer().decode([id_ for _, id_ in places[a:b]]) for a, b in pairwise(cuts)]


def learnt_of_pass(batch):
    """Return the texts of a pass's targets, each segment by itself: what the engines predict from its positions."""
    placed = list(zip((batch.positions + 1).tolist(), batch.targets.tolist(), strict=True))
    segments = [[(at, id_) for at, id_ in placed if part.start < at <= part.end] for part in batch.segments]
    assert sum(map(len, segments)) == len(placed)
    return [text for segment in segments for text in learnt(segment)]


def supervised(row):
    return [(place, id_) for place, (id_, on) in enumerate(zip(row.ids, row.mask, strict=True)) if on]


def answers(row, prompt, context):
    text, found = spans(row, prompt, context)
    return [text[begin:end] for begin, end in found]


def partly(verdict, row):
    """Whether part of what a verdict names may be learnt: of a turn written as several, those that fit the window."""
    calls = () if verdict.message is None else row["messages"][verdict.message].get("tool_calls", ())
    return (verdict.reason == "window" and len(calls) > 1) or verdict.reason == "boundary"


@pytest.mark.parametrize("style", ["tagged", "meta"])
def test_supervised_tokens_decode_to_exactly_the_weighted_answers(style):
    prompt, seen = load_prompt(PromptSettings(style=style)), Counter()

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(conversations, st.sampled_from([200, 500, 100_000]), st.sampled_from([200, 100_000]))
    def check(made, window, limit):
        read, verdicts = tokenized(made, prompt, window)
        expected = []
        for row in made:
            told = [verdict for verdict in verdicts if verdict.id == row["id"]]
            own = [answer for piece in read if whole(piece.id) == row["id"] for answer in learnt(supervised(piece))]
            if any(verdict.message is None for verdict in told):
                assert own == []  # left out whole
            elif not (unsure := {verdict.message for verdict in told if partly(verdict, row)}):
                assert own == answers(row, prompt, {verdict.message for verdict in told})
            else:
                named = {verdict.message for verdict in told}
                assert Counter(own) <= Counter(answers(row, prompt, named - unsure))
            expected += own
        seen["learnt"] += len(expected)
        passes = pack([row for row in read if row.supervised], limit)
        assert sorted(text for batch in passes for text in learnt_of_pass(batch)) == sorted(expected)

    check()
    assert seen["learnt"] > 10  # the others did not fit, or cannot be written


@pytest.fixture(scope="module")
def spoken(tmp_path_factory, base):
    """A tiny random model that knows the nano base's vocabulary."""
    from safetensors.numpy import load_file, save_file

    folder = tmp_path_factory.mktemp("spoken")
    config = json.loads((base / "config.json").read_text())
    known = json.loads((NANO / "config.json").read_text())["vocab_size"]
    weights = load_file(base / "model.safetensors")
    wide = weights["model.embed_tokens.weight"].shape[1]
    draw = np.random.default_rng(1)
    weights["model.embed_tokens.weight"] = draw.normal(0, 0.15, (known, wide)).astype(np.float32)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": known, "max_position_embeddings": 8192}))
    return folder


def engine_of(name, folder, recipe):
    from lunar_tune.train.mlx_backend import MlxEngine
    from lunar_tune.train.peft_backend import PeftEngine

    engine = {"peft": PeftEngine, "mlx": MlxEngine}[name](folder, recipe)
    draw = np.random.default_rng(0)
    start = initial_weights(engine.shapes(), recipe.rank, 7)
    engine.load({key: v + draw.normal(0, 0.05, v.shape).astype(np.float32) for key, v in start.items()}, {}, 0)
    return engine


@pytest.mark.parametrize("name", ["peft", "mlx"])
def test_each_trainer_s_loss_is_that_of_the_weighted_answers(name, spoken, recipe):
    import torch
    from transformers import AutoModelForCausalLM

    prompt = load_prompt(PromptSettings())
    engine = engine_of(name, spoken, recipe())
    engine.load({key: 0 * value for key, value in engine.weights().items()}, {}, 0)  # the base, as `plain` is
    plain = AutoModelForCausalLM.from_pretrained(spoken).eval()

    def by_hand(row, context):
        """The NLL of the answers' characters: all logits of the row's text, and the tokens that lie in an answer."""
        text, answers = spans(row, prompt, context)
        encoded = tokenizer()._loaded.encode(text, add_special_tokens=False)
        inside = [any(a <= begin and end <= b for a, b in answers) for begin, end in encoded.offsets]
        with torch.no_grad():
            scores = plain(torch.tensor([encoded.ids])).logits[0].double().log_softmax(-1)
        return [-float(scores[i - 1, id_]) for i, id_ in enumerate(encoded.ids) if inside[i]]

    @settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(conversations, st.sampled_from([1, 100_000]))
    def check(made, limit):
        read, verdicts = tokenized(made, prompt, 100_000)
        ids = {row.id for row in read}
        context = {row["id"]: {v.message for v in verdicts if v.id == row["id"]} for row in made}
        nlls = [nll for row in made if row["id"] in ids for nll in by_hand(row, context[row["id"]])]
        passes = pack(read, limit)
        assert sum(len(batch.targets) for batch in passes) == len(nlls)
        if passes:
            assert sum(engine.nll(batch) for batch in passes) == pytest.approx(sum(nlls), rel=1e-4)
            trained = sum(engine.accumulate(batch, len(nlls), seed=1) for batch in passes)
            assert trained == pytest.approx(sum(nlls), rel=1e-4)

    check()


def gradient(engine, passes, divisor):
    """Return the gradient of some passes: AdamW's first moment is a tenth of it after one update."""
    total = sum(engine.accumulate(batch, divisor, seed=0) for batch in passes)
    engine.update(1e-9, 1.0)
    return total, {key: value / 0.1 for key, value in engine.moments().items() if key.startswith("m.")}


def test_micro_batches_of_different_length_are_one_pass(base, make_rows, recipe):
    short = min(make_rows(9, seed=3, longest=12), key=lambda row: row.supervised)
    long = max(make_rows(9, seed=8, longest=60), key=lambda row: row.supervised)
    tokens = short.supervised + long.supervised
    assert long.supervised > 3 * short.supervised  # or a mean of means would be nearly right
    found = {}
    for name in ("peft", "mlx"):
        for cut, passes in {"one": pack([short, long], 1000), "two": pack([short], 1) + pack([long], 1)}.items():
            assert len(passes) == {"one": 1, "two": 2}[cut]
            found[name, cut] = gradient(engine_of(name, base, recipe()), passes, tokens)
    total, expected = found["peft", "one"]
    largest = max(np.abs(value).max() for value in expected.values())
    for other_total, other in found.values():
        assert other_total == pytest.approx(total, rel=1e-5)
        for key, value in expected.items():
            np.testing.assert_allclose(other[key], value, atol=1e-4 * largest)
    alone = [gradient(engine_of("peft", base, recipe()), pack([row], 1), row.supervised)[1] for row in (short, long)]
    means = {key: (alone[0][key] + alone[1][key]) / 2 for key in expected}
    assert max(np.abs(means[key] - expected[key]).max() for key in expected) > 0.05 * largest
