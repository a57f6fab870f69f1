"""What hermes itself writes into a conversation: summaries, prompts to the model, notices, marks around words."""

from __future__ import annotations

import re
from typing import NamedTuple

JSON = "\x00json:"  # a NUL cannot begin a text, so this marks content that is a list
SUMMARY = ("[CONTEXT COMPACTION", "[CONTEXT SUMMARY]:")
PRIOR = "[PRIOR CONTEXT — for reference only; not a new message]"
MERGED = "[END OF PRIOR CONTEXT — COMPACTION SUMMARY BELOW]"
END = "--- END OF CONTEXT SUMMARY"  # up to the next three dashes
STRIPPED = "[Attached image — stripped after compression]"
TASKS = "[Your active task list was preserved across context compression]"
INJECTED = (
    TASKS,
    "Continue from the compressed conversation context above.",
    "[STILL IN PROGRESS — this is the active request, restated after the compaction boundary",
    "[System: The active model for this chat has changed to ",
    "[System: The previous response was cut off by a network error mid-stream.",
    "You just executed tool calls but returned an empty response. Please process the tool results",
    "You've reached the maximum number of tool-calling iterations allowed. Please provide a final response",
)
REVIEW = (
    "Review the conversation above and update the skill library",
    "Review the conversation above and consider saving to memory",
    "Review the conversation above and update two things",
)
UNSAID = ("hidden", "model_switch")  # kinds of rows that neither the user nor the model said
_RESUMED = re.compile(r"\[System note: Your previous turn was interrupted mid-run.*?\]\s*", re.DOTALL)
_STEER = re.compile(r"\[OUT-OF-BAND USER MESSAGE[^\]\n]*\]\n?"), re.compile(r"\n?\[/OUT-OF-BAND USER MESSAGE\]")
_MEMORY = re.compile(r"<\s*memory-context\s*>", re.I), re.compile(r"</\s*memory-context\s*>", re.I)
_STOPPED = re.compile(
    r"Operation interrupted(?:\.|: [^\n]{1,200} elapsed\)\.)|\[This response was interrupted by a user correction\.\]"
)


class Notice(NamedTuple):
    """How a turn ended, as the app's words in the answer's place tell it."""

    error: str | None
    ended: str | None


def notice(text: str, kind: object) -> Notice | None:
    """Return what the app's own words in an answer's place tell; None for an answer of the model."""
    if kind == "failed_turn":
        return Notice(text.strip() or "the turn failed", None)
    return Notice(None, "interrupted") if len(text) < 300 and _STOPPED.fullmatch(text.strip()) else None


def own_words(text: str) -> tuple[str, bool]:
    """Return (what a user said, whether the app had put words of its own beside it)."""
    said = _RESUMED.sub("", text, count=1) if text.startswith("[System note:") else text
    said = said.partition(f"\n\n{TASKS}")[0]
    left_out = said != text
    for begin, inner, stop, end in reversed(_spans(said, *_STEER)):  # the app's frame around what a user said meanwhile
        said = said[:begin] + said[inner:stop] + said[end:]
    return said, left_out


def without_memory(text: str) -> str:
    """Return a text without what the app remembered for the model."""
    spans = _spans(text, *_MEMORY) if "memory-context" in text else []
    if not spans:
        return text
    edges = [0, *(edge for begin, _, _, end in spans for edge in (begin, end)), len(text)]
    return "".join(text[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True)).strip()


def _spans(text: str, opening: re.Pattern[str], closing: re.Pattern[str]) -> list[tuple[int, int, int, int]]:
    """Return (begin, inner begin, inner end, end) of what stands between marks, in order, in one pass."""
    found: list[tuple[int, int, int, int]] = []
    at = 0
    while (opened := opening.search(text, at)) and (closed := closing.search(text, opened.end())):
        found.append((opened.start(), opened.end(), closed.start(), closed.end()))
        at = closed.end()
    return found


def summary(text: str) -> tuple[bool, str]:
    """Return (whether a text is or holds a summary, the message that stands around it)."""
    if MERGED in text:
        return True, text.split(MERGED, 1)[0].strip().removeprefix(PRIOR).strip()
    if text.lstrip().startswith(SUMMARY):
        end = _ended(text, 0)
        return True, text[end:].strip() if end else ""
    begin = text.find("\n\n[CONTEXT COMPACTION")
    end = _ended(text, begin) if begin >= 0 else None
    if end is None:
        return False, text
    return True, "\n\n".join(part for part in (text[:begin], text[end:].lstrip()) if part.strip())


def _ended(text: str, begin: int) -> int | None:
    """Return where the end mark of a summary ends."""
    mark = text.find(END, begin)
    dashes = text.find("---", mark + len(END)) if mark >= 0 else -1
    return dashes + 3 if dashes >= 0 else None
