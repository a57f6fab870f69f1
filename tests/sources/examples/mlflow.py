"""MLflow 3.17: sessions that repeat their history, tools that fail, OpenTelemetry in all its forms, assessments."""

import json
import sqlite3

from examples import CANARY

SCHEMA = f"""
CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY, name VARCHAR(256), lifecycle_stage VARCHAR(32));
CREATE TABLE trace_info (request_id VARCHAR(50) NOT NULL PRIMARY KEY, experiment_id INTEGER NOT NULL,
  timestamp_ms BIGINT NOT NULL, execution_time_ms BIGINT, status VARCHAR(50) NOT NULL, client_request_id VARCHAR(50),
  request_preview VARCHAR(1000), response_preview VARCHAR(1000), db_payload_generation INTEGER DEFAULT 0 NOT NULL,
  trace_name VARCHAR(4096), session_id VARCHAR(250), input_tokens BIGINT, output_tokens BIGINT, total_tokens BIGINT);
CREATE INDEX index_trace_info_experiment_id_session_id ON trace_info (experiment_id, session_id);
CREATE TABLE trace_tags ("key" VARCHAR(250), value VARCHAR(8000), request_id VARCHAR(50),
  PRIMARY KEY ("key", request_id));
CREATE TABLE trace_request_metadata ("key" VARCHAR(250), value VARCHAR(8000), request_id VARCHAR(50),
  PRIMARY KEY ("key", request_id));
CREATE TABLE spans (trace_id VARCHAR(50) NOT NULL, experiment_id INTEGER, span_id VARCHAR(50) NOT NULL,
  parent_span_id VARCHAR(50), name TEXT, type VARCHAR(500), status VARCHAR(50) NOT NULL,
  start_time_unix_nano BIGINT NOT NULL, end_time_unix_nano BIGINT,
  duration_ns BIGINT GENERATED ALWAYS AS (end_time_unix_nano - start_time_unix_nano) STORED, content TEXT NOT NULL,
  model_name VARCHAR(500), PRIMARY KEY (trace_id, span_id));
CREATE INDEX idx_spans_cost_trace_time_cover ON spans (trace_id, start_time_unix_nano);
CREATE TABLE assessments (assessment_id VARCHAR(50) NOT NULL PRIMARY KEY, trace_id VARCHAR(50), name VARCHAR(250),
  assessment_type VARCHAR(20), value TEXT, error TEXT, created_timestamp BIGINT, last_updated_timestamp BIGINT,
  source_type VARCHAR(50), source_id VARCHAR(250), run_id VARCHAR(32), span_id VARCHAR(50), rationale TEXT,
  overrides VARCHAR(50), valid BOOLEAN, assessment_metadata TEXT);
CREATE INDEX index_assessments_trace_id_created_timestamp ON assessments (trace_id, created_timestamp);
CREATE TABLE tags ("key" VARCHAR(250), value VARCHAR(8000), run_uuid VARCHAR(32), PRIMARY KEY ("key", run_uuid));
CREATE TABLE secrets (secret_id VARCHAR(36) PRIMARY KEY, secret_name VARCHAR(255), encrypted_value BLOB NOT NULL,
  wrapped_dek BLOB NOT NULL, masked_value VARCHAR(500) NOT NULL, auth_config TEXT, description TEXT);
CREATE TABLE endpoints (endpoint_id VARCHAR(36) PRIMARY KEY, name VARCHAR(255), fallback_config_json TEXT);
CREATE TABLE webhooks (webhook_id VARCHAR(256) PRIMARY KEY, url VARCHAR(500), secret VARCHAR(1000));
INSERT INTO experiments VALUES (1, 'agents', 'active'), (2, 'old', 'deleted'), (3, 'more', 'active');
INSERT INTO secrets VALUES ('s', '{CANARY}', '{CANARY}', '{CANARY}', '{CANARY}', '{CANARY}', '{CANARY}');
INSERT INTO endpoints VALUES ('e', '{CANARY}', '{CANARY}');
INSERT INTO webhooks VALUES ('w', 'https://{CANARY}', '{CANARY}');
"""
START = 1_790_841_600_000  # 2026-10-01T08:00:00Z
TOOL = {"type": "function", "function": {"name": "get_weather", "description": "W", "parameters": {"type": "object"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}
SYSTEM = {"role": "system", "content": "Be brief."}


class Store:
    """A mlflow.db under construction."""

    def __init__(self, path, schema=SCHEMA):
        self.path = path
        self.db = sqlite3.connect(path)
        self.db.executescript(schema)

    def add(self, table, **values):
        names, marks = ", ".join(f'"{name}"' for name in values), ", ".join("?" * len(values))
        self.db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))

    def trace(self, key, at, *, session=None, status="OK", experiment=1, tags=None, metadata=None):
        self.add("trace_info", request_id=key, experiment_id=experiment, timestamp_ms=START + at * 1000, status=status,
                 session_id=session, request_preview="preview")  # fmt: skip
        for table, values in (("trace_tags", tags), ("trace_request_metadata", metadata)):
            for name, value in (values or {}).items():
                self.add(table, key=name, value=value, request_id=key)

    def span(
        self, trace, key, at, kind="CHAT_MODEL", parent=None, status="OK", events=(), message="", name="s", **said
    ):
        """A span whose attributes are JSON in JSON, as MLflow writes them."""
        start = (START + at * 1000) * 10**6
        content = {
            "trace_id": "qg==", "span_id": "Gg==", "name": name, "start_time_unix_nano": start, "events": list(events),
            "status": {"code": f"STATUS_CODE_{status}", "message": message}, "links": [],
            "attributes": {name.replace("__", "."): json.dumps(value) for name, value in said.items()},
        }  # fmt: skip
        self.add("spans", trace_id=trace, experiment_id=1, span_id=key, parent_span_id=parent, name=name, type=kind,
                 status=status, start_time_unix_nano=start, end_time_unix_nano=start + 500_000_000,
                 content=json.dumps(content))  # fmt: skip

    def chat(self, trace, key, at, messages, answer, **more):
        said = {"mlflow__spanInputs": {"model": "m", "messages": messages, "tools": [TOOL]}}
        if answer is not None:
            message = {"role": "assistant", "content": None, "tool_calls": None, **answer}
            choice = {"index": 0, "finish_reason": answer.get("finish", "stop"), "message": message}
            said["mlflow__spanOutputs"] = {"model": "m-1", "choices": [choice]}
        self.span(trace, key, at, **said, **more)

    def assess(self, key, trace, name, value, who="HUMAN", *, valid=1, **more):
        fields = {"assessment_type": "feedback", "source_id": "ann", "created_timestamp": START, **more}
        self.add("assessments", assessment_id=key, trace_id=trace, name=name, value=json.dumps(value), source_type=who,
                 valid=valid, **fields)  # fmt: skip

    def close(self):
        self.db.commit()
        self.db.close()
        return self.path


