"""A webui.db of Open WebUI: trees in the JSON and in rows, answers as items and as the older text, ratings, copies."""

import html
import json
import sqlite3

from examples import CANARY

SCHEMA = """
CREATE TABLE user (id TEXT PRIMARY KEY, email TEXT, settings JSON, api_key TEXT, oauth JSON);
CREATE TABLE auth (id TEXT PRIMARY KEY, email TEXT, password TEXT, active BOOLEAN);
CREATE TABLE config (id INTEGER PRIMARY KEY, data JSON);
CREATE TABLE oauth_session (id TEXT PRIMARY KEY, token TEXT);
CREATE TABLE chat (id VARCHAR PRIMARY KEY, user_id TEXT, title TEXT, chat JSON, created_at BIGINT, updated_at BIGINT,
  share_id TEXT UNIQUE, archived BOOLEAN, pinned BOOLEAN, meta JSON, variables JSON, folder_id TEXT, tasks JSON,
  summary TEXT, current_message_id TEXT, last_read_at BIGINT, timer_at BIGINT);
CREATE INDEX updated_at_user_id_idx ON chat (updated_at, user_id);
CREATE TABLE chat_message (id TEXT PRIMARY KEY, chat_id TEXT NOT NULL, user_id TEXT, role TEXT NOT NULL, parent_id TEXT,
  content JSON, output JSON, model_id TEXT, files JSON, sources JSON, embeds JSON, meta JSON, done BOOLEAN,
  status_history JSON, error JSON, usage JSON, context_summary TEXT, created_at BIGINT, updated_at BIGINT);
CREATE INDEX ix_chat_message_chat_id ON chat_message (chat_id);
CREATE TABLE feedback (id TEXT PRIMARY KEY, user_id TEXT, version BIGINT, type TEXT, data JSON, meta JSON,
  snapshot JSON, created_at BIGINT, updated_at BIGINT);
CREATE TABLE tool (id TEXT PRIMARY KEY, user_id TEXT, name TEXT, content TEXT, specs JSON, meta JSON, valves JSON);
CREATE TABLE model (id TEXT PRIMARY KEY, user_id TEXT, base_model_id TEXT, name TEXT, params JSON, meta JSON);
CREATE TABLE folder (id TEXT PRIMARY KEY, name TEXT, data JSON);
"""
START = 1_790_841_600  # 2026-10-01T08:00:00Z
HOUR = 3600
SCHEMA_OF_CITY = {"type": "object", "properties": {"city": {"type": "string"}}}


class WebUI:
    """A webui.db under construction."""

    def __init__(self, path):
        self.path = path
        self.db = sqlite3.connect(path)
        self.db.executescript(SCHEMA)
        self.add("user", id="u", email=CANARY, settings={"key": CANARY}, api_key=CANARY, oauth={"google": CANARY})
        self.add("auth", id="u", email=CANARY, password=CANARY, active=1)
        self.add("config", id=1, data={"openai": {"api_keys": [CANARY]}})
        self.add("oauth_session", id="o", token=CANARY)

    @classmethod
    def open(cls, path):
        log = cls.__new__(cls)
        log.path, log.db = path, sqlite3.connect(path)
        return log

    def add(self, table, **values):
        body = {k: json.dumps(v) if isinstance(v, (dict, list)) else v for k, v in values.items()}
        names, marks = ", ".join(body), ", ".join("?" * len(body))
        self.db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(body.values()))

    def chat(self, key, tree, current=None, *, at=START, columns=None, **blob):
        """A chat whose JSON holds the messages; `current` is the last of them if it is not given."""
        current = current or (tree[-1]["id"] if tree else None)
        history = {"messages": {message["id"]: message for message in tree}, "currentId": current}
        body = {"id": key, "title": "T", "history": history, "messages": [], "timestamp": at * 1000, **blob}
        common = {"id": key, "user_id": "u", "chat": body, "created_at": at, "updated_at": at, "meta": {}}
        self.add("chat", **{**common, **(columns or {})})

    def row(self, chat, key, role, content, parent=None, **values):
        said = json.dumps(content) if not isinstance(content, bytes) else content
        common = {"id": f"{chat}-{key}", "chat_id": chat, "role": role, "parent_id": parent, "content": said, "done": 1}
        self.add("chat_message", **{**common, "created_at": START, **values})

    def rate(self, chat, message, rating, key="f", **data):
        self.add(
            "feedback", id=key, type="rating", data={"rating": rating, **data}, created_at=START,
            meta={"chat_id": chat, "message_id": message}, snapshot={"chat": {"chat": {"title": "as it was"}}},
        )  # fmt: skip

    def close(self):
        self.db.commit()
        self.db.close()
        return self.path


def said(key, role, content="", parent=None, seconds=0, **more):
    return {"id": key, "role": role, "content": content, "parentId": parent, "timestamp": START + seconds, **more}


