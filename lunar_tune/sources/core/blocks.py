"""Content blocks as providers write them (Anthropic, OpenAI, AI SDK): text, thinking, calls, results and files apart.

A block's own words never leave through an error; what is of no known type is counted in `other`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lunar_tune.episodes import Attachment, ToolCall
from lunar_tune.sources.core import cells

TEXT = {"text", "input_text", "output_text", "refusal", "summary_text", "reasoning_text"}
THOUGHT = {"thinking", "reasoning"}
CALL = {"tool_use", "server_tool_use", "mcp_tool_use", "tool-call", "tool_call"}
RESULT = {"tool_result", "tool-result", "mcp_tool_result"}
FILE = {
    "image", "document", "file", "audio", "video", "image_url", "input_image", "input_file", "input_audio",
    "container_upload",
}  # fmt: skip
EMPTY = {"redacted_thinking", "redacted-reasoning", "step-start", "cache_control"}  # nothing in them can be read
FAILED = "the tool reported an error"


@dataclass(frozen=True, slots=True)
class Result:
    """A tool's answer; `error` says that it failed."""

    call_id: str | None
    content: str
    name: str | None = None
    error: str | None = None
    files: tuple[Attachment, ...] = ()


@dataclass(slots=True)
class Blocks:
    """What a list of blocks holds, each kind in order. `other` counts blocks of unknown type."""

    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    files: list[Attachment] = field(default_factory=list)
    other: int = 0

    @property
    def text(self) -> str:
        """The texts, a newline between."""
        return "\n".join(text for text in self.texts if text)

    @property
    def reasoning(self) -> str | None:
        """The thoughts, a newline between."""
        return "\n".join(thought for thought in self.thoughts if thought) or None


def read_blocks(content: Any) -> Blocks:
    """Read a message's content: a text, one block or a list of blocks and texts."""
    found = Blocks()
    for block in content if isinstance(content, list) else () if content is None else (content,):
        if isinstance(block, str):
            found.texts.append(block)
        elif isinstance(block, dict):
            _take(found, block)
        else:
            found.other += 1
    return found


def _take(found: Blocks, block: Mapping[str, Any]) -> None:
    kind = block.get("type")
    kind = kind if isinstance(kind, str) else ""
    if kind in TEXT:
        _text(found, found.texts, _first(block, ("text", "refusal")))
    elif kind in THOUGHT:
        thought = _first(block, ("thinking", "text", "reasoning"))
        details = block.get("details")
        if not thought and isinstance(details, list):  # the AI SDK's; those that are redacted have no text
            thought = "\n".join(
                part["text"] for part in details if isinstance(part, dict) and isinstance(part.get("text"), str)
            )
        _text(found, found.thoughts, thought)
    elif kind in CALL:
        arguments = _first(block, ("input", "args", "arguments"))
        found.calls.append(cells.call(_first(block, ("name", "toolName")), arguments, _first(block, CALL_ID)))
    elif kind in RESULT or kind.endswith("_tool_result"):
        found.results.append(_result(block))
    elif kind in FILE:
        found.files.append(attachment(block))
    elif kind not in EMPTY:
        found.other += 1


CALL_ID = ("id", "toolCallId", "tool_call_id", "call_id")


def _text(found: Blocks, into: list[str], text: Any) -> None:
    if isinstance(text, str):
        into.append(text)
    else:
        found.other += 1


def _result(block: Mapping[str, Any]) -> Result:
    content = _first(block, ("content", "output", "result"))
    failed = block.get("is_error") is True or block.get("isError") is True
    text, files = result_text(content)
    return Result(
        call_id=cells.text(_first(block, ("tool_use_id", "toolCallId", "tool_call_id", "call_id"))),
        content=text,
        name=cells.text(_first(block, ("name", "toolName"))),
        error=FAILED if failed else None,
        files=files,
    )


def result_text(content: Any) -> tuple[str, tuple[Attachment, ...]]:
    """Return (text, files) of a tool's result: texts as they are, lists of blocks joined, other JSON dumped.

    The contents of files are in neither.
    """
    if content is None:
        return "", ()
    if isinstance(content, str):
        return content, ()
    if isinstance(content, dict) and content.get("type") in ("text", "error-text") and "value" in content:
        return str(content["value"]), ()  # the AI SDK's typed output
    if not isinstance(content, list) or any(_is_result(item) for item in content):  # results in results have no end
        return cells.dump(content), ()
    inner = read_blocks(content)
    if inner.other or inner.calls or inner.results or not (inner.texts or inner.files):
        shown = [block for block in content if not _is_file(block)] if inner.files else content
        return cells.dump(shown), tuple(inner.files)
    return inner.text, tuple(inner.files)


def _is_result(block: Any) -> bool:
    kind = block.get("type") if isinstance(block, dict) else None
    return isinstance(kind, str) and (kind in RESULT or kind.endswith("_tool_result"))


def _is_file(block: Any) -> bool:
    return isinstance(block, dict) and isinstance(block.get("type"), str) and block["type"] in FILE


def attachment(block: Mapping[str, Any]) -> Attachment:
    """Return the type and name of a file's block, never its content or address."""
    source = block.get("source") if isinstance(block.get("source"), dict) else {}
    holder = {**(source if isinstance(source, dict) else {}), **block}
    kind = _first(holder, ("media_type", "mediaType", "mimeType", "mime_type", "contentType"))
    name = _first(holder, ("filename", "file_name", "title", "name"))
    if not isinstance(kind, str):
        kind = str(block.get("type") or "file").removeprefix("input_").removesuffix("_url")
    return Attachment(type=kind, name=name if isinstance(name, str) else "")


def _first(block: Mapping[str, Any], keys: Iterable[str]) -> Any:
    return next((block[key] for key in keys if block.get(key) is not None), None)
