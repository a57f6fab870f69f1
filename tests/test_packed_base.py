"""A base in 4 or 8 bits is trained on, and the weights that its export needs are asked for before that."""

import importlib.util
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from lunar_tune.bases import find_base, original_of, packing_of, require_reader, too_small
from lunar_tune.bases.packed import Packing, count
from lunar_tune.doctor import examine
from lunar_tune.errors import BaseError, BaseMissing, BaseNotExportable, DiskFull, MissingExtra
from lunar_tune.settings import ExportSettings, PromptSettings, Settings, TrainSettings, load_settings, usual_base
from lunar_tune.workflow.ground import ground, require_trainable

NANO = Path(__file__).parents[1] / "fixtures" / "nano"
MLX = {"quantization": {"group_size": 64, "bits": 4}, "quantization_config": {"group_size": 64, "bits": 4}}


@pytest.fixture
def packed(tmp_path):
    """The fixture base as if MLX had packed it: only its config says so."""
    folder = tmp_path / "nano-4bit"
    shutil.copytree(NANO, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | MLX), encoding="utf-8")
    return folder


def space(base, export=None, **train):
    settings = Settings(
        train=TrainSettings(base=str(base), **train), export=ExportSettings(base=export and str(export))
    )
    return SimpleNamespace(settings=settings)


def test_a_whole_base_is_exported_itself():
    on = ground(space(NANO))
    assert on.whole is on.base
    assert on.prompt.family == "llama3"


def test_a_packed_base_needs_the_weights_it_was_made_of(packed):
    with pytest.raises(BaseError, match=r"packed \(4-bit mlx\).*the full-precision") as told:
        ground(space(packed))
    assert "export.base" in told.value.hint
    assert "Nothing was trained" in told.value.hint
    on = ground(space(packed, NANO))
    assert (on.base.path, on.whole.path) == (packed, NANO)


def test_other_weights_are_refused(packed, tmp_path):
    other = Path(shutil.copytree(NANO, tmp_path / "other"))
    config = json.loads((other / "config.json").read_text(encoding="utf-8"))
    (other / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-6}), encoding="utf-8")
    with pytest.raises(BaseError, match="eps is 1e-06, not 1e-05"):
        ground(space(packed, other))
    (other / "config.json").write_text(json.dumps(config), encoding="utf-8")
    content = json.loads((other / "tokenizer.json").read_text(encoding="utf-8"))
    content["model"]["merges"].reverse()
    (other / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(BaseError, match="other tokens or merges"):
        ground(space(packed, other))
    with pytest.raises(BaseNotExportable, match="quantized"):
        ground(space(packed, packed))


def test_trainers_and_second_packings_are_checked_before_training(packed):
    on = ground(space(packed, NANO))
    require_trainable(space(packed), on, "mlx")
    with pytest.raises(BaseError, match="'peft' does not read"):
        require_trainable(space(packed), on, "peft")
    with pytest.raises(BaseError, match="packed already"):
        require_trainable(space(packed, quantize_base="8bit"), on, "mlx")


def test_doctor_names_the_weights_to_get_and_counts_them(packed, tmp_path, monkeypatch):
    monkeypatch.setattr("lunar_tune.bases.base_here", lambda name: None)
    settings = replace(space(packed, "meta-llama/Whole").settings, prompt=PromptSettings())
    found = {finding.check: finding for finding in examine(tmp_path, settings)}
    export = found["base can be exported"]
    assert not export.ok
    assert "meta-llama/Whole" in export.detail
    assert "hf auth login" in export.cure
    assert "hf download meta-llama/Whole" in export.cure
    assert not found["base size"].ok
    assert found["base size"].optional
    assert found["prompt family"].detail == "llama3"


@pytest.fixture
def gated(monkeypatch, packed):
    """A hub that has the packed repository here and refuses the original."""
    import httpx
    import huggingface_hub
    from huggingface_hub import errors

    def snapshot_download(name, *, local_files_only, **rest):
        if name.startswith("mlx-community/"):
            return str(packed)
        if local_files_only:
            raise errors.LocalEntryNotFoundError("x")
        response = httpx.Response(403, request=httpx.Request("GET", "https://hub/x"))
        raise errors.GatedRepoError("x", response=response)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)


@pytest.mark.usefixtures("gated")
def test_a_gated_original_is_named_with_the_steps_to_get_it():
    with pytest.raises(BaseMissing) as told:
        ground(space("mlx-community/Llama-3.2-3B-Instruct-4bit"))
    assert "exported with the weights of 'meta-llama/Llama-3.2-3B-Instruct'" in told.value.message
    for step in (
        "https://huggingface.co/meta-llama/Llama-3.2-3B-Instruct",
        "hf auth login",
        "hf download",
        "export.base",
    ):
        assert step in told.value.hint


