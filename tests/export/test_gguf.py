"""What llama.cpp makes of our GGUF is what transformers makes of the checkpoint."""

import errno
import json
import math
import random
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import (
    BOS_ID,
    CONFIG_5,
    TEMPLATE,
    USER_DEFINED,
    ask_llama_cpp,
    config_4,
    copy_with_llama_cpp,
    worst_difference,
    write_base,
)
from gguf import MODEL_ARCH, GGUFReader, get_tensor_name_map
from tokenizers import Tokenizer

from lunar_tune.artefacts import Adapter
from lunar_tune.errors import BaseMissing, BaseNotExportable, DiskFull, ExportError
from lunar_tune.export import layout
from lunar_tune.export.gguf import check_exportable, write_gguf
from lunar_tune.export.header import tensor_types
from lunar_tune.export.reference import reference_logits
from lunar_tune.export.shape import read_shape

Usage = namedtuple("Usage", "total used free")
LIMITS = {"F32": 0.0005, "F16": 0.05, "BF16": 0.1, "Q8_0": 0.5}  # nats; a wrong layout gives more than 0.5


def write(base: Path, adapter: Adapter | None, out: Path, quant: str = "F16", **more: Any) -> Path:
    write_gguf(base, adapter, out, quant, chat_template=TEMPLATE, name="tiny", **more)
    return out


def fields_of(path: Path) -> dict[str, Any]:
    return {name: field.contents() for name, field in GGUFReader(path).fields.items() if not name.startswith("GGUF.")}


@pytest.mark.parametrize("quant", LIMITS)
def test_log_probabilities_are_those_of_the_float32_fused_model(
    quant: str, base: Path, adapter: Adapter, prompts: list[list[int]], tmp_path: Path
) -> None:
    out = write(base, adapter, tmp_path / "m.gguf", quant)
    expected = reference_logits(base, adapter, prompts)
    assert worst_difference(ask_llama_cpp(out, prompts=prompts).answers, expected) <= LIMITS[quant]
    assert set(tensor_types(out).values()) == {quant, "F32"}


def test_an_untied_output_matrix_is_written(adapter: Adapter, prompts: list[list[int]], tmp_path: Path) -> None:
    base = write_base(tmp_path / "base", {**CONFIG_5, "tie_word_embeddings": False})
    out = write(base, adapter, tmp_path / "m.gguf")
    assert "output.weight" in tensor_types(out)
    found = ask_llama_cpp(out, prompts=prompts).answers
    assert worst_difference(found, reference_logits(base, adapter, prompts)) <= LIMITS["F16"]


