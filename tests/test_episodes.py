import json

import pytest

from lunar_tune import chatml
from lunar_tune.episodes import (
    Attachment,
    Episode,
    Message,
    Signal,
    ToolCall,
    ToolSpec,
    from_dict,
    to_dict,
    to_line,
    with_messages,
)
from lunar_tune.identity import exact_json

EPISODE = Episode(
    source="lunar",
    path="/logs.db",
    thread="t1",
    started_at="2026-10-01T08:00:00Z",
    model="llama3.2:3b",
    system="Be brief.",
    tools=(ToolSpec(name="get_weather", description="Weather", parameters={"type": "object", "properties": {}}),),
    messages=(
        Message(role="user", content="Weather in Oslo?", attachments=(Attachment(type="image", name="a.png"),)),
        Message(role="assistant", tool_calls=(ToolCall(id="c1", name="get_weather", arguments={"city": "Oslo"}),)),
        Message(role="tool", content="4 C", tool_call_id="c1", name="get_weather"),
        Message(role="assistant", content="4 C.", finish="stop"),
    ),
    signals=(Signal(kind="rating", value=1.0, message=3),),
)


def test_a_line_is_the_canonical_form():
    assert json.loads(to_line(EPISODE)) == to_dict(EPISODE)
    big = from_dict(to_dict(EPISODE) | {"system": None, "thread": "\ud800" + str(10**30)})
    assert json.loads(to_line(big).decode("utf-8", "surrogatepass")) == to_dict(big)


def test_a_line_keeps_the_order_of_arguments_and_schemas():
    call = ToolCall(name="f", arguments={"z": 1, "a": {"y": 2, "b": 3}})
    tool = ToolSpec(name="f", parameters={"type": "object", "properties": {"z": {}, "a": {}}})
    said = Message(role="assistant", tool_calls=(call,))
    line = to_line(Episode(source="s", path="p", thread="t", messages=(said,), tools=(tool,)))
    read = from_dict(exact_json(line))
    assert list(read.messages[0].tool_calls[0].arguments) == ["z", "a"]
    assert list(read.messages[0].tool_calls[0].arguments["a"]) == ["y", "b"]
    assert list(read.tools[0].parameters["properties"]) == ["z", "a"]


def test_the_canonical_form_comes_back_whole():
    assert from_dict(json.loads(json.dumps(to_dict(EPISODE)))) == EPISODE


def test_absent_fields_are_left_out():
    assert set(to_dict(EPISODE)["messages"][0]) == {"role", "content", "attachments"}


def test_a_moved_log_keeps_its_episodes():
    moved = from_dict(to_dict(EPISODE) | {"path": "/elsewhere.db"})
    other = from_dict(to_dict(EPISODE) | {"thread": "t2"})
    assert moved.id == EPISODE.id
    assert other.id != EPISODE.id


def test_messages_may_change_but_not_in_number():
    with pytest.raises(ValueError, match="number of messages"):
        with_messages(EPISODE, EPISODE.messages[:1])


def test_the_wire_shape():
    wire = chatml.to_messages(EPISODE, (0, 1, 0, 0))
    assert wire[0] == {"role": "system", "content": "Be brief."}
    assert wire[2]["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Oslo"}}}
    ]
    assert [message.get("weight") for message in wire] == [None, None, 1, None, 0]
    assert chatml.from_tool(chatml.to_tool(EPISODE.tools[0])) == EPISODE.tools[0]
