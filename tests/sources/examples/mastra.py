"""Mastra's memory in LibSQL: parts of every kind, signals, clones, scores, and rows of older versions."""

import json
import sqlite3
from pathlib import Path

from examples import CANARY

SCHEMA = f"""
CREATE TABLE mastra_threads (id TEXT PRIMARY KEY, resourceId TEXT, title TEXT, metadata TEXT, createdAt TEXT,
  updatedAt TEXT);
CREATE TABLE mastra_messages (id TEXT PRIMARY KEY, thread_id TEXT, content TEXT, role TEXT, type TEXT, createdAt TEXT,
  resourceId TEXT);
CREATE INDEX idx_messages_thread_created_at ON mastra_messages (thread_id, createdAt);
CREATE TABLE mastra_scorers (id TEXT PRIMARY KEY, scorerId TEXT, traceId TEXT, runId TEXT, score REAL, reason TEXT,
  threadId TEXT, input TEXT, output TEXT, createdAt TEXT, updatedAt TEXT);
CREATE TABLE mastra_resources (id TEXT PRIMARY KEY, workingMemory TEXT);
INSERT INTO mastra_resources VALUES ('r', '{CANARY}');
CREATE TABLE mastra_ai_spans (traceId TEXT, spanId TEXT, attributes TEXT);
INSERT INTO mastra_ai_spans VALUES ('t', 's', '{CANARY}');
"""


