"""All rules over a text: hints tell which can match and where, and those alone are run, there.

Left aside: phonenumbers (its matcher reads under 1 MB/s) and python-stdnum (the checksums of `checks` agree with it on
random numbers; they are three lines each).
"""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from collections.abc import Iterator
from functools import cache, lru_cache

from lunar_tune.curate.redact.assigned import ASSIGNED, KEY_WORDS, KEYED
from lunar_tune.curate.redact.found import Found
from lunar_tune.curate.redact.hints import Hint, Hints, Places
from lunar_tune.curate.redact.issuers import ISSUED
from lunar_tune.curate.redact.listed import LISTED
from lunar_tune.curate.redact.personal import NUMBERS, OTHERS
from lunar_tune.curate.redact.placed import PLACED
from lunar_tune.curate.redact.rules import Rule, Spot
from lunar_tune.curate.redact.told import TOLD

_RULES: tuple[Rule, ...] = (*ISSUED, *PLACED, *NUMBERS, *OTHERS)
SPOTS: tuple[Spot, ...] = (*ASSIGNED, *LISTED, *TOLD)
# keys and PEM blocks win over what is said of them, that over numbers and addresses
_ORDER = len(ISSUED) + len(PLACED)


@cache
def _hints() -> Hints:
    rules = [Hint(rule.hint.encode("latin-1"), rule.place.encode("latin-1")) for rule in _RULES]
    spots = [Hint(spot.hint.encode("latin-1"), spot.place.encode("latin-1"), spot.begins) for spot in SPOTS]
    return Hints(rules + spots)


@cache
def _keys() -> Hints:
    return Hints([Hint(KEY_WORDS.encode("latin-1"), KEYED.encode("latin-1"), begins=True)])


@cache
def _compiled(index: int) -> re.Pattern[str]:
    return re.compile(_RULES[index].pattern, _RULES[index].flags)


def may_be_keyed(text: str) -> bool:
    """Tell whether JSON in a text may have a key whose name tells of a secret."""
    return any(places for _, places in _keys().places(text.encode("latin-1", "replace")))


def search(text: str) -> list[Found]:
    """Return the secrets of a text by their place; where two overlap the surer kind wins."""
    ranked: dict[tuple[int, int, int], Found] = {}
    for index, places in _hints().places(text.encode("latin-1", "replace")):
        if index < len(_RULES):
            for found in _by_rule(index, text, places):
                rank = index if index < _ORDER else index + len(SPOTS)
                ranked[(rank, found.begin, found.end)] = found
        else:
            for found in _by_spot(index - len(_RULES), text, places):
                ranked[(_ORDER + index - len(_RULES), found.begin, found.end)] = found
    if len(ranked) < 2:
        return list(ranked.values())
    return _disjoint(ranked[key] for key in sorted(ranked))


def _by_rule(index: int, text: str, places: Places) -> Iterator[Found]:
    """Run a rule where its hint is: a match begins within the hint's."""
    rule, pattern = _RULES[index], _compiled(index)
    group = "v" if "v" in pattern.groupindex else 0
    after = 0
    for first, last in places:
        for at in range(max(first, after), last):
            match = pattern.match(text, at)
            if match is not None and (rule.check is None or rule.check(match)):
                b, e = match.span(group)
                after = match.end()
                if e > b:
                    yield Found(b, e, rule.kind, rule.alone, match.start())


def _by_spot(number: int, text: str, places: Places) -> Iterator[Found]:
    find = SPOTS[number].find
    for begin, end in places:
        for kind, first, last in find(text, begin, end):
            yield Found(first, last, kind, False, begin)


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
