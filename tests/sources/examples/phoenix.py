"""Arize Phoenix 20: sessions that repeat their history, failing tools, OpenTelemetry in all its forms, annotations."""

import json
import sqlite3

from examples import CANARY

JUDGED = """name VARCHAR NOT NULL, label VARCHAR, score FLOAT, explanation VARCHAR, metadata JSON NOT NULL DEFAULT '{}',
  annotator_kind VARCHAR NOT NULL, created_at TIMESTAMP,
  updated_at TIMESTAMP DEFAULT '2026-10-01 08:00:00', identifier VARCHAR DEFAULT '' NOT NULL,
  source VARCHAR DEFAULT 'API', user_id INTEGER"""
SCHEMA = f"""
CREATE TABLE projects (id INTEGER PRIMARY KEY, name VARCHAR NOT NULL UNIQUE, description VARCHAR);
CREATE TABLE project_sessions (id INTEGER PRIMARY KEY, session_id VARCHAR NOT NULL UNIQUE, project_id INTEGER,
  start_time TIMESTAMP, end_time TIMESTAMP);
CREATE TABLE traces (id INTEGER PRIMARY KEY, project_rowid INTEGER NOT NULL, trace_id VARCHAR NOT NULL UNIQUE,
  project_session_rowid INTEGER, start_time TIMESTAMP NOT NULL, end_time TIMESTAMP);
CREATE TABLE spans (id INTEGER PRIMARY KEY, trace_rowid INTEGER NOT NULL, span_id VARCHAR NOT NULL UNIQUE,
  parent_id VARCHAR, name VARCHAR NOT NULL, span_kind VARCHAR NOT NULL, start_time TIMESTAMP NOT NULL,
  end_time TIMESTAMP, attributes JSON NOT NULL, events JSON NOT NULL, status_code VARCHAR NOT NULL,
  status_message VARCHAR NOT NULL, cumulative_error_count INTEGER, llm_token_count_prompt INTEGER);
CREATE TABLE span_annotations (id INTEGER PRIMARY KEY, span_rowid INTEGER NOT NULL, {JUDGED});
CREATE TABLE trace_annotations (id INTEGER PRIMARY KEY, trace_rowid INTEGER NOT NULL, {JUDGED});
CREATE TABLE project_session_annotations (id INTEGER PRIMARY KEY, project_session_id INTEGER NOT NULL, {JUDGED});
CREATE TABLE document_annotations (id INTEGER PRIMARY KEY, span_rowid INTEGER, document_position INTEGER, {JUDGED});
CREATE INDEX ix_traces_project_session_rowid ON traces (project_session_rowid);
CREATE INDEX ix_spans_trace_rowid ON spans (trace_rowid);
CREATE INDEX ix_span_annotations_span_rowid ON span_annotations (span_rowid);
CREATE INDEX ix_trace_annotations_trace_rowid ON trace_annotations (trace_rowid);
CREATE INDEX ix_project_session_annotations_project_session_id ON project_session_annotations (project_session_id);
CREATE TABLE experiments (id INTEGER PRIMARY KEY, name VARCHAR, project_name VARCHAR);
CREATE TABLE experiment_runs (id INTEGER PRIMARY KEY, experiment_id INTEGER, trace_id VARCHAR);
CREATE TABLE experiment_run_annotations (id INTEGER PRIMARY KEY, experiment_run_id INTEGER, trace_id VARCHAR);
CREATE TABLE dataset_evaluators (id INTEGER PRIMARY KEY, name VARCHAR, project_id INTEGER);
CREATE TABLE secrets (key VARCHAR PRIMARY KEY, value BLOB);
CREATE TABLE api_keys (id INTEGER PRIMARY KEY, name VARCHAR, description VARCHAR);
CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR, password_hash BLOB, password_salt BLOB);
CREATE TABLE agent_session_messages (id INTEGER PRIMARY KEY, content JSON);
INSERT INTO projects (id, name) VALUES (1, 'default'), (2, 'Experiment-1'), (3, 'judges'), (4, 'assistant_agent');
INSERT INTO secrets VALUES ('{CANARY}', '{CANARY}');
INSERT INTO api_keys VALUES (1, '{CANARY}', '{CANARY}');
INSERT INTO users VALUES (1, '{CANARY}@x.test', '{CANARY}', '{CANARY}');
INSERT INTO agent_session_messages VALUES (1, '"{CANARY}"');
"""
TOOL = {"type": "function", "function": {"name": "get_weather", "description": "W", "parameters": {"type": "object"}}}
CALL = {"tool_call": {"id": "c1", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}}
SYSTEM = {"role": "system", "content": "Be brief."}


