"""Rows on their way to numbers: the words of some hundred rows in one text, then their documents in sorted arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy

from lunar_tune.dataset.grouping.corpus import BREAK, LONG_REQUEST, TURN, VALUE, WORD, Turn

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lunar_tune.dataset.grouping.vocabulary import Vocabulary

    Numbers = NDArray[numpy.int32]
    Ints = NDArray[numpy.int64]
    Sets = tuple[Numbers, Ints, Numbers]

NUMBERS_AT_ONCE = 1 << 20
_END = WORD + TURN + WORD


class Batch:
    """The text of rows, where in it each row ends, and where what was asked and called stands."""

    def __init__(self) -> None:
        self.size = len(WORD)
        self.row_ends: list[int] = []
        self._text: list[bytes] = [WORD]
        self._asked: list[tuple[int, int]] = []
        self._asked_rows: list[int] = []
        self._called: list[tuple[int, int, int]] = []
        self._values: list[bytes] = []
        self._value_places: list[tuple[int, int, int]] = []

    def add(self, turns: Sequence[Turn]) -> None:
        """Add a row. What is called before anything is asked belongs to no request (-1)."""
        row, at, text, request = len(self.row_ends), self.size, self._text, -1
        for turn in turns:
            start = at
            text.append(turn.content)
            at += len(turn.content)
            if turn.role == "user":
                request = len(self._asked)
                self._asked.append((start, at))
                self._asked_rows.append(row)
            if turn.values:
                text += (WORD, turn.called)
                start, at = at, at + len(WORD) + len(turn.called)
                if request >= 0:
                    self._called.append((start, at, request))
                self._values += turn.values
                self._value_places.append((row, request, len(turn.values)))
            text.append(_END)
            at += len(_END)
        self.row_ends.append(at)
        self.size = at

    def numbered(self, vocabulary: Vocabulary) -> tuple[Numbers, Ints, Sets, Sets]:
        """Return the words of all rows, where each row ends, and the sets: wholes and tasks (see `Corpus`)."""
        said, starts = vocabulary.numbers(b"".join(self._text), WORD)
        values, _ = vocabulary.numbers(VALUE.join((b"", *self._values, b"")), VALUE)
        ends = numpy.searchsorted(starts, self.row_ends)
        number = len(ends)
        value_row, value_request, times = _columns(self._value_places, 3)
        value_row, value_request = numpy.repeat(value_row, times), numpy.repeat(value_request, times)
        rows = numpy.repeat(numpy.arange(number), numpy.diff(ends, prepend=0))
        keys = distinct(numpy.concatenate((rows << 32 | said, value_row << 32 | values)))
        wholes = _sets(keys[keys & 0xFFFFFFFF != BREAK], numpy.arange(number))
        tasks = self._tasks(number, said, starts, values, value_request)
        return said, ends, wholes, tasks

    def _tasks(self, number: int, said: Numbers, starts: Ints, values: Numbers, value_request: Ints) -> Sets:
        asked = numpy.searchsorted(starts, _columns(self._asked, 2))
        *places, call_request = _columns(self._called, 3)
        called = numpy.searchsorted(starts, places)
        in_request = value_request >= 0
        lengths = asked[1] - asked[0]
        words = (said[within(*asked)], said[within(*called)], values[in_request])
        ids = numpy.concatenate(words).astype(numpy.int64)
        request = numpy.concatenate(
            (
                numpy.repeat(numpy.arange(len(lengths)), lengths),
                numpy.repeat(call_request, called[1] - called[0]),
                value_request[in_request],
            )
        )
        row_of = numpy.array(self._asked_rows, dtype=numpy.int64)
        several = numpy.bincount(row_of, minlength=number)[row_of] > 1
        single = several & (lengths >= LONG_REQUEST)
        before = numpy.cumsum(single) - single  # sets of single requests before each request
        per_row = numpy.bincount(row_of[single], minlength=number)
        set_of_row = numpy.arange(number) + numpy.cumsum(per_row) - per_row
        set_of_request = row_of + 1 + before
        alone = single[request]
        keys = numpy.concatenate(
            (set_of_row[row_of[request]] << 32 | ids, set_of_request[request[alone]] << 32 | ids[alone])
        )
        return _sets(distinct(keys), numpy.repeat(numpy.arange(number), per_row + 1))


def distinct(numbers: Ints) -> Ints:
    """Return the different ones of some numbers, sorted; `numpy.unique` takes several times as long."""
    found = numpy.sort(numbers)
    first = numpy.ones(len(found), dtype=bool)
    first[1:] = found[1:] != found[:-1]
    different: Ints = found[first]
    return different


def counted(numbers: Numbers, size: int) -> Ints:
    """Return how often each number below `size` is there; `numpy.bincount` makes all of them 64 bits wide at once."""
    found = numpy.zeros(size, dtype=numpy.int64)
    for start in range(0, len(numbers), NUMBERS_AT_ONCE):
        found += numpy.bincount(numbers[start : start + NUMBERS_AT_ONCE], minlength=size)
    return found


def within(starts: Ints, ends: Ints) -> Ints:
    """Return the places from each start to its end, one range after the other."""
    lengths = ends - starts
    places: Ints = numpy.arange(int(lengths.sum())) + numpy.repeat(starts - numpy.cumsum(lengths) + lengths, lengths)
    return places


def _columns(rows: Sequence[tuple[int, ...]], number: int) -> Ints:
    return numpy.array(rows, dtype=numpy.int64).reshape(-1, number).T


def _sets(keys: Ints, rows: Ints) -> Sets:
    """Return the sets of keys that begin with the number of the set: (members, where each ends, its row)."""
    ends = numpy.searchsorted(keys, numpy.arange(1, len(rows) + 1) << 32)
    return (keys & 0xFFFFFFFF).astype(numpy.int32), ends, rows.astype(numpy.int32)
