"""Sequences of 13 words that several rows share: which rows they tie together, and how many stand in two splits.

13 words is the length at which GPT-3's authors called an overlap contamination (arXiv 2005.14165, appendix C). A
sequence that stands in several groups of rows ties them into one: where one is judged the others must not be learnt.

Not so a standing phrase, which an agent says to everybody and which is what every row teaches: it would tie the whole
log into one group. A sequence is one when its frame, the eight words that stand in most rows in their places and holes
for the five rarest, is found in more groups than `dataset.boilerplate`; holes, because such phrases hold values ("The
weather in Oslo on Monday 3 May is"). Standing phrases tie nothing and are counted apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy

from lunar_tune.artefacts import Split
from lunar_tune.dataset.grouping.batch import counted, distinct
from lunar_tune.dataset.grouping.corpus import BREAK, Corpus
from lunar_tune.dataset.grouping.leak import NGRAM
from lunar_tune.dataset.grouping.vocabulary import BASE, INVERSE, mixed, powers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[numpy.int32]
    Ints = NDArray[numpy.int64]
    Flags = NDArray[numpy.bool_]
    Hashes = NDArray[numpy.uint64]

HOLES = 5  # of a frame; the other words must be in their places
FIRST_BITS = 20  # of a hash, by which most that are not among some are told at once
PART_BITS = 3  # sequences are sorted in parts by their first bits, for memory
WORDS_AT_ONCE = 1 << 13  # whose intermediate results stay in a core's own cache


class Grams:
    """All sequences of 13 words in the turns of a corpus, 64 bits each; two of them meet by chance once in 10^19.

    What is kept is how many each row has, and those that stand in several rows.
    """

    def __init__(self, corpus: Corpus, groups: Sequence[int], most: int) -> None:
        self.group_of = numpy.asarray(groups, dtype=numpy.uint64)
        self.bits = numpy.uint64(max(len(groups) - 1, 1).bit_length())
        said, ends = corpus.said()
        whole = _whole(said)
        rows = numpy.repeat(numpy.arange(len(ends), dtype=numpy.int32), numpy.diff(ends, prepend=0))
        rows = rows[: len(whole)][whole]
        standing = self._standing(_frames(said, whole, corpus), rows, most)
        hashes = _hashed(said, whole, corpus.vocabulary.hashes)
        self.number, self.standing_number = counted(rows, len(ends)), counted(rows[standing], len(ends))
        common = self._common(hashes, rows)
        self.hashes, self.rows, self.standing = hashes[common], rows[common], standing[common]

    def _standing(self, frames: Hashes, rows: Numbers, most: int) -> Flags:
        """Tell of each sequence whether its frame is in more than `most` groups."""
        standing = numpy.zeros(len(frames), dtype=bool)
        for part in _parts(frames):
            key, low = self._with(frames[part], self.group_of[rows[part]])
            frame = key & ~low
            starts = numpy.flatnonzero(numpy.concatenate(([True], frame[1:] != frame[:-1])))
            usual = frame[starts[numpy.diff(numpy.append(starts, len(key))) > most]]
            standing[part[_among((frames[part] << numpy.uint64(PART_BITS)) & ~low, usual)]] = True
        return standing

    def _common(self, hashes: Hashes, rows: Numbers) -> Ints:
        """Return the places of the sequences that stand in several rows."""
        found = [numpy.empty(0, numpy.int64)]
        for part in _parts(hashes):
            key, low = self._with(hashes[part], rows[part].astype(numpy.uint64))
            gram = key & ~low
            again = gram[1:][gram[1:] == gram[:-1]]
            again = again[numpy.concatenate(([True], again[1:] != again[:-1]))] if len(again) else again
            found.append(part[_among((hashes[part] << numpy.uint64(PART_BITS)) & ~low, again)])
        return numpy.concatenate(found)

    def _with(self, hashes: Hashes, numbers: Hashes) -> tuple[Hashes, numpy.uint64]:
        """Return the pairs of a sequence and the number of a row or group, sorted and each once, and the number's mask.

        The bits that the sequences of a part have in common make room for the number.
        """
        low = numpy.uint64((1 << int(self.bits)) - 1)
        key = numpy.sort((hashes << numpy.uint64(PART_BITS)) & ~low | numbers)
        return key[numpy.concatenate(([True], key[1:] != key[:-1]))], low

    def ties(self) -> Ints:
        """Return pairs of rows (n x 2) whose groups share a sequence that is no standing phrase."""
        tied = [numpy.empty(0, numpy.int64)]
        own, rows = self.hashes[~self.standing], self.rows[~self.standing]
        for part in _parts(own):
            key, low = self._with(own[part], self.group_of[rows[part]])
            again = numpy.flatnonzero((key[1:] & ~low) == (key[:-1] & ~low))
            tied.append(distinct(((key[again] & low) << numpy.uint64(32) | key[again + 1] & low).astype(numpy.int64)))
        pairs = distinct(numpy.concatenate(tied))
        return numpy.stack([pairs >> 32, pairs & (1 << 32) - 1], axis=1)

    def shared(self, splits: Sequence[Split | None]) -> dict[str, Any]:
        """Return how many sequences of test rows stand in the other splits too, standing phrases apart.

        {"ngram", "test_ngrams", "boilerplate", "shared", "score", "raw_shared", "raw_score"}: `raw_*` count all that
        stand in both, `shared` and `score` those that are no standing phrase, of `test_ngrams - boilerplate`. None in
        place of a split is a row that was left out.
        """
        judged = numpy.fromiter((split == "test" for split in splits), dtype=bool, count=len(splits))
        total, standing = int(self.number[judged].sum()), int(self.standing_number[judged].sum())
        raw = own = 0
        usual_bit, test_bit = numpy.uint64(2), numpy.uint64(1)
        here = numpy.fromiter((split is not None for split in splits), dtype=bool, count=len(splits))[self.rows]
        if here.any():
            held_out = judged[self.rows].astype(numpy.uint64)
            key = self.hashes & ~numpy.uint64(3) | self.standing * usual_bit | held_out
            key = numpy.sort(key if here.all() else key[here])
            starts = numpy.flatnonzero(numpy.concatenate(([True], key[1:] >> usual_bit != key[:-1] >> usual_bit)))
            number = numpy.diff(numpy.append(starts, len(key)))
            tested = numpy.add.reduceat((key & test_bit).astype(numpy.int64), starts)
            usual, both = key[starts] & usual_bit != 0, (tested > 0) & (tested < number)
            raw, own = int(tested[both].sum()), int(tested[both & ~usual].sum())
        return {
            "ngram": NGRAM,
            "test_ngrams": total,
            "boilerplate": standing,
            "shared": own,
            "score": round(own / (total - standing), 6) if total > standing else 0.0,
            "raw_shared": raw,
            "raw_score": round(raw / total, 6) if total else 0.0,
        }


def _parts(hashes: Hashes) -> Iterator[Ints]:
    part_of = (hashes >> numpy.uint64(64 - PART_BITS)).astype(numpy.uint8)
    for part in range(1 << PART_BITS):
        chosen = numpy.flatnonzero(part_of == part)
        if len(chosen):
            yield chosen


def _among(hashes: Hashes, known: Hashes) -> Ints:
    """Return the places of the hashes that are among the known ones, which are sorted."""
    if not len(known):
        return numpy.empty(0, numpy.int64)
    first = numpy.uint64(64 - FIRST_BITS)
    likely = numpy.zeros(1 << FIRST_BITS, dtype=bool)
    likely[known >> first] = True
    places = numpy.flatnonzero(likely[hashes >> first])
    mine = hashes[places]
    at = numpy.minimum(numpy.searchsorted(known, mine), len(known) - 1)
    found: Ints = places[known[at] == mine]
    return found


def _whole(said: Numbers) -> Flags:
    """Tell of every place whether the sequence that begins there lies within a turn."""
    broken = numpy.flatnonzero(said == BREAK)
    whole = numpy.ones(max(len(said) - NGRAM + 1, 0), dtype=bool)
    for before in range(NGRAM):
        whole[broken[(broken >= before) & (broken - before < len(whole))] - before] = False
    return whole


def _stretches(said: Numbers, whole: Flags) -> Iterator[tuple[Numbers, Flags]]:
    """Yield the words, and which sequences are whole, of one stretch of places after the other."""
    for start in range(0, len(whole), WORDS_AT_ONCE):
        part = whole[start : start + WORDS_AT_ONCE]
        yield said[start : start + len(part) + NGRAM - 1], part


def _hashed(said: Numbers, whole: Flags, words: Hashes) -> Hashes:
    """Return a hash of every sequence: the sum of its words' times the powers of a base, from prefix sums."""
    made, done = numpy.empty(numpy.count_nonzero(whole), dtype=numpy.uint64), 0
    size = WORDS_AT_ONCE + NGRAM
    up, down = powers(BASE, size), powers(INVERSE, size)
    for part, chosen in _stretches(said, whole):
        sums = numpy.zeros(len(part) + 1, dtype=numpy.uint64)
        numpy.cumsum(words[part] * up[: len(part)], out=sums[1:])
        hashes = mixed(((sums[NGRAM:] - sums[:-NGRAM]) * down[: len(chosen)])[chosen])
        made[done : done + len(hashes)] = hashes
        done += len(hashes)
    return made


