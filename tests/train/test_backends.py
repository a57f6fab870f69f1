"""Both trainers: the same losses, the right losses, resumed to the byte, loadable by PEFT, and in 4 bits."""

import json

import numpy as np
import pytest

from lunar_tune.errors import BaseMissing, MissingExtra, TrainingError, UsageError
from lunar_tune.train import backends
from lunar_tune.train.adapter import CONFIG, WEIGHTS

# peft 0.21 asks transformers 5 by an old name when it makes a PeftModel, which only these tests do
PEFT_WARNS = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


def losses(events):
    return [event.loss for event in events if event.kind == "step"]


def test_both_trainers_have_the_same_curve(train, make_rows, recipe, tmp_path):
    settings = recipe(batch=2, accumulation=1, epochs=50, max_steps=50, evaluate_every=25)
    rows, valid = [*make_rows(3, longest=24), *make_rows(2, 4, 24, shared=30)], make_rows(3, seed=1)
    runs = {}
    for name, make in (("peft", backends.make_peft), ("mlx", backends.make_mlx)):
        runs[name] = train(make(), rows, valid, settings, tmp_path / name)
    torch_losses, mlx_losses = (np.array(losses(events)) for _, events in runs.values())
    assert len(torch_losses) == 50
    assert mlx_losses[0] == pytest.approx(torch_losses[0], rel=1e-5)
    assert np.abs(mlx_losses / torch_losses - 1).max() < 0.02
    assert torch_losses[-1] < 0.7 * torch_losses[0]
    judged = [[e.valid_loss for e in events if e.kind == "valid"] for _, events in runs.values()]
    assert len(judged[0]) == 3
    assert judged[1] == pytest.approx(judged[0], rel=0.02)


@PEFT_WARNS
def test_adapter_loads_in_peft_with_the_reported_loss(base, backend, train, make_rows, recipe, tmp_path):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    valid = make_rows(6, seed=1)
    adapter, events = train(backend, make_rows(12), valid, recipe(rank=4, alpha=8.0), tmp_path)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter.path).eval()
    with torch.no_grad():
        total = sum(naive_nll(model, row).item() for row in valid)
    end = events[-1]
    assert end.kind == "end"
    assert end.valid_loss == pytest.approx(total / sum(row.supervised for row in valid), rel=1e-5)
    assert (adapter.rank, adapter.alpha, adapter.scale) == (4, 8.0, 2.0)


def naive_nll(model, row):
    """Return a row's summed NLL from all logits of one unpadded row."""
    import torch

    ids = torch.tensor([row.ids])
    log_probabilities = model(ids).logits.float().log_softmax(-1)
    return -sum(log_probabilities[0, i - 1, row.ids[i]] for i in range(1, len(row.ids)) if row.mask[i])


@PEFT_WARNS
@pytest.mark.parametrize(("limit", "passes"), [(1, 5), (80, 3), (1000, 1)])
def test_loss_and_gradient_equal_a_naive_full_logits_loss(base, make_rows, recipe, limit, passes):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from lunar_tune.train.initial import initial_weights
    from lunar_tune.train.packing import pack
    from lunar_tune.train.peft_backend import PeftEngine

    rows, settings = [*make_rows(2, seed=3), *make_rows(3, seed=4, shared=40)], recipe()
    supervised = sum(row.supervised for row in rows)
    engine = PeftEngine(base, settings)
    start = initial_weights(engine.shapes(), settings.rank, 7)
    draw = np.random.default_rng(0)
    start = {name: value + draw.normal(0, 0.05, value.shape).astype(np.float32) for name, value in start.items()}
    engine.load(start, {}, 0)
    batches = pack(rows, limit)
    assert len(batches) == passes
    total = sum(engine.accumulate(one, supervised, seed=0) for one in batches)

    config = LoraConfig(r=settings.rank, lora_alpha=settings.alpha, target_modules=list(settings.modules))
    naive = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    parameters = {name.replace(".default", ""): p for name, p in naive.named_parameters() if p.requires_grad}
    assert parameters.keys() == start.keys()
    for name, parameter in parameters.items():
        parameter.data.copy_(torch.from_numpy(start[name]))
    loss = sum(naive_nll(naive, row) for row in rows) / supervised
    loss.backward()
    assert total / supervised == pytest.approx(loss.item(), rel=1e-5)
    assert sum(engine.nll(one) for one in batches) == pytest.approx(total, rel=1e-5)
    for name, parameter in engine.parameters.items():
        torch.testing.assert_close(parameter.grad, parameters[name].grad, rtol=1e-3, atol=1e-6)


