"""Answers that the log does not call cut off, though their text breaks off: conservative, and only of unknown ends.

Known ends ("length", "cancelled") are the business of `turns`. An open code fence, JSON that stops before it closes,
and prose of whole sentences whose last one stops at an article, a conjunction, a comma or a hyphen break off.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Final

from lunar_tune.artefacts import Draft
from lunar_tune.curate.marks import LEARN, Marker
from lunar_tune.seams import Report

FENCE, JSON, PROSE = "ends within a code block", "ends within JSON", "ends within a sentence"
LONGEST_JSON = 1_000_000  # characters; longer JSON is not parsed
SENTENCES = 3  # ended sentences before the last one: only then is an end without a mark out of the ordinary
ENDING = 200  # characters at the end in which the last sentence is looked at

_FENCE: Final = re.compile(r"(?m)^[ \t>]{0,8}(`{3,}|~{3,})([^`\n]*)$")
_LAST: Final = re.compile(
    r"(?:\b(?:the|a|an|and|or|because|my|your|our|their|of the|to the|in the|with the|for the|und|oder|der|ein|eine|"
    r"y|et|el|la)"
    r"|\w,|\w[\w'] [-–]|[(\[])\Z"
)
_PLAIN_LINE: Final = re.compile(r"\s*(?:[-*+•>#|]|\d+[.)]|`|<|[A-Z][\w ]{0,30}:)")


class CutOff:
    """Sets aside the answers that break off."""

    name = "cutoff"

    def __call__(self, drafts: Iterable[Draft], report: Report) -> Iterator[Draft]:
        """Yield every draft, its answers without an end set aside."""
        for draft in drafts:
            marker: Marker | None = None
            for index, message in enumerate(draft.episode.messages):
                if draft.weights[index] == LEARN and message.finish is None and not message.tool_calls:
                    reason = breaks_off(message.content)
                    if reason is not None:
                        marker = marker or Marker(draft, self.name, report)
                        marker.set_aside(index, reason)
            yield marker.done() if marker else draft


def breaks_off(text: str) -> str | None:
    """Say in what a text breaks off, None for one that ends, or may end."""
    end = text.rstrip()
    if ("```" in end or "~~~" in end) and _open_fence(end):
        return FENCE
    if end[:1] in ("{", "[") and end[-1:] not in ("}", "]") and _open_json(end):
        return JSON
    return PROSE if _open_sentence(end) else None


def _open_fence(text: str) -> bool:
    """Tell whether the last fence of a text has no other end: one of the same sign, as long, and without a language."""
    opened = ""
    for match in _FENCE.finditer(text):
        fence, info = match[1], match[2].strip()
        if not opened:
            opened = fence
        elif not info and fence[0] == opened[0] and len(fence) >= len(opened):
            opened = ""
    return bool(opened)


def _open_json(text: str) -> bool:
    """Tell whether a text is the beginning of a JSON value: it is, up to its last character."""
    if len(text) > LONGEST_JSON or not re.match(r"\{\s*\"|\[\s*[\[{\"\d]", text):
        return False
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return error.pos >= len(text) or error.msg.startswith("Unterminated string")
    except (ValueError, RecursionError):
        return False
    return False


def _open_sentence(text: str) -> bool:
    if len(text) < ENDING or _LAST.search(text[-12:]) is None:
        return False
    line = text[-2000:].rpartition("\n")[2]
    if len(line) < 40 or _PLAIN_LINE.match(line):
        return False
    return len(re.findall(r"[.!?](?=\s|\Z)", text[-2000:])) >= SENTENCES
