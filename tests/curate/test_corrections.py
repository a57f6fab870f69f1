"""The labelled corrections: the floor that curation must hold on the half that its rules were written with."""

import importlib.util
import sys
from pathlib import Path

import pytest

PRECISION, RECALL = 0.9, 0.7
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench_corrections", ROOT / "bench" / "bench_corrections.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_turns_that_the_user_rejected_are_set_aside_and_hardly_another(bench):
    got = bench.figures(bench.judge(bench.read("seen")))
    assert got.precision >= PRECISION
    assert got.recall >= RECALL


def test_the_labels_are_whole(bench):
    rows = [row for half in bench.HALVES for row in bench.read(half)]
    assert len({row["id"] for row in rows}) == len(rows) >= 240
    assert 0.45 <= sum(row["trap"] for row in rows) / len(rows) <= 0.55
    for row in rows:
        turns = {str(i) for i, message in enumerate(row["messages"]) if message["role"] == "assistant"}
        assert set(row["wanted"]) == turns, row["id"]
        assert all(row["wanted"].values()) is row["trap"], row["id"]


def test_both_halves_hold_every_class_and_language(bench):
    seen, unseen = (bench.read(half) for half in bench.HALVES)
    for key in ("class", "lang"):
        assert {row[key] for row in seen} == {row[key] for row in unseen}
