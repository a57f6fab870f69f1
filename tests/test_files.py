import errno
import json
import os
import stat
import subprocess
import sys

import pytest

from lunar_tune import files
from lunar_tune.errors import ArtefactBroken, DiskFull, WorkspaceBusy


def test_a_write_is_whole_or_absent(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "a.json"
    files.write_json(path, {"b": 1})
    before = path.read_bytes()

    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull, match="full"):
        files.write_json(path, {"b": 2})
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


def test_files_are_the_owners_alone(tmp_path):
    files.write_jsonl(tmp_path / "new" / "rows.jsonl", [{"a": 1}])
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "new" / "rows.jsonl").stat().st_mode) == 0o600


def test_jsonl_names_the_broken_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(ArtefactBroken, match="line 2"):
        list(files.read_jsonl(path))


def test_jsonl_keeps_lone_surrogates(tmp_path):
    rows = [{"text": "\ud83d broken"}, {"text": "é ☾"}]
    assert files.write_jsonl(tmp_path / "r.jsonl", rows) == 2
    assert list(files.read_jsonl(tmp_path / "r.jsonl")) == rows


def test_an_artefact_appears_with_its_manifest_or_not_at_all(tmp_path):
    work, final = tmp_path / "work" / "x", tmp_path / "things" / "x"
    files.write_text(work / "sub" / "a.txt", "hello")
    assert not files.is_artefact(work)
    assert files.finish_artefact(work, final, {"id": "x"}) == final
    assert not work.exists()
    manifest = files.read_manifest(final)
    assert manifest["files"]["sub/a.txt"]["bytes"] == 5
    assert files.artefacts_in(tmp_path / "things") == [final]


def test_finished_work_is_not_made_twice(tmp_path):
    final = tmp_path / "x"
    for text in ("first", "second"):
        work = tmp_path / "work"
        files.write_text(work / "a.txt", text)
        files.finish_artefact(work, final, {})
    assert (final / "a.txt").read_text() == "first"


def test_a_folder_without_manifest_is_replaced(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "half").write_text("h")
    files.write_text(tmp_path / "work" / "a.txt", "whole")
    files.finish_artefact(tmp_path / "work", tmp_path / "x", {})
    assert sorted(p.name for p in (tmp_path / "x").iterdir()) == ["a.txt", "manifest.json"]


def test_a_broken_manifest_is_said(tmp_path):
    (tmp_path / "manifest.json").write_text("[")
    with pytest.raises(ArtefactBroken):
        files.read_manifest(tmp_path)
    with pytest.raises(ArtefactBroken, match="no manifest"):
        files.read_manifest(tmp_path / "elsewhere")


def test_a_lock_is_held_once_and_freed_by_death(tmp_path):
    path = tmp_path / "lock"
    code = (
        "import sys\nfrom pathlib import Path\nfrom lunar_tune.files import lock\n"
        "with lock(Path(sys.argv[1])):\n print('held', flush=True)\n sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "held\n"
    with pytest.raises(WorkspaceBusy, match=str(child.pid)), files.lock(path):
        pass
    child.kill()
    child.wait()
    child.stdin.close()
    child.stdout.close()
    with files.lock(path):
        assert json.loads(path.read_text()) == os.getpid()
