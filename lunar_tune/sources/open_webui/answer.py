"""One stored answer of Open WebUI taken apart: what was said, thought and called, in order.

Newer rows hold `output`, a list of items like those of OpenAI's Responses API. Older ones hold all of it in the text,
as `<details type="…">` blocks that the app wrote; such a block inside a code fence is somebody's text and stays so.
Which of several such calls were made together is not stored: each is read as a turn of its own.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from lunar_tune.episodes import Attachment, ToolCall
from lunar_tune.sources.core import cells
from lunar_tune.sources.core.conversation import joined_text

Lost = Callable[[str], None]  # says, without its text, that a part of the answer could not be read

FAILED = {"failed": "the call failed", "rejected": "the user rejected the call"}
CODE_TOOL = "code_interpreter"
NESTED = 256  # tags in the body of a block that are looked at for its end
_BLOCK = re.compile(
    r"^[ ]{0,3}(?P<fence>`{3,}(?=[^`\n]*$)|~{3,})[^\n]*(?:\n|\Z)(?:.*?^[ ]{0,3}(?P=fence)[`~]*[ \t]*$|.*)"
    r'|(?:^[ \t]*|(?<=</details>))<details(?P<attributes>(?:\s++[\w:-]++(?:="[^"]*+")?+)*+)\s*+>',
    re.MULTILINE | re.DOTALL,
)
_ATTRIBUTE = re.compile(r'([\w:-]+)="([^"]*)"')
_EDGE = re.compile(r"<details\b|</details>")
_SUMMARY = re.compile(r"\s*<summary>.*?</summary>\s*", re.DOTALL)
_FENCE = re.compile(r"```(\w*)(?=\n)")
_QUOTE = re.compile(r"^> ?", re.MULTILINE)


@dataclass(slots=True)
class Turn:
    """What the model said before it was given results."""

    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Result:
    """What a call gave back."""

    content: str
    call_id: str | None = None
    name: str | None = None
    error: str | None = None
    files: tuple[Attachment, ...] = ()


@dataclass(slots=True)
class Answer:
    """The steps of an answer. A call that follows a result begins a new turn, for the model saw the result first."""

    steps: list[Turn | Result] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Add text; blank text is nothing."""
        if text.strip():
            self._turn(fresh_after_calls=True).texts.append(text.strip())

    def think(self, text: str) -> None:
        """Add reasoning."""
        if text.strip():
            self._turn(fresh_after_calls=True).thoughts.append(text.strip())

    def call(self, call: ToolCall) -> None:
        """Add a call; calls without a result between them were made together."""
        self._turn(fresh_after_calls=False).calls.append(call)

    def result(self, result: Result) -> None:
        """Add a result."""
        self.steps.append(result)

    def _turn(self, *, fresh_after_calls: bool) -> Turn:
        last = self.steps[-1] if self.steps else None
        if isinstance(last, Turn) and not (last.calls and fresh_after_calls):
            return last
        turn = Turn()
        self.steps.append(turn)
        return turn


def read(output: Any, content: str, lost: Lost) -> Answer:
    """Return the answer that a message's `output` and content hold; the items win where they say anything."""
    answer = from_output(output, lost) if isinstance(output, list) else Answer()
    turns = [step for step in answer.steps if isinstance(step, Turn)]
    if any(turn.texts or turn.calls for turn in turns):
        return answer
    told = from_content(content, lost)
    thoughts = [thought for turn in turns for thought in turn.thoughts]
    if thoughts and not any(isinstance(step, Turn) and step.thoughts for step in told.steps):
        first = told.steps[0] if told.steps else None
        if isinstance(first, Turn):
            first.thoughts = thoughts
        else:
            told.steps.insert(0, Turn(thoughts=thoughts))
    return told


def from_output(items: list[Any], lost: Lost) -> Answer:
    """Return the answer that a list of `output` items holds."""
    answer = Answer()
    results = {str(i.get("call_id")) for i in items if isinstance(i, dict) and i.get("type") == "function_call_output"}
    statuses: dict[str, Any] = {}
    for item in items:
        kind = item.get("type") if isinstance(item, dict) else None
        if kind == "message":
            answer.say(_texts(item.get("content")))
        elif kind == "reasoning":
            answer.think(_texts(item.get("summary")) or _texts(item.get("content")))
        elif kind == "function_call":
            call = cells.call(item.get("name"), item.get("arguments"), item.get("call_id") or item.get("id"))
            statuses[str(call.id)] = item.get("status")
            answer.call(call)
            failed = FAILED.get(str(item.get("status")))
            if failed and str(call.id) not in results:
                answer.result(Result("", call.id, call.name, failed))
        elif kind == "function_call_output":
            failed = FAILED.get(str(item.get("status"))) or FAILED.get(str(statuses.get(str(item.get("call_id")))))
            answer.result(
                Result(_texts(item.get("output")), cells.text(item.get("call_id")), None, failed, _pictures(item))
            )
        elif kind == "open_webui:code_interpreter":
            _code(answer, item.get("code"), item.get("lang"), item.get("output"))
        elif kind == "open_webui:context_compaction":
            lost("a compaction summary")
        elif isinstance(kind, str) and kind.endswith("_call"):
            lost("a call that the provider ran itself")
        else:
            lost("an output item of unknown type")
    return answer


