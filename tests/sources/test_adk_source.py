"""Google ADK's sessions: a JSON document an event, and the columns of before."""

import json
import sqlite3

import pytest
from examples.adk import SCHEMA, WHOLE, Log, call, response, text
from log_database import read_open, said

from lunar_tune.episodes import Attachment, Signal, to_dict
from lunar_tune.sources.adk.source import AdkSource

COLUMNS = """
CREATE TABLE events (id VARCHAR(128) NOT NULL, app_name VARCHAR(128) NOT NULL, user_id VARCHAR(128) NOT NULL,
  session_id VARCHAR(128) NOT NULL, invocation_id VARCHAR(256) NOT NULL, author VARCHAR(256) NOT NULL,
  actions BLOB NOT NULL, long_running_tool_ids_json TEXT, branch VARCHAR(256), timestamp DATETIME NOT NULL,
  content TEXT, grounding_metadata TEXT, custom_metadata TEXT, partial BOOLEAN, turn_complete BOOLEAN,
  error_code VARCHAR(256), error_message VARCHAR(1024), interrupted BOOLEAN,
  PRIMARY KEY (id, app_name, user_id, session_id));
"""


def read(log):
    return read_open(AdkSource(), log)


@pytest.fixture
def log(tmp_path):
    log = Log(tmp_path / "session.db", SCHEMA + WHOLE)
    yield log
    log.db.close()


def test_a_session_in_canonical_form(log):
    log.session("s")
    log.event("s", "user", text("Weather?"), {"inline_data": {"mime_type": "image/png", "data": "canary"}})
    thinking = text("Look it up.", thought=True)
    log.event("s", "agent", thinking, {**call("c1", city="Paris"), "thought_signature": "x"}, model_version="gemini")
    log.event("s", "agent", response("c1", {"result": "sunny"}))
    log.event("s", "agent", text("Sun"), partial=True)
    log.event("s", "agent", text("Sunny."), model_version="gemini", finish_reason="MAX_TOKENS")
    (episode,), lost = read(log)
    assert lost == []
    assert to_dict(episode) == {
        "id": episode.id,
        "source": "adk",
        "path": str(log.path),
        "thread": "s",
        "group": "s",
        "started_at": "2026-11-20T18:19:11Z",
        "model": "gemini",
        "tools": [],
        "messages": [
            {
                "role": "user",
                "content": "Weather?",
                "created_at": "2026-11-20T18:19:12Z",
                "attachments": [{"type": "image/png"}],
            },
            {
                "role": "assistant",
                "content": "",
                "created_at": "2026-11-20T18:19:13Z",
                "model": "gemini",
                "reasoning": "Look it up.",
                "tool_calls": [{"id": "c1", "name": "get_weather", "arguments": {"city": "Paris"}}],
            },
            {
                "role": "tool",
                "content": "sunny",
                "created_at": "2026-11-20T18:19:14Z",
                "tool_call_id": "c1",
                "name": "get_weather",
            },
            {
                "role": "assistant",
                "content": "Sunny.",
                "created_at": "2026-11-20T18:19:16Z",
                "model": "gemini",
                "finish": "length",
            },
        ],
        "signals": [],
    }


def test_what_was_rewound_is_a_path_with_an_undo(log):
    log.session("s")
    for n in (1, 2, 3):
        log.event("s", "user", text(f"q{n}"), invocation=f"i{n}")
        log.event("s", "agent", text(f"r{n}"), invocation=f"i{n}")
    rewind = log.event("s", "user", invocation="i4", actions={"rewind_before_invocation_id": "i2"})
    log.event("s", "user", text("q5"), invocation="i5")
    episodes, lost = read(log)
    assert [(e.thread, e.group, [m.content for m in e.messages]) for e in episodes] == [
        (f"s#{rewind}", "s", ["q1", "r1", "q2", "r2", "q3", "r3"]),
        ("s", "s", ["q1", "r1", "q5"]),
    ]
    assert episodes[0].signals == tuple(Signal(kind="undo", message=n, note="rewound") for n in (3, 5))
    assert lost == []


def test_scaffolding_and_summaries_are_reported_and_their_content_is_not_read(log):
    log.session("s")
    log.event("s", "user", text("Go"))
    asked = log.event("s", "agent", call("c1", "adk_request_credential", client_secret="canary"))
    given = log.event("s", "user", response("c1", {"token": "canary"}, "adk_request_credential"))
    summary = {"start_timestamp": 1, "compacted_content": {"parts": [{"text": "canary"}]}}
    compacted = log.event("s", "user", actions={"compaction": summary})
    log.event("s", "user", actions={"state_delta": {"key": "canary"}})
    (episode,), lost = read(log)
    assert said(episode) == [("user", "Go")]
    assert sorted((v.reason, v.detail) for v in lost) == [
        ("a compaction summary", f"events.event_data={compacted}"),
        ("a request for credentials", f"events.event_data={asked}"),
        ("a request for credentials", f"events.event_data={given}"),
    ]


