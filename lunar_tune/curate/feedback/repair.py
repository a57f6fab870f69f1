"""What the agent did next, as evidence on the answer before: a mistake admitted, a call made anew as it was asked for.

By itself only plain words of fault convict, or a call that is given the value of the first request in place of one that
nobody had named; everything else lends weight to what the user said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from lunar_tune.curate.feedback.similar import STOP_SIGNS, words
from lunar_tune.curate.signs import listed, said
from lunar_tune.episodes import ToolCall

LONGEST = 2000  # characters of a request or an argument that are compared
PAIRS = 50  # pairs of calls of one tool that are compared
SAME_FRAME = 0.7  # share of words but numbers in which two answers agree when the second mends the first's numbers
_PART: Final = re.compile(r"[a-zA-Z][a-z]+")
_INVERSE: Final = listed(
    "cancel undo revert restore remove delete disarm unset refund recall reset rollback amend reopen enable "
    "disable update"
)


def redone_as_asked(request: str, calls: Sequence[ToolCall], again: Sequence[ToolCall]) -> bool:
    """Tell whether a call is made again with a value that the request named, in place of one that it did not."""
    made = [
        (first.arguments, call.arguments)
        for call in again
        for first in calls
        if first.name == call.name and first.arguments != call.arguments
    ]
    if not made:
        return False
    asked = _tokens(request[:LONGEST])
    for before, after in made[:PAIRS]:
        for key in before.keys() & after.keys():
            if before[key] == after[key]:
                continue
            was, now = _tokens(before[key]), _tokens(after[key])
            if now and was and now <= asked and not was <= asked and not (was - now) & asked:
                return True
    return False


def takes_back(calls: Iterable[ToolCall], again: Iterable[ToolCall]) -> bool:
    """Tell whether the next calls undo or change what the calls did: "cancel", "restore", or the same tool anew."""
    before = list(calls)
    names = {call.name for call in before}
    for call in again:
        if any(part.lower() in _INVERSE for part in _PART.findall(call.name)) and before:
            return True
        if call.name in names and all(call.arguments != first.arguments for first in before if first.name == call.name):
            return True
    return False


def same_but_numbers(answer: str, then: str) -> bool:
    """Tell whether an answer is given anew with other numbers in it."""
    mine, theirs = words(answer).content, words(then).content
    was, now = {w for w in mine if w.isdigit()}, {w for w in theirs if w.isdigit()}
    frame, other = mine - was, theirs - now
    return was != now and bool(was and now) and len(frame & other) >= SAME_FRAME * len(frame | other) > 0


def adopts(reply: str, then: str) -> bool:
    """Tell whether the agent only says again what the user said."""
    said = words(then).content
    return len(said) >= 2 and len(said & words(reply).content) >= 0.8 * len(said)


def _tokens(value: Any) -> frozenset[bytes]:
    """Return the words of a value, numbers without leading zeros."""
    found = frozenset[bytes]().union(*(said(text[:LONGEST]) for text in _texts(value)))
    return frozenset(word.lstrip(b"0") or word if word.isdigit() else word for word in found - STOP_SIGNS)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif value is not None:
        yield str(value)
