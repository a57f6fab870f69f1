import os
import stat

import pytest

from lunar_tune.sources.core import jsonl


def test_families_are_named_after_where_they_began(tmp_path):
    def head(file, session, **fields):
        return jsonl.Head(tmp_path / file, session, **fields)

    heads = [
        head("fork", "b", origin="a", start="2"),
        head("first", "a", name="u1", start="1"),
        head("copy", "c", name="u1", start="1"),
        head("part", "a", start="0"),
        head("orphan", "d", origin="gone"),
        head("ring", "x", origin="y", name="u2"),
        head("other ring", "y", origin="x"),
        head("own", "z", origin="z"),
        head("misleading", "q", name="a"),
    ]
    found = {name: {head.file.name for head in members} for name, members in jsonl.families(heads).items()}
    assert found == {
        "u1": {"part", "first", "copy", "fork"},
        "gone": {"orphan"},
        "u2": {"ring", "other ring"},
        "z": {"own"},
        "q": {"misleading"},
    }


def test_a_line_too_long_costs_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(jsonl, "LONGEST", 16)
    file = tmp_path / "a.jsonl"
    file.write_text('{"a": 1}\n{"b": "' + "x" * 50 + '"}\n{"c": 3}\n{"d": ' + "4" * 50)
    lost = []
    assert list(jsonl.records(file, lambda *told: lost.append(told))) == [(1, {"a": 1}), (3, {"c": 3})]
    assert lost == [("an unreadable line", 2), ("an unreadable line", 4)]
    assert list(jsonl.records(file, lambda *told: None, 2)) == [(1, {"a": 1})]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.jsonl")
    assert stat.S_ISFIFO((tmp_path / "a.jsonl").stat().st_mode)
    lost = []
    assert list(jsonl.records(tmp_path / "a.jsonl", lambda *told: lost.append(told))) == []
    assert lost == [("a file that cannot be read further", 1)]


def test_names_without_endings(tmp_path):
    names = ("a.jsonl", "b.jsonl.zst", ".jsonl")
    assert [jsonl.stem(tmp_path / name) for name in names] == ["a", "b", ".jsonl"]
