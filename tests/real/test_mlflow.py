import json
import os

import pytest
from real_logs import changed, read, signals, stamps, told

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false")
mlflow = pytest.importorskip("mlflow")

from mlflow.entities import AssessmentSource, SpanType  # noqa: E402
from mlflow.tracing.constant import SpanAttributeKey  # noqa: E402

from lunar_tune.sources.spans.mlflow import MlflowSource  # noqa: E402

pytestmark = pytest.mark.real

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [
    {
        "type": "function",
        "function": {"name": "weather", "description": "The weather in a city.", "parameters": PARAMETERS},
    }
]
SYSTEM = {"role": "system", "content": "Be brief."}
PERSON = AssessmentSource(source_type="HUMAN", source_id="ann")


def user(text):
    return {"role": "user", "content": text}


def answer(text, *calls):
    asked = [
        {"id": key, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for key, name, arguments in calls
    ]
    return {"role": "assistant", "content": text} | ({"tool_calls": asked} if asked else {})


def result(key, text):
    return {"role": "tool", "tool_call_id": key, "content": text}


def ask(messages, said, tools=TOOLS):
    """Record a call of a model as MLflow's recording of OpenAI's client does."""
    with mlflow.start_span("Completions", span_type=SpanType.CHAT_MODEL) as span:
        span.set_inputs({"model": "tiny-1", "messages": messages} | ({"tools": tools} if tools else {}))
        if tools:
            span.set_attribute(SpanAttributeKey.CHAT_TOOLS, tools)
        span.set_attribute("mlflow.message.format", "openai")
        finish = "tool_calls" if said.get("tool_calls") else "stop"
        choice = {"index": 0, "finish_reason": finish, "message": said}
        span.set_outputs({"id": "x", "object": "chat.completion", "model": "tiny-1", "choices": [choice]})
        return span.span_id


def agent(session, steps):
    """Record one turn: an AGENT span around the calls of models and tools; return the trace's id."""
    with mlflow.start_span("agent", span_type=SpanType.AGENT) as span:
        if session:
            mlflow.update_current_trace(metadata={"mlflow.trace.session": session, "mlflow.trace.user": "ann"})
        steps()
        return span.trace_id


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mlflow.db"
    mlflow.set_tracking_uri(f"sqlite:///{path}")
    mlflow.set_experiment("agents")
    return path


FIRST = [SYSTEM, user("Weather in Oslo and Rome?")]
CALLED = answer(
    "I look it up.", ("c1", "weather", {"city": "Oslo"}), ("c2", "weather", {"city": "Rome", "note": 'ü "x"'})
)
RESULTS = [result("c1", "rain"), result("c2", "sun")]
DONE = answer("Rain in Oslo, sun in Rome.")


def first_turn():
    ask(FIRST, CALLED)
    for key, arguments, text in (
        ("c1", {"city": "Oslo"}, "rain"),
        ("c2", {"city": "Rome", "note": 'ü "x"'}, "sun"),
    ):
        with mlflow.start_span("weather", span_type=SpanType.TOOL) as span:
            span.set_inputs(arguments)
            span.set_attribute("gen_ai.tool.call.id", key)
            span.set_outputs(text)
    ask([*FIRST, CALLED, *RESULTS], DONE)


def write(path):
    """Two turns of one session, the second answered twice; a trace of its own; a call that fails."""
    one = agent("s1", first_turn)
    before = [*FIRST, CALLED, *RESULTS, DONE]
    two = agent("s1", lambda: ask([*before, user("And tomorrow?")], answer("No idea.")))
    three = agent("s1", lambda: ask([*before, user("And tomorrow?")], answer("The same.")))
    alone = agent(None, lambda: ask([user("Hi")], answer("Hello!"), tools=[]))

    def failing():
        with mlflow.start_span("Completions", span_type=SpanType.CHAT_MODEL) as span:
            span.set_inputs({"model": "tiny-1", "messages": [user("Are you there?")]})
            raise ConnectionError("no route")

    with pytest.raises(ConnectionError):
        agent("s2", failing)
    mlflow.log_feedback(trace_id=one, name="helpful", value=True, source=PERSON, rationale="to the point")
    mlflow.log_feedback(trace_id=two, name="helpful", value=False, source=PERSON)
    judge = AssessmentSource(source_type="LLM_JUDGE", source_id="judge-1")
    mlflow.log_feedback(trace_id=three, name="relevance", value=0.5, source=judge)
    wrong = mlflow.log_feedback(trace_id=alone, name="helpful", value=False, source=PERSON)
    mlflow.override_feedback(
        trace_id=alone, assessment_id=wrong.assessment_id, value=True, source=PERSON, rationale="a slip"
    )
    mlflow.log_expectation(trace_id=alone, name="expected", value="Hello there!", source=PERSON)
    return one, two, three, alone


TURN = [
    ("user", "Weather in Oslo and Rome?"),
    (
        "assistant",
        "I look it up.",
        [("weather", {"city": "Oslo"}), ("weather", {"city": "Rome", "note": 'ü "x"'})],
    ),
    ("tool", "rain", ("weather", {"city": "Oslo"})),
    ("tool", "sun", ("weather", {"city": "Rome", "note": 'ü "x"'})),
    ("assistant", "Rain in Oslo, sun in Rome."),
    ("user", "And tomorrow?"),
]


def test_what_mlflow_writes_is_read_whole(store):
    *_, alone = write(store)
    episodes, lost = read(store, MlflowSource())
    assert sorted(lost) == [(alone, "an assessment that was overridden")]
    branch = next(name for name in episodes if name.startswith("s1#"))
    assert set(episodes) == {"s1", branch, alone, "s2"}

    assert told(episodes["s1"]) == [*TURN, ("assistant", "The same.")]
    assert told(episodes[branch]) == [*TURN, ("assistant", "No idea.")]
    for name in ("s1", branch):
        assert (episodes[name].system, episodes[name].model, episodes[name].group) == ("Be brief.", "tiny-1", "s1")
        (tool,) = episodes[name].tools
        assert (tool.name, tool.description, tool.parameters) == ("weather", "The weather in a city.", PARAMETERS)
        assert all(message.created_at for message in episodes[name].messages)
    assert signals(episodes["s1"]) == [("rating", 1.0, 4), ("annotation", 0.5, 6)]
    assert sorted(signals(episodes[branch])) == [("rating", -1.0, 6), ("retry", None, 6)]

    assert told(episodes[alone]) == [("user", "Hi"), ("assistant", "Hello!")]
    assert (episodes[alone].system, episodes[alone].tools) == (None, ())
    assert sorted(signals(episodes[alone])) == [("annotation", "Hello there!", 1), ("rating", 1.0, 1)]

    assert told(episodes["s2"]) == [("user", "Are you there?"), ("assistant", "")]
    failure = episodes["s2"].messages[1]
    assert (failure.finish, failure.error) == ("error", "ConnectionError: no route")


def test_a_rating_changes_the_stamp_of_its_session_only(store):
    one, *_ = write(store)
    before = stamps(store, MlflowSource())
    mlflow.log_feedback(trace_id=one, name="kind", value=True, source=PERSON)
    rated = stamps(store, MlflowSource())
    assert changed(before, rated) == {"s1"}
    agent("s3", lambda: ask([user("Bye")], answer("Bye!"), tools=[]))
    assert changed(rated, stamps(store, MlflowSource())) == {"s3"}
