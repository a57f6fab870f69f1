"""LangChain's messages in the forms they are stored in, and the table of SQLChatMessageHistory."""

import json
from pathlib import Path

import pytest
from examples.langchain import Log, tool_call
from log_database import read_open

from lunar_tune.episodes import Attachment, to_dict
from lunar_tune.sources.core.conversation import Conversation
from lunar_tune.sources.core.langchain_messages import is_summary, message_fields, say
from lunar_tune.sources.langchain import LangChainSource


def read(log):
    return read_open(LangChainSource(), log)


@pytest.fixture
def log(tmp_path):
    log = Log(tmp_path / "any.db")
    yield log
    log.db.close()


def test_a_session_in_canonical_form(log):
    log.add("s", "system", "You are helpful.")
    log.add("s", "human", "Weather?")
    calls = [tool_call("c1", city="Paris")]
    meta = {"model_name": "gpt-x", "finish_reason": "tool_calls"}
    log.add("s", "ai", "", tool_calls=calls, invalid_tool_calls=[], response_metadata=meta)
    log.add("s", "tool", "sunny", tool_call_id="c1", name="get_weather", status="success", artifact={"a": "canary"})
    log.add("s", "ai", "It is sunny.", response_metadata={"finish_reason": "length"})
    (episode,), lost = read(log)
    assert lost == []
    assert to_dict(episode) == {
        "id": episode.id,
        "source": "langchain",
        "path": str(log.path),
        "thread": "s",
        "started_at": None,
        "model": "gpt-x",
        "system": "You are helpful.",
        "tools": [],
        "messages": [
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "content": "",
                "model": "gpt-x",
                "finish": "stop",
                "tool_calls": [{"id": "c1", "name": "get_weather", "arguments": {"city": "Paris"}}],
            },
            {"role": "tool", "content": "sunny", "tool_call_id": "c1", "name": "get_weather"},
            {"role": "assistant", "content": "It is sunny.", "finish": "length"},
        ],
        "signals": [],
    }


def test_sessions_interleave_and_come_in_the_order_of_their_start(log):
    log.add("b", "human", "1")
    log.add("a", "human", "2")
    log.add("b", "ai", "3")
    log.add(None, "human", "nowhere")
    episodes, lost = read(log)
    assert [(e.thread, [m.content for m in e.messages]) for e in episodes] == [("b", ["1", "3"]), ("a", ["2"])]
    assert [(v.reason, v.detail) for v in lost] == [("a message of no session", "message_store.id=4")]


def test_a_table_of_another_name_is_known_by_what_is_in_it(tmp_path):
    named = Log(tmp_path / "named.db", "chats")
    assert not LangChainSource().recognises(named.db)  # as long as it is empty
    named.add("s", "human", "Hello")
    named.db.execute("CREATE TABLE other (id INTEGER, session_id TEXT, message TEXT)")
    named.db.execute("INSERT INTO other VALUES (1, 's', 'plain words')")
    (episode,), lost = read(named)
    assert (episode.thread, lost) == ("s", [])
    named.db.execute("CREATE VIEW again AS SELECT id, session_id, message FROM chats")
    assert len(read(named)[0]) == 1
    named.db.close()


def test_a_stamp_follows_its_session_alone(log):
    def stamps():
        return dict(LangChainSource().threads(log.db))

    log.add("a", "human", "Hello")
    log.add("b", "human", "Hello")
    before = stamps()
    log.db.execute("DELETE FROM message_store WHERE session_id = 'b'")
    log.add("b", "human", "Hello again")  # under the number of the one that is gone
    assert stamps()["a"] == before["a"]
    assert stamps()["b"] != before["b"]


def test_broken_rows_cost_themselves(log):
    log.add("s", "human", "Hello")
    keys = [log.raw("s", cell) for cell in ("{", None, "3", '{"type": "canary", "data": {"content": "canary"}}', "[[")]
    log.add("s", "ai", "Hi")
    (episode,), lost = read(log)
    assert [m.content for m in episode.messages] == ["Hello", "Hi"]
    assert [(v.reason, v.detail) for v in lost] == [
        ("unreadable message", f"message_store.message={key}") for key in keys
    ]


def test_an_empty_database(log):
    assert read(log) == ([], [])


def spoken(*values):
    """Say messages in any form; return (messages, what was lost)."""
    lost = []
    talk = Conversation("t", Path("x"), "t", lost.append)
    for value in values:
        fields = message_fields(value)
        assert fields is not None
        say(talk, fields, "p")
    episode = talk.episode()
    assert episode is not None
    return episode, lost


@pytest.mark.parametrize(
    "value",
    [
        {"type": "ai", "content": "Hi"},
        {"type": "AIMessageChunk", "content": "Hi"},
        {"type": "ai", "data": {"content": "Hi"}},
        {"lc": 1, "type": "constructor", "id": ["langchain", "messages", "AIMessage"], "kwargs": {"content": "Hi"}},
        {"lc": 2, "type": "constructor", "id": ["x", "AIMessage"], "kwargs": {"content": "Hi", "type": "ai"}},
        {"role": "assistant", "content": "Hi"},
        {"type": "chat", "role": "assistant", "content": "Hi"},
        ["assistant", "Hi"],
        {"type": "ai", "content": [{"type": "text", "text": "Hi"}]},
        {"type": "ai", "content": ["Hi"]},
    ],
)  # fmt: skip
def test_every_form_of_a_message(value):
    episode, lost = spoken(value)
    assert [(m.role, m.content) for m in episode.messages] == [("assistant", "Hi")]
    assert lost == []


