"""A project's crush.db: parallel calls, summaries, a title, a sub-agent, failed and cut turns, broken cells."""

import json
import sqlite3

from log_database import Database

from examples import CANARY

SCHEMA = """
CREATE TABLE sessions (id TEXT PRIMARY KEY, parent_session_id TEXT, title TEXT NOT NULL,
  message_count INTEGER NOT NULL DEFAULT 0, prompt_tokens INTEGER NOT NULL DEFAULT 0,
  completion_tokens INTEGER NOT NULL DEFAULT 0, cost REAL NOT NULL DEFAULT 0.0, updated_at INTEGER NOT NULL,
  created_at INTEGER NOT NULL, summary_message_id TEXT, todos TEXT);
CREATE TABLE files (id TEXT PRIMARY KEY, session_id TEXT, path TEXT, content TEXT, version TEXT);
CREATE TABLE messages (id TEXT PRIMARY KEY, session_id TEXT NOT NULL, role TEXT NOT NULL,
  parts TEXT NOT NULL DEFAULT '[]', model TEXT, provider TEXT, created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL, finished_at INTEGER, is_summary_message INTEGER NOT NULL DEFAULT 0);
CREATE INDEX idx_messages_session_id ON messages (session_id);
CREATE TRIGGER update_sessions_updated_at AFTER UPDATE ON sessions BEGIN
  UPDATE sessions SET updated_at = strftime('%s', 'now') WHERE id = new.id; END;
CREATE TRIGGER update_messages_updated_at AFTER UPDATE ON messages BEGIN
  UPDATE messages SET updated_at = strftime('%s', 'now') WHERE id = new.id; END;
CREATE TRIGGER update_session_message_count_on_insert AFTER INSERT ON messages BEGIN
  UPDATE sessions SET message_count = message_count + 1 WHERE id = new.session_id; END;
"""
START = 1790000000  # 2026-09-21T14:13:20Z


class Log(Database):
    """Sessions start a minute apart; the messages of a session stand in the same second, as they may."""

    def __init__(self, path, schema=SCHEMA):
        super().__init__(path, schema)
        self.count = self.sessions = 0

    def session(self, key, **values):
        self.sessions += 1
        at = START + 60 * self.sessions
        self.add("sessions", **{"id": key, "title": "t", "created_at": at, "updated_at": at} | values)

    def say(self, session, role, *parts, **values):
        self.count += 1
        told = {"id": f"m{self.count}", "created_at": START, "updated_at": START, "parts": json.dumps(parts)}
        self.add("messages", **told | {"session_id": session, "role": role, "model": "glm"} | values)
        return f"m{self.count}"


def part(kind, **data):
    return {"type": kind, "data": data}


def text(words, **more):
    return part("text", text=words, **more)


def finish(reason="end_turn", **more):
    return part("finish", reason=reason, time=START, **more)


def call(key, given, **more):
    return part("tool_call", id=key, name="bash", input=given, provider_executed=False, finished=True, **more)


def build(folder):
    log = Log(folder / "crush.db")
    log.add("files", id="f1", session_id="s1", path=".env", content=f"API_KEY={CANARY}", version="initial")
    whole(log)
    summed_up(log)
    broken(log)
    return log.close()


def whole(log):
    log.session("s1")
    log.session("title-s1", parent_session_id="s1")
    picture = part("binary", Path="/home/me/a.png", MIMEType="image/png", Data=CANARY)
    shell = part("shell_command", command="ls", output="\x1b[31ma.py\x1b[0m", exit_code=0)
    log.say("s1", "user", text("Why do the tests fail?"), picture, shell, finish("stop"))
    thought = part("reasoning", thinking="Run them.", signature=CANARY, started_at=START)
    calls = (call("c1", '{"command": "pytest"}'), call("c2", '{"comm'))
    asked = log.say("s1", "assistant", thought, text("Let me look."), *calls, finish("tool_use"), finished_at=START)
    shown = part("tool_result", tool_call_id="c1", name="bash", content="1 failed", data=CANARY, mime_type="image/png")
    failed = part("tool_result", tool_call_id="c2", name="bash", content="bad input", metadata=CANARY, is_error=True)
    log.say("s1", "tool", shown, failed, finish("stop"))
    log.session(f"{asked}$$c1", parent_session_id="s1")
    log.say(f"{asked}$$c1", "user", text("Find the callers"))
    log.say(f"{asked}$$c1", "assistant", text("One in cart.py."), finish(), model="glm-small")
    log.say("s1", "assistant", text("price() returns"), finish("max_tokens"))
    log.say("s1", "user", text("Go on"))
    log.say("s1", "assistant", text("nothing, so"), finish("canceled"))
    log.say("s1", "user", text("Again"))
    log.say("s1", "assistant", finish("error", message="Overloaded", details="try later"))
    log.say("title-s1", "assistant", text("A title"), finish())


def summed_up(log):
    log.session("s2")
    log.say("s2", "user", text("Fix it"), created_at=START + 300)
    log.say("s2", "assistant", text("Fixed."), finish(), created_at=START + 301)
    old = log.say("s2", "assistant", text("A summary of old"), finish(), created_at=START + 302)
    log.script(f"UPDATE sessions SET summary_message_id = '{old}' WHERE id = 's2'")
    log.say("s2", "assistant", text("A summary"), finish(), created_at=START + 303, is_summary_message=1)
    again = "The previous session was interrupted because it got too long, the initial user request was: `Fix it`"
    log.say("s2", "user", text(again), created_at=START + 304)
    log.say("s2", "user", text("continue", hidden=True), created_at=START + 304)
    log.say("s2", "assistant", text("Where was I?"), created_at=START + 305)


def broken(log):
    log.session("s3", created_at="yesterday")
    log.say("s3", "user", text("Hi"), part("hologram"), 3)
    log.say("s3", "assistant", parts='[{"type": "text", "da' + CANARY)
    log.say("s3", "wizard", text(CANARY))
    log.say("s3", "assistant", text("Hello"), finish(3), model=b"\xff", created_at="now")
    log.say("gone", "user", text(CANARY))
    log.session("empty")


def grow(path):
    """A session goes on, an answer that was being written is finished, a sub-agent and a session start."""
    db = sqlite3.connect(path)
    rows = (
        ("n1", "s1", "user", json.dumps([text("Once more")])),
        ("n2", "n1$$c9", "user", json.dumps([text("Look again")])),
        ("n3", "new", "user", json.dumps([text("Good morning")])),
    )
    for key, parent in (("n1$$c9", "s1"), ("new", None)):
        values = (key, parent, "t", START + 900, START + 900)
        db.execute("INSERT INTO sessions (id, parent_session_id, title, created_at, updated_at)"
                   " VALUES (?, ?, ?, ?, ?)", values)  # fmt: skip
    db.executemany("INSERT INTO messages (id, session_id, role, parts, created_at, updated_at)"
                   f" VALUES (?, ?, ?, ?, {START + 900}, {START + 900})", rows)  # fmt: skip
    done = json.dumps([text("Where was I? Done."), finish()])
    db.execute("UPDATE messages SET parts = ? WHERE session_id = 's2' AND created_at = ?", (done, START + 305))
    db.commit()
    db.close()
    return {"s1", "s2", "new"}
