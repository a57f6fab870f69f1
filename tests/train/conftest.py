"""A tiny random Llama as transformers 5 saves one, rows of random tokens, and short recipes."""

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from lunar_tune.artefacts import TokenRow
from lunar_tune.ranges import MODULES
from lunar_tune.settings import TrainSettings

HIDDEN, FF, LAYERS, HEADS, KV, VOCABULARY, END = 64, 96, 2, 4, 2, 96, 2


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    draw = np.random.default_rng(0)
    head, wide = HIDDEN // HEADS, {"q_proj": HIDDEN, "k_proj": HIDDEN // HEADS * KV, "v_proj": HIDDEN // HEADS * KV}
    shapes = {"model.embed_tokens.weight": (VOCABULARY, HIDDEN)}
    for layer in range(LAYERS):
        block = f"model.layers.{layer}"
        shapes |= {f"{block}.self_attn.{name}.weight": (width, HIDDEN) for name, width in wide.items()}
        shapes[f"{block}.self_attn.o_proj.weight"] = (HIDDEN, HIDDEN)
        shapes |= {f"{block}.mlp.{name}.weight": (FF, HIDDEN) for name in ("gate_proj", "up_proj")}
        shapes[f"{block}.mlp.down_proj.weight"] = (HIDDEN, FF)
    weights = {name: draw.normal(0, 0.15, shape).astype(np.float32) for name, shape in shapes.items()}
    norms = [f"model.layers.{i}.{n}_layernorm" for i in range(LAYERS) for n in ("input", "post_attention")]
    weights |= {f"{name}.weight": draw.normal(1, 0.1, HIDDEN).astype(np.float32) for name in [*norms, "model.norm"]}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    rope = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0}
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": FF,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV,
        "head_dim": head,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
        "hidden_act": "silu",
        "eos_token_id": [1, END],
        "bos_token_id": 0,
        "dtype": "float32",
        "rope_parameters": {**rope, "high_freq_factor": 4.0, "original_max_position_embeddings": 32},
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="session")
def make_rows():
    """Return a maker of rows whose answers follow from what stands before them, so that there is much to learn."""

    def make(count: int, seed: int = 0, longest: int = 40, shared: int = 0) -> list[TokenRow]:
        draw, rows = random.Random(seed), []
        head = [0, *(draw.randrange(3, VOCABULARY) for _ in range(shared))]
        for index in range(count):
            asked = [draw.randrange(3, VOCABULARY) for _ in range(draw.randint(4, longest // 2))]
            answer = [*reversed(asked[-draw.randint(2, len(asked) - 1) :]), END]
            ids, unread = [*head, *asked, *answer], len(head) + len(asked)
            rows.append(TokenRow(f"row-{index}", tuple(ids), (0,) * unread + (1,) * len(answer)))
        return rows

    return make


@pytest.fixture(scope="session")
def recipe():
    """Return a short recipe; keyword arguments change it."""
    short = TrainSettings(
        base="meta-llama/Llama-3.2-3B-Instruct",
        layers=0,
        modules=MODULES,
        dropout=0.0,
        learning_rate=1e-2,
        batch=2,
        accumulation=2,
        epochs=2,
        evaluate_every=4,
        save_every=3,
        patience=0,
        threads=1,
    )

    def make(**changes) -> TrainSettings:
        return replace(short, **changes)

    return make


@pytest.fixture(params=["peft", "mlx"])
def backend(request):
    """Return each built-in trainer, made as the program makes it."""
    from lunar_tune.plugins import backends

    return backends()[request.param]()


@pytest.fixture
def train(base):
    """Return a function that trains and gives back (adapter, events)."""

    def go(backend, rows, valid, settings, work, watch=lambda event: None):
        events = []

        def both(event):
            events.append(event)
            watch(event)

        return backend.train(base, rows, valid, settings, work, both), events

    return go