def details(kind, body="", done="true", **attributes):
    written = "".join(f' {k}="{html.escape(v)}"' for k, v in attributes.items())
    return f'<details type="{kind}" done="{done}"{written}>\n<summary>S</summary>\n{body}\n</details>\n'


def called(key, name, arguments, result, **more):
    """A call as versions with the result in an attribute wrote it: JSON of the text of JSON."""
    return details("tool_calls", id=key, name=name, arguments=json.dumps(json.dumps(arguments)),
                   result=json.dumps(result), files="", embeds='""', **more)  # fmt: skip


def text(words):
    return {"type": "message", "content": [{"type": "output_text", "text": words}]}


def thought(words):
    return {"type": "reasoning", "status": "completed", "content": [{"type": "output_text", "text": words}]}


def call(key, city, status="completed"):
    arguments = json.dumps({"city": city})
    return {"type": "function_call", "call_id": key, "name": "get_weather", "arguments": arguments, "status": status}


def result(key, words, **more):
    return {"type": "function_call_output", "call_id": key, "output": [{"type": "input_text", "text": words}], **more}


def build(folder):
    log = WebUI(folder / "webui.db")
    _settings(log)
    _with_tools(log)
    _forks(log)
    _older_text(log)
    _failures(log)
    _copies(log)
    _broken(log)
    return log.close()


def _settings(log):
    specs = [{"name": "get_weather", "description": "Weather of a city", "parameters": SCHEMA_OF_CITY}]
    log.add("tool", id="weather", name="Weather", specs=specs, content="import json", valves={"key": CANARY})
    log.add("tool", id="other", name="Other", specs=[{"name": "unused", "parameters": {}}], valves={"key": CANARY})
    log.add("model", id="gpt", params={"system": "You are Lumi."}, meta={"toolIds": ["weather"]})
    log.add("folder", id="trips", name="Trips", data={"system_prompt": "This is about travel."})


def _with_tools(log):
    """In the JSON and in rows; the rows are newer. A compaction put the first turn aside."""
    files = [{"type": "file", "name": "trip.pdf", "url": "f1"}, {"type": "image", "url": "data:;base64,AAAA"}]
    messages = [
        said("u1", "user", "Weather in Oslo and Rome?", None, 0, models=["gpt"], files=files),
        said("a1", "assistant", "stale", "u1", 5, model="gpt", done=False),
        said("u2", "user", "stale too", "a1", 60),
    ]
    log.chat("tools", messages, "u2", params={"system": "Be brief."}, columns={"folder_id": "trips"})
    first = [thought("Two cities."), call("c1", "Oslo"), call("c2", "Rome", "failed"), result("c1", "rain"),
             result("c2", "no such city", status="failed"), thought("One of two."), text("Rain in Oslo.")]  # fmt: skip
    log.row("tools", "u1", "user", "Weather in Oslo and Rome?", created_at=START)
    log.row("tools", "a1", "assistant", "Rain in Oslo.", "u1", output=first, model_id="gpt", created_at=START + 5)
    blocks = [
        {"type": "text", "text": "And in this picture?"},
        {"type": "image_url", "image_url": {"url": "data:;base64,AAAA"}},
    ]
    log.row("tools", "u2", "user", blocks, "a1", context_summary="SUMMARY", created_at=START + 60)
    second = [{"type": "open_webui:context_compaction", "summary": "SUMMARY"}, call("c3", "Bonn", "rejected"),
              {"type": "open_webui:code_interpreter", "code": "1/0", "lang": "python",
               "output": {"stdout": "trying", "stderr": "ZeroDivisionError"}}, text("I may not look.")]  # fmt: skip
    log.row("tools", "a2", "assistant", "I may not look.", "u2", output=second, model_id="gpt", created_at=START + 66)
    log.rate("tools", "a1", 1, "f-tools", reason="attention_to_detail", comment="Nice", tags=["weather"],
             details={"rating": 9}, sibling_model_ids=["llama"])  # fmt: skip


def _forks(log):
    messages = [
        said("u1", "user", "Hi", None, 0, models=["m"]),
        said("a1", "assistant", "First try", "u1", 1, model="m", modelIdx=0),
        said("a1b", "assistant", "Second try", "u1", 2, model="m", modelIdx=0),
        said("u2", "user", "Compare", "a1b", 4, models=["m", "n"]),
        said("a2", "assistant", "From m", "u2", 5, model="m", modelIdx=0),
        said("b2", "assistant", "From n", "u2", 6, model="n", modelIdx=1, merged={"content": "Both"}),
        said("b2b", "assistant", "From n again", "u2", 7, model="n", modelIdx=1, annotation={"comment": "long"}),
        said("u1x", "user", "Hi there", None, 8),
        said("a1x", "assistant", "To an edited question", "u1x", 9, model="m"),
    ]
    log.chat("forks", messages, "a2", at=START + HOUR)
    log.rate("forks", "a1b", "-1", "f-forks", reason="too_verbose")


