"""Arize Phoenix's traces in its SQLite store: what an agent asked its models, and the annotations of people and judges.

A conversation is the traces of one session in time order, or one trace without a session; how their spans become
messages is told in `spans`. Runs and evaluations of Phoenix's experiments, and the talk with its own assistant, are not
the agent's; they are reported. Tables of secrets, keys, users and the assistant's sessions are never read.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Episode
from lunar_tune.seams import Report
from lunar_tune.sources import base
from lunar_tune.sources.core import cells
from lunar_tune.sources.spans.attributes import Span
from lunar_tune.sources.spans.feedback import Judgement
from lunar_tune.sources.spans.spans import episodes
from lunar_tune.sources.spans.stores import ONCE, askable, named, orphans, stamped
from lunar_tune.sources.spans.traces import Trace

SPAN = (
    "span_id", "parent_id", "name", "span_kind", "start_time", "end_time", "attributes", "events", "status_code",
    "status_message",
)  # fmt: skip
ANNOTATION = ("id", "name", "label", "score", "explanation", "annotator_kind", "identifier")
ANNOTATIONS = {
    "span_annotations": ("span_rowid", "spans", "id"),
    "trace_annotations": ("trace_rowid", "traces", "id"),
    "project_session_annotations": ("project_session_id", "project_sessions", "id"),
}  # each table's column that names what is judged, and what that is
ASSISTANT = "assistant_agent"  # the project of Phoenix's own assistant, unless its user named another


class PhoenixSource:
    """Reads the store of Arize Phoenix."""

    name = "phoenix"
    lacks = "what instrumentation was told to hide, and feedback on retrieved documents"

    def places(self) -> list[Path]:
        """Return where Phoenix keeps its store on this machine."""
        folder = os.environ.get("PHOENIX_WORKING_DIR")
        return [(Path(folder) if folder else Path.home() / ".phoenix") / "phoenix.db"]

    def recognises(self, db: sqlite3.Connection) -> bool:
        """Tell from the tables alone whether this is the format."""
        return base.has(db, "spans", "attributes", "trace_rowid") and base.has(db, "traces", "id", "trace_id")

    def threads(self, db: sqlite3.Connection) -> Iterator[tuple[str, str]]:
        """Yield each session, and each trace without one, with its traces' rows and its numbers of spans.

        Phoenix never changes a span in place. Annotations have a time of change, to the second; their labels and scores
        are looked at besides.
        """
        spans = "(SELECT count(*) || ' ' || ifnull(max(rowid), '') FROM spans WHERE trace_rowid = t.id)"
        wanted = ", ".join([spans, *(_judged(db, table) for table in ANNOTATIONS)])
        query = f"WITH {_own(db, '1', wanted)} SELECT * FROM own ORDER BY start_time, id"
        return stamped(db.execute(query, _assistant()))

    def read(
        self, db: sqlite3.Connection, path: Path, report: Report, only: Collection[str] | None = None
    ) -> Iterator[Episode]:
        """Yield the sessions in the order of their first trace."""
        store = _Store(db, report)
        for thread, rows in _sessions(db, only):
            if thread is None:
                for row in rows:
                    report(Verdict("", "read", "a trace without an id", f"traces.rowid={row[0]}"))
            elif (reason := rows[0][3]) is not None:
                for row in rows:
                    report(Verdict(thread, "read", reason, f"traces.id={cells.text(row[1])}"))
            else:
                traces = (store.trace(row, thread) for row in rows)
                judgements = store.judgements("project_session_annotations", rows[0][5], None)
                yield from episodes(self.name, path, thread, traces, judgements, report, rows[0][4])
        if only is None:
            for verdict in _strays(db):
                report(verdict)


def _assistant() -> dict[str, str]:
    return {"assistant": os.environ.get("PHOENIX_AGENTS_ASSISTANT_PROJECT_NAME", ASSISTANT)}


def _judged(db: sqlite3.Connection, table: str) -> str:
    """Return an expression of how many annotations a trace has in a table, the newest, and what they say."""
    of = ANNOTATIONS[table][0]
    there = base.columns(db, table)
    if not {of, "name"} <= there or (
        of == "project_session_id" and not base.has(db, "traces", "project_session_rowid")
    ):
        return "NULL"
    parts = ["count(*)", "max(a.rowid)"]
    for how, name in (("max", "updated_at"), ("total", "score"), ("group_concat", "label")):
        parts += [f"{how}(a.{name})"] if name in there else []
    joined = " || ' ' || ".join(f"ifnull({part}, '')" for part in parts)
    if of == "span_rowid":
        return f"(SELECT {joined} FROM spans s JOIN {table} a ON a.{of} = s.rowid WHERE s.trace_rowid = t.id)"
    return (
        f"(SELECT {joined} FROM {table} a WHERE a.{of} = t.{'id' if of == 'trace_rowid' else 'project_session_rowid'})"
    )


def _own(db: sqlite3.Connection, condition: str, more: str = "NULL") -> str:
    """Return the SQL table `own`: of each trace its thread, place, id, reason, time, session, project and more.

    `reason` says why a trace is no conversation of the agent; such a trace goes by its own name.
    """
    there = base.columns(db, "traces")
    session = project = "NULL"
    if "project_session_rowid" in there and base.has(db, "project_sessions", "id", "session_id"):
        session = "(SELECT session_id FROM project_sessions WHERE id = t.project_session_rowid)"
    if "project_rowid" in there and base.has(db, "projects", "id", "name"):
        project = "(SELECT name FROM projects WHERE id = t.project_rowid)"

    def all_of(table: str, column: str) -> str:
        return f"SELECT {column} FROM {table}" if base.has(db, table, column) else "NULL"

    evaluators = all_of("dataset_evaluators", "project_id") if "project_rowid" in there else "NULL"
    return f"""own AS (
      SELECT CASE WHEN reason IS NULL THEN coalesce({named("session")}, {named("trace_id")}, CAST(id AS TEXT))
        ELSE coalesce({named("trace_id")}, CAST(id AS TEXT)) END AS thread, rest.*
      FROM (SELECT t.rowid AS place, t.id AS id, t.trace_id AS trace_id, {session} AS session,
        CASE WHEN t.trace_id IN ({all_of("experiment_run_annotations", "trace_id")})
            OR {"t.project_rowid" if "project_rowid" in there else "NULL"} IN ({evaluators}) THEN 'a judge''s trace'
          WHEN t.trace_id IN ({all_of("experiment_runs", "trace_id")})
            OR {project} IN ({all_of("experiments", "project_name")}) THEN 'an evaluation''s trace'
          WHEN {project} = :assistant THEN 'a trace of Phoenix''s own assistant'
        END AS reason,
        {base.picked(db, "traces", ("start_time", "project_session_rowid", "project_rowid"), "t")}, {more}
      FROM traces t WHERE {condition} {ONCE}) rest)"""


def _sessions(db: sqlite3.Connection, only: Collection[str] | None) -> Iterator[tuple[str | None, list[Any]]]:
    """Yield (thread, traces) in the order of the sessions' start; a trace is its place, ids, reason, time, session."""
    condition, names = _among(db, only)
    query = (
        f"WITH {_own(db, condition)} SELECT place, id, trace_id, reason, start_time, project_session_rowid, thread,"
        " first_value(start_time) OVER session AS began, first_value(place) OVER session AS first FROM own"
        " WINDOW session AS (PARTITION BY project_rowid, thread, reason IS NULL ORDER BY start_time, place)"
        " ORDER BY began, first, start_time, place"
    )
    for _, rows in groupby(db.execute(query, {**_assistant(), **names}), key=lambda row: row[8]):
        traces = list(rows)
        thread = cells.text(traces[0][6])
        if only is None or thread in only:
            yield thread, traces


