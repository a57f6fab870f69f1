"""Agno's SqliteDb half way from version 2 to 3: old runs in their sessions' lists, new ones in a table."""

import json
import sqlite3
from pathlib import Path

from examples import CANARY

SESSIONS = """
CREATE TABLE {0} (session_id VARCHAR NOT NULL, session_type VARCHAR NOT NULL, agent_id VARCHAR, session_data JSON,
  agent_data JSON, metadata JSON, {1} summary JSON, created_at BIGINT NOT NULL, updated_at BIGINT,
  PRIMARY KEY (session_id));
"""
RUNS = """
CREATE TABLE {0} (run_id VARCHAR NOT NULL, session_id VARCHAR NOT NULL, run_type VARCHAR NOT NULL, agent_id VARCHAR,
  parent_run_id VARCHAR, status VARCHAR, run_index BIGINT, run_data JSON NOT NULL, created_at BIGINT NOT NULL,
  updated_at BIGINT, PRIMARY KEY (run_id));
CREATE INDEX idx_{0}_session_id_run_index ON {0} (session_id, run_index);
"""
START = 1795198978


class Log:
    """A database under construction."""

    def __init__(self, path, schema):
        self.path, self.db = path, sqlite3.connect(path)
        self.db.executescript(schema)

    def session(self, key, runs=None, at=START, table="agno_sessions", kind="agent", **data):
        secret = json.dumps({"api_key": CANARY})
        names = "session_id, session_type, session_data, agent_data, metadata, summary, created_at, updated_at"
        row = [key, kind, json.dumps({"api_key": CANARY, **data}), secret, secret, secret, at, at]
        if runs is not None:
            names, row = f"{names}, runs", [*row, runs]
        self.db.execute(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(row))})", row)

    def run(self, session, key, index, body, *, at=START, status="COMPLETED", parent=None, table="agno_runs"):
        cell = body if isinstance(body, (str, bytes)) else json.dumps({"run_id": key, **body})
        self.db.execute(
            f"INSERT INTO {table} (run_id, session_id, run_type, parent_run_id, status, run_index, run_data,"
            " created_at, updated_at) VALUES (?, ?, 'agent', ?, ?, ?, ?, ?, ?)",
            (key, session, parent, status, index, cell, at, at),
        )

    def fork(self, source, key, at=START):
        """Copy a session as `fork_session` does: new ids in the rows, the origin's within the runs."""
        self.session(key, at=at, forked_from_session_id=source)
        query = "SELECT * FROM agno_runs WHERE session_id = ? ORDER BY run_index"
        for index, row in enumerate(self.db.execute(query, (source,)).fetchall()):
            run, _, _, _, parent, status, _, cell, began, _ = row
            body = {"forked_from_session_id": source, **json.loads(cell), "session_id": key, "run_id": f"{key}-{run}"}
            self.run(key, body["run_id"], index, body, at=began, status=status, parent=parent)


def message(role, content=None, **more):
    return {"role": role, "content": content, "from_history": False, "created_at": START, **more}


def turn(question, answer, *, at=START, **more):
    messages = [message("user", question, created_at=at), message("assistant", answer, created_at=at)]
    return {"model": "gpt", "messages": messages, **more}


def call(key, name, **arguments):
    return {"id": key, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}


def result(key, name, content, **more):
    return message("tool", content, tool_call_id=key, tool_name=name, **more)


def build(folder: Path) -> Path:
    log = Log(folder / "agent.db", SESSIONS.format("agno_sessions", "runs JSON,") + RUNS.format("agno_runs"))
    _trip(log)
    _waiting(log)
    _team_and_workflow(log)
    _moved(log)
    log.fork("trip", "other-trip", START + 55)
    log.run("other-trip", "k7", 6, turn("And by bus?", "At 10:15.", at=START + 56), at=START + 56)
    log.session("silent", at=START + 50)
    log.run("broken", "b1", 0, turn("Hello?", "Hi.", at=START + 60), at=START + 60)
    log.run("broken", "b2", 1, '{"messages": [{"role": "user", "con', at=START + 61)
    odd = [message("wizard", "Abra"), message("user", "Still there?", created_at=START + 62)]
    log.run("broken", "b3", 2, {"messages": odd}, at=START + 62)
    log.db.commit()
    log.db.close()
    return log.path


