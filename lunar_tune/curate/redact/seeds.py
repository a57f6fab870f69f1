# ruff: noqa: E501 (a rule is one line)
"""Seed phrases of wallets: runs of words of BIP-39's list, whatever stands between them.

A run whose checksum is right is a phrase wherever it stands. So is one of exactly twelve, fifteen, eighteen, twenty-one
or twenty-four words of the list that neither repeat nor come in order: texts of a million words have none. The list
(bip39_english.txt) is that of https://github.com/bitcoin/bips/blob/master/bip-0039/english.txt, unchanged.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from itertools import pairwise

from lunar_tune.curate.redact.rules import Spans, Spot

LENGTHS = (12, 15, 18, 21, 24)
_SIGHT = 600  # characters around a place of twelve words that may belong to its phrase
_WORD = re.compile(r"\\[nrt]|[A-Za-z]+")
_BETWEEN = r"[\s,;|\"'`\[\]._*>+:)\d%\\-]"
_GAP = re.compile(rf"(?:\\+[nrt]|{_BETWEEN}){{1,24}}")
_MARK = re.compile(r"\\*[\"'`\[\]]")
_KEY = re.compile(r"\\*[\"']\s*:")
_ENDS = re.compile(r"[.:!?]|\n\s*\n|\\n\\n")  # a sign after which another run begins, where no number stands beside it


@cache
def _numbers() -> dict[str, int]:
    """Return the words of the list with their numbers."""
    text = (files("lunar_tune.curate.redact") / "bip39_english.txt").read_text(encoding="ascii")
    return {word: number for number, word in enumerate(text.split())}


def mnemonic(words: Sequence[str]) -> bool:
    """Tell whether words of the list are a phrase of BIP-39: after the entropy the first bits of its SHA-256."""
    if len(words) not in LENGTHS:
        return False
    bits, check = 0, len(words) // 3
    for word in words:
        bits = bits << 11 | _numbers()[word]
    entropy = (bits >> check).to_bytes(len(words) * 4 // 3, "big")
    return hashlib.sha256(entropy).digest()[0] >> (8 - check) == bits & ((1 << check) - 1)


def words_of(phrase: str) -> tuple[str, ...]:
    """Return the words of a phrase however it is written: in lines, in a list, with numbers."""
    return tuple(word.lower() for word in re.findall(r"[A-Za-z]{3,8}", re.sub(r"%20|\\+[nrt]", " ", phrase)))


def _runs(text: str, begin: int, end: int) -> Iterator[list[re.Match[str]]]:
    """Yield runs of words of the list around a place; the words of a run are quoted alike."""
    found = _WORD.finditer(text, max(0, begin - _SIGHT), min(len(text), end + _SIGHT))
    words = [word for word in found if not word[0].startswith("\\")]
    run, style = list[re.Match[str]](), None
    for word in words:
        gap = text[run[-1].end() : word.start()] if run else ""
        if run and (_GAP.fullmatch(gap) is None or (_ENDS.search(gap) and not any(c.isdigit() for c in gap))):
            yield run
            run, style = [], None
        elif run:
            marks = _marks(gap)
            if style not in (None, marks):
                yield run
                run = run[-1:]
            style = marks
        if word[0].lower() in _numbers() and not _KEY.match(text, word.end()):
            run.append(word)
        else:
            yield run
            run, style = [], None
    yield run


def _marks(gap: str) -> list[str]:
    """Return the quotes between two words, with their escapes."""
    return _MARK.findall(gap)


def _phrases(words: list[str]) -> Iterator[tuple[int, int]]:
    """Yield the first and last place of phrases in a run; those with a right checksum that overlap are one."""
    found: list[tuple[int, int]] = []
    for first in range(len(words) - LENGTHS[0] + 1):
        lengths = [n for n in LENGTHS if first + n <= len(words) and mnemonic(words[first : first + n])]
        if not lengths or words[first : first + 12] == sorted(set(words[first : first + 12])):
            continue
        if found and first < found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], first + max(lengths))
        else:
            found.append((first, first + max(lengths)))
    if not found and len(words) in LENGTHS and len(set(words)) >= len(words) - 1 and words != sorted(words):
        found.append((0, len(words)))
    yield from found


def _seeds(text: str, begin: int, end: int) -> Spans:
    """Phrases whose words are all of the list, without a word about them."""
    if _last(text, begin, end) not in _numbers():
        return  # a phrase that begins in a place of twelve words has its last one
    for run in _runs(text, begin, end):
        if len(run) >= LENGTHS[0]:
            for first, last in _phrases([word[0].lower() for word in run]):
                yield "SEED_PHRASE", run[first].start(), run[last - 1].end()


_LETTERS = re.compile(r"[A-Za-z]*")


def _last(text: str, begin: int, end: int) -> str:
    """Return the word that a place ends in, all of it."""
    first = end
    while first > begin and text[first - 1].isalpha():
        first -= 1
    rest = _LETTERS.match(text, end)
    return text[first + (text[first - 1 : first] == "\\") : rest.end() if rest else end].lower()


_TOLD = re.compile(rf"(?<![A-Za-z])[a-z]{{3,8}}(?:(?:\\[nrt]|{_BETWEEN}){{1,6}}[a-z]{{3,8}}){{11,23}}(?![a-z])")
# common words that no list of seed words has
# fmt: off
_NO_SEED = frozenset((
    "the", "and", "for", "with", "are", "was", "not", "but", "his", "her", "from", "they", "been", "has", "had", "were", "their", "which", "who", "its", "then",
    "than", "how", "also", "our", "out", "because", "could", "should", "would", "these", "those", "there", "here", "where", "what", "does", "did", "get", "got",
    "let", "per", "via",
))
# fmt: on


def _told(text: str, begin: int, end: int) -> Spans:
    """Twelve to twenty-four words after a word for seed phrases, whichever list they are of."""
    for match in _TOLD.finditer(text, end, min(len(text), end + 420)):
        if match.start() - end > 160:
            return
        words = list(re.compile(r"(?<![a-z])[a-z]{3,8}(?![a-z])").finditer(text, *match.span()))
        gaps = [_marks(text[a.end() : b.start()]) for a, b in pairwise(words)]
        skip = next((i for i in range(len(words)) if not {w[0] for w in words[i : i + 12]} & _NO_SEED), len(words))
        last = next((i + 1 for i in range(skip, len(gaps)) if gaps[i] != gaps[skip]), len(words))
        said = [word[0] for word in words[skip:last]]
        if len(said) >= LENGTHS[0] and said != sorted(said):
            yield "SEED_PHRASE", words[skip].start(), words[last - 1].end()
        return


# no word of the list is `the`, `and` or `for`; the first letter may be that of an escape such as \n
_LIKE = r"(?:[a-z]{4,9}|[a-z][a-gi-mo-z][a-z]|any|end|one|shy)"
SEEDS = [
    Spot(
        rf"(?i){_LIKE}(?:(?:\\[nrt]|{_BETWEEN})+{_LIKE}){{11}}",
        _seeds,
        rf"(?i)(?<![a-z]){_LIKE}(?:(?:\\[nrt]|{_BETWEEN}){{1,16}}+{_LIKE}){{11}}",
    ),
    Spot(
        r"(?i)(?:seed|mnemonic|recovery|wallet|secret|backup|metamask|ledger|bip-?39)",
        _told,
        r"(?i)(?:seed|mnemonic|recovery|wallet|secret|backup|metamask|ledger|bip-?39)[ _-]?(?:phrase|words?|seed|key)?\b",
        begins=True,
    ),
]
