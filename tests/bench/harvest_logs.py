"""Large synthetic logs in three formats, for bench_harvest: conversations of five messages, about 2 kB each.

A fifth of the conversations call a tool; the texts are words of a fixed list, the same for a seed.
"""

import json
import random
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path

START = 1_760_000_000  # 2025-10-09
TEXT = """the river house small green window morning letter table answer question garden city train ticket price order
number weather bread coffee music paper winter summer street bridge market doctor school friend family holiday invoice
meeting project report server folder please could would should because before after between without"""
WORDS = TEXT.split()
SYSTEM = "You are a helpful assistant of a small shop. Answer briefly and kindly. " * 4
TOOL = {
    "type": "function",
    "function": {
        "name": "find_order",
        "description": "Looks up an order",
        "parameters": {"type": "object", "properties": {"number": {"type": "string"}}, "required": ["number"]},
    },
}


def text(chance: random.Random, size: int) -> str:
    words, length = [], 0
    while length < size:
        chosen = chance.choices(WORDS, k=12)
        words.append(" ".join(chosen) + (".\n" if chance.random() < 0.2 else ","))
        length += len(words[-1]) + 1
    return " ".join(words)


def conversations(first: int, count: int) -> Iterator[tuple[str, int, list[tuple[str, str, str | None]]]]:
    """Yield (id, start, [(role, content, order number of a call)])."""
    chance = random.Random(first)
    texts = [
        text(chance, size) for size in (150, 400, 1800, 3000, 3600) for _ in range(40)
    ]  # made once: building is slow
    for number in range(first, first + count):
        pick = chance.choice
        ask, long, longer = texts[:40], texts[80:120], texts[120:]
        key = str(uuid.UUID(int=chance.getrandbits(128)))
        if number % 5 == 0:
            order = f"A-{number}"
            said = [
                ("user", f"{pick(ask)} {order}", None),
                ("assistant", "", order),
                ("tool", json.dumps({"order": order, "note": pick(longer)}), None),
                ("assistant", pick(longer), None),
                ("user", pick(ask), None),
            ]
        else:
            said = [
                ("user" if i % 2 == 0 else "assistant", pick(ask if i % 2 == 0 else longer), None) for i in range(4)
            ]
            said.append(("user", pick(long), None))
        yield key, START + 60 * number, said


def lunar(db: sqlite3.Connection, first: int, count: int) -> None:
    if first == 0:
        db.executescript(
            "CREATE TABLE conversations (id TEXT PRIMARY KEY, started_at TEXT, model TEXT, system TEXT, tools TEXT,"
            " meta TEXT);"
            "CREATE TABLE messages (id INTEGER PRIMARY KEY, conversation_id TEXT, position INTEGER, role TEXT,"
            " content TEXT, tool_calls TEXT, tool_call_id TEXT, name TEXT, model TEXT, error TEXT, created_at TEXT);"
            "CREATE INDEX messages_conversation ON messages (conversation_id, position);"
            "CREATE TABLE feedback (id INTEGER PRIMARY KEY, message_id INTEGER, rating REAL, note TEXT,"
            " created_at TEXT);"
        )
    for key, start, said in conversations(first, count):
        moment = db.execute("SELECT strftime('%Y-%m-%dT%H:%M:%SZ', ?, 'unixepoch')", (start,)).fetchone()[0]
        db.execute(
            "INSERT INTO conversations VALUES (?, ?, 'llama3.2:3b', ?, ?, NULL)",
            (key, moment, SYSTEM, json.dumps([TOOL])),
        )
        rows = []
        for position, (role, content, order) in enumerate(said):
            call = order and json.dumps([{"id": "c1", "name": "find_order", "arguments": {"number": order}}])
            answers = "c1" if role == "tool" else None
            rows.append((key, position, role, content, call, answers, moment))
        db.executemany(
            "INSERT INTO messages (conversation_id, position, role, content, tool_calls, tool_call_id, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            rows,
        )


