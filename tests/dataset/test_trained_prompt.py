"""The system prompt that is trained with: where it comes from, what it costs, and that no secret goes along."""

import json
import sqlite3
from pathlib import Path

import pytest

from lunar_tune.artefacts import Draft
from lunar_tune.chatml import to_messages
from lunar_tune.cli import main
from lunar_tune.dataset.content import CHARACTERS_A_TOKEN
from lunar_tune.dataset.system import as_trained, told_system, trained_system
from lunar_tune.dataset.write import latest_dataset, write_dataset
from lunar_tune.episodes import Episode, Message
from lunar_tune.errors import SettingsError
from lunar_tune.files import read_jsonl
from lunar_tune.settings import DatasetSettings, Settings, overlay

SECRET = "sk-proj-AbCdEf0123456789AbCdEf0123456789"
LUNAR = """
CREATE TABLE conversations(id TEXT PRIMARY KEY, started_at TEXT, model TEXT, system TEXT, tools TEXT, meta TEXT);
CREATE TABLE messages(id INTEGER PRIMARY KEY, conversation_id TEXT, position INTEGER, role TEXT, content TEXT,
  tool_calls TEXT, tool_call_id TEXT, name TEXT, model TEXT, error TEXT, created_at TEXT);
CREATE TABLE feedback(id INTEGER PRIMARY KEY, message_id INTEGER, rating REAL, note TEXT, created_at TEXT);
"""


class Books:
    """What curation hands over."""

    def __init__(self):
        self.verdicts = []

    def taken_back(self, verdict, turns):
        self.verdicts.append(verdict)

    def summary(self):
        empty = {"read": 0, "kept": 0, "left_out": {}}
        return {"conversations": empty, "turns": empty, "unreadable": {}, "redacted": {}}


def drafts(number, system="Be brief, be kind, and copy every value."):
    for i in range(number):
        said = (Message(role="user", content=f"Item {i}?"), Message(role="assistant", content=f"Item {i}."))
        start = f"2026-10-{i + 1:02}T00:00:00Z"
        episode = Episode(source="s", path="p", thread=f"t{i}", messages=said, started_at=start, system=system)
        yield Draft(episode, (0, 1), f"ep-{i:02}")


@pytest.mark.parametrize(("setting", "prompt"), [("drop", None), ("Be brief.", "Be brief.")])
def test_a_shorter_prompt_is_trained_with_and_the_full_one_judged_with(tmp_path, setting, prompt):
    dataset = write_dataset(drafts(10), Books(), DatasetSettings(system=setting), tmp_path)
    for split in ("train", "valid"):
        for row in read_jsonl(dataset.split(split)):
            heads = [m["content"] for m in row["messages"] if m["role"] == "system"]
            assert heads == ([prompt] if prompt else [])
            assert "system" not in row["meta"]
    for row in read_jsonl(dataset.split("test")):
        assert row["messages"][0]["content"].startswith("Be brief, be kind")
        assert row["meta"]["system"] == (prompt or "")


def test_a_prompt_may_stand_in_a_file(tmp_path):
    (tmp_path / "short.txt").write_text("Brief.\n", encoding="utf-8")
    assert trained_system(str(tmp_path / "short.txt")) == "Brief."
    assert trained_system("keep") is None
    assert trained_system("drop") == ""
    with pytest.raises(SettingsError, match="empty"):
        trained_system("  ")
    (tmp_path / "broken.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(SettingsError, match="UTF-8"):
        trained_system(str(tmp_path / "broken.txt"))


def test_rows_without_a_prompt_get_none(tmp_path):
    dataset = write_dataset(drafts(10, system=None), Books(), DatasetSettings(system="Be brief."), tmp_path)
    for split in ("train", "test"):
        assert all(row["messages"][0]["role"] == "user" for row in read_jsonl(dataset.split(split)))


@pytest.mark.parametrize("length", [200, 256, 300, 1023, 5000])
def test_a_text_on_one_line_is_no_file_however_long(tmp_path, length):
    text = ("You are Luna, a brief assistant. " * 200)[:length].strip()
    assert trained_system(text) == text
    values = {"dataset": {"system": text}, "harvest": {"logs": [text]}}
    settings = overlay(Settings(), values, "lunar.toml", tmp_path)
    assert settings.dataset.system == text
    assert settings.harvest.logs == (text,)


@pytest.mark.parametrize("text", ["~nobody-of-this-name/x says hello", "a\0b", "\ud800"])
def test_odd_texts_are_no_files_either(tmp_path, text):
    assert trained_system(text) == text
    assert overlay(Settings(), {"dataset": {"system": text}}, "lunar.toml", tmp_path).dataset.system == text


def test_a_file_that_cannot_be_read_says_so(tmp_path, monkeypatch):
    path = tmp_path / "short.txt"
    path.write_text("Brief.", encoding="utf-8")

    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refused)
    with pytest.raises(SettingsError, match="cannot be read"):
        trained_system(str(path))


@pytest.mark.parametrize("setting", ["keep", "drop", "Be brief.", "Be careful with every value. " * 600])
def test_the_budget_counts_what_is_trained_on(tmp_path, setting):
    long = "Always be careful with every value. " * 400
    budget = 20_000
    dataset = write_dataset(
        drafts(25, long), Books(), DatasetSettings(system=setting, budget=budget, per_template=0, valid=0), tmp_path
    )
    lines = (dataset.path / "train.jsonl").read_text(encoding="utf-8").splitlines()
    trained = sum(len(line) for line in lines) // CHARACTERS_A_TOKEN
    counted = dataset.manifest["budget"]["tokens"]
    assert abs(counted - trained) <= 3 * len(lines)  # each row is rounded, and the name of its group not counted
    assert counted <= budget
    if setting in ("drop", "Be brief."):
        assert dataset.counts["train"] == 20  # all of them
        assert dataset.manifest["budget"]["dropped"] == {}
    else:
        assert 0 < dataset.counts["train"] < 6


