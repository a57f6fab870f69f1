"""The loss at the head without standing logits: the value and the gradient of an ordinary cross entropy."""

import numpy as np
import pytest

from lunar_tune.train import fast_head, mlx_head


@pytest.mark.parametrize("block", [1, 1 << 20])
@pytest.mark.parametrize("bias", [False, True])
def test_loss_and_gradient_equal_cross_entropy(monkeypatch, block, bias):
    import torch

    monkeypatch.setattr(fast_head, "_CPU_BLOCK", block)  # 1: blocks of 256 words
    torch.manual_seed(0)
    head = torch.nn.Linear(24, 1000, bias=bias).requires_grad_(False)
    hidden = (torch.randn(7, 24) * 30).requires_grad_()  # logits far from each other, and rising in later blocks
    head.weight[900:] *= 4
    targets = torch.tensor([0, 999, 255, 256, 950, 3, 500])
    loss = torch.nn.functional.cross_entropy(head(hidden), targets, reduction="sum")
    (loss / 5).backward()
    found, gradient = fast_head.head_loss(hidden, head, targets, 5)
    assert found == pytest.approx(loss.item(), rel=1e-6)
    torch.testing.assert_close(gradient, hidden.grad, rtol=1e-4, atol=1e-5)
    assert fast_head.head_loss(hidden, head, targets, None) == (found, None)


def test_pieces_of_an_mlx_head_add_up(monkeypatch):
    import mlx.core as mx

    weight, hidden = mx.random.normal((50, 8)), mx.random.normal((7, 8)) * 3
    targets = mx.array(np.arange(7) * 6)

    def whole(states):
        logits = states @ weight.T
        return (mx.logsumexp(logits, axis=-1) - logits[mx.arange(7), targets]).sum()

    def pieces(states):
        return mlx_head.head_loss(lambda part: part @ weight.T, states, targets)

    wanted, of_whole = mx.value_and_grad(lambda x: whole(x * x))(hidden)
    for rows in (3, 100):
        monkeypatch.setattr(mlx_head, "HEAD_ROWS", rows)
        found, gradient = mx.value_and_grad(lambda x: pieces(x * x))(hidden)
        assert found.item() == pytest.approx(wanted.item(), rel=1e-5)
        np.testing.assert_allclose(gradient, of_whole, rtol=1e-3, atol=1e-4)


def test_a_narrow_last_layer_of_mlx_says_the_same(base, make_rows, recipe):
    from mlx.utils import tree_flatten

    from lunar_tune.train.initial import initial_weights
    from lunar_tune.train.mlx_backend import MlxEngine
    from lunar_tune.train.packing import pack

    [batch] = pack([*make_rows(2, seed=3), *make_rows(3, seed=4, shared=40)], 1000)
    engine = MlxEngine(base, recipe())
    start = {name: value + 0.05 for name, value in initial_weights(engine.shapes(), recipe().rank, 7).items()}
    engine.load(start, {}, 0)
    assert engine.narrow
    found = []
    for narrow in (True, False):
        engine.narrow, engine.gradient = narrow, None
        found.append((engine.accumulate(batch, 10, 0), engine.nll(batch), dict(tree_flatten(engine.gradient))))
    assert found[0][:2] == pytest.approx(found[1][:2], rel=1e-5)
    for name, gradient in found[1][2].items():
        np.testing.assert_allclose(found[0][2][name], gradient, rtol=1e-3, atol=1e-5)
