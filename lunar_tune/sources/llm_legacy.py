"""The tables that simonw/llm wrote up to 0.31: one `responses` row a model call, in `conversations`.

`tool_results` hang on the response whose prompt carried them, `tool_calls` on the response that made them; the prompt
and the system prompt exclude their fragments, which come first.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Attachment, Episode, Message, Signal, ToolSpec
from lunar_tune.seams import Report
from lunar_tune.sources import base, cells

RESPONSE = (
    "id", "model", "resolved_model", "prompt", "system", "response", "reasoning", "conversation_id", "datetime_utc",
)  # fmt: skip
CALL = ("name", "arguments", "tool_call_id")
RESULT = ("name", "output", "tool_call_id", "exception")
TOOL = ("id", "name", "description", "input_schema")


def read_responses(db: sqlite3.Connection, path: Path, report: Report, source: str) -> Iterator[Episode]:
    """Yield one episode a conversation; responses that exist as turns of the newer tables are left to those."""
    newer = "WHERE id NOT IN (SELECT id FROM turns)" if base.has(db, "turns", "id") else ""
    order = "SELECT coalesce(conversation_id, id) AS c, min(id) AS first FROM responses GROUP BY c"
    query = (
        f"SELECT {base.picked(db, 'responses', RESPONSE, 'r')} FROM (SELECT * FROM responses {newer}) r"
        f" JOIN ({order}) o ON o.c = coalesce(r.conversation_id, r.id) ORDER BY o.first, r.id"
    )
    rows = (dict(zip(RESPONSE, row, strict=True)) for row in db.execute(query))
    for thread, responses in groupby(rows, key=lambda row: row["conversation_id"] or row["id"]):
        episode = _Reading(db, str(thread), report).episode(responses, path, source)
        if episode is not None:
            yield episode


class _Reading:
    """One conversation while it is read."""

    def __init__(self, db: sqlite3.Connection, thread: str, report: Report) -> None:
        self.db, self.thread, self.report = db, thread, report
        self.messages: list[Message] = []
        self.signals: list[Signal] = []
        self.tools: dict[str, ToolSpec] = {}
        self.system: str | None = None
        self.current_system: str | None = None

    def episode(self, responses: Iterator[dict[str, Any]], path: Path, source: str) -> Episode | None:
        started, model = None, None
        for row in responses:
            started = started or cells.timestamp(row["datetime_utc"])
            model = cells.text(row["resolved_model"] or row["model"])
            self._tools(row["id"])
            self._system(row)
            self._results(row)
            self._prompt(row)
            self._answer(row, model)
        if not self.messages:
            self.report(Verdict(self.thread, "read", "no readable message"))
            return None
        return Episode(
            source=source,
            path=str(path),
            thread=self.thread,
            started_at=started,
            model=model,
            system=self.system,
            tools=tuple(self.tools.values()),
            messages=tuple(cells.pair_calls(self.messages)),
            signals=tuple(self.signals),
        )

    def _system(self, row: dict[str, Any]) -> None:
        system = self._with_fragments("system_fragments", row["id"], row["system"])
        if not system or system == self.current_system:
            return
        if not self.messages:
            self.system = system
        else:
            self.messages.append(
                Message(role="system", content=system, created_at=cells.timestamp(row["datetime_utc"]))
            )
        self.current_system = system

    def _prompt(self, row: dict[str, Any]) -> None:
        prompt = self._with_fragments("prompt_fragments", row["id"], row["prompt"])
        attachments = self._attachments(row["id"])
        if prompt or attachments:
            self.messages.append(
                Message(
                    role="user",
                    content=prompt,
                    created_at=cells.timestamp(row["datetime_utc"]),
                    attachments=tuple(attachments),
                )
            )

    def _answer(self, row: dict[str, Any], model: str | None) -> None:
        calls = []
        for name, arguments, call_id in self._rows("tool_calls", CALL, row["id"]):
            calls.append(cells.call(name, arguments, call_id))
        content = cells.text(row["response"])
        self.messages.append(
            Message(
                role="assistant",
                content=content or "",
                created_at=cells.timestamp(row["datetime_utc"]),
                model=model,
                error="unreadable content" if content is None and row["response"] is not None else None,
                reasoning=cells.text(row["reasoning"]) or None,
                tool_calls=tuple(calls),
            )
        )

    def _results(self, row: dict[str, Any]) -> None:
        for name, output, call_id, exception in self._rows("tool_results", RESULT, row["id"]):
            error = cells.text(exception)
            if error or cells.says_error(cells.text(output) or ""):
                self.signals.append(Signal(kind="tool_error", message=len(self.messages)))
            self.messages.append(
                Message(
                    role="tool",
                    content=cells.text(output) or "",
                    created_at=cells.timestamp(row["datetime_utc"]),
                    error=error,
                    tool_call_id=cells.text(call_id),
                    name=cells.text(name),
                )
            )

    def _rows(self, table: str, names: tuple[str, ...], response: Any) -> list[tuple[Any, ...]]:
        if not base.has(self.db, table, "response_id"):
            return []
        query = f"SELECT {base.picked(self.db, table, names)} FROM {table} WHERE response_id = ? ORDER BY rowid"
        return self.db.execute(query, (response,)).fetchall()

    def _tools(self, response: Any) -> None:
        if not (base.has(self.db, "tool_responses", "tool_id", "response_id") and base.has(self.db, "tools", "id")):
            return
        query = (
            f"SELECT {base.picked(self.db, 'tools', TOOL, 't')} FROM tool_responses r JOIN tools t ON t.id = r.tool_id"
            " WHERE r.response_id = ? ORDER BY t.id"
        )
        for row in self.db.execute(query, (response,)):
            spec = tool_spec(row, self.thread, self.report)
            if spec is not None:
                self.tools[spec.name] = spec

    def _with_fragments(self, table: str, response: Any, own: Any) -> str:
        parts = []
        if base.has(self.db, table, "response_id", "fragment_id") and base.has(self.db, "fragments", "id", "content"):
            query = (
                f"SELECT f.content FROM {table} p JOIN fragments f ON f.id = p.fragment_id"
                ' WHERE p.response_id = ? ORDER BY p."order"'
            )
            parts = [cells.text(content) for (content,) in self.db.execute(query, (response,))]
        return "\n".join(part for part in [*parts, cells.text(own)] if part)

    def _attachments(self, response: Any) -> list[Attachment]:
        if not base.has(self.db, "prompt_attachments", "response_id", "attachment_id"):
            return []
        query = (
            "SELECT a.type, a.path, a.url FROM prompt_attachments p JOIN attachments a ON a.id = p.attachment_id"
            ' WHERE p.response_id = ? ORDER BY p."order"'
        )
        return [attachment(*row) for row in self.db.execute(query, (response,))]


def tool_spec(row: tuple[Any, ...], thread: str, report: Report) -> ToolSpec | None:
    """Return the tool of a row (id, name, description, input_schema); an unreadable schema is reported."""
    key, name, description, schema = row
    if not cells.text(name):
        report(Verdict(thread, "read", "a tool without a name", f"tools.id={key}"))
        return None
    try:
        parameters = cells.parse_json(schema) if schema is not None else {}
    except ValueError:
        parameters = None
    if not isinstance(parameters, dict):
        report(Verdict(thread, "read", "unreadable tool schema", f"tools.id={key}"))
        parameters = {}
    return ToolSpec(name=cells.text(name) or "", description=cells.text(description) or "", parameters=parameters)


def attachment(kind: Any, path: Any, url: Any) -> Attachment:
    """Return an attachment: its type and the last part of its path or address."""
    place = cells.text(path) or (cells.text(url) or "").partition("?")[0]
    return Attachment(type=cells.text(kind) or "file", name=place.replace("\\", "/").rstrip("/").rpartition("/")[2])