def openai_agents(db: sqlite3.Connection, first: int, count: int) -> None:
    if first == 0:
        db.executescript(
            "CREATE TABLE agent_sessions (session_id TEXT PRIMARY KEY, created_at TIMESTAMP, updated_at TIMESTAMP);"
            "CREATE TABLE agent_messages (id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL,"
            " message_data TEXT NOT NULL, created_at TIMESTAMP);"
            "CREATE INDEX idx_agent_messages_session_id ON agent_messages (session_id, id);"
        )
    for key, start, said in conversations(first, count):
        moment = db.execute("SELECT datetime(?, 'unixepoch')", (start,)).fetchone()[0]
        db.execute("INSERT INTO agent_sessions VALUES (?, ?, ?)", (key, moment, moment))
        items = []
        for role, content, order in said:
            if order:
                arguments = json.dumps({"number": order})
                item = {
                    "type": "function_call",
                    "call_id": "c1",
                    "name": "find_order",
                    "arguments": arguments,
                    "id": "f1",
                }
            elif role == "tool":
                item = {"type": "function_call_output", "call_id": "c1", "output": content}
            elif role == "assistant":
                block = {"type": "output_text", "text": content, "annotations": []}
                item = {"type": "message", "id": "m", "role": role, "status": "completed", "content": [block]}
            else:
                item = {"role": role, "content": content}
            items.append((key, json.dumps(item), moment))
        db.executemany("INSERT INTO agent_messages (session_id, message_data, created_at) VALUES (?, ?, ?)", items)


def open_webui(db: sqlite3.Connection, first: int, count: int) -> None:
    if first == 0:
        db.executescript(
            "CREATE TABLE chat (id TEXT PRIMARY KEY, user_id TEXT, title TEXT, chat JSON, created_at BIGINT,"
            " updated_at BIGINT, share_id TEXT UNIQUE, archived BOOLEAN, pinned BOOLEAN, meta JSON, folder_id TEXT);"
            "CREATE TABLE feedback (id TEXT PRIMARY KEY, user_id TEXT, version BIGINT, type TEXT, data JSON, meta JSON,"
            " snapshot JSON, created_at BIGINT, updated_at BIGINT);"
            "CREATE TABLE tool (id TEXT PRIMARY KEY, user_id TEXT, name TEXT, content TEXT, specs JSON, meta JSON);"
            "CREATE TABLE model (id TEXT PRIMARY KEY, user_id TEXT, base_model_id TEXT, name TEXT, params JSON,"
            " meta JSON);"
        )
    for key, start, said in conversations(first, count):
        nodes: dict[str, dict[str, object]] = {}
        last = None
        for position, (role, content, _) in enumerate(said):
            node = {
                "id": f"{key[:8]}-{position}", "parentId": last, "childrenIds": [], "timestamp": start + position,
                "role": "user" if role == "tool" else role, "content": content or "One moment.",
            }  # fmt: skip
            if last is not None:
                nodes[last]["childrenIds"] = [node["id"]]
            if role == "assistant":
                node |= {"model": "llama3.2:3b", "done": True}
            nodes[str(node["id"])] = node
            last = str(node["id"])
        body = {"models": ["llama3.2:3b"], "history": {"messages": nodes, "currentId": last}, "messages": []}
        db.execute(
            "INSERT INTO chat (id, user_id, title, chat, created_at, updated_at) VALUES (?, 'u', 't', ?, ?, ?)",
            (key, json.dumps(body), start, start + 60),
        )


FORMATS = {"lunar": lunar, "openai-agents": openai_agents, "open-webui": open_webui}
FLOORS = {
    "lunar": (
        "SELECT conversation_id, position, role, content, tool_calls, tool_call_id, name, model, error, created_at"
        " FROM messages",
        (4,),
    ),
    "openai-agents": ("SELECT session_id, id, message_data, created_at FROM agent_messages", (2,)),
    "open-webui": ("SELECT id, title, chat, created_at, updated_at FROM chat", (2,)),
}
"""The plain SELECT of a format's content, and which of its cells are JSON."""


def write(name: str, path: Path, first: int, count: int) -> None:
    """Add `count` conversations to a log, from number `first` on; a log is begun at 0."""
    db = sqlite3.connect(path)
    db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF")
    step = 2000
    for at in range(first, first + count, step):
        with db:
            FORMATS[name](db, at, min(step, first + count - at))
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
