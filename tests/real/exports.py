"""What the tests of exports share: the fixture's log as a dataset, its exports, and what our own tokens make of it."""

import contextlib
import importlib.util
import io
import json
import sqlite3
from pathlib import Path

import pytest

from lunar_tune.bases import load_tokenizer
from lunar_tune.cli import main
from lunar_tune.files import read_jsonl
from lunar_tune.prompts import load_prompt
from lunar_tune.settings import PromptSettings
from lunar_tune.tokens import tokenize_row

ROOT = Path(__file__).parents[2]
NANO = ROOT / "fixtures/nano"
IGNORED = -100  # the label of a token that is not learnt, in every trainer


def need(*modules):
    """Skip unless the consumer is installed."""
    absent = [name for name in modules if importlib.util.find_spec(name) is None]
    if absent:
        pytest.skip(f"{', '.join(absent)} not installed (tests/real/export-requirements.txt says how)")


def harvested(folder):
    """Return the home of a workspace with the fixture's dataset in it."""
    log, home = folder / "logs.db", folder / "home"
    with contextlib.closing(sqlite3.connect(log)) as db:
        db.executescript((ROOT / "fixtures/lunar_logs.sql").read_text(encoding="utf-8"))
    run(home, "harvest", log)
    return home


def run(home, *arguments):
    """Run a command that prints JSON and return the document."""
    config = ("--config", ROOT / "fixtures/demo.toml", "--set", "train.layers=2", "--set", "train.learning_rate=1e-5")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main([str(word) for word in ("--home", home, *config, *arguments, "--json")])
    assert code == 0, out.getvalue()
    return json.loads(out.getvalue())


def rows_of(path):
    return list(read_jsonl(path))


def our_tokens(home, split="train", *, one_answer_a_row=False):
    """Return (ids, labels) of the dataset's rows as we train them; of each answer by itself where that is asked for."""
    prompt, tokenizer = load_prompt(PromptSettings()), load_tokenizer(NANO)
    (dataset,) = (home / "datasets").iterdir()
    out = []
    for row in read_jsonl(dataset / f"{split}.jsonl"):
        for messages in _answers(row["messages"]) if one_answer_a_row else [row["messages"]]:
            tokens = tokenize_row({**row, "messages": messages}, prompt, tokenizer)
            labels = [id_ if learnt else IGNORED for id_, learnt in zip(tokens.ids, tokens.mask, strict=True)]
            out.append((list(tokens.ids), labels))
    return out


def _answers(messages):
    for index, message in enumerate(messages):
        if message["role"] == "assistant" and message["weight"]:
            said = [{**m, "weight": 0} if m["role"] == "assistant" else m for m in messages[:index]]
            yield [*said, message]
