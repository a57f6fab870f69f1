"""The memory plan: what a config says, what each choice saves, what is chosen, and what is said when nothing fits."""

import json
from dataclasses import replace

import pytest

from lunar_tune.errors import BaseMissing, DoesNotFit, OutOfMemory
from lunar_tune.settings import TrainSettings
from lunar_tune.train import machine as machines
from lunar_tune.train.fit import Plan, choose, fits, memory, plans, read_plan, step_down
from lunar_tune.train.machine import Machine
from lunar_tune.train.memory import memory_errors
from lunar_tune.train.plan import Longest, Shape, adapter_size, estimate, read_shape
from lunar_tune.train.settle import settled

THREE = {
    "hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 28, "num_attention_heads": 24,
    "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 128256, "tie_word_embeddings": True,
}  # fmt: skip
ROW = Longest(4096, 800)
RECIPE = TrainSettings(batch=2, accumulation=4)
GB = 10**9


def cpu(free):
    return Machine("cpu", int(free * GB), 64 * GB, "CPU")


def test_a_config_gives_the_number_of_weights(base):
    assert read_shape(THREE).parameters == 3_212_749_824  # what the model's card says: 3.21 B
    shape = read_shape(json.loads((base / "config.json").read_text()))
    from lunar_tune.bases import find_base

    assert shape.parameters == find_base(str(base)).parameters


def test_a_config_without_widths_is_refused():
    with pytest.raises(BaseMissing, match="lacks a width"):
        read_shape({"hidden_size": 8}, "odd")


@pytest.mark.parametrize(
    ("extra", "packed"),
    [
        ({}, None),
        ({"quantization": {"bits": 4, "group_size": 64}}, 0.5625),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}}, 0.53125),
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}, 1.0625),
        ({"quantization_config": {"quant_method": "unknown"}}, None),
    ],
)
def test_quantized_files_are_known_by_their_bits(extra, packed):
    assert read_shape(THREE | extra).packed == packed


def test_the_adapter_has_the_size_that_the_engine_gives_it(base, recipe):
    from lunar_tune.train.peft_backend import PeftEngine

    settings = recipe(layers=1, modules=("q_proj", "down_proj"))
    shape = read_shape(json.loads((base / "config.json").read_text()))
    found = PeftEngine(base, settings).weights()
    assert adapter_size(shape, settings) == sum(value.size for value in found.values())


def total(backend="peft", kind="cpu", row=ROW, **changes):
    return estimate(read_shape(THREE), settled(replace(RECIPE, **changes)), backend, kind, row).total


@pytest.mark.parametrize("backend", ["peft", "mlx"])
def test_every_choice_saves_what_it_is_there_for(backend):
    whole = total(backend)
    assert total(backend, checkpointing="on") < whole
    assert total(backend, batch=1) < whole
    assert total(backend, precision="bfloat16") < 0.7 * whole
    assert total(backend, quantize_base="4bit", checkpointing="on") < total(backend, checkpointing="on") - 6 * GB
    assert total(backend, row=Longest(2048, 400)) < whole
    assert total(backend, layers=0.0) > whole
    assert total(backend, rank=64) > whole


def test_the_weights_of_a_three_billion_base():
    parts = estimate(read_shape(THREE), settled(RECIPE), "peft", "cpu", ROW).parts()
    assert parts["weights"] == pytest.approx(12.85 * GB, rel=0.01)
    packed = read_shape(THREE | {"quantization": {"bits": 4, "group_size": 64}})
    assert estimate(packed, settled(RECIPE), "mlx", "metal", ROW).weights == pytest.approx(1.81 * GB, rel=0.01)


def chosen(free, **changes):
    return choose(read_shape(THREE), replace(RECIPE, **changes), "peft", cpu(free), ROW)


def test_the_fastest_plan_that_fits_is_taken():
    best = Plan(2, 4, "off", "float32", "none")
    assert chosen(60) == best
    found = [chosen(free) for free in (60, 24, 20, 18, 16, 12)]
    order = list(plans(RECIPE, cpu(1)))
    places = [order.index(plan) for plan in found]
    assert places == sorted(places)
    assert {plan.precision for plan in found} == {"float32", "bfloat16"}
    assert {plan.checkpointing for plan in found} == {"off", "on"}
    assert all(plan.batch * plan.accumulation == 8 for plan in found)


def test_a_plan_leaves_a_margin():
    shape, machine = read_shape(THREE), cpu(18)
    plan = choose(shape, RECIPE, "peft", machine, ROW)
    assert 1.1 * memory(shape, RECIPE, plan, "peft", machine, ROW).total <= machine.free
    assert not fits(machine.free, machine)
    assert fits(10**15, Machine("cpu", 0, 0))  # nothing tells what is free


def test_what_is_asked_for_by_name_is_kept():
    order = list(plans(replace(RECIPE, precision="bfloat16", checkpointing="off"), cpu(1)))
    assert {(plan.precision, plan.checkpointing) for plan in order} == {("bfloat16", "off")}
    assert [plan.batch for plan in order] == [2, 1]
    assert all(plan.precision == "bfloat16" for plan in plans(RECIPE, Machine("metal", 1, 1)))
    assert [plan.batch for plan in plans(replace(RECIPE, batch=0, accumulation=6), cpu(1))][:4] == [6, 3, 2, 1]


