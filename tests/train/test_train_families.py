"""Mistral, Qwen2 and Qwen3 train in both trainers: the loss is plain transformers' loss, and it falls."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from lunar_tune.errors import TrainingError

pytest.importorskip("torch")


def families():
    """The maker of tiny bases that the tests of export have."""
    path = Path(__file__).parents[1] / "export" / "families.py"
    if "families" not in sys.modules:
        spec = importlib.util.spec_from_file_location("families", path)
        sys.modules["families"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["families"])
    return sys.modules["families"]


@pytest.fixture(scope="module", params=["mistral", "qwen2", "qwen3"])
def other(request, tmp_path_factory):
    return families().make(tmp_path_factory.mktemp(request.param) / "base", request.param)


def naive_loss(base, rows):
    """The mean NLL of supervised tokens under plain transformers."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    total = 0.0
    with torch.no_grad():
        for row in rows:
            log_probabilities = model(torch.tensor([row.ids])).logits[0].float().log_softmax(-1)
            total -= sum(log_probabilities[i - 1, row.ids[i]].item() for i in range(1, len(row.ids)) if row.mask[i])
    return total / sum(row.supervised for row in rows)


def test_the_loss_begins_as_transformers_and_falls(other, backend, make_rows, recipe, tmp_path):
    rows, valid = make_rows(8, longest=24), [*make_rows(2, seed=1), *make_rows(2, seed=2, shared=30)]
    settings = recipe(batch=4, accumulation=1, epochs=20, max_steps=8, evaluate_every=8, precision="float32")
    events = []
    adapter = backend.train(other, rows, valid, settings, tmp_path, events.append)
    judged = [event.valid_loss for event in events if event.kind == "valid"]
    assert judged[0] == pytest.approx(naive_loss(other, valid), rel=1e-4)
    losses = [event.loss for event in events if event.kind == "step"]
    assert losses[-1] < 0.9 * losses[0]
    assert (adapter.path / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize("kind", ["mistral", "qwen2"])
def test_a_row_longer_than_the_sliding_window_is_refused(kind, backend, make_rows, recipe, tmp_path):
    more = {"use_sliding_window": True, "max_window_layers": 0} if kind == "qwen2" else {}
    base = families().make(tmp_path / "base", kind, sliding_window=16, **more)
    assert json.loads((base / "config.json").read_text())["sliding_window"] == 16
    settings = recipe(batch=1, accumulation=1, epochs=1, max_steps=1)
    within = make_rows(2, longest=12)
    assert max(len(row.ids) for row in within) <= 16
    backend.train(base, within, within, settings, tmp_path / "within", lambda event: None)
    with pytest.raises(TrainingError, match="16 tokens that the base sees at a time"):
        backend.train(base, make_rows(2, longest=24, shared=20), [], settings, tmp_path / "beyond", lambda event: None)