def test_a_test_row_can_be_had_as_it_was_trained_for(tmp_path):
    for setting, heads in (("drop", []), ("Be brief.", ["Be brief."]), ("keep", ["Long."])):
        row = {"messages": to_messages(next(drafts(1, "Long.")).episode, (0, 1)), "meta": {}}
        if (trained := trained_system(setting)) is not None:
            row["meta"]["system"] = trained
        messages = as_trained(row)["messages"]
        assert [m["content"] for m in messages if m["role"] == "system"] == heads
        assert [m["role"] for m in messages][-2:] == ["user", "assistant"]
    bare = {"messages": [{"role": "user", "content": "Hi"}], "meta": {"system": "Be brief."}}
    assert as_trained(bare) == bare


def test_a_path_is_told_without_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "ann-miller"))
    path = tmp_path / "ann-miller" / "short.txt"
    path.parent.mkdir()
    path.write_text("Brief.\n", encoding="utf-8")
    dataset = write_dataset(drafts(10), Books(), DatasetSettings(system=str(path)), tmp_path / "w")
    assert dataset.manifest["settings"]["dataset"]["system"] == "~/short.txt"
    for file in dataset.path.iterdir():
        assert "ann-miller" not in file.read_text(encoding="utf-8"), file.name
    assert 'system = "~/short.txt"' in (dataset.path / "README.md").read_text(encoding="utf-8")
    assert trained_system("~/short.txt") == "Brief."  # what the card says makes the dataset again
    assert [told_system(s, trained_system(s)) for s in ("keep", "drop", " Be brief.\n")] == [
        "keep",
        "drop",
        "Be brief.",
    ]


def log(path):
    db = sqlite3.connect(path)
    db.executescript(LUNAR)
    for i in range(10):
        day = f"2026-10-{i + 1:02}T08:00:00Z"
        db.execute("INSERT INTO conversations VALUES (?, ?, 'm', 'Be kind.', NULL, NULL)", (f"c{i}", day))
        for place, (role, text) in enumerate((("user", f"Item {i}?"), ("assistant", f"Item {i} is on shelf {i}."))):
            db.execute(
                "INSERT INTO messages (conversation_id, position, role, content, created_at) VALUES (?, ?, ?, ?, ?)",
                (f"c{i}", place, role, text, day),
            )
    db.commit()
    db.close()
    return path


@pytest.mark.parametrize("in_file", [True, False])
def test_a_secret_in_the_prompt_is_not_written(tmp_path, capsys, in_file):
    prompt = f"Be brief, say Wilhelmina sent you. Key {SECRET} is yours."
    (tmp_path / "short.txt").write_text(prompt, encoding="utf-8")
    settings = tmp_path / "lunar.toml"
    system = "short.txt" if in_file else prompt
    settings.write_text(f'[curate]\nnames = ["Wilhelmina"]\n[dataset]\nsystem = "{system}"\n', encoding="utf-8")
    home = tmp_path / "home"
    assert main(["--home", str(home), "--config", str(settings), "harvest", str(log(tmp_path / "a.db"))]) == 0
    told = capsys.readouterr()
    dataset = latest_dataset(home)
    for file in home.rglob("*"):
        if file.is_file():
            assert SECRET.encode() not in file.read_bytes(), file.name
            assert b"Wilhelmina" not in file.read_bytes(), file.name
    assert SECRET not in told.out + told.err
    assert "dataset.system: redacted 1 api_key" in told.err
    heads = {row["messages"][0]["content"] for row in read_jsonl(dataset.split("train"))}
    heads |= {row["meta"]["system"] for row in read_jsonl(dataset.split("test"))}
    assert len(heads) == 1
    assert "Key <API_KEY_1> is yours." in heads.pop()
    shown = dataset.manifest["settings"]["dataset"]["system"]
    assert shown == str(tmp_path / "short.txt") if in_file else "<API_KEY_1>" in shown


def test_a_prompt_stays_as_it_is_where_redaction_is_off(tmp_path, capsys):
    settings = tmp_path / "lunar.toml"
    settings.write_text(f"[curate]\nredact = false\n[dataset]\nsystem = {json.dumps('Key ' + SECRET)}\n")
    home = tmp_path / "home"
    assert main(["--home", str(home), "--config", str(settings), "harvest", str(log(tmp_path / "a.db"))]) == 0
    assert "redacted" not in capsys.readouterr().err
    rows = read_jsonl(latest_dataset(home).split("train"))
    assert {row["messages"][0]["content"] for row in rows} == {f"Key {SECRET}"}


def test_a_changed_prompt_file_is_a_new_night(tmp_path):
    from lunar_tune import workflow

    log, prompt = tmp_path / "logs.db", tmp_path / "prompt.txt"
    db = sqlite3.connect(log)
    db.executescript(LUNAR)
    db.close()
    settings = overlay(Settings(), {"dataset": {"system": str(prompt)}}, "test", tmp_path)
    marks = []
    for text in ("Be brief.", "Be kind.", "Be kind."):
        prompt.write_text(text)
        marks.append(workflow.watermarks(settings, [str(log)]))
    assert marks[0] != marks[1] == marks[2]
