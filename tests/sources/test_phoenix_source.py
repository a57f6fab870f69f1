import contextlib
import json
import sqlite3
from pathlib import Path

import pytest
from examples import CANARY
from examples.phoenix import CALL, SYSTEM, Store, said, user, when
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Episode, Signal, to_dict
from lunar_tune.sources.base import open_read_only, owner
from lunar_tune.sources.spans.mlflow import MlflowSource
from lunar_tune.sources.spans.phoenix import ANNOTATION, SPAN, PhoenixSource


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "any-name.db")


def read(path):
    lost = []
    with contextlib.closing(open_read_only(path)) as db:
        assert PhoenixSource().recognises(db)
        assert not MlflowSource().recognises(db)
        found = list(PhoenixSource().read(db, path, lost.append))
    assert CANARY not in json.dumps([to_dict(e) for e in found], ensure_ascii=False) + repr(lost)
    return found, lost


def test_a_session_of_an_agent_with_a_tool_as_one_episode(store):
    session = store.add("project_sessions", session_id="s1", project_id=1)
    first = store.trace(0, session=session)
    store.span(first, "a", 0, "AGENT", input={"value": "Weather?"})
    call = {"role": "assistant", "tool_calls": [CALL]}
    result = {"role": "tool", "tool_call_id": "c1", "content": "?"}
    store.chat(first, "b", 1, [SYSTEM, user("Weather?")], [call], parent="a")
    failure = {"name": "exception", "timestamp": "x", "attributes": {"exception.message": "no such city"}}
    store.span(first, "c", 2, "TOOL", "a", "ERROR", events=[failure], tool={"name": "get_weather"},
               input={"value": '{"city": "Oslo"}', "mime_type": "application/json"})  # fmt: skip
    last = store.chat(first, "d", 3, [SYSTEM, user("Weather?"), call, result], [said("Cannot tell.")], parent="a")
    second = store.trace(60, session=session)
    image = {"message_content": {"type": "image", "image": {"image": {"url": "data:image/png;base64,AAA"}}}}
    text = {"message_content": {"type": "text", "text": "And here?"}}
    store.chat(second, "e", 61, [SYSTEM, user("Weather?"), call, result, said("Cannot tell."),
                                 {"role": "user", "contents": [text, image]}], [said("Sunny.")])  # fmt: skip
    store.add("span_annotations", span_rowid=last, name="user feedback", label="thumbs-down", score=0.0,
              explanation="useless", annotator_kind="HUMAN")  # fmt: skip
    store.add("span_annotations", span_rowid=last, name="correctness", score=0.25, annotator_kind="LLM")
    store.add("trace_annotations", trace_rowid=second, name="tone", label="warm", score=0.5, annotator_kind="CODE")
    store.add("project_session_annotations", project_session_id=session, name="solved", label="yes",
              annotator_kind="HUMAN", identifier="ann")  # fmt: skip
    store.add("document_annotations", span_rowid=last, name="relevant", label="no", annotator_kind="LLM")
    (episode,), lost = read(store.close())
    assert lost == [Verdict("", "read", "feedback on retrieved documents", "document_annotations: 1")]
    assert to_dict(episode, with_id=False) == {
        "source": "phoenix",
        "path": str(store.path),
        "thread": "s1",
        "started_at": "2026-10-01T08:00:00Z",
        "model": "m",
        "system": "Be brief.",
        "tools": [{"name": "get_weather", "description": "W", "parameters": {"type": "object"}, "inferred": False}],
        "messages": [
            {"role": "user", "content": "Weather?", "created_at": "2026-10-01T08:00:01Z"},
            {
                "role": "assistant",
                "content": "",
                "created_at": "2026-10-01T08:00:02Z",
                "model": "m",
                "tool_calls": [{"id": "c1", "name": "get_weather", "arguments": {"city": "Oslo"}}],
            },
            {
                "role": "tool",
                "content": "?",
                "created_at": "2026-10-01T08:00:03Z",
                "error": "no such city",
                "tool_call_id": "c1",
                "name": "get_weather",
            },
            {"role": "assistant", "content": "Cannot tell.", "created_at": "2026-10-01T08:00:04Z", "model": "m"},
            {
                "role": "user",
                "content": "And here?",
                "created_at": "2026-10-01T08:01:01Z",
                "attachments": [{"type": "image/png"}],
            },
            {"role": "assistant", "content": "Sunny.", "created_at": "2026-10-01T08:01:02Z", "model": "m"},
        ],
        "signals": [
            {"kind": "rating", "value": 1.0, "message": None, "note": "HUMAN ann: solved"},
            {"kind": "tool_error", "value": None, "message": 2},
            {"kind": "rating", "value": -1.0, "message": 3, "note": "HUMAN: user feedback. score 0. useless"},
            {"kind": "annotation", "value": 0.25, "message": 3, "note": "LLM: correctness"},
            {"kind": "annotation", "value": "warm", "message": 5, "note": "CODE: tone. score 0.5"},
        ],
    }