def _among(db: sqlite3.Connection, only: Collection[str] | None) -> tuple[str, dict[str, str]]:
    """Return a condition that holds for all traces of the threads, found by indices, and its parameters."""
    if (known := askable(only)) is None:
        return "1", {}
    condition, (names,) = base.among("t.trace_id", known)
    ways = [condition, base.among("t.id", known)[0]]
    if base.has(db, "traces", "project_session_rowid") and base.has(db, "project_sessions", "id", "session_id"):
        sessions = f"SELECT id FROM project_sessions WHERE {base.among('session_id', known)[0]}"
        ways.append(f"t.project_session_rowid IN ({sessions})")
    return f"({' OR '.join(ways)})".replace("?", ":names"), {"names": names}


def _strays(db: sqlite3.Connection) -> Iterator[Verdict]:
    """Yield what belongs to no conversation: rows whose trace or span is gone, and feedback on documents."""
    parents = {"spans": ("trace_rowid", "traces", "id"), **ANNOTATIONS}
    for table, (column, parent, key) in parents.items():
        for value in orphans(db, table, column, parent, key):
            word = "spans without a trace" if table == "spans" else "feedback on what is not there"
            yield Verdict("", "read", word, f"{table}.{column}={cells.text(value)}")
    if base.has(db, "document_annotations", "id"):
        number = db.execute("SELECT count(*) FROM document_annotations").fetchone()[0]
        if number:
            yield Verdict("", "read", "feedback on retrieved documents", f"document_annotations: {number}")


