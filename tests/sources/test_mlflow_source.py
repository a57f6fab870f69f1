import contextlib
import json
import sqlite3
from pathlib import Path

import pytest
from examples import CANARY
from examples.mlflow import CALL, START, SYSTEM, Store, said, user
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Episode, Signal, to_dict
from lunar_tune.sources.base import open_read_only, owner
from lunar_tune.sources.spans.mlflow import ASSESSMENT, SPAN, MlflowSource


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "any-name.db")


def read(path):
    lost = []
    with contextlib.closing(open_read_only(path)) as db:
        assert MlflowSource().recognises(db)
        found = list(MlflowSource().read(db, path, lost.append))
    assert CANARY not in json.dumps([to_dict(e) for e in found], ensure_ascii=False) + repr(lost)
    return found, lost


def test_a_session_of_an_agent_with_a_tool_as_one_episode(store):
    store.trace("tr-1", 0, session="s1", tags={"mlflow.trace.spansLocation": "TRACKING_STORE"})
    store.span("tr-1", "a", 0, "AGENT", mlflow__spanInputs={"q": "Weather?"}, mlflow__spanOutputs="Cannot tell.")
    store.chat("tr-1", "b", 1, [SYSTEM, user("Weather?")], {"tool_calls": [CALL]}, parent="a")
    failure = {"name": "exception", "attributes": {"exception.message": "no such city", "exception.type": "ValueError"}}
    store.span("tr-1", "c", 2, "TOOL", "a", "ERROR", [failure], name="get_weather", mlflow__spanInputs={"city": "Oslo"})
    call = {"role": "assistant", "tool_calls": [CALL]}
    result = {"role": "tool", "tool_call_id": "c1", "content": "?"}
    store.chat("tr-1", "d", 3, [SYSTEM, user("Weather?"), call, result], {"content": "Cannot tell."}, parent="a")
    store.trace("tr-2", 60, session="s1", metadata={"mlflow.sourceRun": "plain"})
    history = [SYSTEM, user("Weather?"), call, result, said("Cannot tell."), user("Why?")]
    store.chat("tr-2", "e", 61, history, {"content": "Because", "finish": "length"})
    store.assess("a-1", "tr-1", "helpful", False, rationale="useless")
    store.assess("a-2", "tr-2", "tone", "curt", "LLM_JUDGE", source_id="gpt")
    store.assess("a-3", "tr-2", "length", 3, "CODE", source_id="default", span_id="e")
    store.assess("a-4", "tr-2", "answer", {"is": "x"}, assessment_type="expectation")
    (episode,), lost = read(store.close())
    assert lost == []
    assert to_dict(episode, with_id=False) == {
        "source": "mlflow",
        "path": str(store.path),
        "thread": "s1",
        "started_at": "2026-10-01T08:00:00Z",
        "model": "m-1",
        "system": "Be brief.",
        "tools": [{"name": "get_weather", "description": "W", "parameters": {"type": "object"}, "inferred": False}],
        "messages": [
            {"role": "user", "content": "Weather?", "created_at": "2026-10-01T08:00:01Z"},
            {
                "role": "assistant",
                "content": "",
                "created_at": "2026-10-01T08:00:01.500Z",
                "model": "m-1",
                "finish": "stop",
                "tool_calls": [{"id": "c1", "name": "get_weather", "arguments": {"city": "Oslo"}}],
            },
            {
                "role": "tool",
                "content": "?",
                "created_at": "2026-10-01T08:00:02.500Z",
                "error": "no such city",
                "tool_call_id": "c1",
                "name": "get_weather",
            },
            {
                "role": "assistant",
                "content": "Cannot tell.",
                "created_at": "2026-10-01T08:00:03.500Z",
                "model": "m-1",
                "finish": "stop",
            },
            {"role": "user", "content": "Why?", "created_at": "2026-10-01T08:01:01Z"},
            {
                "role": "assistant",
                "content": "Because",
                "created_at": "2026-10-01T08:01:01.500Z",
                "model": "m-1",
                "finish": "length",
            },
        ],
        "signals": [
            {"kind": "tool_error", "value": None, "message": 2},
            {"kind": "rating", "value": -1.0, "message": 3, "note": "HUMAN ann: helpful. useless"},
            {"kind": "annotation", "value": "curt", "message": 5, "note": "LLM_JUDGE gpt: tone"},
            {"kind": "annotation", "value": 3.0, "message": 5, "note": "CODE: length"},
            {"kind": "annotation", "value": '{"is": "x"}', "message": 5, "note": "HUMAN ann: expectation answer"},
        ],
    }


