"""A small random Llama with Llama 3's kind of tokenizer and rotary scaling, an adapter for it, and llama.cpp."""

import json
import os
import subprocess
import sys
import typing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
from tokenizers.trainers import BpeTrainer

from lunar_tune.artefacts import Adapter
from lunar_tune.export.gguf import write_gguf
from lunar_tune.export.reference import log_softmax
from lunar_tune.export.shape import read_shape
from lunar_tune.export.vocabulary import LLAMA3_SPLIT

SPECIAL = [
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|finetune_right_pad_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
]
USER_DEFINED = "[[tool]]"  # an added token that is not special
CONFIG_5 = {  # transformers 5's style
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "vocab_size": 512,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-05,
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": True,
    "rope_parameters": {
        "rope_theta": 500000.0,
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,  # so that the scaling shows within a short prompt
    },
}
BOS_ID = 438
TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def config_4(config: dict) -> dict:
    """The same configuration in transformers 4's style."""
    rope = dict(config["rope_parameters"])
    rest = {key: value for key, value in config.items() if key != "rope_parameters"}
    return {**rest, "rope_theta": rope.pop("rope_theta"), "rope_scaling": rope}


def make_tokenizer(folder: Path) -> Tokenizer:
    """A byte-level BPE of 446 entries, learnt from this repository's kind of text."""
    words = "the agent called a tool and it was not what they're 'asking' for: {\"name\": \"get_weather\", 12345} don't"
    texts = [words, words.upper(), words.title(), "\n\n  def f(x):\n\treturn x\n", "naïve café Straße 東京 привет"] * 3
    tokenizer = Tokenizer(BPE(ignore_merges=True))
    split = Split(Regex(LLAMA3_SPLIT), "isolated")
    tokenizer.pre_tokenizer = Sequence([split, ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = ByteLevelDecoder()
    alphabet = sorted(ByteLevel.alphabet())
    trainer = BpeTrainer(vocab_size=700, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    tokenizer.add_tokens([AddedToken(USER_DEFINED, special=False, normalized=False)])
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer


def write_base(folder: Path, config: dict, *, seed: int = 0, shards: int = 1) -> Path:
    """A checkpoint with random bfloat16 weights, large enough that answers differ clearly."""
    from safetensors.torch import save_file as save_torch
    from torch import bfloat16, from_numpy

    folder.mkdir(parents=True, exist_ok=True)
    shape, problems = read_shape(config)
    assert shape is not None, problems
    random = np.random.default_rng(seed)
    tensors = {}
    for name, (_, size) in shape.tensors().items():
        if len(size) == 1:
            values = 1 + 0.1 * random.standard_normal(size)
        else:
            values = random.standard_normal(size) * (0.5 if "embed" in name else 1.0) / np.sqrt(size[-1])
        tensors[name] = from_numpy(values.astype(np.float32)).to(bfloat16)
    names = list(tensors)
    if shards == 1:
        save_torch(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        files = [f"model-{n + 1:05}-of-{shards:05}.safetensors" for n in range(shards)]
        for n, file in enumerate(files):
            save_torch({name: tensors[name] for name in names[n::shards]}, folder / file)
        weight_map = {name: files[n % shards] for n, name in enumerate(names)}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (folder / "config.json").write_text(json.dumps(config))
    make_tokenizer(folder)
    return folder


def write_adapter(folder: Path, config: dict, *, rank: int = 6, alpha: float = 8.0, size: float = 0.1) -> Adapter:
    """A random adapter on every projection of the upper half of the layers; `size` 0.05 is more than training gives."""
    folder.mkdir(parents=True, exist_ok=True)
    shape, _ = read_shape(config)
    assert shape is not None
    random = np.random.default_rng(1)
    tensors = {}
    for name, (_, (rows, *columns)) in shape.tensors().items():
        parts = name.split(".")
        if columns and parts[-2] in MODULES and int(parts[2]) >= shape.layers // 2:
            stem = "base_model.model." + name.removesuffix(".weight")
            tensors[f"{stem}.lora_A.weight"] = size * random.standard_normal((rank, *columns)).astype(np.float32)
            tensors[f"{stem}.lora_B.weight"] = size * random.standard_normal((rows, rank)).astype(np.float32)
    save_file(tensors, folder / "adapter_model.safetensors")
    fields = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "bias": "none", "target_modules": list(MODULES)}
    fields |= {"layers_to_transform": list(range(shape.layers // 2, shape.layers)), "layers_pattern": "layers"}
    (folder / "adapter_config.json").write_text(json.dumps(fields))
    return Adapter(folder, rank, alpha)


def worst_difference(found: typing.Sequence[np.ndarray], expected: typing.Sequence[np.ndarray]) -> float:
    """The largest difference of log-probability, in nats, over all prompts, positions and tokens."""
    return max(float(np.abs(log_softmax(f) - log_softmax(e)).max()) for f, e in zip(found, expected, strict=True))


@dataclass(frozen=True)
class LlamaCpp:
    """What llama.cpp made of a file."""

    texts: list[list[int]]
    with_bos: list[int]
    special: list[int]
    answers: list[np.ndarray]


def ask_llama_cpp(
    gguf: Path, *, texts: typing.Sequence[str] = (), prompts: typing.Sequence[list[int]] = (), greedy: int = 0
) -> LlamaCpp:
    """Ask llama.cpp in a child process: ids of texts (special tokens parsed, no BOS added), and of each prompt the
    logits after every token or, with `greedy`, the prompt with so many tokens more. Cache and attention are float32.
    """
    out = gguf.with_suffix(".npz")
    _child({"gguf": str(gguf), "out": str(out), "texts": list(texts), "prompts": list(prompts), "greedy": greedy})
    found = np.load(out)
    out.unlink()
    return LlamaCpp(
        [found[f"text{n}"].tolist() for n in range(len(texts))],
        found["with_bos"].tolist(),
        found["special"].tolist(),
        [found[f"prompt{n}"] for n in range(len(prompts))],
    )


def copy_with_llama_cpp(gguf: Path, target: Path) -> Path:
    """What Ollama does to every GGUF it imports: `llama-quantize … COPY`."""
    _child({"gguf": str(gguf), "copy": str(target)})
    return target


def _child(job: dict) -> None:
    script = Path(__file__).with_name("llama_child.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script)],
        input=json.dumps(job),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base in transformers 5's style, tied, bfloat16."""
    pytest.importorskip("torch")
    return write_base(tmp_path_factory.mktemp("base"), CONFIG_5)


@pytest.fixture(scope="session")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    """An adapter for `base`."""
    return write_adapter(tmp_path_factory.mktemp("adapter"), CONFIG_5)


@pytest.fixture(scope="session")
def f16(base: Path, adapter: Adapter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Base and adapter as an F16 GGUF."""
    out = tmp_path_factory.mktemp("f16") / "tiny.F16.gguf"
    write_gguf(base, adapter, out, "F16", chat_template=TEMPLATE, name="tiny")
    return out


@pytest.fixture(scope="session")
def prompts() -> list[list[int]]:
    """Twenty prompts of 5 to 62 tokens, each behind the BOS."""
    random = np.random.default_rng(7)
    return [[BOS_ID, *random.integers(0, BOS_ID, 4 + 3 * n).tolist()] for n in range(20)]
