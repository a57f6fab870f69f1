"""MLflow's traces in its SQLite store: what an agent asked its models, and the assessments of people, judges and code.

A conversation is the traces of one session of one experiment in time order, or one trace without a session; how their
spans become messages is told in `spans`. Traces that scorers made, and those of evaluation runs and tests, are the
evaluation's, not the agent's. Spans that are kept as files (`ARTIFACT_REPO`) are not in the database. All of these are
reported. Tables of secrets, users and endpoints are never read.
"""

from __future__ import annotations

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
from lunar_tune.sources.spans.attributes import READ, Span
from lunar_tune.sources.spans.feedback import Judgement
from lunar_tune.sources.spans.spans import episodes
from lunar_tune.sources.spans.stores import ONCE, askable, named, orphans, stamped
from lunar_tune.sources.spans.traces import Trace

CHANGES = ("execution_time_ms", "db_payload_generation", "total_tokens")  # of a trace, when its spans change
SPAN = (
    "span_id", "parent_span_id", "name", "type", "status", "start_time_unix_nano", "end_time_unix_nano", "content",
)  # fmt: skip
ASSESSMENT = (
    "assessment_id", "name", "assessment_type", "value", "error", "source_type", "source_id", "span_id", "rationale",
    "overrides", "valid", "assessment_metadata",
)  # fmt: skip
SESSION = "mlflow.trace.session"
ATTRIBUTES = ("mlflow.spanInputs", "mlflow.spanOutputs", "mlflow.chat.tools", "mlflow.llm.model")


class MlflowSource:
    """Reads the tracking store of MLflow 3."""

    name = "mlflow"
    lacks = "traces whose spans are kept as artifacts, and conversations of spans that record no messages"

    def places(self) -> list[Path]:
        """Return where MLflow keeps its store unless it is told otherwise: the working directory."""
        return [Path.cwd() / "mlflow.db"]

    def recognises(self, db: sqlite3.Connection) -> bool:
        """Tell from the tables alone whether this is the format."""
        return base.has(db, "trace_info", "request_id") and base.has(db, "spans", "content", "start_time_unix_nano")

    def threads(self, db: sqlite3.Connection) -> Iterator[tuple[str, str]]:
        """Yield each session, and each trace without one, with its traces' rows, spans and assessments.

        A span that is written anew raises its trace's `db_payload_generation`; in stores of before that column only a
        new span or another time, status or token count of the trace tells of it. Assessments have a time of change.
        """
        spans, judged = _counted(db, "spans"), _counted(db, "assessments", max="last_updated_timestamp", total="valid")
        wanted = f"{base.picked(db, 'trace_info', CHANGES, 't')}, {spans}, {judged}"
        return stamped(db.execute(f"WITH {_own(db, '1', wanted)} SELECT * FROM own ORDER BY timestamp_ms, place"))

    def read(
        self, db: sqlite3.Connection, path: Path, report: Report, only: Collection[str] | None = None
    ) -> Iterator[Episode]:
        """Yield the sessions in the order of their first trace."""
        store = _Store(db, report)
        for thread, rows in _sessions(db, only):
            if thread is None:
                for row in rows:
                    report(Verdict("", "read", "a trace without an id", f"trace_info.rowid={row[0]}"))
            elif (reason := rows[0][2]) is not None:
                for row in rows:
                    report(Verdict(thread, "read", reason, f"trace_info.request_id={cells.text(row[1])}"))
            else:
                traces = (store.trace(row, thread) for row in rows)
                yield from episodes(self.name, path, thread, traces, (), report, rows[0][3])
        if only is None:
            for table in ("spans", "assessments"):
                for trace in orphans(db, table, "trace_id", "trace_info", "request_id"):
                    key = cells.text(trace) or ""
                    report(Verdict(key, "read", f"{table} without a trace", f"{table}.trace_id={key}"))


def _counted(db: sqlite3.Connection, table: str, **more: str) -> str:
    """Return an expression of how many rows a trace has in a table, the newest, and what else tells of changes."""
    if not base.has(db, table, "trace_id"):
        return "NULL"
    there = base.columns(db, table)
    parts = ["count(*)", "max(rowid)", *(f"{how}({name})" for how, name in more.items() if name in there)]
    joined = " || ' ' || ".join(f"ifnull({part}, '')" for part in parts)
    return f"(SELECT {joined} FROM {table} WHERE trace_id = t.request_id)"


