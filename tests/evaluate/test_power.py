import random

import pytest

from lunar_tune.evaluate.compare import mcnemar
from lunar_tune.evaluate.power import items_for, smallest_gain


def test_the_formula_gives_the_textbook_figure():
    # 30 points with half of the items differing: (1.95996 * sqrt(.5) + .84162 * sqrt(.5 - .09))^2 / .09
    assert items_for(0.3) == pytest.approx(41.17, abs=0.01)
    assert items_for(0.1) == pytest.approx(390.08, abs=0.05)


@pytest.mark.parametrize("items", [10, 42, 100, 400, 5000])
def test_the_smallest_gain_is_the_gain_that_needs_as_many_items(items):
    gain = smallest_gain(items)
    assert items_for(gain) == pytest.approx(items, rel=1e-6)


def test_more_items_show_smaller_gains_and_none_shows_none():
    gains = [smallest_gain(items) for items in (0, 1, 5, 20, 80, 320, 1280)]
    assert gains == sorted(gains, reverse=True)
    assert gains[:2] == [1.0, 1.0]
    assert gains[4] == pytest.approx(2 * gains[5], rel=0.1)


def test_arms_that_share_their_errors_show_smaller_gains():
    assert smallest_gain(100, discordant=0.2) < smallest_gain(100)
    assert smallest_gain(100, confidence=0.99) > smallest_gain(100)
    assert smallest_gain(100, power=0.9) > smallest_gain(100)


def test_a_simulated_test_finds_the_smallest_gain_about_as_often_as_promised():
    chance, items, trials = random.Random(3), 200, 400
    gain = smallest_gain(items)
    better, worse = (0.5 + gain) / 2, (0.5 - gain) / 2
    found = 0
    for _ in range(trials):
        draws = [chance.random() for _ in range(items)]
        gained, lost = sum(d < better for d in draws), sum(better <= d < better + worse for d in draws)
        found += mcnemar(gained, lost) < 0.05 and gained > lost
    assert 0.7 < found / trials < 0.87  # the exact test asks for a little more than the formula
