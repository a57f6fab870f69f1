"""LangGraph's checkpoints, in its older JSON form, which needs no library: forks, losses, failures, sub-graphs.

What the checkpoints of one step hold is the whole state again, as the library writes it.
"""

import json
import sqlite3

from examples import CANARY

SCHEMA = """
CREATE TABLE checkpoints (thread_id TEXT NOT NULL, checkpoint_ns TEXT NOT NULL DEFAULT '', checkpoint_id TEXT NOT NULL,
  parent_checkpoint_id TEXT, type TEXT, checkpoint BLOB, metadata BLOB,
  PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id));
CREATE TABLE writes (thread_id TEXT NOT NULL, checkpoint_ns TEXT NOT NULL DEFAULT '', checkpoint_id TEXT NOT NULL,
  task_id TEXT NOT NULL, {} idx INTEGER NOT NULL, channel TEXT NOT NULL,
  type TEXT, value BLOB, PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, task_id, idx));
CREATE TABLE store (key TEXT, value TEXT);
"""


def at(second):
    """Return a checkpoint's id, a UUID of version 6, of a second after 2026-11-20 18:00:00."""
    ticks = (1795197600 + second) * 10**7 + 0x01B21DD213814000
    digits = f"{ticks:015x}"
    return f"{digits[:8]}-{digits[8:12]}-6{digits[12:]}-8000-000000000000"