def test_a_download_that_does_not_fit_is_not_begun(monkeypatch):
    import huggingface_hub
    from huggingface_hub import errors

    def snapshot_download(name, *, local_files_only, dry_run=False, **rest):
        if dry_run:
            return [SimpleNamespace(file_size=size, will_download=size > 5) for size in (10**18, 5)]
        assert local_files_only, "nothing may be fetched"
        raise errors.LocalEntryNotFoundError("x")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(DiskFull, match="1000000000000 MB needed") as told:
        find_base("meta-llama/Huge")
    assert "HF_HOME" in told.value.hint


@pytest.mark.parametrize(
    ("name", "original"),
    [
        ("mlx-community/Llama-3.2-3B-Instruct-4bit", "meta-llama/Llama-3.2-3B-Instruct"),
        ("mlx-community/Meta-Llama-3.1-8B-Instruct-8bit", "meta-llama/Llama-3.1-8B-Instruct"),
        ("mlx-community/Qwen2.5-7B-Instruct-4bit", "Qwen/Qwen2.5-7B-Instruct"),
        ("mlx-community/Qwen3-4B-4bit", "Qwen/Qwen3-4B"),
        ("mlx-community/Mistral-7B-Instruct-v0.3-4bit", "mistralai/Mistral-7B-Instruct-v0.3"),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", "Qwen/Qwen2.5-7B-Instruct"),
        ("unsloth/Llama-3.2-3B-Instruct-bnb-4bit", "unsloth/Llama-3.2-3B-Instruct"),
        ("mlx-community/SomethingElse-4bit", None),
        ("meta-llama/Llama-3.2-3B-Instruct", None),
        ("/home/me/Llama-3.2-3B-Instruct-4bit", None),
        ("./packed-4bit", None),
        ("nano-4bit", None),
    ],
)
def test_a_packed_repository_says_what_it_was_made_of(name, original):
    assert original_of(name) == original


@pytest.mark.parametrize(
    ("config", "packing"),
    [
        ({}, None),
        (MLX, Packing("mlx", 4)),
        ({"quantization": {"group_size": 64, "bits": 8}}, Packing("mlx", 8)),
        ({"quantization_config": {"quant_method": "bitsandbytes", "_load_in_8bit": True}}, Packing("bitsandbytes", 8)),
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}, Packing("bitsandbytes", 4)),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, Packing("gptq", 4)),
        ({"quantization_config": {"quant_method": "fp8"}}, Packing("fp8", 4)),
    ],
)
def test_a_config_says_how_weights_are_packed(config, packing):
    assert packing_of(config) == packing


def test_the_library_of_a_packing_is_asked_for(monkeypatch):
    monkeypatch.setattr("lunar_tune.bases.packed.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="gptqmodel") as told:
        require_reader("q", Packing("gptq", 4), "peft")
    assert "lunar-tune[gptq]" in told.value.hint
    with pytest.raises(MissingExtra, match="bitsandbytes"):
        require_reader("q", Packing("bitsandbytes", 8), "peft")


def test_packed_weights_are_counted_as_what_they_were():
    four = [("a.weight", {"shape": [64, 8], "dtype": "U32"}), ("a.scales", {"shape": [64, 1], "dtype": "F16"}),
            ("norm.weight", {"shape": [64], "dtype": "F16"})]  # fmt: skip
    assert count(four, Packing("mlx", 4)) == 64 * 64 + 64
    nf4 = [("a.weight", {"shape": [2048, 1], "dtype": "U8"}), ("a.weight.absmax", {"shape": [64], "dtype": "F32"})]
    assert count(nf4, Packing("bitsandbytes", 4)) == 64 * 64
    int8 = [("a.weight", {"shape": [64, 64], "dtype": "I8"}), ("a.SCB", {"shape": [64], "dtype": "F32"})]
    assert count(int8, Packing("bitsandbytes", 8)) == 64 * 64
    gptq = [("a.qweight", {"shape": [8, 64], "dtype": "I32"}), ("a.qzeros", {"shape": [1, 8], "dtype": "I32"})]
    assert count(gptq, Packing("gptq", 4)) == 64 * 64


def test_small_bases_are_warned_of_in_one_line():
    assert too_small("x", 3_200_000_000) == too_small("x", 0) == ""
    for size, said in ((1_240_000_000, "1.2B"), (3_600_000, "4M")):
        warning = too_small("x", size)
        assert said in warning
        assert "\n" not in warning


def test_the_usual_base_is_packed_only_where_mlx_trains_on_a_mac(monkeypatch):
    whole, four = "meta-llama/Llama-3.2-3B-Instruct", "mlx-community/Llama-3.2-3B-Instruct-4bit"
    assert load_settings([]).train.base == usual_base()
    monkeypatch.setattr(sys, "platform", "linux")
    assert usual_base() == whole
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert (usual_base(), usual_base("mlx"), usual_base("peft")) == (four, four, whole)
    assert load_settings([], {"train": {"backend": "peft"}}).train.base == whole
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert usual_base() == whole
