"""Somebody's own bot: messages, sessions and votes in tables that no reader knows, mapped by `SETTINGS`."""

import json
import sqlite3
import tomllib

from examples import CANARY
from lunar_tune.settings import HarvestSettings, load_settings

SCHEMA = f"""
CREATE TABLE chat_log (id INTEGER PRIMARY KEY, session TEXT, who TEXT, body TEXT, ts REAL, calls TEXT, call_id TEXT,
  tool TEXT, args TEXT, llm TEXT, failed TEXT, ended TEXT, why TEXT, stars INTEGER, edited REAL,
  secret TEXT);
CREATE INDEX by_session ON chat_log (session);
CREATE TABLE sessions (id TEXT PRIMARY KEY, prompt TEXT, tools TEXT, began TEXT, parent TEXT, password TEXT);
CREATE TABLE votes (log_id INTEGER, vote TEXT, comment TEXT, voter TEXT);
CREATE TABLE accounts (name TEXT, token TEXT DEFAULT '{CANARY}');
INSERT INTO accounts (name) VALUES ('Ann');
"""
MAP = """
name = "table_map"
table = "chat_log"
thread = "session"
role = "who"
content = "body"
time = "ts"
updated = "edited"
order = "id"
id = "id"
tool_calls = "calls"
tool_call_id = "call_id"
tool_name = "tool"
tool_arguments = "args"
model = "llm"
error = "failed"
finish = "ended"
reasoning = "why"
rating = "stars"
roles = { H = "user", B = "assistant", T = "tool" }
ratings = { "0" = -1 }
threads = { table = "sessions", id = "id", system = "prompt", tools = "tools", started_at = "began", parent = "parent" }
feedback = { table = "votes", message = "log_id", rating = "vote", note = "comment" }
"""
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "Weather now", "parameters": WEATHER}}]


def table_map(given=None, **changes):
    """The map of some TOML values, else the one above, with some keys changed; a key that is None is left out."""
    values = (given or tomllib.loads(MAP)) | changes
    maps = [{key: value for key, value in values.items() if value is not None}]
    (found,) = load_settings([], {"harvest": {"table_map": maps}}).harvest.table_map
    return found


SETTINGS = HarvestSettings(table_map=(table_map(),))


class Log:
    def __init__(self, path, schema=SCHEMA):
        self.path = path
        self.db = sqlite3.connect(path)
        self.db.executescript(schema)

    def add(self, table, **values):
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        self.db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))
        self.db.commit()
        return self

    def say(self, session, who, body, **values):
        return self.add("chat_log", session=session, who=who, body=body, **values)

    def close(self):
        self.db.close()
        return self.path


def build(folder):
    log = Log(folder / "bot.db")
    _weather(log)
    _fork(log)
    _troubles(log)
    return log.close()


def _weather(log):
    """Calls in both ways that the map knows, two at once, one that fails; ratings in the row and beside it."""
    log.add("sessions", id="s1", prompt="You are Bot.", tools=json.dumps(TOOLS), began="2026-03-01T09:59:00Z")
    log.say("s1", "H", "Rome or Oslo?", ts=1772359200)  # 2026-03-01T10:00:00Z
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
    log.say("s1", "B", "<think>Ask.</think>Look.", ts=1772359201, calls=json.dumps([call]), llm="m-1", why="Which?")
    log.say("s1", "B", "", ts=1772359202, tool="weather", args='{"city": "Oslo"}', call_id="c2", llm="m-1")
    log.say("s1", "T", "sun", ts=1772359203, call_id="c1")
    log.say("s1", "T", "no such city", ts=1772359204, tool="weather", call_id="c2", failed="1")
    log.say("s1", "B", "Rome is sunny.", ts=1772359205, llm="m-2", stars=0, failed="0", ended="stop")
    log.add("votes", log_id=6, vote="👍", comment="thanks").add("votes", log_id=6, vote="meh")


def _fork(log):
    """A fork of a fork, in content blocks; the prompt is its first row."""
    log.add("sessions", id="s2", parent="s1", began="2026-03-01T11:00:00Z")
    log.add("sessions", id="s3", parent="s2", began="2026-03-01T12:00:00Z")
    log.say("s2", "H", "Instead: Bonn?", ts=1772362801).say("s2", "B", "Rain in Bon", ts=1772362802, ended="length")
    image = {"type": "image", "source": {"media_type": "image/png", "data": "iVBORw0KGgo="}}
    log.say("s3", "system", "Be brief.", ts=1772366400)
    log.say("s3", "H", json.dumps([{"type": "text", "text": "What is this?"}, image]), ts=1772366401)
    use = {"type": "tool_use", "id": "c3", "name": "see", "input": {"x": 1}}
    log.say("s3", "B", json.dumps([{"type": "thinking", "thinking": "Hm."}, use]), ts=1772366402)
    result = {"type": "tool_result", "tool_use_id": "c3", "content": "a cat"}
    log.say("s3", "H", json.dumps([result]), ts=1772366403).say("s3", "B", "A cat.", ts=1772366404)
    log.add("votes", log_id=13, vote="up")


def _troubles(log):
    """Rows and cells that cannot be read, an answer that failed, sessions of nobody and of nothing."""
    log.add("sessions", id="empty").add("sessions", id="s4", tools="{", began="yesterday")
    log.say("s4", "H", "Hi", ts=1772300000).say("s4", "Z", "?", ts=1772300001).say("s4", "H", b"\xff\xfe")
    log.say("s4", "B", "A", calls="[{").say("s4", "B", "Bye", stars="many", failed="overloaded")
    log.say("s4", "B", "42", tool="t", args="{", call_id=7)
    log.say(None, "H", "Whose is this?", ts=1)
    log.add("votes", log_id=99, vote="down")


def grow(path):
    log = Log(path, "")
    log.say("s1", "H", "Thanks", ts=1772359300).say("new", "H", "Good day", ts=1772400000)
    log.say("new", "B", "Good day!", ts=1772400001)
    log.db.execute("UPDATE chat_log SET body = 'Rain in Bonn.', edited = 1772362900 WHERE body = 'Rain in Bon'")
    log.db.execute("UPDATE votes SET vote = 'down' WHERE log_id = 13")
    log.db.execute("UPDATE sessions SET prompt = 'Be kind.' WHERE id = 's4'")
    log.db.commit()
    log.close()
    return {"s1", "new", "s2", "s3", "s4"}
