"""The fast forward passes compute what PEFT and transformers compute."""

import pytest


@pytest.fixture
def torch():
    import torch

    return torch


def test_value_and_gradients_equal_peft_s_layer(torch):
    from peft import LoraConfig, inject_adapter_in_model

    from lunar_tune.train.fast_lora import lora_function

    torch.manual_seed(0)
    net = torch.nn.ModuleDict({"q_proj": torch.nn.Linear(24, 40)}).requires_grad_(False)
    inject_adapter_in_model(LoraConfig(r=3, lora_alpha=5, target_modules=["q_proj"]), net)
    layer = net["q_proj"]
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    b.data.normal_()
    x, upstream = torch.randn(2, 7, 24, requires_grad=True), torch.randn(2, 7, 40)
    found = []
    for run in (layer, lambda x: lora_function().apply(x, layer.weight, layer.bias, a, b, 5 / 3, 0)):
        x.grad = a.grad = b.grad = None
        out = run(x)
        out.backward(upstream)
        found.append((out, x.grad, a.grad, b.grad))
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)


def test_gradients_under_dropout_are_those_of_the_function(torch):
    from lunar_tune.train.fast_lora import lora_function

    w, bias = torch.randn(5, 6, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    x = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    a = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    b = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)

    def function(x, a, b):
        torch.manual_seed(3)
        return lora_function().apply(x, w, bias, a, b, 1.5, 20000)

    assert torch.autograd.gradcheck(function, (x, a, b))
    assert not torch.allclose(function(x, a, b), lora_function().apply(x, w, bias, a, b, 1.5, 0))


@pytest.mark.parametrize("dropped", [6554, 32768, 60000])
def test_masks_drop_the_asked_share_and_follow_the_seed(torch, dropped):
    from lunar_tune.train.fast_lora import keep_mask

    torch.manual_seed(1)
    mask = keep_mask((1001, 333), dropped, torch.device("cpu"))
    assert mask.shape == (1001, 333)
    assert set(mask.unique().tolist()) == {0, 1}
    assert 1 - mask.float().mean().item() == pytest.approx(dropped / 65536, abs=0.004)
    pairs = (mask[:, 1:] & mask[:, :-1]).float().mean().item()  # neighbours share a draw and must not depend on it
    assert pairs == pytest.approx((1 - dropped / 65536) ** 2, abs=0.005)
    torch.manual_seed(1)
    assert torch.equal(mask, keep_mask((1001, 333), dropped, torch.device("cpu")))
