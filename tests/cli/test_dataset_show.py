"""`dataset show`: tables, histograms, rows."""

import json
import sqlite3
from pathlib import Path

import pytest

from lunar_tune.cli import main

FIXTURES = Path(__file__).parents[2] / "fixtures"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("show")
    db = sqlite3.connect(folder / "lunar.db")
    db.executescript((FIXTURES / "lunar_logs.sql").read_text(encoding="utf-8"))
    db.close()
    assert main(["--home", str(folder / "home"), "harvest", str(folder / "lunar.db"), "--json"]) == 0
    return folder / "home"


@pytest.fixture
def show(home, capsys):
    def call(*arguments, base="no/such-base"):
        capsys.readouterr()
        assert main(["--home", str(home), "--set", f"train.base={base}", "dataset", "show", *arguments]) == 0
        return capsys.readouterr().out

    return call


def test_tables_histograms_and_the_sum(show):
    text = show()
    for title in ("Rows", "Turns left out", "Overlap", "Tools", "Rows by month", "Calls to learn by tool"):
        assert title in text
    assert "estimated, four characters a token" in text
    assert "1393 turns read = " in text


def test_tokens_are_counted_with_the_base_s_own_tokenizer(show):
    assert "counted with nano" in show(base=FIXTURES / "nano")
    counted = json.loads(show("--json", base=FIXTURES / "nano"))
    estimated = json.loads(show("--json"))
    assert "tokens" not in estimated
    assert counted["tokens"]["how"] == "nano"
    assert sum(counted["tokens"]["rows"]["up_to"].values()) == sum(
        counted["counts"][split] for split in ("train", "valid", "test")
    )


def test_many_rows_are_counted_in_a_sample(show, monkeypatch):
    from lunar_tune.workflow import show as module

    monkeypatch.setattr(module, "MOST_COUNTED", 50)
    tokens = json.loads(show("--json", base=FIXTURES / "nano"))["tokens"]
    assert tokens["sample"] == sum(tokens["rows"]["up_to"].values()) == 50
    assert "in the 50 rows looked at" in show(base=FIXTURES / "nano")


def test_the_turns_of_the_rows_are_those_that_the_ledger_kept(show):
    manifest = json.loads(show("--json"))
    turns = manifest["curation"]["turns"]
    assert turns["read"] == turns["kept"] + sum(n for by in turns["left_out"].values() for n in by.values())
    assert turns["kept"] == sum(manifest["turns"][split]["learnt"] for split in ("train", "valid", "test"))
    assert sum(manifest["content"]["months"].values()) == sum(
        manifest["counts"][split] for split in ("train", "valid", "test")
    )


def test_rows_can_be_read(show):
    text = show("--rows", "3", "--split", "test")
    assert text.count("ep-") == 3
    assert "assistant  + learnt" in text
    rows = json.loads(show("--rows", "2", "--json"))
    assert [set(row) for row in rows] == [{"id", "date", "messages", "tools", "meta"}] * 2
