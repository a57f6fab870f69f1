"""Breaking logs: random cells of a database, or lines of files, replaced by what no reader should be shown."""

import contextlib
import json
import random
import sqlite3

from examples import CANARY

JUNK = (
    None, "", "null", "[]", "{}", "{", '[{"id":1}]', "\x00", "a\x00b", "\ud7ff\ue000", "0", "true", "NaN",
    '{"a": "\\ud800"}', "[" * 20_000, '{"a":' * 3_000, 0, 1, -1, 2**62, -(2**63), 1e300, -1e-300, 1.5,
    b"", b"\xff\xfe\x00", b"\x80" * 40, "9999-99-99T99:99:99", "0000-00-00", 10**18, -(10**15), "1e999",
    "user", "assistant", "tool", "system", "nobody",
)  # fmt: skip
INNER = (
    None, True, 0, -1, 2**63, 1e308, "", "x", "\x00", [], {}, [[]], [None], {"a": None}, ["x"], [{}], "2026-13-45",
    {"type": 3},
)  # fmt: skip


def tables(db):
    """Return (table, columns) of what can be changed."""
    names = [
        r[0] for r in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE '%VIRTUAL%'")
    ]
    found = []
    for name in names:
        columns = [row[1] for row in db.execute(f'PRAGMA table_info("{name}")')]
        try:
            count = db.execute(f'SELECT count(rowid) FROM "{name}"').fetchone()[0]
        except sqlite3.OperationalError:  # without rowid
            continue
        if count and not name.startswith("sqlite_"):
            found.append((name, columns))
    return found


def mutate(db, chance, number):
    """Change `number` rows of a database at random."""
    db.execute("PRAGMA foreign_keys = OFF")
    db.execute("PRAGMA ignore_check_constraints = ON")
    places = tables(db)
    for _ in range(number):
        table, columns = chance.choice(places)
        rows = [row[0] for row in db.execute(f'SELECT rowid FROM "{table}"')]
        if not rows:
            continue
        key = chance.choice(rows)
        kind = chance.random()
        if kind < 0.04:
            db.execute(f'DELETE FROM "{table}" WHERE rowid = ?', (key,))
        elif kind < 0.08:
            listed = ", ".join(f'"{name}"' for name in columns)
            db.execute(
                f'INSERT OR IGNORE INTO "{table}" ({listed}) SELECT {listed} FROM "{table}" WHERE rowid = ?', (key,)
            )
        else:
            column = chance.choice(columns)
            with contextlib.suppress(sqlite3.Error, OverflowError):  # a key must be a number, or unlike the others
                _change(db, chance, table, column, key, chance.choice(rows), chance.choice(columns))


def _change(db, chance, table, column, key, other, second):
    old = db.execute(f'SELECT "{column}" FROM "{table}" WHERE rowid = ?', (key,)).fetchone()[0]
    kind = chance.random()
    if kind < 0.15:  # the same as in another row, or another cell of this one: duplicate ids, cycles
        query = f'SELECT "{second if kind < 0.05 else column}" FROM "{table}" WHERE rowid = ?'
        new = db.execute(query, (key if kind < 0.05 else other,)).fetchone()[0]
    elif kind < 0.20:  # invalid UTF-8 in a text
        db.execute(f'UPDATE OR IGNORE "{table}" SET "{column}" = CAST(X\'48ff80c3\' AS TEXT) WHERE rowid = ?', (key,))
        return
    else:
        new = broken(old, chance)
    if CANARY not in str(new):  # moved out of its column it would be content
        db.execute(f'UPDATE OR IGNORE "{table}" SET "{column}" = ? WHERE rowid = ?', (new, key))


def broken(old, chance):
    """Return something near a cell's value that should not be there."""
    if isinstance(old, str) and old[:1] in ("{", "[") and chance.random() < 0.8:
        if chance.random() < 0.3:
            return old[: chance.randrange(len(old))]
        try:
            return json.dumps(_inner(json.loads(old), chance), default=repr)
        except (ValueError, RecursionError):
            return old[: chance.randrange(len(old))]
    if isinstance(old, (str, bytes)) and old and chance.random() < 0.3:
        cut = chance.randrange(len(old))
        return (
            old[:cut]
            if chance.random() < 0.5
            else old[:cut] + (b"\xff\x00" if isinstance(old, bytes) else "\x00") + old[cut:]
        )
    if chance.random() < 0.002:
        return "x" * 10_000_000
    return chance.choice(JUNK)


def _inner(value, chance):
    """Return a JSON value with one node replaced."""
    if isinstance(value, (dict, list)) and value and chance.random() < 0.85:
        copy = value.copy()
        keys = list(copy) if isinstance(copy, dict) else range(len(copy))
        key = chance.choice(list(keys))
        if chance.random() < 0.1:
            del copy[key]
        else:
            copy[key] = _inner(copy[key], chance)
        return copy
    if isinstance(value, str) and value[:1] in ("{", "["):
        return broken(value, chance)
    return chance.choice(INNER)


def mutate_files(paths, chance, number):
    """Change `number` lines of JSONL files at random."""
    for _ in range(number):
        path = chance.choice(paths)
        lines = path.read_bytes().split(b"\n")
        at = chance.randrange(len(lines))
        kind = chance.random()
        if kind < 0.05:
            del lines[at]
        elif kind < 0.10:
            lines.insert(at, chance.choice(lines))
        elif kind < 0.15:
            lines[at] = bytes(chance.randrange(256) for _ in range(chance.randrange(40)))
        else:
            new = broken(lines[at].decode("utf-8", "replace"), chance)
            lines[at] = new if isinstance(new, bytes) else str(new).encode("utf-8", "replace").replace(b"\n", b" ")
        path.write_bytes(b"\n".join(lines))


def seeded(*parts):
    return random.Random(":".join(map(str, parts)))
