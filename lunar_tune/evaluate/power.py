"""What a paired test could show at all, before it is run: the smallest gain, and the turns that a gain needs.

Sample size of McNemar's test by Connor 1987 (Biometrics 43, 207-211), after Miettinen 1968: with a share `discordant`
of items on which the arms differ, a gain d is found with the given power when

    n d^2 >= (z(1 - alpha/2) sqrt(discordant) + z(power) sqrt(discordant - d^2))^2

The share of differing items is not known before the test. Two arms of equal accuracy that err independently of each
other differ on at most half of the items, so 0.5 is assumed; arms that share their errors show smaller gains.
"""

from __future__ import annotations

import math
from statistics import NormalDist

POWER = 0.8  # Cohen 1988, section 2.4: the convention where nothing speaks for another
DISCORDANT = 0.5
HALVINGS = 50


def smallest_gain(
    items: int, *, confidence: float = 0.95, power: float = POWER, discordant: float = DISCORDANT
) -> float:
    """Return the smallest gain, as a share of items, that a two-sided paired test of `items` finds; at most 1.

    The items count as independent: turns of one conversation are not, so the true figure is larger.
    """
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if items < items_for(middle, confidence=confidence, power=power, discordant=discordant):
            low = middle
        else:
            high = middle
    return high


def items_for(gain: float, *, confidence: float = 0.95, power: float = POWER, discordant: float = DISCORDANT) -> float:
    """Return how many items a two-sided paired test needs to find a gain (more than 0, at most 1), as a real number."""
    share = max(discordant, gain)  # every gain is a difference
    quantile = NormalDist().inv_cdf
    root = quantile(0.5 + confidence / 2) * math.sqrt(share) + quantile(power) * math.sqrt(share - gain * gain)
    return (root / gain) ** 2 if gain > 0 else math.inf
