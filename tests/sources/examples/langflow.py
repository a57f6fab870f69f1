"""Langflow's langflow.db: steps in groups and one after the other, thumbs and edits in the properties."""

import json
import sqlite3
from pathlib import Path

from examples import CANARY

SCHEMA = """
CREATE TABLE variable (id CHAR(32), name TEXT, value TEXT);
CREATE TABLE apikey (id CHAR(32), api_key TEXT);
CREATE TABLE user (id CHAR(32), username TEXT, password TEXT);
CREATE TABLE flow (id CHAR(32), data JSON);
CREATE TABLE message (id CHAR(32) PRIMARY KEY, timestamp DATETIME, sender VARCHAR, sender_name VARCHAR,
  session_id VARCHAR, context_id VARCHAR, text TEXT, files JSON, error BOOLEAN, edit BOOLEAN, properties JSON,
  category TEXT, content_blocks JSON, session_metadata JSON, flow_id CHAR(32), run_id TEXT, user_id TEXT,
  is_output BOOLEAN);
CREATE INDEX ix_message_flow_id_session_id_timestamp ON message (flow_id, session_id, timestamp);
"""


class Log:
    """A database under construction."""

    def __init__(self, path, schema=SCHEMA):
        self.path, self.count = path, 0
        self.db = sqlite3.connect(path)
        self.db.executescript(schema)
        for table in ("variable", "user") if schema else ():
            self.db.execute(f"INSERT INTO {table} VALUES ('x', 'y', ?)", (CANARY,))
        for table in ("apikey", "flow") if schema else ():
            self.db.execute(f"INSERT INTO {table} VALUES ('x', ?)", (CANARY,))

    def say(self, sender, text, **values):
        self.count += 1
        common = {
            "id": f"m{self.count}", "timestamp": f"2026-10-01 08:00:{self.count:02}.000000", "sender_name": sender,
            "session_id": "s", "flow_id": "f", "error": 0, "edit": 0, "category": "message", "files": [],
            "properties": {}, "content_blocks": [], "session_metadata": {"token": CANARY},
        }  # fmt: skip
        values = {**common, "sender": sender, "text": text, **values}
        body = {k: json.dumps(v) if isinstance(v, (dict, list)) else v for k, v in values.items()}
        names, marks = ", ".join(body), ", ".join("?" * len(body))
        self.db.execute(f"INSERT INTO message ({names}) VALUES ({marks})", tuple(body.values()))


def tool(name, key=None, **fields):
    return {"type": "tool_use", "id": key, "name": name, "tool_input": {}, "output": None, "error": None, **fields}


def text(words):
    return {"type": "text", "text": words}


def build(folder: Path) -> Path:
    log = Log(folder / "langflow.db")
    _grouped(log)
    _flat(log)
    log.say("User", "Quota?", session_id="failed")
    log.say("Machine", "Quota exceeded", session_id="failed", error=1, category="error")
    log.say("User", "Again", session_id="failed")
    reason = [{"title": "Error", "contents": [{"type": "error", "reason": "No key", "traceback": "..."}]}]
    log.say("Machine", "", session_id="failed", category="error", content_blocks=reason)
    log.say("User", "And now?", session_id="failed")
    log.say("Machine", "<think>Hm.</think>Half of", session_id="failed", properties={"state": "partial"})
    log.say("User", "A context of its own", context_id="tenant-1")
    log.say("User", "The playground", session_id="f")
    log.say("User", "Hello?", session_id="broken", files='["a')
    log.say("Wizard", "Abra", session_id="broken")
    log.say("Machine", "Kept", session_id="broken", properties="{", content_blocks=["{", {"type": "hologram"}])
    log.say("User", "Of nobody", session_id="", flow_id=None)
    log.db.commit()
    log.db.close()
    return log.path


def _grouped(log):
    """Steps in a group, as until 1.10; a thumb, an edit, an answer encoded twice."""
    log.say("User", "Oslo or Rome?", files=["f/2026_trip.png", {"path": "C:\\x\\plan.pdf"}])
    steps = [
        {**text("Oslo or Rome?"), "header": {"title": "Input"}},
        tool("weather", tool_input={"city": "Oslo"}, output="rain"),
        tool("search", input={"q": "Rome sun"}, tool_input=None, error={"message": "down"}),
        {**text("Oslo: rain."), "header": {"title": "Output"}},
    ]
    shown = {"source": {"id": "Agent-1", "source": "gpt-5"}, "positive_feedback": False, "state": "complete"}
    log.say("Machine", "Oslo: rain.", properties=shown, content_blocks=[{"title": "Agent Steps", "contents": steps}])
    log.say("User", "Better?", edit=1)
    twice = json.dumps(json.dumps({"source": "gpt-5", "positive_feedback": True, "edited": True}))
    log.say("Machine", "Rain in Oslo.", properties=twice)


def _flat(log):
    """Steps one after the other, as since 1.11, each the JSON text of itself."""
    log.say("User", "Draw the weather.", session_id="flat")
    steps = [
        {"type": "reasoning", "text": "First the weather."},
        text("Let me look."),
        tool("weather", "c1", tool_input={"city": "Oslo"}, output={"sky": "rain"}),
        tool("draw", "c2", tool_input={"what": "rain"}, contents=[
            text("A picture."),
            {"type": "image", "urls": ["https://example.org/rain.png?x=1"], "mime_type": "image/png"},
        ]),
        {"type": "reasoning", "text": "Done."},
        text("Here it is."),
        {"type": "file", "urls": ["/files/rain.csv"], "filename": "rain.csv", "mime_type": "text/csv"},
        {"type": "usage", "input_tokens": 3, "model": "gpt-5"},
        {"type": "citation", "url": "https://example.org"},
        {"type": "human_input", "request_id": "r", "prompt": "Keep it?"},
    ]  # fmt: skip
    blocks = [json.dumps(step) for step in steps]
    log.say("Machine", "Let me look.Here it is.", session_id="flat", properties={"source": {"source": "gpt-5"}},
            content_blocks=blocks)  # fmt: skip
    log.say("User", "Once more.", session_id="flat")
    log.say("Machine", "", session_id="flat", content_blocks=[tool("draw", "c3", tool_input={"what": "sun"})],
            properties={"state": "partial"})  # fmt: skip


def grow(path: Path) -> set[str]:
    """A session goes on, a thumb is given, a cut answer is completed in place, a session begins."""
    log = Log(path, "")
    log.count = 50
    log.say("User", "Hello", session_id="new")
    log.say("Machine", "Hi", context_id="tenant-1")
    shown = json.dumps({"source": "gpt-5", "positive_feedback": False, "edited": True})
    log.db.execute("UPDATE message SET properties = ? WHERE id = 'm4'", (shown,))
    done = json.dumps({"state": "complete"})
    log.db.execute("UPDATE message SET properties = ?, text = 'Drawn.' WHERE id = 'm8'", (done,))
    log.db.commit()
    log.db.close()
    return {"f/new", "f/s/tenant-1", "f/s", "f/flat"}