def test_overridden_invalid_failed_and_unreadable_assessments_are_reported(store):
    store.trace("tr-1", 0)
    store.chat("tr-1", "a", 0, [user("Hi")], {"content": "Hello"})
    store.assess("a-1", "tr-1", "helpful", False)
    store.assess("a-2", "tr-1", "helpful", True, overrides="a-1")
    store.assess("a-3", "tr-1", "helpful", False, valid=0)
    store.assess("a-4", "tr-1", "judge", None, "LLM_JUDGE", error='{"error_code": "hunter2"}')
    store.assess("a-5", "tr-1", "judge", 1, "LLM_JUDGE")
    store.db.execute("UPDATE assessments SET value = '{hunter2' WHERE assessment_id = 'a-5'")
    (episode,), lost = read(store.close())
    assert episode.signals == (Signal(kind="rating", value=1.0, message=1, note="HUMAN ann: helpful"),)
    assert [(v.id, v.reason, v.detail) for v in lost] == [
        ("tr-1", "an assessment that was overridden", "assessments.assessment_id=a-1"),
        ("tr-1", "an assessment that was overridden", "assessments.assessment_id=a-3"),
        ("tr-1", "an assessment that failed", "assessments.assessment_id=a-4"),
        ("tr-1", "an unreadable assessment", "assessments.assessment_id=a-5"),
    ]


def test_traces_that_are_not_the_agents_are_reported(store):
    store.add("tags", key="mlflow.runType", value="genai_evaluate", run_uuid="r1")
    store.add("tags", key="mlflow.runName", value="x", run_uuid="plain")
    about = [
        ("tr-1", {"tags": {"mlflow.trace.sourceScorer": "safety"}}),
        ("tr-2", {"tags": {"mlflow.eval.requestId": "x"}}),
        ("tr-3", {"metadata": {"mlflow.sourceRun": "r1"}}),
        ("tr-4", {"tags": {"mlflow.trace.spansLocation": "ARTIFACT_REPO"}}),
        ("tr-5", {"experiment": 2}),
        ("tr-6", {"metadata": {"mlflow.sourceRun": "plain"}}),
    ]
    for n, (key, more) in enumerate(about):
        store.trace(key, n, **more)
        store.chat(key, "a", n, [user("Hi")], {"content": "Hello"})
    found, lost = read(store.close())
    assert [e.thread for e in found] == ["tr-6"]
    assert lost == [
        Verdict(key, "read", reason, f"trace_info.request_id={key}")
        for key, reason in (
            ("tr-1", "a judge's trace"),
            ("tr-2", "an evaluation's trace"),
            ("tr-3", "an evaluation's trace"),
            ("tr-4", "a trace whose spans are kept outside the database"),
            ("tr-5", "a trace of a deleted experiment"),
        )
    ]


def test_older_stores_keep_the_session_in_the_metadata(store):
    store.db.execute("DROP INDEX index_trace_info_experiment_id_session_id")
    store.db.execute("ALTER TABLE trace_info DROP COLUMN session_id")
    for table in ("tags", "trace_tags", "assessments", "experiments"):
        store.db.execute(f"DROP TABLE {table}")
    for n, text in enumerate(("1", "2")):
        store.add("trace_info", request_id=f"tr-{n}", experiment_id=1, timestamp_ms=START + n, status="OK")
        store.add("trace_request_metadata", key="mlflow.trace.session", value="s1", request_id=f"tr-{n}")
        store.chat(f"tr-{n}", "a", n, [user(text)], {"content": f"{text}!"})
    (episode,), lost = read(store.close())
    assert (episode.thread, [m.content for m in episode.messages], lost) == ("s1", ["1", "1!", "2", "2!"], [])


def test_opentelemetry_spans_in_mlflow(store):
    store.trace("tr-1", 0)
    parts = [{"role": "user", "parts": [{"type": "text", "content": "Hi"}]}]
    answer = [{"role": "assistant", "parts": [{"type": "text", "content": "Hello"}], "finish_reason": "stop"}]
    store.span(
        "tr-1", "a", 0, "UNKNOWN",
        gen_ai__operation__name="chat", gen_ai__request__model="g", gen_ai__input__messages=json.dumps(parts),
        gen_ai__output__messages=json.dumps(answer), mlflow__spanInputs=json.dumps(parts),
    )  # fmt: skip
    (episode,), lost = read(store.close())
    assert [(m.role, m.content, m.model) for m in episode.messages] == [
        ("user", "Hi", None),
        ("assistant", "Hello", "g"),
    ]
    assert lost == []


