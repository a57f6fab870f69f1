"""Gradient checkpointing changes memory alone: losses, gradients and dropout masks stay what they are."""

import numpy as np
import pytest

from lunar_tune.train.initial import initial_weights
from lunar_tune.train.packing import pack


def peft(base, settings):
    from lunar_tune.train.peft_backend import PeftEngine

    return PeftEngine(base, settings)


def mlx(base, settings):
    from lunar_tune.train.mlx_backend import MlxEngine

    return MlxEngine(base, settings)


def gradients(engine):
    if hasattr(engine, "parameters"):
        return {name: parameter.grad.float().numpy().copy() for name, parameter in engine.parameters.items()}
    from mlx.utils import tree_flatten

    return {name: np.array(value) for name, value in tree_flatten(engine.gradient)}


def one_step(engine, rows, settings):
    start = initial_weights(engine.shapes(), settings.rank, 7)
    draw = np.random.default_rng(0)
    engine.load({n: v + draw.normal(0, 0.05, v.shape).astype(np.float32) for n, v in start.items()}, {}, 0)
    batches = pack(rows, 80)
    assert any(segment.before for batch in batches for segment in batch.segments)
    losses = [engine.accumulate(batch, 100, seed) for seed, batch in enumerate(batches)]
    found = losses, gradients(engine), engine.norm()
    engine.update(1e-2, 1.0)
    return *found, engine.weights(), [engine.nll(batch) for batch in batches]


@pytest.mark.parametrize("make", [peft, mlx])
@pytest.mark.parametrize(("layers", "dropout"), [(0, 0.3), (1, 0.0)])
def test_a_step_is_the_same_with_checkpointing(make, layers, dropout, base, make_rows, recipe):
    rows = [*make_rows(2, seed=3), *make_rows(3, seed=4, shared=40)]
    plain = recipe(layers=layers, dropout=dropout, checkpointing="off")
    spared = recipe(layers=layers, dropout=dropout, checkpointing="on")
    expected, found = (one_step(make(base, settings), rows, settings) for settings in (plain, spared))
    assert found[0] == pytest.approx(expected[0], rel=1e-6)
    assert expected[1].keys() == found[1].keys()
    for name, value in expected[1].items():
        np.testing.assert_allclose(found[1][name], value, rtol=1e-4, atol=1e-6, err_msg=name)
    assert found[2] == pytest.approx(expected[2], rel=1e-5)
    for name, value in expected[3].items():
        np.testing.assert_allclose(found[3][name], value, rtol=1e-4, atol=1e-5, err_msg=name)
    assert found[4] == pytest.approx(expected[4], rel=1e-5)


def test_checkpointing_keeps_less_for_the_backward_pass(base, make_rows, recipe):
    import torch

    kept = {}
    for choice in ("off", "on"):
        engine, sizes = peft(base, recipe(checkpointing=choice)), {}
        engine.load(initial_weights(engine.shapes(), 6, 0), {}, 0)

        def note(tensor, sizes=sizes):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        [batch] = pack(make_rows(6, longest=80), 1000)
        engine.model.train()
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            engine._hidden(batch)
        kept[choice] = sum(sizes.values())
    assert kept["on"] < 0.3 * kept["off"]
