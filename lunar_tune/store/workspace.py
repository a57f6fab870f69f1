"""The workspace's SQLite store: runs and judged answers. Opened by the command that needs it.

Artefacts are directories and speak for themselves; the store holds only what has no directory of its own.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lunar_tune.errors import ArtefactBroken
from lunar_tune.files import PRIVATE_FILE, make_private_dir
from lunar_tune.identity import canonical_json

MIGRATIONS: list[Callable[[Any], None]] = []
migration = MIGRATIONS.append


@migration
def m001_runs(db: Any) -> None:
    """A run is one call of a stage or of the loop; `key` names its inputs, so that the same are not run twice."""
    db["runs"].create(
        {
            "id": int, "command": str, "key": str, "started_at": str, "finished_at": str,
            "outcome": str, "document": str,
        },
        pk="id",
    )  # fmt: skip
    db["runs"].create_index(["command", "key"])


@migration
def m003_answers(db: Any) -> None:
    """Judged answers of an arm by content: the base is judged once."""
    db["answers"].create({"key": str, "document": str, "judged_at": str}, pk="key")


class Store:
    """The store of one workspace; every method is one transaction.

    Raises:
        ArtefactBroken: `lunar.db` is not a database of ours.
    """

    def __init__(self, home: Path) -> None:
        import sqlite_utils

        path = make_private_dir(home) / "lunar.db"
        path.touch(mode=PRIVATE_FILE)
        os.chmod(path, PRIVATE_FILE)
        self._connection = sqlite3.connect(path, timeout=30)
        self._db = sqlite_utils.Database(self._connection)
        try:
            self._connection.execute("PRAGMA secure_delete = ON")  # answers are texts of conversations
            self._migrate()
        except sqlite3.DatabaseError as error:
            raise ArtefactBroken(path, str(error)) from error

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def _migrate(self) -> None:
        """Apply what is missing, each migration and its record in one transaction."""
        self._connection.execute("CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_at TEXT)")
        done = {name for (name,) in self._connection.execute("SELECT name FROM migrations")}
        for step in MIGRATIONS:
            if step.__name__ not in done:
                with self._connection:
                    self._connection.execute("BEGIN IMMEDIATE")
                    step(self._db)
                    self._connection.execute("INSERT INTO migrations VALUES (?, ?)", (step.__name__, _now()))

    # -- runs --

    def start_run(self, command: str, key: str) -> int:
        """Record that a run began and return its number."""
        with self._connection:
            cursor = self._connection.execute(
                "INSERT INTO runs (command, key, started_at) VALUES (?, ?, ?)", (command, key, _now())
            )
        return int(cursor.lastrowid or 0)

    def finish_run(self, number: int, outcome: str, document: dict[str, Any], key: str | None = None) -> None:
        """Record how a run ended; `key` replaces the one it began with when the inputs became known on the way."""
        with self._connection:
            self._connection.execute(
                "UPDATE runs SET finished_at = ?, outcome = ?, document = ?, key = coalesce(?, key) WHERE id = ?",
                (_now(), outcome, canonical_json(document), key, number),
            )

    def finished_run(self, command: str, key: str) -> dict[str, Any] | None:
        """Return the newest finished run of these inputs, None if there is none."""
        rows = self._rows("command = ? AND key = ? AND finished_at IS NOT NULL", (command, key), limit=1)
        return rows[0] if rows else None

    def runs(self, limit: int = 50) -> list[dict[str, Any]]:
        """Return the newest runs first."""
        return self._rows("1", (), limit)

    def _rows(self, where: str, values: tuple[Any, ...], limit: int) -> list[dict[str, Any]]:
        import json

        rows = self._db["runs"].rows_where(where, values, order_by="id desc", limit=limit)
        return [{**row, "document": json.loads(row["document"]) if row["document"] else None} for row in rows]

    # -- judged answers --

    def answers(self, key: str) -> dict[str, Any] | None:
        """Return an arm's judged answers, None if it was not judged yet."""
        import json

        row = self._connection.execute("SELECT document FROM answers WHERE key = ?", (key,)).fetchone()
        return dict(json.loads(row[0])) if row else None

    def save_answers(self, key: str, document: dict[str, Any]) -> None:
        """Keep an arm's judged answers."""
        with self._connection:
            self._connection.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", (key, canonical_json(document), _now())
            )

    def forget_answers(self) -> None:
        """Drop every judged answer: the texts are those of held-out conversations."""
        with self._connection:
            self._connection.execute("DELETE FROM answers")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
