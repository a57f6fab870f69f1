"""`train --show-tokens` shows the very tokens that training reads, readable in a pipe, and trains nothing."""

import json
from pathlib import Path

import pytest

from lunar_tune.cli import main, show_train
from lunar_tune.files import finish_artefact, make_private_dir, write_jsonl

NANO = Path(__file__).parents[2] / "fixtures" / "nano"


def row(name, *messages):
    return {"id": name, "date": "2024-07-26", "messages": list(messages), "tools": [], "meta": {"thread": name}}


def said(role, content, **rest):
    return {"role": role, "content": content, **rest}


ROWS = [
    row(
        f"ep-{n}",
        said("user", f"Question {n} \x1b[31m?"),
        said("assistant", "Context.", weight=0),
        said("user", "And?"),
        said("assistant", f"Answer {n}.", weight=1),
    )
    for n in range(6)
]
LONG = row("ep-long", said("user", "word " * 400), said("assistant", "Too far.", weight=1))


@pytest.fixture
def home(tmp_path, monkeypatch):
    from lunar_tune.workflow import learn

    work = make_private_dir(tmp_path / "home" / "datasets" / "ds-1.work")
    counts = {"train": write_jsonl(work / "train.jsonl", [*ROWS, LONG]), "valid": 0, "test": 0}
    for split in ("valid", "test"):
        write_jsonl(work / f"{split}.jsonl", [])
    finish_artefact(work, tmp_path / "home" / "datasets" / "ds-1", {"counts": counts})
    answers = [row(f"rehearsal-{n}", said("user", "Hello."), said("assistant", "Hi.", weight=1)) for n in range(4)]
    monkeypatch.setattr(learn, "rehearsal_rows", lambda space, on: answers)
    return tmp_path / "home"


def shown(home, capsys, *arguments):
    settings = ("--set", f"train.base={NANO}", "--set", "dataset.window=200")
    assert main(["--home", str(home), *settings, "train", *arguments]) == 0
    return capsys.readouterr().out


def test_learnt_tokens_are_marked_in_a_pipe(home, capsys):
    printed = shown(home, capsys, "--show-tokens", "3")
    assert printed.count("{+") == printed.count("+}") == 4  # three rows and the line that explains the marks
    assert "{+Answer 0.<|eot_id|>+}" in printed
    assert "<|end_header_id|>\n\nContext.<|eot_id|><|start_header_id|>user" in printed
    assert "{+Hi.<|eot_id|>+}" in printed  # one is rehearsed
    assert "\x1b" not in printed  # nothing in a log steers the terminal
    assert "of them learnt in 1 answer\n" in printed
    assert "Left out while turning rows into tokens: window 1." in printed
    assert list(home.glob("runs/*")) == []


def test_as_json_the_pieces_are_the_row(home, capsys):
    from lunar_tune.bases import load_tokenizer
    from lunar_tune.prompts import load_prompt
    from lunar_tune.settings import PromptSettings
    from lunar_tune.tokens import tokenize_row

    document = json.loads(shown(home, capsys, "--show-tokens", "100", "--json"))
    assert [one["id"] for one in document["shown"]][:6] == [one["id"] for one in ROWS]
    assert document["shown"][6]["id"].startswith("rehearsal-")
    assert document["left_out"] == {"window": 1}
    tokenizer = load_tokenizer(NANO)
    for one, made in zip(document["shown"], ROWS, strict=False):
        tokens = tokenize_row(made, load_prompt(PromptSettings()), tokenizer)
        assert "".join(text for text, _, _ in one["pieces"]) == tokenizer.decode(tokens.ids)
        assert (one["tokens"], one["supervised"], one["answers"]) == (len(tokens.ids), tokens.supervised, 1)
        learnt = "".join(text for text, on, _ in one["pieces"] if on)
        assert learnt == f"{made['messages'][3]['content']}<|eot_id|>"
        assert all(text.startswith("<|") and text.endswith("|>") for text, _, special in one["pieces"] if special)
    assert sum(one["supervised"] for one in document["shown"][:6]) < document["supervised"]


def test_on_a_terminal_they_are_coloured(monkeypatch):
    pieces = [("ask", False, False), ("<|eot_id|>", False, True), ("say", True, False), ("<|eot_id|>", True, True)]
    coloured = show_train._coloured(pieces)
    assert "\x1b[32m" in coloured.partition("say")[0].rpartition("<|eot_id|>")[2]
    assert "\x1b[32m" not in coloured.partition("say")[0].rpartition("<|eot_id|>")[0]
    assert show_train._marked(pieces) == "ask<|eot_id|>{+say<|eot_id|>+}"
