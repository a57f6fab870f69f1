"""From the words of all rows to groups and splits, and the figures that show that no test row has a cousin in train."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lunar_tune.artefacts import Split
from lunar_tune.dataset.grouping.corpus import Corpus
from lunar_tune.dataset.grouping.leak import near_share, repeated_requests
from lunar_tune.dataset.grouping.split import Member, assign, components, connected, oversized
from lunar_tune.settings import DatasetSettings

if TYPE_CHECKING:
    from lunar_tune.dataset.grouping.grams import Grams

Pairs = Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class Arranged:
    """The group and the split of every row, the near-duplicates, and the rows that have enough of them (`crowd`).

    Its figures are those of the rows that are there: `dropped` ones, left out by caps, count nowhere.
    """

    groups: Sequence[int]
    splits: Sequence[Split]
    near: Pairs
    crowded: frozenset[int]
    _members: Sequence[Member]
    _grams: Grams
    _steps: tuple[Sequence[int], Sequence[int]]
    _settings: DatasetSettings

    def leak(self, dropped: Collection[int] = ()) -> dict[str, Any]:
        """Return what of the test rows stands in the other splits."""
        here = [None if i in dropped else split for i, split in enumerate(self.splits)]
        return {**self._grams.shared(here), **near_share(self.near, here), **repeated_requests(self._members, here)}

    def grouping(self, dropped: Collection[int] = ()) -> dict[str, Any]:
        """Return how groups came about; `never_held_out` are the sizes of those too large to be judged on.

        Too large are those that hold too much of all rows, dropped ones too.
        """
        here = [i for i in range(len(self.groups)) if i not in dropped]
        keyed, base = self._steps
        sizes = Counter(self.groups[i] for i in here)
        large = oversized(self.groups, self._settings.largest_group)
        return {
            "rows": len(here),
            "by_keys": len({keyed[i] for i in here}),
            "with_near_duplicates": len({base[i] for i in here}),
            "with_shared_sequences": len(sizes),
            "near_duplicate_pairs": sum(i not in dropped and j not in dropped for i, j in self.near),
            "largest": max(sizes.values(), default=0),
            "never_held_out": sorted((sizes[group] for group in large & sizes.keys()), reverse=True),
        }


def arrange(members: Sequence[Member], corpus: Corpus, settings: DatasetSettings) -> Arranged:
    """Group rows that belong together and split the groups by time.

    The documents of the corpus are used up.
    """
    from lunar_tune.dataset.grouping.crowd import crowded
    from lunar_tune.dataset.grouping.grams import Grams
    from lunar_tune.dataset.grouping.near import near_pairs

    ages = [(one.started_at, one.id) for one in members]
    near: Pairs = near_pairs(corpus, ages, settings.near_duplicate, settings.seed).tolist()
    newest = sorted(range(len(members)), key=ages.__getitem__, reverse=True)
    many = crowded(corpus, newest, near, settings.near_duplicate, settings.near_identical)
    corpus.drop_documents()
    keyed = components(members)
    base = connected(keyed, near)
    grams = Grams(corpus, base, settings.boilerplate)
    ties: Pairs = grams.ties().tolist()
    groups = connected(base, ties)
    splits = assign(members, groups, settings)
    return Arranged(groups, splits, near, many, members, grams, (keyed, base), settings)
