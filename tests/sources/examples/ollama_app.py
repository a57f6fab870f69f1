"""The Ollama desktop app's db.sqlite: tools whose results name no call, results beside calls, a compaction, files."""

import sqlite3

from examples import CANARY

SCHEMA = """
CREATE TABLE settings (id INTEGER PRIMARY KEY, device_id TEXT, remote TEXT);
CREATE TABLE users (name TEXT, email TEXT, plan TEXT);
CREATE TABLE chats (id TEXT PRIMARY KEY, title TEXT NOT NULL DEFAULT '', created_at TIMESTAMP, browser_state TEXT);
CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, chat_id TEXT NOT NULL, role TEXT NOT NULL,
  content TEXT NOT NULL DEFAULT '', thinking TEXT NOT NULL DEFAULT '', stream BOOLEAN NOT NULL DEFAULT 0,
  model_name TEXT, created_at TIMESTAMP, updated_at TIMESTAMP, thinking_time_start TIMESTAMP,
  thinking_time_end TIMESTAMP, tool_result TEXT);
CREATE INDEX idx_messages_chat_id ON messages(chat_id);
CREATE TABLE tool_calls (id INTEGER PRIMARY KEY AUTOINCREMENT, message_id INTEGER NOT NULL, type TEXT NOT NULL,
  function_name TEXT NOT NULL, function_arguments TEXT NOT NULL, function_result TEXT);
CREATE INDEX idx_tool_calls_message_id ON tool_calls(message_id);
CREATE TABLE attachments (id INTEGER PRIMARY KEY AUTOINCREMENT, message_id INTEGER, filename TEXT, data BLOB);
CREATE INDEX idx_attachments_message_id ON attachments(message_id);
"""
NEWER = """
ALTER TABLE messages ADD COLUMN tool_name TEXT;
ALTER TABLE messages ADD COLUMN tool_call_id TEXT;
ALTER TABLE messages ADD COLUMN archived BOOLEAN NOT NULL DEFAULT 0;
ALTER TABLE tool_calls ADD COLUMN tool_call_id TEXT;
CREATE TABLE compactions (id INTEGER PRIMARY KEY, chat_id TEXT, summary TEXT);
"""
AT = "2026-10-01 10:00:00.123456789+02:00"


class App:
    """A db.sqlite under construction."""

    def __init__(self, path):
        self.path = path
        self.db = sqlite3.connect(path)
        self.db.executescript(SCHEMA)
        self.add("settings", id=1, device_id=CANARY, remote=CANARY)
        self.add("users", name=CANARY, email=CANARY, plan="")

    @classmethod
    def open(cls, path):
        app = cls.__new__(cls)
        app.path, app.db = path, sqlite3.connect(path)
        return app

    def add(self, table, **values):
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        return self.db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values())).lastrowid

    def chat(self, key="c", at=AT):
        self.add("chats", id=key, title="T", created_at=at, browser_state='{"pages": []}')

    def say(self, role, content="", chat="c", **values):
        common = {"created_at": AT, "updated_at": AT}
        return self.add("messages", chat_id=chat, role=role, content=content, **{**common, **values})

    def call(self, message, name, arguments, result=None, **values):
        self.add("tool_calls", message_id=message, type="function", function_name=name, function_arguments=arguments,
                 function_result=result, **values)  # fmt: skip

    def close(self):
        self.db.commit()
        self.db.close()
        return self.path


def build(folder):
    app = App(folder / "db.sqlite")
    app.db.executescript(NEWER)
    _search(app)
    _compacted(app)
    app.chat("plain", "2026-09-30 23:00:00-05:00")
    app.say("user", "Hello", "plain", created_at="2026-10-01 04:00:01")
    app.say("assistant", "Hi!", "plain", created_at="2026-10-01 04:00:02", model_name="llama3.2:3b")
    app.say("user", "How are you?", "plain", created_at="2026-10-01 04:00:03")
    app.say("assistant", "I am", "plain", created_at="2026-10-01 04:00:04", model_name="llama3.2:3b")
    app.chat("empty", "2026-10-02 10:00:00+02:00")
    _broken(app)
    return app.close()


def _search(app):
    """Parallel calls, answered in order by rows that name nothing, one with an error; then results beside the calls."""
    app.chat("search")
    asked = app.say("user", "Are cats small?", "search")
    app.add("attachments", message_id=asked, filename="cat.png", data=b"\x89PNG")
    app.add("attachments", message_id=asked, filename="cats.md", data=b"# Cats")
    model = {"chat": "search", "model_name": "gpt-oss:20b"}
    looked = app.say("assistant", thinking="Look it up.", **model)
    app.call(looked, "web_search", '{"query": "cats"}')
    app.call(looked, "web_fetch", '{"url": "https://cats.example"}')
    app.say("tool", "Cats are small.", "search", tool_result='{"results": []}')
    app.say("tool", "Error: no page", "search")
    app.say("assistant", **model)
    read = app.say("assistant", "One more page.", **model)
    app.call(read, "browser.open", '{"id": 1}', '{"text": "beside the call"}')
    app.call(read, "browser.find", '{"pattern": "cat"}', '{"text": "found"}')
    app.say("tool", "", "search", tool_result='{"text": "own cell"}')
    app.say("assistant", "Small mammals.", **model)


def _compacted(app):
    """The archived messages and the summary that the model is shown in their place; calls and results have names."""
    chat = {"chat": "long"}
    app.chat("long", "2026-10-01 12:00:00+02:00")
    app.add("compactions", chat_id="long", summary="They talked about a and b.")
    app.say("user", "Q1", archived=1, **chat)
    both = app.say("assistant", "", archived=1, model_name="m", **chat)
    app.call(both, "a", "{}", tool_call_id="k1")
    app.call(both, "b", "{}", tool_call_id="k2")
    app.say("tool", "from b", tool_name="b", tool_call_id="k2", archived=1, **chat)
    app.say("tool", "from a", tool_name="a", tool_call_id="k1", archived=1, **chat)
    app.say("assistant", "A1", archived=1, model_name="m", **chat)
    app.call(app.say("assistant", "", **chat), "summarise", "{}")
    app.say("tool", "Earlier:\nThey talked about a and b.", tool_name="summarise", **chat)
    app.say("user", "Q2", **chat)
    app.say("assistant", "A2", model_name="m", **chat)


def _broken(app):
    app.chat("broken", "2026-10-03")
    app.say("user", b"\xff", "broken")
    app.say("wizard", "Abracadabra", "broken")
    app.call(app.say("assistant", "x", "broken"), "f", '{"cut')
    app.say("tool", "of no call", "broken", tool_name="g")
    app.say("user", "lost", "gone")
    app.call(999, "f", "{}")
    app.add("attachments", message_id=999, filename="lost.txt", data=b"")


def grow(path):
    """An answer that went on, a turn more, a question edited, a chat more."""
    app = App.open(path)
    app.db.execute(
        "UPDATE messages SET content = 'I am fine.', updated_at = '2026-10-01 04:00:09' WHERE content = 'I am'"
    )
    app.say("user", "Thanks", "long")
    app.db.execute("DELETE FROM messages WHERE chat_id = 'search'")
    app.db.execute("DELETE FROM tool_calls WHERE message_id NOT IN (SELECT id FROM messages)")
    app.say("user", "Are dogs small?", "search")
    app.chat("new", "2026-10-04")
    app.say("user", "Good morning", "new")
    app.close()
    return {"plain", "long", "search", "new"}