@PEFT_WARNS
def test_the_distance_from_the_base_equals_a_naive_one(base, backend, train, make_rows, recipe, tmp_path):
    from dataclasses import replace

    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from lunar_tune.artefacts import REHEARSED

    new = make_rows(5, seed=1)
    old = [replace(row, id=f"{REHEARSED}{row.id}") for row in make_rows(4, seed=2, shared=20)]
    adapter, events = train(backend, make_rows(8), [*new, *old], recipe(), tmp_path)
    judged = [event for event in events if event.kind == "valid"]
    assert judged[0].step == 0
    assert judged[0].kl_new == judged[0].kl_old == 0
    assert [event.best_step for event in events if event.kind == "end"] == [judged[-1].step], "the last is delivered"

    plain = AutoModelForCausalLM.from_pretrained(base).eval()
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter.path).eval()

    def naive(rows):
        total = 0.0
        for row in rows:
            with torch.no_grad():
                ids = torch.tensor([row.ids])
                of_base, of_tuned = (model(ids).logits[0].log_softmax(-1) for model in (plain, tuned))
            places = [place - 1 for place in range(1, len(row.ids)) if row.mask[place]]
            total += (of_base.exp() * (of_base - of_tuned))[places].sum().item()
        return total / sum(row.supervised for row in rows)

    assert judged[-1].kl_new == pytest.approx(naive(new), rel=1e-3)
    assert judged[-1].kl_old == pytest.approx(naive(old), rel=1e-3)
    assert judged[-1].valid_loss == pytest.approx(
        sum(naive_nll(tuned, row).item() for row in new) / sum(row.supervised for row in new), rel=1e-4
    ), "rehearsed rows are not part of the validation loss"


class Killed(Exception):
    """Stands for kill -9 between two events: nothing after it is written."""


