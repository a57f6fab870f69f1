"""Which rows have near-duplicates enough among newer ones: of a burst of copies the newest few stay.

Rows are asked from the newest on. One that is near to `most` rows that stay does not stay itself. Near is what two rows
are by themselves, not by a chain of others: in a log that drifts from one request to another both ends stay.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy

from lunar_tune.dataset.grouping.corpus import Corpus
from lunar_tune.dataset.grouping.near import Pool, Words, pools
from lunar_tune.dataset.grouping.split import connected

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[numpy.int64]

HEARSAY = 64  # rows, the newest, that a row is compared with because rows near to it are near to them


def crowded(
    corpus: Corpus, newest: Sequence[int], pairs: Iterable[Sequence[int]], threshold: float, most: int
) -> frozenset[int]:
    """Return the rows that are near to `most` newer ones that stay; 0 is no limit.

    Args:
        corpus: the words of all rows, with their documents.
        newest: all rows, the newest first.
        pairs: those of near rows that are known, each row's next newer ones among them (`near_pairs` by age).
        threshold: least index of near rows.
        most: how many may stay of those that are all near to each other.
    """
    if not most:
        return frozenset()
    beside: defaultdict[int, list[int]] = defaultdict(list)
    for i, j in pairs:
        beside[i].append(j)
        beside[j].append(i)
    groups = connected(range(len(newest)), ((i, j) for i, others in beside.items() for j in others))
    sizes = Counter(groups)
    asked = [i for i in newest if sizes[groups[i]] > most]
    if not asked:
        return frozenset()
    likeness = Likeness(corpus, asked, threshold)
    age = {i: place for place, i in enumerate(newest)}
    staying: dict[int, set[int]] = {}  # of each row so far: which rows that stay it is near to
    gone: set[int] = set()
    for i in asked:
        before = [j for j in beside[i] if j in staying]
        close = {j for j in before if j not in gone}
        if len(close) < most:
            heard = set().union(*(staying[j] for j in before)) - close
            close |= likeness.near(i, sorted(heard, key=age.__getitem__)[:HEARSAY])
        staying[i] = close
        if len(close) >= most:
            gone.add(i)
    return frozenset(gone)


class Likeness:
    """Some rows, to be compared one with others: exactly, as `near_pairs` compares those that it proposes."""

    def __init__(self, corpus: Corpus, rows: Sequence[int], threshold: float) -> None:
        chosen = numpy.zeros(len(corpus), dtype=bool)
        chosen[rows] = True
        self._words, self._threshold = Words(corpus), threshold
        self._pools = list(pools(corpus, chosen))

    def near(self, row: int, others: Sequence[int]) -> set[int]:
        """Return those of the others that the row is near to."""
        found: set[int] = set()
        for pool in self._pools:
            mine, theirs = _documents(pool, [row]), _documents(pool, [other for other in others if other not in found])
            if len(mine) and len(theirs):
                left, right = numpy.repeat(mine, len(theirs)), numpy.tile(theirs, len(mine))
                near = pool.near(left, right, self._words, self._threshold)
                found.update(pool.rows[right[near]].tolist())
        return found


def _documents(pool: Pool, rows: Sequence[int]) -> Ints:
    """Return the numbers of the documents of some rows."""
    firsts, ends = (numpy.searchsorted(pool.rows, rows, side) for side in ("left", "right"))
    found = [numpy.arange(first, end) for first, end in zip(firsts, ends, strict=True)]
    return numpy.concatenate([numpy.empty(0, numpy.int64), *found])
