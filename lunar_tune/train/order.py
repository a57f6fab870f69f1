"""Which rows are in which forward pass of which step; the same for every backend, library version and machine.

An epoch is a shuffle of all rows cut into steps of `batch * accumulation` rows. The last step of an epoch takes what is
left, so that no row is dropped; its loss is a mean over its own tokens like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from lunar_tune.artefacts import TokenRow
from lunar_tune.settings import TrainSettings

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one forward pass: `ids` [rows, longest], padded on the right with 0.

    With causal attention nothing at a real position sees the padding, so no mask is needed. `positions` are indices
    into the flattened [rows * longest] hidden states from which the supervised tokens `targets` are predicted.
    `tokens` counts real tokens.
    """

    ids: Ints
    positions: Ints
    targets: Ints
    tokens: int


def collate(rows: Sequence[TokenRow]) -> Batch:
    """Return the rows as arrays, padded to the longest of them; the first token of a row is never a target."""
    longest = max(len(row.ids) for row in rows)
    ids = np.zeros((len(rows), longest), dtype=np.int64)
    mask = np.zeros((len(rows), longest), dtype=bool)
    for index, row in enumerate(rows):
        ids[index, : len(row.ids)] = row.ids
        mask[index, : len(row.ids)] = row.mask
    mask[:, 0] = False
    targets_at = np.flatnonzero(mask)
    return Batch(ids, targets_at - 1, ids.reshape(-1)[targets_at], sum(len(row.ids) for row in rows))


class Order:
    """The order of `count` training rows under a recipe."""

    def __init__(self, count: int, settings: TrainSettings) -> None:
        self.count = count
        self.batch = settings.batch
        self.per_step = settings.batch * settings.accumulation
        self.seed = settings.seed
        self.steps_per_epoch = -(-count // self.per_step)
        planned = self.steps_per_epoch * settings.epochs
        self.steps = min(planned, settings.max_steps) if settings.max_steps else planned

    def rows(self, step: int) -> tuple[int, ...]:
        """Return the indices of the rows of step `step` (1 … `steps`)."""
        epoch, place = divmod(step - 1, self.steps_per_epoch)
        start = place * self.per_step
        return _shuffled(self.count, self.seed, epoch)[start : start + self.per_step]

    def micro_batches(self, step: int, lengths: Sequence[int]) -> list[tuple[int, ...]]:
        """Return the rows of a step in its forward passes, rows of like length together: `lengths` is of all rows.

        A step's gradient is a sum over its rows, so their order inside it is free, and less padding is computed.
        """
        rows = sorted(self.rows(step), key=lambda index: lengths[index])
        return [tuple(rows[start : start + self.batch]) for start in range(0, len(rows), self.batch)]

    def epoch(self, step: int) -> float:
        """Return how many passes over the rows are done after step `step`."""
        whole, place = divmod(step, self.steps_per_epoch)
        return whole + min(place * self.per_step, self.count) / self.count


def draw_seed(*parts: Any) -> int:
    """Return a 63-bit seed made from `parts`, equal everywhere."""
    text = "/".join(map(str, parts))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


@lru_cache(maxsize=2)
def _shuffled(count: int, seed: int, epoch: int) -> tuple[int, ...]:
    # sorting by hash instead of a generator's shuffle: no library promises to keep its shuffle between versions
    return tuple(sorted(range(count), key=lambda index: (draw_seed(seed, epoch, index), index)))
