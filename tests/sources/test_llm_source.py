import contextlib

import pytest
from examples.llm import message, response, text, turn

from lunar_tune.sources.base import open_read_only
from lunar_tune.sources.llm.source import LlmSource


def read(path, only=None):
    lost = []
    with contextlib.closing(open_read_only(path)) as db:
        assert LlmSource().recognises(db)
        return list(LlmSource().read(db, path, lost.append, only)), lost


def threads(path):
    with contextlib.closing(open_read_only(path)) as db:
        return dict(LlmSource().threads(db))


@pytest.fixture
def forked(llm_log):
    """A thread with a call and its result, and a fork that goes on differently after the first answer."""
    log = llm_log
    log.add("tools", id=1, name="get_weather", description="Weather", input_schema='{"type": "object"}')
    message(log, "s", None, "system", ("text", "You are helpful.", None))
    message(log, "u1", "s", "user", ("text", "Weather in Paris?", None))
    call = {"name": "get_weather", "arguments": {"city": "Paris"}, "tool_call_id": "call_1"}
    message(log, "a1", "u1", "assistant", ("reasoning", "They ask for Paris.", None), ("tool_call", None, call))
    result = {"name": "get_weather", "output": "sunny", "tool_call_id": "call_1"}
    message(log, "r1", "a1", "tool", ("tool_result", None, result))
    message(log, "a2", "r1", "assistant", ("text", "It is sunny.", None))
    message(log, "u2", "a2", "user", ("text", "Thanks!", None))
    message(log, "a3", "u2", "assistant", ("text", "Gladly.", None))
    message(log, "u2b", "a2", "user", ("text", "And Rome?", None))
    message(log, "a3b", "u2b", "assistant", ("text", "Rainy.", None))
    log.add("threads", id="t1", tip_message_hash="a3")
    log.add("threads", id="t2", tip_message_hash="a3b", forked_from="t1")
    turn(log, "1", "t1", "u1", "a1", "2026-10-01T08:00:00.5+00:00")
    turn(log, "2", "t1", "r1", "a2", "2026-10-01T08:00:02+00:00")
    turn(log, "3", "t1", "u2", "a3", "2026-10-01T08:01:00+00:00")
    turn(log, "4", "t2", "u2b", "a3b", "2026-10-01T09:00:00+00:00")
    log.add("turn_tools", turn_id="1", tool_id=1)
    return log


def test_threads_and_forks(forked):
    (first, fork), lost = read(forked.close())
    assert lost == []
    assert (first.thread, first.group, fork.thread, fork.group) == ("t1", "t1", "t2", "t1")
    assert first.system == fork.system == "You are helpful."
    assert [m.content for m in first.messages] == [
        "Weather in Paris?",
        "",
        "sunny",
        "It is sunny.",
        "Thanks!",
        "Gladly.",
    ]
    assert [m.content for m in fork.messages][-2:] == ["And Rome?", "Rainy."]
    assert first.messages[:4] == fork.messages[:4]
    call = first.messages[1]
    assert (call.tool_calls[0].arguments, call.reasoning) == ({"city": "Paris"}, "They ask for Paris.")
    assert (first.messages[2].role, first.messages[2].tool_call_id) == ("tool", "call_1")
    assert (first.started_at, fork.messages[-1].created_at) == ("2026-10-01T08:00:00.500Z", "2026-10-01T09:00:00Z")
    assert [t.parameters for t in first.tools] == [{"type": "object"}]
    assert first.messages[1].model == "scripted"


def test_two_branches_in_one_thread_are_two_leaf_paths(forked):
    forked.script("UPDATE turns SET thread_id = 't1'; DELETE FROM threads WHERE id = 't2'")
    episodes, _ = read(forked.close())
    assert [(e.thread, e.messages[-1].content) for e in episodes] == [("t1", "Gladly."), ("t1#a3b", "Rainy.")]