def from_content(content: str, lost: Lost) -> Answer:
    """Return the answer that a text holds, with the app's own blocks read and everything else left as it is."""
    answer, begin = Answer(), 0
    for attributes, start, body, end in _blocks(content) if "<details" in content else ():
        answer.say(content[begin:start])
        begin = end
        kind = attributes.get("type")
        if kind == "reasoning":
            answer.think(_QUOTE.sub("", html.unescape(_unsummarised(body))))
        elif kind == "tool_calls":
            _called(answer, attributes, body)
        else:
            fence, last = _FENCE.search(body), body.rfind("\n```")
            if fence is None or last < fence.end():
                lost("a code block without code")
                continue
            _code(answer, body[fence.end() + 1 : last], fence[1], _decoded(attributes.get("output", "")))
    rest = content[begin:]
    if not answer.steps:
        said, thought = cells.split_thinking(rest)
        answer.think(thought or "")
        rest = said if thought else rest
    answer.say(rest)
    return answer


def _blocks(content: str) -> Iterator[tuple[dict[str, str], int, str, int]]:
    """Yield (attributes, start, body, end) of the app's blocks outside code fences."""
    at = 0
    while (found := _BLOCK.search(content, at)) is not None:
        at = found.end()
        if found["attributes"] is None:
            continue
        attributes = dict(_ATTRIBUTE.findall(found["attributes"]))
        if attributes.get("type") in ("reasoning", "tool_calls", CODE_TOOL):
            inner, at = _closed(content, found.end())
            yield attributes, found.start(), content[found.end() : inner], at


def _unsummarised(body: str) -> str:
    """Return a body without the line that the screen shows for it."""
    found = _SUMMARY.match(body)
    return body[found.end() if found else 0 :].strip()


def _closed(content: str, begin: int) -> tuple[int, int]:
    """Return where the body that begins there ends, and where its closing tag does."""
    depth, first = 1, None
    for edge in islice(_EDGE.finditer(content, begin), NESTED):
        closing = edge[0] == "</details>"
        depth += -1 if closing else 1
        first = first or (edge.span() if closing else None)
        if depth == 0:
            return edge.span()
    return first or (len(content), len(content))  # a body that speaks of tags, or a stream that was cut


def _called(answer: Answer, attributes: dict[str, str], body: str) -> None:
    name, call_id = html.unescape(attributes.get("name", "")), html.unescape(attributes.get("id", "")) or None
    answer.call(cells.call(name, html.unescape(attributes.get("arguments", "")), call_id))
    if attributes.get("done") == "true":
        # one version wrote the result as an attribute, the next as the body
        written = attributes.get("result") or _unsummarised(body)
        value = _decoded(written)
        content = value if isinstance(value, str) else cells.dump(value)
        files = _decoded(attributes.get("files", ""))
        answer.result(Result(content, call_id, name, None, attachments(files)))


def _decoded(escaped: str) -> Any:
    plain = html.unescape(escaped)
    try:
        return cells.parse_json(plain)
    except ValueError:
        return plain


def _code(answer: Answer, code: Any, language: Any, output: Any) -> None:
    """Add code that the app ran for the model, as the call of a tool that it was."""
    arguments = {"code": code if isinstance(code, str) else ""}
    if isinstance(language, str) and language:
        arguments["lang"] = language
    answer.call(ToolCall(name=CODE_TOOL, arguments=arguments))
    if output in (None, ""):
        return
    if not isinstance(output, dict):
        answer.result(Result(output if isinstance(output, str) else cells.dump(output), name=CODE_TOOL))
        return
    parts = [output.get("stdout"), output.get("result")]
    said = [p.strip() if isinstance(p, str) else cells.dump(p) for p in parts if p not in (None, "")]
    trouble = output.get("stderr")
    answer.result(Result("\n".join(said), name=CODE_TOOL, error=trouble if isinstance(trouble, str) else None))


def _texts(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return joined_text(value, ("text", "refusal"))
    return "" if value is None else cells.dump(value)


def _pictures(item: dict[str, Any]) -> tuple[Attachment, ...]:
    output = item.get("output")
    parts = output if isinstance(output, list) else []
    pictures = [part for part in parts if isinstance(part, dict) and part.get("type") == "input_image"]
    return (*(Attachment(type="image") for _ in pictures), *attachments(item.get("files")))


def attachments(files: Any) -> tuple[Attachment, ...]:
    """Return the files of a message by type and name; addresses and contents stay in the log."""
    found = []
    for file in files if isinstance(files, list) else ():
        if not isinstance(file, dict):
            found.append(Attachment(type="file"))
            continue
        inner = file.get("file")
        inner = inner if isinstance(inner, dict) else {}
        name = next((n for n in (file.get("name"), inner.get("filename")) if isinstance(n, str)), "")
        kinds = (file.get("content_type"), file.get("type"), "file")
        found.append(Attachment(type=next(k for k in kinds if isinstance(k, str) and k), name=name))
    return tuple(found)
