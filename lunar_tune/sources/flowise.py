"""Flowise's database.sqlite: messages of flows, with thumbs; a conversation is a session of a flow, else a chat.

`usedTools` of an answer, or those of its agents, become calls and results before it. They have no ids, and which of
them were made together is not stored: each is read as a turn of its own. Messages are read as inserted, since their
times are written in different resolutions. The prompt is that of the flow as it is now, where it holds exactly one and
no variables: what those stood for is not stored. Of the flow nothing else is kept.
"""

from __future__ import annotations

import os
import sqlite3
from array import array
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Attachment, Episode
from lunar_tune.seams import Report
from lunar_tune.sources import base
from lunar_tune.sources.core import cells, keyed
from lunar_tune.sources.core.conversation import Conversation

KEY = ("chatflowid", "sessionId", "chatId")
MESSAGE = (
    "id", "role", "content", "usedTools", "agentReasoning", "reasonContent", "fileUploads", "artifacts", "createdDate",
)  # fmt: skip
FEEDBACK = ("messageId", "rating", "content")
THUMBS = {"THUMBS_UP": 1.0, "THUMBS_DOWN": -1.0}
ROLES = {"userMessage": "user", "apiMessage": "assistant"}
PROMPT_INPUTS = ("systemMessage", "systemMessagePrompt")
PROMPT_LISTS = ("agentMessages", "llmMessages")


class FlowiseSource:
    """Reads what was said in sessions; credentials and variables stay closed."""

    name = "flowise"
    lacks = "tool schemas, models, failures, the prompt as it was"

    def places(self) -> list[Path]:
        """Return where the server keeps its database."""
        folder = os.environ.get("DATABASE_PATH")
        return [Path(folder or Path.home() / ".flowise") / "database.sqlite"]

    def recognises(self, db: sqlite3.Connection) -> bool:
        """Tell from the tables alone whether this is the format."""
        return base.has(db, "chat_message", "id", "role", "chatflowid", "content")

    def threads(self, db: sqlite3.Connection) -> Iterator[tuple[str, str]]:
        """Yield each session with its number of messages, the last one, its ratings and its flow's time of change.

        A message that is changed in place is not seen: the table has no time of change.
        """
        counts = keyed.counts(db, "chat_message", KEY)
        newest = keyed.rows(db, "chat_message", ("id",), [last for _, last in counts.values()])
        changed = dict(_changed(db))
        found: dict[str, list[Any]] = {}
        for (key, state), (message,) in zip(counts.items(), newest, strict=True):
            found.setdefault(_thread(key), []).append((key, state, message, changed.get(key[0])))
        if base.has(db, "chat_message_feedback", "messageId", "rating"):
            ratings = (
                f"SELECT {base.picked(db, 'chat_message', KEY, 'm')}, f.rowid,"
                f" {base.picked(db, 'chat_message_feedback', FEEDBACK, 'f')}"
                " FROM chat_message_feedback f JOIN chat_message m ON m.id = f.messageId ORDER BY f.rowid"
            )
            for *key, rowid, message, rating, note in db.execute(ratings):
                found[_thread(key)].append((rowid, message, rating, note))
        for thread, states in found.items():
            if thread:
                yield thread, base.stamp(states)

    def read(
        self, db: sqlite3.Connection, path: Path, report: Report, only: Collection[str] | None = None
    ) -> Iterator[Episode]:
        """Yield the sessions in the order of their start."""
        log_wide: Report = report if only is None else _unsaid
        thumbs, prompts = _thumbs(db, log_wide), dict[Any, str | None]()
        for thread, (flow, rowids) in _sessions(db, only).items():
            if not thread:
                for (key,) in keyed.rows(db, "chat_message", ("id",), rowids):
                    report(Verdict("", "read", "a message of no session", f"chat_message.id={keyed.name(key)}"))
                continue
            if flow not in prompts:
                prompts[flow] = _prompt(db, flow, log_wide)
            conversation = Conversation("flowise", path, thread, report, system=prompts[flow])
            for row in keyed.rows(db, "chat_message", MESSAGE, sorted(rowids)):
                _take(conversation, row, thumbs)
            episode = conversation.episode()
            if episode is not None:
                yield episode
        for places in thumbs.values():
            for _, _, place in places:
                log_wide(Verdict("", "read", "a rating of a message that is gone", place))


def _unsaid(verdict: Verdict) -> None:
    """Leave what concerns the whole log to a read of it all."""


def _thread(key: Sequence[Any]) -> str:
    """Return a session's name: a caller with its own session gets a new chat with every request, but one memory."""
    flow, session, chat = key
    return "/".join(keyed.name(part) for part in (flow, session or chat) if part)


def _sessions(db: sqlite3.Connection, only: Collection[str] | None) -> dict[str, tuple[Any, array[int]]]:
    """Return the flow and the rows of the sessions wanted, by name; what has no name is under ""."""
    keys = None if only is None else {key for key in keyed.counts(db, "chat_message", KEY) if _thread(key) in only}
    sessions: dict[str, tuple[Any, array[int]]] = {}
    for key, rowids in keyed.conversations(db, "chat_message", KEY, only=keys).items():
        sessions.setdefault(_thread(key), (key[0], array("q")))[1].extend(rowids)
    return sessions


def _changed(db: sqlite3.Connection) -> Iterator[tuple[Any, Any]]:
    """Yield each flow with its time of change, or with its prompt where it has none."""
    if base.has(db, "chat_flow", "id", "updatedDate"):
        yield from db.execute("SELECT id, updatedDate FROM chat_flow")
    elif base.has(db, "chat_flow", "id", "flowData"):
        for (flow,) in db.execute("SELECT id FROM chat_flow"):
            yield flow, _prompt(db, flow, _unsaid)