def _own(db: sqlite3.Connection, condition: str, more: str = "NULL") -> str:
    """Return the SQL table `own`: of each trace its thread, place, id, reason, time, status, experiment and more.

    `reason` says why a trace is no conversation of the agent; such a trace goes by its own name.
    """
    there = base.columns(db, "trace_info")

    def value(table: str, key: str) -> str:
        if not base.has(db, table, "request_id", "key", "value"):
            return "NULL"
        return f"(SELECT value FROM {table} WHERE \"key\" = '{key}' AND request_id = t.request_id)"

    has_runs = base.has(db, "tags", "run_uuid", "key")
    runs = "SELECT run_uuid FROM tags WHERE \"key\" = 'mlflow.runType'" if has_runs else "NULL"
    has_stage = base.has(db, "experiments", "experiment_id", "lifecycle_stage") and "experiment_id" in there
    deleted = "SELECT experiment_id FROM experiments WHERE lifecycle_stage = 'deleted'" if has_stage else "NULL"
    session = "t.session_id" if "session_id" in there else "NULL"
    return f"""own AS (
      SELECT CASE WHEN reason IS NULL THEN coalesce({named("session")}, {named("older")}, {named("id")})
        ELSE {named("id")} END AS thread, rest.*
      FROM (SELECT t.rowid AS place, t.request_id AS id,
        {session} AS session,
        {value("trace_request_metadata", SESSION)} AS older,
        CASE WHEN {value("trace_tags", "mlflow.trace.sourceScorer")} IS NOT NULL THEN 'a judge''s trace'
          WHEN {value("trace_tags", "mlflow.eval.requestId")} IS NOT NULL
            OR {value("trace_request_metadata", "mlflow.sourceRun")} IN ({runs}) THEN 'an evaluation''s trace'
          WHEN {value("trace_tags", "mlflow.trace.spansLocation")} IN ('ARTIFACT_REPO', 'ARCHIVE_REPO')
            THEN 'a trace whose spans are kept outside the database'
          WHEN {"t.experiment_id" if has_stage else "NULL"} IN ({deleted}) THEN 'a trace of a deleted experiment'
        END AS reason,
        {base.picked(db, "trace_info", ("timestamp_ms", "status", "experiment_id"), "t")}, {more}
      FROM trace_info t WHERE {condition} {ONCE}) rest)"""


def _sessions(db: sqlite3.Connection, only: Collection[str] | None) -> Iterator[tuple[str | None, list[Any]]]:
    """Yield (thread, traces) in the order of the sessions' start; a trace is its place, id, reason, time and status."""
    condition, names = _among(db, only)
    query = (
        f"WITH {_own(db, condition)} SELECT place, id, reason, timestamp_ms, status, thread,"
        " first_value(timestamp_ms) OVER session AS began, first_value(place) OVER session AS first FROM own"
        " WINDOW session AS (PARTITION BY experiment_id, thread, reason IS NULL ORDER BY timestamp_ms, place)"
        " ORDER BY began, first, timestamp_ms, place"
    )
    for _, rows in groupby(db.execute(query, names), key=lambda row: row[7]):
        traces = list(rows)
        thread = cells.text(traces[0][5])
        if only is None or thread in only:
            yield thread, traces


def _among(db: sqlite3.Connection, only: Collection[str] | None) -> tuple[str, tuple[str, ...]]:
    """Return a condition that holds for all traces of the threads, found by indices, and its parameters."""
    if (known := askable(only)) is None:
        return "1", ()
    by_id, names = base.among("request_id", known)
    ways = [f"SELECT rowid FROM trace_info WHERE {by_id}"]
    if base.has(db, "trace_info", "session_id"):
        ways.append(f"SELECT rowid FROM trace_info WHERE {base.among('session_id', known)[0]}")
    if base.has(db, "trace_request_metadata", "request_id", "key", "value"):
        ways.append(
            "SELECT i.rowid FROM trace_request_metadata m JOIN trace_info i ON i.request_id = m.request_id"
            f" WHERE m.\"key\" = '{SESSION}' AND {base.among('m.value', known)[0]}"
        )
    return f"t.rowid IN ({' UNION ALL '.join(ways)})", names * len(ways)


