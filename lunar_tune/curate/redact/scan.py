"""All rules over a text: one pass of RE2 tells which can match, and those alone are run.

A text is searched as Latin-1 bytes, one byte a character (a `?` for what Latin-1 lacks), so that places in bytes are
places in the text. Long texts are searched in blocks, each with what is before and after it in sight. Without RE2 every
hint is searched by `re`: the same result, slower.

Why RE2 (google-re2, BSD, a wheel of 0.5 MB for Linux, Mac and Windows): one pass for 450 hints at 20 MB/s and more,
where `re` needs one pass each. Left aside: phonenumbers (its matcher reads under 1 MB/s) and python-stdnum
(the checksums of `checks` agree with it on random numbers; they are three lines each).
"""

from __future__ import annotations

import itertools
import re
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from typing import Any

from lunar_tune.curate.redact.assigned import ASSIGNED, KEYED
from lunar_tune.curate.redact.found import Found
from lunar_tune.curate.redact.issuers import ISSUED
from lunar_tune.curate.redact.listed import LISTED
from lunar_tune.curate.redact.personal import NUMBERS, OTHERS
from lunar_tune.curate.redact.placed import PLACED
from lunar_tune.curate.redact.rules import Rule, Spot
from lunar_tune.curate.redact.told import TOLD

BLOCK = 4096  # characters: small enough that few rules match in a block, large enough that a block costs little
SIGHT = 200  # characters before and after a block that belong to what begins in it
MEMORY = 256 << 20  # RE2's budget for the states of all hints; they take some MB


_RULES: tuple[Rule, ...] = (*ISSUED, *PLACED, *NUMBERS, *OTHERS)
SPOTS: tuple[Spot, ...] = (*ASSIGNED, *LISTED, *TOLD)
# keys and PEM blocks win over what is said of them, that over numbers and addresses
_ORDER = len(ISSUED) + len(PLACED)


TOGETHER, TOLD_TOGETHER = 12, 4  # hints in one set; those of telling words have more states


