"""What a rule of redaction is: a kind, a pattern, and a hint by which texts without it are passed over.

A pattern is for `re` and is run where its hint is found. The hint (no look-around, no back-reference) is looked for
with all others (see `hints`). It may find too much, never too little.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lunar_tune.curate.secrets import random_like

# a value begins where no letter or digit is before it; the letter of an escape such as \n is none
START = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))"
END = r"(?![A-Za-z0-9])"
HB = r"(?:\b|\\[nrt])"  # how a hint says that a value begins
DB = r"(?:^|[^\w.,-]|\\[nrt])"  # that a number begins


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to find a secret: the group `v` of the pattern, or the whole match.

    `check` gets the match and tells whether it is one; `alone` values are replaced where they stand only, because the
    same words elsewhere need not be secret.
    """

    kind: str
    pattern: str
    hint: str
    check: Callable[[re.Match[str]], bool] | None = None
    alone: bool = False
    flags: int = 0
    place: str = ""  # where the hint says only that it may be worth a look: what to look for near its end


def issued(kind: str, prefix: str, body: str, *, hint: str = "", mixed: bool = False) -> Rule:
    """Return the rule of keys that begin with a prefix of their issuer's.

    Args:
        kind: of the placeholder.
        prefix: literal.
        body: pattern of what follows.
        hint: pattern of how the body begins, where one letter or digit says too little.
        mixed: the body must look random, because ordinary words begin so too.
    """
    literal = re.escape(prefix)
    # the literal comes first, so that `re` can jump to it
    pattern = rf"{literal}(?:(?<![A-Za-z0-9]{literal})|(?<=\\[nrt]{literal})){body}"
    check = _random_after(len(prefix)) if mixed else None
    return Rule(kind, pattern, literal + (hint or (r"[\w-]{10}" if mixed else "[A-Za-z0-9-]")), check)


def _random_after(length: int) -> Callable[[re.Match[str]], bool]:
    return lambda match: random_like(match[0][length:])


Spans = Iterator[tuple[str, int, int]]


@dataclass(frozen=True, slots=True)
class Spot:
    """A telling word: where its place is found, `find(text, begin, end)` yields (kind, begin, end) of secrets near it.

    The place is the hint, unless another is given; hints of very many words say so by `begins` (see `hints`).
    """

    hint: str
    find: Callable[[str, int, int], Spans]
    place: str = ""
    begins: bool = False
