"""Sessions of the OpenAI Agents SDK, in the tables that the library creates."""

import contextlib
import json
import sqlite3

import pytest
from examples.openai_agents import SESSIONS, Log, answer, call, output, user
from log_database import read_open, said

from lunar_tune.episodes import Attachment, Signal, to_dict
from lunar_tune.sources.base import open_read_only
from lunar_tune.sources.openai_agents import OpenAIAgentsSource


def read(log, only=None):
    return read_open(OpenAIAgentsSource(), log, only)


@pytest.fixture
def log(tmp_path):
    log = Log(tmp_path / "any.db")
    yield log
    log.db.close()


def test_a_session_in_canonical_form(log):
    log.add("s", {"role": "developer", "content": "Be brief."})
    log.add("s", user("Weather?"))
    log.add("s", {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "Look it up."}]})
    log.add("s", call("c1"), "2026-11-20 18:18:28")
    log.add("s", call("c2", arguments='{"city":"Rome"}'))
    log.add("s", output("c1", "sunny"))
    log.add("s", output("c2", [{"type": "input_text", "text": "rain"}]))
    log.add("s", answer("Sunny, rain.", provider_data={"model": "gpt-x"}), "2026-11-20 18:18:30")
    (episode,), lost = read(log)
    assert lost == []
    assert to_dict(episode) == {
        "id": episode.id,
        "source": "openai-agents",
        "path": str(log.path),
        "thread": "s",
        "started_at": "2026-11-20T18:18:27Z",
        "model": "gpt-x",
        "system": "Be brief.",
        "tools": [],
        "messages": [
            {"role": "user", "content": "Weather?", "created_at": "2026-11-20T18:18:27Z"},
            {
                "role": "assistant",
                "content": "",
                "created_at": "2026-11-20T18:18:28Z",
                "reasoning": "Look it up.",
                "tool_calls": [
                    {"id": "c1", "name": "get_weather", "arguments": {"city": "Paris"}},
                    {"id": "c2", "name": "get_weather", "arguments": {"city": "Rome"}},
                ],
            },
            {
                "role": "tool",
                "content": "sunny",
                "created_at": "2026-11-20T18:18:27Z",
                "tool_call_id": "c1",
                "name": "get_weather",
            },
            {
                "role": "tool",
                "content": "rain",
                "created_at": "2026-11-20T18:18:27Z",
                "tool_call_id": "c2",
                "name": "get_weather",
            },
            {
                "role": "assistant",
                "content": "Sunny, rain.",
                "created_at": "2026-11-20T18:18:30Z",
                "model": "gpt-x",
            },
        ],
        "signals": [],
    }


def test_what_one_answer_consists_of_is_one_message(log):
    for item in (
        user("Go"),
        answer("On it."),
        call("c1"),
        output("c1", "ok"),
        answer("Done."),
        answer("Anything else?"),
    ):
        log.add("s", item)
    (episode,), _ = read(log)
    assert said(episode) == [
        ("user", "Go"),
        ("assistant", "On it."),
        ("tool", "ok"),
        ("assistant", "Done."),
        ("assistant", "Anything else?"),
    ]
    assert [c.name for c in episode.messages[1].tool_calls] == ["get_weather"]


def test_attachments_keep_type_and_name_only(log):
    blocks = [
        {"type": "input_text", "text": "Look"},
        {"type": "input_image", "image_url": "data:image/png;base64,canary"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "canary"},
    ]
    log.add("s", user(blocks))
    (episode,), lost = read(log)
    assert lost == []
    assert episode.messages[0].content == "Look"
    assert episode.messages[0].attachments == (Attachment(type="image"), Attachment(type="file", name="a.pdf"))


def test_tools_that_the_server_runs(log):
    log.add("s", user("Go"))
    mcp = {"type": "mcp_call", "id": "mcp_1", "server_label": "x", "name": "roll", "arguments": '{"n":1}'}
    log.add("s", {**mcp, "output": "4"})
    log.add("s", {**mcp, "id": "mcp_2", "output": None, "error": "no dice", "status": "failed"})
    code = {"type": "code_interpreter_call", "id": "ci_1", "code": "1+1", "container_id": "canary"}
    log.add("s", {**code, "outputs": [{"type": "logs", "logs": "2"}]})
    log.add("s", {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"query": "x"}})
    log.add("s", answer("Found."))
    (episode,), lost = read(log)
    assert lost == []
    shape = [(m.role, m.content, m.error, [(c.name, c.arguments) for c in m.tool_calls]) for m in episode.messages[1:]]
    assert shape == [
        ("assistant", "", None, [("roll", {"n": 1})]),
        ("tool", "4", None, []),
        ("assistant", "", None, [("roll", {"n": 1})]),
        ("tool", "", "no dice", []),
        ("assistant", "", None, [("code_interpreter", {"code": "1+1"})]),
        ("tool", "2", None, []),
        ("assistant", "", None, [("web_search", {"query": "x"})]),
        ("assistant", "Found.", None, []),
    ]
    assert episode.signals == (Signal(kind="tool_error", message=4),)