def test_opentelemetry_attributes_in_phoenix(store):
    parts = [{"role": "user", "parts": [{"type": "text", "content": "Hi"}]}]
    thought = {"type": "reasoning", "content": "Hm."}
    answer = [{"role": "assistant", "parts": [thought, {"type": "text", "content": "Hey"}],
               "finish_reason": "stop"}]  # fmt: skip
    named = {
        "input": {"messages": json.dumps(parts)},
        "output": {"messages": json.dumps(answer)},
        "system_instructions": json.dumps([{"type": "text", "content": "Be brief."}]),
        "request": {"model": "g"},
    }
    poorer = {"input_messages": [{"message": user("Hi")}], "output_messages": [{"message": said("Hey")}]}
    store.span(store.trace(0), "a", 0, gen_ai=named, llm=poorer)
    old = {"prompt": [{"role": "user", "content": "Hi"}], "completion": [{"role": "assistant", "content": "Ho"}]}
    store.span(store.trace(1), "b", 1, "UNKNOWN", gen_ai=old)
    events = [
        {"name": "gen_ai.user.message", "attributes": {"content": "Hi"}},
        {"name": "gen_ai.choice", "attributes": {"finish_reason": "length", "message": json.dumps(said("Hm"))}},
    ]
    store.span(store.trace(2), "c", 2, "LLM", events=events, gen_ai={"operation": {"name": "chat"}})
    found, lost = read(store.close())
    assert lost == []
    assert [[m.content for m in e.messages] for e in found] == [["Hi", "Hey"], ["Hi", "Ho"], ["Hi", "Hm"]]
    assert (found[0].system, found[0].messages[1].reasoning, found[0].messages[1].model) == ("Be brief.", "Hm.", "g")
    assert found[2].messages[1].finish == "length"


def test_what_is_hidden_is_marked_and_reported(store):
    trace = store.trace(0)
    store.chat(trace, "a", 0, [user("__REDACTED__")], [said("Hello")])
    hidden = store.trace(1)
    store.span(hidden, "b", 1, input={"value": "__REDACTED__"}, output={"value": "__REDACTED__"})
    (episode,), lost = read(store.close())
    assert [(m.content, m.error) for m in episode.messages] == [("", "redacted"), ("Hello", None)]
    assert [(v.reason, v.detail) for v in lost] == [
        ("a redacted message", "spans.id=1"),
        ("a model call without messages", "spans.id=2"),
        ("a trace without a readable model call", "traces.id=2"),
    ]


def test_experiments_judges_and_phoenix_own_assistant_are_reported(store):
    store.add("experiments", name="e", project_name="Experiment-1")
    store.add("experiment_runs", experiment_id=1, trace_id="run")
    store.add("experiment_run_annotations", experiment_run_id=1, trace_id="judge")
    store.add("dataset_evaluators", name="d", project_id=3)
    for n, (project, key) in enumerate(
        [(1, "run"), (2, "other"), (1, "judge"), (3, "evaluator"), (4, "help"), (1, "own")]
    ):
        store.chat(store.trace(n, project=project, key=key), f"s{n}", n, [user("Hi")], [said("Hello")])
    found, lost = read(store.close())
    assert [e.thread for e in found] == ["own"]
    assert [(v.id, v.reason, v.detail) for v in lost] == [
        ("run", "an evaluation's trace", "traces.id=1"),
        ("other", "an evaluation's trace", "traces.id=2"),
        ("judge", "a judge's trace", "traces.id=3"),
        ("evaluator", "a judge's trace", "traces.id=4"),
        ("help", "a trace of Phoenix's own assistant", "traces.id=5"),
    ]


