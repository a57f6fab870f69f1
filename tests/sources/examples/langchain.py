"""SQLChatMessageHistory in two tables of one database, messages as several versions and providers leave them."""

import json
import sqlite3
from pathlib import Path

CREDENTIALS = False  # there is no place for any


class Log:
    """A database under construction."""

    def __init__(self, path, table="message_store"):
        self.path, self.table, self.db = path, table, sqlite3.connect(path)
        columns = "id INTEGER NOT NULL, session_id TEXT, message TEXT, PRIMARY KEY (id)"
        self.db.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns})")

    def add(self, session, kind, content, **more):
        data = {"content": content, "additional_kwargs": {}, "response_metadata": {}, "type": kind, "id": None, **more}
        return self.raw(session, json.dumps({"type": kind, "data": data}))

    def raw(self, session, cell):
        query = f"INSERT INTO {self.table} (session_id, message) VALUES (?, ?)"
        return self.db.execute(query, (session, cell)).lastrowid


def tool_call(key, **args):
    return {"name": "get_weather", "args": args, "id": key, "type": "tool_call"}


def build(folder: Path) -> Path:
    log = Log(folder / "chat.db")
    _tools(log)
    _providers(log)
    log.add("cleared", "human", "Hello")
    log.add("cleared", "ai", "Hi")
    log.add("broken", "human", "Hello?")
    log.raw("broken", '{"type": "ai", "data": {"content": "Hel')
    log.raw("broken", '{"type": "remove", "data": {"content": ""}}')
    log.add("broken", "human", [{"type": "text", "text": "Still there?"}, {"type": "hologram"}])
    log.raw("nothing", "null")
    log.raw(None, "{}")
    log.db.commit()
    log.db.close()
    other = Log(log.path, "support_chats")
    other.add("cleared", "human", "The same session's name in another table")
    other.db.commit()
    other.db.close()
    return log.path


def _tools(log):
    """A prompt, parallel calls with one failure, a file, a summary in the place of what was said, a cut answer."""
    log.add("tools", "system", "You know the weather.")
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    log.add("tools", "human", [{"type": "text", "text": "Oslo or Rome?"}, picture])
    meta = {"model_name": "gpt-5", "finish_reason": "tool_calls"}
    calls = [tool_call("c1", city="Oslo"), tool_call("c2", city="Rome")]
    log.add("tools", "ai", "", tool_calls=calls, invalid_tool_calls=[], response_metadata=meta)
    log.add("tools", "tool", "rain", tool_call_id="c1", name="get_weather", status="success", artifact={"mm": 3})
    log.add("tools", "tool", "no such city", tool_call_id="c2", name="get_weather", status="error")
    bad = [{"name": "get_weather", "args": '{"city": "Ro', "id": "c3", "error": "cut JSON"}]
    log.add("tools", "ai", "Once more.", invalid_tool_calls=bad, response_metadata=meta)
    log.add("tools", "human", "Here is a summary of the conversation to date:\n\nRain.")
    log.add("tools", "ai", "Oslo: ra", response_metadata={"model_name": "gpt-5", "finish_reason": "length"})


def _providers(log):
    """Thoughts and calls in blocks, a tool of the provider's, older shapes, other forms of a message."""
    log.add("providers", "human", "Who won?")
    log.add("providers", "ai", [
        {"type": "thinking", "thinking": "Look it up.", "signature": "x"},
        {"type": "text", "text": "Let me look."},
        {"type": "server_tool_use", "id": "w1", "name": "web_search", "input": {"query": "winner"}},
        {"type": "web_search_tool_result", "tool_use_id": "w1", "content": [{"type": "text", "text": "Ada"}]},
        {"type": "text", "text": "Ada won."},
    ], response_metadata={"model": "claude", "stop_reason": "end_turn"})  # fmt: skip
    function = {"name": "get_weather", "arguments": '{"city": "Oslo"}'}
    log.add("providers", "human", "And the weather?")
    log.add("providers", "ai", "", additional_kwargs={"function_call": function, "reasoning_content": "Ask."})
    log.add("providers", "function", "rain", name="get_weather")
    constructor = {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", "AIMessage"]}
    log.raw("providers", json.dumps({**constructor, "kwargs": {"content": "Rain."}}))
    ollama = {"model": "qwen", "created_at": "2026-10-01T08:00:00.5Z", "done_reason": "stop"}
    log.add("providers", "AIMessageChunk", "Rain, still.", response_metadata=ollama)


def grow(path: Path) -> set[str]:
    """A session goes on, one is cleared and begun anew with as many messages, one begins."""
    log = Log(path)
    log.add("tools", "ai", "Oslo: rain.")
    # the newest messages go, so that their numbers are given again
    log.db.execute("DELETE FROM message_store WHERE session_id IN ('nothing', 'new') OR session_id IS NULL")
    log.add("new", "human", "Hello")
    other = Log(path, "support_chats")
    log.db.commit()
    other.db.execute("DELETE FROM support_chats")
    other.add("cleared", "human", "Begun anew")
    other.db.commit()
    other.db.close()
    log.db.close()
    return {"tools", "new", "support_chats/cleared"}
