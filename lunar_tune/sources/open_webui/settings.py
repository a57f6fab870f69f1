"""What stands beside Open WebUI's chats: ratings, prompts of models and folders, tools of the workspace.

Of each table only the named columns are read: `tool.valves`, `user`, `auth`, `config` and the like hold secrets.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import SignalKind, ToolSpec
from lunar_tune.seams import Report
from lunar_tune.sources import base
from lunar_tune.sources.core import cells

Judgement = tuple[SignalKind, float | str, str | None]  # kind, value, note


def judgement(data: Any) -> tuple[Judgement, ...]:
    """Return what a rating or a message's own annotation says: the thumb, or the words where there is none."""
    if not isinstance(data, dict):
        return ()
    note = _note(data)
    try:
        value = float(data.get("rating"))  # type: ignore[arg-type]  # a number or its text; anything else is no thumb
    except (TypeError, ValueError, OverflowError):
        value = 0.0
    if value in (1.0, -1.0):
        return (("rating", value, note),)
    return (("annotation", note, "by the user"),) if note else ()


def _note(data: dict[str, Any]) -> str | None:
    """Return reason, comment, tags, the 1-10 scale and the rivals in one line."""
    said = [cells.text(data.get(key)) for key in ("reason", "comment") if isinstance(data.get(key), str)]
    tags = data.get("tags")
    said += [", ".join(t for t in tags if isinstance(t, str))] if isinstance(tags, list) else []
    details = data.get("details")
    score = details.get("rating") if isinstance(details, dict) else None
    said += [f"{score} of 10"] if isinstance(score, (int, float)) and not isinstance(score, bool) else []
    rivals = data.get("sibling_model_ids")
    names = ", ".join(r for r in rivals if isinstance(r, str)) if isinstance(rivals, list) else ""
    said += [f"beside {names}"] if names else []
    return "; ".join(part for part in said if part) or None


class Ratings:
    """The feedback, by chat and message, in the order in which it was given; of the chats in `only`, where given."""

    def __init__(self, db: sqlite3.Connection, report: Report, only: Collection[str] | None = None) -> None:
        self.report, self.only = report, only
        self.found: dict[str, dict[str, list[Judgement]]] = {}
        self.places: dict[tuple[str, str], list[str]] = {}
        if not base.has(db, "feedback", "id", "data", "meta"):
            return
        for key, data, meta in db.execute("SELECT id, data, meta FROM feedback ORDER BY rowid"):
            self._take(f"feedback.id={cells.text(key)}", data, meta)

    def of(self, chat: str) -> dict[str, list[Judgement]]:
        """Return the judgements of a chat's messages; each is asked for once."""
        return self.found.pop(chat, {})

    def unused(self, chat: str, messages: Collection[str]) -> None:
        """Report judgements of messages that are not there."""
        for message in sorted(messages):
            for place in self.places.get((chat, message), ()):
                self.report(Verdict(chat, "read", "a rating of a message that is gone", place))

    def report_unused(self) -> None:
        """Report the judgements of chats that nobody asked for."""
        for chat, messages in self.found.items():
            for message in messages:
                for place in self.places[chat, message]:
                    self.report(Verdict(chat, "read", "a rating of a chat that is gone", place))

    def _take(self, place: str, data_cell: Any, meta_cell: Any) -> None:
        meta = mapping(meta_cell)
        chat, message = meta.get("chat_id"), meta.get("message_id")
        if self.only is not None and not (isinstance(chat, str) and chat in self.only):
            return
        judged = judgement(mapping(data_cell))
        if not judged or not isinstance(chat, str) or not isinstance(message, str):
            self.report(Verdict(chat if isinstance(chat, str) else "", "read", "unreadable feedback", place))
            return
        self.found.setdefault(chat, {}).setdefault(message, []).extend(judged)
        self.places.setdefault((chat, message), []).append(place)


def mapping(cell: Any) -> dict[str, Any]:
    """Return the JSON object in a cell, an empty one where there is none."""
    try:
        return cells.mapping(cells.parse_json(cell))
    except ValueError:
        return {}


class Settings:
    """Prompts and tools as they are now; the log does not keep how they were."""

    def __init__(self, db: sqlite3.Connection, report: Report) -> None:
        self.db, self.report = db, report
        self.prompts: dict[str, str] = {}
        self.tool_ids: dict[str, list[str]] = {}
        self.folders: dict[str, str] = {}
        self.specs: dict[str, list[ToolSpec]] = {}
        for key, params, meta in self._objects("model", "params", "meta"):
            if isinstance(params.get("system"), str):
                self.prompts[key] = params["system"]
            ids = meta.get("toolIds")
            self.tool_ids[key] = [i for i in ids if isinstance(i, str)] if isinstance(ids, list) else []
        for key, data in self._objects("folder", "data"):
            if isinstance(data.get("system_prompt"), str):
                self.folders[key] = data["system_prompt"]
        self._read_tools()

    def prompt(self, models: Sequence[str], folder: str | None, chat: str | None) -> str | None:
        """Return the prompt of a path that these models answer on, joined as the app joins them."""
        own = self.prompts.get(models[0]) if models else None
        parts = [own, self.folders.get(folder or ""), chat]
        return "\n".join(part for part in parts if part and part.strip()) or None

    def tools(self, models: Iterable[str], called: Collection[str]) -> list[ToolSpec]:
        """Return the tools of these models and those of the names called, in the order of the table."""
        ids = {key for model in models for key in self.tool_ids.get(model, ())}
        return [s for key, specs in self.specs.items() for s in specs if key in ids or s.name in called]

    def _objects(self, table: str, *columns: str) -> Iterable[tuple[Any, ...]]:
        if not base.has(self.db, table, "id"):
            return
        query = f"SELECT {base.picked(self.db, table, ('id', *columns))} FROM {table} ORDER BY rowid"
        for key, *values in self.db.execute(query):
            name = cells.text(key) or ""
            yield (name, *(self._object(c, f"{table}.{n}={name}") for n, c in zip(columns, values, strict=True)))

    def _object(self, cell: Any, place: str) -> dict[str, Any]:
        if cell in (None, "", "null"):
            return {}
        try:
            value = cells.parse_json(cell)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            self.report(Verdict("", "read", "unreadable settings", place))
            return {}
        return value

    def _read_tools(self) -> None:
        if not base.has(self.db, "tool", "id", "specs"):
            return
        for rowid, key, cell in self.db.execute("SELECT rowid, id, specs FROM tool ORDER BY rowid"):
            name = cells.text(key) or ""
            try:
                specs, lost = cells.tool_specs(cells.parse_json(cell))
            except ValueError:
                specs, lost = [], 1
            self.specs[name] = specs
            if lost:
                self.report(Verdict("", "read", "unreadable tool", f"tool.rowid={rowid}"))
