"""An anythingllm.db: one row an exchange, prompts that changed, resets, threads that were forked, embedded chats."""

import json
import sqlite3

from examples import CANARY

SCHEMA = """
CREATE TABLE api_keys (id INTEGER PRIMARY KEY, secret TEXT);
CREATE TABLE users (id INTEGER PRIMARY KEY, username TEXT, password TEXT);
CREATE TABLE system_settings (id INTEGER PRIMARY KEY, label TEXT, value TEXT);
CREATE TABLE workspaces (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, slug TEXT, openAiPrompt TEXT, chatModel TEXT);
CREATE TABLE workspace_threads (id INTEGER PRIMARY KEY, name TEXT, slug TEXT, workspace_id INTEGER, user_id INTEGER);
CREATE TABLE prompt_history (id INTEGER PRIMARY KEY, workspaceId INTEGER, prompt TEXT, modifiedBy INTEGER,
  modifiedAt DATETIME DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE workspace_chats (id INTEGER PRIMARY KEY AUTOINCREMENT, workspaceId INTEGER NOT NULL, prompt TEXT NOT NULL,
  response TEXT NOT NULL, include BOOLEAN NOT NULL DEFAULT true, user_id INTEGER, thread_id INTEGER,
  api_session_id TEXT, createdAt DATETIME, lastUpdatedAt DATETIME, feedbackScore BOOLEAN, memory_processed BOOLEAN);
CREATE TABLE embed_configs (id INTEGER PRIMARY KEY, uuid TEXT, workspace_id INTEGER);
CREATE TABLE embed_chats (id INTEGER PRIMARY KEY, prompt TEXT, response TEXT, session_id TEXT, include BOOLEAN,
  connection_information TEXT, embed_id INTEGER, usersId INTEGER, createdAt DATETIME);
CREATE TABLE event_logs (id INTEGER PRIMARY KEY, event TEXT, metadata TEXT, userId INTEGER, occurredAt DATETIME);
"""
START = 1_790_841_600_000  # 2026-10-01T08:00:00Z, in milliseconds as Prisma writes them
MINUTE = 60_000


class AnythingLLM:
    """An anythingllm.db under construction."""

    def __init__(self, path):
        self.path = path
        self.db = sqlite3.connect(path)
        self.db.executescript(SCHEMA)
        self.add("api_keys", id=1, secret=CANARY)
        self.add("users", id=1, username="ann", password=CANARY)
        self.add("system_settings", id=1, label="key", value=CANARY)
        self.add("event_logs", event="api_key_created", metadata={"key": CANARY}, occurredAt=START)
        self.add("workspaces", id=1, name="Trips", openAiPrompt="You are Lumi.")

    @classmethod
    def open(cls, path):
        log = cls.__new__(cls)
        log.path, log.db = path, sqlite3.connect(path)
        return log

    def add(self, table, **values):
        body = {k: json.dumps(v) if isinstance(v, (dict, list)) else v for k, v in values.items()}
        names, marks = ", ".join(body), ", ".join("?" * len(body))
        self.db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(body.values()))

    def say(self, prompt, text, minutes=0, table="workspace_chats", response=None, **values):
        body = {"text": text, "sources": [], "type": "chat", **(response or {})}
        own = {"workspaceId": 1, "thread_id": 7} if table == "workspace_chats" else {}
        common = {"prompt": prompt, "response": body, "include": 1, "createdAt": START + minutes * MINUTE}
        self.add(table, **{**own, **common, **values})

    def close(self):
        self.db.commit()
        self.db.close()
        return self.path


def build(folder):
    log = AnythingLLM(folder / "anythingllm.db")
    log.add("workspaces", id=2, name="Notes", openAiPrompt="Take notes.")
    log.add("prompt_history", workspaceId=1, prompt="You are Luma.", modifiedAt="2026-10-01 08:10:00")
    change = {"workspaceName": "Notes", "prevSystemPrompt": "The default.", "newSystemPrompt": "Take notes."}
    log.add("event_logs", event="workspace_prompt_changed", metadata=change, occurredAt=START + 30 * MINUTE)
    log.add("event_logs", event="workspace_prompt_changed", metadata="{", occurredAt=START)
    _thread(log)
    _reset(log)
    _forks(log)
    _embedded(log)
    _broken(log)
    return log.close()


