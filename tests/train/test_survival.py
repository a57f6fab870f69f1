"""A full disk stops a run and harms nothing, a resumed engine computes as it did, caches and sleep are looked after."""

import errno
import json
import os
import subprocess
import sys
from collections import deque
from dataclasses import replace

import numpy as np
import pytest

from lunar_tune import files
from lunar_tune.artefacts import Tokens
from lunar_tune.errors import DiskFull, TrainingError
from lunar_tune.plugins import backends
from lunar_tune.train import checkpoints as room
from lunar_tune.train import process
from lunar_tune.train.adapter import WEIGHTS
from lunar_tune.train.awake import awake_command, kept_awake
from lunar_tune.train.caches import PLACES, cache_places, hub_cache
from lunar_tune.train.checkpoints import OPTIMIZER, RESERVE, Checkpoints
from lunar_tune.train.engine import BETAS
from lunar_tune.train.packing import pack
from lunar_tune.train.process import TrainingSpec, read_spec, supervise

NAME = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


def save(checkpoints, step, valid_loss=None):
    weights = {NAME: np.full((2, 3), step, dtype=np.float32)}
    moments = {f"{kind}.{NAME}": np.full((2, 3), step, dtype=np.float32) for kind in "mv"}
    return checkpoints.save(step, valid_loss, weights, {"r": 2}, moments)


def test_a_checkpoint_that_would_not_fit_is_not_begun(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, "recipe")
    save(checkpoints, 1, 0.5)
    needed = RESERVE + (3 + 2) * 4 * 6  # adapter and two moments, then two copies of the adapter
    monkeypatch.setattr(room, "free_bytes", lambda folder: needed - 1)
    with pytest.raises(DiskFull, match=r"17 MB needed, 17 MB free"):
        save(checkpoints, 2, 0.4)
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-0000001"]
    monkeypatch.setattr(room, "free_bytes", lambda folder: needed)
    save(checkpoints, 2, 0.4)
    assert Checkpoints(tmp_path, "recipe").newest().step == 2


@pytest.mark.parametrize("victim", [WEIGHTS, OPTIMIZER, files.MANIFEST])
def test_a_write_that_fails_leaves_the_checkpoints_as_they_were(tmp_path, monkeypatch, victim):
    checkpoints = Checkpoints(tmp_path, "recipe")
    save(checkpoints, 1, 0.5)
    replace_file = os.replace

    def full(source, target):
        if str(target).endswith(victim):
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        replace_file(source, target)

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(DiskFull, match=victim):
        save(checkpoints, 2, 0.4)
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-0000001"], "what was written takes no room"
    monkeypatch.undo()
    assert Checkpoints(tmp_path, "recipe").best().step == 1
    save(checkpoints, 2, 0.4)


def test_a_full_disk_stops_the_run_and_space_lets_it_go_on(train, make_rows, recipe, tmp_path, monkeypatch):
    settings = recipe(max_steps=6, epochs=6, evaluate_every=2, save_every=2, dropout=0.1)
    rows, valid, work = make_rows(6), make_rows(2, seed=1), tmp_path / "it's full"
    whole, _ = train(backends()["mlx"](), rows, valid, settings, tmp_path / "whole")
    left = [10**9]
    monkeypatch.setattr(room, "free_bytes", lambda folder: left[0])

    def fills(event):
        if event.kind == "checkpoint" and event.step == 4:
            left[0] = 0

    with pytest.raises(DiskFull) as stopped:
        train(backends()["mlx"](), rows, valid, settings, work, fills)
    assert "17 MB needed, 0 MB free" in stopped.value.message
    assert "df -h" in stopped.value.hint
    assert "goes on from step 4" in stopped.value.hint
    left[0] = 10**9
    adapter, _ = train(backends()["mlx"](), rows, valid, settings, work)
    assert (adapter.path / WEIGHTS).read_bytes() == (whole.path / WEIGHTS).read_bytes()


def test_a_record_on_a_full_disk_stops_the_run(train, make_rows, recipe, tmp_path, monkeypatch):
    from lunar_tune.train import events

    class Full:
        def __init__(self, *_):
            raise OSError(errno.ENOSPC, "No space left on device")

    settings = recipe(max_steps=4, epochs=4, evaluate_every=2)

    def fills(event):
        if event.kind == "step" and event.step == 1:
            monkeypatch.setattr(events.os, "fdopen", Full)

    with pytest.raises(DiskFull, match=r"metrics.jsonl.*free"):
        train(backends()["mlx"](), make_rows(4), make_rows(2, seed=1), settings, tmp_path / "work", fills)
    monkeypatch.undo()
    adapter, _ = train(backends()["mlx"](), make_rows(4), make_rows(2, seed=1), settings, tmp_path / "work")
    assert (adapter.path / WEIGHTS).is_file()


def test_what_a_killed_delivery_left_is_not_delivered(tmp_path):
    checkpoints = Checkpoints(tmp_path, "recipe")
    found, target = save(checkpoints, 1), tmp_path / "adapter"
    target.mkdir()
    (target / f".{WEIGHTS}.77.tmp").write_bytes(b"half")
    checkpoints.deliver(found, target)
    assert sorted(path.name for path in target.iterdir()) == ["adapter_config.json", WEIGHTS]


def test_a_half_removed_checkpoint_takes_no_room(tmp_path):
    checkpoints = Checkpoints(tmp_path, "recipe")
    save(checkpoints, 1)
    (save(checkpoints, 2).path / files.MANIFEST).unlink()  # killed between manifest and folder
    assert checkpoints.newest().step == 1
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-0000001"]


