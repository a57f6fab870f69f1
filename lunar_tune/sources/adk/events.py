"""One event of a Google ADK session turned into messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lunar_tune.episodes import Attachment, Finish, ToolCall
from lunar_tune.sources.core import cells, conversation
from lunar_tune.sources.core.conversation import Conversation

SCAFFOLDING = {
    "adk_request_credential": "a request for credentials",
    "adk_request_confirmation": "a request for confirmation",
}
CODE = "code_execution"  # code that the model's provider ran
SILENT = {"thought", "thought_signature", "video_metadata", "part_metadata", "media_resolution"}
KINDS = (
    "text", "function_call", "function_response", "executable_code", "code_execution_result", "inline_data",
    "file_data",
)  # fmt: skip


def say(talk: Conversation, event: Mapping[str, Any], at: Any, place: str) -> None:
    """Add what an event says: an answer with its calls, results, or what the user said."""
    content = event.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    said = _Said(talk, at, place)
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, dict):
            said.take(part)
        else:
            talk.lost("content of unknown type", place)
    if content is not None and not isinstance(content, dict):
        talk.lost("unreadable content", place)
    person = event.get("author") == "user" or (
        "author" not in event and isinstance(content, dict) and content.get("role") == "user"
    )
    if not said.texts:
        said.texts += _spoken(event.get("input_transcription" if person else "output_transcription"))
    if person:
        said.as_user()
    else:
        said.as_assistant(event)


class _Said:
    """The parts of an event, sorted out."""

    def __init__(self, talk: Conversation, at: Any, place: str) -> None:
        self.talk, self.at, self.place = talk, at, place
        self.texts: list[str] = []
        self.thoughts: list[str] = []
        self.calls: list[ToolCall] = []
        self.results: list[tuple[str, Any, Any, str | None]] = []  # content, call id, name, error
        self.files: list[Attachment] = []

    def take(self, part: Mapping[str, Any]) -> None:
        kind = next((name for name in KINDS if part.get(name) is not None), None)
        body = part.get(kind) if kind else None
        if kind == "text" and isinstance(body, str):
            (self.thoughts if part.get("thought") is True else self.texts).append(body)
        elif kind is None or not isinstance(body, dict):
            if set(part) - SILENT:
                self.talk.lost("content of unknown type", self.place)
        elif kind in ("function_call", "function_response"):
            if (reason := SCAFFOLDING.get(str(body.get("name")))) is not None:
                self.talk.lost(reason, self.place)
            elif kind == "function_call":
                self.calls.append(cells.call(body.get("name"), body.get("args"), body.get("id")))
            else:
                self.results.append((_shown(body.get("response")), body.get("id"), body.get("name"), None))
        elif kind == "executable_code":
            self.calls.append(cells.call(CODE, {k: v for k, v in body.items() if k in ("code", "language")}))
        elif kind == "code_execution_result":
            outcome = str(body.get("outcome"))
            failed = None if outcome == "OUTCOME_OK" else outcome
            self.results.append((str(body.get("output") or ""), None, CODE, failed))
        else:
            self.files.append(_file(body))

    def as_user(self) -> None:
        """Add results of tools that ran elsewhere, then what the person said."""
        self._add_results()
        text = "\n".join(part for part in self.texts if part)
        if text or self.files:
            self.talk.say("user", text, at=self.at, attachments=self.files)

    def as_assistant(self, event: Mapping[str, Any]) -> None:
        """Add the answer, then the results that stand in the same event."""
        error = cells.text(event.get("error_message") or event.get("error_code")) or None
        text = "\n".join(part for part in self.texts if part)
        ended: Finish | None = conversation.finish(event.get("finish_reason"))
        if error and ended in (None, "stop"):
            ended = "error"
        if event.get("interrupted") in (True, 1):
            ended = "cancelled"
        code = [call for call in self.calls if call.name == CODE]
        if code and any(name == CODE for _, _, name, _ in self.results):  # what follows the code has seen its result
            self.talk.say("assistant", at=self.at, model=event.get("model_version"), calls=code)
            self._add_results()
            self.calls = [call for call in self.calls if call.name != CODE]
        if text or self.thoughts or self.calls or self.files or error or ended == "cancelled":
            self.talk.say(
                "assistant",
                text,
                at=self.at,
                model=event.get("model_version"),
                error=error,
                ended=ended,
                reasoning="\n".join(self.thoughts) or None,
                attachments=self.files,
                calls=self.calls,
            )
        self._add_results()

    def _add_results(self) -> None:
        for content, call_id, name, error in self.results:
            self.talk.result(content, call_id=call_id, name=name, at=self.at, error=error)
        self.results = []


def _shown(response: Any) -> str:
    """Return a tool's response as text; ADK itself wraps what is no object in `result`."""
    if isinstance(response, dict) and set(response) == {"result"}:
        response = response["result"]
    return response if isinstance(response, str) else "" if response is None else cells.dump(response)


def _file(body: Mapping[str, Any]) -> Attachment:
    name = body.get("display_name") or str(body.get("file_uri") or "").partition("?")[0].rstrip("/").rpartition("/")[2]
    return Attachment(type=cells.text(body.get("mime_type")) or "file", name=name if isinstance(name, str) else "")


def _spoken(transcription: Any) -> list[str]:
    text = transcription.get("text") if isinstance(transcription, dict) else None
    return [text] if isinstance(text, str) else []
