"""The start of an adapter, made from the seed and each module's name, so that every backend starts from the same."""

from __future__ import annotations

import math

import numpy as np

from lunar_tune.train.adapter import Arrays, Shapes, tensor_name
from lunar_tune.train.order import draw_seed


def initial_weights(shapes: Shapes, rank: int, seed: int) -> Arrays:
    """Return A [rank, in] and B [out, rank] of every module by tensor name, float32.

    A is uniform in ±1/sqrt(in), which is PEFT's kaiming_uniform with a = sqrt(5); B is zero, so that the first forward
    pass is the base's. Raw 64-bit draws are used because their stream is fixed for good, unlike the distributions'.
    """
    weights: Arrays = {}
    for module, (out_features, in_features) in shapes.items():
        draws = np.random.PCG64(draw_seed(seed, module)).random_raw(rank * in_features)
        unit = (draws >> np.uint64(11)).astype(np.float64) * 2.0**-53
        bound = 1.0 / math.sqrt(in_features)
        weights[tensor_name(module, "A")] = ((2.0 * unit - 1.0) * bound).astype(np.float32).reshape(rank, in_features)
        weights[tensor_name(module, "B")] = np.zeros((out_features, rank), dtype=np.float32)
    return weights