def _trip(log):
    """Parallel calls, one failed; history repeated; an answer given anew; a failed and a cancelled run."""
    log.session("trip")
    picture = {"url": f"https://example.org/map.png?token={CANARY}", "content": CANARY}
    first = [
        message("system", "You plan trips."),
        message("user", "Oslo or Rome?", images=[picture]),
        message(
            "assistant",
            reasoning_content="Ask for both.",
            tool_calls=[call("c1", "weather", city="Oslo"), call("c2", "weather", city="Rome")],
        ),
        result("c1", "weather", "rain", tool_call_error=False),
        result("c2", "weather", "no such service", tool_call_error=True),
        message("assistant", "Oslo: rain. Rome: unknown.", created_at=START + 2),
    ]
    tools = [{"tool_name": "weather", "result": CANARY}]
    log.run("trip", "r1", 0, {"model": "gpt-5", "messages": first, "tools": tools, "session_state": {"key": CANARY}})
    history = [first[0], *({**m, "from_history": True} for m in first[1:])]
    asked = message("user", "Which train?", created_at=START + 5)
    worse = [*history, asked, message("assistant", "Any.", created_at=START + 6)]
    log.run("trip", "r2", 1, {"model": "gpt-5", "messages": worse}, at=START + 5, status="REGENERATED")
    better = [*history, asked, message("assistant", "The 9:02 to Bergen.", created_at=START + 9)]
    forked = {"forked_from_run_id": "r2", "forked_from_message_index": 7, "regenerated_from": "r2"}
    log.run("trip", "r3", 2, {"model": "gpt-5", "messages": better, **forked}, at=START + 8)
    failed = {
        "model": "gpt-5",
        "messages": [message("user", "Book it.", created_at=START + 10)],
        "content": "quota exceeded",
    }
    log.run("trip", "r4", 3, failed, at=START + 10, status="ERROR")
    log.run("trip", "r5", 4, turn("Again?", "Bookin", at=START + 11), at=START + 11, status="CANCELLED")
    unstored = {"model": "gpt-6", "input": {"input_content": "Thanks."}, "content": "You are welcome."}
    log.run("trip", "r6", 5, unstored, at=START + 12)


def _waiting(log):
    """A call that waits for a person."""
    log.session("waiting", at=START + 20)
    asked = [
        message("user", "Delete it.", created_at=START + 20),
        message("assistant", tool_calls=[call("d1", "delete", path="/tmp/x")], created_at=START + 21),
    ]
    log.run("waiting", "w1", 0, {"model": "gpt-5", "messages": asked}, at=START + 20, status="PAUSED")


def _team_and_workflow(log):
    """A member's run with a row of its own, a step's run that stands in its workflow's alone."""
    log.session("team", at=START + 30, kind="team")
    poem = turn("Write a poem.", "Roses are red.", at=START + 30, member_responses=[{"run_id": "m1"}])
    log.run("team", "t1", 0, poem, at=START + 30)
    log.run("team", "m1", 1, turn("Find a rhyme for red.", "Bed.", at=START + 31), at=START + 31, parent="t1")
    log.session("flow", at=START + 35, kind="workflow")
    step = {"run_id": "x1", "created_at": START + 36, **turn("Summarise: long.", "Short.", at=START + 36)}
    body = {"workflow_id": "w", "input": "long", "content": "Short.", "step_executor_runs": [step]}
    log.run("flow", "f1", 0, body, at=START + 35)


def _moved(log):
    """A session whose first run is still in the list alone and whose second is in both."""
    kept = {"run_id": "o1", "created_at": START + 40, **turn("One.", "1", at=START + 40)}
    old = {"run_id": "o2", "created_at": START + 41, **turn("Two.", "not yet", at=START + 41, status="RUNNING")}
    log.session("moved", json.dumps(json.dumps([kept, old])), at=START + 40)
    log.run("moved", "o2", 0, turn("Two.", "2", at=START + 41), at=START + 41)
    log.run("moved", "o3", 1, turn("Three.", "3", at=START + 42), at=START + 42)


def grow(path: Path) -> set[str]:
    """A run that waited goes on in place, a session gets a run, a list is written anew, and a session begins."""
    log = Log(path, "")
    done = [
        message("user", "Delete it."),
        message("assistant", tool_calls=[call("d1", "delete", path="/tmp/x")]),
        result("d1", "delete", "gone"),
        message("assistant", "Done."),
    ]
    body = json.dumps({"run_id": "w1", "model": "gpt-5", "messages": done})
    log.db.execute("UPDATE agno_runs SET run_data = ?, status = 'COMPLETED' WHERE run_id = 'w1'", (body,))
    log.run("trip", "r7", 6, turn("Bye.", "Bye!"), at=START + 99)
    runs = json.dumps([{"run_id": "o1", "created_at": START + 40, **turn("One.", "one")}])
    log.db.execute("UPDATE agno_sessions SET runs = ?, updated_at = ? WHERE session_id = 'moved'", (runs, START + 98))
    log.session("new", at=START + 100)
    log.run("new", "n1", 0, turn("Hello", "Hi"), at=START + 100)
    log.db.commit()
    log.db.close()
    return {"waiting", "trip", "moved", "new"}
