"""Wrong input gets one clear sentence and the right exit code, and nothing is lost."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lunar_tune.cli import main

ROOT = Path(__file__).parents[2]
LUNAR = """
CREATE TABLE conversations(id TEXT PRIMARY KEY, started_at TEXT, model TEXT, system TEXT, tools TEXT, meta TEXT);
CREATE TABLE messages(id INTEGER PRIMARY KEY, conversation_id TEXT, position INTEGER, role TEXT, content TEXT,
  tool_calls TEXT, tool_call_id TEXT, name TEXT, model TEXT, error TEXT, created_at TEXT);
CREATE TABLE feedback(id INTEGER PRIMARY KEY, message_id INTEGER, rating REAL, note TEXT, created_at TEXT);
"""


@pytest.fixture
def run(tmp_path, capsys):
    def call(*arguments):
        code = main(["--home", str(tmp_path / "home"), *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def log(path, conversations=3):
    db = sqlite3.connect(path)
    db.executescript(LUNAR)
    for number in range(conversations):
        day = f"2026-10-{number % 28 + 1:02d}T08:00:00Z"
        db.execute(
            "INSERT INTO conversations VALUES (?, ?, 'llama3.2:3b', 'Be brief.', NULL, NULL)", (f"c{number}", day)
        )
        for position, (role, text) in enumerate(
            (("user", f"Is {number} a number?"), ("assistant", f"Yes, {number} is."))
        ):
            db.execute(
                "INSERT INTO messages (conversation_id, position, role, content, created_at) VALUES (?, ?, ?, ?, ?)",
                (f"c{number}", position, role, text, day),
            )
    db.commit()
    return db


def said(result, code, *words):
    got, _, err = result
    assert got == code, err
    assert "Traceback" not in err
    for word in words:
        assert word in err, err


def test_a_missing_log(run, tmp_path):
    said(run("harvest", tmp_path / "none.db"), 1, "No log at", "none.db", "lunar-tune sources")


def test_a_file_that_is_no_database(run, tmp_path):
    (tmp_path / "notes.txt").write_text("dear diary " * 100)
    said(run("harvest", tmp_path / "notes.txt"), 1, "not a readable SQLite database", "notes.txt")


def test_a_folder_is_no_database(run, tmp_path):
    (tmp_path / "agent").mkdir()
    log(tmp_path / "agent/a.db").close()
    said(run("harvest", tmp_path / "agent"), 1, "No reader of files recognises", "agent", "pass its file")


def test_an_unknown_schema_names_its_tables(run, tmp_path):
    db = sqlite3.connect(tmp_path / "shop.db")
    db.execute("CREATE TABLE orders (id)")
    db.close()
    said(run("harvest", tmp_path / "shop.db"), 1, "No reader recognises", "'orders'", "lunar")


def test_an_empty_log(run, tmp_path):
    log(tmp_path / "a.db", 0).close()
    said(run("harvest", tmp_path / "a.db"), 1, "No conversation", "a.db")


@pytest.mark.skipif(sys.platform == "win32", reason="asks for POSIX locks")
def test_a_locked_log(run, tmp_path, monkeypatch):
    from lunar_tune.sources.core import still

    monkeypatch.setattr(still, "COPY_SECONDS", 0)
    log(tmp_path / "a.db").close()
    code = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('BEGIN EXCLUSIVE'); print('begun', flush=True); sys.stdin.read()"
    )
    agent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "a.db")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert agent.stdout.readline() == "begun\n"
    said(run("harvest", tmp_path / "a.db"), 1, "locked by another program", "a.db")
    agent.communicate()
    assert run("harvest", tmp_path / "a.db")[0] == 0


def test_an_unreadable_log_among_others(run, tmp_path):
    log(tmp_path / "a.db").close()
    (tmp_path / "b.db").write_text("dear diary " * 100)
    code, out, err = run("sources", tmp_path / "a.db", tmp_path / "b.db")
    assert code == 0, err
    assert "cannot be read" in out
    assert f"lunar-tune harvest {tmp_path / 'a.db'}" in out
    assert f"lunar-tune harvest {tmp_path / 'b.db'}" not in out
    said(run("sources", tmp_path / "b.db"), 1, "not a readable SQLite database", "b.db")


def test_malformed_json_costs_its_row_only(run, tmp_path):
    db = log(tmp_path / "a.db", 12)
    db.execute("UPDATE messages SET tool_calls = '[{\"id\": ' WHERE conversation_id = 'c3' AND role = 'assistant'")
    db.commit()
    db.close()
    code, out, _ = run("harvest", tmp_path / "a.db", "--json")
    assert code == 0
    manifest = json.loads(out)
    dropped = [json.loads(line) for line in (Path(manifest["path"]) / "dropped.jsonl").read_text().splitlines()]
    assert sum(manifest["counts"][split] for split in ("train", "valid", "test")) >= 11
    assert any("unreadable" in row["reason"] for row in dropped), dropped


def test_two_agents_need_a_word(run, tmp_path):
    log(tmp_path / "a.db").close()
    log(tmp_path / "b.db").close()
    code, _, err = run("harvest", tmp_path / "a.db", tmp_path / "b.db")
    assert code == 2
    assert "--also" in err


def test_rows_longer_than_the_window_are_not_replaced_by_rehearsal(run, tmp_path):
    db = log(tmp_path / "a.db", 60)
    db.execute("UPDATE messages SET content = content || ?", (" One more word." * 40,))
    db.commit()
    db.close()
    window = ("--set", "dataset.window=64")
    assert run(*window, "harvest", tmp_path / "a.db")[0] == 0
    train = (*window, "train", "--base", ROOT / "fixtures/nano", "--rehearsal", "0", "--force")
    said(run(*train), 3, "0 usable", "'window'", "dataset.window (64 tokens)")
    assert not list((tmp_path / "home/runs").glob("*"))


def test_too_few_examples_refuse(run, tmp_path):
    log(tmp_path / "a.db", 12).close()
    assert run("harvest", tmp_path / "a.db")[0] == 0
    said(run("train", "--base", ROOT / "fixtures/nano"), 3, "needs at least 50", "--force")


def test_a_missing_base(run, tmp_path):
    log(tmp_path / "a.db", 100).close()
    said(run("--set", f"train.base={tmp_path / 'none'}", "nightly", tmp_path / "a.db"), 1, "was not found", "--base")


def test_a_base_that_cannot_be_exported_is_said_before_training(run, tmp_path):
    base = tmp_path / "quantized"
    base.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "model.safetensors"):
        (base / name).write_bytes((ROOT / "fixtures/nano" / name).read_bytes())
    config = json.loads((ROOT / "fixtures/nano/config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "gptq", "bits": 4}}))
    log(tmp_path / "a.db", 100).close()
    said(
        run("--set", f"train.base={base}", "nightly", tmp_path / "a.db"), 1, "cannot be exported", "Nothing was trained"
    )
    assert not list((tmp_path / "home").glob("runs/*"))


def test_nothing_made_yet(run):
    said(run("train"), 1, "No dataset", "lunar-tune harvest")
    said(run("export"), 1, "No training run", "lunar-tune train")
    said(run("evaluate"), 1, "No version", "lunar-tune export")
    said(run("evaluate", "v-none"), 1, "'v-none'")
    said(run("modelfile", "../../etc"), 1, "'../../etc'")


def test_nothing_to_roll_back_to(run):
    assert run("rollback", "--registry", "local")[0] == 1


def test_wrong_settings_are_all_told(run, tmp_path):
    (tmp_path / "x.toml").write_text("[train]\nepocs = 2\nrank = 1.5\n")
    got = run("--config", tmp_path / "x.toml", "harvest", tmp_path / "a.db")
    said(got, 2, "did you mean 'epochs'", "a whole number")
    said(run("--set", "train.rank", "doctor"), 2, "SECTION.KEY=VALUE")
    said(run("--config", tmp_path / "none.toml", "harvest"), 2, "No settings file")
    said(run("harvest", "--windw", "5"), 2, "--window")


def test_no_ollama(run):
    said(
        run("versions", "--registry", "ollama", "--host", "http://127.0.0.1:9"), 1, "No Ollama answers", "ollama serve"
    )


def test_an_existing_settings_file_is_not_touched(run, tmp_path):
    assert run("init")[0] == 0
    before = (tmp_path / "home/lunar.toml").read_text()
    assert run("init")[0] == 2
    assert (tmp_path / "home/lunar.toml").read_text() == before


def test_a_busy_workspace(run, tmp_path):
    from lunar_tune.files import lock

    log(tmp_path / "a.db").close()
    with lock(tmp_path / "home/lock"):
        said(run("harvest", tmp_path / "a.db"), 1, "Another run is using the workspace")


def test_a_missing_extra_names_its_cure(run, tmp_path, monkeypatch):
    from lunar_tune.train import backends

    log(tmp_path / "a.db", 100).close()
    assert run("harvest", tmp_path / "a.db")[0] == 0
    monkeypatch.setattr(backends, "find_spec", lambda name: None if name in ("peft", "torch") else object())
    got = run("train", "--base", ROOT / "fixtures/nano", "--backend", "peft", "--rehearsal", "0")
    said(got, 1, "not installed", "lunar-tune[peft]")


def test_ctrl_c_ends_with_130(tmp_path):
    log(tmp_path / "a.db", 100).close()
    home = tmp_path / "home"
    flags = [
        "--set",
        f"train.base={ROOT / 'fixtures/nano'}",
        "--set",
        "train.epochs=1000",
        "--set",
        "train.rehearsal=0",
    ]
    child = subprocess.Popen(
        [sys.executable, "-m", "lunar_tune", "--home", str(home), *flags, "nightly", str(tmp_path / "a.db")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list(home.glob("work/run-*/metrics.jsonl")) and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert "Interrupted" in err
    assert "Traceback" not in err


def test_a_full_disk_is_said_and_nothing_is_lost(tmp_path, run, monkeypatch):
    import errno
    import os

    log(tmp_path / "a.db", 12).close()
    assert run("harvest", tmp_path / "a.db")[0] == 0
    before = sorted(tmp_path.glob("home/datasets/*/*"))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    said(run("harvest", tmp_path / "a.db", "--valid", "0.3"), 1, "full", "run the same command again")
    assert sorted(tmp_path.glob("home/datasets/*/*")) == before
