"""Mistral, Qwen2 and Qwen3 in llama.cpp are what transformers makes of them, adapters and tokenizers included."""

import json
import shutil

import numpy as np
import pytest
from conftest import TEMPLATE, ask_llama_cpp, worst_difference, write_adapter
from families import KINDS, config_of, make
from tokenizers import Tokenizer

from lunar_tune.errors import BaseNotExportable
from lunar_tune.export.gguf import check_exportable, write_gguf
from lunar_tune.export.reference import reference_logits

pytest.importorskip("torch")


@pytest.fixture(scope="module", params=KINDS)
def family(request, tmp_path_factory):
    """(kind, base, adapter, F16 GGUF of both)."""
    folder = tmp_path_factory.mktemp(request.param)
    base = make(folder / "base", request.param)
    adapter = write_adapter(folder / "adapter", config_of(base))
    write_gguf(base, adapter, folder / "m.gguf", "F16", chat_template=TEMPLATE, name="m")
    return request.param, base, adapter, folder / "m.gguf"


@pytest.fixture(scope="module")
def some_ids():
    draw = np.random.default_rng(3)
    return [draw.integers(300, 700, 5 + 4 * n).tolist() for n in range(6)]


def test_it_can_be_exported(family):
    assert check_exportable(family[1]) == []


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_the_reference_is_transformers_with_pefts_adapter(family, some_ids):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    _, base, adapter, _ = family
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    for with_adapter in (None, adapter):
        model = PeftModel.from_pretrained(plain, adapter.path) if with_adapter else plain
        with torch.no_grad():
            expected = [model.eval()(torch.tensor([ids])).logits[0].numpy() for ids in some_ids]
        for found, wanted in zip(reference_logits(base, with_adapter, some_ids), expected, strict=True):
            np.testing.assert_allclose(found, wanted, atol=5e-4)


def test_llama_cpp_says_what_transformers_says(family, some_ids):
    _, base, adapter, gguf = family
    expected = reference_logits(base, adapter, some_ids)
    assert worst_difference(ask_llama_cpp(gguf, prompts=some_ids).answers, expected) <= 0.05


def test_llama_cpp_cuts_text_as_the_checkpoints_tokenizer_does(family):
    from lunar_tune.bases import load_tokenizer

    kind, base, _, gguf = family
    tokenizer = load_tokenizer(base)
    plain = [
        "hello", "the agent called", "don't they're 12345 1 22 333", "two  spaces and\n\nlines\t\tof text ",
        '{"a": [1]}', "HTMLParser XMLHttp", "École",
        "Straße naïve 東京 привет 😀", "a/b//c\n/ x", "McDonald iPhone", "e\u0301 ǅ", "x\r\ny", "ÉCOLE",
    ]  # fmt: skip
    head = " " if kind == "mistral" else ""
    start = "<s>[INST]" if kind.startswith("mistral") else "<|im_start|>user\n"
    texts = [f"{start}{head}{text}" for text in plain]
    found = ask_llama_cpp(gguf, texts=texts)
    assert [(t, i) for t, i in zip(texts, found.texts, strict=True) if i != tokenizer.encode(t)] == []
    assert found.with_bos[1 if kind.startswith("mistral") else 0 :] == tokenizer.encode(f"{head}hi")[-2:]


@pytest.mark.parametrize("wrong", ["order", "way"])
def test_merges_that_no_scores_can_say_are_refused(wrong, tmp_path):
    base = make(tmp_path / "base", "mistral")
    content = json.loads((base / "tokenizer.json").read_text())
    merges = content["model"]["merges"]
    several = next(n for n, (a, b) in enumerate(merges) if "".join(merges[n + 1]) == a + b)
    moved = merges.pop(several)
    if wrong == "order":
        merges.append(moved)
    (base / "tokenizer.json").write_text(json.dumps(content))
    assert check_exportable(base) == ["its merges do not go entry by entry, so no scores say the same"]
    with pytest.raises(BaseNotExportable):
        write_gguf(base, None, tmp_path / "m.gguf", "F16", chat_template=TEMPLATE, name="m")


def test_a_sliding_window_is_the_longest_context(tmp_path):
    from gguf import GGUFReader

    base = make(tmp_path / "base", "mistral", sliding_window=64)
    write_gguf(base, None, tmp_path / "m.gguf", "F16", chat_template=TEMPLATE, name="m")
    assert GGUFReader(tmp_path / "m.gguf").fields["llama.context_length"].contents() == 64


def test_swapped_tokenizers_are_refused(tmp_path):
    base = make(tmp_path / "base", "qwen2")
    Tokenizer.from_file(str(base / "tokenizer.json"))
    shutil.copy(base / "tokenizer.json", tmp_path / "kept.json")
    content = json.loads((tmp_path / "kept.json").read_text())
    content["normalizer"] = {"type": "NFKC"}
    (base / "tokenizer.json").write_text(json.dumps(content))
    assert any("normalizes text" in problem for problem in check_exportable(base))