class Log:
    """A database under construction."""

    def __init__(self, path, schema=SCHEMA):
        self.path, self.minute, self.count = path, 0, 0
        self.db = sqlite3.connect(path)
        self.db.executescript(schema)

    def thread(self, key, metadata=None):
        at = "2026-03-01T09:00:00Z"
        names = "id, resourceId, title, metadata, createdAt, updatedAt"
        values = (key, "r", CANARY, metadata, at, at)
        self.db.execute(f"INSERT INTO mastra_threads ({names}) VALUES (?,?,?,?,?,?)", values)
        self.db.commit()
        return self

    def say(self, role, content, thread="t1", **fields):
        self.minute, self.count = self.minute + 1, self.count + 1
        created = fields.get("created", f"2026-03-01T10:{self.minute:02d}:00.000Z")
        values = (fields.get("key", f"m{self.count}"), thread, content, role, fields.get("kind", "v2"), created)
        names = "id, thread_id, content, role, type, createdAt"
        self.db.execute(f"INSERT INTO mastra_messages ({names}) VALUES (?,?,?,?,?,?)", values)
        self.db.execute("UPDATE mastra_threads SET updatedAt = ? WHERE id = ?", (created, thread))
        self.db.commit()
        return self

    def parts(self, role, *parts, thread="t1", kind="v2", **fields):
        listed = [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
        return self.say(role, json.dumps({"format": 2, "parts": listed, **fields}), thread, kind=kind)

    def score(self, key, scorer, score, reason, thread):
        names = "id, scorerId, score, reason, threadId, input, updatedAt"
        values = (key, scorer, score, reason, thread, CANARY, "2026-03-01T11:00:00Z")
        self.db.execute(f"INSERT INTO mastra_scorers ({names}) VALUES (?,?,?,?,?,?,?)", values)
        self.db.commit()


def invoked(call, state="result", name="weather", **fields):
    body = {"state": state, "toolCallId": call, "toolName": name, "args": {"city": "Rome"}, **fields}
    return {"type": "tool-invocation", "toolInvocation": body}


def signal(kind):
    return {"signal": {"id": "x", "type": kind, "tagName": kind, "createdAt": "2026-03-01T10:00:00.000Z"}}


def build(folder: Path) -> Path:
    log = Log(folder / "mastra.db")
    _steps(log)
    log.thread("signals")
    log.parts("signal", "Sent while it runs.", thread="signals", kind="user", metadata=signal("user"))
    log.parts("signal", "Mail came.", thread="signals", kind="notification", metadata=signal("notification"))
    log.parts("user", "<system-reminder>Be brief.</system-reminder>", thread="signals")
    log.parts("assistant", "Noted.", thread="signals")
    _older(log)
    log.thread("first").thread("clone", json.dumps({"clone": {"sourceThreadId": "first", "lastMessageId": "m9"}}))
    # as the library writes it: {"clone": {"sourceThreadId": "clone"}} in SQLite's binary JSON
    log.thread("again", b"\xcc\x1e\x57clone\xcc\x16\xc7\x0esourceThreadId\x57clone")
    for thread in ("first", "clone", "again"):
        log.parts("user", "Hi", thread=thread).parts("assistant", f"I am {thread}.", thread=thread)
    log.thread("silent").thread("broken", "{")
    log.say("user", '{"format": 2, "parts": [{"type": "te', "broken").parts("wizard", "Abra", thread="broken")
    log.parts("user", "Still there?", {"type": "hologram"}, {"type": "data-om-status", "data": {}}, thread="broken")
    log.say("user", "Of nobody", None)
    log.score("1", "relevancy", 0.75, "to the point", "steps")
    log.score("2", "tone", "high", None, "steps")
    log.score("3", "tone", 0.5, None, None)
    log.db.close()
    return log.path


def _steps(log):
    """Two steps in one row: thoughts, parallel calls with a failure, one that was denied, one never answered, files."""
    log.thread("steps")
    file = {"type": "file", "mimeType": "image/png", "filename": "map.png", "data": CANARY}
    log.parts("user", "Oslo or Rome?", file, thread="steps")
    log.parts(
        "assistant",
        {"type": "step-start", "model": "openai/gpt-5"},
        {"type": "reasoning", "reasoning": "", "details": [{"type": "text", "text": "Ask for both."}]},
        "Let me look.",
        invoked("c1", result={"sky": "blue"}),
        invoked("c2", result="down", isError=True),
        {"type": "step-start"},
        invoked("c3", state="output-error", errorText="no such city"),
        {"type": "tool-mail", "toolCallId": "c4", "state": "output-denied", "input": {"to": "me"}},
        {"type": "dynamic-tool", "toolName": "map", "toolCallId": "c5", "state": "input-available", "input": {}},
        {"type": "source", "source": {"url": "https://example.org"}},
        "Rome: blue sky.",
        thread="steps",
    )
    log.parts("user", "Sure?", thread="steps")
    log.parts("assistant", {"type": "error", "error": {"message": "overloaded"}}, thread="steps")


def _older(log):
    """Plain text, and lists of the AI SDK's core parts."""
    log.thread("older").say("system", "Be kind.", "older").say("user", "Weather?", "older")
    call = {"type": "tool-call", "toolCallId": "o1", "toolName": "weather", "args": {"city": "Rome"}}
    result = {"type": "tool-result", "toolCallId": "o1", "toolName": "weather", "result": {"sky": "blue"}}
    log.say("assistant", json.dumps([{"type": "text", "text": "Look."}, call]), "older")
    log.say("tool", json.dumps([result]), "older").say("assistant", "Blue.", "older")


def grow(path: Path) -> set[str]:
    """A thread goes on, a message is edited in place, a score comes, one is cloned anew, one begins."""
    log = Log(path, "")
    log.minute, log.count = 50, 100
    log.parts("user", "Thanks", thread="older")
    edited = json.dumps({"format": 2, "parts": [{"type": "text", "text": "Well noted."}]})
    log.db.execute("UPDATE mastra_messages SET content = ? WHERE content LIKE '%Noted.%'", (edited,))
    log.db.execute("UPDATE mastra_threads SET updatedAt = '2026-03-02T10:00:00Z' WHERE id = 'signals'")
    log.score("4", "tone", 0.25, None, "steps")
    log.thread("new").parts("user", "Hello", thread="new")
    log.db.commit()
    log.db.close()
    return {"older", "signals", "steps", "new"}
