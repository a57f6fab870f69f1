"""A log under construction, for tests that write it row by row, and its reading."""

import contextlib
import json
import sqlite3
from pathlib import Path

from lunar_tune.episodes import to_dict
from lunar_tune.sources.base import open_read_only, owner

LUNAR_SCHEMA = """
CREATE TABLE conversations (id TEXT PRIMARY KEY, started_at TEXT, model TEXT, system TEXT, tools TEXT, meta TEXT);
CREATE TABLE messages (id INTEGER PRIMARY KEY, conversation_id TEXT, position INTEGER, role TEXT, content TEXT,
  tool_calls TEXT, tool_call_id TEXT, name TEXT, model TEXT, error TEXT, created_at TEXT);
CREATE TABLE feedback (id INTEGER PRIMARY KEY, message_id INTEGER, rating REAL, note TEXT, created_at TEXT);
"""

LLM_SCHEMA = """
CREATE TABLE conversations (id TEXT PRIMARY KEY, name TEXT, model TEXT);
CREATE TABLE attachments (id TEXT PRIMARY KEY, type TEXT, path TEXT, url TEXT, content BLOB);
CREATE TABLE prompt_attachments (response_id TEXT, attachment_id TEXT, "order" INTEGER);
CREATE TABLE responses (id TEXT PRIMARY KEY, model TEXT, prompt TEXT, system TEXT, prompt_json TEXT,
  options_json TEXT, response TEXT, response_json TEXT, conversation_id TEXT, duration_ms INTEGER, datetime_utc TEXT,
  input_tokens INTEGER, output_tokens INTEGER, token_details TEXT, schema_id TEXT, resolved_model TEXT, reasoning TEXT);
CREATE TABLE fragments (id INTEGER PRIMARY KEY, hash TEXT, content TEXT, datetime_utc TEXT, source TEXT);
CREATE TABLE prompt_fragments (response_id TEXT, fragment_id INTEGER, "order" INTEGER);
CREATE TABLE system_fragments (response_id TEXT, fragment_id INTEGER, "order" INTEGER);
CREATE TABLE tools (id INTEGER PRIMARY KEY, hash TEXT, name TEXT, description TEXT, input_schema TEXT, plugin TEXT);
CREATE TABLE tool_responses (tool_id INTEGER, response_id TEXT);
CREATE TABLE tool_calls (id INTEGER PRIMARY KEY, response_id TEXT, tool_id INTEGER, name TEXT, arguments TEXT,
  tool_call_id TEXT);
CREATE TABLE tool_results (id INTEGER PRIMARY KEY, response_id TEXT, tool_id INTEGER, name TEXT, output TEXT,
  tool_call_id TEXT, instance_id INTEGER, exception TEXT);
CREATE TABLE messages (hash TEXT PRIMARY KEY, parent_hash TEXT, role TEXT, provider_metadata TEXT);
CREATE TABLE parts (id INTEGER PRIMARY KEY, message_hash TEXT, position INTEGER, type TEXT, tool_name TEXT, text TEXT,
  payload TEXT);
CREATE UNIQUE INDEX idx_parts_message_hash_position ON parts (message_hash, position);
CREATE TABLE part_attachments (part_id INTEGER, attachment_id TEXT, "order" INTEGER);
CREATE TABLE threads (id TEXT PRIMARY KEY, name TEXT, tip_message_hash TEXT, forked_from TEXT, datetime_utc TEXT);
CREATE TABLE turns (id TEXT PRIMARY KEY, thread_id TEXT, parent_message_hash TEXT, tip_message_hash TEXT, model TEXT,
  resolved_model TEXT, options_json TEXT, schema_id TEXT, input_tokens INTEGER, output_tokens INTEGER,
  token_details TEXT, duration_ms INTEGER, datetime_utc TEXT, response_json TEXT);
CREATE TABLE turn_tools (turn_id TEXT, tool_id INTEGER, instance_id INTEGER);
"""


class Database:
    """A database file under construction."""

    def __init__(self, path: Path, schema: str) -> None:
        self.path = path
        self.db = sqlite3.connect(path)
        self.db.executescript(schema)

    def add(self, table: str, **values: object) -> int:
        names, marks = ", ".join(f'"{name}"' for name in values), ", ".join("?" * len(values))
        cursor = self.db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))
        self.db.commit()
        return int(cursor.lastrowid or 0)

    def script(self, sql: str) -> None:
        self.db.executescript(sql)
        self.db.commit()

    def close(self) -> Path:
        self.db.close()
        return self.path


class LunarLog(Database):
    """A log in Lunar's own schema."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, LUNAR_SCHEMA)
        self.positions: dict[str, int] = {}

    def conversation(self, thread: str, **values: object) -> None:
        self.add("conversations", id=thread, **{"started_at": "2026-10-01T08:00:00Z", "model": "m", **values})

    def say(self, thread: str, role: str, content: object = "", **values: object) -> int:
        position = self.positions[thread] = self.positions.get(thread, -1) + 1
        return self.add("messages", conversation_id=thread, position=position, role=role, content=content, **values)


def read_whole(source, log):
    """Return the episodes of a log under construction, which is closed, and what was lost."""
    lost, path = [], log.close()
    with contextlib.closing(open_read_only(path)) as db:
        assert source.recognises(db)
        threads, found = dict(source.threads(db)), list(source.read(db, path, lost.append))
    assert None not in [owner(episode, threads) for episode in found]
    assert "canary" not in json.dumps([to_dict(episode) for episode in found]) + repr(lost)
    return found, lost


def read_open(source, log, only=None):
    """Return the episodes of a log that stays under construction, and what was lost."""
    log.db.commit()
    lost = []
    with contextlib.closing(open_read_only(log.path)) as db:
        assert source.recognises(db)
        found = list(source.read(db, log.path, lost.append, only))
        threads = dict(source.threads(db))
        owners = [owner(episode, threads) for episode in found]
        assert None not in owners
        for thread in dict.fromkeys(owners):
            alone = list(source.read(db, log.path, lambda verdict: None, {thread}))
            assert alone == [episode for episode, whose in zip(found, owners, strict=True) if whose == thread]
    assert "canary" not in json.dumps([to_dict(episode) for episode in found]) + repr(lost)
    return found, lost


def said(episode):
    return [(message.role, message.content) for message in episode.messages]


def where(lost):
    return [(verdict.reason, verdict.detail) for verdict in lost]
