"""Rows in forward passes without padding, and what several rows begin with computed once.

An agent's rows begin alike: the same system prompt and tool schemas, often longer than the conversation after them.
Rows with the same beginning make a tree: the beginning is a segment, and every row goes on from it in a segment of its
own that sees the beginning and itself, at its own places. With causal attention that is the same function of the
weights as row by row (tests compare both); dropout alone differs, one draw serving all rows of a beginning.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lunar_tune.artefacts import TokenRow

Ints = npt.NDArray[np.int64]
SHORTEST = 16  # shared tokens below which a tree is not worth its bookkeeping


@dataclass(frozen=True, slots=True)
class Segment:
    """Tokens `start` to `end` of a pass: the beginning of a tree, or what a row adds to the one before it.

    Where `root` is given, the segment goes on from the tokens `root[0]` to `root[1]`, which it sees.
    """

    start: int
    end: int
    root: tuple[int, int] = (0, 0)

    @property
    def before(self) -> int:
        """How many tokens of the same row stand in the root."""
        return self.root[1] - self.root[0]


@dataclass(frozen=True, slots=True)
class Batch:
    """One forward pass: `ids` and, of the same length, each token's place in its row (what rotary positions count).

    `positions` are ascending indices into the pass from which the supervised tokens `targets` are predicted. `tokens`
    counts the tokens of the rows; the pass itself is shorter by what they share.
    """

    ids: Ints
    places: Ints
    segments: tuple[Segment, ...]
    positions: Ints
    targets: Ints
    tokens: int


@dataclass(slots=True)
class Tree:
    """Rows by index, how many tokens they share, and how many a pass computes for them."""

    rows: list[int]
    shared: int
    tokens: int


def trees(rows: Sequence[TokenRow], limit: float = math.inf) -> list[Tree]:
    """Return all rows in trees of at most `limit` computed tokens each (a single row may be longer)."""
    found: list[Tree] = []
    for index in sorted(range(len(rows)), key=lambda index: rows[index].ids):
        joined = _joined(found[-1], index, rows) if found else None
        if joined and joined.tokens <= limit:
            found[-1] = joined
        else:
            found.append(Tree([index], _sharable(rows[index]), len(rows[index].ids)))
    return found


def pack(rows: Sequence[TokenRow], limit: int) -> list[Batch]:
    """Return the rows in passes of at most `limit` computed tokens each (a longer row has a pass of its own)."""
    passes: list[list[Tree]] = []
    for tree in sorted(trees(rows, limit), key=lambda tree: -tree.tokens):
        fitting = (grown for grown in passes if sum(other.tokens for other in grown) + tree.tokens <= limit)
        if (place := next(fitting, None)) is not None:
            place.append(tree)
        else:
            passes.append([tree])
    return [_lay_out(rows, grown) for grown in passes]


def _joined(tree: Tree, index: int, rows: Sequence[TokenRow]) -> Tree | None:
    """Return the tree with one more row, or None where that saves nothing: too little in common, or too little left."""
    first, row = rows[tree.rows[0]], rows[index]
    shared = min(tree.shared, _sharable(row), _common(first.ids, row.ids))
    count = len(tree.rows)
    if (
        shared < SHORTEST
        or 2 * shared < min(len(first.ids), len(row.ids))
        or count * shared <= (count - 1) * tree.shared
    ):
        return None
    alone = tree.tokens + (count - 1) * tree.shared + len(row.ids)  # tokens of the rows one by one
    return Tree([*tree.rows, index], shared, alone - count * shared)


def _sharable(row: TokenRow) -> int:
    """Return how many tokens come before the one that predicts the first supervised token: no loss is read there."""
    first = row.mask.index(1, 1) if 1 in row.mask[1:] else len(row.mask)
    return max(0, first - 1)


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    least = min(len(one), len(other))
    differing = np.flatnonzero(np.not_equal(one[:least], other[:least]))
    return int(differing[0]) if len(differing) else least


def _lay_out(rows: Sequence[TokenRow], grown: Sequence[Tree]) -> Batch:
    ids: list[int] = []
    places: list[int] = []
    positions: list[int] = []
    targets: list[int] = []
    segments: list[Segment] = []

    def add(row: TokenRow, begin: int, end: int, root: tuple[int, int] = (0, 0)) -> tuple[int, int]:
        start = len(ids)
        segments.append(Segment(start, start + end - begin, root))
        ids.extend(row.ids[begin:end])
        places.extend(range(begin, end))
        for place in range(max(begin, 1), end):
            if row.mask[place]:
                positions.append(start + place - begin - 1)
                targets.append(row.ids[place])
        return start, start + end - begin

    for tree in grown:
        members = [rows[index] for index in tree.rows]
        shared = tree.shared if len(members) > 1 else 0
        root = add(members[0], 0, shared) if shared else (0, 0)
        for row in members:
            add(row, shared, len(row.ids), root)
    arrays = [np.array(values, dtype=np.int64) for values in (ids, places, positions, targets)]
    tokens = sum(len(rows[index].ids) for tree in grown for index in tree.rows)
    return Batch(arrays[0], arrays[1], tuple(segments), arrays[2], arrays[3], tokens)
