import asyncio

import pytest
from real_logs import changed, read, signals, stamps, told

agents = pytest.importorskip("agents", reason="openai-agents is not installed")

from agents import Agent, ModelResponse, Runner, SQLiteSession, Usage, function_tool  # noqa: E402
from agents.extensions.memory import AdvancedSQLiteSession  # noqa: E402
from agents.models.interface import Model  # noqa: E402
from openai.types.responses import (  # noqa: E402
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseReasoningItem,
)
from openai.types.responses.response_reasoning_item import Summary  # noqa: E402

from lunar_tune.sources.openai_agents import OpenAIAgentsSource  # noqa: E402

pytestmark = pytest.mark.real


class Scripted(Model):
    """Gives one answer after another, each a list of items."""

    def __init__(self, *answers):
        self.answers = list(answers)

    async def get_response(self, *args, **kwargs):
        return ModelResponse(output=self.answers.pop(0), usage=Usage(), response_id=None)

    def stream_response(self, *args, **kwargs):
        raise NotImplementedError


def text(words):
    part = ResponseOutputText(type="output_text", text=words, annotations=[])
    return ResponseOutputMessage(id="m", type="message", role="assistant", status="completed", content=[part])


def call(key, city):
    return ResponseFunctionToolCall(
        type="function_call", call_id=key, name="weather", arguments=f'{{"city": "{city}"}}'
    )


def thought(words):
    return ResponseReasoningItem(id="r", type="reasoning", summary=[Summary(type="summary_text", text=words)])


@function_tool
def weather(city: str) -> str:
    """The weather in a city."""
    if city == "Atlantis":
        raise ValueError("no such city")
    return {"Oslo": "rain", "Rome": "sun"}[city]


@pytest.fixture(autouse=True)
def no_tracing():
    agents.set_tracing_disabled(True)


def helper(*answers):
    return Agent(name="helper", instructions="Be brief.", model=Scripted(*answers), tools=[weather])


def first_agent():
    return helper(
        [thought("Two cities."), text("I look it up."), call("c1", "Oslo"), call("c2", "Rome")],
        [text("Rain in Oslo, sun in Rome.")],
        [text("No idea.")],
    )


TURN = [
    ("user", "Weather in Oslo and Rome?"),
    ("assistant", "I look it up.", [("weather", {"city": "Oslo"}), ("weather", {"city": "Rome"})]),
    ("tool", "rain", ("weather", {"city": "Oslo"})),
    ("tool", "sun", ("weather", {"city": "Rome"})),
    ("assistant", "Rain in Oslo, sun in Rome."),
]


def test_what_a_sqlite_session_writes_is_read_whole(tmp_path):
    path = tmp_path / "sessions.db"

    async def talk():
        one, two = SQLiteSession("s1", path), SQLiteSession("s2", path)
        agent = first_agent()
        await Runner.run(agent, "Weather in Oslo and Rome?", session=one)
        await Runner.run(agent, "And tomorrow?", session=one)
        assert (await one.pop_item())["role"] == "assistant"
        assert (await one.pop_item())["role"] == "user"
        await Runner.run(helper([text("Sun.")]), "And in Rome?", session=one)
        other = helper([call("c9", "Atlantis")], [text("There is no Atlantis.")])
        picture = {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto"}
        asked = {"role": "user", "content": [{"type": "input_text", "text": "And there?"}, picture]}
        await Runner.run(other, [asked], session=two)
        for session in (one, two):
            session.close()

    asyncio.run(talk())
    episodes, lost = read(path, OpenAIAgentsSource())
    assert (list(episodes), lost) == (["s1", "s2"], [])
    assert told(episodes["s1"]) == [*TURN, ("user", "And in Rome?"), ("assistant", "Sun.")]
    assert episodes["s1"].messages[1].reasoning == "Two cities."
    assert all(message.created_at for message in episodes["s1"].messages)
    asked, _, failed, _ = episodes["s2"].messages
    assert [attachment.type for attachment in asked.attachments] == ["image"]
    assert told(episodes["s2"]) == [
        ("user", "And there?"),
        ("assistant", "", [("weather", {"city": "Atlantis"})]),
        ("tool", failed.content, ("weather", {"city": "Atlantis"})),
        ("assistant", "There is no Atlantis."),
    ]

    before = stamps(path, OpenAIAgentsSource())

    async def more():
        session = SQLiteSession("s2", path)
        await session.add_items([{"role": "user", "content": "Thanks"}])
        session.close()

    asyncio.run(more())
    assert changed(before, stamps(path, OpenAIAgentsSource())) == {"s2"}


def test_a_tool_that_failed_is_a_signal(tmp_path):
    path = tmp_path / "sessions.db"

    async def talk():
        session = SQLiteSession("s1", path)
        await Runner.run(helper([call("c9", "Atlantis")], [text("There is none.")]), "And there?", session=session)
        session.close()

    asyncio.run(talk())
    episodes, _ = read(path, OpenAIAgentsSource())
    assert signals(episodes["s1"]) == [("tool_error", None, 2)]


def test_the_branches_of_an_advanced_session_are_read(tmp_path):
    path = tmp_path / "advanced.db"

    async def talk():
        session = AdvancedSQLiteSession(session_id="s1", db_path=path, create_tables=True)
        agent = first_agent()
        for words in ("Weather in Oslo and Rome?", "And tomorrow?"):
            await session.store_run_usage(await Runner.run(agent, words, session=session))
        await session.create_branch_from_turn(2, "again")
        await Runner.run(helper([text("The same.")]), "And tomorrow?", session=session)
        session.close()
        other = AdvancedSQLiteSession(session_id="s2", db_path=path, create_tables=True)
        await Runner.run(helper([text("Hello!")]), "Hi", session=other)
        other.close()

    asyncio.run(talk())
    episodes, lost = read(path, OpenAIAgentsSource())
    assert (set(episodes), lost) == ({"s1", "s1#again", "s2"}, [])
    assert told(episodes["s1"]) == [*TURN, ("user", "And tomorrow?"), ("assistant", "No idea.")]
    assert told(episodes["s1#again"]) == [*TURN, ("user", "And tomorrow?"), ("assistant", "The same.")]
    assert signals(episodes["s1"]) == [("retry", None, 6)]
    assert episodes["s1"].group == episodes["s1#again"].group == "s1"
    assert told(episodes["s2"]) == [("user", "Hi"), ("assistant", "Hello!")]
