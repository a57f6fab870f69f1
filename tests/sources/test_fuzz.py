"""No cell of a log can crash a reader, hang it, or cost anything without a word. `-m slow` does 100,000 rows."""

import contextlib
import json
import shutil
import signal
import sqlite3

import examples
import pytest
from mutate import mutate, mutate_files, seeded, tables

from lunar_tune import plugins
from lunar_tune.episodes import to_dict
from lunar_tune.settings import HarvestSettings
from lunar_tune.sources.base import owner
from lunar_tune.sources.log import open_log
from lunar_tune.sources.read import open_logs

FORMATS = examples.names()
ROWS = 20  # changed at once
PATIENCE = 60  # seconds after which a reader hangs


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return a function from a format to its example's path and reader."""
    known = {}

    def of(name):
        if name not in known:
            path = examples.build(name, tmp_path_factory.mktemp(name))
            settings = getattr(examples.example(name), "SETTINGS", HarvestSettings())
            with open_logs([path], plugins.sources(), settings) as (log,):
                known[name] = path, log.source
        return known[name]

    return of


@contextlib.contextmanager
def patience(case):
    def out(number, frame):
        raise TimeoutError(f"{case} took more than {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, out)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def read(source, db, path):
    lost = []
    if db is None:
        with open_log(path, [source]) as log:
            threads, found = log.threads, list(log.read(lost.append))
    else:
        threads, found = dict(source.threads(db)), list(source.read(db, path, lost.append))
    return threads, found, lost


def opened(path):
    """A copy of a database in memory, as `open_read_only` would give it."""
    db = sqlite3.connect(":memory:")
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.backup(db)
    db.text_factory = lambda raw: raw.decode("utf-8", "replace")
    return db


def check(name, threads, found, lost):
    for episode in found:
        json.dumps(to_dict(episode))  # has an id, and holds nothing that JSON cannot
    assert all(episode.messages for episode in found)
    assert [e.thread for e in found if owner(e, threads) is None] == []
    assert all(verdict.reason for verdict in lost)
    assert examples.CANARY not in repr(lost)  # places, never texts


def some(name, built, tmp_path, rows):
    path, source = built(name)
    if hasattr(source, "read_path"):
        for case in range(rows // ROWS):
            copy = tmp_path / "copy" / path.name
            shutil.rmtree(tmp_path / "copy", ignore_errors=True)
            copy.parent.mkdir()
            (shutil.copytree if path.is_dir() else shutil.copyfile)(path, copy)
            files = sorted(copy.rglob("*.jsonl")) if copy.is_dir() else [copy]
            mutate_files(files, seeded(name, case), ROWS)
            if source.recognises_path(copy):
                with patience(f"{name} {case}"):
                    check(name, *read(source, None, copy))
        return
    with contextlib.closing(opened(path)) as whole:
        for case in range(rows // ROWS):
            with contextlib.closing(sqlite3.connect(":memory:")) as db:
                whole.backup(db)
                db.text_factory = whole.text_factory
                mutate(db, seeded(name, case), ROWS)
                with patience(f"{name} {case}"):
                    if source.recognises(db):
                        check(name, *read(source, db, path))


@pytest.mark.parametrize("name", FORMATS)
def test_a_log_may_hold_anything(name, built, tmp_path):
    some(name, built, tmp_path, 600)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_a_hundred_thousand_rows_may_hold_anything(name, built, tmp_path):
    some(name, built, tmp_path, 100_000)


@pytest.mark.parametrize("name", FORMATS)
def test_json_that_is_cut_is_told_with_its_place(name, built):
    """Each JSON cell in turn: what is read is the same as before, or keeps the text, or the loss is told."""
    path, source = built(name)
    if hasattr(source, "read_path"):
        pytest.skip("the lines of files are tested beside their readers")
    with contextlib.closing(opened(path)) as db:
        _, before, told = read(source, db, path)
        cells = [
            (table, column, key, cell)
            for table, columns in tables(db)
            for column in columns
            for key, cell in db.execute(f'SELECT rowid, "{column}" FROM "{table}" WHERE typeof("{column}") = \'text\'')
            if cell[:1] in ("{", "[") and is_json(cell)
        ]
        if not cells:
            pytest.skip("it keeps no JSON as text")
        for table, column, key, cell in cells:
            cut = cell[: max(1, len(cell) // 2)]
            db.execute(f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = ?', (cut, key))
            _, after, lost = read(source, db, path)
            db.execute(f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = ?', (cell, key))
            new = [verdict for verdict in lost if verdict not in told]
            assert after == before or new or json.dumps(cut)[1:-1] in "".join(json.dumps(to_dict(e)) for e in after), (
                f"{table}.{column}={key} was lost without a word"
            )
            assert all(cut not in repr(verdict) for verdict in new if len(cut) > 20)


def is_json(cell):
    try:
        json.loads(cell)
    except ValueError:
        return False
    return True
