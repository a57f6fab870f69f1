"""The learning rate of every step: linear warm-up, then half a cosine."""

from __future__ import annotations

import math


def learning_rate(step: int, steps: int, peak: float, warmup: float) -> float:
    """Return the rate of optimizer step `step` (1 … `steps`).

    The first `warmup` share of the steps rises in equal parts and the step after it has the peak; the cosine then falls
    towards 0, which it would reach one step after the last: no step is spent on a rate of 0 (Loshchilov and Hutter,
    arXiv 1608.03983, without restarts).
    """
    rising = min(math.ceil(warmup * steps), steps - 1)
    done = step - 1
    if done < rising:
        return peak * step / (rising + 1)
    return peak * 0.5 * (1.0 + math.cos(math.pi * (done - rising) / (steps - rising)))