def test_failures_and_cuts(log):
    log.session("s")
    log.event("s", "user", text("Go"))
    log.event("s", "agent", response("c1", {"error": "timeout"}))
    log.event("s", "agent", text("Hal"), interrupted=True)
    log.event("s", "agent", error_code="RESOURCE_EXHAUSTED", error_message="quota")
    (episode,), _ = read(log)
    assert [(m.role, m.content, m.error, m.finish) for m in episode.messages[1:]] == [
        ("tool", '{"error": "timeout"}', None, None),
        ("assistant", "Hal", None, "cancelled"),
        ("assistant", "", "quota", "error"),
    ]
    assert episode.signals == (Signal(kind="tool_error", message=1),)


def test_code_that_the_provider_ran_files_and_speech(log):
    log.session("s")
    log.event("s", "user", input_transcription={"text": "Add up", "finished": True})
    code = {"executable_code": {"code": "1+1", "language": "PYTHON"}}
    log.event("s", "agent", code, {"code_execution_result": {"outcome": "OUTCOME_OK", "output": "2"}}, text("It is 2."))
    log.event("s", "agent", {"file_data": {"mime_type": "text/csv", "file_uri": "gs://b/a.csv?canary"}})
    (episode,), lost = read(log)
    assert lost == []
    assert said(episode) == [
        ("user", "Add up"),
        ("assistant", ""),
        ("tool", "2"),
        ("assistant", "It is 2."),
        ("assistant", ""),
    ]
    assert episode.messages[1].tool_calls[0].arguments == {"code": "1+1", "language": "PYTHON"}
    assert episode.messages[1].tool_calls[0].id == episode.messages[2].tool_call_id is not None
    assert episode.messages[4].attachments == (Attachment(type="text/csv", name="a.csv"),)


def test_sessions_come_in_the_order_of_their_start_and_may_share_an_id(log):
    log.session("late", 50)
    log.session("s", 10, "u1")
    log.session("s", 5, "u2")
    log.session("empty", 1)
    log.event("late", "user", text("1"))
    log.event("s", "user", text("2"), user="u1")
    log.event("s", "user", text("3"), user="u2")
    episodes, lost = read(log)
    assert [(e.thread, said(e)[0][1]) for e in episodes] == [("app/u2/s", "3"), ("app/u1/s", "2"), ("late", "1")]
    assert [(v.id, v.reason) for v in lost] == [("empty", "a conversation without messages")]