def test_other_calls_the_agent_answers(log):
    log.add("s", user("Go"))
    log.add("s", {"type": "custom_tool_call", "call_id": "c1", "name": "sql", "input": "select 1"})
    log.add("s", {"type": "custom_tool_call_output", "call_id": "c1", "output": "1"})
    log.add("s", {"type": "shell_call", "call_id": "c2", "action": {"commands": ["ls"]}})
    log.add("s", {"type": "shell_call_output", "call_id": "c2", "output": [{"stdout": "a", "stderr": ""}]})
    log.add("s", {"type": "computer_call", "call_id": "c3", "action": {"type": "click", "x": 1}})
    shot = {"type": "computer_screenshot", "image_url": "data:canary"}
    log.add("s", {"type": "computer_call_output", "call_id": "c3", "output": shot})
    (episode,), lost = read(log)
    assert lost == []
    calls = [(c.name, c.arguments) for m in episode.messages for c in m.tool_calls]
    assert calls == [
        ("sql", {"input": "select 1"}),
        ("shell", {"commands": ["ls"]}),
        ("computer", {"type": "click", "x": 1}),
    ]
    results = [m for m in episode.messages if m.role == "tool"]
    assert [m.content for m in results] == ["1", '[{"stdout": "a", "stderr": ""}]', ""]
    assert results[2].attachments == (Attachment(type="image"),)


def test_tools_that_are_named_in_the_log(log):
    offered = {"type": "function", "name": "f", "description": "F.", "parameters": {"type": "object"}}
    log.add("s", {"type": "mcp_list_tools", "tools": [{"name": "roll", "input_schema": {"type": "object"}}]})
    log.add("s", user("Go"))
    hosted = {"type": "mcp", "server_label": "x", "authorization": "canary-token"}
    log.add("s", {"type": "tool_search_call", "call_id": "c1", "arguments": {"q": "f"}})
    log.add("s", {"type": "tool_search_output", "call_id": "c1", "tools": [offered, hosted]})
    (episode,), lost = read(log)
    assert lost == []
    assert [(t.name, t.description) for t in episode.tools] == [("roll", ""), ("f", "F.")]
    assert episode.messages[-1].content == '["f"]'


def test_failures_and_cuts(log):
    log.add("s", user("Go"))
    log.add("s", call("c1", arguments='{"city":'))
    log.add("s", output("c1", "An error occurred while running the tool. Please try again. Error: boom"))
    log.add("s", call("c2"))
    log.add("s", output("c2", "Tool execution was not approved."))
    log.add("s", answer("Half", status="incomplete"))
    log.add("s", user("And?"))
    log.add("s", {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "Hm"}], "summary": []})
    (episode,), _ = read(log)
    bad = episode.messages[1].tool_calls[0]
    assert bad.arguments_raw == '{"city":'
    assert bad.error
    assert [s.message for s in episode.signals if s.kind == "tool_error"] == [2, 4]
    assert episode.messages[5].finish == "length"
    assert (episode.messages[7].reasoning, episode.messages[7].finish) == ("Hm", "cancelled")


def test_a_refused_mcp_call_is_a_failed_one(log):
    log.add("s", user("Go"))
    asked = {"type": "mcp_approval_request", "id": "a1", "server_label": "x", "name": "rm", "arguments": "{}"}
    log.add("s", asked)
    log.add("s", {"type": "mcp_approval_response", "approval_request_id": "a1", "approve": False, "reason": "No!"})
    (episode,), _ = read(log)
    assert said(episode) == [("user", "Go"), ("assistant", ""), ("tool", "No!")]
    assert episode.messages[2].error == "not approved"


def test_compaction_and_other_things_not_said_are_reported(log):
    key = log.add("s", {"type": "compaction", "encrypted_content": "canary"})
    log.add("s", user("Hello"))
    reference = log.add("s", {"type": "item_reference", "id": "x"})
    (episode,), lost = read(log)
    assert said(episode) == [("user", "Hello")]
    assert [(v.id, v.reason, v.detail) for v in lost] == [
        ("s", "a compaction summary", f"agent_messages.message_data={key}"),
        ("s", "a reference to an item that is not in the log", f"agent_messages.message_data={reference}"),
    ]