def test_failed_tools_fragments_and_attachments(llm_log):
    log = llm_log
    log.add("fragments", id=7, content="Long text. ")
    log.add("attachments", id="x", type="image/png", path="/home/me/cat.png", content=b"\x89PNG")
    message(
        log, "u", None, "user",
        ("text", None, {"text_ref": [{"fragment": 7}, {"literal": "What is it?"}]}), ("attachment", None, None),
    )  # fmt: skip
    log.script("INSERT INTO part_attachments SELECT id, 'x', 0 FROM parts WHERE type = 'attachment'")
    message(log, "a", "u", "assistant", ("tool_call", None, {"name": "look", "arguments": {}, "tool_call_id": "1"}))
    failed = {"name": "look", "output": "", "exception": "E: x", "tool_call_id": "1"}
    message(log, "r", "a", "tool", ("tool_result", None, failed))
    message(log, "b", "r", "assistant", ("text", "A cat.", None))
    turn(log, "1", "t", "u", "a", "2026-10-01")
    turn(log, "2", "t", "r", "b", "2026-10-01")
    (episode,), _ = read(log.close())
    assert episode.messages[0].content == "Long text. What is it?"
    assert [(a.type, a.name) for a in episode.messages[0].attachments] == [("image/png", "cat.png")]
    assert episode.messages[2].error == "E: x"
    assert [(s.kind, s.message) for s in episode.signals] == [("tool_error", 2)]


def test_the_older_tables(llm_log):
    log = llm_log
    log.add("conversations", id="c", name="Weather", model="gpt")
    log.add("tools", id=1, name="get_weather", input_schema='{"type": "object"}')
    log.add("fragments", id=1, content="Be brief.")
    log.add("fragments", id=2, content="FACTS")
    log.add("system_fragments", response_id="01", fragment_id=1, order=0)
    log.add("prompt_fragments", response_id="01", fragment_id=2, order=0)
    log.add(
        "responses",
        id="01",
        model="gpt",
        prompt="Weather?",
        response="",
        conversation_id="c",
        datetime_utc="2026-01-01",
    )
    log.add("responses", id="02", model="gpt", prompt="", response="Sunny.", conversation_id="c", system="Be long.")
    log.add(
        "responses", id="03", model="gpt", prompt="Alone", response="Yes.", datetime_utc="2026-01-02", reasoning="Hm."
    )
    log.add("tool_responses", tool_id=1, response_id="01")
    log.add("tool_calls", response_id="01", name="get_weather", arguments='{"city": "Oslo"}', tool_call_id="k")
    log.add("tool_results", response_id="02", name="get_weather", output="sunny", tool_call_id="k")
    (first, alone), lost = read(log.close())
    assert lost == []
    assert (first.thread, first.system, alone.thread) == ("c", "Be brief.", "03")
    assert [m.role for m in first.messages] == ["user", "assistant", "system", "tool", "assistant"]
    assert [m.content for m in first.messages] == ["FACTS\nWeather?", "", "Be long.", "sunny", "Sunny."]
    assert first.messages[1].tool_calls[0].arguments == {"city": "Oslo"}
    assert [t.name for t in first.tools] == ["get_weather"]
    assert alone.messages[1].reasoning == "Hm."


def test_a_response_that_is_a_turn_too_is_read_once(forked):
    forked.add("responses", id="1", model="scripted", prompt="Weather in Paris?", response="", conversation_id="t1")
    episodes, _ = read(forked.close())
    assert [e.thread for e in episodes] == ["t1", "t2"]


def test_broken_parts_and_chains_are_reported(forked):
    forked.script("""UPDATE parts SET payload = '{"hunter2' WHERE type = 'tool_call';
        UPDATE parts SET type = 'hologram' WHERE message_hash = 'a3';
        UPDATE messages SET parent_hash = 'a3b' WHERE hash = 'u2b'""")
    (first, ring), lost = read(forked.close())
    assert [m.content for m in ring.messages] == ["And Rome?", "Rainy."]
    (call,) = first.messages[1].tool_calls
    assert (call.arguments, call.arguments_raw) == ({}, '{"hunter2')
    reasons = {v.reason for v in lost}
    assert reasons == {"unreadable part", "a part of unknown type", "a broken chain of messages"}
    assert "hunter2" not in repr(lost)


def test_what_the_library_itself_writes(tmp_path):
    llm = pytest.importorskip("llm")
    sqlite_utils = pytest.importorskip("sqlite_utils")
    migrations = pytest.importorskip("llm.migrations")

    class Scripted(llm.Model):
        model_id = "scripted"

        def execute(self, prompt, stream, response, conversation):
            yield "It is sunny."

    path = tmp_path / "logs.db"
    db = sqlite_utils.Database(path)
    migrations.migrate(db)
    response = Scripted().prompt("Weather in Paris?", system="Be brief.")
    response.text()
    response.log_to_db(db)
    db.conn.close()
    (episode,), lost = read(path)
    assert lost == []
    assert episode.system == "Be brief."
    assert [m.content for m in episode.messages] == ["Weather in Paris?", "It is sunny."]


