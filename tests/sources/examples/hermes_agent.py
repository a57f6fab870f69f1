"""hermes-agent: compactions in place and by a child, a rewind, a branch, a delegate, reactions, scaffolding,
failed turns, prompts in a row and by hash, broken cells."""

import json
import sqlite3

from log_database import Database

from examples import CANARY

SCHEMA = """
CREATE TABLE system_prompts (hash TEXT PRIMARY KEY, prompt TEXT NOT NULL);
CREATE TABLE sessions (id TEXT PRIMARY KEY, source TEXT NOT NULL, user_id TEXT, model TEXT, model_config TEXT,
  system_prompt TEXT, system_prompt_hash TEXT, parent_session_id TEXT, started_at REAL NOT NULL, ended_at REAL,
  end_reason TEXT, title TEXT, rewind_count INTEGER NOT NULL DEFAULT 0, tool_names TEXT);
CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, role TEXT NOT NULL, content TEXT,
  tool_call_id TEXT, tool_calls TEXT, tool_name TEXT, timestamp REAL NOT NULL, finish_reason TEXT, reasoning TEXT,
  reasoning_content TEXT, reasoning_details TEXT, observed INTEGER DEFAULT 0,
  _compressed_summary INTEGER NOT NULL DEFAULT 0, active INTEGER NOT NULL DEFAULT 1,
  compacted INTEGER NOT NULL DEFAULT 0, api_content TEXT, display_kind TEXT, display_metadata TEXT);
CREATE INDEX idx_messages_session ON messages(session_id, timestamp);
CREATE INDEX idx_messages_session_active ON messages(session_id, active, timestamp);
CREATE TABLE state_meta (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE gateway_routing (session_key TEXT, entry_json TEXT);
"""
OLD_SCHEMA = """
CREATE TABLE sessions (id TEXT PRIMARY KEY, source TEXT NOT NULL, model TEXT, system_prompt TEXT,
  parent_session_id TEXT, started_at REAL NOT NULL, ended_at REAL, end_reason TEXT);
CREATE TABLE messages (id INTEGER PRIMARY KEY, session_id TEXT NOT NULL, role TEXT NOT NULL, content TEXT,
  tool_call_id TEXT, tool_calls TEXT, tool_name TEXT, timestamp REAL NOT NULL, finish_reason TEXT);
"""
SUMMARY = "[CONTEXT COMPACTION — REFERENCE ONLY] Earlier turns were compacted:\nWeather.\n\n"
END = "--- END OF CONTEXT SUMMARY — respond to the message below, not the summary above ---"
START = 1790000000.0  # 2026-09-21T14:13:20Z


def call(key, name="weather", arguments='{"city": "Paris"}'):
    return [{"id": key, "type": "function", "function": {"name": name, "arguments": arguments}}]


class Log(Database):
    """Sessions start a minute apart; messages follow each other by a second."""

    def __init__(self, path, schema=SCHEMA):
        super().__init__(path, schema)
        self.count = self.sessions = 0
        if schema == SCHEMA:
            self.add("gateway_routing", session_key=CANARY, entry_json=CANARY)
            self.add("state_meta", key="token", value=CANARY)

    def session(self, key, **values):
        self.sessions += 1
        told = {"id": key, "source": "cli", "model": "h4", "started_at": START + 60 * self.sessions}
        self.add("sessions", **told | values)

    def say(self, session, role, content, **values):
        self.count += 1
        if "tool_calls" in values and not isinstance(values["tool_calls"], str):
            values["tool_calls"] = json.dumps(values["tool_calls"])
        told = {"session_id": session, "role": role, "content": content, "timestamp": START + self.count}
        return self.add("messages", **told | values)

    def compact(self, session):
        self.script(f"UPDATE messages SET active = 0, compacted = 1 WHERE session_id = '{session}' AND active = 1")


def build(folder):
    log = Log(folder / "state.db")
    log.add("system_prompts", hash="h", prompt="You are Hermes.")
    _talk(log)
    _rewound(log)
    _compacted(log)
    _continued(log)
    _app(log)
    _broken(log)
    return log.close()


def _talk(log):
    log.session("talk", system_prompt_hash="h", model_config=json.dumps({"api_key": CANARY}))
    log.say("talk", "session_meta", None)
    asked = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "data:xyz"}}]
    log.say("talk", "user", "\x00json:" + json.dumps(asked))
    calls = [*call("c1"), *call("c2", "look", '{"at":')]
    log.say("talk", "assistant", "", tool_calls=calls, finish_reason="tool_calls", reasoning="Two things.")
    log.say("talk", "tool", '{"sky": "rain"}', tool_call_id="c1", tool_name="weather")
    log.say("talk", "tool", '{"error": "no eyes"}', tool_call_id="c2", tool_name="look")
    liked = json.dumps({"reactions": [{"emoji": "👍", "author": "user"}, {"emoji": "🔥", "author": "agent"}]})
    log.say("talk", "assistant", "A cat in the rain.", finish_reason="stop", display_metadata=liked)
    log.say("talk", "user", "Tell me more", observed=0)
    thought = '[{"type": "reasoning.text", "text": "More."}]'
    log.say("talk", "assistant", "It is a very", finish_reason="length", reasoning_details=thought)


