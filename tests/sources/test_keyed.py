import sqlite3

import pytest

from lunar_tune.sources.core import keyed


def test_rows_are_brought_together_in_the_order_of_the_first():
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE t (who TEXT, at INTEGER, said TEXT)")
    rows = [("a", 5, "late"), ("b", 1, "first"), (None, 2, "nobody's"), ("a", 3, "early")]
    db.executemany("INSERT INTO t VALUES (?, ?, ?)", rows)
    inserted = keyed.conversations(db, "t", ("who", "missing"))
    assert list(inserted) == [("a", None), ("b", None), (None, None)]
    ordered = keyed.conversations(db, "t", ("who",), "at")
    assert list(ordered) == [("b",), (None,), ("a",)]
    assert list(keyed.rows(db, "t", ("said", "gone"), ordered["a",])) == [("early", None), ("late", None)]
    assert list(keyed.conversations(db, "t", ("who",), "gone")) == [("a",), ("b",), (None,)]


def test_rows_of_a_table_with_columns_named_like_those_of_a_list():
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE t (id TEXT, key TEXT, value TEXT)")
    db.executemany("INSERT INTO t VALUES (?, 'k', ?)", [(str(n), str(-n)) for n in range(500)])
    wanted = [3, 1, 500, 2, 77]
    assert list(keyed.rows(db, "t", ("id", "value"), wanted)) == [(str(n - 1), str(1 - n)) for n in wanted]
    assert list(keyed.rows(db, "t", ("id",), [])) == []


def test_an_id_of_any_kind_has_a_name():
    names = [keyed.name(key) for key in ("s", 1, 1.5, b"s", b"\xff", "", None)]
    assert names == ["s", "1", "1.5", "s", "b'\\xff'", "''", "None"]


def test_conversations_wanted_alone():
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE t (who, at)")
    rows = [("b", 1), ("a", 2), (None, 3), ("b", 4), (7, 5), (b"\xff", 6), ("n\x00l", 7)]
    db.executemany("INSERT INTO t VALUES (?, ?)", rows)
    assert keyed.counts(db, "t", ("who", "gone")) == {
        ("b", None): (2, 4), ("a", None): (1, 2), (None, None): (1, 3), (7, None): (1, 5), (b"\xff", None): (1, 6),
        ("n\x00l", None): (1, 7),
    }  # fmt: skip
    everything = keyed.conversations(db, "t", ("who",), "at")
    for wanted in ([("b",)], [(7,), ("a",)], [(None,)], [(b"\xff",), ("a",)], [("n\x00l",)], [("gone",)], []):
        found = keyed.conversations(db, "t", ("who",), "at", wanted)
        assert found == {key: rowids for key, rowids in everything.items() if key in wanted}


@pytest.mark.parametrize("index", ["", "CREATE INDEX i ON t (who, at)", "CREATE INDEX i ON t (who) WHERE at > 3"])
def test_rows_are_found_by_an_index_or_without(index):
    db = sqlite3.connect(":memory:")
    db.executescript(f"CREATE TABLE t (who TEXT, at INTEGER, said TEXT); {index}")
    rows = [("a", 5, "late"), ("b", 1, "first"), (None, 2, "nobody's"), ("a", 3, "early")]
    db.executemany("INSERT INTO t VALUES (?, ?, ?)", rows)
    find = keyed.finder(db, "t", "who", ("said", "gone"), "at")
    assert list(find("a")) == [(4, "early", None), (1, "late", None)]
    assert [list(find(who)) for who in ("b", "c")] == [[(2, "first", None)], []]
    assert list(keyed.finder(db, "t", "who", ("said",), "gone")("a")) == [(1, "late"), (4, "early")]


def test_the_places_of_ids_of_any_kind():
    db = sqlite3.connect(":memory:")
    db.text_factory = lambda raw: raw.decode("utf-8", "replace")
    db.execute("CREATE TABLE t (id, at)")
    keys = ("'a'", "x'61'", "NULL", "''", "7", "'7'", "-1.5", "x'ff'", "'n' || char(0)", "CAST(x'66ff' AS TEXT)")
    for at, key in enumerate(keys):
        db.execute(f"INSERT INTO t VALUES ({key}, {-at})")
    names = ["a", "a", "None", "''", "7", "7", "-1.5", "b'\\xff'", "n\ufffd", "f\ufffd"]
    assert list(keyed.places(db, "t", "id")) == [*range(1, 11)]
    assert list(keyed.places(db, "t", "id", None, "at")) == [*range(10, 0, -1)]
    for name in names:
        assert list(keyed.places(db, "t", "id", {name})) == [n for n, other in enumerate(names, 1) if other == name]
    assert list(keyed.places(db, "t", "id", {"a", "n\ufffd", "gone"}, "at")) == [9, 2, 1]
    assert list(keyed.places(db, "t", "id", set())) == []


@pytest.mark.parametrize("index", ["", "CREATE INDEX i ON t (who)"])
def test_rows_of_many_values_at_once(index):
    db = sqlite3.connect(":memory:")
    db.executescript(f"CREATE TABLE t (who INTEGER, said TEXT); {index}")
    db.executemany("INSERT INTO t VALUES (?, ?)", [(2, "b"), (1, "a"), (2, "c"), (None, "d"), (3, "e")])
    gather = keyed.gatherer(db, "t", "who", ("said", "gone"))
    assert gather([1, 2, 9]) == {1: [("a", None)], 2: [("b", None), ("c", None)]}
    assert gather([]) == {}