class Log:
    """A database of checkpoints under construction."""

    def __init__(self, path, task_path="task_path TEXT NOT NULL DEFAULT '',"):
        self.path, self.db = path, sqlite3.connect(path)
        if not self.db.execute("SELECT 1 FROM sqlite_master").fetchone():
            self.db.executescript(SCHEMA.format(task_path))
            self.db.execute("INSERT INTO store VALUES ('token', ?)", (CANARY,))

    def checkpoint(self, thread, second, parent, values, *, kind="json", ns="", versions=None):
        """Add a checkpoint: the values of its channels, or the cell itself."""
        state = {"v": 4, "channel_values": values, "channel_versions": versions or {}}
        cell = values if isinstance(values, (bytes, str)) else json.dumps(state).encode()
        metadata = json.dumps({"source": "loop", "configurable": {"api_key": CANARY}}).encode()
        row = (thread, ns, at(second), at(parent) if parent is not None else None, kind, cell, metadata)
        self.db.execute("INSERT INTO checkpoints VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def write(self, thread, second, value, *, channel="messages", kind="json", task="t", index=0, path=""):
        cell = value if isinstance(value, bytes) else json.dumps(value).encode()
        names = "thread_id, checkpoint_id, task_id, idx, channel, type, value"
        row = [thread, at(second), task, index, channel, kind, cell]
        if path:
            names, row = f"{names}, task_path", [*row, path]
        self.db.execute(f"INSERT INTO writes ({names}) VALUES ({', '.join('?' * len(row))})", row)

    def talk(self, thread, *turns, first=0):
        """Store a conversation as the library does: one checkpoint a step, each with the whole list."""
        state = []
        self.checkpoint(thread, first, None, {"__start__": {"messages": turns[0]}})
        for n, new in enumerate(turns, first):
            self.write(thread, n, new)
            state = [*state, *new]
            self.checkpoint(thread, n + 1, n, {"messages": state})
        return state

    def close(self):
        self.db.commit()
        self.db.close()
        return self.path


def human(key, text, **more):
    return {"type": "human", "id": key, "content": text, "additional_kwargs": {}, "response_metadata": {}, **more}


def ai(key, text, **more):
    return {"type": "ai", "id": key, "content": text, "tool_calls": [], "invalid_tool_calls": [], **more}


def tool(key, call, name, text, **more):
    return {"type": "tool", "id": key, "content": text, "tool_call_id": call, "name": name, **more}


def remove(key):
    return {"type": "remove", "id": key, "content": ""}


def build(folder):
    log = Log(folder / "checkpoints.sqlite")
    agent(log)
    forks(log)
    losses(log)
    deltas(log)
    trouble(log)
    return log.close()


def agent(log):
    """Parallel calls, thought, a picture, a failed tool, an answer cut off; a sub-graph beside it."""
    calls = [
        {"name": "get_weather", "args": {"city": "Paris"}, "id": "c1", "type": "tool_call"},
        {"name": "get_weather", "args": {"city": "Rome"}, "id": "c2", "type": "tool_call"},
    ]
    bad = {"name": "get_weather", "args": '{"city":', "id": "c3", "type": "invalid_tool_call", "error": "cut"}
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    thought = [{"type": "thinking", "thinking": "Two cities."}, {"type": "text", "text": "I look."}]
    log.talk(
        "agent",
        [{"type": "system", "id": "s", "content": "Be brief."}, human("h1", "Weather in Paris and Rome?")],
        [ai("a1", thought, tool_calls=calls, response_metadata={"model_name": "gpt-x", "finish_reason": "tool_calls"})],
        [
            tool("t1", "c1", "get_weather", "sunny", status="success"),
            tool("t2", "c2", "get_weather", "timeout", status="error"),
        ],
        [
            ai(
                "a2",
                "Sunny in Paris; Rome I could not",
                response_metadata={"model_name": "gpt-x", "finish_reason": "length"},
            )
        ],
        [human("h2", [{"type": "text", "text": "And here?"}, picture])],
        [ai("a3", "", invalid_tool_calls=[bad])],
    )
    log.checkpoint("agent", 3, None, {"messages": [human("x", "Only the sub-graph heard this.")]}, ns="tools:1")


def forks(log):
    """A regenerated answer, an edited question, and a fork that nobody went on from."""
    log.checkpoint("forks", 101, None, {"messages": [human("h1", "A tale?")]})
    log.checkpoint("forks", 102, 101, {"messages": [human("h1", "A tale?"), ai("a1", "A king lived.")]})
    log.checkpoint("forks", 103, 101, {"messages": [human("h1", "A tale?"), ai("a2", "A queen lived.")]})
    log.checkpoint("forks", 104, 101, {"messages": [human("h1", "A short tale?")]})
    log.checkpoint("forks", 105, 104, {"messages": [human("h1", "A short tale?"), ai("a3", "The end.")]})
    log.checkpoint("forks", 106, 101, {"messages": [human("h1", "A tale?")]})


def losses(log):
    """A summary in the place of what was said, messages dropped to save room, and turns taken back."""
    turns = [[human("h1", "q1")], [ai("a1", "r1")], [human("h2", "q2")], [ai("a2", "r2")]]
    log.talk("summed", *turns, first=200)
    summary = human("s", "Here is a summary of the conversation to date:\n\nThey asked twice.")
    kept = [summary, *turns[2], *turns[3]]
    log.write("summed", 204, [remove("__remove_all__"), *kept])
    log.checkpoint("summed", 205, 204, {"messages": kept})
    log.checkpoint("summed", 206, 205, {"messages": [*kept, human("h3", "q3")]})
    log.talk("trimmed", *turns, first=300)
    log.write("trimmed", 304, [remove("h1"), remove("a1")])
    log.checkpoint("trimmed", 305, 304, {"messages": [*turns[2], *turns[3]]})
    log.talk("undone", *turns, first=400)
    log.write("undone", 404, [remove("h2"), remove("a2")])
    log.checkpoint("undone", 405, 404, {"messages": [*turns[0], *turns[1]]})
    log.checkpoint("undone", 406, 405, {"messages": [*turns[0], *turns[1], human("h3", "q3")]})


def deltas(log):
    """A channel of changes only, rebuilt from its writes since a snapshot."""
    versions = {"messages": "1"}
    log.checkpoint("deltas", 500, None, {}, versions=versions)
    log.write("deltas", 500, [human("h1", "q1")])
    log.checkpoint("deltas", 501, 500, {"messages": [human("h1", "q1")]}, versions=versions)
    log.write("deltas", 501, [ai("a1", "r1")], task="z", path="a")
    log.write("deltas", 501, [human("h2", "q2")], task="a", path="b")
    log.checkpoint("deltas", 502, 501, {}, versions=versions)


def trouble(log):
    """A failed step, a broken and a pickled cell, another list in the state, what has no conversation."""
    log.checkpoint("failed", 600, None, {"messages": [human("h1", "q1")]})
    log.write("failed", 600, "RuntimeError('down')", channel="__error__", task="x")
    log.checkpoint("broken", 610, None, {"messages": [human("h1", "q1"), {"type": "wormhole", "content": "?"}]})
    log.write("broken", 610, [ai("a1", "r1")])
    log.write("broken", 610, CANARY.encode(), task="u", kind="pickle")
    log.checkpoint("broken", 611, 610, b"{broken")
    chat = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "r"}]
    log.checkpoint("renamed", 620, None, {"docs": ["x"], "chat": chat, "notes": [human("n", "aside")]})
    log.checkpoint("void", 630, None, {})
    log.write("pruned", 640, [human("h1", "q1")])


def grow(path):
    log = Log(path)
    log.write("failed", 600, [ai("a1", "r1")])  # a retry under way: no new checkpoint
    log.checkpoint("forks", 901, 104, {"messages": [human("h1", "A short tale?"), ai("a4", "Once.")]})
    log.checkpoint("new", 902, None, {"messages": [human("h1", "Hello")]})
    log.close()
    return {"failed", "forks", "new"}
