"""The reference is transformers' Llama, and verification tells a faithful file from any other."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import CONFIG_5, TEMPLATE, ask_llama_cpp, config_4, worst_difference, write_adapter, write_base

from lunar_tune.artefacts import Adapter
from lunar_tune.errors import BaseNotExportable, ExportError
from lunar_tune.export.gguf import write_gguf
from lunar_tune.export.reference import log_softmax, reference_logits
from lunar_tune.export.verify import Verification, verify

NANO = Path(__file__).parents[2] / "fixtures" / "nano"
QUESTIONS = (
    "What is the weather in {}?",
    "Book a table in {} for two.",
    "Remind me about {} tomorrow.",
    "{}",
    "Hi, {}!",
)
NAMES = ("Oslo", "Lima", "Paris", "Rome", "Kyoto", "Cairo", "Quito", "Delhi", "Turin", "Bern")


class Given:
    """A source of logits that are already there."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows

    def logits(self, ids: Sequence[int], positions: Sequence[int]) -> np.ndarray:
        return self.rows[list(positions)]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"tie_word_embeddings": False},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
        {"num_key_value_heads": 8, "head_dim": 64, "num_hidden_layers": 2},
    ],
)
def test_the_reference_is_transformers_llama(change: dict, prompts: list[list[int]], tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from transformers import LlamaForCausalLM

    config = {**CONFIG_5, **change}
    base = write_base(tmp_path / "base", config)
    model = LlamaForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    with torch.no_grad():
        expected = [model(torch.tensor([ids])).logits[0].numpy() for ids in prompts]
    found = reference_logits(base, None, prompts)
    for row, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(row, wanted, atol=2e-5)
    for row, wanted in zip(reference_logits(base, None, prompts, tail=3), found, strict=True):
        np.testing.assert_allclose(row, wanted[-3:], atol=1e-5)
    (base / "config.json").write_text(json.dumps(config_4(config)))
    np.testing.assert_array_equal(reference_logits(base, None, prompts[:1])[0], found[0])


def test_log_softmax_leaves_log_probabilities_alone() -> None:
    logits = np.random.default_rng(0).standard_normal((5, 40)).astype(np.float32) * 30
    once = log_softmax(logits)
    np.testing.assert_allclose(np.exp(once.astype(np.float64)).sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(log_softmax(once), once, atol=1e-5)


def source_of(folder: Path) -> Path:
    """The trained small base of the fixtures; a random one of the same widths where that is not there."""
    if (NANO / "model.safetensors").is_file():
        return Path(shutil.copytree(NANO, folder))
    return write_base(folder, CONFIG_5)


def conversations(base: Path, count: int) -> list[list[int]]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    texts = [question.format(name) for name in NAMES for question in QUESTIONS][:count]
    header = "<|start_header_id|>{}<|end_header_id|>\n\n"
    shown = [f"<|begin_of_text|>{header.format('user')}{t}<|eot_id|>{header.format('assistant')}" for t in texts]
    return [tokenizer.encode(text, add_special_tokens=False).ids for text in shown]


def test_f16_says_what_the_float32_model_says(tmp_path: Path) -> None:
    """Twenty prompts: next-token log-probabilities within 0.05 nats. Fifty: the same greedy text, but for near-ties."""
    pytest.importorskip("torch")
    base = source_of(tmp_path / "base")
    adapter = write_adapter(tmp_path / "adapter", json.loads((base / "config.json").read_text()), size=0.05)
    gguf = tmp_path / "m.gguf"
    write_gguf(base, adapter, gguf, "F16", chat_template=TEMPLATE, name="m")
    asked = conversations(base, 50)
    last = [logits[-1:] for logits in ask_llama_cpp(gguf, prompts=asked[:20]).answers]
    assert worst_difference(last, reference_logits(base, adapter, asked[:20], tail=1)) <= 0.05
    served = verify(gguf, base, adapter, asked[:20], tail=64, threads=1)  # every position, 16-bit cache and attention
    assert served.max_abs_logprob_difference <= 0.25
    assert served.n == sum(map(len, asked[:20]))
    written = [ids.tolist() for ids in ask_llama_cpp(gguf, prompts=asked, greedy=32).answers]
    flips = 0
    for ids, logits in zip(
        written, reference_logits(base, adapter, [ids[:-1] for ids in written], tail=32), strict=True
    ):
        expected = log_softmax(logits)
        margins = expected.max(-1) - expected[np.arange(32), ids[-32:]]  # of the reference's best over what was written
        assert margins.max() <= 0.1
        flips += int((margins > 0).sum())
    assert flips <= 0.02 * 50 * 32


def test_a_file_of_another_adapter_or_base_is_told(
    f16: Path, base: Path, adapter: Adapter, prompts: list[list[int]], tmp_path: Path
) -> None:
    right = verify(f16, base, adapter, prompts, threads=1)
    assert right.max_abs_logprob_difference < 0.05
    assert right.greedy_equal > 0.95
    assert right.widest_flip < 0.1
    wrong = verify(f16, base, None, prompts, threads=1)
    assert wrong.max_abs_logprob_difference > 1
    assert wrong.greedy_equal < 0.8
    half = verify(f16, base, adapter, prompts, strength=0.5, threads=1)
    assert half.max_abs_logprob_difference > 0.2


def test_the_figures(base: Path) -> None:
    ids = [438, 5, 9, 17]
    expected = reference_logits(base, None, [ids])[0]
    same = verify(Path("m.gguf"), base, None, [ids], Given(expected))
    assert same == Verification(max_abs_logprob_difference=0.0, greedy_equal=1.0, widest_flip=0.0, n=4)
    best, second = np.argsort(log_softmax(expected)[3])[[-1, -2]]
    swapped = expected.copy()
    swapped[3, [best, second]] = expected[3, [second, best]]
    margin = float(expected[3, best] - expected[3, second])
    found = verify(Path("m.gguf"), base, None, [ids], Given(swapped), tail=2)
    assert (found.n, found.greedy_equal) == (2, 0.5)
    assert found.max_abs_logprob_difference == pytest.approx(margin, abs=1e-4)
    assert found.widest_flip == pytest.approx(margin, abs=1e-4)
    broken = expected.copy()
    broken[1, 7] = np.nan
    difference = verify(Path("m.gguf"), base, None, [ids, ids], Given(broken)).max_abs_logprob_difference
    assert not difference <= 1000


def test_what_cannot_be_compared_is_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="3 probabilities a token, its source 512"):
        verify(Path("m.gguf"), base, None, [[438, 1]], Given(np.zeros((2, 3), np.float32)))
    for prompts in ([], [[438], []]):
        with pytest.raises(ExportError, match="empty prompts"):
            verify(Path("m.gguf"), base, None, prompts, Given(np.zeros((2, 512), np.float32)))
    copy = shutil.copytree(base, tmp_path / "copy")
    (copy / "config.json").write_text(json.dumps({**CONFIG_5, "model_type": "qwen2"}))
    with pytest.raises(BaseNotExportable):
        reference_logits(copy, None, [[1]])