def test_a_fork_that_goes_on_from_the_end_leaves_nothing_to_tell_of_the_first(forked):
    forked.script("UPDATE messages SET parent_hash = 'a3' WHERE hash = 'u2b'")
    (episode,), lost = read(forked.close())
    assert (episode.thread, episode.group, lost) == ("t2", "t1", [])
    assert [m.content for m in episode.messages][-4:] == ["Thanks!", "Gladly.", "And Rome?", "Rainy."]


def test_an_answer_given_anew_is_a_retry(forked):
    message(forked, "a3c", "u2", "assistant", text("You are welcome."))
    turn(forked, "5", "t1", "u2", "a3c", "2026-10-02")
    forked.script("UPDATE threads SET tip_message_hash = 'a3c' WHERE id = 't1'")
    episodes, _ = read(forked.close())
    assert [(e.thread, [s.kind for s in e.signals]) for e in episodes] == [
        ("t1#a3", ["retry"]), ("t2", []), ("t1", []),
    ]  # fmt: skip


def test_forks_in_a_ring_are_one_family(forked):
    forked.script("UPDATE threads SET forked_from = 't2' WHERE id = 't1'")
    path = forked.close()
    assert list(threads(path)) == ["t1"]
    episodes, _ = read(path)
    assert [(e.thread, e.group) for e in episodes] == [("t1", "t1"), ("t2", "t1")]


def test_what_the_user_gave_as_history_has_no_model(llm_log):
    message(llm_log, "u1", None, "user", text("q1"))
    message(llm_log, "a1", "u1", "assistant", text("from elsewhere"))
    message(llm_log, "u2", "a1", "user", text("q2"))
    message(llm_log, "a2", "u2", "assistant", text("r2"))
    turn(llm_log, "1", "t", "u2", "a2", "2026-10-01")
    (episode,), _ = read(llm_log.close())
    assert [m.model for m in episode.messages] == [None, None, None, "scripted"]


def test_an_older_conversation_with_other_questions_is_told_beside_its_thread(forked):
    response(forked, "0", "t1", "Another question", "r", "2026-01-01")
    path = forked.close()
    episodes, _ = read(path)
    assert [(e.thread, e.group) for e in episodes] == [("t1#responses", "t1"), ("t1", "t1"), ("t2", "t1")]
    assert read(path, {"t1"})[0] == episodes


@pytest.mark.parametrize("key", [b"bytes", b"\xff", "a\x00b", "7"])
def test_a_conversation_is_read_by_itself_whatever_its_id(forked, key):
    response(forked, "01", "c", "q", "r", "2026-01-01")
    forked.db.execute("UPDATE responses SET conversation_id = ?", (key,))
    forked.db.execute("UPDATE turns SET thread_id = ? WHERE thread_id = 't2'", (key,))
    forked.script("DELETE FROM threads WHERE id = 't2'")
    path = forked.close()
    (name,) = set(threads(path)) - {"t1"}
    episodes, _ = read(path)
    alone = [e for e in episodes if e.group == name]
    assert [e.thread for e in alone] == [f"{name}#responses", name]
    assert read(path, {name})[0] == alone
    assert read(path, ()) == ([], [])


def test_tables_of_a_log_that_never_saw_the_newer_ones(llm_log):
    log = llm_log
    for table in ("messages", "parts", "part_attachments", "threads", "turns", "turn_tools", "tool_results"):
        log.script(f"DROP TABLE {table}")
    log.script("ALTER TABLE responses DROP COLUMN reasoning; ALTER TABLE responses DROP COLUMN resolved_model")
    response(log, "01", "c", "q", "r", "2026-01-01")
    path = log.close()
    (episode,), lost = read(path)
    assert ([m.content for m in episode.messages], lost, list(threads(path))) == (["q", "r"], [], ["c"])


@pytest.mark.parametrize(("cell", "raw"), [(b"{", "{"), ("[" * 300, "[" * 300), (3, "3"), (b"\xff", None)])
def test_arguments_that_cannot_be_read_keep_their_text(forked, cell, raw):
    response(forked, "01", "c", "q", "r", "2026-01-01")
    forked.add("tool_calls", response_id="01", name="f", arguments=cell, tool_call_id="k")
    forked.db.execute("UPDATE parts SET payload = ? WHERE type = 'tool_call'", (cell,))
    forked.db.commit()
    episodes, lost = read(forked.close())
    calls = [call for e in episodes if e.thread in ("c", "t1") for m in e.messages for call in m.tool_calls]
    assert [call.arguments_raw for call in calls] == [raw, raw]
    if raw is None:
        assert {v.reason for v in lost} == {"arguments that are no text", "unreadable part"}
