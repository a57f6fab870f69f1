"""The tables that simonw/llm wrote up to 0.31: one `responses` row a model call, in `conversations`.

`tool_results` hang on the response whose prompt carried them, `tool_calls` on the response that made them; the prompt
and the system prompt exclude their fragments, which come first. Responses that exist as turns of the newer tables are
left to those. Most of these tables have no index by response, so who belongs to whom is read once, as numbers.
"""

from __future__ import annotations

import sqlite3
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from lunar_tune.episodes import Attachment, Episode, ToolCall
from lunar_tune.seams import Report
from lunar_tune.sources import base
from lunar_tune.sources.core import cells
from lunar_tune.sources.core.blocks import FAILED
from lunar_tune.sources.core.conversation import Conversation
from lunar_tune.sources.llm.rows import GIVEN, Tools, attachment, batches, clean, grouped, named

RESPONSE = ("id", "model", "resolved_model", "prompt", "system", "response", "reasoning", "datetime_utc")
CALL = ("name", "arguments", "tool_call_id")
RESULT = ("id", "name", "output", "tool_call_id", "exception")
BATCH = 64  # responses read together
Told = tuple[str, list[int]]  # a conversation's name, and the rows of its responses in order


class Responses:
    """The older tables of a log."""

    def __init__(self, db: sqlite3.Connection, path: Path, report: Report, source: str) -> None:
        self.db, self.path, self.report, self.source = db, path, report, source
        self.there = base.has(db, "responses", "id", "prompt", "response")
        self.tools = Tools(db)
        grouped_by = base.has(db, "responses", "conversation_id")
        self._names = "coalesce(nullif(conversation_id, ''), id)" if grouped_by else "id"
        self._newer = " AND id NOT IN (SELECT id FROM turns)" if base.has(db, "turns", "id") else ""
        self._belonging: list[_Belonging] = []

    def threads(self) -> Iterator[tuple[str, list[Any]]]:
        """Yield each conversation with its number of responses and the newest."""
        if self.there:
            query = f"SELECT {self._names} AS c, count(*), max(rowid) FROM responses WHERE 1{self._newer} GROUP BY c"
            for name, *newest in self.db.execute(query):
                yield named(name), newest

    def conversations(self, only: Collection[str] | None) -> Iterator[Told]:
        """Yield the conversations, or those named, in the order of their first response."""
        if not self.there:
            return
        condition, names = base.among("", None)
        if only is not None and all(clean(name) for name in only):
            condition, names = base.among(f"CAST({self._names} AS TEXT)", only)
        condition, names = base.among("", None)
        if only is not None and all(clean(name) for name in only):
            condition, names = base.among(f"CAST({self._names} AS TEXT)", only)
        query = (
            f"SELECT number, c FROM (SELECT rowid AS number, id, {self._names} AS c,"
            f" min(id) OVER (PARTITION BY {self._names}) AS first FROM responses"
            f" WHERE {condition}{self._newer}) ORDER BY first, c, id"
        )
        for key, rows in groupby(self.db.execute(query, names), key=itemgetter(1)):
            if only is None or named(key) in only:
                yield named(key), [row for row, _ in rows]

    def episodes(self, told: Iterable[Told]) -> Iterator[Episode]:
        """Yield the conversations, some read together; one that nothing can be read of is reported."""
        for batch in batches(((one, len(one[1])) for one in told), BATCH):
            beside = _Beside(self, [row for _, rows in batch for row in rows])
            for name, rows in batch:
                talk = Conversation(self.source, self.path, name, self.report)
                _Reading(talk, beside).read(rows)
                episode = talk.episode()
                if episode is not None:
                    yield episode

    def belonging(self) -> list[_Belonging]:
        """Return the calls, results and tools by response."""
        if not self._belonging:
            self._belonging = [
                _Belonging(self.db, table, names)
                for table, names in (("tool_calls", CALL), ("tool_results", RESULT), ("tool_responses", ("tool_id",)))
            ]
        return self._belonging


class _Belonging:
    """The rows of a table without an index that name a response: who belongs to whom in two columns of numbers."""

    def __init__(self, db: sqlite3.Connection, table: str, names: Sequence[str]) -> None:
        self.db, self.table, self.names = db, table, names
        self.responses, self.rows = array("q"), array("q")
        if base.has(db, table, "response_id"):
            query = f"SELECT r.rowid, t.rowid FROM {table} t JOIN responses r ON r.id = t.response_id ORDER BY 1, 2"
            for response, row in db.execute(query):
                self.responses.append(response)
                self.rows.append(row)

    def of(self, responses: Iterable[int]) -> dict[int, list[tuple[Any, ...]]]:
        """Return the rows of some responses by response, in order."""
        owners: dict[int, int] = {}
        for response in responses:
            place = bisect_left(self.responses, response)
            while place < len(self.responses) and self.responses[place] == response:
                owners[self.rows[place]] = response
                place += 1
        found: dict[int, list[tuple[Any, ...]]] = {}
        if owners:
            names = base.picked(self.db, self.table, self.names)
            rows = grouped(self.db, f"SELECT rowid, {names} FROM {self.table} WHERE rowid IN {GIVEN}", owners)
            for row, response in owners.items():
                found.setdefault(response, []).extend(rows.get(row, ()))
        return found