@pytest.mark.parametrize("value", [None, 3, "Hi", [], {}, {"type": "ai"}, ["x", "y"], {"type": [], "content": "x"}])
def test_what_is_no_message(value):
    assert message_fields(value) is None


def test_reasoning_wherever_providers_put_it():
    episode, lost = spoken(
        {"type": "ai", "content": "1", "additional_kwargs": {"reasoning_content": "deep"}},
        {"type": "ai", "content": [{"type": "thinking", "thinking": "long"}, {"type": "text", "text": "2"}]},
        {"type": "ai", "content": [{"type": "reasoning", "reasoning": "new"}, {"type": "text", "text": "3"}]},
        {"type": "ai", "content": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "sum"}]}]},
        {"type": "ai", "content": "5", "additional_kwargs": {"reasoning": {"summary": [{"text": "old"}]}}},
    )
    assert [m.reasoning for m in episode.messages] == ["deep", "long", "new", "sum", "old"]
    assert [m.content for m in episode.messages] == ["1", "2", "3", "", "5"]
    assert lost == []


def test_calls_of_every_age():
    function = {"name": "f", "arguments": '{"a": 1}'}
    episode, lost = spoken(
        {"type": "ai", "content": "", "additional_kwargs": {"tool_calls": [{"id": "c1", "function": function}]}},
        {"type": "tool", "content": "1", "tool_call_id": "c1"},
        {"type": "ai", "content": "", "additional_kwargs": {"function_call": function}},
        {"type": "function", "content": "2", "name": "f"},
        {
            "type": "ai",
            "content": [
                {"type": "text", "text": "x"},
                {"type": "tool_use", "id": "c3", "name": "f", "input": {"a": 1}},
            ],
            "tool_calls": [{"name": "f", "args": {"a": 1}, "id": "c3"}],
        },
        {"type": "tool", "content": "boom", "tool_call_id": "c3", "status": "error"},
        {"type": "ai", "content": [{"type": "tool_use", "id": "c4", "name": "f", "input": {"a": 2}}]},
        {"type": "ai", "content": "", "invalid_tool_calls": [{"name": "f", "args": "{", "id": "c5", "error": "bad"}]},
    )
    assert lost == []
    calls = [[(c.id, c.name, c.arguments) for c in m.tool_calls] for m in episode.messages if m.role == "assistant"]
    assert calls == [
        [("c1", "f", {"a": 1})],
        [("call_2_0", "f", {"a": 1})],
        [("c3", "f", {"a": 1})],
        [("c4", "f", {"a": 2})],
        [("c5", "f", {})],
    ]
    assert episode.messages[3].tool_call_id == "call_2_0"
    assert episode.messages[5].error == "boom"
    assert [(s.kind, s.message) for s in episode.signals] == [("tool_error", 5)]
    assert episode.messages[7].tool_calls[0].arguments_raw == "{"


def test_tools_that_the_provider_ran():
    episode, lost = spoken(
        {
            "type": "ai",
            "content": [
                {"type": "text", "text": "Let me look."},
                {"type": "server_tool_use", "id": "w1", "name": "web_search", "input": {"query": "x"}},
                {"type": "web_search_tool_result", "tool_use_id": "w1", "content": [{"type": "text", "text": "y"}]},
                {"type": "text", "text": "It is y."},
            ],
        }
    )
    assert [(m.role, m.content) for m in episode.messages] == [
        ("assistant", "Let me look."),
        ("tool", "y"),
        ("assistant", "It is y."),
    ]
    assert episode.messages[0].tool_calls[0].arguments == {"query": "x"}
    assert lost == []


def test_files_and_unknown_content():
    episode, lost = spoken(
        {
            "type": "human",
            "content": [
                {"type": "text", "text": "Look"},
                {"type": "image_url", "image_url": {"url": "data:canary"}},
                {"type": "media", "mime_type": "application/pdf", "data": "canary"},
                {"type": "wormhole"},
            ],
        }
    )
    assert episode.messages[0].content == "Look"
    assert episode.messages[0].attachments == (Attachment(type="image"), Attachment(type="application/pdf"))
    assert [(v.reason, v.detail) for v in lost] == [("content of unknown type", "p")]


def test_times_and_ends_that_a_provider_wrote():
    ollama = {"model": "qwen", "created_at": "2026-10-01T08:00:00Z", "done_reason": "length"}
    episode, _ = spoken({"type": "ai", "content": "x", "response_metadata": ollama})
    (message,) = episode.messages
    assert (message.model, message.created_at, message.finish) == ("qwen", "2026-10-01T08:00:00Z", "length")


@pytest.mark.parametrize(
    "more",
    [
        {"content": 3}, {"content": {"a": 1}}, {"content": [None, 3, []]}, {"content": [{"type": []}]},
        {"tool_calls": 3}, {"tool_calls": [3]}, {"tool_calls": [{"name": 3, "args": [1]}]}, {"response_metadata": []},
        {"additional_kwargs": 3}, {"additional_kwargs": {"tool_calls": [3]}}, {"additional_kwargs": {"reasoning": 3}},
        {"response_metadata": {"model": {}, "finish_reason": [], "created_at": {}}}, {"tool_call_id": [], "name": {}},
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["human", "ai", "tool", "system"])
def test_odd_fields_never_stop_the_reading(kind, more):
    episode, _ = spoken({"type": "human", "content": "Hello"}, {"type": kind, "content": "x", **more})
    json.dumps(to_dict(episode))


def test_summaries():
    assert is_summary({"type": "human", "content": "x", "additional_kwargs": {"lc_source": "summarization"}})
    assert is_summary({"type": "human", "content": "Here is a summary of the conversation to date:\n\nx"})
    assert not is_summary({"type": "human", "content": "Here is a summary"})