class _Store:
    """The spans and assessments of traces, by their places."""

    def __init__(self, db: sqlite3.Connection, report: Report) -> None:
        self.db, self.report = db, report
        of_trace = "trace_id = (SELECT request_id FROM trace_info WHERE rowid = ?)"
        self.spans = (
            f"SELECT {base.picked(db, 'spans', SPAN)} FROM spans WHERE {of_trace} ORDER BY start_time_unix_nano, rowid"
        )
        order = "created_timestamp, " if base.has(db, "assessments", "created_timestamp") else ""
        self.assessments = (
            f"SELECT {base.picked(db, 'assessments', ASSESSMENT)} FROM assessments WHERE {of_trace}"
            f" ORDER BY {order}rowid"
        )
        self.judged = base.has(db, "assessments", "assessment_id", "trace_id", "value")

    def trace(self, row: Any, thread: str) -> Trace:
        """Return a trace, whose spans and assessments are read when they are asked for."""
        place, key, _, _, status, *_ = row
        trace = cells.text(key) or ""
        return Trace(
            id=trace,
            place=f"trace_info.request_id={trace}",
            failed=status == "ERROR",
            spans=(_span(trace, values, thread, self.report) for values in self.db.execute(self.spans, (place,))),
            judgements=self.judgements(place, trace, thread) if self.judged else (),
        )

    def judgements(self, place: int, trace: str, thread: str) -> Iterator[Judgement]:
        """Yield the assessments of a trace that stand; of those that another overrides only that one does."""
        rows = self.db.execute(self.assessments, (place,)).fetchall()
        overridden = {row[9] for row in rows if row[9] is not None}
        for row in rows:
            key, valid = row[0], row[10]
            at = f"assessments.assessment_id={cells.text(key)}"
            if valid == 0 or key in overridden:
                self.report(Verdict(thread, "read", "an assessment that was overridden", at))
            elif row[4] not in (None, "", "null"):
                self.report(Verdict(thread, "read", "an assessment that failed", at))
            else:
                try:
                    value = cells.parse_json(row[3])
                except ValueError:
                    self.report(Verdict(thread, "read", "an unreadable assessment", at))
                    continue
                try:
                    about = cells.mapping(cells.parse_json(row[11])) if row[11] is not None else {}
                except ValueError:
                    self.report(Verdict(thread, "read", "unreadable metadata of an assessment", at))
                    about = {}
                yield _judgement(row, value, None if SESSION in about else trace, at)


def _judgement(row: tuple[Any, ...], value: Any, trace: str | None, place: str) -> Judgement:
    """Return an assessment of a trace, or of its whole session where its metadata name one."""
    name, kind, _, _, who, by, span, rationale = row[1:9]
    source = cells.text(by) or ""
    return Judgement(
        trace=trace,
        place=place,
        name=" ".join(filter(None, (cells.text(kind) if kind != "feedback" else None, cells.text(name)))),
        who=(cells.text(who) or "").upper() or "SOURCE_TYPE_UNSPECIFIED",
        by="" if source == "default" else source,
        value=value,
        rationale=cells.text(rationale) or "",
        span=cells.text(span),
        feedback=kind in (None, "feedback"),
    )


def _span(trace: str, values: tuple[Any, ...], thread: str, report: Report) -> Span:
    key, parent, name, kind, status, start, end, cell = values
    span_id = cells.text(key) or ""
    place = f"spans.content={trace}/{span_id}"
    try:
        content = cells.mapping(cells.parse_json(cell))
    except ValueError:
        report(Verdict(thread, "read", "an unreadable span", place))
        content = {}
    events = content.get("events")
    events = events if isinstance(events, list) else []
    return Span(
        id=span_id,
        trace=trace,
        place=place,
        parent=cells.text(parent),
        name=cells.text(name) or "",
        kind=cells.text(kind) or "",
        start=start,
        end=end,
        error=_error(content, events) if status == "ERROR" else None,
        attributes={
            name: _attribute(value)
            for name, value in cells.mapping(content.get("attributes")).items()
            if name in ATTRIBUTES or name.partition(".")[0] in READ
        },
        events=events,
    )


def _attribute(value: Any) -> Any:
    """Return an attribute's value, which MLflow keeps as JSON; a text that holds JSON stays text."""
    if not isinstance(value, str):
        return value
    try:
        return cells.parse_json(value)
    except ValueError:
        return value


def _error(content: dict[str, Any], events: list[Any]) -> str:
    """Return what went wrong: the status's words, else those of the exception that was recorded."""
    said = cells.mapping(content.get("status")).get("message")
    for event in events:
        body = cells.mapping(cells.mapping(event).get("attributes"))
        said = said or body.get("exception.message") or body.get("exception.type")
    return said if isinstance(said, str) and said else "the span failed"
