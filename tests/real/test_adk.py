import asyncio

import pytest
from real_logs import changed, read, signals, stamps, told

pytest.importorskip("google.adk", reason="google-adk is not installed")

from google.adk.agents import LlmAgent
from google.adk.events import Event, EventActions
from google.adk.events.event_actions import EventCompaction
from google.adk.models import BaseLlm, LlmResponse
from google.adk.runners import Runner
from google.adk.sessions import DatabaseSessionService
from google.adk.sessions.sqlite_session_service import SqliteSessionService
from google.genai import types
from pydantic import PrivateAttr

from lunar_tune.sources.adk.source import AdkSource

pytestmark = pytest.mark.real


class Scripted(BaseLlm):
    """Gives one answer after another."""

    _answers: list = PrivateAttr(default_factory=list)

    async def generate_content_async(self, llm_request, stream=False):
        yield self._answers.pop(0)


def answer(*parts):
    content = types.Content(role="model", parts=list(parts))
    return LlmResponse(content=content, model_version="tiny-1", finish_reason=types.FinishReason.STOP)


def text(words, **more):
    return types.Part(text=words, **more)


def call(key, city):
    return types.Part(function_call=types.FunctionCall(id=key, name="weather", args={"city": city}))


def weather(city: str):
    """The weather in a city."""
    return {"Oslo": "rain", "Rome": {"sky": "sun", "degrees": 21}, "Atlantis": {"error": "no such city"}}[city]


def services(folder, kind):
    path = folder / "session.db"
    if kind == "sqlite":
        return path, lambda: SqliteSessionService(str(path))
    return path, lambda: DatabaseSessionService(f"sqlite+aiosqlite:///{path}")


def used(service, work):
    """Open a service, do the work and close it."""

    async def run():
        opened = service()
        await work(opened)
        await opened.close()

    asyncio.run(run())


class Talk:
    """An agent in a session."""

    def __init__(self, service, *answers):
        model = Scripted(model="tiny-1")
        model._answers = list(answers)
        agent = LlmAgent(name="helper", model=model, instruction="Be brief.", tools=[weather])
        self.runner = Runner(app_name="app", agent=agent, session_service=service)

    async def say(self, session, *parts):
        """Return the turn's invocation id."""
        message = types.Content(role="user", parts=list(parts))
        events = self.runner.run_async(user_id="ann", session_id=session, new_message=message)
        return {event.invocation_id async for event in events}.pop()

    async def rewind(self, session, turn):
        await self.runner.rewind_async(user_id="ann", session_id=session, rewind_before_invocation_id=turn)


async def write(service):
    """A session whose second turn is taken back and asked again; one with a picture, a failed tool, a failed call."""
    for session in ("s1", "s2", "s3"):
        await service.create_session(app_name="app", user_id="ann", session_id=session)
    one = Talk(
        service,
        answer(text("Two cities.", thought=True), text("I look it up."), call("c1", "Oslo"), call("c2", "Rome")),
        answer(text("Rain in Oslo, sun in Rome.")),
        answer(text("No idea.")),
        answer(text("The same.")),
    )
    await one.say("s1", text("Weather in Oslo and Rome?"))
    turn = await one.say("s1", text("And tomorrow?"))
    await one.rewind("s1", turn)
    await one.say("s1", text("And tomorrow?"))
    picture = types.Part(inline_data=types.Blob(mime_type="image/png", data=b"\x89PNG", display_name="a.png"))
    two = Talk(
        service,
        answer(call("c3", "Atlantis")),
        answer(text("There is none.")),
        LlmResponse(error_code="503", error_message="overloaded"),
    )
    await two.say("s2", text("And there?"), picture)
    await two.say("s2", text("Bye"))
    session = await service.get_session(app_name="app", user_id="ann", session_id="s2")
    summary = types.Content(role="model", parts=[text("They spoke of Atlantis.")])
    compaction = EventCompaction(start_timestamp=0.0, end_timestamp=1.0, compacted_content=summary)
    await service.append_event(session, Event(author="user", actions=EventActions(compaction=compaction)))


TURN = [
    ("user", "Weather in Oslo and Rome?"),
    ("assistant", "I look it up.", [("weather", {"city": "Oslo"}), ("weather", {"city": "Rome"})]),
    ("tool", "rain", ("weather", {"city": "Oslo"})),
    ("tool", '{"sky": "sun", "degrees": 21}', ("weather", {"city": "Rome"})),
    ("assistant", "Rain in Oslo, sun in Rome."),
    ("user", "And tomorrow?"),
]


@pytest.mark.parametrize("kind", ["sqlite", "database"])
def test_what_adk_writes_is_read_whole(tmp_path, kind):
    path, service = services(tmp_path, kind)
    used(service, write)
    episodes, lost = read(path, AdkSource())
    assert sorted(lost) == [("s2", "a compaction summary"), ("s3", "a conversation without messages")]
    (undone,) = set(episodes) - {"s1", "s2"}
    assert undone.startswith("s1#")

    assert told(episodes["s1"]) == [*TURN, ("assistant", "The same.")]
    assert told(episodes[undone]) == [*TURN, ("assistant", "No idea.")]
    for name in ("s1", undone):
        assert (episodes[name].model, episodes[name].group) == ("tiny-1", "s1")
        assert episodes[name].messages[1].reasoning == "Two cities."
        assert all(message.created_at for message in episodes[name].messages)
    assert signals(episodes["s1"]) == []
    assert sorted(signals(episodes[undone])) == [("retry", None, 6), ("undo", None, 6)]

    assert told(episodes["s2"]) == [
        ("user", "And there?"),
        ("assistant", "", [("weather", {"city": "Atlantis"})]),
        ("tool", '{"error": "no such city"}', ("weather", {"city": "Atlantis"})),
        ("assistant", "There is none."),
        ("user", "Bye"),
        ("assistant", ""),
    ]
    assert [(a.type, a.name) for a in episodes["s2"].messages[0].attachments] == [("image/png", "a.png")]
    failure = episodes["s2"].messages[5]
    assert (failure.finish, failure.error) == ("error", "overloaded")
    assert signals(episodes["s2"]) == [("tool_error", None, 2)]


@pytest.mark.parametrize("kind", ["sqlite", "database"])
def test_a_turn_changes_the_stamp_of_its_session_only(tmp_path, kind):
    path, service = services(tmp_path, kind)
    used(service, write)
    before = stamps(path, AdkSource())
    used(service, lambda opened: Talk(opened, answer(text("Hello!"))).say("s2", text("Hi")))
    assert changed(before, stamps(path, AdkSource())) == {"s2"}