def test_a_loaded_engine_computes_as_the_one_that_was_saved(base, make_rows, recipe):
    """The arrays' layout too: MLX multiplies a transposed view by another path, and the last digits differ."""
    from lunar_tune.train.initial import initial_weights
    from lunar_tune.train.mlx_backend import MlxEngine

    def layouts(engine):
        trees = [engine.lora[name] for name in engine.lora]
        return [np.asarray(value).strides for layer in trees for value in (layer.lora_a, layer.lora_b)]

    settings = recipe(precision="float32", dropout=0.1)
    running, rows = MlxEngine(base, settings), make_rows(4)
    running.load(initial_weights(running.shapes(), settings.rank, 0), {}, 0)
    before = layouts(running)
    batch = pack(rows, 10_000)[0]
    running.accumulate(batch, len(batch.targets), 1)
    running.update(1e-2, 1.0)
    resumed = MlxEngine(base, settings)
    as_read = {name: np.ascontiguousarray(value) for name, value in running.weights().items()}
    moments = {name: np.ascontiguousarray(value) for name, value in running.moments().items()}
    resumed.load(as_read, moments, 1)
    assert before == layouts(running) == layouts(resumed)
    for _ in range(2):
        losses = [engine.accumulate(batch, len(batch.targets), 2) for engine in (running, resumed)]
        assert losses[0] == losses[1]
        for engine in (running, resumed):
            engine.update(1e-2, 1.0)
    assert BETAS == (0.9, 0.999)
    assert all(np.array_equal(value, resumed.weights()[name]) for name, value in running.weights().items())


def test_short_lives_get_on_by_saving_more_often(base, tmp_path, recipe, monkeypatch):
    lives = []

    class Dying:
        """Does five steps a life, and a checkpoint where one is due."""

        steps, last_lines = 5, deque(["Killed"])

        def __init__(self, spec):
            lives.append(read_spec(spec).settings.save_every)

        def watch(self, on_event):
            if lives[-1] <= 5:
                folder = tmp_path / "work" / "checkpoints" / f"step-{len(lives):07d}"
                folder.mkdir(parents=True)
                (folder / "manifest.json").write_text("{}")
            return -6 if len(lives) < 6 else 1

    monkeypatch.setattr(process, "_Child", Dying)
    spec = TrainingSpec("mlx", base, Tokens("tokens-1", tmp_path, {}), recipe(save_every=50), tmp_path / "work")
    with pytest.raises(TrainingError, match="ended with status 1"):
        supervise(spec, lambda event: None)
    assert lives == [50, 2, 2, 2, 2, 2]


def test_metals_watchdog_is_a_crash_even_where_python_survives_it(base, tmp_path, recipe, monkeypatch):
    lives = []

    class Struck:
        steps = 1

        def __init__(self, spec):
            self.last_lines = deque([f"RuntimeError: [METAL] failed ({process.WATCHDOG[0]})" if not lives else "bug"])
            lives.append(spec)

        def watch(self, on_event):
            return 1

    monkeypatch.setattr(process, "_Child", Struck)
    spec = TrainingSpec("mlx", base, Tokens("tokens-1", tmp_path, {}), recipe(), tmp_path / "work")
    with pytest.raises(TrainingError, match="bug"):
        supervise(spec, lambda event: None)
    assert len(lives) == 2


def test_caches_stay_in_the_work_folder(tmp_path):
    places = cache_places(tmp_path, {"TMPDIR": "/elsewhere", "TRITON_CACHE_DIR": "/mine"})
    assert set(places) == set(PLACES) - {"TRITON_CACHE_DIR"}, "what the user names is left"
    assert all(path.startswith(str(tmp_path)) and os.path.isdir(path) for path in places.values())


def test_a_childs_temporary_files_are_in_its_work_folder(tmp_path):
    environment = process.child_environment(tmp_path)
    code = "import tempfile; print(tempfile.gettempdir())"
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == str(tmp_path / "caches" / "tmp")


def test_the_hubs_cache_counts_each_file_once(tmp_path, monkeypatch):
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "a").write_bytes(b"x" * 5000)
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / "model.safetensors").symlink_to("../blobs/a")
    folder, size = hub_cache()
    assert folder == tmp_path
    assert 5000 <= size < 5100


@pytest.mark.parametrize(("platform", "there"), [("darwin", "caffeinate"), ("linux", "systemd-inhibit")])
def test_the_system_is_asked_to_stay_awake(platform, there, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}" if name == there else None)
    command = awake_command(platform, 4711)
    assert command[0] == there
    assert ("-w" in command) == (platform == "darwin")
    assert "-d" not in command, "the display may sleep"
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert awake_command(platform, 4711) == []


def test_who_keeps_awake_ends_with_the_block(monkeypatch):
    from lunar_tune.train import awake

    started = []

    class Watched(subprocess.Popen):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            started.append(self)

    monkeypatch.setattr(awake.subprocess, "Popen", Watched)
    monkeypatch.setattr(awake, "awake_command", lambda *_: [sys.executable, "-c", "import sys; sys.stdin.read()"])
    with kept_awake():
        assert started[0].poll() is None
    assert started[0].poll() is not None
    monkeypatch.setattr(awake, "awake_command", lambda *_: ["/no/such/program"])
    with kept_awake():
        pass


def test_the_record_says_when(train, make_rows, recipe, tmp_path):
    settings = replace(recipe(max_steps=2, epochs=2), evaluate_every=1)
    train(backends()["mlx"](), make_rows(4), make_rows(2, seed=1), settings, tmp_path / "work")
    lines = [json.loads(line) for line in (tmp_path / "work" / "metrics.jsonl").read_text().splitlines()]
    times = [line["at"] for line in lines]
    assert times == sorted(times)
    assert times[0] > 1.7e9