def test_the_columns_of_before_and_their_pickles(tmp_path):
    log = Log(tmp_path / "v0.db", SCHEMA + COLUMNS)
    log.session("s")
    rows = [
        ("user", [text("Weather?")], {}),
        ("agent", [call("c1", city="Paris")], {}),
        ("agent", [response("c1", {"result": {"sky": "sunny"}})], {}),
        ("agent", [text("Su")], {"partial": 1}),
        ("agent", None, {"error_code": "500", "error_message": "down"}),
    ]
    for n, (author, parts, more) in enumerate(rows):
        content = json.dumps({"parts": parts, "role": "user" if author == "user" else "model"}) if parts else None
        values = {
            "id": f"e{n}", "app_name": "app", "user_id": "u", "session_id": "s", "invocation_id": "i",
            "author": author, "actions": b"\x80\x04canary.", "timestamp": f"2026-11-20 18:19:{n:02d}.000000",
            "content": content, "custom_metadata": "canary", **more,
        }  # fmt: skip
        marks = ", ".join("?" * len(values))
        log.db.execute(f"INSERT INTO events ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))
    broken = (
        "INSERT INTO events (id, app_name, user_id, session_id, invocation_id, author, actions, timestamp, content)"
    )
    log.db.execute(f"{broken} VALUES ('x', 'app', 'u', 's', 'i', 'agent', x'80', '2026-11-20 18:20:00', '{{canary')")
    (episode,), lost = read(log)
    assert [(m.role, m.content, m.created_at, m.error) for m in episode.messages] == [
        ("user", "Weather?", "2026-11-20T18:19:00Z", None),
        ("assistant", "", "2026-11-20T18:19:01Z", None),
        ("tool", '{"sky": "sunny"}', "2026-11-20T18:19:02Z", None),
        ("assistant", "", "2026-11-20T18:19:04Z", "down"),
    ]
    assert [(v.id, v.reason, v.detail) for v in lost] == [("s", "unreadable event", "events.content=x")]
    log.db.close()


@pytest.mark.parametrize("cell", ["{", "null", "3", "[]", '"canary"', b"\xff", "[" * 9000, '{"a": Infinity}'])
def test_a_broken_event_costs_itself(log, cell):
    log.event("s", "user", text("Hello"))
    key = log.event("s", "agent", cell=cell)
    (episode,), lost = read(log)
    assert said(episode) == [("user", "Hello")]
    assert [(v.id, v.reason, v.detail) for v in lost] == [("s", "unreadable event", f"events.event_data={key}")]


@pytest.mark.parametrize(
    "more",
    [
        {"content": 3}, {"content": {"parts": 3}},
        {"content": {"parts": [3, None, {}, {"text": 3}, {"odd": "canary"}]}},
        {"content": {"parts": [{"function_call": {}}, {"function_response": {"response": 3, "name": []}}]}},
        {"content": {"parts": [{"function_call": {"name": [], "args": 3, "id": {}}}]}}, {"actions": 3},
        {"actions": {"rewind_before_invocation_id": {}}}, {"actions": {"compaction": 3}}, {"timestamp": {}},
        {"error_message": {}, "error_code": []}, {"model_version": [], "finish_reason": {}, "interrupted": {}},
        {"input_transcription": 3, "output_transcription": {"text": 3}}, {"partial": {}},
        {"content": {"parts": [{"inline_data": {"mime_type": 3}}, {"executable_code": {}}]}},
    ],
)  # fmt: skip
@pytest.mark.parametrize("author", ["user", "agent"])
def test_odd_events_never_stop_the_reading(log, author, more):
    log.event("s", "user", text("Hello"))
    log.event("s", author, **more)
    log.event("s", "agent", text("Hi"))
    episodes, _ = read(log)
    assert said(episodes[-1])[0] == ("user", "Hello")
    assert said(episodes[-1])[-1] == ("assistant", "Hi")
    json.dumps([to_dict(e) for e in episodes])


def test_an_empty_database_and_other_ones(log, tmp_path):
    assert read(log) == ([], [])
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE events (id INTEGER, event_data TEXT)")
    assert not AdkSource().recognises(other)
    other.close()


def test_a_rewind_to_what_was_taken_back_already(log):
    log.session("s")
    for n in (1, 2, 3):
        log.event("s", "user", text(f"q{n}"), invocation=f"i{n}")
    first = log.event("s", "user", invocation="i4", actions={"rewind_before_invocation_id": "i2"})
    log.event("s", "user", text("q5"), invocation="i5")
    log.event("s", "agent", text("r5"), invocation="i5")
    second = log.event("s", "user", invocation="i6", actions={"rewind_before_invocation_id": "i3"})
    log.event("s", "user", text("q7"), invocation="i7")
    episodes, _ = read(log)
    assert [(e.thread, [m.content for m in e.messages]) for e in episodes] == [
        (f"s#{first}", ["q1", "q2", "q3"]),
        (f"s#{second}", ["q1", "q5", "r5"]),
        ("s", ["q1", "q2", "q7"]),
    ]


def test_two_rewinds_in_a_row_are_one_path(log):
    log.session("s")
    for n in (1, 2, 3):
        log.event("s", "user", text(f"q{n}"), invocation=f"i{n}")
        log.event("s", "agent", text(f"r{n}"), invocation=f"i{n}")
    rewind = log.event("s", "user", invocation="i4", actions={"rewind_before_invocation_id": "i3"})
    log.event("s", "user", invocation="i5", actions={"rewind_before_invocation_id": "i2"})
    (episode,), lost = read(log)
    assert (episode.thread, len(episode.messages)) == (f"s#{rewind}", 6)
    assert [s.message for s in episode.signals] == [3, 5]
    assert lost == []


def test_what_paths_share_is_reported_once(log):
    log.session("s")
    odd = log.event("s", "user", text("q1"), {"hologram": {}})
    log.event("s", "agent", text("r2"), invocation="i2")
    log.event("s", "user", invocation="i3", actions={"rewind_before_invocation_id": "i2"})
    log.event("s", "agent", text("r4"), invocation="i4")
    episodes, lost = read(log)
    assert len(episodes) == 2
    assert [(v.reason, v.detail) for v in lost] == [("content of unknown type", f"events.event_data={odd}")]


def test_a_stamp_follows_its_session_alone(log):
    log.session("a")
    log.session("b")
    log.event("a", "user", text("Hello"))
    before = dict(AdkSource().threads(log.db))
    log.event("b", "user", text("Hello"))
    after = dict(AdkSource().threads(log.db))
    assert after["a"] == before["a"]
    assert after["b"] != before["b"]