def test_an_evaluator_span_in_the_agents_trace(store):
    trace = store.trace(0)
    store.chat(trace, "a", 0, [user("Hi")], [said("Hello")])
    store.span(trace, "e", 1, "EVALUATOR")
    store.chat(trace, "j", 2, [user("Is this good?")], [said("yes")], parent="e")
    (episode,), lost = read(store.close())
    assert [m.content for m in episode.messages] == ["Hi", "Hello"]
    assert [(v.reason, v.detail) for v in lost] == [("a judge's call", "spans.id=3")]


def test_failed_calls(store):
    failed, bare = store.trace(0), store.trace(1)
    store.chat(failed, "a", 0, [user("Hi")], [], status="ERROR", message="overloaded")
    store.chat(bare, "b", 1, [user("Hi")], [], status="ERROR",
               events=[{"name": "exception", "attributes": {"exception": {"message": "timeout"}}}])  # fmt: skip
    found, _ = read(store.close())
    assert [[(m.role, m.error, m.finish) for m in e.messages[1:]] for e in found] == [
        [("assistant", "overloaded", "error")],
        [("assistant", "timeout", "error")],
    ]


def test_older_stores_and_missing_tables(store):
    for table in (
        "project_sessions",
        "trace_annotations",
        "project_session_annotations",
        "experiments",
        "experiment_runs",
        "experiment_run_annotations",
        "dataset_evaluators",
        "document_annotations",
    ):
        store.db.execute(f"DROP TABLE {table}")
    store.db.execute("DROP INDEX ix_traces_project_session_rowid")
    store.db.execute("ALTER TABLE traces DROP COLUMN project_session_rowid")
    store.db.execute("ALTER TABLE span_annotations DROP COLUMN identifier")
    trace = store.add("traces", project_rowid=1, trace_id="t", start_time=when(0))
    span = store.chat(trace, "a", 0, [user("Hi")], [said("Hello")])
    store.add("span_annotations", span_rowid=span, name="n", score=1.0, annotator_kind="HUMAN")
    (episode,), lost = read(store.close())
    assert (episode.thread, lost) == ("t", [])
    assert episode.signals == (Signal(kind="rating", value=1.0, message=1, note="HUMAN: n"),)


def test_broken_cells_cost_themselves_and_are_reported_by_place(store):
    trace = store.trace(0)
    store.chat(trace, "a", 0, [user("Hi")], [said("Hello")])
    store.chat(trace, "b", 1, [user("Hi"), said("Hello"), user("Bye")], [said("Bye")])
    store.db.execute("UPDATE spans SET attributes = '{hunter2' WHERE span_id = 'b'")
    store.db.execute("UPDATE spans SET events = '[hunter2' WHERE span_id = 'a'")
    (episode,), lost = read(store.close())
    assert [m.content for m in episode.messages] == ["Hi", "Hello"]
    assert {(v.reason, v.detail) for v in lost} == {
        ("unreadable JSON", "spans.events=1"),
        ("unreadable JSON", "spans.attributes=2"),
        ("a model call without messages", "spans.id=2"),
    }
    assert "hunter2" not in repr(lost)


def test_an_empty_store(store):
    assert read(store.close()) == ([], [])


def test_the_stamp_follows_what_is_read(store):
    session = store.add("project_sessions", session_id="s1", project_id=1)
    first, second = store.trace(0, session=session), store.trace(1, key="other")
    span = store.chat(first, "a", 0, [user("Hi")], [said("Hello")])
    store.chat(second, "b", 0, [user("Hi")], [said("Hello")])
    changes = (
        "UPDATE secrets SET value = 'x'",
        f"INSERT INTO span_annotations (span_rowid, name, label, annotator_kind) VALUES ({span}, 'n', 'yes', 'HUMAN')",
        "UPDATE span_annotations SET label = 'no'",
        "UPDATE span_annotations SET explanation = 'x', updated_at = '2026-10-02 08:00:00'",
        f"INSERT INTO trace_annotations (trace_rowid, name, score, annotator_kind) VALUES ({first}, 'n', 1, 'HUMAN')",
        "INSERT INTO project_session_annotations (project_session_id, name, score, annotator_kind)"
        f" VALUES ({session}, 'n', 1, 'HUMAN')",
        f"UPDATE traces SET project_rowid = 3 WHERE id = {first}",
    )
    stamps = [dict(PhoenixSource().threads(store.db))]
    for change in changes:
        store.db.execute(change)
        stamps.append(dict(PhoenixSource().threads(store.db)))
    assert len({stamp["s1"] for stamp in stamps}) == len(changes)
    assert len({stamp["other"] for stamp in stamps}) == 1
    store.close()