def test_encrypted_rows_are_refused_with_a_sentence(log):
    first = log.add("e", {"__enc__": 1, "v": 1, "kid": "hkdf-v1", "payload": "canary"})
    log.add("e", {"__enc__": 1, "v": 1, "kid": "hkdf-v1", "payload": "canary"})
    log.add("s", user("Hello"))
    episodes, lost = read(log)
    assert [e.thread for e in episodes] == ["s"]
    assert [(v.id, v.reason, v.detail) for v in lost] == [
        (
            "e",
            "a message encrypted by EncryptedSession, whose key only the agent has",
            f"agent_messages.message_data={first} and 1 more",
        )
    ]


def test_branches_are_paths_of_one_family(log):
    log.branches()
    first = [log.add("s", item) for item in (user("one"), answer("1"))]
    second = [log.add("s", item) for item in (user("two"), answer("2"))]
    log.place("s", "main", *first, *second)
    again = [log.add("s", item) for item in (user("two"), answer("2 again"))]
    log.place("s", "regenerated", *first, *again)
    other = [log.add("s", item) for item in (user("three"), answer("3"))]
    log.place("s", "other", *first, *other)
    log.place("s", "stub", *first)
    plain = log.add("p", user("No branches"))
    stray = log.add("s", user("Nowhere"))
    log.place("s", "other", 99)
    episodes, lost = read(log)
    assert [(e.thread, e.group, said(e)[-1][1], e.signals) for e in episodes] == [
        ("s", "s", "2", (Signal(kind="retry", message=3, note="given anew on a later path"),)),
        ("s#regenerated", "s", "2 again", ()),
        ("s#other", "s", "3", ()),
        ("p", None, "No branches", ()),
    ]
    assert said(episodes[1])[:2] == [("user", "one"), ("assistant", "1")]
    assert plain
    assert sorted((v.reason, v.detail) for v in lost) == [
        ("a branch names a message that is not there", "message_structure.message_id=99"),
        ("a message of no branch", f"agent_messages.id={stray}"),
    ]


def test_a_main_branch_that_another_goes_on_from_is_told_once(log):
    log.branches()
    first = [log.add("s", item) for item in (user("one"), answer("1"))]
    more = [log.add("s", item) for item in (user("two"), answer("2"))]
    log.place("s", "main", *first)
    log.place("s", "b", *first, *more)
    (episode,), _ = read(log)
    assert (episode.thread, len(episode.messages)) == ("s", 4)


def test_tables_of_other_names(log):
    log.db.executescript(SESSIONS.format("chats", "chat_lines"))
    log.add("s", user("Late"), "2026-11-20 19:00:00")
    log.add("s", user("Early"), "2026-11-20 18:00:00", ("chats", "chat_lines"))
    log.db.execute("INSERT INTO chats (session_id) VALUES ('empty')")
    episodes, lost = read(log)
    assert [(e.thread, said(e)) for e in episodes] == [
        ("chat_lines/s", [("user", "Early")]),
        ("s", [("user", "Late")]),
    ]
    assert [(v.id, v.reason) for v in lost] == [("chat_lines/empty", "a conversation without messages")]


def test_sessions_come_in_the_order_of_their_start(log):
    log.add("b", user("first"), "2026-11-20 18:00:00")
    log.add("a", user("second"), "2026-11-20 18:30:00")
    log.add("b", answer("third"), "2026-11-20 19:00:00")
    episodes, _ = read(log)
    assert [e.thread for e in episodes] == ["b", "a"]


BROKEN = [
    "{", "null", "3", "[]", '"canary"', "{}", '{"type": 3}', '{"type": ["canary"]}', '{"type": "canary"}',
    '{"role": "canary", "content": "x"}', '{"role": null, "content": "x"}', b"\xff\xfe", "[" * 9000, '{"a": NaN}',
]  # fmt: skip


@pytest.mark.parametrize("cell", BROKEN)
def test_a_broken_item_costs_itself_and_is_reported_by_place(log, cell):
    log.add("s", user("Hello"))
    key = log.add("s", cell)
    log.add("s", answer("Hi"))
    (episode,), lost = read(log)
    assert said(episode) == [("user", "Hello"), ("assistant", "Hi")]
    assert [v.detail for v in lost] == [f"agent_messages.message_data={key}"]