def _thread(log):
    """A prompt that changed on the way, reasoning, files on both sides, thumbs, model names."""
    files = [{"name": "trip.png", "mime": "image/png", "contentString": "data:image/png;base64,iVBORw0KGgo"}]
    response = {
        "metrics": {"model": "llama3", "prompt_tokens": 3},
        "attachments": files,
        "sources": [{"text": "a page"}],
    }
    log.say("Where to?", "<think>\nSea?\n</think>\n\nNorway.", response=response, feedbackScore=1)
    files = [{"type": "pdf", "payload": {"filename": "fjords.pdf"}}]
    log.say("Why?", "Fjords.", 11, response={"outputs": files}, createdAt="2026-10-01T08:11:00.250Z", feedbackScore=0)


def _reset(log):
    """A run taken out by /reset, an answer taken out, what the app wrote itself."""
    log.say("before the reset", "1", 20, include=0, user_id=1)
    log.say("still before", "2", 21, include=0, user_id=1, feedbackScore=1)
    log.say("fresh", "3", 22, user_id=1)
    log.say("out", "4", 23, include=0, user_id=1)
    log.say("unknown", "There is nothing on that.", 24, include=0, user_id=1, response={"type": "query"})
    log.say("@agent go", None, 25, include=0, user_id=1)
    log.say("@agent go", "Gone.", 26, user_id=1)


def _forks(log):
    """A thread and its fork, which is a copy of what was shown; the same words in another workspace are no copy."""
    log.say("Agenda?", "old", 39, workspaceId=2, thread_id=1, include=0)
    log.say("Agenda?", "None.", 40, workspaceId=2, thread_id=1)
    log.say("Add tea", "Added.", 41, workspaceId=2, thread_id=1)
    log.say("Agenda?", "None.", 45, workspaceId=2, thread_id=2)
    log.say("Add cake", "Added too.", 46, workspaceId=2, thread_id=2)
    log.say("Agenda?", "None.", 20, workspaceId=3, thread_id=None, api_session_id="s")


def _embedded(log):
    log.add("embed_configs", id=4, uuid="x", workspace_id=2)
    for session, prompt, minutes in (("s1", "Open today?", 10), ("s2", "Hours?", 50), ("s1", "Till when?", 51)):
        log.say(prompt, "Yes.", minutes, table="embed_chats", embed_id=4, session_id=session,
                connection_information={"ip": "192.0.2.7"})  # fmt: skip
    log.say("Hi", "Hello.", 52, table="embed_chats", embed_id=5, session_id="s1")


def _broken(log):
    log.say("Cut", "", 60, thread_id=9, response=None)
    log.db.execute('UPDATE workspace_chats SET response = \'{"text": "cu\' WHERE id = last_insert_rowid()')
    log.say("Kept", {"odd": 1}, 61, thread_id=9, feedbackScore="maybe")
    log.say("Aborted", "", 62, thread_id=9)
    log.say("Nothing", "", 63, thread_id=10)


def grow(path):
    """A turn more, a thumb turned round, a reset, a session more; a workspace gets another prompt meanwhile."""
    log = AnythingLLM.open(path)
    log.say("And when?", "In June.", 70)
    log.db.execute("UPDATE workspace_chats SET feedbackScore = 1 WHERE prompt = 'fresh'")
    log.db.execute("UPDATE workspace_chats SET include = 0 WHERE workspaceId = 2 AND thread_id = 2")
    log.say("New here", "Welcome.", 71, table="embed_chats", embed_id=4, session_id="s3")
    log.add("prompt_history", workspaceId=2, prompt="Take notes.", modifiedAt=START + 90 * MINUTE)
    log.db.execute("UPDATE workspaces SET openAiPrompt = 'Take good notes.' WHERE id = 2")
    log.close()
    return {"workspace-1-thread-7", "workspace-1-user-1-thread-7", "workspace-2-thread-2", "embed-4-session-s3"}
