"""Episodes in few words, and the fixture's episodes."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from lunar_tune.curate import Ledger
from lunar_tune.curate.marks import start
from lunar_tune.episodes import Episode, Message, ToolCall, ToolSpec
from lunar_tune.settings import HarvestSettings
from lunar_tune.sources.lunar.source import LunarSource
from lunar_tune.sources.read import open_logs, read_logs

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = ToolSpec(name="get_weather", parameters=CITY)


def user(content, **more):
    return Message(role="user", content=content, **more)


def says(content, **more):
    return Message(role="assistant", content=content, **more)


def calls(name="get_weather", call_id="c1", arguments=None, **more):
    call = ToolCall(name=name, id=call_id, arguments={"city": "Oslo"} if arguments is None else arguments)
    return Message(role="assistant", tool_calls=(call,), **more)


def result(content="4 C", call_id="c1", **more):
    return Message(role="tool", content=content, tool_call_id=call_id, name="get_weather", **more)


def episode(*messages, **more):
    given = {"source": "lunar", "path": "log.db", "thread": "t1", "tools": (WEATHER,), "model": "llama"} | more
    return Episode(messages=tuple(messages), **given)


def run(step, *episodes):
    """Return (drafts, [(message, reason), …]) of a step over episodes."""
    verdicts = []
    named = [replace(start(e), id=e.id) for e in episodes]
    drafts = list(step(named, verdicts.append))
    return drafts, [(v.message, v.reason) for v in verdicts]


@pytest.fixture(scope="session")
def fixture_episodes(tmp_path_factory):
    path = tmp_path_factory.mktemp("fixture") / "lunar.db"
    db = sqlite3.connect(path)
    db.executescript((Path(__file__).parents[2] / "fixtures" / "lunar_logs.sql").read_text(encoding="utf-8"))
    db.close()
    with open_logs([path], [LunarSource()], HarvestSettings()) as logs:
        return list(read_logs(logs, HarvestSettings(), lambda verdict: None))


@pytest.fixture
def ledger():
    return Ledger()


@pytest.fixture
def make():
    """Return the helpers above, since conftest is not imported by name."""
    import types

    names = {"user": user, "says": says, "calls": calls, "result": result, "episode": episode, "run": run}
    return types.SimpleNamespace(**names, WEATHER=WEATHER)