def test_failed_turns_and_failed_traces(store):
    failure = {"name": "exception", "attributes": {"exception.message": "overloaded"}}
    store.trace("tr-1", 0, status="ERROR")
    store.chat("tr-1", "a", 0, [user("Hi")], None, status="ERROR", events=[failure])
    store.trace("tr-2", 1, status="ERROR")
    store.chat("tr-2", "a", 1, [user("Hi")], {"content": "{"})
    (failed, odd), _ = read(store.close())
    assert [(m.role, m.error, m.finish, m.model) for m in failed.messages[1:]] == [
        ("assistant", "overloaded", "error", "m")
    ]
    assert failed.signals == ()
    assert odd.signals == (Signal(kind="annotation", value="ERROR", message=1, note="the trace's status"),)


def test_broken_cells_cost_themselves_and_are_reported_by_place(store):
    store.trace("tr-1", 0)
    store.chat("tr-1", "a", 0, [user("Hi")], {"content": "Hello"})
    store.span("tr-1", "b", 1, mlflow__spanInputs={"messages": [user("Hi"), said("Hello"), user("Bye")]})
    store.db.execute("UPDATE spans SET content = '{hunter2' WHERE span_id = 'b'")
    store.trace("tr-2", 1)
    store.span("tr-2", "a", 1, mlflow__spanInputs={"hunter2": 1}, mlflow__spanOutputs={"hunter2": 1})
    (episode,), lost = read(store.close())
    assert [m.content for m in episode.messages] == ["Hi", "Hello"]
    assert {(v.id, v.reason, v.detail) for v in lost} == {
        ("tr-1", "an unreadable span", "spans.content=tr-1/b"),
        ("tr-1", "a model call without messages", "spans.content=tr-1/b"),
        ("tr-2", "a model call without messages", "spans.content=tr-2/a"),
        ("tr-2", "a trace without a readable model call", "trace_info.request_id=tr-2"),
    }
    assert "hunter2" not in repr(lost)


def test_sessions_come_in_the_order_of_their_start(store):
    for key, at, session in (("tr-1", 5, "b"), ("tr-2", 1, "a"), ("tr-3", 9, "a")):
        store.trace(key, at, session=session)
        store.chat(key, "x", at, [user(key)], {"content": "Hello"})
    found, _ = read(store.close())
    assert [(e.thread, len(e.messages)) for e in found] == [("a", 4), ("b", 2)]


def test_an_empty_store(store):
    assert read(store.close()) == ([], [])


def test_the_stamp_follows_what_is_read(store):
    store.trace("tr-1", 0)
    store.trace("tr-2", 0)
    for trace in ("tr-1", "tr-2"):
        store.chat(trace, "a", 0, [user("Hi")], {"content": "Hello"})
    store.assess("a-1", "tr-1", "helpful", True)
    changes = (
        "UPDATE secrets SET masked_value = 'x'",
        "UPDATE trace_info SET db_payload_generation = 2 WHERE request_id = 'tr-1'",  # a span was written anew
        "UPDATE assessments SET value = 'false', last_updated_timestamp = 7",
        "UPDATE assessments SET valid = 0",
        "INSERT INTO trace_tags VALUES ('mlflow.trace.sourceScorer', 'x', 'tr-1')",
    )
    stamps = [dict(MlflowSource().threads(store.db))]
    for change in changes:
        store.db.execute(change)
        stamps.append(dict(MlflowSource().threads(store.db)))
    assert len({stamp["tr-1"] for stamp in stamps}) == len(changes)
    assert len({stamp["tr-2"] for stamp in stamps}) == 1
    store.close()


def test_a_session_is_read_by_name_wherever_the_name_stands(store):
    store.trace("tr-1", 0, session="7")
    store.trace("tr-2", 1, metadata={"mlflow.trace.session": "7"})
    store.trace("tr-3", 2, session="b\x00d")
    for n in (1, 2, 3):
        store.chat(f"tr-{n}", "a", n, [user(str(n))], {"content": "Hello"})
    store.db.commit()
    whole = list(MlflowSource().read(store.db, store.path, print))
    assert [(e.thread, len(e.messages)) for e in whole] == [("7", 4), ("b\ufffdd", 2)]
    for thread in ("7", "b\ufffdd"):
        alone = list(MlflowSource().read(store.db, store.path, print, {thread}))
        assert alone == [e for e in whole if e.thread == thread]
    assert list(MlflowSource().read(store.db, store.path, print, {"tr-1", "tr-3"})) == []
    store.close()