class _Beside:
    """What belongs to some responses, by response."""

    def __init__(self, log: Responses, rows: Sequence[int]) -> None:
        db = log.db
        self.tools_of = log.tools
        query = f"SELECT rowid, {base.picked(db, 'responses', RESPONSE)} FROM responses WHERE rowid IN {GIVEN}"
        self.responses = grouped(db, query, rows)
        self.calls, self.results, self.tools = (table.of(rows) for table in log.belonging())
        self.prompts = _fragments(db, "prompt_fragments", rows)
        self.systems = _fragments(db, "system_fragments", rows)
        self.files = _files(db, "prompt_attachments", "response_id", "responses", rows)
        results = [row[0] for found in self.results.values() for row in found if isinstance(row[0], int)]
        self.result_files = _files(db, "tool_results_attachments", "tool_result_id", "tool_results", results)


def _fragments(db: sqlite3.Connection, table: str, rows: Sequence[int]) -> dict[int, list[tuple[Any, ...]]]:
    if not (base.has(db, table, "response_id", "fragment_id") and base.has(db, "fragments", "id", "content")):
        return {}
    query = (
        f"SELECT r.rowid, f.content FROM responses r JOIN {table} p ON p.response_id = r.id"
        f" JOIN fragments f ON f.id = p.fragment_id WHERE r.rowid IN {GIVEN}"
    )
    return grouped(db, query + _ordered(db, table), rows)


def _files(
    db: sqlite3.Connection, table: str, column: str, owners: str, rows: Sequence[int]
) -> dict[int, list[Attachment]]:
    if not (rows and base.has(db, table, column, "attachment_id") and base.has(db, "attachments", "id")):
        return {}
    query = (
        f"SELECT r.rowid, {base.picked(db, 'attachments', ('type', 'path', 'url'), 'a')} FROM {owners} r"
        f" JOIN {table} p ON p.{column} = r.id JOIN attachments a ON a.id = p.attachment_id WHERE r.rowid IN {GIVEN}"
    )
    found = grouped(db, query + _ordered(db, table), rows)
    return {key: [attachment(*file) for file in files] for key, files in found.items()}


def _ordered(db: sqlite3.Connection, table: str) -> str:
    return ' ORDER BY p."order", p.rowid' if base.has(db, table, "order") else " ORDER BY p.rowid"


class _Reading:
    """One conversation while it is read."""

    def __init__(self, talk: Conversation, beside: _Beside) -> None:
        self.talk, self.beside = talk, beside
        self.system = ""

    def read(self, rows: Iterable[int]) -> None:
        """Add the responses, in order."""
        tools: dict[Any, None] = {}
        for row in rows:
            for response in self.beside.responses.get(row, ()):
                self._response(row, *response)
            tools.update((key, None) for (key,) in self.beside.tools.get(row, ()))
        self.talk.offer(self.beside.tools_of.specs(tools, self.talk.thread, self.talk.report))

    def _response(
        self, row: int, key: Any, model: Any, resolved: Any, prompt: Any, system: Any, said: Any, thought: Any, at: Any
    ) -> None:
        talk, beside = self.talk, self.beside
        talk.started_at = talk.started_at or cells.timestamp(at)
        talk.model = cells.text(resolved or model) or talk.model
        now = self._text(system, f"responses.system={key}", beside.systems.get(row, ()))
        if now and now != self.system:
            talk.say("system", now, at=at)
            self.system = now
        for number, name, output, call_id, exception in beside.results.get(row, ()):
            content = self._text(output, f"tool_results.output={number}")
            files = beside.result_files.get(number, ())
            error = (cells.text(exception) or FAILED) if exception else None
            talk.result(content, call_id=call_id, name=name, at=at, error=error, attachments=files)
        asked = self._text(prompt, f"responses.prompt={key}", beside.prompts.get(row, ()))
        files = beside.files.get(row, ())
        if asked or files:
            talk.say("user", asked, at=at, attachments=files)
        talk.say(
            "assistant",
            self._text(said, f"responses.response={key}"),
            at=at,
            model=resolved or model,
            error="unreadable content" if said is not None and cells.text(said) is None else None,
            reasoning=self._text(thought, f"responses.reasoning={key}"),
            calls=[self._call(key, *call) for call in beside.calls.get(row, ())],
        )

    def _call(self, key: Any, name: Any, arguments: Any, call_id: Any) -> ToolCall:
        readable = cells.text(arguments) if isinstance(arguments, bytes) else arguments
        if readable is None and arguments is not None:
            self.talk.lost("arguments that are no text", f"tool_calls.response_id={key}")
        return cells.call(name, readable, call_id)

    def _text(self, own: Any, place: str, fragments: Iterable[tuple[Any, ...]] = ()) -> str:
        """Return a cell's text after its fragments; bytes that are no text are reported."""
        parts = [*(content for (content,) in fragments), own]
        texts = [cells.text(part) for part in parts]
        if any(text is None and part is not None for text, part in zip(texts, parts, strict=True)):
            self.talk.lost("content that is no text", place)
        return "\n".join(text for text in texts if text)
