import pytest

from lunar_tune.curate.schemas import Schemas, infer_tools
from lunar_tune.curate.toolcalls import ToolCalls
from lunar_tune.episodes import Message, Signal, ToolCall, ToolSpec

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "pattern": "^[A-Z]"}, "days": {"type": "integer"}},
    "required": ["city"],
}


def fault(arguments, schema=SCHEMA, **more):
    offered = Schemas().of([ToolSpec(name="t", parameters=schema)])
    return offered.fault(ToolCall(**({"name": "t", "arguments": arguments} | more)))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"city": "Oslo", "days": 3}, None),
        ({"days": 3}, "missing argument"),
        ({"city": "Oslo", "hours": 3}, "unexpected argument"),
        ({"city": "Oslo", "days": "3"}, "mistyped argument"),
        ({"city": "Oslo", "days": True}, "mistyped argument"),
        ({"city": "oslo"}, "argument outside the schema"),
        ({"city": "<EMAIL_1>"}, None),  # a placeholder cannot keep the shape of what it stands for
        ({"city": "Oslo", "days": "<PHONE_1>"}, None),
    ],
)
def test_arguments_against_a_schema(arguments, expected):
    assert fault(arguments) == expected


PLAIN = {
    "type": "object",
    "properties": {
        "a": {"type": "string", "description": "A name."},
        "n": {"type": "number"},
        "u": {"type": "string", "enum": ["c", "f"]},
        "o": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "i": {"type": "integer", "minimum": 1},
        "l": {"type": "array"},
    },
    "required": ["a"],
}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"a": "x", "n": 1, "u": "c", "o": None, "i": 3, "l": [1]}, None),
        ({"a": "x", "n": 1.5, "i": 3.0}, None),  # 3.0 is an integer in JSON
        ({}, "missing argument"),
        ({"a": "x", "n": True}, "mistyped argument"),
        ({"a": None}, "mistyped argument"),
        ({"a": "x", "o": 3}, "mistyped argument"),
        ({"a": "x", "u": "k"}, "argument outside the schema"),
        ({"a": "x", "i": 0}, "argument outside the schema"),
        ({"a": "x", "z": 0}, "unexpected argument"),
        ({"z": 0, "n": "1"}, "missing argument"),  # of several faults the gravest is told
        ({"a": "x", "z": 0, "n": "1"}, "unexpected argument"),
    ],
)
def test_the_quick_check_and_the_validator_agree(arguments, expected, monkeypatch):
    assert fault(arguments, PLAIN) == expected
    monkeypatch.setattr("lunar_tune.curate.schemas._vouching", lambda schema: None)
    assert fault(arguments, PLAIN) == expected


def test_faults_deep_in_an_argument_are_told_apart():
    inner = {"type": "object", "properties": {"k": {"type": "string"}}, "required": ["k"]}
    inner["additionalProperties"] = False
    schema = {"type": "object", "properties": {"o": inner, "f": {"anyOf": [{"type": "integer"}, inner]}}}
    assert fault({"o": {}}, schema) == "missing argument"
    assert fault({"o": {"k": "v", "x": 1}}, schema) == "unexpected argument"
    assert fault({"o": {"k": 1}}, schema) == "mistyped argument"
    assert fault({"f": "1"}, schema) == "mistyped argument"
    assert fault({"f": {}}, schema) == "missing argument"


def test_unknown_and_unreadable_calls():
    assert fault({}, name="u") == "unknown tool"
    assert fault({}, arguments_raw="{", error="not JSON") == "unreadable arguments"


@pytest.mark.parametrize(
    "schema",
    [{"type": "banana"}, {"$ref": "https://example.com/s.json"}, {"properties": {"a": {"$ref": "#/nowhere"}}}, {}],
)
def test_schemas_that_cannot_be_used_accuse_nobody_and_fetch_nothing(schema):
    assert fault({"a": 1}, schema) is None


def test_a_faulty_call_is_context_and_what_follows_stays(make):
    drafts, told = make.run(
        ToolCalls(),
        make.episode(make.user("Oslo?"), make.calls(name="weather"), make.result(), make.says("4 C")),
    )
    assert told == [(1, "unknown tool")]
    assert drafts[0].weights == (0, 0, 0, 1)


