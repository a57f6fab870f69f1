"""The whole way of the data on real parts at small size: one short night, and what it leaves behind."""

import json
import sqlite3
from pathlib import Path

import httpx
import pytest

from lunar_tune import workflow
from lunar_tune.artefacts import SPLITS
from lunar_tune.cli import main
from lunar_tune.files import MANIFEST, read_jsonl, read_manifest
from lunar_tune.serve import Door
from lunar_tune.settings import ServeSettings

ROOT = Path(__file__).parents[1]
SHORT = (
    "train.threads=1", "train.max_steps=6", "train.batch=2", "train.evaluate_every=3", "train.save_every=3",
    "train.rehearsal=0.05", "evaluate.turns=32", "evaluate.max_tokens=32", "evaluate.threads=1", "dataset.test=0.1",
)  # fmt: skip


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("agent") / "logs.db"
    db = sqlite3.connect(path)
    db.executescript((ROOT / "fixtures/lunar_logs.sql").read_text(encoding="utf-8"))
    db.close()
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("workspace") / "home"


def call(home, capsys, *arguments):
    settings = [word for value in SHORT for word in ("--set", value)]
    code = main(["--home", str(home), "--config", str(ROOT / "fixtures/demo.toml"), *settings, *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(scope="module")
def night(home, log):
    """One night, run once for all tests of this file: (exit code, document)."""
    import contextlib
    import io

    out = io.StringIO()
    settings = [word for value in SHORT for word in ("--set", value)]
    with contextlib.redirect_stdout(out):
        code = main(
            [
                "--home",
                str(home),
                "--config",
                str(ROOT / "fixtures/demo.toml"),
                *settings,
                "nightly",
                "--json",
                str(log),
            ]
        )
    return code, json.loads(out.getvalue())


def test_a_night_ends_with_a_verdict_and_its_reasons(night):
    code, document = night
    assert document["outcome"] in ("promoted", "refused", "not-enough-evidence")
    assert code == (3 if document["outcome"] == "refused" else 0)
    assert document["reasons"]
    assert {"harvest", "train", "export", "evaluate"} <= set(document["seconds"])


def test_every_artefact_is_whole_and_nothing_is_left_over(night, home):
    _, document = night
    for kind, name in (("datasets", "dataset"), ("runs", "run"), ("evaluations", "evaluation"), ("models", "version")):
        manifest = read_manifest(home / kind / document[name])
        assert manifest["files"]
    assert not list((home / "work").iterdir())
    assert not [path for path in home.rglob("*.tmp")]
    assert all((path.stat().st_mode & 0o077) == 0 for path in home.rglob("*") if path.is_file())


def test_the_run_tells_its_story(night, home):
    run = workflow.find_run(home)
    events = list(read_jsonl(run.path / "metrics.jsonl"))
    assert [event["step"] for event in events if event["kind"] == "step"] == [1, 2, 3, 4, 5, 6]
    assert run.manifest["best_step"] in (0, 3, 6)
    assert run.manifest["valid_loss"] <= next(event["valid_loss"] for event in events if event["kind"] == "valid")


def test_no_planted_secret_is_in_any_file(night, home):
    secrets = [entry["value"].encode() for entry in json.loads((ROOT / "fixtures/lunar_secrets.json").read_text())]
    assert len(secrets) >= 25
    for path in home.rglob("*"):
        if path.is_file() and path.suffix not in (".gguf", ".safetensors", ".npy"):
            content = path.read_bytes()
            assert not [secret for secret in secrets if secret in content], path


def test_the_ledger_adds_up(night, home):
    turns = workflow.find_dataset(home).manifest["curation"]["turns"]
    assert turns["read"] == turns["kept"] + sum(sum(step.values()) for step in turns["left_out"].values())


def test_no_row_is_in_two_splits(night, home):
    dataset = workflow.find_dataset(home)
    groups = {split: {row["meta"]["group"] for row in read_jsonl(dataset.split(split))} for split in SPLITS}
    assert not groups["train"] & (groups["valid"] | groups["test"])
    assert not groups["valid"] & groups["test"]


def test_a_second_night_has_nothing_to_do(night, home, log, capsys):
    before = sorted(home.rglob(MANIFEST))
    code, out, _ = call(home, capsys, "nightly", "--json", log)
    assert code == 0
    assert json.loads(out)["outcome"] == "nothing-to-do"
    assert sorted(home.rglob(MANIFEST)) == before


def test_the_evaluation_has_the_contracts_shape(night, home, capsys):
    code, out, _ = call(home, capsys, "evaluate", "--json")
    document = json.loads(out)
    assert code == 0
    assert set(document["arms"]) == {"base", "tuned"}
    assert set(document["paired"]["tuned-base"]["probes"]) == {"delta", "low", "high", "p", "n"}
    assert document["arms"]["base"]["turns"] >= 30


def test_the_modelfile_names_the_gguf_beside_it(night, home, capsys):
    _, out, _ = call(home, capsys, "modelfile")
    model = workflow.find_model(home)
    assert f"FROM ./{model.gguf.name}" in out
    assert "<|eot_id|>" in out


def test_only_an_approved_version_is_promoted_unless_forced(night, home, capsys):
    _, document = night
    if document["outcome"] != "promoted":
        code, _, err = call(home, capsys, "promote", document["version"])
        assert code == 3
        assert "No evaluation approved" in err
    code, _, _ = call(home, capsys, "promote", "--force", document["version"])
    assert code == 0
    code, out, _ = call(home, capsys, "versions", "--json")
    assert [row["version"] for row in json.loads(out) if row["current"]] == [document["version"]]


def test_the_door_answers_with_the_promoted_version(night, home, capsys):
    _, document = night
    call(home, capsys, "promote", "--force", document["version"])
    with Door(home, ServeSettings(port=0, parallel=1), "lunar-custom", threads=1) as door:
        body = {"model": "lunar-custom", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}
        answer = httpx.post(f"{door.url}/v1/chat/completions", json=body, timeout=60)
    assert answer.status_code == 200
    assert answer.headers["x-lunar-version"] == document["version"]


def test_forcing_is_recorded(night, home, capsys):
    _, document = night
    call(home, capsys, "promote", "--force", document["version"])
    _, out, _ = call(home, capsys, "runs", "--json")
    assert "promoted by hand" in [run["outcome"] for run in json.loads(out)]


def test_a_log_that_grew_is_a_new_night(night, home, log, capsys, tmp_path):
    grown = tmp_path / "logs.db"
    grown.write_bytes(log.read_bytes())
    db = sqlite3.connect(grown)
    db.execute("INSERT INTO conversations VALUES ('new', '2026-11-01T08:00:00Z', 'llama3.2:3b', NULL, NULL, NULL)")
    for position, (role, text) in enumerate((("user", "Good morning"), ("assistant", "Good morning. -- Lunar"))):
        db.execute(
            "INSERT INTO messages (conversation_id, position, role, content) VALUES ('new', ?, ?, ?)",
            (position, role, text),
        )
    db.commit()
    db.close()
    code, out, _ = call(home, capsys, "harvest", "--json", grown)
    assert code == 0
    counts = json.loads(out)["counts"]
    first = read_manifest(home / "datasets" / night[1]["dataset"])["counts"]
    assert sum(counts[split] for split in SPLITS) == sum(first[split] for split in SPLITS) + 1


def test_a_version_with_a_shorter_prompt_is_judged_beside_the_one_in_use(night, home, log, capsys):
    """The base is asked with the log's prompt; rows that only the shorter one lets fit are not compared."""
    _, before = night
    call(home, capsys, "promote", "--force", before["version"])
    shorter = ("--set", "dataset.system=Be Lunar.", "--set", "dataset.window=750", "--set", "train.max_steps=3")
    shorter += ("--set", "evaluate.turns=8", "--set", "evaluate.max_tokens=4", "--set", "dataset.test=0.03")
    assert call(home, capsys, *shorter, "harvest", log)[0] == 0
    dataset = workflow.find_dataset(home)
    assert dataset.id != before["dataset"]
    assert call(home, capsys, *shorter, "train")[0] == 0
    assert call(home, capsys, *shorter, "export")[0] == 0
    model = workflow.find_model(home)
    assert model.manifest["system"] == "Be Lunar."
    assert model.manifest["modelfile"]["system"] == "Be Lunar."
    assert read_manifest(home / "models" / before["version"])["system"] is None
    code, out, err = call(home, capsys, *shorter, "evaluate", "--json")
    assert code in (0, 3), err
    document = json.loads(out)
    assert set(document["arms"]) == {"base", "current", "tuned"}
    paired = document["paired"]
    rows = paired["tuned-base"]["nll"]["n"]
    assert 0 < rows == paired["tuned-current"]["nll"]["n"] <= dataset.counts["test"]
    windows = [verdict for verdict in document["left_out"] if verdict["reason"] == "window"]
    assert windows, "the full prompt does not fit everywhere"