def _older_text(log):
    content = (
        details("reasoning", html.escape("> They ask.\n> 1 < 2?"), duration="3")
        + "One moment.\n"
        + called("k1", "find", {"q": 'a "b" <c>'}, '{"hits": ["<details>"]}')
        + details("tool_calls", html.escape(json.dumps("in the body")), id="k2", name="find", arguments='{"q": "z"}')
        + details("code_interpreter", "```python\nprint(1)\n```", output='{"stdout": "1\\n", "stderr": null}')
        + "Done: 1."
    )
    fenced = "Write it so:\n```html\n" + called("k", "find", {}, "x") + "```\nThat is all."
    messages = [
        said("u1", "user", "Find it"),
        said("a1", "assistant", content, "u1", 9, model="old", done=True),
        said("u2", "user", "How do I write a block?", "a1", 20),
        said("a2", "assistant", fenced, "u2", 21, model="old", done=True),
        said("u3", "user", "Think", "a2", 30),
        said("a3", "assistant", "<think>Hm.</think>\nYes.", "u3", 31, model="old", done=True),
    ]
    log.chat("text", messages, at=START + 2 * HOUR, messages=[{"role": "user", "content": "a stale copy"}])
    flat = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi!", "model": "oldest"}]
    log.add("chat", id="flat", user_id="u", chat={"messages": flat, "system": "Be kind."}, created_at=START - HOUR)


def _failures(log):
    cut = [call("c1", "Oslo"), result("c1", "rain")]
    messages = [
        said("u1", "user", "Q1"),
        said("a1", "assistant", "", "u1", 1, error={"content": "Quota exceeded"}, done=True),
        said("u2", "user", "Q2", "a1", 2),
        said("a2", "assistant", "Server said no", "u2", 3, error=True),
        said("u3", "user", "Q3", "a2", 4),
        said("a3", "assistant", "Half a sen", "u3", 5, model="gpt", done=False),
        said("u4", "user", "Q4", "a3", 6),
        said("a4", "assistant", "", "u4", 7, model="gpt", done=False, output=cut),
    ]
    log.chat("failures", messages, at=START + 3 * HOUR)


def _copies(log):
    talk = [said("u", "user", "Hi"), said("a", "assistant", "Yo", "u", 1, model="m")]
    log.chat("branch", [*talk, said("u2", "user", "More", "a", 2)], at=START + 4 * HOUR, originalChatId="forks")
    log.chat("twig", talk, at=START + 5 * HOUR, columns={"meta": {"forked_from": "branch"}})
    log.chat("copy", talk, at=START + 6 * HOUR, columns={"user_id": "shared-forks"})
    log.chat("notes", talk, at=START + 6 * HOUR, columns={"meta": {"internal": True}})


def _broken(log):
    late = START + 7 * HOUR
    orphan = [said("a", "assistant", "After a deleted question", "deleted"), said("u", "user", "And?", "a", 1)]
    log.chat("orphan", orphan, "nowhere", at=late)
    log.chat("cycle", [said("u", "user", "1", "a"), said("a", "assistant", "2", "u")], at=late + 1)
    log.chat("empty", [], at=late + 2)
    log.add("chat", id="rows", user_id="u", chat='{"history": ', created_at=late + 3, current_message_id="a")
    log.row("rows", "u", "user", "Hello", created_at=late + 3)
    log.row("rows", "a", "assistant", "Kept", "u", output="[broken", created_at=late + 4)
    log.row("rows", "w", "wizard", "Abracadabra", "a", created_at=late + 5)
    log.row("gone", "u", "user", "A row of a chat that is gone")
    log.rate("rows", "nobody", 1, "f-message")
    log.rate("gone", "u", 1, "f-chat")
    log.add("feedback", id="f-broken", data="{", meta="{}")


def grow(path):
    """A turn more, an answer edited, a rating given, a rating changed, a chat more."""
    log = WebUI.open(path)
    log.row("tools", "u3", "user", "Thanks", "a2", created_at=START + 90)
    log.db.execute("UPDATE chat SET updated_at = ? WHERE id = 'tools'", (START + 90,))
    log.db.execute("UPDATE chat SET chat = replace(chat, 'Yo', 'Hey'), updated_at = updated_at + 9 WHERE id = 'twig'")
    log.rate("text", "a3", -1, "f-new")
    log.db.execute("UPDATE feedback SET data = ? WHERE id = 'f-forks'", (json.dumps({"rating": 1}),))
    log.chat("new", [said("u", "user", "Good morning"), said("a", "assistant", "Morning!", "u")], at=START + 9 * HOUR)
    log.close()
    return {"tools", "twig", "text", "forks", "new"}