def when(seconds):
    return f"2026-10-01 08:{seconds // 60:02}:{seconds % 60:02}.000000"


class Store:
    """A phoenix.db under construction."""

    def __init__(self, path, schema=SCHEMA):
        self.path = path
        self.db = sqlite3.connect(path)
        self.db.executescript(schema)

    def add(self, table, **values):
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        cursor = self.db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))
        return cursor.lastrowid

    def trace(self, at, *, session=None, project=1, key=None):
        number = self.db.execute("SELECT count(*) FROM traces").fetchone()[0] + 1
        return self.add("traces", project_rowid=project, trace_id=key or f"{number:032x}", start_time=when(at),
                        project_session_rowid=session)  # fmt: skip

    def span(self, trace, key, at, kind="LLM", parent=None, status="OK", message="", events=(), name="s", **attributes):
        return self.add(
            "spans", trace_rowid=trace, span_id=key, parent_id=parent, name=name, span_kind=kind, start_time=when(at),
            end_time=when(at + 1), attributes=json.dumps(attributes), events=json.dumps(list(events)),
            status_code=status, status_message=message,
        )  # fmt: skip

    def chat(self, trace, key, at, given, said, **more):
        llm = {
            "model_name": "m",
            "invocation_parameters": '{"temperature": 0}',
            "input_messages": [{"message": message} for message in given],
            "output_messages": [{"message": message} for message in said],
            "tools": [{"tool": {"json_schema": json.dumps(TOOL)}}],
            "token_count": {"prompt": 1, "completion": 1, "total": 2},
        }
        body = {"openinference": {"span": {"kind": "LLM"}}, "llm": llm, "input": {"value": "{}"}}
        return self.span(trace, key, at, **body, **more)

    def close(self):
        self.db.commit()
        self.db.close()
        return self.path


def user(text):
    return {"role": "user", "content": text}


def said(text):
    return {"role": "assistant", "content": text}


def called(*calls):
    return {"role": "assistant", "tool_calls": [{"tool_call": call} for call in calls]}


def call(key, city):
    return {"id": key, "function": {"name": "get_weather", "arguments": json.dumps({"city": city})}}


def result(key, text):
    return {"role": "tool", "tool_call_id": key, "content": text}


def build(folder):
    store = Store(folder / "phoenix.db")
    _session(store)
    _experts(store)
    _telemetry(store)
    _others(store)
    return store.close()


def _session(store):
    """A session of three traces: calls in parallel of which one fails, a picture, an answer that is given anew."""
    session = store.add("project_sessions", session_id="chat-1", project_id=1)
    first = store.trace(0, session=session)
    store.span(
        first, "a0", 0, "AGENT", input={"value": "Weather in Oslo and Rome?"}, output={"value": "Rome is sunny."}
    )
    asked = [SYSTEM, user("Weather in Oslo and Rome?")]
    both = called(call("c1", "Oslo"), call("c2", "Rome"))
    thoughts = {"message_content": {"type": "reasoning", "text": "Two cities."}}
    store.chat(first, "a1", 1, asked, [{**both, "contents": [thoughts]}], parent="a0")
    failure = {"name": "exception", "timestamp": "x", "attributes": {"exception.message": "no such city"}}
    for key, city, failed in (("a2", "Oslo", True), ("a3", "Rome", False)):
        store.span(first, key, 2, "TOOL", "a0", "ERROR" if failed else "OK", events=[failure] if failed else (),
                   tool={"name": "get_weather"}, input={"value": json.dumps({"city": city})},
                   output={"value": "" if failed else "sun"})  # fmt: skip
    told = [*asked, both, result("c1", "?"), result("c2", "sun")]
    last = store.chat(first, "a4", 4, told, [said("Rome is sunny.")], parent="a0")
    told += [said("Rome is sunny."), {"role": "user", "contents": [
        {"message_content": {"type": "text", "text": "What is this?"}},
        {"message_content": {"type": "image", "image": {"image": {"url": "data:image/png;base64,AAAA"}}}},
    ]}]  # fmt: skip
    store.chat(store.trace(60, session=session), "b1", 61, told, [said("A cat.")])
    anew = store.trace(120, session=session)
    store.chat(anew, "c1", 121, told, [said("A dog.")])
    judged = {"annotator_kind": "HUMAN", "identifier": "ann"}
    store.add("span_annotations", span_rowid=last, name="user feedback", label="thumbs-down", score=0.0,
              explanation="Oslo?", **judged)  # fmt: skip
    store.add("span_annotations", span_rowid=last, name="correctness", score=0.25, annotator_kind="LLM")
    store.add("trace_annotations", trace_rowid=anew, name="tone", label="warm", score=0.5, annotator_kind="CODE")
    store.add("trace_annotations", trace_rowid=anew, name="toxic", label="no", **judged)
    store.add("project_session_annotations", project_session_id=session, name="solved", label="yes", **judged)
    store.add("document_annotations", span_rowid=last, name="relevant", label="no", annotator_kind="LLM")