def test_a_run_killed_again_and_again_ends_with_the_same_bytes(backend, train, make_rows, recipe, tmp_path):
    settings = recipe(dropout=0.1, max_steps=9, epochs=9)  # checkpoints at 3, 4, 6, 8 and 9
    rows, valid = make_rows(5), make_rows(2, seed=1)
    whole, events = train(backend, rows, valid, settings, tmp_path / "whole")
    starts = []
    for deadly in (("step", 2), ("valid", 4), ("checkpoint", 6), ("step", 9), None):

        def kill(event, deadly=deadly):
            if event.kind == "start":
                starts.append(event.step)
            if (event.kind, event.step) == deadly and starts[-1] < event.step:
                raise Killed

        if deadly:
            with pytest.raises(Killed):
                train(backend, rows, valid, settings, tmp_path / "cut", kill)
    resumed, after = train(backend, rows, valid, settings, tmp_path / "cut", kill)
    assert starts == [0, 0, 3, 6, 8]
    assert "resumed from the checkpoint of step 8" in next(e.note for e in after if e.kind == "start")
    assert (resumed.path / WEIGHTS).read_bytes() == (whole.path / WEIGHTS).read_bytes()
    assert (resumed.path / CONFIG).read_bytes() == (whole.path / CONFIG).read_bytes()
    lines = [json.loads(line) for line in (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines if line["kind"] == "step"] == losses(events)
    for kind in ("step", "valid", "checkpoint", "end"):
        assert [x["step"] for x in lines if x["kind"] == kind] == [e.step for e in events if e.kind == kind]


def test_a_finished_run_is_delivered_again_without_training(train, make_rows, recipe, tmp_path):
    rows = make_rows(8)
    first, _ = train(backends.make_peft(), rows, [], recipe(), tmp_path)
    written = (first.path / WEIGHTS).read_bytes()
    (first.path / WEIGHTS).unlink()
    again, events = train(backends.make_peft(), rows, [], recipe(), tmp_path)
    assert (again.path / WEIGHTS).read_bytes() == written
    assert [event.kind for event in events] == ["checkpoint", "start", "end"]


def test_the_best_step_is_delivered_not_the_last(backend, train, make_rows, recipe, tmp_path):
    settings = recipe(
        learning_rate=0.1, epochs=30, max_steps=12, evaluate_every=2, save_every=2, clip=0.0
    )  # learns rows by heart
    adapter, events = train(backend, make_rows(4), make_rows(4, seed=5), settings, tmp_path)
    judged = {e.step: e.valid_loss for e in events if e.kind == "valid" and e.step > 0}
    best = min(judged, key=judged.get)
    assert events[-1].best_step == best < 12
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == sorted({f"step-{step:07d}" for step in (best, 10, 12)})
    delivered = (tmp_path / "checkpoints" / f"step-{best:07d}" / WEIGHTS).read_bytes()
    assert (adapter.path / WEIGHTS).read_bytes() == delivered


def test_four_bit_bases_are_trained(backend, base, train, make_rows, recipe, tmp_path):
    settings = recipe(quantize_base="4bit", epochs=12, accumulation=1, dropout=0.05)
    adapter, events = train(backend, make_rows(4), make_rows(2, seed=1), settings, tmp_path)
    curve = losses(events)
    assert np.mean(curve[-3:]) < 0.85 * np.mean(curve[:3])
    assert (adapter.path / WEIGHTS).is_file()
    train(backend, make_rows(4), [], recipe(max_steps=1, accumulation=1), tmp_path / "full")
    first = json.loads((tmp_path / "full" / "metrics.jsonl").read_text().splitlines()[1])["loss"]
    assert curve[0] != first  # the base really was quantized
    assert curve[0] == pytest.approx(first, rel=0.3)


def test_bfloat16_bases_are_trained(backend, train, make_rows, recipe, tmp_path):
    settings = recipe(precision="bfloat16", epochs=10, accumulation=1, dropout=0.1)
    _, events = train(backend, make_rows(4), [], settings, tmp_path)
    assert np.mean(losses(events)[-3:]) < 0.85 * np.mean(losses(events)[:3])


def test_only_the_wanted_layers_and_projections_are_adapted(backend, train, make_rows, recipe, tmp_path):
    from safetensors.numpy import load_file

    settings = recipe(layers=1, modules=("q_proj", "down_proj"), max_steps=3, alpha=6.5)
    adapter, _ = train(backend, make_rows(4), [], settings, tmp_path)
    weights = load_file(adapter.path / WEIGHTS)
    modules = ("model.layers.1.self_attn.q_proj", "model.layers.1.mlp.down_proj")
    assert set(weights) == {f"base_model.model.{m}.lora_{s}.weight" for m in modules for s in "AB"}
    assert all(value.dtype == np.float32 and np.abs(value).max() > 0 for value in weights.values())
    assert weights["base_model.model.model.layers.1.mlp.down_proj.lora_A.weight"].shape == (6, 96)
    assert weights["base_model.model.model.layers.1.mlp.down_proj.lora_B.weight"].shape == (64, 6)
    config = json.loads((adapter.path / CONFIG).read_text())
    assert config["layers_to_transform"] == [1]
    assert config["target_modules"] == ["down_proj", "q_proj"]
    assert config["lora_alpha"] == 6.5
    assert config["base_model_name_or_path"] == "meta-llama/Llama-3.2-3B-Instruct"


def test_diverging_training_stops_with_the_step_and_the_cure(backend, train, make_rows, recipe, tmp_path):
    with pytest.raises(TrainingError, match=r"diverged at step \d+") as caught:
        train(backend, make_rows(8), [], recipe(learning_rate=1e30, clip=0.0, epochs=20), tmp_path)
    assert "train.learning_rate" in caught.value.hint


def test_checkpoints_of_another_recipe_are_not_resumed(train, make_rows, recipe, tmp_path):
    train(backends.make_peft(), make_rows(4), [], recipe(max_steps=1), tmp_path)
    with pytest.raises(TrainingError, match="another recipe"):
        train(backends.make_peft(), make_rows(4), [], recipe(max_steps=1, rank=3), tmp_path)


def test_a_base_whose_weights_are_missing(backend, base, make_rows, recipe, tmp_path):
    (tmp_path / "config.json").write_bytes((base / "config.json").read_bytes())
    with pytest.raises(BaseMissing, match="cannot load it"):
        backend.train(tmp_path, make_rows(4), [], recipe(), tmp_path / "work", lambda event: None)


def test_choice_of_a_trainer(monkeypatch):
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert backends.choose_backend("auto", ["peft", "mlx"]) == "mlx"
    assert backends.choose_backend("auto", ["peft"]) == "peft"
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert backends.choose_backend("auto", ["peft", "mlx"]) == "peft"
    assert backends.choose_backend("mine", ["peft", "mine"]) == "mine"
    with pytest.raises(UsageError, match="No trainer 'jax' here") as caught:
        backends.choose_backend("jax", ["peft", "mlx"])
    assert caught.value.exit_code == 2


def test_a_missing_library_is_named_with_the_extra(monkeypatch):
    monkeypatch.setattr(backends, "_installed", lambda package: package != "mlx_lm")
    with pytest.raises(MissingExtra, match="'mlx-lm'") as caught:
        backends.make_mlx()
    assert caught.value.hint == "pip install 'lunar-tune[mlx]'"