def test_a_failed_call_is_context_and_the_mended_one_is_learnt(make):
    failed = make.result('{"error": "timeout"}', error="timeout")
    again = make.calls(call_id="c2")
    messages = (make.user("Oslo?"), make.calls(), failed, again, make.result(call_id="c2"), make.says("4 C"))
    drafts, told = make.run(ToolCalls(), make.episode(*messages))
    assert told == [(1, "its call failed")]
    assert drafts[0].weights == (0, 0, 0, 1, 0, 1)
    signalled = make.episode(
        *(m if m is not failed else make.result() for m in messages), signals=(Signal(kind="tool_error", message=2),)
    )
    assert make.run(ToolCalls(), signalled)[1] == [(1, "its call failed")]


def test_a_result_without_a_call_goes_and_its_answer_is_not_learnt(make):
    drafts, told = make.run(
        ToolCalls(),
        make.episode(make.user("Hi"), make.result(call_id="x"), make.says("Yo"), make.user("?"), make.says("!")),
    )
    assert told == [(1, "a result without a call"), (2, "answers a result without a call")]
    assert drafts[0].weights == (0, -1, 0, 0, 1)


def test_a_call_without_a_result_goes_unless_the_log_ends_there(make):
    open_ended = make.episode(make.user("Oslo?"), make.calls())
    assert make.run(ToolCalls(), open_ended)[1] == []
    drafts, told = make.run(
        ToolCalls(),
        make.episode(make.user("Oslo?"), make.calls(), make.says("4 C"), make.user("So?"), make.says("Yes")),
    )
    assert told == [(1, "a call without a result"), (2, "follows a call without a result")]
    assert drafts[0].weights == (0, -1, 0, 0, 1)


def test_one_missing_result_of_two_keeps_the_conversation(make):
    both = Message(
        role="assistant",
        tool_calls=tuple(ToolCall(name="get_weather", id=i, arguments={"city": "Oslo"}) for i in ("c1", "c2")),
    )
    drafts, told = make.run(ToolCalls(), make.episode(make.user("Both"), both, make.result(), make.says("Half")))
    assert told == [(1, "a call without a result")]
    assert drafts[0].weights == (0, 0, 0, 1)


def test_tools_are_inferred_from_the_whole_log_and_marked(make):
    chat = make.episode(make.user("Hi"), make.says("Yo"), tools=(), thread="a")
    asked = make.episode(make.user("Oslo?"), make.calls(), make.result(), make.says("4"), tools=(), thread="b")
    drafts, told = make.run(ToolCalls(), chat, asked)
    assert told == []
    assert [[t.name for t in d.episode.tools] for d in drafts] == [["get_weather"]] * 2
    assert drafts[0].episode.tools[0].inferred
    assert drafts[0].episode.tools[0].parameters["required"] == ["city"]


def test_a_log_that_records_tools_is_taken_at_its_word(make):
    bare = make.episode(make.user("Oslo?"), make.calls(), make.result(), make.says("4"), tools=(), thread="a")
    drafts, told = make.run(ToolCalls(), bare, make.episode(make.user("Hi"), make.says("Yo"), thread="b"))
    assert [d.episode.thread for d in drafts] == ["a", "b"]
    assert drafts[0].episode.tools == ()
    assert told == [(1, "unknown tool")]


def test_inferred_schemas_hold_types_and_no_values():
    seen = [{"a": 1, "b": "secret"}, {"a": 1.5, "b": None}, {"a": 2, "c": [1]}]
    (tool,) = infer_tools(ToolCall(name="t", arguments=arguments) for arguments in seen)
    assert tool.parameters == {
        "type": "object",
        "properties": {"a": {"type": "number"}, "b": {"type": ["null", "string"]}, "c": {"type": "array"}},
        "required": ["a"],
    }
    assert all(Schemas().of([tool]).fault(ToolCall(name="t", arguments=a)) is None for a in seen)
