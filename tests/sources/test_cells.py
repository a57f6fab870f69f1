import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lunar_tune.episodes import Message, ToolCall
from lunar_tune.sources.core import cells


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("2026-10-01T08:00:00Z", "2026-10-01T08:00:00Z"),
        ("2026-10-01 08:00:00", "2026-10-01T08:00:00Z"),  # SQLite's CURRENT_TIMESTAMP
        ("2026-10-01T10:00:00+02:00", "2026-10-01T08:00:00Z"),
        (1790841600, "2026-10-01T08:00:00Z"),
        (1790841600_000, "2026-10-01T08:00:00Z"),
        (1790841600_000_000, "2026-10-01T08:00:00Z"),
        (1790841600_000_000_000, "2026-10-01T08:00:00Z"),
        ("1790841600.25", "2026-10-01T08:00:00.250Z"),
        ("yesterday", None),
        (None, None),
        (True, None),
        (float("nan"), None),
        (10**400, None),  # JSON knows numbers that no float holds
        (-5, None),
        (b"2026", None),
        ("9" * 10_000_000, None),
    ],
)
def test_moments_of_any_unit(cell, expected):
    assert cells.timestamp(cell) == expected


@given(st.one_of(st.none(), st.text(), st.binary(), st.integers(), st.floats(), st.booleans()))
def test_any_cell_can_be_read(cell):
    moment = cells.timestamp(cell)
    assert moment is None or moment.endswith("Z")
    said = cells.text(cell)
    assert said is None or "\x00" not in said.encode("utf-8").decode()


@pytest.mark.parametrize("bad", ["", "{", "NaN", "[1e999]", "[" * 100_000, '{"a": Infinity}', None, b"\xff"])
def test_what_is_no_json_is_a_value_error(bad):
    with pytest.raises(ValueError, match=r"."):
        cells.parse_json(bad)


def test_arguments_may_be_an_object_its_text_or_its_text_twice():
    wanted = {"city": "Oslo"}
    for arguments in (wanted, json.dumps(wanted), json.dumps(json.dumps(wanted))):
        assert cells.call("t", arguments).arguments == wanted


def test_unreadable_arguments_keep_their_text_and_the_error_quotes_none_of_it():
    call = cells.call("t", '{"secret": "hunter2')
    assert (call.arguments, call.arguments_raw) == ({}, '{"secret": "hunter2')
    assert call.error is not None
    assert "hunter2" not in call.error
    assert cells.call("t", "[1]").error == "arguments are not a JSON object"


def test_tagged_calls_leave_the_text_around_them():
    content = (
        'One moment.\n<tool_call>{"name": "a", "args": {"x": 1}}</tool_call>\n<tool_call>{"name": "b"}</tool_call>'
    )
    said, calls, problem = cells.tagged_calls(content)
    assert (said, problem) == ("One moment.", None)
    assert [(c.name, c.arguments) for c in calls] == [("a", {"x": 1}), ("b", {})]


def test_a_tagged_call_that_stops_midway_keeps_its_name_or_stays_text():
    _, (call,), _ = cells.tagged_calls('<tool_call>{"name": "get_weather", "args": {"city": "Os')
    assert (call.name, call.arguments_raw) == ("get_weather", '{"name": "get_weather", "args": {"city": "Os')
    assert cells.tagged_calls('<tool_call>{"na') == ('<tool_call>{"na', [], "unreadable tool call")


def test_tool_lists_with_and_without_envelope():
    wrapped = {"type": "function", "function": {"name": "a", "parameters": {"type": "object"}}}
    bare = {"name": "b", "description": "B", "input_schema": {"type": "object"}}
    specs, lost = cells.tool_specs([wrapped, bare, 3, {"description": "no name"}])
    assert ([s.name for s in specs], lost) == (["a", "b"], 2)
    assert specs[1].parameters == {"type": "object"}