Thumbs = dict[Any, list[tuple[float, str | None, str]]]  # message id -> (value, note, place)


def _thumbs(db: sqlite3.Connection, report: Report) -> Thumbs:
    """Return the ratings by message, oldest first."""
    found: Thumbs = {}
    if base.has(db, "chat_message_feedback", "messageId", "rating"):
        query = f"SELECT rowid, {base.picked(db, 'chat_message_feedback', FEEDBACK)} FROM chat_message_feedback"
        for rowid, message, rating, note in db.execute(query + " ORDER BY rowid"):
            place = f"chat_message_feedback.rowid={rowid}"
            if rating in THUMBS:
                found.setdefault(message, []).append((THUMBS[rating], cells.text(note), place))
            else:
                report(Verdict("", "read", "a rating that is no thumb", place))
    return found


def _prompt(db: sqlite3.Connection, flow: Any, report: Report) -> str | None:
    """Return the only system prompt of a flow, None where it has none, several, or one with variables."""
    if not base.has(db, "chat_flow", "id", "flowData"):
        return None
    row = db.execute("SELECT flowData FROM chat_flow WHERE id = ?", (flow,)).fetchone()
    if row is None or row[0] in (None, ""):
        return None
    try:
        nodes = cells.mapping(cells.parse_json(row[0])).get("nodes")
    except ValueError:
        report(Verdict("", "read", "unreadable flow", f"chat_flow.flowData={keyed.name(flow)}"))
        return None
    found: set[str] = set()
    for node in nodes if isinstance(nodes, list) else ():
        inputs = cells.mapping(cells.mapping(cells.mapping(node).get("data")).get("inputs"))
        found.update(text for key in PROMPT_INPUTS if isinstance(text := inputs.get(key), str))
        for key in PROMPT_LISTS:
            messages = inputs.get(key)
            bodies = [cells.mapping(m) for m in messages] if isinstance(messages, list) else []
            systems = [body.get("content") for body in bodies if body.get("role") == "system"]
            found.update(text for text in systems if isinstance(text, str))
    prompts = {text for text in found if text.strip()}
    prompt = prompts.pop() if len(prompts) == 1 else None
    return None if prompt is None or "{" in prompt or "<p>" in prompt else prompt


def _take(conversation: Conversation, row: tuple[Any, ...], thumbs: Thumbs) -> None:
    key, role, content, used, agents, reason, uploads, artifacts, at = row
    said = cells.text(content)
    if said is None and content is not None:
        conversation.lost("content that is no text", f"chat_message.content={keyed.name(key)}")
    role = ROLES.get(str(role))
    if role is None:
        conversation.lost("a message of unknown role", f"chat_message.id={keyed.name(key)}")
        return
    if role == "user":
        files = _files(_json(conversation, uploads, "fileUploads", key))
        index = conversation.say("user", said or "", at=at, attachments=files)
    else:
        tools = _json(conversation, used, "usedTools", key)
        if not tools:
            steps = _json(conversation, agents, "agentReasoning", key)
            several = [cells.mapping(step).get("usedTools") for step in steps] if isinstance(steps, list) else []
            tools = [tool for some in several if isinstance(some, list) for tool in some]
        for tool in tools if isinstance(tools, list) else ():
            _used(conversation, tool, at, key)
        files = _files(_json(conversation, artifacts, "artifacts", key))
        text, thought = cells.split_thinking(said or "")
        thought = _thought(reason) or thought
        index = conversation.say("assistant", text, at=at, reasoning=thought, attachments=files)
    for value, note, _ in thumbs.pop(key, ()):
        conversation.judge("rating", value, index, note)


def _used(conversation: Conversation, tool: Any, at: Any, key: Any) -> None:
    body = cells.mapping(tool)
    name = cells.text(body.get("tool"))
    if not name:
        if tool is not None:  # the app leaves gaps in the list
            conversation.lost("unreadable tool call", f"chat_message.usedTools={keyed.name(key)}")
        return
    given = body.get("toolInput")
    call = cells.call(name, given)
    if isinstance(given, str) and call.error:
        call = cells.call(name, {"input": given})  # tools of one text take it under this name
    conversation.say("assistant", calls=[call], at=at)
    output, error = body.get("toolOutput"), body.get("error")
    content = output if isinstance(output, str) else "" if output is None else cells.dump(output)
    failed = (error if isinstance(error, str) else cells.dump(error)) if error else None
    conversation.result(content, name=name, at=at, error=failed)


def _thought(cell: Any) -> str | None:
    """Return the reasoning of an answer, which is text or an object that holds it."""
    plain = cells.text(cell)
    try:
        value = cells.parse_json(cell)
    except ValueError:
        return plain
    if isinstance(value, dict):
        return next((value[k] for k in ("thinking", "content", "text") if isinstance(value.get(k), str)), None)
    return value if isinstance(value, str) else None


def _json(conversation: Conversation, cell: Any, column: str, key: Any) -> Any:
    if cell in (None, "", "null"):
        return None
    try:
        return cells.parse_json(cell)
    except ValueError:
        conversation.lost(f"unreadable {column}", f"chat_message.{column}={keyed.name(key)}")
        return None


def _files(values: Any) -> list[Attachment]:
    found = []
    for value in values if isinstance(values, list) else ():
        body = cells.mapping(value)
        kinds = (body.get("mime"), body.get("type"), "file")
        name = body.get("name")
        kind = next(k for k in kinds if isinstance(k, str) and k)
        found.append(Attachment(type=kind, name=name if isinstance(name, str) else ""))
    return found
