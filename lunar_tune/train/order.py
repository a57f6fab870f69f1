"""Which rows are in which step; the same for every backend, library version and machine.

An epoch is a shuffle of all rows cut into steps of `batch * accumulation` rows. Rows that begin alike stay together, up
to half a step of them: what they share is then computed once (`packing`). The last step of an epoch takes what is left,
so that no row is dropped; its loss is a mean over its own tokens like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from lunar_tune.artefacts import TokenRow
from lunar_tune.settings import TrainSettings
from lunar_tune.train.packing import trees


class Order:
    """The order of the training rows under a recipe."""

    def __init__(self, rows: Sequence[TokenRow], settings: TrainSettings) -> None:
        self.families = [tuple(tree.rows) for tree in trees(rows)]
        self.count = len(rows)
        self.per_step = settings.batch * settings.accumulation
        self.seed = settings.seed
        self.steps_per_epoch = -(-self.count // self.per_step)
        planned = self.steps_per_epoch * settings.epochs
        self.steps = min(planned, settings.max_steps) if settings.max_steps else planned
        self._shuffled: tuple[int, tuple[int, ...]] = (-1, ())

    def rows(self, step: int) -> tuple[int, ...]:
        """Return the indices of the rows of step `step` (1 … `steps`)."""
        epoch, place = divmod(step - 1, self.steps_per_epoch)
        if self._shuffled[0] != epoch:
            self._shuffled = (epoch, self._shuffle(epoch))
        start = place * self.per_step
        return self._shuffled[1][start : start + self.per_step]

    def epoch(self, step: int) -> float:
        """Return how many passes over the rows are done after step `step`."""
        whole, place = divmod(step, self.steps_per_epoch)
        return whole + min(place * self.per_step, self.count) / self.count

    def _shuffle(self, epoch: int) -> tuple[int, ...]:
        # sorting by hash instead of a generator's shuffle: no library promises to keep its shuffle between versions
        def key(index: int) -> tuple[int, int]:
            return draw_seed(self.seed, epoch, index), index

        size = max(1, self.per_step // 2)
        groups = []
        for family in self.families:
            members = sorted(family, key=key)
            groups += [members[start : start + size] for start in range(0, len(members), size)]
        return tuple(index for group in sorted(groups, key=lambda group: key(group[0])) for index in group)


def draw_seed(*parts: Any) -> int:
    """Return a 63-bit seed made from `parts`, equal everywhere."""
    text = "/".join(map(str, parts))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
