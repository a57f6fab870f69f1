import pytest
from real_logs import changed, read, signals, stamps, told

llm = pytest.importorskip("llm")

import sqlite_utils  # noqa: E402
from llm.logs import LogStore  # noqa: E402
from llm.migrations import migrate  # noqa: E402
from llm.parts import StreamEvent  # noqa: E402

from lunar_tune.sources.llm.source import LlmSource  # noqa: E402

pytestmark = pytest.mark.real

PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)


class Scripted(llm.Model):
    """Gives one answer after another: texts, thoughts and calls of tools."""

    model_id = "tiny-1"
    supports_tools = True
    attachment_types = {"image/png"}  # noqa: RUF012

    def __init__(self, *answers):
        self.answers = list(answers)

    def execute(self, prompt, stream, response, conversation):
        for piece in self.answers.pop(0):
            if isinstance(piece, llm.ToolCall):
                response.add_tool_call(piece)
            elif isinstance(piece, tuple):
                yield StreamEvent(type="reasoning", chunk=piece[0])
            else:
                yield piece


def weather(city: str) -> str:
    """The weather in a city."""
    if city == "Atlantis":
        raise ValueError("no such city")
    return {"Oslo": "rain", "Rome": "sun"}[city]


def call(city, key):
    return llm.ToolCall(name="weather", arguments={"city": city}, tool_call_id=key)


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))
    path = tmp_path / "logs.db"
    db = sqlite_utils.Database(path)
    migrate(db)
    yield path, LogStore(db)
    db.close()


def write(store):
    """A conversation with calls, its fork, and one with a picture, a fragment and a failed call."""
    model = Scripted(
        [("Two cities.",), "I look it up.", call("Oslo", "c1"), call("Rome", "c2")],
        ["Rain in Oslo, sun in Rome."],
        ["No idea."],
        ["The same."],
        ["A white square.", call("Atlantis", "c3")],
        ["There is no Atlantis."],
        ["Hello!"],
    )
    first = llm.Conversation(model=model)
    chain = first.chain("Weather in Oslo and Rome?", system="Be brief.", tools=[weather])
    chain.text()
    chain.log_to_db(store.db)
    shared = store.thread_messages(first.id)
    tip = store.thread_tip(first.id)
    later = first.prompt("And tomorrow?")
    later.text()
    later.log_to_db(store.db)
    fork = store.fork(tip, forked_from=first.id)
    again = model.prompt("And tomorrow?", messages=shared)
    again.text()
    store.log(again, thread_id=fork)

    second = llm.Conversation(model=model)
    picture = llm.Attachment(type="image/png", content=PNG)
    chain = second.chain("What is this?", fragments=["A long text."], attachments=[picture], tools=[weather])
    chain.text()
    chain.log_to_db(store.db)
    alone = model.prompt("Hi")
    alone.text()
    alone.log_to_db(store.db)
    return first.id, fork, second.id


TURN = [
    ("user", "Weather in Oslo and Rome?"),
    ("assistant", "I look it up.", [("weather", {"city": "Oslo"}), ("weather", {"city": "Rome"})]),
    ("tool", "rain", ("weather", {"city": "Oslo"})),
    ("tool", "sun", ("weather", {"city": "Rome"})),
    ("assistant", "Rain in Oslo, sun in Rome."),
    ("user", "And tomorrow?"),
]


def test_what_llm_writes_is_read_whole(store):
    path, log = store
    first, fork, second = write(log)
    episodes, lost = read(path, LlmSource())
    assert lost == []
    (hello,) = set(episodes) - {first, fork, second}

    assert told(episodes[first]) == [*TURN, ("assistant", "No idea.")]
    assert told(episodes[fork]) == [*TURN, ("assistant", "The same.")]
    assert episodes[fork].group == first
    assert episodes[first].group in (None, first)
    for name in (first, fork):
        assert (episodes[name].system, episodes[name].model) == ("Be brief.", "tiny-1")
        assert episodes[name].messages[1].reasoning == "Two cities."
    (tool,) = episodes[first].tools
    assert (tool.name, tool.description) == ("weather", "The weather in a city.")
    assert tool.parameters["properties"]["city"]["type"] == "string"
    assert all(message.created_at for message in episodes[first].messages)

    assert told(episodes[second]) == [
        ("user", "A long text.\nWhat is this?"),
        ("assistant", "A white square.", [("weather", {"city": "Atlantis"})]),
        ("tool", "Error: no such city", ("weather", {"city": "Atlantis"})),
        ("assistant", "There is no Atlantis."),
    ]
    assert [(a.type, a.name) for a in episodes[second].messages[0].attachments] == [("image/png", "")]
    assert episodes[second].messages[2].error == "ValueError: no such city"
    assert signals(episodes[second]) == [("tool_error", None, 2)]

    assert told(episodes[hello]) == [("user", "Hi"), ("assistant", "Hello!")]
    assert (episodes[hello].system, episodes[hello].tools) == (None, ())


def test_a_turn_changes_the_stamp_of_its_thread_only(store):
    path, log = store
    _, _, second = write(log)
    before = stamps(path, LlmSource())
    model = Scripted(["Fine."])
    more = model.prompt("And you?", messages=log.thread_messages(second))
    more.text()
    log.log(more, thread_id=second)
    assert changed(before, stamps(path, LlmSource())) == {second}
