"""Words as numbers, by the million: every word of a long text is hashed at once, and numbered by its hash.

A hash of 64 bits stands for a word, so that two different words meet by chance once in 10^19, and is the same in every
process: the sum of its bytes times the powers of a base, modulo 2^64 (Karp and Rabin 1987), which prefix sums give for
all words of a text in a few passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[numpy.int64]
    Hashes = NDArray[numpy.uint64]

BASE = 0x9E3779B97F4A7C15  # odd: its powers have inverses modulo 2^64
INVERSE = pow(BASE, -1, 1 << 64)
SLOT_BITS = 22  # of the table in which a hash is looked up first; what has no slot of its own is in a dictionary
FEW = 1 << 16


def mixed(numbers: Hashes) -> Hashes:
    """Return numbers whose bits all depend on all bits of the given ones (the finisher of SplitMix64)."""
    made = numbers ^ (numbers >> numpy.uint64(30))
    made *= numpy.uint64(0xBF58476D1CE4E5B9)
    made ^= made >> numpy.uint64(27)
    made *= numpy.uint64(0x94D049BB133111EB)
    made ^= made >> numpy.uint64(31)
    return made


def powers(base: int, number: int) -> Hashes:
    """Return the powers 0 to number - 1 of a base modulo 2^64."""
    made = numpy.full(number, base, dtype=numpy.uint64)
    made[:1] = 1
    return numpy.cumprod(made, dtype=numpy.uint64)


class Vocabulary:
    """Words by their numbers: `texts` and `hashes`, whose first entry is `first`, in whatever order the others came."""

    def __init__(self, first: bytes) -> None:
        self._powers, self._inverses = powers(BASE, FEW), powers(INVERSE, FEW)
        self._slots = numpy.zeros(1 << SLOT_BITS, dtype=numpy.int32)
        self._hashes = numpy.zeros(FEW, dtype=numpy.uint64)
        self._hashes[0] = self._hashed(b" " + first + b" ", b" ")[0][0]
        self._number_of = {int(self._hashes[0]): 0}
        self.texts = [""]

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def hashes(self) -> Hashes:
        """The 64 bits of every word."""
        return self._hashes[: len(self.texts)]

    def numbers(self, text: bytes, apart: bytes) -> tuple[NDArray[numpy.int32], Ints]:
        """Return the number of every word of a text and where it begins.

        `apart` is the byte that stands between words, at the beginning and at the end.
        """
        hashes, starts, ends = self._hashed(text, apart)
        slots = (hashes >> numpy.uint64(64 - SLOT_BITS)).astype(numpy.int64)
        found = self._slots[slots]
        missed = numpy.flatnonzero(self._hashes[found] != hashes)
        if len(missed):
            different, first, which = numpy.unique(hashes[missed], return_index=True, return_inverse=True)
            known = self._known(different, text, starts[missed[first]], ends[missed[first]])
            found[missed] = known[which]
        return found, starts

    def _known(self, hashes: Hashes, text: bytes, starts: Ints, ends: Ints) -> NDArray[numpy.int32]:
        """Return the numbers of some words, new ones for those that are new."""
        number_of, number = self._number_of, len(self.texts)
        known = numpy.fromiter((number_of.get(one, -1) for one in hashes.tolist()), numpy.int32, len(hashes))
        new = numpy.flatnonzero(known < 0)
        fresh = hashes[new]
        known[new] = numpy.arange(number, number + len(new))
        number_of.update(zip(fresh.tolist(), known[new].tolist(), strict=True))
        places = zip(starts[new].tolist(), ends[new].tolist(), strict=True)
        self.texts += [text[start:end].decode("utf-8", "surrogatepass") for start, end in places]
        if len(self.texts) > len(self._hashes):
            self._hashes = numpy.resize(self._hashes, 2 * len(self.texts))
        self._hashes[number : len(self.texts)] = fresh
        slots = (fresh >> numpy.uint64(64 - SLOT_BITS)).astype(numpy.int64)
        free = self._slots[slots] == 0
        self._slots[slots[free]] = known[new[free]]
        return known

    def _hashed(self, text: bytes, apart: bytes) -> tuple[Hashes, Ints, Ints]:
        """Return the hash of every word and where it begins and ends."""
        codes = numpy.frombuffer(text, dtype=numpy.uint8)
        if len(codes) > len(self._powers):
            self._powers, self._inverses = (powers(base, len(codes) * 5 // 4) for base in (BASE, INVERSE))
        between = codes == apart[0]
        edges = numpy.flatnonzero(between[1:] != between[:-1]) + 1
        starts, ends = edges[::2], edges[1::2]
        sums = codes * self._powers[: len(codes)]
        numpy.cumsum(sums, out=sums)
        return mixed((sums[ends - 1] - sums[starts - 1]) * self._inverses[starts]), starts, ends
