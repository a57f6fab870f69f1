"""Flowise's database.sqlite: sessions of a chat flow and of an agent flow, with thumbs."""

import json
import sqlite3
from pathlib import Path

from examples import CANARY

SCHEMA = """
CREATE TABLE credential (id varchar PRIMARY KEY, encryptedData TEXT);
CREATE TABLE variable (id varchar PRIMARY KEY, name TEXT, value TEXT);
CREATE TABLE apikey (id varchar PRIMARY KEY, apiSecret TEXT);
CREATE TABLE chat_flow (id varchar PRIMARY KEY, name TEXT, flowData TEXT, apiConfig TEXT, webhookSecret TEXT,
  createdDate datetime, updatedDate datetime);
CREATE TABLE chat_message (id varchar PRIMARY KEY, role varchar, chatflowid varchar, executionId varchar, content TEXT,
  sourceDocuments TEXT, usedTools TEXT, fileAnnotations TEXT, agentReasoning TEXT, reasonContent TEXT,
  fileUploads TEXT, artifacts TEXT, action TEXT, chatType varchar, chatId varchar, memoryType varchar,
  sessionId varchar, createdDate datetime DEFAULT (datetime('now')), leadEmail TEXT, followUpPrompts TEXT);
CREATE INDEX IDX_e574527322272fd838f4f0f3d3 ON chat_message (chatflowid);
CREATE TABLE chat_message_feedback (id varchar PRIMARY KEY, chatflowid varchar, chatId varchar, messageId varchar,
  rating varchar, content TEXT, createdDate datetime);
"""


class Log:
    """A database under construction."""

    def __init__(self, path, schema=SCHEMA):
        self.path, self.count = path, 0
        self.db = sqlite3.connect(path)
        self.db.executescript(schema)
        if schema:
            self.add("credential", id="c", encryptedData=CANARY)
            self.add("variable", id="v", name="key", value=CANARY)
            self.add("apikey", id="k", apiSecret=CANARY)

    def add(self, table, **values):
        body = {k: json.dumps(v) if isinstance(v, (dict, list)) else v for k, v in values.items()}
        names, marks = ", ".join(body), ", ".join("?" * len(body))
        self.db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(body.values()))

    def say(self, role, content, flow="f", **values):
        self.count += 1
        common = {"id": f"m{self.count}", "chatId": "c", "sessionId": "s", "createdDate": "2026-10-01 08:00:00"}
        self.add("chat_message", role=role, content=content, chatflowid=flow, **{**common, **values})

    def rate(self, message, rating, note=""):
        self.add("chat_message_feedback", id=message + rating, messageId=message, rating=rating, content=note)

    def flow(self, *inputs, key="f"):
        nodes = [{"data": {"inputs": {**own, "apiKey": CANARY}, "credential": CANARY}} for own in inputs]
        moved = "2026-10-01 07:00:00"
        self.add("chat_flow", id=key, flowData={"nodes": nodes}, webhookSecret=CANARY, updatedDate=moved)


def build(folder: Path) -> Path:
    log = Log(folder / "database.sqlite")
    log.flow({"systemMessagePrompt": "You are Lumi."}, {"modelName": "gpt-5"}, key="chat")
    log.flow({"agentMessages": [{"role": "system", "content": "Today is {{ $vars.date }}."}]}, key="agent")
    _chat(log)
    _agents(log)
    log.say("userMessage", "Via the API", "chat", sessionId="own", chatId="c1", createdDate="2026-10-01 10:00:00")
    log.say("apiMessage", "Yes.", "chat", sessionId="own", chatId="c1", createdDate="2026-10-01 10:00:01")
    log.say("userMessage", "A new chat, the same memory", "chat", sessionId="own", chatId="c2")
    log.say("userMessage", "Without a session", "chat", sessionId=None, chatId="c3")
    log.say("userMessage", "Hello?", "gone", sessionId="broken", fileUploads="[{")
    log.say("wizardMessage", "Abra", "gone", sessionId="broken")
    log.say("apiMessage", "Half of", "gone", sessionId="broken", usedTools='[{"tool": "sea')
    log.say("userMessage", "Of nobody", None, sessionId=None, chatId=None)
    log.rate("gone", "THUMBS_UP")
    log.rate("m8", "THUMBS_SIDEWAYS")
    log.db.commit()
    log.db.close()
    return log.path


def _chat(log):
    """A file, tools of one answer with a gap and a failure, thumbs with a note and changed ones, thoughts."""
    uploads = [{"type": "file", "name": "trip.png", "mime": "image/png", "data": CANARY}]
    log.say("userMessage", "Oslo or Rome?", "chat", createdDate="2026-10-01 08:00:05.900", fileUploads=uploads)
    used = [
        {"tool": "weather", "toolInput": {"city": "Oslo"}, "toolOutput": "rain", "sourceDocuments": CANARY},
        None,
        {"tool": "search", "toolInput": "Rome sun", "toolOutput": {"hits": 0}, "error": "timeout"},
    ]
    log.say("apiMessage", "Oslo: rain.", "chat", createdDate="2026-10-01 08:00:05", usedTools=used,
            reasonContent={"thinking": "Ask for both."}, sourceDocuments=[{"pageContent": CANARY}],
            artifacts=[{"type": "png", "data": CANARY}])  # fmt: skip
    log.rate("m2", "THUMBS_DOWN", "What of Rome?")
    log.say("userMessage", "And Rome?", "chat", createdDate="2026-10-01 08:01:00")
    log.say("apiMessage", "<think>Guess.</think>Sun.", "chat", createdDate="2026-10-01 08:01:09")
    log.rate("m4", "THUMBS_UP")


def _agents(log):
    """The tools of several agents stand with each of them."""
    log.say("userMessage", "Plan it.", "agent", createdDate="2026-10-01 09:00:00")
    steps = [
        {"agentName": "Planner", "usedTools": [{"tool": "map", "toolInput": {"to": "Oslo"}, "toolOutput": "by train"}]},
        {"agentName": "Critic", "usedTools": None, "messages": ["Fine."]},
        {"agentName": "Booker", "usedTools": [{"tool": "book", "toolInput": {"seat": 3}, "toolOutput": ""}]},
    ]
    log.say("apiMessage", "Booked.", "agent", createdDate="2026-10-01 09:00:30", agentReasoning=steps)


def grow(path: Path) -> set[str]:
    """A session goes on, a rating changes in place, one comes, and a flow's prompt is written anew."""
    log = Log(path, "")
    log.count = 100
    log.say("userMessage", "Thanks", "chat", sessionId="own", chatId="c4")
    log.db.execute("UPDATE chat_message_feedback SET rating = 'THUMBS_UP', content = '' WHERE messageId = 'm2'")
    log.rate("m13", "THUMBS_DOWN")
    nodes = {"nodes": [{"data": {"inputs": {"systemMessage": "Be brief."}}}]}
    log.db.execute("UPDATE chat_flow SET flowData = ?, updatedDate = '2026-10-02 07:00:00' WHERE id = 'agent'",
                   (json.dumps(nodes),))  # fmt: skip
    log.db.commit()
    log.db.close()
    return {"chat/own", "chat/s", "gone/broken", "agent/s"}
