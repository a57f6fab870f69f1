"""Where hints are in a text: all of them in a few passes of hyperscan, or one after the other by `re`.

A hint is a pattern over Latin-1 bytes, one byte a character (a `?` for what Latin-1 lacks), so that places in bytes are
places in the text. Hyperscan tells where matches end, and a place is looked for around these ends by `re`. It is made
ready when a process has searched `PLAIN` characters, because that takes a second; until then, and where it is not
installed, every hint is searched by `re`: the same places, slower.

Why hyperscan (BSD; its binding MIT; a wheel of 3 MB for Linux, Mac and Windows): on a core where 40 patterns of `re` in
a loop read 1 MB/s it tells where 450 hints are at 30 MB/s; sets of RE2 made 5, and `re`, in a pass for each, 0.06.
Searching with all rules went from 2.6 to 9 MB/s. Left aside: one database of all (3 to 5 s to compile), where matches
begin of all (10 s for twelve hints), a cache of compiled databases (one more file to guard).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

PLAIN = 20_000  # characters that `re` searches in the time that hyperscan takes to be ready
NEAR, FAR = 200, 4096  # bytes before an end in which its place is looked for, and if none is there

Places = list[tuple[int, int]]


class Hint(NamedTuple):
    """A pattern without look-around and back-references; `place` tells where it leads, where that is not itself.

    Of few hints hyperscan is asked where matches `begin`, and the place is matched there: of those with so many words
    that `re` is slow to find the first of them.
    """

    pattern: bytes
    place: bytes = b""
    begins: bool = False


class Hints:
    """Hints to be looked for, by their number; `plain` is how many characters are searched without hyperscan."""

    def __init__(self, hints: Sequence[Hint], plain: int = PLAIN) -> None:
        self._hints = hints
        self._plain = [_plain(hint.pattern) for hint in hints]
        self._compiled: dict[bytes, re.Pattern[bytes]] = {}
        self._databases: list[Any] | None = None
        self._left = plain

    def places(self, data: bytes) -> Iterator[tuple[int, Places]]:
        """Yield the number of every hint that is in a text, and its places in their order."""
        return self._by_ends(data) if self._ready(data) else self._one_by_one(data)

    def present(self, data: bytes) -> list[int]:
        """Return which hints are in a text."""
        return list(self._spans(data)) if self._ready(data) else [index for index, _ in self._one_by_one(data)]

    def _ready(self, data: bytes) -> bool:
        if self._databases is None:
            self._left -= len(data)
            if self._left < 0:
                self._databases = _databases(self._hints, self._plain)
        return bool(self._databases)

    def _one_by_one(self, data: bytes) -> Iterator[tuple[int, Places]]:
        for index, (hint, plain) in enumerate(zip(self._hints, self._plain, strict=True)):
            if plain in data and (spans := [match.span() for match in self._pattern(hint.pattern).finditer(data)]):
                if hint.begins:
                    spans = [match.span() for match in self._pattern(hint.place or hint.pattern).finditer(data)]
                elif hint.place:
                    spans = _around(self._pattern(hint.place), spans, data)
                yield index, spans

    def _by_ends(self, data: bytes) -> Iterator[tuple[int, Places]]:
        for index, spans in self._spans(data).items():
            hint, plain = self._hints[index], self._plain[index]
            pattern = self._pattern(hint.place or hint.pattern)
            if hint.begins:
                yield index, _from(pattern, sorted({begin for begin, _ in spans}), data)
            elif plain and not hint.place:
                yield index, _from(pattern, sorted(end - len(plain) for _, end in spans), data)
            else:
                yield index, _around(pattern, sorted((end, end) for _, end in spans), data)

    def _spans(self, data: bytes) -> dict[int, Places]:
        """Return the ends of the matches of each hint, and where the match begins for those that are asked for it."""
        found: dict[int, Places] = {}

        def matched(index: int, begin: int, end: int, flags: int, context: Any) -> None:
            if index in found:
                found[index].append((begin, end))
            else:
                found[index] = [(begin, end)]

        for database in self._databases or ():
            database.scan(data, matched)
        return found

    def _pattern(self, source: bytes) -> re.Pattern[bytes]:
        if source not in self._compiled:
            self._compiled[source] = re.compile(source)
        return self._compiled[source]


def _from(pattern: re.Pattern[bytes], begins: Sequence[int], data: bytes) -> Places:
    """Return the matches of a pattern that begin at some places, which are in order."""
    places: Places = []
    at = 0
    for begin in begins:
        if begin >= at and (match := pattern.match(data, begin)):
            places.append(match.span())
            at = match.end()
    return places


def _around(pattern: re.Pattern[bytes], spans: Places, data: bytes) -> Places:
    """Return the matches of a pattern that are before, in or around some spans, which are in order."""
    places: Places = []
    first = 0
    for number, (_, end) in enumerate(spans):
        if number + 1 < len(spans) and spans[number + 1][0] - end < 2 * NEAR:
            continue  # neighbours are looked for together
        for back in (NEAR, FAR):
            begin = max(spans[first][0] - back, places[-1][1] if places else 0)
            found = [match.span() for match in pattern.finditer(data, begin, end + NEAR) if match.start() < end]
            if found or begin > spans[first][0] - back:
                break
        places += found
        first = number + 1
    return places


# a hint that begins with this many plain signs is looked for by them alone: hundreds compile in some milliseconds
_PLAIN = re.compile(rb"(?:[A-Za-z0-9_ /:~%=@\"<>,;&!#'-]|\\[-.$~: +(){}\[\]|]){3,}+(?![?*{+|])")
_PARTS = re.compile(rb"\\.|\[\^?\]?(?:\\.|[^\]])*\]", re.DOTALL)
_GROUP = re.compile(rb"\([^()]*\)")


def _plain(hint: bytes) -> bytes:
    """Return the plain signs that a hint begins with, nothing where these are few or it has alternatives."""
    plain = _PLAIN.match(hint)
    if plain is None:
        return b""
    rest = _PARTS.sub(b"", hint)
    while (fewer := _GROUP.sub(b"", rest)) != rest:
        rest = fewer
    return b"" if b"|" in rest else plain[0].replace(b"\\", b"")


TOGETHER = 20  # hints in one database, which are alike: more take much longer to compile, fewer to be searched


def _databases(hints: Sequence[Hint], plain: Sequence[bytes]) -> list[Any]:
    """Return the compiled hints; none where hyperscan is not installed."""
    try:
        import hyperscan
    except ImportError:
        return []
    rest = [index for index, hint in enumerate(hints) if not plain[index] and not hint.begins]
    rest.sort(key=lambda index: hints[index].pattern[:4])
    families = [[index] for index, hint in enumerate(hints) if hint.begins]
    families += [rest[at : at + TOGETHER] for at in range(0, len(rest), TOGETHER)]
    families.append([index for index, hint in enumerate(hints) if plain[index] and not hint.begins])
    databases = []
    for indices in filter(None, families):
        database = hyperscan.Database()
        database.compile(
            expressions=[re.escape(plain[index]) or hints[index].pattern for index in indices],
            ids=indices,
            elements=len(indices),
            flags=[hyperscan.HS_FLAG_SOM_LEFTMOST if hints[index].begins else 0 for index in indices],
        )
        databases.append(database)
    return databases