def _families(indices: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yield which hints are searched for together: neighbours, which are alike, and few, so that states stay few."""
    for first, last in itertools.pairwise((0, len(ISSUED), _ORDER, _ORDER + len(NUMBERS), len(_RULES), 1 << 30)):
        alike = [index for index in indices if first <= index < last]
        step = TOLD_TOGETHER if first == len(_RULES) else TOGETHER
        for at in range(0, len(alike), step):
            yield alike[at : at + step]


class _Scanner:
    """The compiled hints. `engine` is `re2`, or `re` where that is not installed.

    One search for all hints would have the product of their states, which RE2 builds while it reads: 2 to 5 MB/s. So
    hints with words that must be there (`sk-`, `password`) are looked for by these words, in one automaton of literals.
    An issuer's is then confirmed by itself; all others are in small sets, which are searched where a word was found or
    where a hint has none (numbers, addresses).
    """

    def __init__(self) -> None:
        hinted: tuple[Rule | Spot, ...] = (*_RULES, *SPOTS)
        self.hints = [one.hint.encode("latin-1") for one in hinted]
        self._places = [(one.place or one.hint).encode("latin-1") for one in hinted]
        self._sets: list[tuple[Any, Sequence[int], int, bool]] = []  # a set, its hints, what is always in, wordless
        self._located: dict[int, Any] = {}
        self._confirming: dict[int, Any] = {}
        try:
            import re2
        except ImportError:
            self._engine: Any = re
            self._options: Any = None
            self.keyed = re.compile(KEYED.encode("latin-1"))
            return
        self._engine, self._options = re2, re2.Options()
        self._options.encoding = re2.Options.Encoding.LATIN1
        self._options.max_mem = MEMORY
        self._options.log_errors = False
        self.keyed = re2.compile(KEYED.encode("latin-1"), self._options)
        every = range(len(self.hints))
        wordless = set(self._filter(every).Match(b"", True) or ())
        self._worded = [index for index in every if index not in wordless]
        self._words = self._filter(self._worded)
        worded = [index for index in self._worded if index >= len(ISSUED)]
        for family in (*_families(sorted(wordless)), *_families(worded)):
            hints = re2.Set.SearchSet(self._options)
            for index in family:
                hints.Add(self.hints[index])
            always = hints.Add(b"")  # says that the search was not given up for want of memory
            hints.Compile()
            self._sets.append((hints, family, always, family[0] in wordless))

    def _filter(self, indices: Iterable[int]) -> Any:
        made = self._engine.Filter()
        for index in indices:
            made.Add(self.hints[index], self._options)
        made.Compile()
        return made

    def possible(self, data: bytes) -> list[int]:
        """Return which hints are in a block, in order."""
        if self._options is None:
            return [i for i, hint in enumerate(self.hints) if re.search(hint, data)]
        told = {self._worded[word] for word in self._words.Match(data, True) or ()}
        possible = [index for index in told if index < len(ISSUED) and self._confirm(index).search(data)]
        for hints, family, always, wordless in self._sets:
            if wordless or not told.isdisjoint(family):
                hits = hints.Match(data)
                if len(hits) > 1 or always not in hits:
                    possible += [family[hit] for hit in hits if hit != always] if always in hits else family
        return sorted(possible)

    def _confirm(self, index: int) -> Any:
        if index not in self._confirming:
            self._confirming[index] = self._engine.compile(self.hints[index], self._options)
        return self._confirming[index]

    def places(self, index: int) -> Any:
        """Return the pattern of the places where a rule is to be run."""
        if index not in self._located:
            self._located[index] = (
                self._engine.compile(self._places[index], self._options)
                if self._options is not None
                else re.compile(self._places[index])
            )
        return self._located[index]


@cache
def _scanner() -> _Scanner:
    return _Scanner()


@cache
def _compiled(index: int) -> re.Pattern[str]:
    return re.compile(_RULES[index].pattern, _RULES[index].flags)


def may_be_keyed(text: str) -> bool:
    """Tell whether JSON in a text may have a key whose name tells of a secret."""
    return _scanner().keyed.search(text.encode("latin-1", "replace")) is not None


def search(text: str) -> list[Found]:
    """Return the secrets of a text by their place; where two overlap the surer kind wins."""
    scanner, data = _scanner(), text.encode("latin-1", "replace")
    ranked: dict[tuple[int, int, int], Found] = {}
    for begin in range(0, len(text), BLOCK):
        end = begin + BLOCK
        block = data[begin - SIGHT if begin > SIGHT else 0 : end + SIGHT] if len(data) > BLOCK else data
        for index in scanner.possible(block):
            if index < len(_RULES):
                for found in _by_rule(index, text, data, begin, end):
                    rank = index if index < _ORDER else index + len(SPOTS)
                    ranked[(rank, found.begin, found.end)] = found
            else:
                for found in _by_spot(index - len(_RULES), text, data, begin, end):
                    ranked[(_ORDER + index - len(_RULES), found.begin, found.end)] = found
    if len(ranked) < 2:
        return list(ranked.values())
    return _disjoint(ranked[key] for key in sorted(ranked))


def _by_rule(index: int, text: str, data: bytes, begin: int, end: int) -> Iterator[Found]:
    """Run a rule where its hint is: a match begins within the hint's."""
    rule, pattern = _RULES[index], _compiled(index)
    group = "v" if "v" in pattern.groupindex else 0
    after = 0
    for hint in _scanner().places(index).finditer(data, max(0, begin - SIGHT), min(len(data), end + SIGHT)):
        first, last = hint.span()
        if first >= end:
            return
        for at in range(max(first, after), last):
            match = pattern.match(text, at)
            if match is not None and (rule.check is None or rule.check(match)):
                b, e = match.span(group)
                after = match.end()
                if e > b:
                    yield Found(b, e, rule.kind, rule.alone, match.start())


def _by_spot(number: int, text: str, data: bytes, begin: int, end: int) -> Iterator[Found]:
    find = SPOTS[number].find
    hints = _scanner().places(len(_RULES) + number)
    for match in hints.finditer(data, max(0, begin - SIGHT), min(len(data), end + SIGHT)):
        if match.start() >= end:
            return
        for kind, first, last in find(text, *match.span()):
            yield Found(first, last, kind, False, match.start())


def _disjoint(ranked: Iterator[Found]) -> list[Found]:
    """Keep of overlapping finds the first."""
    taken: list[Found] = []
    for found in ranked:
        place = bisect_left(taken, found)
        if (place and taken[place - 1].end > found.begin) or (place < len(taken) and taken[place].begin < found.end):
            continue
        insort(taken, found)
    return taken


@lru_cache(maxsize=4096)  # system prompts, tools, names and short answers come again and again
def search_again(text: str) -> tuple[Found, ...]:
    """Return `search(text)`, remembered."""
    return tuple(search(text))
