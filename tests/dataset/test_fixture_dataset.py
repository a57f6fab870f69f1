"""The fixture's logs from the database to the dataset directory."""

import json
import re
import sqlite3
from pathlib import Path

import pytest

from lunar_tune.artefacts import SPLITS
from lunar_tune.curate import Ledger, curate
from lunar_tune.dataset.write import write_dataset
from lunar_tune.files import read_jsonl
from lunar_tune.settings import CurateSettings, DatasetSettings, HarvestSettings
from lunar_tune.sources.lunar.source import LunarSource
from lunar_tune.sources.read import open_logs, read_logs

FIXTURES = Path(__file__).parents[2] / "fixtures"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    db = sqlite3.connect(home / "log.db")
    db.executescript((FIXTURES / "lunar_logs.sql").read_text(encoding="utf-8"))
    db.close()
    ledger = Ledger()
    with open_logs([home / "log.db"], [LunarSource()], HarvestSettings()) as logs:
        drafts = curate(read_logs(logs, HarvestSettings(), ledger), CurateSettings(), ledger)
        facts = [{"source": log.name, "path": str(log.path), "watermark": log.watermark} for log in logs]
        written = write_dataset(drafts, ledger, DatasetSettings(), home, sources=facts)
    assert ledger.balanced()
    return written


def test_no_file_of_the_dataset_holds_a_secret(dataset):
    secrets = json.loads((FIXTURES / "lunar_secrets.json").read_text(encoding="utf-8"))
    for path in dataset.path.iterdir():
        text = path.read_text(encoding="utf-8")
        found = [s["kind"] for s in secrets if s["value"] in text or json.dumps(s["value"])[1:-1] in text]
        assert found == [], path.name


def test_verdicts_hold_no_text_of_the_log(dataset):
    for line in read_jsonl(dataset.path / "dropped.jsonl"):
        assert re.fullmatch(r"(of ep-[0-9a-f]{16})?", line["detail"]), line


def test_there_is_enough_to_learn_and_to_judge(dataset):
    assert dataset.counts["train"] >= 200
    assert dataset.manifest["turns"]["test"]["calls"] >= 30
    assert dataset.manifest["leak"]["score"] == 0.0


def test_no_thread_is_in_two_splits(dataset):
    homes = {}
    for split in SPLITS:
        for row in read_jsonl(dataset.split(split)):
            homes.setdefault(row["meta"]["group"], set()).add(split)
            assert any(m.get("weight") == 1 for m in row["messages"])
    assert all(len(splits) == 1 for splits in homes.values())


def test_what_is_judged_is_newer_than_what_is_learnt(dataset):
    newest = max(row["date"] for row in read_jsonl(dataset.split("train")))
    tested = [row["date"] for row in read_jsonl(dataset.split("test"))]
    assert sum(date >= newest for date in tested) >= 0.9 * len(tested)
