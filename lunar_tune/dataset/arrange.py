"""From the words of all rows to groups and splits, and the figures that show that no test row has a cousin in train."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lunar_tune.artefacts import Split
from lunar_tune.dataset.corpus import Corpus
from lunar_tune.dataset.leak import near_share, repeated_requests
from lunar_tune.dataset.split import Member, assign, components, connected, oversized
from lunar_tune.settings import DatasetSettings

Pairs = Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class Arranged:
    """The group and the split of every row, the pairs that are near-duplicates, and what the manifest says of it."""

    groups: Sequence[int]
    splits: Sequence[Split]
    near: Pairs
    leak: Mapping[str, Any]
    grouping: Mapping[str, Any]


def arrange(members: Sequence[Member], corpus: Corpus, settings: DatasetSettings) -> Arranged:
    """Group rows that belong together, split the groups by time, and measure what stands in two splits.

    The documents of the corpus are used up.
    """
    from lunar_tune.dataset.grams import Grams
    from lunar_tune.dataset.near import near_pairs

    names = [one.id for one in members]
    near: Pairs = near_pairs(corpus, names, settings.near_duplicate, settings.seed).tolist()
    corpus.drop_documents()
    keyed = components(members)
    base = connected(keyed, near)
    grams = Grams(corpus, base, settings.boilerplate)
    ties: Pairs = grams.ties().tolist()
    groups = connected(base, ties)
    splits = assign(members, groups, settings)
    leak = {**grams.shared(splits), **near_share(near, splits), **repeated_requests(members, splits)}
    return Arranged(groups, splits, near, leak, _grouping(keyed, base, groups, near, settings))


def _grouping(
    keyed: Sequence[int], base: Sequence[int], groups: Sequence[int], near: Pairs, settings: DatasetSettings
) -> dict[str, Any]:
    """Return how groups came about; `never_held_out` are the sizes of those that are too large to be judged on."""
    sizes = Counter(groups)
    large = oversized(groups, settings.largest_group)
    return {
        "rows": len(groups),
        "by_keys": len(set(keyed)),
        "with_near_duplicates": len(set(base)),
        "with_shared_sequences": len(set(groups)),
        "near_duplicate_pairs": len(near),
        "largest": max(sizes.values(), default=0),
        "never_held_out": sorted((sizes[group] for group in large), reverse=True),
    }