def test_these_prompts_would_show_unpermuted_heads_and_missing_rotary_scaling(
    base: Path, adapter: Adapter, prompts: list[list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = reference_logits(base, adapter, prompts)
    plain = shutil.copytree(base, tmp_path / "plain")
    rope = {"rope_theta": 500000.0, "rope_type": "default"}
    (plain / "config.json").write_text(json.dumps({**CONFIG_5, "rope_parameters": rope}))
    without = write(plain, adapter, tmp_path / "without.gguf")
    assert "rope_freqs.weight" not in tensor_types(without)
    assert worst_difference(ask_llama_cpp(without, prompts=prompts).answers, expected) > 0.5
    monkeypatch.setattr(layout, "permute", lambda weights, heads: weights)
    unpermuted = write(base, adapter, tmp_path / "unpermuted.gguf")
    assert worst_difference(ask_llama_cpp(unpermuted, prompts=prompts).answers, expected) > 0.5


def test_both_styles_of_configuration_give_the_same_file(base: Path, adapter: Adapter, tmp_path: Path) -> None:
    older = shutil.copytree(base, tmp_path / "older")
    (older / "config.json").write_text(json.dumps(config_4(CONFIG_5)))
    first = write(base, adapter, tmp_path / "5.gguf").read_bytes()
    assert write(older, adapter, tmp_path / "4.gguf").read_bytes() == first


def test_both_forms_of_merges_give_the_same_file(base: Path, tmp_path: Path) -> None:
    joined = shutil.copytree(base, tmp_path / "joined")
    content = json.loads((joined / "tokenizer.json").read_text())
    assert isinstance(content["model"]["merges"][0], list)
    content["model"]["merges"] = [" ".join(pair) for pair in content["model"]["merges"]]
    (joined / "tokenizer.json").write_text(json.dumps(content))
    assert write(base, None, tmp_path / "a.gguf").read_bytes() == write(joined, None, tmp_path / "b.gguf").read_bytes()


@pytest.mark.parametrize("quant", [*layout.DIRECT, layout.HALF])
def test_the_same_input_gives_the_same_bytes_and_ollamas_copy_changes_none(
    quant: str, base: Path, adapter: Adapter, tmp_path: Path
) -> None:
    first = write(base, adapter, tmp_path / "a.gguf", quant)
    assert write(base, adapter, tmp_path / "b.gguf", quant).read_bytes() == first.read_bytes()
    assert copy_with_llama_cpp(first, tmp_path / "copy.gguf").read_bytes() == first.read_bytes()


def test_every_key_that_llama_cpp_and_ollama_read(f16: Path) -> None:
    found = fields_of(f16)
    assert list(found)[-2:] == ["general.quantization_version", "general.file_type"]
    assert {name: value for name, value in found.items() if not isinstance(value, list)} == {
        "general.architecture": "llama",
        "general.type": "model",
        "general.name": "tiny",
        "general.file_type": 1,
        "general.quantization_version": 2,
        "llama.vocab_size": 512,
        "llama.context_length": 2048,
        "llama.embedding_length": 256,
        "llama.block_count": 4,
        "llama.feed_forward_length": 512,
        "llama.rope.dimension_count": 32,
        "llama.rope.freq_base": 500000.0,
        "llama.attention.head_count": 8,
        "llama.attention.head_count_kv": 2,
        "llama.attention.layer_norm_rms_epsilon": pytest.approx(1e-5),
        "llama.attention.key_length": 32,
        "llama.attention.value_length": 32,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "llama-bpe",
        "tokenizer.ggml.bos_token_id": BOS_ID,
        "tokenizer.ggml.eos_token_id": BOS_ID + 6,
        "tokenizer.ggml.eot_token_id": BOS_ID + 6,
        "tokenizer.ggml.eom_token_id": BOS_ID + 5,
        "tokenizer.ggml.padding_token_id": BOS_ID + 2,
        "tokenizer.chat_template": TEMPLATE,
    }


def test_tokens_have_the_types_that_decide_how_text_is_cut(f16: Path, base: Path) -> None:
    found = fields_of(f16)
    tokens, types = found["tokenizer.ggml.tokens"], found["tokenizer.ggml.token_type"]
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    used = tokenizer.get_vocab_size()
    assert tokens[:used] == [tokenizer.id_to_token(index) for index in range(used)]
    assert tokens[used:] == [f"[PAD{index}]" for index in range(used, 512)]
    special = {index for index, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    user = tokenizer.token_to_id(USER_DEFINED)
    expected = [3 if i in special else 4 if i == user else 5 if i >= used else 1 for i in range(512)]
    assert types == expected


def nasty_texts() -> list[str]:
    """Texts at which pre-tokenizers part ways: white space, digits, contractions, scripts, special tokens between."""
    alphabet = [
        *"aeiou AEIOU'stredmlv'''  \n\n\r\t0123456789.,!?{}\"[]:_-<|>éßİKµ東京привет🙂",
        "\u200d",
        "\xa0",
        "\u3000",
    ]
    alphabet += [
        "\u2028",
        "\x85",
        "\x00",
        "it's",
        "DON'T",
        "we'RE",
        "<|eot_id|>",
        "<|eot_id",
        USER_DEFINED,
        "]]",
        "   ",
    ]
    source = random.Random(5)
    made = ["".join(source.choices(alphabet, k=source.randrange(1, 50))) for _ in range(800)]
    single = [
        f"a{chr(code)}b 1{chr(code)}2{chr(code) * 2} {chr(code)}" for code in [*range(0x250), *range(0x250, 0x3100, 17)]
    ]
    return ["", " ", "\n", "hello", "<|begin_of_text|>hi<|eot_id|>", *made, *single]


def test_llama_cpp_cuts_text_as_the_checkpoints_tokenizer_does(f16: Path, base: Path) -> None:
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    texts = nasty_texts()
    found = ask_llama_cpp(f16, texts=texts)
    wrong = [
        (text, ids)
        for text, ids in zip(texts, found.texts, strict=True)
        if ids != tokenizer.encode(text, add_special_tokens=False).ids
    ]
    assert wrong == []
    assert found.with_bos[0] == BOS_ID
    assert found.with_bos[1:] == tokenizer.encode("hi", add_special_tokens=False).ids
    assert found.special == [BOS_ID, BOS_ID + 6, BOS_ID + 6, BOS_ID + 2]


def test_tensor_names_are_the_gguf_librarys(base: Path) -> None:
    shape, _ = read_shape({**CONFIG_5, "tie_word_embeddings": False})
    assert shape is not None
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, shape.layers)
    for source, (name, _) in shape.tensors().items():
        assert names.get_name(source, try_suffixes=(".weight",)) == name


@pytest.mark.parametrize("theta", [10000.0, 500000.0])
@pytest.mark.parametrize("original", [32, 8192])
def test_rotary_factors_are_those_of_transformers(theta: float, original: int) -> None:
    pytest.importorskip("torch")
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    rope = {**CONFIG_5["rope_parameters"], "rope_theta": theta, "original_max_position_embeddings": original}
    shape, _ = read_shape({**CONFIG_5, "rope_parameters": rope})
    assert shape is not None
    config = LlamaConfig(**{**CONFIG_5, "rope_parameters": rope})
    scaled = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")[0].numpy()
    plain = theta ** -(np.arange(0, 32, 2) / 32)
    np.testing.assert_allclose(shape.rope_factors(), plain / scaled, rtol=1e-5)


SPLIT_PATH = ("pre_tokenizer", "pretokenizers", 0, "pattern", "Regex")
WRONG_TOKENIZERS = {
    "another split regex": (SPLIT_PATH, r"\p{N}{1,2}|\s+", "split regex"),
    "no split": (
        ("pre_tokenizer",),
        {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
        "split regex",
    ),
    "a normalizer": (("normalizer",), {"type": "NFC"}, "normalizes text"),
    "not BPE": (("model", "type"), "Unigram", "not byte-level BPE"),
    "byte fallback": (("model", "byte_fallback"), True, "byte_fallback"),
    "no merges": (("model", "merges"), [], "no merges"),
    "no end of turn": (("added_tokens", 6, "content"), "<|stop|>", r"no <\|eot_id\|>"),
    "more ids than rows": (("added_tokens", 6, "id"), 4000, "highest id is 4000"),
    "a token that swallows space": (("added_tokens", 6, "lstrip"), True, "swallow white space"),
}


@pytest.mark.parametrize("case", WRONG_TOKENIZERS)
def test_a_tokenizer_that_llama_cpp_would_run_otherwise_is_refused(case: str, base: Path, tmp_path: Path) -> None:
    path, value, said = WRONG_TOKENIZERS[case]
    wrong = shutil.copytree(base, tmp_path / "wrong")
    content = json.loads((wrong / "tokenizer.json").read_text())
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (wrong / "tokenizer.json").write_text(json.dumps(content))
    refused(wrong, said)


def test_entries_that_only_whole_word_look_up_finds_need_ignore_merges(base: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(base, tmp_path / "copy")
    content = json.loads((copy / "tokenizer.json").read_text())
    content["model"]["ignore_merges"] = False
    (copy / "tokenizer.json").write_text(json.dumps(content))
    assert check_exportable(copy) == []  # here merging finds every entry too
    content["model"]["merges"].pop()
    (copy / "tokenizer.json").write_text(json.dumps(content))
    refused(copy, "ignore_merges is off")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "gemma2", "architectures": ["Gemma2ForCausalLM"]}, "only Llama"),
        ({"model_type": "qwen2"}, "only Llama"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "weights are quantized"),
        ({"quantization": {"bits": 4}}, "weights are quantized"),
        ({"hidden_act": "gelu"}, "not silu"),
        ({"attention_bias": True}, "attention_bias"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "'yarn'"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 2.0}}, "lacks low_freq_factor"),
        ({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
        ({"num_hidden_layers": 5}, r"9 tensor\(s\) are missing"),
        ({"num_hidden_layers": 3}, "no tensor of a llama"),
        ({"intermediate_size": 256}, r"has shape \(512, 256\)"),
        ({"tie_word_embeddings": False}, r"lm_head\.weight"),
        ({"num_attention_heads": 9}, "evenly"),
        ({"hidden_size": None}, "no hidden_size"),
    ],
)
def test_a_checkpoint_that_llama_cpp_would_run_otherwise_is_refused(
    change: dict[str, Any], said: str, base: Path, tmp_path: Path
) -> None:
    wrong = shutil.copytree(base, tmp_path / "wrong")
    (wrong / "config.json").write_text(json.dumps({**CONFIG_5, **change}))
    refused(wrong, said)


