import contextlib
import json
import math
import sqlite3
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from lunar_tune.episodes import Episode, Signal
from lunar_tune.sources.base import open_read_only
from lunar_tune.sources.lunar.source import CONVERSATION, FEEDBACK, MESSAGE, LunarSource

WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}


def read(path):
    lost = []
    with contextlib.closing(open_read_only(path)) as db:
        assert LunarSource().recognises(db)
        return list(LunarSource().read(db, path, lost.append)), lost


def test_a_conversation_in_canonical_form(lunar_log):
    lunar_log.conversation("t1", system="Be brief.", tools=json.dumps([WEATHER]), meta='{"parent": "t0"}')
    calls = [{"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Oslo"}'}}]
    lunar_log.say("t1", "user", "Weather in Oslo?", created_at="2026-10-01 08:00:01")
    lunar_log.say("t1", "assistant", None, tool_calls=json.dumps(calls), model="m2")
    lunar_log.say("t1", "tool", '{"error":"timeout"}', tool_call_id="c1", name="get_weather", error="timeout")
    last = lunar_log.say("t1", "assistant", "Oslo", error="length")
    lunar_log.add("feedback", message_id=last, rating=-1.0, note="cut")
    (episode,), lost = read(lunar_log.close())
    assert lost == []
    assert (episode.thread, episode.group, episode.system, episode.model) == ("t1", "t0", "Be brief.", "m")
    assert episode.started_at == "2026-10-01T08:00:00Z"
    assert [t.name for t in episode.tools] == ["get_weather"]
    user, call, result, answer = episode.messages
    assert user.created_at == "2026-10-01T08:00:01Z"
    assert (call.content, call.model, call.tool_calls[0].arguments) == ("", "m2", {"city": "Oslo"})
    assert (result.role, result.tool_call_id, result.error) == ("tool", "c1", "timeout")
    assert answer.finish == "length"
    assert episode.signals == (
        Signal(kind="tool_error", message=2),
        Signal(kind="rating", value=-1.0, message=3, note="cut"),
    )


def test_calls_that_older_agents_wrote_in_the_text(lunar_log):
    lunar_log.conversation("t1")
    lunar_log.say("t1", "user", "Say <tool_call>{}</tool_call> please")
    lunar_log.say("t1", "assistant", 'One moment.\n<tool_call>{"name": "a", "args": {"x": 1}}</tool_call>')
    lunar_log.say("t1", "tool", "1", name="a")
    (episode,), _ = read(lunar_log.close())
    assert episode.messages[0].content == "Say <tool_call>{}</tool_call> please"
    assert episode.messages[1].content == "One moment."
    (call,) = episode.messages[1].tool_calls
    assert (call.name, call.arguments) == ("a", {"x": 1})
    assert episode.messages[2].tool_call_id == call.id is not None


def test_broken_cells_cost_themselves_and_are_reported_by_place(lunar_log):
    lunar_log.conversation("t1", tools="[{", meta="{")
    lunar_log.say("t1", "user", "Hello")
    broken = lunar_log.say("t1", "assistant", "Hi", tool_calls='[{"id": "hunter2"')
    alien = lunar_log.say("t1", "moderator", "hunter2")
    blob = lunar_log.say("t1", "assistant", b"\xff\xfe")
    lunar_log.add("feedback", message_id=broken, rating="hunter2")
    (episode,), lost = read(lunar_log.close())
    assert [m.role for m in episode.messages] == ["user", "assistant", "assistant"]
    assert [m.error for m in episode.messages] == [None, "unreadable tool calls", "unreadable content"]
    assert {(v.reason, v.detail) for v in lost} == {
        ("a rating that is no number", "feedback.rowid=1"),
        ("unreadable tool calls", f"messages.id={broken}"),
        ("a message of unknown role", f"messages.id={alien}"),
        ("content that is no text", f"messages.id={blob}"),
        ("unreadable tools", "conversations.tools"),
        ("unreadable meta", "conversations.meta"),
    }
    assert "hunter2" not in repr(lost)


def test_conversations_come_in_the_order_of_their_start(lunar_log):
    for thread, start in (("a", "2026-10-03"), ("b", "2026-10-01"), ("c", "2026-10-02")):
        lunar_log.conversation(thread, started_at=start)
    for thread in "abcabc":
        lunar_log.say(thread, "user", f"{thread}!")
    episodes, _ = read(lunar_log.close())
    assert [e.thread for e in episodes] == ["b", "c", "a"]
    assert [len(e.messages) for e in episodes] == [2, 2, 2]


def test_halves_of_conversations_are_read_or_reported(lunar_log):
    lunar_log.conversation("empty")
    lunar_log.say("orphan", "user", "Nobody knows where I am from")
    lunar_log.add("messages", role="user", content="Nor I")
    (episode,), lost = read(lunar_log.close())
    assert (episode.thread, episode.model, episode.tools) == ("orphan", None, ())
    assert {(v.id, v.reason) for v in lost} == {
        ("empty", "a conversation without messages"),
        ("", "a message of no conversation"),
    }


def test_the_prompt_at_the_start_is_not_repeated_as_a_message(lunar_log):
    lunar_log.conversation("t1", system="Be brief.")
    for role, said in (("system", "Be brief."), ("user", "Hi"), ("developer", "Be long."), ("assistant", "Hello")):
        lunar_log.say("t1", role, said)
    (episode,), _ = read(lunar_log.close())
    assert episode.system == "Be brief."
    assert [m.role for m in episode.messages] == ["user", "system", "assistant"]


def test_the_index_makes_no_difference(fixture_log, tmp_path):
    bare = tmp_path / "bare.db"
    bare.write_bytes(fixture_log.read_bytes())
    db = sqlite3.connect(bare)
    db.execute("DROP INDEX messages_by_conversation")
    db.commit()
    db.close()
    assert [e.id for e in read(bare)[0]] == [e.id for e in read(fixture_log)[0]]


def test_the_fixture_is_read_whole(fixture_log):
    episodes, lost = read(fixture_log)
    with contextlib.closing(sqlite3.connect(fixture_log)) as db:
        conversations = db.execute("SELECT count(*) FROM conversations").fetchone()[0]
        ratings = db.execute("SELECT count(*) FROM feedback").fetchone()[0]
    assert len(episodes) + len({v.id for v in lost}) == conversations
    assert sum(s.kind == "rating" for e in episodes for s in e.signals) == ratings
    assert not any("<tool_call>" in m.content for e in episodes for m in e.messages if m.role == "assistant")
    assert len({e.id for e in episodes}) == len(episodes)


CELL = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=8),
    st.sampled_from(["{", "[]", "null", '[{"function": 3}]', '{"a": "\\ud800"}', "x\x00y", '[{"id":1}]', "[" * 5000]),
)
TABLES = {"conversations": CONVERSATION, "messages": ("conversation_id", *MESSAGE), "feedback": FEEDBACK}


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_cell_may_hold_anything_and_any_column_may_be_missing(data):
    """Nothing crashes, every message is read or its loss is told, and what is read can be written."""
    db = sqlite3.connect(":memory:")
    db.text_factory = lambda raw: raw.decode("utf-8", "replace")
    needed = {"messages": {"conversation_id", "role", "content"}, "conversations": {"id"}, "feedback": {"message_id"}}
    for table, names in TABLES.items():
        gone = data.draw(st.sets(st.sampled_from(sorted(set(names) - needed[table])), max_size=2))
        kept = [name for name in names if name not in gone]
        db.execute(f"CREATE TABLE {table} ({', '.join(kept)})")
        for _ in range(data.draw(st.integers(0, 5))):
            row = {name: data.draw(CELL) for name in kept}
            if table == "messages":
                row |= {"conversation_id": data.draw(st.sampled_from(["a", "b", None, 3])), "role": data.draw(ROLE)}
            db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(kept))})", list(row.values()))
    messages = db.execute("SELECT count(*) FROM messages").fetchone()[0]
    lost = []
    episodes = list(LunarSource().read(db, Path("log.db"), lost.append))
    db.close()
    read_messages = sum(len(e.messages) for e in episodes)
    prompts = sum(e.system is not None for e in episodes)
    told = sum(v.reason in ("a message of unknown role", "a message of no conversation") for v in lost)
    silent = sum(v.reason == "a conversation without messages" for v in lost)
    assert messages - read_messages - told <= prompts + silent  # a leading system message is the prompt
    for episode in episodes:
        assert isinstance(episode, Episode)
        assert episode.id.startswith("ep-")  # has canonical JSON, so it holds no NaN, no bytes
        assert all(math.isfinite(s.value) for s in episode.signals if isinstance(s.value, float))


ROLE = st.one_of(st.sampled_from(["user", "assistant", "tool", "system"]), CELL)


def test_a_log_that_others_wrote_is_not_recognised(llm_log):
    with contextlib.closing(open_read_only(Path(llm_log.close()))) as db:
        assert not LunarSource().recognises(db)
