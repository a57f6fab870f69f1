"""goose: parallel calls, MCP results, pieces of one answer, a compaction, what was for the user or the agent only,
a copy, a sub-agent, the older table, failures, broken cells."""

import json
import sqlite3

from log_database import Database

from examples import CANARY

V10 = """
CREATE TABLE schema_version (version INTEGER PRIMARY KEY);
CREATE TABLE sessions (id TEXT PRIMARY KEY, name TEXT, description TEXT, session_type TEXT NOT NULL DEFAULT 'user',
  working_dir TEXT NOT NULL, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, updated_at TIMESTAMP,
  extension_data TEXT DEFAULT '{}', recipe_json TEXT, provider_name TEXT, model_config_json TEXT);
CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, message_id TEXT, session_id TEXT NOT NULL,
  role TEXT NOT NULL, content_json TEXT NOT NULL, created_timestamp INTEGER NOT NULL,
  timestamp TIMESTAMP DEFAULT CURRENT_TIMESTAMP, tokens INTEGER, metadata_json TEXT);
CREATE INDEX idx_messages_session ON messages(session_id);
CREATE TABLE thread_messages (id INTEGER PRIMARY KEY AUTOINCREMENT, thread_id TEXT, session_id TEXT, message_id TEXT,
  role TEXT NOT NULL, content_json TEXT NOT NULL, created_timestamp INTEGER NOT NULL, metadata_json TEXT);
"""
V16 = V10 + "ALTER TABLE sessions ADD COLUMN parent_session_id TEXT;"
OLDEST = """
CREATE TABLE sessions (id TEXT PRIMARY KEY, working_dir TEXT, extension_data TEXT, created_at TEXT);
CREATE TABLE messages (id INTEGER PRIMARY KEY, session_id TEXT, role TEXT, content_json TEXT,
  created_timestamp INTEGER);
"""
START = 1790000000  # 2026-09-21T14:13:20Z


def text(words, **more):
    return {"type": "text", "text": words} | more


def request(key, name, arguments):
    call = {"status": "success", "value": {"name": name, "arguments": arguments}}
    return {"type": "toolRequest", "id": key, "toolCall": call, "metadata": {}, "_meta": {"goose.external_dispatch": 1}}


def response(key, *content, **more):
    value = {"content": list(content), "isError": False} | more
    return {"type": "toolResponse", "id": key, "toolResult": {"status": "success", "value": value}}


class Log(Database):
    """Sessions start a minute apart; messages follow each other by a second."""

    def __init__(self, path, schema=V16):
        super().__init__(path, schema)
        self.count = self.sessions = 0

    def session(self, key, **values):
        self.sessions += 1
        settings = {"model_name": "gpt", "request_params": {"key": CANARY}}
        at = f"2026-09-21 14:{self.sessions:02}:00"
        told = {"created_at": at, "updated_at": at, "model_config_json": json.dumps(settings)}
        secret = {name: json.dumps({"key": CANARY}) for name in ("extension_data", "recipe_json")}
        self.add("sessions", **{"id": key, "working_dir": "/"} | told | secret | values)

    def say(self, session, role, *items, table="messages", **values):
        self.count += 1
        shown = {"metadata_json": '{"userVisible": true, "agentVisible": true}'}
        content = items[0] if items and isinstance(items[0], (str, bytes)) else json.dumps(items)
        told = {"session_id": session, "role": role, "content_json": content, "created_timestamp": START + self.count}
        return self.add(table, **shown | told | values)


HIDDEN = '{"userVisible": true, "agentVisible": false}'
AGENTS = '{"userVisible": false, "agentVisible": true}'


def build(folder):
    log = Log(folder / "sessions.db")
    _talk(log)
    _compacted(log)
    _app(log)
    _copied(log)
    _broken(log)
    return log.close()


def _talk(log):
    log.session("20260921_1")
    say = "20260921_1"
    picture = {"type": "image", "data": "AAAA", "mimeType": "image/png"}
    log.say(say, "user", text("What is here?"), picture, message_id="m1")
    log.say(say, "assistant", {"type": "thinking", "thinking": "List it.", "signature": "x"}, message_id="m2")
    log.say(say, "assistant", text("Let me "), message_id="m2")
    log.say(
        say,
        "assistant",
        text("look."),
        request("c1", "developer__shell", {"command": "ls"}),
        request("c2", "memory__read", {}),
        {"type": "toolRequest", "id": "c3", "toolCall": {"status": "error", "error": "-32602: bad arguments"}},
        message_id="m2",
    )
    log.say(
        say,
        "user",
        response(
            "c1",
            text("a.py", annotations={"audience": ["assistant"]}),
            text("# a.py", annotations={"audience": ["user"], "priority": 0.0}),
            {"type": "resource", "resource": {"uri": "file:///c.bin", "mimeType": "x/bin", "blob": "AA"}},
        ),
        response("c2", text("no such memory"), isError=True),
        {"type": "toolResponse", "id": "c3", "toolResult": {"status": "error", "error": "bad arguments"}},
        message_id="m3",
    )
    log.say(say, "assistant", text("There is a.py."), message_id="m4")
    log.say(say, "user", text("Run it"), message_id="m5")
    log.say(say, "assistant", text("Ran into this error: overloaded.\n\nPlease retry"), message_id="m6")