def _experts(store):
    """An agent that asks another through a tool, and a judge in the same trace."""
    trace = store.trace(300, key="experts")
    ask = {"id": "c9", "function": {"name": "ask_expert", "arguments": '{"question": "6 x 7"}'}}
    store.span(trace, "e0", 300, "AGENT")
    store.chat(trace, "e1", 301, [user("What is 6 x 7?")], [called(ask)], parent="e0")
    store.span(trace, "e2", 302, "TOOL", "e0", tool={"name": "ask_expert"}, input={"value": '{"question": "6 x 7"}'},
               output={"value": "42"})  # fmt: skip
    expert = {"role": "system", "content": "You calculate."}
    store.chat(trace, "e3", 303, [expert, user("6 x 7")], [said("42")], parent="e2")
    given = [user("What is 6 x 7?"), called(ask), result("c9", "42")]
    store.chat(trace, "e4", 304, given, [said("It is 42.")], parent="e0")
    store.span(trace, "e5", 305, "EVALUATOR")
    store.chat(trace, "e6", 306, [user("Is 42 right?")], [said("yes")], parent="e5")


def _telemetry(store):
    """OpenTelemetry GenAI: messages with parts, the two forms of events, flattened names."""
    given = [
        {"role": "user", "parts": [{"type": "text", "content": "Weather in Oslo?"}]},
        {"role": "assistant", "parts": [
            {"type": "tool_call", "id": "c1", "name": "get_weather", "arguments": {"city": "Oslo"}}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "rain"}]},
    ]  # fmt: skip
    parts = [{"type": "reasoning", "content": "Easy."}, {"type": "text", "content": "It rains."}]
    judged = {"gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.value": 0.9,
              "gen_ai.evaluation.score.label": "relevant", "gen_ai.evaluation.explanation": "to the point"}  # fmt: skip
    named = {
        "operation": {"name": "chat"},
        "request": {"model": "asked-for"},
        "response": {"model": "g-1", "finish_reasons": '["stop"]'},
        "system_instructions": json.dumps([{"type": "text", "content": "Be brief."}]),
        "input": {"messages": json.dumps(given)},
        "output": {"messages": json.dumps([{"role": "assistant", "parts": parts, "finish_reason": "stop"}])},
        "tool": {"definitions": json.dumps([{"type": "function", **TOOL["function"]}])},
    }
    evaluated = [{"name": "gen_ai.evaluation.result", "attributes": judged}]
    session = store.add("project_sessions", session_id="otel", project_id=1)
    store.span(store.trace(400, session=session), "f1", 401, gen_ai=named, events=evaluated)
    events = [
        {"name": "gen_ai.system.message", "attributes": {"content": "Be brief."}},
        {"name": "gen_ai.user.message", "attributes": {"content": "Weather in Oslo?"}},
        {"name": "gen_ai.choice", "attributes": {"index": 0, "finish_reason": "tool_calls", "message": json.dumps(
            {"role": "assistant", "tool_calls": [{"type": "function", **call("c1", "Oslo")}]})}},
    ]  # fmt: skip
    old = store.trace(420, key="events")
    store.span(old, "f2", 421, "UNKNOWN", events=events, gen_ai={"operation": {"name": "chat"}})
    store.span(old, "f3", 422, "TOOL", gen_ai={"tool": {"name": "get_weather", "call": {
        "id": "c1", "arguments": '{"city": "Oslo"}', "result": "rain"}}})  # fmt: skip
    older = [
        {"name": "gen_ai.content.prompt", "attributes": {"gen_ai.prompt": json.dumps([user("Hi")])}},
        {"name": "gen_ai.content.completion", "attributes": {"gen_ai.completion": json.dumps([said("Hello")])}},
    ]
    store.span(store.trace(440, key="content"), "f4", 441, "LLM", events=older)
    flat = {
        "prompt": [user("Hi")],
        "completion": [{**said("Ho"), "finish_reason": "length"}],
        "request": {"model": "g"},
    }
    store.span(store.trace(460, key="flat"), "f5", 461, "UNKNOWN", gen_ai=flat)