def test_judges_of_whole_sessions(store):
    store.trace("tr-1", 0, session="s1")
    store.chat("tr-1", "a", 0, [user("Hi")], {"content": "Hello"})
    store.assess("a-1", "tr-1", "complete", 1, "LLM_JUDGE", assessment_metadata='{"mlflow.trace.session": "s1"}')
    store.assess("a-2", "tr-1", "brief", 2, "CODE", assessment_metadata="{")
    (episode,), lost = read(store.close())
    assert [(s.value, s.message) for s in episode.signals] == [(1.0, None), (2.0, 1)]
    assert [(v.id, v.reason, v.detail) for v in lost] == [
        ("s1", "unreadable metadata of an assessment", "assessments.assessment_id=a-2")
    ]


def test_what_has_no_trace_is_reported_when_everything_is_read(store):
    store.trace("tr-1", 0)
    store.chat("tr-1", "a", 0, [user("Hi")], {"content": "Hello"})
    store.chat("gone", "a", 0, [user("Hi")], {"content": "Hello"})
    store.assess("a-1", "gone", "helpful", True)
    store.db.commit()
    lost, some = [], []
    assert len(list(MlflowSource().read(store.db, store.path, lost.append))) == 1
    assert len(list(MlflowSource().read(store.db, store.path, some.append, {"tr-1"}))) == 1
    assert [(v.id, v.reason, v.detail) for v in lost] == [
        ("gone", "spans without a trace", "spans.trace_id=gone"),
        ("gone", "assessments without a trace", "assessments.trace_id=gone"),
    ]
    assert some == []
    store.close()


CELL = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(max_size=12), st.binary(max_size=8),
    st.sampled_from([
        "{", "[]", "null", "x\x00y", "[" * 5000, "ERROR", "HUMAN", '{"attributes": [], "events": {"a": 1}}',
        '{"attributes": {"mlflow.spanInputs": "{\\"messages\\": [7, {\\"role\\": 1}, {\\"role\\": \\"user\\"}]}"}}',
        '{"attributes": {"mlflow.spanInputs": {"messages": {"0": "a"}}, "mlflow.spanOutputs": "\\"\\ud800\\""}}',
        '{"attributes": {"llm.input_messages.0": 3, "llm.input_messages.0.message": {"content": {"text": []}}}}',
        '{"attributes": {"gen_ai.input.messages": "[{\\"parts\\": {}}]", "gen_ai.prompt": {"0": 1}, "llm": 3}}',
        '{"attributes": {"mlflow.spanInputs": "\\"Hi\\"", "mlflow.spanOutputs": {"choices": {"0": [[]]}}}}',
    ]),
)  # fmt: skip
TRACE = ("request_id", "experiment_id", "timestamp_ms", "status", "session_id")
TABLES = {"trace_info": TRACE, "spans": ("trace_id", *SPAN), "assessments": ("trace_id", *ASSESSMENT)}
NEEDED = {
    "trace_info": {"request_id"},
    "spans": {"trace_id", "content", "start_time_unix_nano"},
    "assessments": {"assessment_id", "trace_id", "value"},
}


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_cell_may_hold_anything_and_any_column_may_be_missing(data):
    db = sqlite3.connect(":memory:")
    db.text_factory = lambda raw: raw.decode("utf-8", "replace")
    for table, names in TABLES.items():
        gone = data.draw(st.sets(st.sampled_from(sorted(set(names) - NEEDED[table])), max_size=2))
        kept = [name for name in names if name not in gone]
        db.execute(f"CREATE TABLE {table} ({', '.join(kept)})")
        for _ in range(data.draw(st.integers(0, 4))):
            row = {name: data.draw(CELL) for name in kept}
            row |= {
                name: data.draw(st.sampled_from(["a", "b", 3])) for name in ("request_id", "trace_id") if name in row
            }
            if "type" in row:
                row["type"] = data.draw(st.sampled_from(["LLM", "AGENT", "TOOL", None, 7]))
            db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(kept))})", list(row.values()))
    lost = []
    source, path = MlflowSource(), Path("log.db")
    found, threads = list(source.read(db, path, lost.append)), dict(source.threads(db))
    owners = [owner(episode, threads) for episode in found]
    assert None not in owners
    for thread in threads:
        alone = list(source.read(db, path, lambda verdict: None, {thread}))
        assert alone == [episode for episode, of in zip(found, owners, strict=True) if of == thread]
    traces = [key for (key,) in db.execute("SELECT request_id FROM trace_info")]
    db.close()
    assert not traces or found or lost
    for episode in found:
        assert isinstance(episode, Episode)
        assert episode.id.startswith("ep-")
