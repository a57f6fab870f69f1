"""Near-duplicates: rows that ask the same with the same values, in other words, another order or other spelling.

Documents are sets of words, and of the values that tools were called with, weighed by rarity:
ln(1 + rows / rows that have it), squared, and less for short words, which in any language are the commonest. The words
of an agent's standing phrases weigh little, so that the same phrase with another city, name or number is another task,
while a polite or reworded request with the same values is the same one. Two are near when their weighed Jaccard index
reaches the threshold, and that of their values alone 0.6 where both have some; a rare word one letter away from one of
the other document counts as the same word.

Weighed MinHash only proposes pairs, one at an index of 0.5 with 99.8 % of the chances and at 0.6 with all but 1 in
10^4; each proposed pair is computed exactly. A sketch holds, for each of its places, the least of exponential variables
whose rates are the weights, one a word: two sketches agree in a place with just the weighed index as the chance, for
each word is the least with its share of all weight. The variables are made per word and read per document with numpy.
rensa is faster on words that count alike (tests/bench/bench_curate.py), but needs copies of heavy words and hands its
sketches over as lists: ten times the time of this step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy

from lunar_tune.dataset.grouping.batch import distinct, within
from lunar_tune.dataset.grouping.corpus import Corpus
from lunar_tune.dataset.grouping.vocabulary import mixed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lunar_tune.dataset.grouping.corpus import Arrays

    Numbers = NDArray[numpy.int32]
    Ints = NDArray[numpy.int64]
    Floats = NDArray[numpy.float64]

COLUMN, ROWS, TURNS = 24, 3, 3  # a band takes a place of each of 3 columns; no two bands have more than one in common
SKETCH = COLUMN * ROWS
LIGHT = 1 / 16  # of the weight of a word that stands in one row only, below which words are not looked at for a sketch,
LITTLE = 1 / 4  # unless they are more than this of their document's weight: of a burst all words are common
TASK_WORDS = 10  # different words and values, below which what was asked ("hi", "thanks") proves nothing
WHOLE_WORDS = 40  # the same with the answers: an agent's greeting alone is shorter
BESIDE = 8  # documents of a bucket that each is compared with: of a burst of copies each still meets its like
FULL = 6  # letters of a word that weighs as much as its rarity; shorter ones in proportion
SPELLING = 5  # letters of the shortest word in which one wrong letter is forgiven
SAME_VALUES = 0.6  # least index of the values alone: one other name, city or number of a few is another task
PARTIAL = 0.8  # least index of one request among several: everyday ones would tie most of a log together
ESTIMATE = 0.2  # how far below the threshold a sketch may be for its pair to be computed
DOCUMENTS_AT_ONCE, PAIRS_AT_ONCE = 1024, 2048


def near_pairs(corpus: Corpus, names: Sequence[Any], threshold: float, seed: int) -> Ints:
    """Return pairs of rows (first < second, n x 2) whose tasks, long requests or wholes are near.

    `names` put the rows in order, whatever the order in which they were added. Of many that are near each other each is
    paired with those next to it in that order: not every pair is named, but they are connected.
    """
    rows = len(corpus)
    if rows < 2:
        return numpy.empty((0, 2), dtype=numpy.int64)
    words = Words(corpus)
    place = numpy.empty(rows, dtype=numpy.int64)
    place[sorted(range(rows), key=names.__getitem__)] = numpy.arange(rows)
    pairs = numpy.concatenate([_near_documents(pool, words, place, threshold, seed) for pool in pools(corpus)])
    pairs = numpy.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)
    keys = distinct(pairs[:, 0] * rows + pairs[:, 1])
    return numpy.stack([keys // rows, keys % rows], axis=1)


class Words:
    """What is known of every word and value: its weight, its hash, whether its spelling may be wrong."""

    def __init__(self, corpus: Corpus) -> None:
        rows, spread = len(corpus), corpus.spread()
        self.text, self.hashes = corpus.vocabulary.texts, corpus.vocabulary.hashes
        letters = numpy.fromiter((len(t) if t.isalpha() else 0 for t in self.text), dtype=numpy.int64)
        rarity = numpy.log1p(rows / numpy.maximum(spread, 1)) ** 2
        self.weight = rarity * numpy.where(letters > 0, numpy.minimum(letters / FULL, 1), 1)
        self.once = spread <= 1
        self.value = numpy.fromiter((t.startswith("=") for t in self.text), dtype=bool)
        self.spelled = letters >= SPELLING

    def variables(self, keys: NDArray[numpy.uint64]) -> NDArray[numpy.uint16]:
        """Return an exponential variable for every word and key, at the rate of the word's weight, in 16 bits.

        They are the upper bits of a positive float, whose order is that of the numbers: 256 steps an octave.
        """
        made = numpy.empty((len(self.hashes), len(keys)), dtype=numpy.uint16)
        for start in range(0, len(made), DOCUMENTS_AT_ONCE):
            part = slice(start, start + DOCUMENTS_AT_ONCE)
            uniform = (self.hashes[part, None] * keys >> numpy.uint64(40)).astype(numpy.float32)
            drawn = -numpy.log((uniform + numpy.float32(0.5)) * numpy.float32(2**-24))
            drawn /= self.weight[part, None].astype(numpy.float32)
            made[part] = drawn.view(numpy.uint32) >> numpy.uint32(15)
        return made


class Pool:
    """The documents of rows, or of some `chosen` ones, that are long enough to be compared, by rows."""

    def __init__(self, documents: Arrays, least: int, chosen: NDArray[numpy.bool_] | None = None) -> None:
        ids, ends, rows = documents
        lengths = numpy.diff(ends, prepend=0)
        partial = numpy.concatenate(([False], rows[1:] == rows[:-1]))
        taken = lengths >= least if chosen is None else (lengths >= least) & chosen[rows]
        self.ids = ids if taken.all() else ids[numpy.repeat(taken, lengths)]
        self.ends = numpy.cumsum(lengths[taken])
        self.starts = self.ends - lengths[taken]
        self.rows, self.partial = rows[taken], partial[taken]

    def threshold(self, left: Ints, right: Ints, threshold: float) -> Floats:
        """Return the index from which each pair of documents is near."""
        alone = self.partial[left] | self.partial[right]
        return numpy.where(alone, max(threshold, PARTIAL), threshold)

    def near(self, left: Ints, right: Ints, words: Words, threshold: float) -> NDArray[numpy.bool_]:
        """Tell for each pair of documents whether it is near."""
        least = self.threshold(left, right, threshold)
        return _near(self.ids, self.starts, self.ends, left, right, words, least)


def pools(corpus: Corpus, chosen: NDArray[numpy.bool_] | None = None) -> Iterator[Pool]:
    """Yield what rows are compared by, one after the other for memory: what was asked for, and the whole."""
    yield Pool(corpus.tasks(), TASK_WORDS, chosen)
    yield Pool(corpus.wholes(), WHOLE_WORDS, chosen)


def _near_documents(pool: Pool, words: Words, place: Ints, threshold: float, seed: int) -> Ints:
    rows = pool.rows
    if len(rows) < 2:
        return numpy.empty((0, 2), dtype=numpy.int64)
    sketches = _sketches(pool.ids, pool.starts, words, seed)
    order = numpy.lexsort((numpy.arange(len(rows)), place[rows]))
    left, right = _proposed(sketches, order)
    keep = numpy.zeros(len(left), dtype=bool)
    for at in range(0, len(left), PAIRS_AT_ONCE):
        part = slice(at, at + PAIRS_AT_ONCE)
        least = pool.threshold(left[part], right[part], threshold)
        same = (sketches[left[part]] == sketches[right[part]]).view(numpy.uint8)
        alike = numpy.add.reduce(same, axis=1, dtype=numpy.uint8)
        chosen = numpy.flatnonzero(alike >= (least - ESTIMATE) * SKETCH) + at
        keep[chosen] = pool.near(left[chosen], right[chosen], words, threshold)
    return numpy.stack([rows[left[keep]], rows[right[keep]]], axis=1).astype(numpy.int64)


def _sketches(ids: Numbers, starts: Ints, words: Words, seed: int) -> NDArray[numpy.uint16]:
    """Return a sketch a document."""
    made = numpy.full((len(starts), SKETCH), 0xFFFF, dtype=numpy.uint16)
    keys = mixed(numpy.arange(1, SKETCH + 1, dtype=numpy.uint64) + numpy.uint64(seed % (1 << 32) << 32))
    variables = words.variables(keys | numpy.uint64(1))
    heavy = _heavy(ids, starts, words)
    lengths = numpy.add.reduceat(heavy, starts, dtype=numpy.int64)
    ids, starts = ids[heavy], numpy.cumsum(lengths) - lengths
    longest = numpy.argsort(-lengths, kind="stable")
    read = numpy.empty((DOCUMENTS_AT_ONCE, SKETCH), dtype=numpy.uint16)
    for first in range(0, len(starts), DOCUMENTS_AT_ONCE):
        chosen = longest[first : first + DOCUMENTS_AT_ONCE]
        least, at, shorter = made[chosen], starts[chosen], -lengths[chosen]
        for step in range(int(lengths[chosen[0]])):
            going = int(numpy.searchsorted(shorter, -step))
            variables.take(ids.take(at[:going] + step), axis=0, out=read[:going], mode="clip")
            numpy.minimum(least[:going], read[:going], out=least[:going])
        made[chosen] = least
    return made


def _heavy(ids: Numbers, starts: Ints, words: Words) -> NDArray[numpy.bool_]:
    """Tell which words of documents are looked at for their sketches."""
    light = words.weight < LIGHT * words.weight.max()
    heavy: NDArray[numpy.bool_] = ~light[ids]
    little = numpy.where(light, words.weight, 0)
    ends = numpy.append(starts[1:], len(ids))
    for first in range(0, len(starts), DOCUMENTS_AT_ONCE):
        part = slice(first, first + DOCUMENTS_AT_ONCE)
        own, at = ids[starts[first] : ends[part][-1]], starts[part] - starts[first]
        common = numpy.add.reduceat(little[own], at) > LITTLE * numpy.add.reduceat(words.weight[own], at)
        heavy[starts[first] : ends[part][-1]] |= numpy.repeat(common, ends[part] - starts[part])
    return heavy


def _proposed(sketches: NDArray[numpy.uint16], order: Ints) -> tuple[Ints, Ints]:
    """Return the pairs of documents that share a band, each with its `BESIDE` neighbours in `order`."""
    number = len(sketches)
    found: list[Ints] = [numpy.empty(0, dtype=numpy.int64)]
    bits = numpy.uint64(max(number - 1, 1).bit_length())
    places, where = numpy.arange(number, dtype=numpy.uint64), (numpy.uint64(1) << bits) - numpy.uint64(1)
    columns = numpy.ascontiguousarray(sketches[order].T)
    for band in range(COLUMN * TURNS):
        turn, place = divmod(band, COLUMN)
        key = columns[place].astype(numpy.uint64)
        for column in range(1, ROWS):
            key = key << numpy.uint64(16) | columns[column * COLUMN + (place + column * turn) % COLUMN]
        key = numpy.sort(mixed(key) & ~where | places)  # what is equal stands together, in order
        same = numpy.arange(number)
        for step in range(1, BESIDE + 1):
            same = same[: numpy.searchsorted(same, number - step)]
            same = same[key[same + step] ^ key[same] <= where]
            first, second = (key[same] & where).astype(numpy.int64), (key[same + step] & where).astype(numpy.int64)
            found.append(first * number + second)
        if band % 8 == 7:
            found = [distinct(numpy.concatenate(found))]
    keys = found[0]
    return order[keys // number], order[keys % number]


def _near(
    ids: Numbers, starts: Ints, ends: Ints, left: Ints, right: Ints, words: Words, threshold: Floats
) -> NDArray[numpy.bool_]:
    """Tell for each pair of documents whether its index, computed exactly, reaches the threshold."""
    mine, pair_a = _taken(ids, starts, ends, left)
    theirs, pair_b = _taken(ids, starts, ends, right)
    size, weight = len(words.weight), words.weight
    a, b = pair_a * size + mine, pair_b * size + theirs
    at = numpy.minimum(numpy.searchsorted(b, a), len(b) - 1)
    in_both = b[at] == a
    in_mine = numpy.zeros(len(b), dtype=bool)
    in_mine[at[in_both]] = True

    def total(pairs: Ints, which: Ints, chosen: NDArray[numpy.bool_]) -> NDArray[numpy.float64]:
        return numpy.bincount(pairs[chosen], weights=weight[which[chosen]], minlength=len(left)).astype(numpy.float64)

    every, anything = numpy.ones_like(in_both), numpy.ones(len(theirs), dtype=bool)
    shared = total(pair_a, mine, in_both)
    union = total(pair_a, mine, every) + total(pair_b, theirs, anything) - shared
    value_a, value_b = words.value[mine], words.value[theirs]
    values = total(pair_a, mine, in_both & value_a)
    mine_values, their_values = total(pair_a, mine, value_a), total(pair_b, theirs, value_b)
    same_values = values >= SAME_VALUES * (mine_values + their_values - values)
    same_values |= numpy.minimum(mine_values, their_values) == 0
    near: NDArray[numpy.bool_] = same_values & (shared >= threshold * union)
    rest_a = ~in_both & words.spelled[mine]
    rest_b = ~in_mine & words.spelled[theirs]
    most = numpy.minimum(total(pair_a, mine, rest_a), total(pair_b, theirs, rest_b))
    hopeful = numpy.flatnonzero(~near & same_values & (shared + most >= threshold * (union - most)))
    mine, theirs = mine[rest_a], theirs[rest_b]
    bounds_a, bounds_b = (
        numpy.searchsorted(pairs[rest], numpy.arange(len(left) + 1)).tolist()
        for pairs, rest in ((pair_a, rest_a), (pair_b, rest_b))
    )
    for pair in hopeful.tolist():
        forgiven = _misspelled(
            mine[bounds_a[pair] : bounds_a[pair + 1]], theirs[bounds_b[pair] : bounds_b[pair + 1]], words
        )
        near[pair] = shared[pair] + forgiven >= threshold[pair] * (union[pair] - forgiven)
    return near


def _taken(ids: Numbers, starts: Ints, ends: Ints, chosen: Ints) -> tuple[Ints, Ints]:
    """Return the words of the chosen documents one after the other, and which of the chosen each belongs to."""
    owner = numpy.repeat(numpy.arange(len(chosen)), ends[chosen] - starts[chosen])
    return ids[within(starts[chosen], ends[chosen])].astype(numpy.int64), owner


def _misspelled(mine: Ints, theirs: Ints, words: Words) -> float:
    """Return the weight of the words that are the same but for one letter; one of the two stands nowhere else."""
    found, left = 0.0, list(theirs)
    for one in mine:
        for other in left:
            if (words.once[one] or words.once[other]) and one_letter_apart(words.text[one], words.text[other]):
                found += float(min(words.weight[one], words.weight[other]))
                left.remove(other)
                break
    return found


def one_letter_apart(a: str, b: str) -> bool:
    """Tell whether a letter put in, left out, changed or swapped with its neighbour makes one word the other."""
    if abs(len(a) - len(b)) > 1:
        return False
    if len(a) > len(b):
        a, b = b, a
    first = next(_differing(a, b), len(a))
    if len(a) < len(b):
        return a[first:] == b[first + 1 :]
    swapped = a[first : first + 2] == b[first : first + 2][::-1] and a[first + 2 :] == b[first + 2 :]
    return a[first + 1 :] == b[first + 1 :] or swapped


def _differing(a: str, b: str) -> Iterator[int]:
    return (place for place, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)
