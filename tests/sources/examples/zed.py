"""Zed's threads.db: calls with results, a cut call, mentions, subagents, the versions before, broken threads."""

import json
import sqlite3

from examples import CANARY

SCHEMA = """
CREATE TABLE threads (id TEXT PRIMARY KEY, summary TEXT NOT NULL, updated_at TEXT NOT NULL, data_type TEXT NOT NULL,
  data BLOB NOT NULL, parent_id TEXT, folder_paths TEXT, folder_paths_order TEXT, created_at TEXT);
"""


class Log:
    def __init__(self, path, schema=SCHEMA):
        self.path = path
        self.db = sqlite3.connect(path)
        self.db.executescript(schema)

    def thread(
        self, key, *messages, kind="json", data=None, parent=None, created="2026-03-01T10:00:00+00:00", **fields
    ):
        document = {"version": "0.3.0", "title": "CANARY", "messages": list(messages), **fields}
        raw = json.dumps(document).encode() if data is None else data
        values = (key, "CANARY", "2026-03-02T00:00:00+00:00", kind, raw, parent, created)
        self.db.execute("INSERT INTO threads (id, summary, updated_at, data_type, data, parent_id, created_at)"
                        " VALUES (?, ?, ?, ?, ?, ?, ?)", values)  # fmt: skip
        self.db.commit()
        return self


def user(*parts):
    return {"User": {"id": "u", "content": [{"Text": p} if isinstance(p, str) else p for p in parts]}}


def agent(*parts, results=None):
    content = [{"Text": p} if isinstance(p, str) else p for p in parts]
    return {"Agent": {"content": content, "tool_results": results or {}, "reasoning_details": None}}


def use(call, name="grep", complete=True, **arguments):
    raw = json.dumps(arguments)[: None if complete else -3]
    body = {
        "id": call,
        "name": name,
        "raw_input": raw,
        "input": arguments if complete else {},
        "is_input_complete": complete,
    }
    return {"ToolUse": body}


def result(call, content, error=False, **fields):
    return {call: {"tool_use_id": call, "tool_name": "grep", "is_error": error, "content": content, **fields}}


def build(folder):
    log = Log(folder / "threads.db")
    mention = {"Mention": {"uri": {"File": {"abs_path": "/home/x/.env"}}, "content": f"API_KEY={CANARY}"}}
    thought = {"Thinking": {"text": "Run them.", "signature": CANARY}}
    told = result("c2", [{"Text": "found"}, {"Image": {"source": CANARY}}])
    told |= result("c1", {"Text": "1 failed"}, True, tool_name="terminal")
    log.thread(
        "a",
        user("Why do they fail? See ", mention, {"Image": {"source": CANARY}}),
        agent(
            thought, {"RedactedThinking": CANARY}, "I will look.", use("c1", "terminal", command="pytest"),
            use("c2", q="price"), results=told,
        ),
        "Resume",
        agent("It returns nothing."),
        user("Fix it"),
        agent(use("c3", "edit_file", complete=False, path="shop.py")),
        model={"provider": "anthropic", "model": "claude-x"},
    )  # fmt: skip
    log.thread("b", user("Find the callers"), agent("One."), parent="a", created="2026-03-01T10:05:00+00:00")
    log.thread("c", user("In it?"), agent("Yes."), parent="b", created="2026-03-01T10:04:00+02:00")
    old = (
        {"id": 0, "role": "system", "segments": [{"type": "text", "text": "Be kind."}]},
        {"id": 1, "role": "user", "segments": [{"type": "text", "text": "Hi"}], "context": CANARY},
        {
            "id": 2,
            "role": "assistant",
            "segments": [{"type": "thinking", "text": "Greet."}, {"type": "text", "text": "Hello"}],
            "tool_uses": [{"id": "c1", "name": "now", "input": {"zone": "utc"}}],
            "tool_results": [{"tool_use_id": "c1", "is_error": False, "content": "12:00"}],
        },
        {"id": 3, "role": "narrator", "segments": []},
    )
    log.thread("d", *old, created=None, version="0.1.0")
    log.thread("e", data=b'{"messages": ["' + CANARY.encode()).thread("f", kind="lzma")
    log.thread("g", user("Hi"), 5, {"New": CANARY}, agent({"Hologram": CANARY}, "Bye."), model=CANARY, created="soon")
    log.db.close()
    return log.path


def grow(path):
    """A thread is rewritten whole, as Zed does, and a subagent and a thread start."""
    db = sqlite3.connect(path)
    data = json.dumps({"version": "0.3.0", "messages": [user("Hi"), agent("Bye."), user("And?"), agent("No.")]})
    db.execute("UPDATE threads SET data = ?, updated_at = '2026-03-03T00:00:00+00:00' WHERE id = 'g'", (data.encode(),))
    insert = "INSERT INTO threads (id, parent_id, summary, updated_at, data_type, data)"
    for key, parent in (("h", "a"), ("i", None)):
        values = (key, parent, "s", "2026-03-03T00:00:00+00:00", "json", data.encode())
        db.execute(f"{insert} VALUES (?, ?, ?, ?, ?, ?)", values)
    db.commit()
    db.close()
    return {"a", "g", "i"}
