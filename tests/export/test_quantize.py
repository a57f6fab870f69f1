"""Q4_K_M by llama.cpp: the right types, the right answers, nothing left behind."""

import shutil
from collections import Counter, namedtuple
from pathlib import Path

import numpy as np
import pytest
from conftest import CONFIG_5, TEMPLATE, ask_llama_cpp, copy_with_llama_cpp, worst_difference, write_base
from gguf import GGUFReader

from lunar_tune.artefacts import Adapter
from lunar_tune.errors import DiskFull, ExportError, MissingExtra
from lunar_tune.export.gguf import write_gguf
from lunar_tune.export.header import tensor_types
from lunar_tune.export.quantize import export_gguf, quantize
from lunar_tune.export.reference import reference_logits

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(scope="module")
def q4(base: Path, adapter: Adapter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("q4") / "tiny.Q4_K_M.gguf"
    exported = export_gguf(base, adapter, out, "Q4_K_M", chat_template=TEMPLATE, name="tiny", threads=1)
    assert (exported.path, exported.quant, exported.fallbacks) == (out, "Q4_K_M", ())
    return out


def test_q4_k_m_holds_its_own_types_only_and_no_intermediate_is_left(q4: Path) -> None:
    types = tensor_types(q4)
    assert Counter(types.values()) == {"Q4_K": 24, "Q6_K": 5, "F32": 10}
    assert types["token_embd.weight"] == "Q6_K"
    assert [path.name for path in q4.parent.iterdir()] == [q4.name]
    assert q4.stat().st_mode & 0o777 == 0o600


def test_q4_k_m_answers_like_its_source(
    q4: Path, base: Path, adapter: Adapter, prompts: list[list[int]], tmp_path: Path
) -> None:
    found = ask_llama_cpp(q4, prompts=prompts).answers
    own = worst_difference(found, reference_logits(base, adapter, prompts))
    assert own < 1.5
    assert worst_difference(found, reference_logits(base, None, prompts)) > 1.5 * own  # and not like the base alone


def test_q4_k_m_is_unchanged_by_ollamas_copy_and_by_a_second_export(
    q4: Path, base: Path, adapter: Adapter, tmp_path: Path
) -> None:
    assert copy_with_llama_cpp(q4, tmp_path / "copy.gguf").read_bytes() == q4.read_bytes()
    again = export_gguf(
        base, adapter, tmp_path / "again.gguf", "Q4_K_M", chat_template=TEMPLATE, name="tiny", threads=2
    )
    assert again.path.read_bytes() == q4.read_bytes()


def test_what_the_adapter_leaves_alone_is_quantized_from_the_stored_numbers(
    base: Path, adapter: Adapter, tmp_path: Path
) -> None:
    """The 16-bit file keeps unchanged bfloat16 matrices, exactly; only adapted ones are rounded to float16."""
    write_gguf(base, adapter, tmp_path / "half.gguf", "half", chat_template=TEMPLATE, name="tiny")
    types = tensor_types(tmp_path / "half.gguf")
    assert {types[f"blk.{layer}.attn_q.weight"] for layer in (0, 1)} == {"BF16"}
    assert {types[f"blk.{layer}.attn_q.weight"] for layer in (2, 3)} == {"F16"}
    assert types["token_embd.weight"] == "BF16"


def test_widths_that_the_format_cannot_hold_are_told(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    base = write_base(tmp_path / "base", {**CONFIG_5, "intermediate_size": 288})
    for quant, kind in (("Q4_K_M", "Q"), ("Q8_0", "")):
        exported = export_gguf(base, None, tmp_path / f"{quant}.gguf", quant, chat_template="x", name="m", threads=1)
        named = [fallback for fallback in exported.fallbacks if "ffn_down" in fallback]
        assert len(exported.fallbacks) == len(named) == (4 if kind else 0)  # 288 is a multiple of 32, not of 256
    odd = write_base(tmp_path / "odd", {**CONFIG_5, "intermediate_size": 200})
    exported = export_gguf(odd, None, tmp_path / "odd.gguf", "Q8_0", chat_template="x", name="m")
    assert exported.fallbacks == tuple(f"blk.{layer}.ffn_down.weight: F16" for layer in range(4))


def test_a_missing_library_is_told_before_anything_is_written(
    base: Path, f16: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lunar_tune.export.quantize.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"lunar-tune\[llamacpp\]"):
        export_gguf(base, None, tmp_path / "m.gguf", "Q4_K_M", chat_template="x", name="m")
    with pytest.raises(MissingExtra, match="cyllama"):
        quantize(f16, tmp_path / "m.gguf", "Q4_K_M")
    assert list(tmp_path.iterdir()) == []
    export_gguf(base, None, tmp_path / "m.gguf", "Q8_0", chat_template="x", name="m")  # needs no llama.cpp


def test_room_for_both_files_is_checked_first(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 10**12, 5_500_000))
    export_gguf(base, None, tmp_path / "fits.gguf", "F16", chat_template="x", name="m")
    with pytest.raises(DiskFull, match="7 MB needed, 6 MB free"):
        export_gguf(base, None, tmp_path / "m.gguf", "Q4_K_M", chat_template="x", name="m")
    assert [path.name for path in tmp_path.iterdir()] == ["fits.gguf"]


def test_llama_cpps_refusal_is_told_and_leaves_nothing(base: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ExportError, match=r"could not quantize 'broken\.gguf': \S"):
        quantize(tmp_path / "broken.gguf", tmp_path / "m.gguf", "Q4_K_M")
    assert [path.name for path in tmp_path.iterdir()] == ["broken.gguf"]
    with pytest.raises(ExportError, match="'IQ2_XS' is unknown"):
        export_gguf(base, None, tmp_path / "m.gguf", "IQ2_XS", chat_template="x", name="m")


def test_the_list_of_tensors_is_that_of_the_gguf_library(q4: Path, tmp_path: Path) -> None:
    tensors = GGUFReader(q4).tensors
    assert list(tensor_types(q4).items()) == [(tensor.name, tensor.tensor_type.name) for tensor in tensors]
    data = q4.read_bytes()
    for number, broken in enumerate((b"", data[:30], data[:5000], np.random.default_rng(0).bytes(100))):
        path = tmp_path / f"{number}.gguf"
        path.write_bytes(broken)
        with pytest.raises(ExportError, match="not a readable GGUF"):
            tensor_types(path)
