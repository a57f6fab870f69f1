"""What every prompt family shares: rendering a template in pieces, and checking that an answer reads back as itself.

A family is a function that fills a `TemplatePrompt`: a template with `{% generation %}` marks round every answer, a
normaliser and a parser. The served template is the same text without the marks.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lunar_tune.artefacts import Reply, Row, Segment, Verdict
from lunar_tune.chatml import WireMessage, WireTool
from lunar_tune.identity import content_id
from lunar_tune.prompts.jinja import RENDERING, Answer, pieces
from lunar_tune.prompts.normalise import NORMALISING, Normalised

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")  # whatever the locale
_MARK = re.compile(r"[ \t]*\{%-? *(?:end)?generation *-?%\}\n?")


@dataclass(frozen=True, slots=True)
class TemplatePrompt:
    """A `lunar_tune.seams.Prompt` made of a template, a normaliser and a parser."""

    family: str
    style: str
    template: str = field(repr=False)
    """Jinja with `{% generation %}` marks."""
    go_template: str = field(repr=False)
    stops: tuple[str, ...]
    begin: str
    """Text of the token that begins every row."""
    end: str
    """Text of the token that ends an answer."""
    normalise: Callable[[Sequence[WireMessage], Sequence[WireTool]], Normalised] = field(repr=False)
    """Bring messages and tools into the shape that the template takes; says what it changed or left out."""
    reader: Callable[[str, Sequence[WireTool]], Reply] = field(repr=False)
    plain: Callable[[str], tuple[str, int]] = field(repr=False)
    """Neutralise special tokens in a text as the template does; returns the text and how many there were."""
    rendering: int = 1
    """Raised when the family's own code changes the text it makes."""

    @property
    def serving_template(self) -> str:
        """Jinja for the GGUF's tokenizer.chat_template: the template without its marks."""
        return _MARK.sub("", self.template)

    @property
    def version(self) -> str:
        """Content id of everything that shapes the text."""
        shaped_by = [self.family, self.style, self.template, self.rendering, RENDERING, NORMALISING]
        return content_id("prompt", shaped_by)

    def shaped(
        self, messages: Sequence[WireMessage], tools: Sequence[WireTool]
    ) -> tuple[list[WireMessage], list[WireTool]]:
        """Return messages and tools in the shape that the style's template takes, as the door passes them on."""
        shape = self.normalise(messages, tools)
        return shape.messages, shape.tools

    def segments(self, row: Row) -> list[Segment]:
        """Return a row's text in pieces; `turn` of an answer is the index of its message in the row.

        A turn that the style writes as several (a call and its result each) gives several pieces of the same turn.
        """
        shape = self.normalise(row["messages"], row.get("tools") or ())
        turns = iter([turn for message, turn in zip(shape.messages, shape.turns, strict=True) if _answers(message)])
        out: list[Segment] = []
        for piece in pieces(self.template, self._variables(shape, row["date"])):
            if isinstance(piece, Answer):
                turn = next(turns)
                out.append(Segment(str(piece), turn, weight(row["messages"][turn]) == 1))
            elif out and out[-1].turn is None:
                out[-1] = Segment(out[-1].text + piece)
            else:
                out.append(Segment(piece))
        return out

    def text(self, messages: Sequence[WireMessage], tools: Sequence[WireTool], date: str) -> str:
        """Return the served text up to the place where the assistant's answer begins; `date` is YYYY-MM-DD."""
        shape = self.normalise(messages, tools)
        return "".join(pieces(self.template, self._variables(shape, date) | {"add_generation_prompt": True}))

    def parse(self, text: str, tools: Sequence[WireTool]) -> Reply:
        """Read what a model wrote; never raises: what is no call of an offered tool is content, with `problem` set."""
        return self.reader(text, tools)

    def neutralised(self, messages: Sequence[WireMessage], tools: Sequence[WireTool]) -> int:
        """Count the special tokens written inside texts, arguments, results and tools; the template makes them text."""
        shape = self.normalise(messages, tools)
        return sum(self.plain(text)[1] for text in _strings([shape.messages, shape.tools]))

    def unfaithful(self, row: Row) -> list[Verdict]:
        """Name the supervised turns that this prompt cannot write so that they read back as themselves.

        Such a turn would teach something else than was said: a number that the server's template rounds, a call of a
        tool that was not offered, text that looks like a call. `reason` is `unreadable`, or `differs` when it reads
        back as something else.
        """
        verdicts: list[Verdict] = []
        answers: dict[int, list[str]] = {}
        tools = row.get("tools") or ()
        for segment in self.segments(row):
            if segment.turn is not None and segment.supervised:
                answers.setdefault(segment.turn, []).append(segment.text.removesuffix(self.end))
        for turn, texts in answers.items():
            replies = [self.parse(text, tools) for text in texts]
            problem = next((reply.problem for reply in replies if reply.problem), None)
            if problem:
                verdicts.append(Verdict(row["id"], "tokens", "unreadable", problem, turn))
            elif not self._same(row["messages"][turn], replies):
                verdicts.append(Verdict(row["id"], "tokens", "differs", "reads back as something else", turn))
        return verdicts

    def _same(self, message: WireMessage, replies: Sequence[Reply]) -> bool:
        shape = self.normalise([message], ())
        said = "\n".join(filter(None, (self.plain(m["content"])[0] for m in shape.messages)))
        calls = [call["function"] for m in shape.messages for call in m.get("tool_calls", ())]
        read = [(call.name, call.arguments) for reply in replies for call in reply.tool_calls]
        content = "\n".join(filter(None, (reply.content for reply in replies)))
        return content == stripped(said) and read == [(c["name"], c["arguments"]) for c in calls]

    def _variables(self, shape: Normalised, date: str) -> dict[str, Any]:
        return {
            "messages": shape.messages,
            "tools": shape.tools or None,
            "bos_token": self.begin,
            "date_string": spoken_date(date),
            "add_generation_prompt": False,
        }


def spoken_date(date: str) -> str:
    """Return 2024-07-26 as `26 Jul 2024`, English in every locale.

    Raises:
        ValueError: not an ISO date.
    """
    day = datetime.date.fromisoformat(date)
    return f"{day.day:02d} {MONTHS[day.month - 1]} {day.year:04d}"


def weight(message: WireMessage) -> int:
    """Return 1 where an assistant message is to be learnt; no weight means 1, as in OpenAI's format."""
    return int(message.get("weight", 1)) if _answers(message) else 0


def stripped(text: str) -> str:
    """Trim as the server does: ASCII white space only."""
    return text.strip(" \t\n\v\f\r")


def _answers(message: WireMessage) -> bool:
    return bool(message["role"] == "assistant")


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in (*_strings(key), *_strings(item))]
    if isinstance(value, (list, tuple)):
        return [text for item in value for text in _strings(item)]
    return []