def user(text):
    return {"role": "user", "content": text}


def said(text):
    return {"role": "assistant", "content": text}


def called(*calls):
    return {"role": "assistant", "content": None, "tool_calls": list(calls)}


def call(key, city):
    function = {"name": "get_weather", "arguments": json.dumps({"city": city})}
    return {"id": key, "type": "function", "function": function}


def result(key, text):
    return {"role": "tool", "tool_call_id": key, "content": text}


def failure(text):
    return {"name": "exception", "attributes": {"exception.message": text, "exception.type": "ValueError"}}


def build(folder):
    store = Store(folder / "mlflow.db")
    _session(store)
    _clients(store)
    _telemetry(store)
    _others(store)
    return store.close()


def _session(store):
    """A session of three traces: calls in parallel of which one fails, a picture, an answer that is given anew."""
    asked = [SYSTEM, user("Weather in Oslo and Rome?")]
    calls = [call("c1", "Oslo"), call("c2", "Rome")]
    store.trace("tr-1", 0, session="chat-1", tags={"mlflow.trace.spansLocation": "TRACKING_STORE"})
    store.span("tr-1", "a0", 0, "AGENT", mlflow__spanInputs={"q": "Weather?"}, mlflow__spanOutputs="Rome is sunny.")
    said_first = {"tool_calls": calls, "reasoning_content": "Two cities.", "finish": "tool_calls"}
    store.chat("tr-1", "a1", 1, asked, said_first, parent="a0")
    for key, city, failed in (("a2", "Oslo", True), ("a3", "Rome", False)):
        events = [failure("no such city")] if failed else []
        store.span("tr-1", key, 2, "TOOL", "a0", "ERROR" if failed else "OK", events, name="get_weather",
                   mlflow__spanInputs={"city": city},
                   mlflow__spanOutputs=None if failed else "sun")  # fmt: skip
    told = [*asked, called(*calls), result("c1", "?"), result("c2", "sun")]
    store.chat("tr-1", "a4", 3, told, {"content": "Rome is sunny."}, parent="a0")
    picture = [{"type": "text", "text": "What is this?"},
               {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]  # fmt: skip
    told += [said("Rome is sunny."), {"role": "user", "content": picture}]
    store.trace("tr-2", 60, session="chat-1", metadata={"mlflow.sourceRun": "plain"})
    store.chat("tr-2", "b1", 61, told, {"content": "A cat"})
    store.trace("tr-3", 120, session="chat-1")
    store.chat("tr-3", "b2", 121, told, {"content": "A dog, I", "finish": "length"})
    store.add("tags", key="mlflow.runName", value="x", run_uuid="plain")
    store.assess("a-1", "tr-1", "helpful", True, overrides=None, valid=0)
    store.assess("a-2", "tr-1", "helpful", False, overrides="a-1", rationale="Oslo?", created_timestamp=START + 1)
    store.assess("a-3", "tr-3", "is_correct", "no", span_id="b2", source_id="bob")
    store.assess("a-4", "tr-3", "relevance", 0.5, "LLM_JUDGE", source_id="gpt")
    store.assess("a-5", "tr-3", "length", 8, "CODE", source_id="default")
    store.assess("a-6", "tr-3", "animal", {"is": "dog"}, assessment_type="expectation")
    store.assess("a-7", "tr-1", "complete", "yes", "LLM_JUDGE", source_id="gpt",
                 assessment_metadata=json.dumps({"mlflow.trace.session": "chat-1"}))  # fmt: skip
    store.assess("a-8", "tr-1", "safe", None, "LLM_JUDGE", error='{"error_code": "LIMIT"}')
    store.trace("tr-4", 130, session="chat-1", experiment=3)
    store.chat("tr-4", "b3", 131, [user("The same name, another experiment")], {"content": "Indeed."})


def _clients(store):
    """Other clients: Anthropic in an older store's session, Responses, LangChain twice, a stream."""
    blocks = [{"type": "thinking", "thinking": "Hm.", "signature": "s"}, {"type": "text", "text": "I look."},
              {"type": "tool_use", "id": "t1", "name": "get_weather", "input": {"city": "Rome"}}]  # fmt: skip
    tool = {"name": "get_weather", "description": "W", "input_schema": {"type": "object"}}
    request = {"model": "claude", "system": "Be brief.", "tools": [tool], "messages": [user("Rome?")]}
    answer = {"role": "assistant", "model": "claude-1", "content": blocks, "stop_reason": "tool_use"}
    store.trace("tr-10", 200, metadata={"mlflow.trace.session": "chat-2"})
    store.span("tr-10", "c1", 201, mlflow__spanInputs=request, mlflow__spanOutputs=answer)
    bad = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "down"}], "is_error": True}
    more = [user("Rome?"), {"role": "assistant", "content": blocks}, {"role": "user", "content": [bad]}]
    answer = {"role": "assistant", "model": "claude-1", "content": [{"type": "text", "text": "It is down."}]}
    store.span("tr-10", "c2", 203, mlflow__spanInputs={**request, "messages": more},
               mlflow__spanOutputs={**answer, "stop_reason": "end_turn"})  # fmt: skip
    store.trace("tr-11", 220, metadata={"mlflow.trace.session": "chat-2"})
    thanks = {"type": "text", "text": "You are welcome."}
    store.span("tr-11", "c3", 221, mlflow__spanInputs={**request, "messages": [user("Thanks")]},
               mlflow__spanOutputs={**answer, "content": [thanks], "stop_reason": "end_turn"})  # fmt: skip
    store.trace("tr-12", 240)
    items = [{"type": "compaction", "encrypted_content": "x"}, user("And Oslo?"),
             {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": '{"city": "Oslo"}'},
             {"type": "function_call_output", "call_id": "c1", "output": "rain"}]  # fmt: skip
    rain = [{"type": "output_text", "text": "Rain."}]
    output = [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "Easy."}]},
              {"type": "message", "role": "assistant", "content": rain}]  # fmt: skip
    store.span("tr-12", "d1", 241, mlflow__spanInputs={"model": "gpt", "instructions": "Be brief.", "input": items},
               mlflow__spanOutputs={"model": "gpt-1", "status": "completed", "output": output})  # fmt: skip
    store.trace("tr-13", 260)
    lines = [[{"type": "human", "content": "Hi"}]]
    generated = {"generations": [[{"text": "Hello", "message": {"type": "ai", "content": "Hello"}}]]}
    store.span("tr-13", "e0", 260, "CHAIN", mlflow__spanInputs={"messages": lines[0]})
    store.span("tr-13", "e1", 261, "CHAT_MODEL", "e0", mlflow__spanInputs=lines, mlflow__spanOutputs=generated)
    store.chat("tr-13", "e2", 262, [user("Hi")], {"content": "Hello"}, parent="e1")
    store.trace("tr-14", 280)
    pieces = [{"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]} for word in ("Go", "od.")]
    store.span("tr-14", "f1", 281, mlflow__spanInputs={"messages": [user("How are you?")]}, mlflow__spanOutputs=pieces)
    store.trace("tr-15", 300)
    ask = {"id": "c9", "type": "function", "function": {"name": "ask_expert", "arguments": '{"q": "6 x 7"}'}}
    store.chat("tr-15", "g1", 301, [user("6 x 7?")], {"tool_calls": [ask], "finish": "tool_calls"})
    store.span("tr-15", "g2", 302, "TOOL", name="ask_expert", mlflow__spanInputs={"q": "6 x 7"}, mlflow__spanOutputs=42)
    expert = {"role": "system", "content": "You calculate."}
    store.chat("tr-15", "g3", 303, [expert, user("6 x 7")], {"content": "42"}, parent="g2")
    store.chat("tr-15", "g4", 304, [user("6 x 7?"), called(ask), result("c9", "42")], {"content": "42."})


def _telemetry(store):
    """OpenTelemetry GenAI: messages with parts, the two forms of events, flattened names; OpenInference."""
    given = [
        {"role": "user", "parts": [{"type": "text", "content": "Weather in Oslo?"}]},
        {"role": "assistant", "parts": [
            {"type": "tool_call", "id": "c1", "name": "get_weather", "arguments": {"city": "Oslo"}}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "rain"}]},
    ]  # fmt: skip
    parts = [{"type": "reasoning", "content": "Easy."}, {"type": "text", "content": "It rains."}]
    judged = {"gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.value": 0.9,
              "gen_ai.evaluation.score.label": "relevant", "gen_ai.evaluation.explanation": "to the point"}  # fmt: skip
    store.trace("tr-20", 400)
    store.span(
        "tr-20", "h1", 401, "UNKNOWN", events=[{"name": "gen_ai.evaluation.result", "attributes": judged}],
        gen_ai__operation__name="chat", gen_ai__request__model="asked-for", gen_ai__response__model="g-1",
        gen_ai__system_instructions=json.dumps([{"type": "text", "content": "Be brief."}]),
        gen_ai__input__messages=json.dumps(given),
        gen_ai__output__messages=json.dumps([{"role": "assistant", "parts": parts, "finish_reason": "stop"}]),
        gen_ai__tool__definitions=json.dumps([{"type": "function", **TOOL["function"]}]),
    )  # fmt: skip
    message = {"role": "assistant", "tool_calls": [call("c1", "Oslo")]}
    events = [
        {"name": "gen_ai.system.message", "attributes": {"content": "Be brief."}},
        {"name": "gen_ai.user.message", "attributes": {"content": "Weather in Oslo?"}},
        {"name": "gen_ai.choice", "attributes": {"finish_reason": "tool_calls", "message": json.dumps(message)}},
    ]
    store.trace("tr-21", 420)
    store.span("tr-21", "h2", 421, "UNKNOWN", events=events, gen_ai__operation__name="chat")
    store.span("tr-21", "h3", 422, "UNKNOWN", gen_ai__operation__name="execute_tool", gen_ai__tool__name="get_weather",
               gen_ai__tool__call__id="c1", gen_ai__tool__call__result="rain")  # fmt: skip
    older = [
        {"name": "gen_ai.content.prompt", "attributes": {"gen_ai.prompt": json.dumps([user("Hi")])}},
        {"name": "gen_ai.content.completion", "attributes": {"gen_ai.completion": json.dumps([said("Hello")])}},
    ]
    store.trace("tr-22", 440)
    store.span("tr-22", "h4", 441, "LLM", events=older)
    store.trace("tr-23", 460)
    store.span("tr-23", "h5", 461, "UNKNOWN", gen_ai__prompt__0__role="user", gen_ai__prompt__0__content="Hi",
               gen_ai__completion__0__content="Ho", gen_ai__completion__0__finish_reason="length")  # fmt: skip
    store.trace("tr-24", 480)
    store.span("tr-24", "h6", 481, "UNKNOWN", openinference__span__kind="LLM", llm__model_name="o",
               llm__input_messages__0__message__role="user", llm__input_messages__0__message__content="Hi",
               llm__output_messages__0__message__role="assistant",
               llm__output_messages__0__message__content="Hey")  # fmt: skip


def _others(store):
    """What failed, cannot be read, or is not the agent's."""
    store.trace("tr-30", 500, status="ERROR")
    store.chat("tr-30", "i1", 501, [user("Hi")], None, status="ERROR", events=[failure("overloaded")])
    store.chat("tr-30", "i2", 502, [user("Hi")], {"content": "Hello"})
    store.trace("tr-31", 510, status="ERROR")
    store.chat("tr-31", "i3", 511, [user("Hi")], None, status="ERROR", message="no key")
    store.trace("tr-32", 520)
    store.span("tr-32", "i4", 521, "AGENT", mlflow__spanInputs={"messages": [user("Hi")]},
               mlflow__spanOutputs={"messages": [user("Hi"), said("Hey")]})  # fmt: skip
    store.trace("tr-33", 530)
    store.chat("tr-33", "i5", 531, [user("Hi")], {"content": "Hello"})
    store.chat("tr-33", "i6", 532, [user("Hi"), said("Hello"), user("Bye")], {"content": "Bye"})
    store.db.execute("UPDATE spans SET content = substr(content, 1, 40) WHERE span_id = 'i6'")
    store.trace("tr-34", 540)
    store.span("tr-34", "i7", 541, "RETRIEVER")
    store.add("tags", key="mlflow.runType", value="genai_evaluate", run_uuid="r1")
    foreign = [
        {"tags": {"mlflow.trace.sourceScorer": "safety"}, "session": "chat-1"},
        {"tags": {"mlflow.eval.requestId": "x"}},
        {"metadata": {"mlflow.sourceRun": "r1"}},
        {"tags": {"mlflow.trace.spansLocation": "ARTIFACT_REPO"}},
        {"experiment": 2},
    ]
    for number, about in enumerate(foreign):
        key = f"tr-4{number}"
        store.trace(key, 600 + number, **about)
        store.chat(key, "j", 600 + number, [user("Hi")], {"content": "Hello"})
    store.chat("tr-99", "k", 700, [user("Hi")], {"content": "Hello"})


def grow(path):
    store = Store(path, "")
    store.trace("tr-50", 800, session="chat-1")
    store.chat("tr-50", "n1", 801, [SYSTEM, user("Bye")], {"content": "Bye!"})
    store.trace("tr-51", 810)
    store.chat("tr-51", "n2", 811, [user("Good evening")], {"content": "Hello again"})
    store.assess("n-1", "tr-12", "helpful", True)
    store.assess("n-2", "tr-14", "helpful", False)
    changed = "UPDATE assessments SET value = 'true', last_updated_timestamp = ? WHERE assessment_id = 'n-2'"
    store.db.execute(changed, (START + 9,))
    store.db.execute("DELETE FROM spans WHERE span_id = 'i3'")  # written anew when it ended
    store.chat("tr-31", "i3", 511, [user("Hi")], {"content": "Back."})
    grown = (
        "UPDATE trace_info SET db_payload_generation = db_payload_generation + 1, status = 'OK' WHERE request_id = ?"
    )
    store.db.execute(grown, ("tr-31",))
    store.close()
    return {"chat-1", "tr-51", "tr-12", "tr-14", "tr-31"}