def _rewound(log):
    log.session("back", system_prompt="Be kind.")
    log.say("back", "user", "Name a colour")
    log.say("back", "assistant", "Red.", finish_reason="stop")
    log.say("back", "user", "Another", active=0)
    log.say("back", "assistant", "Red again.", active=0, finish_reason="stop")
    log.say("back", "user", "A different one")
    log.say("back", "assistant", "Blue.", finish_reason="stop")
    log.say("back", "user", "One mo", active=0)


def _compacted(log):
    """The first messages again, a summary, the last ones again, and on."""
    log.session("long", system_prompt_hash="h")
    for role, words, values in (
        ("user", "Weather?", {}),
        ("assistant", "", {"tool_calls": call("c1")}),
        ("tool", "sunny", {"tool_call_id": "c1", "tool_name": "weather"}),
        ("assistant", "Sunny.", {}),
        ("user", "Really?", {}),
        ("assistant", "Yes.", {}),
    ):
        log.say("long", role, words, active=0, compacted=1, **values)
    log.say("long", "user", "Weather?")
    log.say("long", "assistant", SUMMARY + END, _compressed_summary=1)
    log.say("long", "user", "Really?")
    log.say("long", "assistant", "Yes.", display_metadata='{"reactions": [{"emoji": "👎🏽", "author": "user"}]}')
    log.say("long", "user", "Thanks\n\n[Your active task list was preserved across context compression]\n- [ ] x")
    log.say("long", "assistant", "Welcome.")


def _continued(log):
    log.session("first", system_prompt="Be brief.", end_reason="compression", ended_at=START + 300)
    log.say("first", "user", "Plan my day")
    log.say("first", "assistant", "Tea, then work.")
    for key, values in (("stale", {"ended_at": START + 400}), ("live", {})):
        log.session(key, parent_session_id="first", model="h5", **values)
        log.say(key, "user", "[CONTEXT SUMMARY]: A day was planned.")
        log.say(key, "assistant", "Tea, then work.")
        log.say(key, "user", f"And then, {key}?")
        log.say(key, "assistant", "Supper.")
    log.session("branch", parent_session_id="live", model_config='{"_branched_from": "live"}')
    log.say("branch", "user", "Plan my day")
    log.say("branch", "assistant", "Coffee, then work.")
    log.session("delegate", parent_session_id="live", model_config='{"_delegate_from": "live"}')
    log.say("delegate", "user", "Find a supper")
    log.say("delegate", "assistant", "Soup.")


def _app(log):
    log.session("app")
    log.say("app", "user", "Hi")
    log.say("app", "assistant", "<memory-context>they like soup</memory-context>Hello")
    log.say("app", "user", "Review the conversation above and update the skill library. Be brief.")
    log.say("app", "assistant", "Skill saved.")
    log.say("app", "user", "Switched model to h5", display_kind="model_switch")
    log.say("app", "user", "Soup?")
    log.say("app", "assistant", "Your request was not processed.", display_kind="failed_turn")
    log.say("app", "user", "Soup!")
    log.say("app", "assistant", "Operation interrupted.")


def _broken(log):
    log.session("broken", model_config="{")
    log.say("broken", "user", b"\xff\xfe")
    log.say("broken", "assistant", "x", tool_calls="[{", reasoning_details="{", display_metadata="[")
    log.say("broken", "user", "\x00json:[{")
    log.say("broken", "wizard", "Abracadabra")
    log.say("broken", "tool", "left over", tool_call_id="nobody")
    log.say("gone", "user", "Who reads this?")
    log.session("empty")


def grow(path):
    db = sqlite3.connect(path)
    add = "INSERT INTO messages (session_id, role, content, timestamp) VALUES (?, ?, ?, ?)"
    db.execute(add, ("talk", "user", "Still there?", START + 900))
    db.execute(add, ("live", "user", "And after supper?", START + 901))
    db.execute("UPDATE messages SET active = 0 WHERE session_id = 'long' AND content IN ('Welcome.')")
    liked = '{"reactions": [{"emoji": "👍", "author": "user"}]}'
    db.execute("UPDATE messages SET display_metadata = ? WHERE content = 'Soup.'", (liked,))
    db.execute("INSERT INTO sessions (id, source, started_at) VALUES ('new', 'cli', ?)", (START + 950,))
    db.execute(add, ("new", "user", "Good morning", START + 951))
    db.commit()
    db.close()
    return {"talk", "first", "long", "delegate", "new"}
