"""Bases that are packed into 4 or 8 bits, before or by training, are trained on as they are."""

import importlib.util
import json
import shutil

import pytest

from lunar_tune.errors import BaseError, MissingExtra

pytest.importorskip("torch")
BITSANDBYTES = pytest.mark.skipif(not importlib.util.find_spec("bitsandbytes"), reason="needs bitsandbytes")


def curve(backend, base, make_rows, settings, work):
    events = []
    backend.train(base, make_rows(6, longest=20), make_rows(2, seed=1), settings, work, events.append)
    return [e.valid_loss for e in events if e.kind == "valid"], [e.loss for e in events if e.kind == "step"]


@pytest.fixture
def settings(recipe):
    return recipe(batch=4, accumulation=1, epochs=30, max_steps=8, evaluate_every=8, learning_rate=2e-2)


@BITSANDBYTES
def test_eight_bits_lose_less_than_four(base, backend, make_rows, settings, tmp_path):
    from dataclasses import replace

    begun = {}
    for kind in ("none", "8bit", "4bit"):
        chosen = replace(settings, quantize_base=kind)
        valid, losses = curve(backend, base, make_rows, chosen, tmp_path / kind)
        begun[kind] = valid[0]
        assert losses[-1] < losses[0]
    assert 0 < abs(begun["8bit"] - begun["none"]) < abs(begun["4bit"] - begun["none"]) < 0.5


@BITSANDBYTES
@pytest.mark.parametrize("bits", [8, 4])
def test_a_base_packed_by_bitsandbytes_is_trained_on(base, make_rows, settings, tmp_path, bits):
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    from lunar_tune.train.backends import make_peft

    how = BitsAndBytesConfig(load_in_8bit=True) if bits == 8 else BitsAndBytesConfig(load_in_4bit=True)
    packed = AutoModelForCausalLM.from_pretrained(base, quantization_config=how, device_map={"": "cpu"})
    packed.save_pretrained(tmp_path / "packed")
    valid, losses = curve(make_peft(), tmp_path / "packed", make_rows, settings, tmp_path / "run")
    whole, _ = curve(make_peft(), base, make_rows, settings, tmp_path / "whole")
    assert losses[-1] < losses[0]
    assert 0 < abs(valid[0] - whole[0]) < 0.5


@pytest.fixture
def mlx_base(base, tmp_path):
    """The base in MLX's 4-bit format, as mlx-community has them."""
    pytest.importorskip("mlx.core")
    from mlx_lm.utils import load_model, quantize_model, save_config, save_model

    folder = tmp_path / "packed"
    config = json.loads((base / "config.json").read_text())
    plain = shutil.copytree(base, tmp_path / "plain")
    older = {**config, "rope_theta": 500000.0, "rope_scaling": config["rope_parameters"]}
    (plain / "config.json").write_text(json.dumps(older))
    model, _ = load_model(plain)
    model, packed = quantize_model(model, older, group_size=32, bits=4)
    folder.mkdir()
    save_model(folder, model)
    save_config(packed, folder / "config.json")
    return folder


def test_a_base_packed_by_mlx_is_trained_on_with_mlx_alone(base, mlx_base, make_rows, settings, tmp_path):
    from lunar_tune.train.backends import make_mlx, make_peft

    assert json.loads((mlx_base / "config.json").read_text())["quantization"]["bits"] == 4
    valid, losses = curve(make_mlx(), mlx_base, make_rows, settings, tmp_path / "run")
    whole, _ = curve(make_mlx(), base, make_rows, settings, tmp_path / "whole")
    assert losses[-1] < losses[0]
    assert 0 < abs(valid[0] - whole[0]) < 0.8
    with pytest.raises(BaseError, match="packed for mlx") as told:
        curve(make_peft(), mlx_base, make_rows, settings, tmp_path / "peft")
    assert "--backend mlx" in told.value.hint


@pytest.mark.parametrize(
    ("how", "error", "said"),
    [
        ({"quant_method": "gptq", "bits": 4}, MissingExtra, "gptqmodel"),
        ({"quant_method": "awq", "bits": 4}, BaseError, "packed by awq, which no trainer here reads"),
    ],
)
def test_other_packings_are_recognised_before_anything_is_loaded(base, make_rows, settings, tmp_path, how, error, said):
    from lunar_tune.train.backends import make_peft

    if how["quant_method"] == "gptq" and importlib.util.find_spec("gptqmodel"):
        pytest.skip("gptqmodel is installed")
    packed = shutil.copytree(base, tmp_path / "packed")
    config = json.loads((packed / "config.json").read_text())
    (packed / "config.json").write_text(json.dumps({**config, "quantization_config": how}))
    with pytest.raises(error, match=said):
        curve(make_peft(), packed, make_rows, settings, tmp_path / "run")