def _frames(said: Numbers, whole: Flags, corpus: Corpus) -> Hashes:
    """Return a hash of every sequence's frame: without its `HOLES` rarest words."""
    made, done = numpy.empty(numpy.count_nonzero(whole), dtype=numpy.uint64), 0
    spread, words = corpus.spread().astype(numpy.int32), corpus.vocabulary.hashes
    size = WORDS_AT_ONCE + NGRAM
    up, down = powers(BASE, size), powers(INVERSE, size)
    for part, chosen in _stretches(said, whole):
        length, known = len(chosen), spread[part]
        hashes = words[part] * up[: len(part)]
        least = _least(known, length)
        total = numpy.zeros(length, dtype=numpy.uint64)
        for place in range(NGRAM):
            own = slice(place, place + length)
            total += hashes[own] * (known[own] >= least)
        total *= down[:length]
        frames = mixed(total[chosen])
        made[done : done + len(frames)] = frames
        done += len(frames)
    return made


def _least(known: Numbers, length: int) -> Numbers:
    """Return, for every sequence, in how many rows the rarest of its words stands that is no hole.

    The smallest so far are kept in order while the 13 words pass, each in one array of all sequences.
    """
    smallest: list[Numbers] = []
    for place in range(NGRAM):
        value = known[place : place + length]
        for rank, least in enumerate(smallest):
            smallest[rank], value = numpy.minimum(least, value), numpy.maximum(least, value)
        if len(smallest) <= HOLES:
            smallest.append(value)
    return smallest[HOLES]