def test_results_without_ids_answer_the_oldest_open_call_of_their_name():
    said = [
        Message(role="user", content="both"),
        Message(role="assistant", tool_calls=(ToolCall(name="a"), ToolCall(name="b"))),
        Message(role="tool", name="b"),
        Message(role="tool", name="a"),
        Message(role="tool", name="a"),
    ]
    paired = cells.pair_calls(said)
    ids = [c.id for c in paired[1].tool_calls]
    assert ids == ["call_1_0", "call_1_1"]
    assert [m.tool_call_id for m in paired[2:]] == [ids[1], ids[0], None]


@pytest.mark.parametrize(
    ("content", "failed"),
    [
        ('{"error": "timeout"}', True),
        ('{"isError": true}', True),
        ('{"error": null}', False),
        ("error", False),
        ("{", False),
    ],
)
def test_results_that_say_they_failed(content, failed):
    assert cells.says_error(content) is failed


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("<think>\nWhy?\n</think>\n\nSo.", ("So.", "Why?")),
        (" <Thinking time='2'>Why?</Thinking>So.", ("So.", "Why?")),
        ("<think>cut in the mid", ("", "cut in the mid")),
        ("<think></think>So.", ("So.", None)),
        ("So: <think>no</think>", ("So: <think>no</think>", None)),
        ("<thinker>no</thinker>", ("<thinker>no</thinker>", None)),
    ],
)
def test_a_thought_at_the_start_of_an_answer_is_split_off(content, expected):
    assert cells.split_thinking(content) == expected


def test_mapping_is_an_object_whatever_stands_there():
    body = {"a": 1}
    assert cells.mapping(body) is body
    assert [cells.mapping(value) for value in (None, [], "x", 3)] == [{}, {}, {}, {}]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ('{"id": 123456789012345678901234567890}', {"id": 123456789012345678901234567890}),
        ('{"id": 18446744073709551616}', {"id": 2**64}),
        ('{"ns": 1790841600000000000}', {"ns": 1790841600000000000}),
        ("[9999999999999999999, -9999999999999999999]", [10**19 - 1, 1 - 10**19]),
        ('["\\u0000", "\\ud800"]', ["\ufffd", "\ufffd"]),
        (b'{"a": [1.5, true, null]}', {"a": [1.5, True, None]}),
        ('"\u00e9"', "\u00e9"),
    ],
)
def test_json_is_read_as_the_standard_decoder_reads_it(cell, expected):
    assert cells.parse_json(cell) == expected


@pytest.mark.parametrize("mark", ["", '"\\ud800"'])
def test_json_is_read_as_deep_as_it_can_be_written(mark):
    assert cells.parse_json(f"[{'[' * 198}{mark}{']' * 198}, {{}}]")
    assert len(cells.parse_json(f"[{'[], ' * 10_000}{mark or 1}]")) == 10_001
    for depth in (201, 600, 1000, 5000):
        with pytest.raises(ValueError, match="nested too deeply"):
            cells.parse_json("[" * depth + mark + "]" * depth)


@pytest.mark.parametrize("cell", ["1e999", "[NaN]", "{", "[1,]", "[" * 100_000, None, b"\xff"])
def test_what_is_no_json_is_refused(cell):
    with pytest.raises(ValueError, match=r"."):
        cells.parse_json(cell)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("2026-10-01 08:00:00", "2026-10-01T08:00:00Z"),
        ("2026-10-01T08:00:00Z", "2026-10-01T08:00:00Z"),
        ("2026-W40-4T08:00:00Z", "2026-10-01T08:00:00Z"),
        ("2026-10-01T08+00:00", "2026-10-01T08:00:00Z"),
        ("2026-10-01T08:00:00+02:00", "2026-10-01T06:00:00Z"),
        ("2026-13-01 08:00:00", None),
    ],
)
def test_the_usual_forms_of_moments(cell, expected):
    assert cells.timestamp(cell) == expected
