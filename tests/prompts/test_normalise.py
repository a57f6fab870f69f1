"""Messages of every shape become one shape, and every change is told."""

import copy

import pytest

from lunar_tune.prompts.normalise import normalise, one_call_a_turn

F = {"name": "f", "arguments": {"a": 1}}


def call(id=None, **function):
    made = {"type": "function", "function": {**F, **function}}
    return made if id is None else {"id": id, **made}


def result(content, id=None):
    return {"role": "tool", "content": content, **({"tool_call_id": id} if id else {})}


def asked(*calls, content=""):
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


@pytest.mark.parametrize(
    ("message", "shaped", "what"),
    [
        ({"role": "user", "content": "u"}, {"role": "user", "content": "u"}, []),
        ({"role": "user", "content": None}, {"role": "user", "content": ""}, []),
        ({"role": "user"}, {"role": "user", "content": ""}, []),
        ({"role": "developer", "content": "d"}, {"role": "system", "content": "d"}, ["role"]),
        ({"role": "function", "content": "d"}, {"role": "tool", "content": "d"}, ["role"]),
        ({"role": "tool", "content": {"a": [1, "é"]}}, {"role": "tool", "content": '{"a": [1, "é"]}'}, ["content"]),
        ({"role": "tool", "content": []}, {"role": "tool", "content": "[]"}, ["content"]),
        ({"role": "user", "content": "\ud83d\ude00"}, {"role": "user", "content": "😀"}, ["surrogate"]),
        ({"role": "user", "content": "a\ud83d"}, {"role": "user", "content": "a\ufffd"}, ["surrogate"]),
        (
            {"role": "assistant", "content": "a", "tool_calls": []},
            {"role": "assistant", "content": "a"},
            ["tool_calls"],
        ),
        ({"role": "assistant", "content": "a", "tool_calls": None}, {"role": "assistant", "content": "a"}, []),
        (asked(call(arguments='{"a": 1}')), asked(call()), []),
        (asked({"name": "f", "arguments": {"a": 1}}), asked(call()), []),
        (asked(call(arguments="")), asked(call(arguments={})), ["arguments"]),
        (asked(call(arguments=None)), asked(call(arguments={})), ["arguments"]),
        (asked(call(arguments={})), asked(call(arguments={})), []),
        (asked(call(arguments="{a}")), asked(call(arguments="{a}")), ["arguments"]),
        (asked(call(arguments={"a": float("nan")})), asked(call(arguments={"a": None})), ["number"]),
        (asked(call(arguments={"a": 10**400})), asked(call(arguments={"a": None})), ["number"]),
        (
            {
                "role": "user",
                "content": [{"type": "text", "text": ""}, {"type": "text", "text": "a"}, {"type": "image_url"}],
            },
            {"role": "user", "content": "a"},
            ["attachment"],
        ),
    ],
)
def test_a_message(message, shaped, what):
    before = copy.deepcopy(message)
    shape = normalise([message], [])
    assert shape.messages == [shaped]
    assert [change.what for change in shape.changes] == what
    assert all(change.message == 0 for change in shape.changes)
    assert message == before


def test_tools_take_the_server_s_shape():
    tools = [
        {"type": "function", "strict": True, "function": {"parameters": {"b": 1, "a": 2}, "name": "f"}},
        {"name": "g", "description": "d"},
        {"type": "function", "function": {"description": "no name"}},
    ]
    shape = normalise([], tools)
    assert [list(tool["function"].items()) for tool in shape.tools] == [
        [("name", "f"), ("description", ""), ("parameters", {"b": 1, "a": 2})],
        [("name", "g"), ("description", "d"), ("parameters", {})],
    ]
    assert [(change.what, change.message) for change in shape.changes] == [("tool", None)]


def split(*messages):
    return one_call_a_turn(normalise(messages, []))


def test_one_call_stays_as_it_is():
    messages = [asked(call("a")), result("1", "a"), {"role": "user", "content": "u"}]
    shape = split(*messages)
    assert (shape.messages, shape.turns, shape.changes) == (messages, [0, 1, 2], ())


def test_several_calls_are_paired_with_their_results_by_id():
    shape = split(asked(call("a"), call("b"), content="text"), result("2", "b"), result("1", "a"))
    assert [m.get("tool_call_id") or m["tool_calls"][0]["id"] for m in shape.messages] == ["a", "a", "b", "b"]
    assert [m["content"] for m in shape.messages] == ["text", "1", "", "2"]
    assert shape.turns == [0, 2, 0, 1]
    assert [change.what for change in shape.changes] == ["split"]


def test_results_without_an_id_go_by_order():
    shape = split(asked(call(), call()), result("1"), result("2"))
    assert [m["content"] for m in shape.messages] == ["", "1", "", "2"]


def test_missing_and_surplus_results_are_told():
    missing = split(asked(call("a"), call("b")), result("2", "b"))
    assert [m["content"] for m in missing.messages] == ["", "", "2"]
    surplus = split(asked(call("a"), call("b")), result("1", "a"), result("2", "b"), result("3", "c"))
    assert [m["content"] for m in surplus.messages] == ["", "1", "", "2", "3"]
    for shape in (missing, surplus):
        assert [change.what for change in shape.changes] == ["split", "result"]
