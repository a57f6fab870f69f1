"""Known values of the tests, and the bootstrap against what theory says."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lunar_tune.evaluate.arms import ArmResult
from lunar_tune.evaluate.compare import compare_arms, mcnemar, paired


def items(values, weights=None):
    weights = weights or [1] * len(values)
    return {f"i{k:04}": (float(v), float(w)) for k, (v, w) in enumerate(zip(values, weights, strict=True))}


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (1, 1, 1.0),
        (5, 0, 2 / 2**5),
        (0, 6, 2 / 2**6),
        (9, 1, 2 * 11 / 2**10),
        (10, 2, 2 * (1 + 12 + 66) / 2**12),
        (2, 10, 2 * (1 + 12 + 66) / 2**12),
        (7, 7, 1.0),
        (15, 5, 0.04138946533203125),
    ],
)
def test_mcnemar_is_exact(gained, lost, p):
    assert mcnemar(gained, lost) == pytest.approx(p, rel=1e-12)


def test_mcnemar_of_many_items_does_not_overflow():
    assert 0 < mcnemar(1600, 1400) < 1e-3
    assert mcnemar(3000, 0) >= 0


def test_delta_and_n_are_those_of_the_items():
    found = paired(items([1, 1, 0, 1]), items([0, 1, 0, 0]))
    assert found.delta == 0.5
    assert found.n == 4
    assert found.p == mcnemar(2, 0)
    assert found.low <= found.delta <= found.high


def test_the_interval_is_the_binomial_one_for_independent_items():
    # d of each item is 1 with chance 0.3, else 0: a resampled mean is Binomial(200, 0.3) / 200
    found = paired(items([1] * 60 + [0] * 140), items([0] * 200))
    spread = 1.96 * math.sqrt(0.3 * 0.7 / 200)
    assert found.low == pytest.approx(0.3 - spread, abs=0.008)
    assert found.high == pytest.approx(0.3 + spread, abs=0.008)


def test_confidence_widens_the_interval():
    arm, other = items([1] * 30 + [0] * 70), items([0] * 95 + [1] * 5)
    wide, narrow = (paired(arm, other, confidence=level) for level in (0.99, 0.8))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_groups_are_drawn_whole():
    # ten conversations of ten turns that all go the same way hold as much as ten turns, not a hundred
    values = [1] * 50 + [0] * 50
    groups = {key: f"g{k // 10}" for k, key in enumerate(items(values))}
    alone = paired(items(values), items([0] * 100))
    grouped = paired(items(values), items([0] * 100), groups)
    ratio = (grouped.high - grouped.low) / (alone.high - alone.low)
    assert ratio == pytest.approx(math.sqrt(10), rel=0.15)
    assert grouped.delta == alone.delta
    assert grouped.n == 100


def test_groups_of_different_sizes_count_by_their_items():
    groups = {"i0000": "a", "i0001": "a", "i0002": "a", "i0003": "b"}
    found = paired(items([1, 1, 1, 0]), items([0, 0, 0, 0]), groups)
    assert found.delta == 0.75
    assert (found.low, found.high) == (0.0, 1.0)


def test_an_items_name_is_never_taken_for_a_group():
    values = items([1, 0, 1, 0])
    mixed = paired(values, items([0] * 4), {"i0000": "i0001"})
    assert mixed == paired(values, items([0] * 4))


def test_weights_make_the_mean_one_of_tokens():
    arm, other = items([1.0, 2.0], [10, 30]), items([2.0, 2.0], [10, 30])
    assert paired(arm, other).delta == -0.25


def test_p_of_losses_is_that_of_the_resamples():
    rng = np.random.default_rng(1)
    base = rng.normal(2, 1, 60)
    better = paired(items(base - 0.5 + rng.normal(0, 0.1, 60)), items(base))
    assert better.high < 0
    assert better.p == pytest.approx(2 / 10_001)
    same = paired(items(base + rng.normal(0, 0.1, 60)), items(base))
    assert same.p > 0.05


def test_no_difference_at_all():
    found = paired(items([1, 0, 1]), items([1, 0, 1]))
    assert (found.delta, found.low, found.high, found.p) == (0, 0, 0, 1)
    found = paired(items([1.5, 0.5]), items([1.5, 0.5]))
    assert (found.delta, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_the_same_seed_gives_the_same_interval_and_order_does_not_matter():
    rng = np.random.default_rng(0)
    arm, other = items(rng.random(50)), items(rng.random(50))
    backwards = dict(reversed(arm.items()))
    assert paired(arm, other, seed=3) == paired(backwards, other, seed=3)
    assert paired(arm, other, seed=3) != paired(arm, other, seed=4)


outcomes = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 5)), min_size=1, max_size=30)


@given(outcomes)
def test_swapping_the_arms_turns_the_sign(drawn):
    arm, other = items([a for a, _, _ in drawn]), items([b for _, b, _ in drawn])
    groups = {f"i{k:04}": f"g{g}" for k, (_, _, g) in enumerate(drawn)}
    there, back = (paired(x, y, groups, resamples=400) for x, y in ((arm, other), (other, arm)))
    assert there.delta == pytest.approx(-back.delta)
    assert there.low == pytest.approx(-back.high)
    assert there.p == back.p
    assert -1 <= there.low <= there.high <= 1
    assert 0 < there.p <= 1


@pytest.mark.parametrize(
    ("arm", "other"),
    [
        ({}, {}),
        (items([1]), items([1, 0])),
        (items([1, 1]), {"i0000": (1, 1), "x": (1, 1)}),
        (items([1], [2]), items([1])),
    ],
    ids=["none", "number", "names", "weights"],
)
def test_different_items_cannot_be_paired(arm, other):
    with pytest.raises(ValueError, match="the same items"):
        paired(arm, other)


def test_arms_are_compared_metric_by_metric():
    groups = {"i0000": "g", "i0001": "g"}
    arm = ArmResult({"probes": items([1, 1]), "schema_valid": items([1]), "nll": items([1, 2], [3, 4])}, groups)
    other = ArmResult({"probes": items([0, 1]), "schema_valid": items([1, 0])}, groups)
    found = compare_arms(arm, other)
    assert list(found) == ["probes"]
    assert found["probes"].delta == 0.5
    assert found["probes"].low == found["probes"].high == 0.5  # one conversation
