"""Weights are read exactly, and an adapter is added as PEFT adds it or not at all."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import CONFIG_5, write_adapter, write_base
from safetensors.numpy import load_file, save_file

from lunar_tune.artefacts import Adapter
from lunar_tune.errors import ExportError
from lunar_tune.export.fuse import Fused, fused_tensors
from lunar_tune.export.gguf import write_gguf
from lunar_tune.export.reference import reference_logits
from lunar_tune.export.tensors import Tensors, checkpoint_files

QUERY = "model.layers.3.self_attn.q_proj.weight"
STEM = "base_model.model.model.layers.3.self_attn.q_proj"


def copied(adapter: Adapter, folder: Path) -> Adapter:
    return replace(adapter, path=Path(shutil.copytree(adapter.path, folder)))


def with_tensors(adapter: Adapter, folder: Path, changed: dict[str, np.ndarray | None]) -> Adapter:
    """A copy of the adapter with tensors replaced, added or (None) taken out."""
    copy = copied(adapter, folder)
    tensors = {**load_file(adapter.path / "adapter_model.safetensors"), **changed}
    save_file({n: t for n, t in tensors.items() if t is not None}, copy.path / "adapter_model.safetensors")
    return copy


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_every_stored_number_is_read_as_torch_reads_it(dtype: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_torch

    bits = torch.arange(65536, dtype=torch.int32).to(torch.uint16).reshape(256, 256)
    values = {
        "float32": torch.randn(256, 256),
        "bfloat16": bits.view(torch.bfloat16),
        "float16": bits.view(torch.float16),
    }
    save_torch({"first": torch.ones(3, 5), "x": values[dtype]}, tmp_path / "model.safetensors")
    tensors = Tensors([tmp_path / "model.safetensors"])
    expected = values[dtype].float().numpy()
    np.testing.assert_array_equal(tensors.rows("x"), expected)
    np.testing.assert_array_equal(tensors.rows("x", 17, 40), expected[17:40])
    np.testing.assert_array_equal(tensors.gather("x", [9, 3, 9]), expected[[9, 3, 9]])


def test_shards_are_one_checkpoint(base: Path, tmp_path: Path) -> None:
    sharded = dict(fused_tensors(write_base(tmp_path / "sharded", CONFIG_5, shards=3), None))
    whole = dict(fused_tensors(base, None))
    assert set(sharded) == set(whole)
    for name, tensor in whole.items():
        np.testing.assert_array_equal(sharded[name], tensor)


@pytest.mark.parametrize("strength", [1.0, 0.5, 0.0])
def test_the_adapter_adds_strength_alpha_over_rank_b_a(base: Path, adapter: Adapter, strength: float) -> None:
    plain, fused = dict(fused_tensors(base, None)), dict(fused_tensors(base, adapter, strength))
    stored = load_file(adapter.path / "adapter_model.safetensors")
    for name, weights in plain.items():
        stem = "base_model.model." + name.removesuffix(".weight")
        expected = weights.astype(np.float64)
        if f"{stem}.lora_A.weight" in stored:
            up, down = stored[f"{stem}.lora_B.weight"], stored[f"{stem}.lora_A.weight"]
            expected += strength * 8.0 / 6 * (up.astype(np.float64) @ down)
        np.testing.assert_allclose(fused[name], expected, atol=1e-6, err_msg=name)
    changed = {name for name in plain if not np.array_equal(plain[name], fused[name])}
    assert len(changed) == (14 if strength else 0)


def test_rows_of_a_fused_tensor_are_rows_of_the_whole(base: Path, adapter: Adapter) -> None:
    fused = Fused(base, adapter)
    pieces = [fused.rows(QUERY, start, start + 100) for start in range(0, 256, 100)]
    np.testing.assert_allclose(np.concatenate(pieces), fused.rows(QUERY), atol=1e-7)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft 0.21 under transformers 5.23
def test_fused_weights_answer_as_transformers_and_peft_do(
    base: Path, adapter: Adapter, prompts: list[list[int]]
) -> None:
    torch, peft = pytest.importorskip("torch"), pytest.importorskip("peft")
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(base, dtype=torch.float32)
    tuned = peft.PeftModel.from_pretrained(model, str(adapter.path)).eval()
    with torch.no_grad():
        expected = [tuned(torch.tensor([ids])).logits[0].numpy() for ids in prompts]
    for found, wanted in zip(reference_logits(base, adapter, prompts), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=5e-5)


CHANGES = {
    "a tensor the base has not": (
        {f"{STEM.replace('.3.', '.9.')}.lora_A.weight": np.ones((6, 256), np.float32)},
        "no tensor",
    ),
    "no LoRA tensor": ({"base_model.model.model.norm.weight": np.ones(256, np.float32)}, "belongs to no tensor"),
    "another width": ({f"{STEM}.lora_A.weight": np.ones((6, 128), np.float32)}, r"its A is \(6, 128\)"),
    "another rank": ({f"{STEM}.lora_B.weight": np.ones((256, 4), np.float32)}, r"its B \(256, 4\) at rank 6"),
    "half a pair": ({f"{STEM}.lora_B.weight": None}, "only one of lora_A and lora_B"),
    "not finite": ({f"{STEM}.lora_A.weight": np.full((6, 256), np.nan, np.float32)}, "not finite"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_adapter_whose_tensors_do_not_fit_is_refused(
    change: str, base: Path, adapter: Adapter, tmp_path: Path
) -> None:
    tensors, said = CHANGES[change]
    wrong = with_tensors(adapter, tmp_path / "wrong", tensors)
    with pytest.raises(ExportError, match=said):
        next(fused_tensors(base, wrong))
    with pytest.raises(ExportError, match=said):
        write_gguf(base, wrong, tmp_path / "m.gguf", "F16", chat_template="x", name="m")
    assert not list(tmp_path.glob("*.gguf*"))


def test_an_adapter_of_another_base_is_refused(base: Path, tmp_path: Path) -> None:
    larger = {**CONFIG_5, "hidden_size": 512, "num_hidden_layers": 6}
    with pytest.raises(ExportError, match=r"layers\.4\..*belongs to no tensor.*and \d+ more"):
        next(fused_tensors(base, write_adapter(tmp_path / "other", larger)))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("use_dora", True, "use_dora"),
        ("use_rslora", True, "use_rslora"),
        ("rank_pattern", {"q_proj": 2}, "rank_pattern"),
        ("modules_to_save", ["lm_head"], "modules_to_save"),
        ("bias", "all", "trained biases"),
        ("r", 16, "rank 16 and alpha 8.0, the caller rank 6"),
        ("lora_alpha", 16, "alpha 16, the caller"),
        ("peft_type", "IA3", "not LoRA"),
    ],
)
def test_an_adapter_that_one_scale_cannot_express_is_refused(
    field: str, value: object, said: str, base: Path, adapter: Adapter, tmp_path: Path
) -> None:
    wrong = copied(adapter, tmp_path / "wrong")
    path = wrong.path / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(ExportError, match=said):
        next(fused_tensors(base, wrong))


def test_an_adapter_on_a_tensor_the_model_does_not_use_is_refused(adapter: Adapter, tmp_path: Path) -> None:
    """A tied model that still stores lm_head.weight: the GGUF would have no place for what was learnt there."""
    base = write_base(tmp_path / "base", {**CONFIG_5, "tie_word_embeddings": False})
    (base / "config.json").write_text(json.dumps(CONFIG_5))
    head = {"A": np.ones((6, 256), np.float32), "B": np.ones((512, 6), np.float32)}
    wrong = with_tensors(
        adapter, tmp_path / "wrong", {f"base_model.model.lm_head.lora_{half}.weight": t for half, t in head.items()}
    )
    with pytest.raises(ExportError, match=r"lm_head\.weight.*does not use"):
        write_gguf(base, wrong, tmp_path / "m.gguf", "F16", chat_template="x", name="m")
    with pytest.raises(ExportError, match=r"lm_head\.weight.*does not use"):
        reference_logits(base, wrong, [[1]])


def test_broken_files_are_named(base: Path, adapter: Adapter, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ExportError, match=r"holds no \*\.safetensors"):
        checkpoint_files(tmp_path / "empty")
    with pytest.raises(ExportError, match=r"no adapter_model\.safetensors"):
        next(fused_tensors(base, replace(adapter, path=tmp_path)))
    broken_settings = copied(adapter, tmp_path / "adapter")
    (broken_settings.path / "adapter_config.json").write_text("{")
    with pytest.raises(ExportError, match=r"adapter_config\.json cannot be read"):
        next(fused_tensors(base, broken_settings))
    content = (base / "model.safetensors").read_bytes()
    for number, broken in enumerate((content[:-100], content[:50], b"", b"\xff" * 100)):
        path = tmp_path / f"{number}.safetensors"
        path.write_bytes(broken)
        with pytest.raises(ExportError, match="not a readable safetensors file"):
            Tensors([path])
    index = write_base(tmp_path / "sharded", CONFIG_5, shards=3)
    (index / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(ExportError, match=r"lacks model-00002-of-00003\.safetensors"):
        checkpoint_files(index)