def test_what_has_no_trace_is_reported_when_everything_is_read(store):
    store.chat(store.trace(0, key="t"), "a", 0, [user("Hi")], [said("Hello")])
    store.chat(99, "b", 0, [user("Hi")], [said("Hello")])
    store.add("trace_annotations", trace_rowid=98, name="n", annotator_kind="HUMAN")
    store.db.commit()
    lost, some = [], []
    assert len(list(PhoenixSource().read(store.db, store.path, lost.append))) == 1
    assert len(list(PhoenixSource().read(store.db, store.path, some.append, {"t"}))) == 1
    assert [(v.reason, v.detail) for v in lost] == [
        ("spans without a trace", "spans.trace_rowid=99"),
        ("feedback on what is not there", "trace_annotations.trace_rowid=98"),
    ]
    assert some == []
    store.close()


def test_the_default_place(monkeypatch):
    monkeypatch.setenv("PHOENIX_WORKING_DIR", "/data")
    assert PhoenixSource().places() == [Path("/data/phoenix.db")]
    monkeypatch.delenv("PHOENIX_WORKING_DIR")
    assert PhoenixSource().places() == [Path.home() / ".phoenix" / "phoenix.db"]


CELL = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(max_size=12), st.binary(max_size=8),
    st.sampled_from([
        "{", "[]", "null", "x\x00y", "[" * 5000, "ERROR", "HUMAN", '{"llm": []}', '{"gen_ai": {"prompt": "x"}}',
        '{"llm": {"input_messages": [{"message": 3}, {"message": {"role": []}}, 4], "tools": [[], {"tool": 1}]}}',
        '{"llm": {"input_messages": {"0": {"message": {"content": {}}}}, "output_messages": "x"}}',
        '{"input": {"value": "hello"}, "output": {"value": ["\\ud800"]}, "llm.model_name": {"a": 1}}',
        '[{"name": "gen_ai.choice", "attributes": {"message": [1]}}, {"name": 3, "attributes": []}, 1]',
    ]),
)  # fmt: skip
TRACE = ("id", "project_rowid", "trace_id", "project_session_rowid", "start_time")
TABLES = {
    "traces": TRACE,
    "spans": ("id", "trace_rowid", *SPAN),
    "span_annotations": ("span_rowid", *ANNOTATION),
    "trace_annotations": ("trace_rowid", *ANNOTATION),
}
NEEDED = {
    "traces": {"id", "trace_id"},
    "spans": {"trace_rowid", "attributes"},
    "span_annotations": {"span_rowid", "name"},
    "trace_annotations": {"trace_rowid", "name"},
}


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_cell_may_hold_anything_and_any_column_may_be_missing(data):
    """Nothing crashes, every trace is read or its loss is told, and what is read can be written."""
    db = sqlite3.connect(":memory:")
    db.text_factory = lambda raw: raw.decode("utf-8", "replace")
    for table, names in TABLES.items():
        gone = data.draw(st.sets(st.sampled_from(sorted(set(names) - NEEDED[table])), max_size=2))
        kept = [name for name in names if name not in gone]
        db.execute(f"CREATE TABLE {table} ({', '.join(kept)})")
        for number in range(data.draw(st.integers(0, 4))):
            row = {name: data.draw(CELL) for name in kept}
            if table == "traces":
                row |= {"id": number, "trace_id": f"t{number}"}
            row |= {name: data.draw(st.integers(0, 3)) for name in ("trace_rowid", "span_rowid") if name in row}
            if "span_kind" in row:
                row["span_kind"] = data.draw(st.sampled_from(["LLM", "AGENT", "TOOL", "EVALUATOR", None, 7]))
            db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(kept))})", list(row.values()))
    lost = []
    source, path = PhoenixSource(), Path("log.db")
    found, threads = list(source.read(db, path, lost.append)), dict(source.threads(db))
    owners = [owner(episode, threads) for episode in found]
    assert None not in owners
    for thread in threads:
        alone = list(source.read(db, path, lambda verdict: None, {thread}))
        assert alone == [episode for episode, of in zip(found, owners, strict=True) if of == thread]
    traces = {key for (key,) in db.execute("SELECT trace_id FROM traces")}
    db.close()
    assert traces <= {e.thread.partition("#")[0] for e in found} | {v.id for v in lost}
    for episode in found:
        assert isinstance(episode, Episode)
        assert episode.id.startswith("ep-")
