"""Is a request the one before, said again? Content words, numbers, names and order decide, not single words."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from lunar_tune.curate.signs import listed, said, signs

LONGEST = 1000  # characters of a text that are looked at: a request is known by its beginning
MOST = 80  # words of a request that are put in order
SHORTEST = 4  # a request of fewer words ("next", "go on", "run the tests") is repeated on purpose
FEW = 2  # content words that a request must have before another wording of it can be told

_WORD: Final = re.compile(r"\w+(?:'\w+)?")
STOP: Final = listed(
    "a an the this that these those it its is are was were be been am do does did can could would will shall should "
    "may "
    "might must have has had i me my mine we us our you your yours he she they them his her their to of in on at for "
    "from "
    "by with as and or but if so than then there here just please now ok okay hey hi hello um well really very too "
    "also "
    "not no yes s t ll re ve m d don doesn didn isn wasn what's it's i'm let's lets tell give show want need like "
    "get got "
    "make know say what which any some all about into out up down over again still only already actually kindly "
    "asked ask "
    "meant said mean i'd i've don't again one ones hat ja nein si sí oui non ich du er sie es der die das ein eine "
    "und ist in zu mir bitte el la los las un "
    "una y es en de que por favor le les des du et est une je tu vous"
)
STOP_SIGNS: Final = signs(" ".join(STOP))
_GOING_ON: Final = signs(
    "more further else detail details expand elaborate continue also too another other next instead mehr más plus"
)
_KINDS: Final = listed("who when where why how many much wer wann wo warum wie quién cuándo dónde qui quand où")
_AGAIN: Final = re.compile(
    r"(?i)\W*(?:(?:no|nope|but|sorry|again|please|once more|one more time|hey|hello|look|ok|as i said|like i said)\W+)*"
    r"(?:i (?:asked|said|wanted(?: to know)?|repeat|mean|meant)|my question (?:was|is)|the question (?:was|is)|"
    r"again|once more|one more time|as i said|like i said|no|nope)\b"
)


class Words:
    """A text's words in order, its content words, and its values: numbers and names, which a new request changes."""

    __slots__ = ("_found", "_values", "content", "order")

    def __init__(self, text: str) -> None:
        self._found = _WORD.findall(text[:LONGEST].replace("’", "'"))[:MOST]
        self._values: frozenset[str] | None = None
        self.order = [low if (low := word.lower()) in STOP else _stem(low) for word in self._found]
        self.content = frozenset(self.order) - STOP

    @property
    def asks(self) -> frozenset[str]:
        """Return the question words, but for "what" and "which"."""
        return self.content & _KINDS

    @property
    def values(self) -> frozenset[str]:
        """Return the numbers and the words that are written as names."""
        if self._values is None:
            pairs = enumerate(zip(self._found, self.order, strict=True))
            self._values = frozenset(
                stem
                for n, (word, stem) in pairs
                if word[0].isdigit() or (n and word[0].isupper() and not word.isupper() and stem not in STOP)
            )
        return self._values


@lru_cache(maxsize=256)  # a reply is the next turn's request
def words(text: str) -> Words:
    """Return the words of a text's beginning."""
    return Words(text)


@lru_cache(maxsize=65536)
def _stem(word: str) -> str:
    """Return a word without the endings that one request has and its repetition may not: crude, for comparison only."""
    word = word.removesuffix("'s")
    if len(word) >= 5 and word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    for ending in ("ing", "est", "ed", "er", "ly", "e", "y"):
        if len(word) >= len(ending) + 4 and word.endswith(ending) and not word.endswith("ss"):
            return word[: -len(ending)]
    return word


def same_words(request: str, reply: str) -> bool:
    """Tell whether two requests of several words are the same word for word."""
    if abs(len(request) - len(reply)) > 40 + len(request) // 4:
        return False
    if said(request[:LONGEST]) != said(reply[:LONGEST]):
        return False
    mine, theirs = words(request[:LONGEST]), words(reply[:LONGEST])
    return len(mine.order) >= SHORTEST and mine.order == theirs.order and request[LONGEST:] == reply[LONGEST:]


def said_again(request: str, answer: str, reply: str, least: float) -> tuple[float, bool]:
    """Return (how much of the request the reply says again, 0 to 1; whether the user says so: "I asked ...").

    0 where the reply asks for something else: another number, name or question word, a word put in another's place
    ("the weather in Bergen"); where it goes on from words that the answer has already; or where too little agrees.
    `least` is the share of the request's content words that must come back, and two thirds of it that of both requests
    together; a short reply may say again only what the answer left out: then so much of it must be the request's.
    """
    marked = _AGAIN.match(reply[:80]) is not None
    if not marked and not _GOING_ON.isdisjoint(said(reply[:LONGEST])):
        return 0.0, marked
    if not _alike(said(request[:LONGEST]) - STOP_SIGNS, said(reply[:LONGEST]) - STOP_SIGNS):
        return 0.0, marked
    mine, theirs = words(request[:LONGEST]), words(reply[:LONGEST])
    both = mine.content & theirs.content
    if not both or len(mine.content) < FEW:
        return 0.0, marked
    contained, repeated = len(both) / len(mine.content), len(both) / len(theirs.content)
    if marked and repeated >= least * 2 / 3:
        return repeated, marked
    if len(both) < FEW or (mine.asks and theirs.asks and mine.asks != theirs.asks):
        return 0.0, marked
    if theirs.values - mine.values - set(mine.order):
        return 0.0, marked
    missing = both - words(answer[:LONGEST]).content
    whole = contained >= least and len(both) / len(mine.content | theirs.content) >= least * 2 / 3
    part = repeated >= least * 0.8 and 2 * len(missing) >= len(both)
    if not missing or not (whole or part) or _one_slot(mine.order, theirs.order):
        return 0.0, marked
    return max(contained, repeated), marked


def _alike(mine: frozenset[bytes], theirs: frozenset[bytes]) -> bool:
    """Tell whether two requests may be the same: a quarter of the shorter one's words stand in the other."""
    return 4 * len(mine & theirs) >= max(1, min(len(mine), len(theirs)))


def _one_slot(mine: list[str], theirs: list[str]) -> bool:
    """Tell whether two requests differ in one place only, where other content stands: a template filled anew."""
    begin = 0
    while begin < min(len(mine), len(theirs)) and mine[begin] == theirs[begin]:
        begin += 1
    end = 0
    while end < min(len(mine), len(theirs)) - begin and mine[-1 - end] == theirs[-1 - end]:
        end += 1
    was, now = mine[begin : len(mine) - end], theirs[begin : len(theirs) - end]
    return begin + end >= len(was) + len(now) and any(word not in STOP for word in now)
