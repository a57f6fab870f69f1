import os

import pytest
from real_logs import changed, read, signals, stamps, told

os.environ.setdefault("AGNO_TELEMETRY", "false")
pytest.importorskip("agno")

from agno.agent import Agent
from agno.db.sqlite import SqliteDb
from agno.models.base import Model
from agno.models.response import ModelResponse
from agno.team import Team

from lunar_tune.sources.agno.source import AgnoSource

pytestmark = pytest.mark.real


class Scripted(Model):
    """Gives one answer after another; an exception among them is raised."""

    def __init__(self, *answers):
        super().__init__(id="tiny-1", name="Scripted", provider="None")
        self.answers = list(answers)

    def __deepcopy__(self, memo):
        return self

    def invoke(self, *args, **kwargs):
        said = self.answers.pop(0)
        if isinstance(said, Exception):
            raise said
        return said

    async def ainvoke(self, *args, **kwargs):
        raise NotImplementedError

    invoke_stream = ainvoke_stream = _parse_provider_response = _parse_provider_response_delta = ainvoke


def call(key, name, arguments):
    return {"id": key, "type": "function", "function": {"name": name, "arguments": arguments}}


def answer(text, *calls, **more):
    return ModelResponse(role="assistant", content=text, tool_calls=list(calls), **more)


def weather(city: str) -> str:
    """The weather in a city."""
    if city == "Atlantis":
        raise ValueError("no such city")
    return {"Oslo": "rain", "Rome": "sun"}[city]


def agent(path, *answers, **more):
    return Agent(
        name="helper",
        model=Scripted(*answers),
        db=SqliteDb(db_file=str(path)),
        tools=[weather],
        instructions="Be brief.",
        add_history_to_context=True,
        telemetry=False,
        **more,
    )


TURN = [
    ("user", "Weather in Oslo and Rome?"),
    ("assistant", "I look it up.", [("weather", {"city": "Oslo"}), ("weather", {"city": "Rome"})]),
    ("tool", "rain", ("weather", {"city": "Oslo"})),
    ("tool", "sun", ("weather", {"city": "Rome"})),
    ("assistant", "Rain in Oslo, sun in Rome."),
    ("user", "And tomorrow?"),
]


def write(path, *more):
    """A session whose second answer is given anew, and one with a failed tool and a failed call."""
    one = agent(
        path,
        answer(
            "I look it up.",
            call("c1", "weather", '{"city": "Oslo"}'),
            call("c2", "weather", '{"city": "Rome"}'),
            reasoning_content="Two cities.",
        ),
        answer("Rain in Oslo, sun in Rome."),
        answer("No idea."),
        answer("The same."),
        *more,
    )
    one.run("Weather in Oslo and Rome?", session_id="s1")
    again = one.run("And tomorrow?", session_id="s1")
    one.continue_run(run_id=again.run_id, session_id="s1", regenerate=True)
    two = agent(
        path,
        answer(None, call("c3", "weather", '{"city": "Atlantis"}')),
        answer("There is none."),
        ConnectionError("no route"),
    )
    two.run("And there?", session_id="s2")
    two.run("Bye", session_id="s2")
    return one


def test_what_agno_writes_is_read_whole(tmp_path):
    path = tmp_path / "agno.db"
    write(path)
    episodes, lost = read(path, AgnoSource())
    assert lost == []
    (old,) = set(episodes) - {"s1", "s2"}
    assert old.startswith("s1#")

    assert told(episodes["s1"]) == [*TURN, ("assistant", "The same.")]
    assert told(episodes[old]) == [*TURN, ("assistant", "No idea.")]
    for name in ("s1", old):
        assert (episodes[name].system, episodes[name].model, episodes[name].group) == ("Be brief.", "tiny-1", "s1")
        assert episodes[name].messages[1].reasoning == "Two cities."
        assert all(message.created_at for message in episodes[name].messages)
    assert signals(episodes["s1"]) == []
    assert signals(episodes[old]) == [("retry", None, 6)]

    failed, broken = episodes["s2"].messages[2], episodes["s2"].messages[-1]
    assert "no such city" in failed.error
    assert told(episodes["s2"]) == [
        ("user", "And there?"),
        ("assistant", "", [("weather", {"city": "Atlantis"})]),
        ("tool", failed.content, ("weather", {"city": "Atlantis"})),
        ("assistant", "There is none."),
        ("user", "Bye"),
        ("assistant", ""),
    ]
    assert signals(episodes["s2"]) == [("tool_error", None, 2)]
    assert broken.finish == "error"
    assert "no route" in broken.error


def test_a_run_changes_the_stamp_of_its_session_only(tmp_path):
    path = tmp_path / "agno.db"
    write(path)
    before = stamps(path, AgnoSource())
    agent(path, answer("Hello!")).run("Hi", session_id="s2")
    assert changed(before, stamps(path, AgnoSource())) == {"s2"}


def test_a_forked_session_is_of_its_origin_s_family(tmp_path):
    path = tmp_path / "agno.db"
    one = agent(path, answer("Hello!"), answer("Fine."))
    one.run("Hi", session_id="s1")
    fork = one.fork_session(source_session_id="s1")
    one.run("And you?", session_id=fork)
    episodes, _ = read(path, AgnoSource())
    beginning = [("user", "Hi"), ("assistant", "Hello!")]
    assert told(episodes[fork]) == [*beginning, ("user", "And you?"), ("assistant", "Fine.")]
    assert {episode.group for episode in episodes.values()} == {"s1"}


def test_a_forked_session_keeps_what_came_before_a_regenerated_run(tmp_path):
    path = tmp_path / "agno.db"
    one = write(path, answer("Fine."))
    fork = one.fork_session(source_session_id="s1")
    one.run("And you?", session_id=fork)
    episodes, _ = read(path, AgnoSource())
    said = told(next(episode for thread, episode in episodes.items() if thread == fork))
    assert said == [*TURN, ("assistant", "The same."), ("user", "And you?"), ("assistant", "Fine.")]


def test_what_a_team_s_members_say_is_of_the_session_s_family(tmp_path):
    path = tmp_path / "agno.db"
    member = agent(path, answer("Rain."))
    lead = Scripted(
        answer(None, call("d1", "delegate_task_to_member", '{"member_id": "helper", "task": "Weather in Oslo?"}')),
        answer("It rains."),
    )
    team = Team(members=[member], model=lead, db=SqliteDb(db_file=str(path)), telemetry=False)
    team.run("How is Oslo?", session_id="t1")
    episodes, lost = read(path, AgnoSource())
    assert lost == []
    (inner,) = set(episodes) - {"t1"}
    assert (inner.startswith("t1#"), episodes[inner].group) == (True, "t1")
    assert told(episodes["t1"]) == [
        ("user", "How is Oslo?"),
        ("assistant", "", [("delegate_task_to_member", {"member_id": "helper", "task": "Weather in Oslo?"})]),
        ("tool", "Rain.", ("delegate_task_to_member", {"member_id": "helper", "task": "Weather in Oslo?"})),
        ("assistant", "It rains."),
    ]
    assert told(episodes[inner])[-1] == ("assistant", "Rain.")
    assert "Weather in Oslo?" in episodes[inner].messages[0].content
