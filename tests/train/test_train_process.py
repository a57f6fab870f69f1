"""Training in a child process: events arrive, crashes are survived, and no child outlives its parent."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque

import numpy as np
import pytest

from lunar_tune.artefacts import Tokens
from lunar_tune.errors import BaseMissing, MissingExtra, TrainingError
from lunar_tune.plugins import backends
from lunar_tune.train import process
from lunar_tune.train.adapter import WEIGHTS
from lunar_tune.train.process import TrainingSpec, read_spec, supervise, write_spec


@pytest.fixture
def write_tokens(tmp_path):
    """Return a function that writes rows as the tokens room does."""

    def write(train, valid):
        folder = tmp_path / "tokens"
        folder.mkdir()
        for split, rows in (("train", train), ("valid", valid)):
            flat = [(i, m) for row in rows for i, m in zip(row.ids, row.mask, strict=True)]
            np.save(folder / f"{split}.ids.npy", np.array([i for i, _ in flat], dtype=np.int32))
            np.save(folder / f"{split}.mask.npy", np.array([m for _, m in flat], dtype=np.uint8))
            np.save(folder / f"{split}.offsets.npy", np.cumsum([0, *(len(row.ids) for row in rows)]))
            (folder / f"{split}.rows.json").write_text(json.dumps([row.id for row in rows]))
        return Tokens("tokens-1", folder, {"train": {"rows": len(train)}})

    return write


@pytest.fixture
def children(monkeypatch):
    """Keep every trainer that is started."""
    started = []

    class Watched(subprocess.Popen):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            if "lunar_tune.train.process" in args[0]:
                started.append(self)

    monkeypatch.setattr(process.subprocess, "Popen", Watched)
    return started


def test_a_spec_survives_the_file(tmp_path, base, recipe):
    spec = TrainingSpec("peft", base, Tokens("tokens-1", tmp_path, {"train": {"rows": 3}}), recipe(), tmp_path / "work")
    assert read_spec(write_spec(spec)) == spec


@pytest.mark.parametrize("name", ["mlx", pytest.param("peft", marks=pytest.mark.slow)])
def test_a_child_killed_by_the_system_goes_on_and_gives_the_same_bytes(
    name, base, train, make_rows, recipe, write_tokens, children, tmp_path
):
    settings = recipe(dropout=0.1, max_steps=9, epochs=9)
    rows, valid = make_rows(5), make_rows(2, seed=1)
    spec = TrainingSpec(name, base, write_tokens(rows, valid), settings, tmp_path / "work")
    heard = []

    def watch(event):
        heard.append(event)
        if event.kind == "checkpoint" and event.step == 4 and len(children) == 1:
            children[0].send_signal(signal.SIGKILL)

    adapter = supervise(spec, watch)
    assert [child.returncode for child in children] == [-signal.SIGKILL, 0]
    assert "resumed from the checkpoint" in [e.note for e in heard if e.kind == "start"][-1]
    whole, _ = train(backends()[name](), rows, valid, settings, tmp_path / "whole")
    assert (adapter.path / WEIGHTS).read_bytes() == (whole.path / WEIGHTS).read_bytes()
    assert (adapter.rank, adapter.alpha) == (whole.rank, whole.alpha)
    lines = [json.loads(line) for line in (tmp_path / "work" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "step"] == list(range(1, 10))
    assert not (tmp_path / "work" / process.SPEC).exists()


def test_ctrl_c_ends_the_child_and_goes_on(base, make_rows, recipe, write_tokens, children, tmp_path):
    spec = TrainingSpec("peft", base, write_tokens(make_rows(4), []), recipe(epochs=1000), tmp_path / "work")

    def interrupt(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        supervise(spec, interrupt)
    assert [child.poll() is not None for child in children] == [True]


def test_errors_of_the_child_arrive_as_they_are(tmp_path, recipe, make_rows, write_tokens):
    spec = TrainingSpec("peft", tmp_path / "nowhere", write_tokens(make_rows(4), []), recipe(), tmp_path / "work")
    with pytest.raises(BaseMissing, match="nowhere") as caught:
        supervise(spec, lambda event: None)
    assert "--base" in caught.value.hint
    revived = process._revive({"kind": "MissingExtra", "message": "m", "hint": "h"})
    assert isinstance(revived, MissingExtra)
    assert str(revived) == "m\nh"


def test_a_bug_in_the_child_is_a_training_error_with_its_last_lines(base, tmp_path, recipe):
    spec = TrainingSpec("peft", base, Tokens("tokens-1", tmp_path / "none", {}), recipe(), tmp_path / "work")
    with pytest.raises(TrainingError, match="ended with status 1") as caught:
        supervise(spec, lambda event: None)
    assert "FileNotFoundError" in caught.value.message


def test_a_child_that_never_gets_further_is_not_started_for_ever(base, tmp_path, recipe, monkeypatch):
    started = []

    class Dying:
        steps, last_lines = 1, deque(["Killed"])

        def __init__(self, spec):
            started.append(spec)

        def watch(self, on_event):
            if len(started) <= 2:  # the first two make a checkpoint each
                folder = tmp_path / "work" / "checkpoints" / f"step-{len(started):07d}"
                folder.mkdir(parents=True)
                (folder / "manifest.json").write_text("{}")
            return -signal.SIGKILL

    monkeypatch.setattr(process, "_Child", Dying)
    spec = TrainingSpec("peft", base, Tokens("tokens-1", tmp_path, {}), recipe(), tmp_path / "work")
    with pytest.raises(TrainingError, match=r"ended by SIGKILL.\n  Killed") as caught:
        supervise(spec, lambda event: None)
    assert len(started) == 4  # two that got further, the spare try, and the last
    assert "memory" in caught.value.hint


LIFELINE = """
import os, subprocess, sys, time
child = [
    "import os, time",
    "from lunar_tune.train.process import _end_with",
    "_end_with(os.getppid())",
    "print(1, flush=True)",
    "time.sleep(600)",
]
held = subprocess.Popen([sys.executable, "-c", "; ".join(child)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
held.stdout.readline()
print(held.pid, flush=True)
time.sleep(600)
"""


def test_no_child_outlives_a_killed_parent():
    parent = subprocess.Popen([sys.executable, "-c", LIFELINE], stdout=subprocess.PIPE, text=True)
    with parent:
        child = int(parent.stdout.readline())
        os.kill(child, 0)
        parent.kill()
    deadline = time.monotonic() + 60
    while alive(child):
        assert time.monotonic() < deadline, "the child is still there"
        time.sleep(0.05)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:  # a dead child that nobody has waited for is still listed
        with open(f"/proc/{pid}/stat") as handle:
            return handle.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
