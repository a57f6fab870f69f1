import json

import pytest

from lunar_tune.episodes import Episode, Message, ToolCall, ToolSpec
from lunar_tune.errors import UsageError
from lunar_tune.settings import HarvestSettings, load_settings
from lunar_tune.sources.core.offered import given_tools, with_tools
from lunar_tune.sources.lunar.source import LunarSource
from lunar_tune.sources.read import open_logs, read_logs

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = ToolSpec(name="weather", description="Weather now", parameters=CITY)
LISTED = [
    {"type": "function", "function": {"name": "weather", "description": "Weather now", "parameters": CITY}},
    {"name": "mail", "input_schema": {"type": "object"}},
    {"type": "function", "name": "stop", "description": None, "parameters": None},
]


def episode(**changes):
    asked = Message(role="assistant", tool_calls=(ToolCall(name="radio", arguments={"on": True}),))
    return Episode(**{"source": "s", "path": "p", "thread": "t", "messages": (asked,)} | changes)


@pytest.fixture
def tools(tmp_path):
    def write(content):
        path = tmp_path / "tools.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return str(path)

    return write


def test_tools_in_the_forms_they_are_sent_in(tools):
    expected = (WEATHER, ToolSpec(name="mail", parameters={"type": "object"}), ToolSpec(name="stop"))
    assert given_tools(tools(LISTED)) == expected
    assert given_tools(tools("\ufeff" + json.dumps(LISTED))) == expected
    assert given_tools(tools([])) == given_tools(None) == given_tools("") == ()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "no JSON"),
        ("[{", "no JSON"),
        ("[NaN]", "no JSON"),
        ({"weather": CITY}, "no list of tools"),
        ("null", "no list of tools"),
        ([LISTED[0], 5], "tool 2 of 2 is no object"),
        ([{"function": "weather"}], "tool 1 of 1 is no object"),
        ([{"description": "d"}], "tool 1 of 1 has no name"),
        ([{"type": "function", "function": {"name": ""}}], "tool 1 of 1 has no name"),
        ([{"name": "x", "description": 5}], "tool 1 of 1 has a description that is no text"),
        ([{"name": "x", "parameters": "city"}], "tool 1 of 1 has parameters that are no JSON schema"),
        ([{"name": "x", "input_schema": [1]}], "tool 1 of 1 has input_schema that are no JSON schema"),
        ([{"name": "x"}, {"name": "x"}], "two tools of one name"),
    ],
)
def test_what_is_no_list_of_tools(tools, content, problem):
    with pytest.raises(UsageError) as caught:
        given_tools(tools(content))
    assert caught.value.message.startswith("harvest.tools names '")
    assert problem in caught.value.message
    assert '"parameters"' in caught.value.hint


def test_a_file_that_cannot_be_read(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(UsageError, match="which cannot be read"):
            given_tools(str(path))
    (tmp_path / "x").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="no JSON"):
        given_tools(str(tmp_path / "x"))


def test_given_tools_stand_in_for_those_that_are_not_stored():
    bare, stored = episode(), episode(tools=(ToolSpec(name="radio"),))
    assert with_tools(bare, (WEATHER,)) == episode(tools=(WEATHER,))  # "radio" was not given, and is not made up
    assert with_tools(stored, (WEATHER,)) is stored
    assert with_tools(bare, ()) is bare


def test_the_setting_is_a_path_beside_its_file(tools, lunar_log, tmp_path):
    lunar_log.conversation("bare")
    lunar_log.say("bare", "user", "Hi")
    lunar_log.conversation("stored", tools=json.dumps([{"name": "radio"}]))
    lunar_log.say("stored", "user", "Hi")
    tools(LISTED[:1])
    (tmp_path / "lunar.toml").write_text('[harvest]\ntools = "tools.json"\n')
    settings = load_settings([tmp_path / "lunar.toml"]).harvest
    with open_logs([lunar_log.close()], [LunarSource()], settings) as logs:
        found = {e.thread: e.tools for e in read_logs(logs, settings, print)}
        assert found == {"bare": (WEATHER,), "stored": (ToolSpec(name="radio"),)}
        with pytest.raises(UsageError, match=r"'none\.json', which cannot be read"):
            next(read_logs(logs, HarvestSettings(tools="none.json"), print))
