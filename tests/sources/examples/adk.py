"""An ADK session database as DatabaseSessionService and SqliteSessionService write it since schema 1."""

import json
import sqlite3
from pathlib import Path

from examples import CANARY

SCHEMA = f"""
CREATE TABLE app_states (app_name TEXT PRIMARY KEY, state TEXT NOT NULL, update_time REAL NOT NULL);
INSERT INTO app_states VALUES ('app', '{{"key": "{CANARY}"}}', 1);
CREATE TABLE user_states (app_name TEXT NOT NULL, user_id TEXT NOT NULL, state TEXT NOT NULL, update_time REAL NOT NULL,
  PRIMARY KEY (app_name, user_id));
INSERT INTO user_states VALUES ('app', 'u', '{{"token": "{CANARY}"}}', 1);
CREATE TABLE sessions (app_name TEXT NOT NULL, user_id TEXT NOT NULL, id TEXT NOT NULL, state TEXT NOT NULL,
  create_time REAL NOT NULL, update_time REAL NOT NULL, PRIMARY KEY (app_name, user_id, id));
"""
WHOLE = """
CREATE TABLE events (id TEXT NOT NULL, app_name TEXT NOT NULL, user_id TEXT NOT NULL, session_id TEXT NOT NULL,
  invocation_id TEXT NOT NULL, timestamp REAL NOT NULL, event_data TEXT,
  PRIMARY KEY (app_name, user_id, session_id, id));
"""
START = 1795198751


class Log:
    """A database under construction."""

    def __init__(self, path, schema):
        self.path, self.db = path, sqlite3.connect(path)
        self.db.executescript(schema)
        self.number = 0

    def session(self, key, second=0, user="u"):
        state = json.dumps({"token": CANARY})
        self.db.execute("INSERT INTO sessions VALUES ('app', ?, ?, ?, ?, 0)", (user, key, state, START + second))

    def event(self, session, author, *parts, invocation="i1", user="u", cell=None, **more):
        self.number += 1
        role = "user" if author == "user" else "model"
        body = {"author": author, "invocation_id": invocation, "timestamp": START + self.number, **more}
        if parts:
            body["content"] = {"role": role, "parts": list(parts)}
        row = (f"e{self.number}", user, session, invocation, START + self.number)
        self.db.execute(
            "INSERT INTO events VALUES (?, 'app', ?, ?, ?, ?, ?)",
            (*row, json.dumps(body) if cell is None else cell),
        )
        query = "UPDATE sessions SET update_time = ? WHERE app_name = 'app' AND user_id = ? AND id = ?"
        self.db.execute(query, (START + self.number, user, session))
        return f"e{self.number}"


def text(words, **more):
    return {"text": words, **more}


def call(key, name="get_weather", **args):
    return {"function_call": {"id": key, "name": name, "args": args}}


def response(key, value, name="get_weather"):
    return {"function_response": {"id": key, "name": name, "response": value}}


def build(folder: Path) -> Path:
    log = Log(folder / "session.db", SCHEMA + WHOLE)
    _tools(log)
    _rewound(log)
    _scaffolding(log)
    _odd(log)
    log.db.commit()
    log.db.close()
    return log.path


def _tools(log):
    """Thoughts, parallel calls with one failure, code that the provider ran, files, a stream, two agents."""
    log.session("tools")
    picture = {"inline_data": {"mime_type": "image/png", "display_name": "map.png", "data": CANARY}}
    log.event("tools", "user", text("Oslo or Rome?"), picture)
    calls = [call("c1", city="Oslo"), {**call("c2", city="Rome"), "thought_signature": CANARY}]
    log.event("tools", "root", text("Ask for both.", thought=True), *calls, model_version="gemini-3")
    log.event("tools", "root", response("c1", {"result": "rain"}), response("c2", {"error": "no such city"}))
    log.event("tools", "root", text("Oslo:"), partial=True)
    log.event("tools", "root", text("Oslo: rain."), call("c3", "transfer_to_agent", agent_name="maths"),
              model_version="gemini-3", finish_reason="STOP")  # fmt: skip
    log.event("tools", "root", response("c3", {"result": None}, "transfer_to_agent"),
              actions={"transfer_to_agent": "maths", "state_delta": {"key": CANARY}})  # fmt: skip
    code = {"executable_code": {"code": "print(6 * 7)", "language": "PYTHON"}}
    done = {"code_execution_result": {"outcome": "OUTCOME_OK", "output": "42"}}
    log.event(
        "tools", "maths", code, done, text("Chance of rain: 42 %."), model_version="gemini-3", branch="root.maths"
    )
    file = {"file_data": {"mime_type": "text/csv", "file_uri": f"gs://bucket/rain.csv?token={CANARY}"}}
    log.event("tools", "maths", text("The table:"), file, model_version="gemini-3", finish_reason="MAX_TOKENS")


def _rewound(log):
    """Taken back to the second question; then, after another, to the one that was taken back already."""
    log.session("rewound", 20)
    for number in (1, 2, 3):
        log.event("rewound", "user", text(f"Question {number}"), invocation=f"i{number}")
        log.event("rewound", "agent", text(f"Answer {number}"), invocation=f"i{number}")
    log.event("rewound", "user", invocation="i4", actions={"rewind_before_invocation_id": "i3"})
    log.event("rewound", "user", text("Question 3"), invocation="i5")
    log.event("rewound", "agent", text("Better answer 3"), invocation="i5")
    log.event("rewound", "user", invocation="i6", actions={"rewind_before_invocation_id": "i2"})
    log.event("rewound", "user", text("Question 4"), invocation="i7")
    log.event("rewound", "agent", text("Answer"), invocation="i7", interrupted=True)


def _scaffolding(log):
    """What ADK itself asks for, a summary of what was said before, and a failed model call."""
    log.session("scaffolding", 50)
    log.event("scaffolding", "user", text("Read my mail."))
    log.event("scaffolding", "agent", call("k1", "adk_request_credential", secret=CANARY))
    log.event("scaffolding", "user", response("k1", {"token": CANARY}, "adk_request_credential"))
    log.event("scaffolding", "agent", call("k2", "adk_request_confirmation", hint="Really?"))
    log.event("scaffolding", "user", response("k2", {"confirmed": True}, "adk_request_confirmation"))
    summary = {"start_timestamp": 1, "end_timestamp": 2, "compacted_content": {"parts": [text("Mail was read.")]}}
    log.event("scaffolding", "user", actions={"compaction": summary})
    log.event("scaffolding", "agent", error_code="RESOURCE_EXHAUSTED", error_message="quota", model_version="gemini-3")


def _odd(log):
    """The same id of two users, a session of which nothing is left, broken events, a session without a row."""
    log.session("same", 60, "u1")
    log.session("same", 61, "u2")
    log.event("same", "user", text("Who am I?"), user="u1")
    log.event("same", "user", text("And I?"), user="u2")
    log.session("silent", 62)
    log.event("rowless", "user", text("Hello"), {"hologram": {}}, "loose")
    log.event("rowless", "agent", cell='{"author": "agent", "content": {"par')


def grow(path: Path) -> set[str]:
    """A session goes on, another is taken back, a third begins."""
    log = Log(path, "")
    log.number = 100
    log.event("scaffolding", "user", text("Again."))
    log.event("tools", "user", invocation="i9", actions={"rewind_before_invocation_id": "i1"})
    log.session("new", 110)
    log.event("new", "user", text("Hello"))
    log.db.commit()
    log.db.close()
    return {"scaffolding", "tools", "new"}