def _others(store):
    """What failed, is hidden, cannot be read, or is not the agent's."""
    store.chat(store.trace(500, key="failed"), "g1", 501, [user("Hi")], [], status="ERROR", message="overloaded")
    store.chat(store.trace(520, key="hidden"), "g2", 521, [user("__REDACTED__")], [said("Hello")])
    bare = store.trace(540, key="bare")
    store.span(bare, "g3", 541, "CHAIN", input={"value": json.dumps({"messages": [user("Hi")]})},
               output={"value": json.dumps({"messages": [user("Hi"), said("Hey")]})})  # fmt: skip
    broken = store.trace(560, key="broken")
    store.chat(broken, "g4", 561, [user("Hi")], [said("Hello")])
    torn = store.chat(broken, "g5", 562, [user("Hi"), said("Hello"), user("Bye")], [said("Bye")])
    store.db.execute("UPDATE spans SET attributes = substr(attributes, 1, 40) WHERE id = ?", (torn,))
    store.span(store.trace(580, key="silent"), "g6", 581, "RETRIEVER")
    store.add("experiments", name="e", project_name="Experiment-1")
    store.add("experiment_runs", experiment_id=1, trace_id="run")
    store.add("experiment_run_annotations", experiment_run_id=1, trace_id="judge")
    store.add("dataset_evaluators", name="d", project_id=3)
    foreign = [(1, "run"), (2, "other"), (1, "judge"), (3, "evaluator"), (4, "help")]
    for number, (project, key) in enumerate(foreign):
        trace = store.trace(600 + number, project=project, key=key)
        store.chat(trace, f"h{number}", 600 + number, [user("Hi")], [said("Hello")])
    store.db.execute("DELETE FROM traces WHERE id = ?", (store.trace(700),))
    store.chat(999, "lost", 700, [user("Hi")], [said("Hello")])
    store.add("span_annotations", span_rowid=998, name="n", label="yes", annotator_kind="HUMAN")


def grow(path):
    store = Store(path, "")
    session = store.db.execute("SELECT id FROM project_sessions WHERE session_id = 'chat-1'").fetchone()[0]
    store.chat(store.trace(800, session=session, key="t-new"), "n1", 801, [SYSTEM, user("Bye")], [said("Bye!")])
    store.chat(store.trace(810, key="t-newer"), "n2", 811, [user("Good evening")], [said("Hello again")])
    flat = store.db.execute("SELECT id FROM spans WHERE span_id = 'f5'").fetchone()[0]
    store.add("span_annotations", span_rowid=flat, name="quality", label="no", annotator_kind="HUMAN")
    store.add("project_session_annotations", project_session_id=session + 1, name="solved", score=1,
              annotator_kind="HUMAN")  # fmt: skip
    changed = "UPDATE span_annotations SET label = 'thumbs-up', updated_at = ? WHERE label = 'thumbs-down'"
    store.db.execute(changed, (when(900),))
    store.chat(store.db.execute("SELECT id FROM traces WHERE trace_id = 'failed'").fetchone()[0], "n3", 820,
               [user("Hi")], [said("Back.")])  # fmt: skip
    store.close()
    return {"chat-1", "t-newer", "flat", "otel", "failed"}