def _compacted(log):
    log.session("20260921_2")
    for n, (role, words, seen) in enumerate((
        ("user", "Hi", HIDDEN),
        ("assistant", "Hello", HIDDEN),
        ("user", "Summary: they said hi", AGENTS),
        ("assistant", "I go on from the summary", AGENTS),
        ("user", "Bye", "{}"),
        ("assistant", "Bye!", None),
    )):  # fmt: skip
        log.say("20260921_2", role, text(words), metadata_json=seen, message_id=f"n{n}")


def _app(log):
    """What goose says and asks itself, and an older result."""
    log.session("20260921_3", session_type="scheduled")
    say = "20260921_3"
    log.say(say, "user", text("Go"))
    log.say(say, "assistant", request("c1", "t", {"n": 1}))
    old = {"type": "toolResponse", "id": "c1", "toolResult": {"status": "success", "value": [text("older")]}}
    log.say(say, "user", old, text("Stop that"))
    asked = {"actionType": "toolConfirmation", "id": "c", "toolName": "t", "arguments": {}}
    log.say(say, "assistant", {"type": "actionRequired", "data": asked})
    log.say(say, "assistant", {"type": "systemNotification", "notificationType": "inlineMessage", "msg": "Compacted"})
    log.say(say, "assistant", {"type": "redactedThinking", "data": "x"}, text("Stopped."))


def _copied(log):
    log.session("20260921_4", name="copy of the first")
    log.say("20260921_4", "user", text("What is here?"), message_id="m1", created_timestamp=START + 1)
    log.say("20260921_4", "assistant", text("Who knows?"), message_id="m9")
    log.session("20260921_5", session_type="sub_agent", parent_session_id="20260921_1")
    log.say("20260921_5", "user", text("List the files"), message_id="q1")
    log.say("20260921_5", "assistant", text("a.py"), message_id="q2")
    log.session("20260921_6", parent_session_id="20260921_4")
    log.say("20260921_6", "user", text("Go on"), message_id="r1")
    log.session("20260921_7")
    log.say("20260921_7", "user", text("From the older table"), table="thread_messages", thread_id="t")
    log.say("20260921_7", "assistant", text("So it is."), table="thread_messages", thread_id="t")


def _broken(log):
    log.session("20260921_8", model_config_json="{")
    say = "20260921_8"
    log.say(say, "user", "[{")
    log.say(say, "assistant", text("ok"), metadata_json="{", created_timestamp="soon")
    log.say(say, "user", text(4), {"type": "hologram"}, text("Still there?"))
    log.say(say, "wizard", text("Abracadabra"))
    log.say(say, "assistant", {"type": "toolRequest", "id": 3, "toolCall": "x"})
    log.say(say, "assistant")
    log.say("20260921_99", "user", text("Who reads this?"))
    log.session("20260921_9")


def grow(path):
    db = sqlite3.connect(path)
    add = "INSERT INTO {} (session_id, role, content_json, created_timestamp) VALUES (?, ?, ?, ?)"
    said = json.dumps([text("Still there?")])
    db.execute(add.format("messages"), ("20260921_1", "user", said, START + 900))
    db.execute(add.format("thread_messages"), ("20260921_7", "user", said, START + 900))
    kept = db.execute("SELECT role, content_json FROM messages WHERE session_id = '20260921_2' LIMIT 2").fetchall()
    db.execute("DELETE FROM messages WHERE session_id = '20260921_2'")
    for role, content in kept:  # goose writes the whole conversation anew
        db.execute(add.format("messages"), ("20260921_2", role, content, START + 901))
    db.execute("UPDATE sessions SET model_config_json = ?, updated_at = '2026-09-21 15:00:00' WHERE id = '20260921_5'",
               (json.dumps({"model_name": "claude", "request_params": {"key": CANARY}}),))  # fmt: skip
    db.execute("INSERT INTO sessions (id, working_dir, created_at) VALUES ('20260921_10', '/', '2026-09-21 15:00:00')")
    db.execute(add.format("messages"), ("20260921_10", "user", said, START + 902))
    db.commit()
    db.close()
    return {f"20260921_{n}" for n in (1, 2, 5, 7, 10)}