def test_nothing_fits_and_the_cures_have_figures():
    with pytest.raises(DoesNotFit) as caught:
        chosen(8.5)
    error = caught.value
    assert "8.5 GB are free" in error.message
    leanest = min(total(batch=1, accumulation=8, checkpointing="on", precision=p) for p in ("float32", "bfloat16"))
    assert f"{leanest / GB:.1f} GB at its leanest" in error.message
    four = total(batch=1, accumulation=8, checkpointing="on", precision="bfloat16", quantize_base="4bit")
    assert f'train.quantize_base = "4bit" needs {four / GB:.1f} GB' in error.hint
    window = int(error.hint.partition("dataset.window = ")[2].split()[0])
    assert 64 <= window < 4096
    assert choose(read_shape(THREE), RECIPE, "peft", cpu(8.5), Longest(window, min(window, 800)))
    with pytest.raises(DoesNotFit):
        choose(read_shape(THREE), RECIPE, "peft", cpu(8.5), Longest(window + 1, min(window + 1, 800)))


def test_a_tiny_machine_is_told_of_a_smaller_base_only():
    with pytest.raises(DoesNotFit) as caught:
        chosen(1)
    assert "dataset.window =" not in caught.value.hint
    assert "smaller --base" in caught.value.hint


def test_stepping_down_goes_one_notch_at_a_time_and_ends():
    plan, seen = Plan(4, 2, "off", "float32", "none"), []
    settings = replace(RECIPE, batch=4, accumulation=2)
    while (plan := step_down(plan, settings, quantizes=True)) is not None:
        seen.append(plan)
    assert seen == [
        Plan(4, 2, "on", "float32", "none"),
        Plan(2, 4, "on", "float32", "none"),
        Plan(1, 8, "on", "float32", "none"),
        Plan(1, 8, "on", "bfloat16", "none"),
        Plan(1, 8, "on", "bfloat16", "4bit"),
    ]
    lowest = Plan(1, 8, "off", "float32", "none")
    named = replace(settings, precision="float32", checkpointing="off")
    assert step_down(lowest, named, quantizes=False) is None
    assert (
        read_plan(
            {"batch": 1, "accumulation": 8, "checkpointing": "off", "precision": "float32"} | {"quantize_base": "none"}
        )
        == lowest
    )


def test_a_plan_changes_nothing_but_its_choices():
    settings = replace(RECIPE, rank=9, seed=4)
    applied = Plan(1, 8, "on", "bfloat16", "4bit").apply(settings)
    assert (applied.batch, applied.accumulation, applied.checkpointing) == (1, 8, "on")
    assert (applied.precision, applied.quantize_base, applied.rank, applied.seed) == ("bfloat16", "4bit", 9, 4)


def test_settings_without_a_plan_leave_nothing_open():
    found = settled(TrainSettings(batch=0))
    assert (found.batch, found.precision, found.checkpointing) == (1, "float32", "off")
    named = TrainSettings(batch=3, precision="bfloat16", checkpointing="on")
    assert settled(named) == named


@pytest.mark.parametrize(
    "raised",
    [
        MemoryError(),
        type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("[metal::malloc] Attempting to allocate 9 bytes which is greater than the maximum"),
        RuntimeError("[METAL] Command buffer execution failed: Insufficient Memory (00000008:kIOGPUCommandBuffer)"),
    ],
)
def test_every_library_s_way_of_saying_so_is_one_error(raised):
    with pytest.raises(OutOfMemory), memory_errors():
        raise raised


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="shapes"), memory_errors():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


def test_torch_really_raises_what_is_listened_for():
    import torch

    with pytest.raises(OutOfMemory), memory_errors():
        torch.empty(1 << 50, dtype=torch.uint8).fill_(1)


def test_what_is_free_here_is_told():
    found = machines.look("mlx" if machines.sys.platform != "darwin" else "peft")
    assert 0 < found.free <= found.total


def test_a_container_s_limit_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(machines, "_CGROUP", tmp_path)
    everywhere = machines._main_memory()
    (tmp_path / "memory.max").write_text("max\n")
    assert machines._main_memory()[1] == everywhere[1]
    (tmp_path / "memory.max").write_text("100000000\n")
    (tmp_path / "memory.current").write_text("90000000\n")
    (tmp_path / "memory.stat").write_text("anon 50000000\ninactive_file 30000000\n")
    assert machines._main_memory() == (40_000_000, 100_000_000)


def test_apple_s_gpu_may_wire_a_share_of_the_memory(monkeypatch):
    monkeypatch.setattr(machines.sys, "platform", "darwin")
    monkeypatch.setattr(machines.platform, "machine", lambda: "arm64")
    monkeypatch.setattr(machines, "_main_memory", lambda: (15 << 30, 16 << 30))
    found = machines.look("mlx")
    assert (found.kind, found.free) == ("metal", int((16 << 30) * 2 / 3))
    assert machines.look("peft").kind == "mps"


def test_a_gpu_is_asked_in_another_process(monkeypatch):
    told = {"kind": "cuda", "free": 7 * GB, "total": 8 * GB, "name": "Some GPU"}
    monkeypatch.setattr(machines.sys, "platform", "linux")
    monkeypatch.setattr(machines.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(machines, "_ask", lambda *arguments: told)
    assert machines.look("peft") == Machine("cuda", 7 * GB, 8 * GB, "Some GPU")
    monkeypatch.setattr(machines, "_ask", lambda *arguments: None)
    assert machines.look("peft").kind == "cpu"


def test_a_product_of_matrices_is_timed():
    assert machines.speed("peft", "float32", 1) > 1e8


def test_shapes_know_the_projections_of_a_layer():
    shape = Shape(8, 32, 2, 4, 2, 4, 100, False)
    assert shape.widths["q_proj"] == (8, 16)
    assert shape.widths["k_proj"] == (8, 8)
    assert shape.per_layer == 8 * 16 + 2 * 8 * 8 + 16 * 8 + 3 * 8 * 32
    assert shape.around == 2 * 100 * 8 + 8 * 5