class _Store:
    """The spans and annotations of traces, by the traces' rows."""

    def __init__(self, db: sqlite3.Connection, report: Report) -> None:
        self.db, self.report = db, report
        self.key = "id" if base.has(db, "spans", "id") else "rowid"
        order = "start_time, " if base.has(db, "spans", "start_time") else ""
        self.spans = (
            f"SELECT {self.key}, {base.picked(db, 'spans', SPAN)} FROM spans WHERE trace_rowid = ?"
            f" ORDER BY {order}{self.key}"
        )
        self.judged: dict[str, str] = {}
        for table, (of, _, _) in ANNOTATIONS.items():
            if base.has(db, table, of, "name"):
                picked = base.picked(db, table, ANNOTATION, "a")
                self.judged[table] = f"SELECT NULL, NULL, {picked} FROM {table} a WHERE a.{of} = ? ORDER BY a.rowid"
        if "span_annotations" in self.judged:
            self.judged["span_annotations"] = (
                f"SELECT s.{self.key}, {base.picked(db, 'spans', ('span_id',), 's')},"
                f" {base.picked(db, 'span_annotations', ANNOTATION, 'a')}"
                f" FROM spans s JOIN span_annotations a ON a.span_rowid = s.{self.key}"
                f" WHERE s.trace_rowid = ? ORDER BY a.rowid"
            )

    def trace(self, row: Any, thread: str) -> Trace:
        """Return a trace, whose spans and annotations are read when they are asked for."""
        _, key, name, *_ = row
        trace = cells.text(name) or str(key)
        rows = self.db.execute(self.spans, (key,))
        judged = [("span_annotations", key), ("trace_annotations", key)]
        return Trace(
            id=trace,
            place=f"traces.id={key}",
            spans=(_span(trace, number, values, thread, self.report) for number, *values in rows),
            judgements=(one for table, of in judged for one in self.judgements(table, of, trace)),
        )

    def judgements(self, table: str, key: Any, trace: str | None) -> Iterator[Judgement]:
        """Yield the annotations of a trace's spans, of a trace, or of a session."""
        if table not in self.judged or key is None:
            return
        for span, span_id, number, name, label, score, explanation, who, by in self.db.execute(
            self.judged[table], (key,)
        ):
            word, number_given = cells.text(label), isinstance(score, (int, float))
            told = [f"score {score:g}" if word and number_given else None, cells.text(explanation)]
            yield Judgement(
                trace=trace,
                place=f"{table}.id={number}",
                name=cells.text(name) or "",
                who=(cells.text(who) or "").upper(),
                by=cells.text(by) or "",
                value=word or (score if number_given else None),
                rationale=". ".join(part for part in told if part),
                span=None if span is None else cells.text(span_id) or str(span),
            )


def _span(trace: str, rowid: Any, values: list[Any], thread: str, report: Report) -> Span:
    key, parent, name, kind, start, end, attributes, events, status, message = values
    read: dict[str, Any] = {"attributes": {}, "events": []}
    for column, cell in (("attributes", attributes), ("events", events)):
        try:
            value = cells.parse_json(cell) if cell is not None else None
        except ValueError:
            report(Verdict(thread, "read", "unreadable JSON", f"spans.{column}={rowid}"))
            continue
        if isinstance(value, type(read[column])):
            read[column] = value
    return Span(
        id=cells.text(key) or str(rowid),
        trace=trace,
        place=f"spans.id={rowid}",
        parent=cells.text(parent),
        name=cells.text(name) or "",
        kind=cells.text(kind) or "",
        start=start,
        end=end,
        error=_error(message, read["events"]) if status == "ERROR" else None,
        **read,
    )


def _error(message: Any, events: list[Any]) -> str:
    said = cells.text(message)
    for event in events:
        body = cells.mapping(cells.mapping(event).get("attributes"))
        held = cells.mapping(body.get("exception"))  # attributes of events may be nested too
        said = said or body.get("exception.message") or held.get("message") or body.get("exception.type")
    return said if isinstance(said, str) and said else "the span failed"
