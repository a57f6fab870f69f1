import sqlite3
import stat

import pytest

from lunar_tune.errors import ArtefactBroken
from lunar_tune.store.workspace import MIGRATIONS, Store


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path)
    yield opened
    opened.close()


def test_runs_are_recorded_by_their_inputs(store):
    number = store.start_run("nightly", "k1")
    assert store.finished_run("nightly", "k1") is None
    store.finish_run(number, "promoted", {"version": "v-1"})
    assert store.finished_run("nightly", "k1")["document"] == {"version": "v-1"}
    assert store.finished_run("nightly", "k2") is None
    assert [run["outcome"] for run in store.runs()] == ["promoted"]


def test_inputs_may_become_known_on_the_way(store):
    number = store.start_run("nightly", "")
    store.finish_run(number, "refused", {}, key="k")
    assert store.finished_run("nightly", "k")["id"] == number


def test_judged_answers(store):
    assert store.answers("k") is None
    store.save_answers("k", {"n": [1, 2]})
    assert store.answers("k") == {"n": [1, 2]}


def test_migrations_are_applied_once(tmp_path):
    Store(tmp_path).close()
    store = Store(tmp_path)
    store.close()
    with sqlite3.connect(tmp_path / "lunar.db") as db:
        assert db.execute("SELECT count(*) FROM migrations").fetchone() == (len(MIGRATIONS),)
    db.close()
    assert stat.S_IMODE((tmp_path / "lunar.db").stat().st_mode) == 0o600


def test_a_file_that_is_no_store_is_said(tmp_path):
    (tmp_path / "lunar.db").write_bytes(b"not a database, but long enough to be looked at by SQLite" * 20)
    with pytest.raises(ArtefactBroken, match=r"lunar\.db"):
        Store(tmp_path)