@pytest.mark.parametrize(
    "item",
    [
        {"role": "user", "content": {"a": 1}},
        {"role": "user", "content": [1, None, {"type": []}, {"text": "x"}]},
        {"role": "assistant", "content": None, "provider_data": []},
        {"type": "function_call"},
        {"type": "function_call", "name": 3, "arguments": [1], "call_id": {}},
        {"type": "function_call_output", "output": None},
        {"type": "function_call_output", "output": {"a": 1}},
        {"type": "reasoning", "summary": 3, "content": {}},
        {"type": "mcp_call", "output": {"a": 1}, "error": []},
        {"type": "mcp_list_tools", "tools": [3, {"name": 4}]},
        {"type": "tool_search_output", "tools": None},
        {"type": "mcp_approval_response"},
        {"type": "image_generation_call", "result": "canary", "revised_prompt": 3},
        {"role": "user", "content": "a\u0000b\ud800"},
    ],
)
def test_odd_items_never_stop_the_reading(log, item):
    log.add("s", user("Hello"))
    log.add("s", item)
    log.add("s", answer("Hi"))
    (episode,), _ = read(log)
    json.dumps(to_dict(episode)).encode()
    assert (episode.messages[0].content, episode.messages[-1].content) == ("Hello", "Hi")


def test_an_empty_database_and_other_ones(log, tmp_path):
    assert read(log) == ([], [])
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE messages (id INTEGER, session_id TEXT, content TEXT)")
    assert not OpenAIAgentsSource().recognises(other)
    other.close()


def threads(log):
    log.db.commit()
    with contextlib.closing(open_read_only(log.path)) as db:
        return dict(OpenAIAgentsSource().threads(db))


def changed(log, change):
    before = threads(log)
    change()
    after = threads(log)
    return {thread for thread in {**before, **after} if before.get(thread) != after.get(thread)}


def test_a_stamp_follows_its_session_and_no_other(log):
    log.branches()
    log.db.executescript(SESSIONS.format("chats", "chat_lines"))
    key, _ = log.add("s", user("Hello")), log.add("t", user("Hello"))
    assert changed(log, lambda: log.add("s", answer("Hi"))) == {"s"}
    assert changed(log, lambda: log.add("s", answer("Hi"), tables=("chats", "chat_lines"))) == {"chat_lines/s"}
    assert changed(log, lambda: log.place("s", "main", key)) == {"s"}
    taken_back = "DELETE FROM agent_messages WHERE id = (SELECT max(id) FROM agent_messages)"
    assert changed(log, lambda: log.db.execute(taken_back)) == {"s"}
    cleared = "UPDATE agent_sessions SET updated_at = '2026-12-01 00:00:00' WHERE session_id = 't'"
    assert changed(log, lambda: log.db.execute(cleared)) == {"t"}
    assert changed(log, lambda: log.db.execute("INSERT INTO agent_sessions (session_id) VALUES ('new')")) == {"new"}


ODD = ["7", "a\x00b", b"bytes", b"\xff", "\ud7ff#x", ""]


def test_a_session_is_read_by_itself_whatever_its_id(log):
    for session in ODD:
        log.add(session, user("Hello"))
        log.add(session, answer("Hi"))
    log.db.execute("UPDATE agent_messages SET session_id = CAST(x'41ff' AS TEXT) WHERE session_id = ''")
    everything = {e.thread: e for e in read(log)[0]}
    assert len(everything) == len(ODD)
    for name, episode in everything.items():
        assert name in threads(log)
        assert read(log, {name})[0] == [episode]
    assert read(log, {"7", "bytes"})[0] == [everything["7"], everything["bytes"]]
    assert read(log, ()) == ([], [])


def test_reports_of_a_session_come_when_it_is_read(log):
    log.db.executescript(SESSIONS.format("chats", "chat_lines"))
    log.db.execute("INSERT INTO chats (session_id) VALUES ('empty')")
    log.db.execute("INSERT INTO agent_sessions (session_id) VALUES ('empty')")
    log.add("s", "{")
    log.add("t", user("Hello"))
    assert [v.id for v in read(log)[1]] == ["s", "chat_lines/empty", "empty"]
    assert [v.id for v in read(log, {"s"})[1]] == ["s"]
    assert [v.id for v in read(log, {"t", "chat_lines/empty"})[1]] == ["chat_lines/empty"]


def test_a_view_is_no_second_log(log):
    log.add("s", user("Hello"))
    log.db.execute("CREATE VIEW recent AS SELECT * FROM agent_messages")
    assert [e.thread for e in read(log)[0]] == ["s"]
