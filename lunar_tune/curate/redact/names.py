"""Names of people that the user lists: whole words, whatever their case.

A name ends where letters and digits end, so it is found in `maren_report.txt`, `@maren` and what is before the `@` of
an address too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from lunar_tune.curate.redact.found import Found
from lunar_tune.curate.redact.hints import Hint, Hints


class Names:
    """The listed names as one pattern."""

    def __init__(self, names: Sequence[str]) -> None:
        self.listed = tuple(names)
        listed = sorted({" ".join(name.split()) for name in names} - {""}, key=lambda name: (-len(name), name))
        self._folded = sorted({name.split()[0].casefold() for name in listed})
        self._hints = Hints([Hint(re.escape(name.encode("utf-8", "surrogatepass"))) for name in self._folded])
        words = "|".join(r"[\s_.+-]+".join(map(re.escape, name.split())) for name in listed)
        self._pattern = re.compile(rf"(?i)(?:(?<![^\W_])|(?<=\\[nrt]))(?:{words})(?![^\W_])") if listed else None

    @staticmethod
    @lru_cache(maxsize=8)
    def of(names: Sequence[str]) -> Names:
        """Return the names of a tuple, remembered."""
        return Names(names)

    def search(self, text: str) -> list[Found]:
        """Return where a listed name stands."""
        if self._pattern is None:
            return []
        folded = text.casefold()
        present = [self._folded[index] for index in self._hints.present(folded.encode("utf-8", "surrogatepass"))]
        if not present:
            return []
        if len(folded) != len(text):
            return [Found(*match.span(), "NAME", False, match.start()) for match in self._pattern.finditer(text)]
        found: list[Found] = []
        for begin in sorted({begin for name in present for begin in _starts(name, folded)}):
            if (not found or begin >= found[-1].end) and (match := self._pattern.match(text, begin)):
                found.append(Found(*match.span(), "NAME", False, begin))
        return found


def _starts(name: str, text: str) -> Iterator[int]:
    at = text.find(name)
    while at >= 0:
        yield at
        at = text.find(name, at + 1)
