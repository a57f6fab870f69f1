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
    for run in (layer, lambda x: lora_function().apply(x, None, layer.weight, layer.bias, a, b, 5 / 3, 0)):
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
        return lora_function().apply(x, None, w, bias, a, b, 1.5, 20000)

    assert torch.autograd.gradcheck(function, (x, a, b))
    assert not torch.allclose(function(x, a, b), lora_function().apply(x, None, w, bias, a, b, 1.5, 0))


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


@pytest.mark.parametrize("dropped", [0, 20000])
def test_gradients_of_a_gated_input_are_those_of_the_function(torch, dropped):
    from lunar_tune.train.fast_lora import lora_function

    torch.manual_seed(0)
    w = torch.randn(5, 6, dtype=torch.float64)
    given = [torch.randn(n, 6, dtype=torch.float64, requires_grad=True) for n in (4, 4, 2)]
    b = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)

    def function(x, gate, a, b):
        torch.manual_seed(3)
        return lora_function().apply(x, gate, w, None, a, b, 1.5, dropped)

    assert torch.autograd.gradcheck(function, (*given, b))
    x, gate, a = given
    if not dropped:
        inside = torch.nn.functional.silu(gate) * x
        torch.testing.assert_close(function(x, gate, a, b), inside @ w.T + 1.5 * (inside @ a.T) @ b.T)
    frozen = (w, None, None, None, 0.0, 0)
    assert torch.autograd.gradcheck(lambda x, gate: lora_function().apply(x, gate, *frozen), (x, gate))


def test_normalisation_equals_transformers(torch):
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    from lunar_tune.train.fast_lora import norm_function

    torch.manual_seed(0)
    norm = LlamaRMSNorm(32, eps=1e-5).requires_grad_(False)
    norm.weight.normal_()
    x, upstream, found = torch.randn(2, 5, 32, requires_grad=True), torch.randn(2, 5, 32), []
    for run in (norm, lambda x: norm_function().apply(x, norm.weight, 1e-5)):
        x.grad = None
        out = run(x)
        out.backward(upstream)
        found.append((out, x.grad))
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-6)


def test_sixteen_bit_weights_are_multiplied_as_float32_where_a_processor_cannot(torch, monkeypatch):
    from lunar_tune.train import fast_linear

    monkeypatch.setattr(fast_linear, "multiplies_bfloat16", lambda: False)
    monkeypatch.setattr(fast_linear, "_PIECE", 30)  # three rows of the weight at a time
    torch.manual_seed(0)
    weight, bias = torch.randn(8, 10).bfloat16(), torch.randn(8).bfloat16()
    x, low = torch.randn(4, 10).bfloat16(), (torch.randn(4, 2), torch.randn(8, 2))
    exact = x.float() @ weight.float().T + bias.float() + low[0] @ low[1].T
    assert fast_linear.computes_in(weight) == torch.float32
    torch.testing.assert_close(fast_linear.product(x, weight, bias, low), exact.bfloat16())
    gradient = torch.randn(4, 8)
    torch.testing.assert_close(fast_linear.product_back(gradient, weight), gradient @ weight.float())
    monkeypatch.setattr(fast_linear, "multiplies_bfloat16", lambda: True)
    assert fast_linear.computes_in(weight) == torch.bfloat16


@pytest.mark.parametrize("able", [True, False])
def test_a_bfloat16_base_learns_as_a_float32_one_does(torch, base, make_rows, recipe, monkeypatch, able):
    from lunar_tune.train import fast_linear
    from lunar_tune.train.initial import initial_weights
    from lunar_tune.train.packing import pack
    from lunar_tune.train.peft_backend import PeftEngine

    monkeypatch.setattr(fast_linear, "multiplies_bfloat16", lambda: able)
    [batch] = pack(make_rows(4, shared=30), 1000)
    found = []
    for precision in ("float32", "bfloat16"):
        engine = PeftEngine(base, recipe(precision=precision))
        start = initial_weights(engine.shapes(), recipe().rank, 7)
        engine.load({name: value + 0.02 for name, value in start.items()}, {}, 0)
        found.append((engine.accumulate(batch, 10, 0), {n: p.grad for n, p in engine.parameters.items()}))
    assert found[1][0] == pytest.approx(found[0][0], rel=0.02)
    for name, gradient in found[0][1].items():
        assert found[1][1][name].dtype == torch.float32
        assert torch.nn.functional.cosine_similarity(found[1][1][name].flatten(), gradient.flatten(), dim=0) > 0.98


def test_nothing_below_the_lowest_adapted_layer_is_differentiated(base, make_rows, recipe):
    from lunar_tune.train.packing import pack
    from lunar_tune.train.peft_backend import PeftEngine

    engine, asked = PeftEngine(base, recipe(layers=1, dropout=0.1)), []
    for layer in engine.model.model.layers:
        layer.mlp.down_proj.register_forward_hook(lambda *given: asked.append(given[2].requires_grad))
    engine.accumulate(pack(make_rows(1), 100)[0], 1, 0)
    assert asked == [False, True]
