"""Is one arm better than another? Paired differences with a clustered bootstrap interval and a p value.

Both arms answered the same items, so the difference is taken item by item. Turns of one conversation depend on each
other: whole groups are drawn, with all their items (cluster bootstrap: Davison and Hinkley 1997, section 3.8; for
evaluations of language models, Miller 2024, arXiv:2411.00640). Percentile interval: Efron and Tibshirani 1993, ch. 13.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from lunar_tune.artefacts import Paired
from lunar_tune.evaluate.arms import ArmResult, Items

RESAMPLES = 10_000
CHUNK = 500  # resamples drawn at a time; bounds the memory
UNPAIRED = frozenset({"schema_valid"})  # its items are the turns in which an arm happened to call


def compare_arms(arm: ArmResult, other: ArmResult, *, confidence: float = 0.95, seed: int = 0) -> dict[str, Paired]:
    """Return, for every metric both arms have, the paired difference arm - other in the metric's own unit.

    Raises:
        ValueError: the arms were judged on different items.
    """
    groups = {**other.groups, **arm.groups}
    return {
        metric: paired(arm.items[metric], other.items[metric], groups, confidence=confidence, seed=seed)
        for metric in arm.items
        if metric not in UNPAIRED and arm.items[metric] and other.items.get(metric)
    }


def paired(
    arm: Items,
    other: Items,
    groups: Mapping[str, str] | None = None,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Paired:
    """Return the weighted mean difference arm - other, its interval, its p value and the number of items.

    Args:
        arm, other: item id -> (value, weight); the weights must be the same in both.
        groups: item id -> group; an item without one is a group of its own.
        confidence: level of the two-sided interval.
        seed: of the resampling; the same seed gives the same interval.

    The p value is the exact McNemar test where all values are 0 or 1 (it takes items as independent), else twice the
    smaller share of resamples on one side of zero.

    Raises:
        ValueError: no items, or different items or weights in the two arms.
    """
    if not arm or arm.keys() != other.keys() or any(arm[key][1] != other[key][1] for key in arm):
        raise ValueError("paired differences need the same items, with the same weights, in both arms")
    keys = sorted(arm)  # the order of items must not change the draw
    names = [f"group {groups[key]}" if groups and key in groups else f"item {key}" for key in keys]
    clusters = np.unique(names, return_inverse=True)[1]
    weights = np.array([arm[key][1] for key in keys])
    differences = np.array([arm[key][0] - other[key][0] for key in keys])
    sums = np.bincount(clusters, weights * differences).astype(np.float64)
    sizes = np.bincount(clusters, weights).astype(np.float64)
    means = _resampled_means(sums, sizes, resamples, seed)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    values = [(arm[key][0], other[key][0]) for key in keys]
    binary = all(value in (0.0, 1.0) for pair in values for value in pair)
    gained, lost = sum(a > b for a, b in values), sum(a < b for a, b in values)
    p = mcnemar(gained, lost) if binary else _bootstrap_p(means)
    return Paired(float(sums.sum() / sizes.sum()), float(low), float(high), p, len(keys))


def mcnemar(gained: int, lost: int) -> float:
    """Return the two-sided exact McNemar p value: a fair coin thrown for every item on which the arms differ."""
    thrown = gained + lost
    tail = sum(math.comb(thrown, k) for k in range(min(gained, lost) + 1))
    return float(min(1.0, 2 * tail / 2**thrown))


def _resampled_means(
    sums: npt.NDArray[np.float64], sizes: npt.NDArray[np.float64], resamples: int, seed: int
) -> npt.NDArray[np.float64]:
    """Return the weighted mean of each resample of whole groups; `sums` and `sizes` are per group."""
    random, count, means = np.random.default_rng(seed), len(sums), []
    for start in range(0, resamples, CHUNK):
        drawn = random.integers(0, count, (min(CHUNK, resamples - start), count))
        means.append(sums[drawn].sum(1) / sizes[drawn].sum(1))
    return np.concatenate(means)


def _bootstrap_p(means: npt.NDArray[np.float64]) -> float:
    side = min(int((means <= 0).sum()), int((means >= 0).sum()))
    return min(1.0, 2 * (side + 1) / (len(means) + 1))  # the data themselves count as one resample: never exactly 0
