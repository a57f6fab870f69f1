"""The learning rate, the order of rows and the start of an adapter: pure functions of the recipe."""

from itertools import pairwise

import numpy as np
import pytest

from lunar_tune.artefacts import TokenRow
from lunar_tune.train.initial import initial_weights
from lunar_tune.train.order import Order
from lunar_tune.train.schedule import learning_rate


def test_rate_rises_to_the_peak_then_falls_and_is_never_zero():
    rates = [learning_rate(step, 100, 1e-3, 0.05) for step in range(1, 101)]
    assert rates[:6] == pytest.approx([1e-3 * k / 6 for k in (1, 2, 3, 4, 5, 6)])
    assert max(rates) == rates[5]
    assert all(a > b for a, b in pairwise(rates[5:]))
    assert 0 < rates[-1] < 1e-5


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0.0), (1, 1.0), (3, 1.0), (7, 0.0)])
def test_rate_of_short_runs(steps, warmup):
    rates = [learning_rate(step, steps, 1.0, warmup) for step in range(1, steps + 1)]
    assert max(rates) == 1.0
    assert min(rates) > 0


def plain_rows(count):
    return [TokenRow(str(i), (i, i + 1), (0, 1)) for i in range(count)]


@pytest.mark.parametrize(("count", "batch", "accumulation"), [(10, 1, 4), (10, 3, 2), (3, 4, 4), (16, 2, 2), (1, 1, 1)])
def test_every_row_is_once_in_every_epoch(recipe, count, batch, accumulation):
    order = Order(plain_rows(count), recipe(batch=batch, accumulation=accumulation, epochs=3))
    assert order.steps == 3 * -(-count // (batch * accumulation))
    per_epoch = order.steps // 3
    epochs = []
    for epoch in range(3):
        steps = [order.rows(step) for step in range(epoch * per_epoch + 1, (epoch + 1) * per_epoch + 1)]
        assert all(1 <= len(rows) <= batch * accumulation for rows in steps)
        epochs.append([row for rows in steps for row in rows])
    assert all(sorted(rows) == list(range(count)) for rows in epochs)
    assert count < 4 or epochs[0] != epochs[1] != epochs[2]
    assert order.epoch(order.steps) == 3
    assert order.epoch(0) == 0


def test_order_follows_the_seed_and_is_the_same_on_every_machine(recipe):
    assert Order(plain_rows(8), recipe(batch=8, seed=0)).rows(1) == (0, 4, 2, 3, 7, 6, 5, 1)
    assert Order(plain_rows(8), recipe(batch=8, seed=1)).rows(1) != (0, 4, 2, 3, 7, 6, 5, 1)


def test_rows_that_begin_alike_share_steps_up_to_half_of_one(recipe):
    rows = [
        TokenRow(f"{kin}.{i}", (*range(100 * kin, 100 * kin + 30), i, 7), (0,) * 31 + (1,))
        for i in range(20)
        for kin in range(5)
    ]
    order = Order(rows, recipe(batch=2, accumulation=4, epochs=2))
    begun = [[rows[index].ids[0] for index in order.rows(step)] for step in range(1, order.steps + 1)]
    assert all(begun[i].count(start) >= 2 for i in range(len(begun)) for start in set(begun[i]))
    assert sum(len(set(step)) > 1 for step in begun) >= len(begun) / 2
    assert order.rows(1) != order.rows(14)


def test_max_steps_cuts_the_plan(recipe):
    assert Order(plain_rows(100), recipe(epochs=4, max_steps=5)).steps == 5
    assert Order(plain_rows(8), recipe(epochs=1, max_steps=500)).steps == 2


def test_start_of_an_adapter_is_peft_s_distribution_and_the_same_on_every_machine():
    shapes = {"model.layers.0.self_attn.q_proj": (32, 400), "model.layers.1.self_attn.q_proj": (32, 400)}
    weights = initial_weights(shapes, 8, seed=0)
    a, other = (weights[f"base_model.model.{name}.lora_A.weight"] for name in shapes)
    assert a.shape == (8, 400)
    assert a.dtype == np.float32
    assert np.abs(a).max() <= 0.05  # 1 / sqrt(400)
    assert a.std() == pytest.approx(0.05 / np.sqrt(3), rel=0.05)
    assert not np.allclose(a, other)
    assert not weights["base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"].any()
    assert a[0, :3].tolist() == pytest.approx([-0.0459950194, 0.0166621022, -0.0258901957])