def refused(base: Path, said: str) -> None:
    problems = check_exportable(base)
    assert problems
    with pytest.raises(BaseNotExportable, match=said):
        write(base, None, base / "m.gguf")
    assert not list(base.glob("*.gguf*"))


def test_broken_json_is_named(base: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(base, tmp_path / "copy")
    (copy / "model.safetensors.index.json").write_text("{}")
    (copy / "tokenizer.json").write_text("[1]")
    first, second = check_exportable(copy)
    assert "tokenizer.json cannot be read" in first
    assert "model.safetensors.index.json' cannot be read" in second
    (copy / "config.json").write_text("{")
    with pytest.raises(BaseMissing, match=r"config\.json cannot be read"):
        check_exportable(copy)


def test_weights_that_are_missing_or_cut_short_are_named(base: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(base, tmp_path / "copy")
    weights = sorted(copy.glob("*.safetensors"))
    weights[-1].write_bytes(weights[-1].read_bytes()[:-1])
    assert any(weights[-1].name in problem for problem in check_exportable(copy))
    for file in weights:
        file.unlink()
    assert any("safetensors" in problem for problem in check_exportable(copy))


def test_a_base_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BaseMissing, match="no such folder"):
        check_exportable(tmp_path / "nowhere")
    with pytest.raises(BaseMissing, match=r"no config\.json"):
        check_exportable(tmp_path)


def test_the_disk_is_checked_before_anything_is_written(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 10**12, 1_000_000))
    with pytest.raises(DiskFull, match="5 MB needed, 1 MB free"):
        write(base, None, tmp_path / "m.gguf")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_while_writing_leaves_the_old_file(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "m.gguf"
    out.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DiskFull):
        write(base, None, out)
    assert [path.name for path in tmp_path.iterdir()] == ["m.gguf"]
    assert out.read_bytes() == b"old"


@pytest.mark.parametrize(("number", "quant", "said"), [(70000.0, "F16", "too large"), (math.inf, "BF16", "not finite")])
def test_numbers_that_the_format_cannot_hold_are_refused(
    number: float, quant: str, said: str, base: Path, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    copy = shutil.copytree(base, tmp_path / "copy")
    tensors = load_file(copy / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][3, 4] = torch.tensor(number)
    save_file(tensors, copy / "model.safetensors")
    with pytest.raises(ExportError, match=rf"layers\.1\.mlp\.up_proj.*{said}"):
        write(copy, None, tmp_path / "m.gguf", quant)
    assert not list(tmp_path.glob("*.gguf*"))
    if math.isfinite(number):
        write(copy, None, tmp_path / "m.gguf", "BF16")


def test_progress_counts_every_byte_and_the_file_is_the_owners(base: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    out = write(base, None, tmp_path / "m.gguf", progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1] == sum(tensor.n_bytes for tensor in GGUFReader(out).tensors)
    assert out.stat().st_mode & 0o777 == 0o600


def test_a_format_of_llama_cpps_own_is_not_written_directly(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="'Q4_K_M' is not written directly"):
        write(base, None, tmp_path / "m.gguf", "Q4_K_M")
