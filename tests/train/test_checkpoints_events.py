"""Checkpoints are whole or absent, the right ones are kept, and the record of a run repeats nothing."""

import json

import numpy as np
import pytest

from lunar_tune.artefacts import TrainEvent
from lunar_tune.errors import TrainingError
from lunar_tune.files import MANIFEST
from lunar_tune.train.adapter import WEIGHTS, public_name
from lunar_tune.train.checkpoints import OPTIMIZER, Checkpoints
from lunar_tune.train.events import METRICS, Recorder, event_line, event_of

NAME = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


def save(checkpoints, step, valid_loss=None):
    weights = {NAME: np.full((2, 3), step, dtype=np.float32)}
    moments = {f"{kind}.{NAME}": np.full((3, 2), step, dtype=np.float32).T for kind in "mv"}
    return checkpoints.save(step, valid_loss, weights, {"r": 2}, moments)


def kept(checkpoints):
    return sorted(int(path.name.removeprefix("step-")) for path in checkpoints.folder.iterdir())


def test_the_best_and_the_last_two_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, "recipe")
    for step, loss in enumerate([3.0, 1.0, 1.0, None, 2.0, None], 1):
        save(checkpoints, step, loss)
    assert kept(checkpoints) == [2, 5, 6]
    assert checkpoints.best().step == 2
    assert checkpoints.newest().step == 6


def test_without_validation_the_newest_is_the_best(tmp_path):
    checkpoints = Checkpoints(tmp_path, "recipe")
    for step in (1, 2, 3):
        save(checkpoints, step)
    assert kept(checkpoints) == [2, 3]
    assert checkpoints.best().step == 3


def test_what_is_read_is_what_was_saved(tmp_path):
    save(Checkpoints(tmp_path, "recipe"), 7, 0.5)
    found = Checkpoints(tmp_path, "recipe").newest()
    assert (found.step, found.valid_loss) == (7, 0.5)
    assert found.weights()[NAME].tolist() == [[7.0] * 3] * 2
    assert found.moments()[f"v.{NAME}"].shape == (2, 3)


@pytest.mark.parametrize("name", [WEIGHTS, OPTIMIZER, MANIFEST])
@pytest.mark.parametrize("damage", ["cut", "removed"])
def test_a_damaged_checkpoint_is_passed_over_and_removed(tmp_path, name, damage):
    checkpoints = Checkpoints(tmp_path, "recipe")
    save(checkpoints, 1)
    victim = save(checkpoints, 2).path / name
    victim.write_bytes(victim.read_bytes()[:-9]) if damage == "cut" else victim.unlink()
    assert checkpoints.newest().step == 1
    if name != MANIFEST or damage == "cut":
        assert kept(checkpoints) == [1]
    assert save(checkpoints, 2).path.is_dir()
    assert kept(checkpoints) == [1, 2]
    assert checkpoints.newest().step == 2


def test_unfinished_writes_are_swept_away(tmp_path):
    checkpoints = Checkpoints(tmp_path, "recipe")
    leftover = checkpoints.folder / ".writing-123"
    leftover.mkdir(parents=True)
    (leftover / MANIFEST).write_text('{"step": 9, "valid_loss": 0.1, "recipe": "recipe", "files": {}}')
    assert checkpoints.best() is None
    assert checkpoints.newest() is None
    assert not leftover.exists()


def test_another_recipe_is_refused(tmp_path):
    save(Checkpoints(tmp_path, "recipe"), 1)
    with pytest.raises(TrainingError, match="another recipe"):
        Checkpoints(tmp_path, "other").newest()


def test_events_survive_the_file(tmp_path):
    heard = []
    record = Recorder(tmp_path, heard.append)
    events = [
        TrainEvent(kind="start", step=0, steps=2, note="hello"),
        TrainEvent(kind="step", step=1, steps=2, epoch=0.5, loss=1.25, learning_rate=1e-4, memory=3),
        TrainEvent(kind="end", step=2, steps=2, valid_loss=0.5, best_step=1),
    ]
    for event in events:
        record(event)
    lines = (tmp_path / METRICS).read_text().splitlines()
    assert heard == events == [event_of(json.loads(line)) for line in lines]
    assert (tmp_path / METRICS).stat().st_mode & 0o777 == 0o600


def test_rewinding_forgets_what_came_after_and_a_torn_line(tmp_path):
    record = Recorder(tmp_path, lambda event: None)
    kinds = ["start", "valid", "step", "step", "valid", "checkpoint", "step"]
    for kind, step in zip(kinds, [0, 0, 1, 2, 2, 2, 3], strict=True):
        record(TrainEvent(kind=kind, step=step, steps=3))
    with (tmp_path / METRICS).open("a") as handle:
        handle.write(event_line(TrainEvent(kind="step", step=2, steps=3))[:-9])
    record.rewind(2)
    lines = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    assert [(x["kind"], x["step"]) for x in lines] == [
        ("start", 0),
        ("valid", 0),
        ("step", 1),
        ("step", 2),
        ("valid", 2),
    ]
    record.rewind(0)
    assert (tmp_path / METRICS).read_text() == ""


def test_names_of_bases_show_no_folders(tmp_path, monkeypatch):
    assert public_name("meta-llama/Llama-3.2-3B-Instruct") == "meta-llama/Llama-3.2-3B-Instruct"
    assert public_name(str(tmp_path / "nano")) == "nano"
    assert public_name("./models/nano/") == "nano"
    (tmp_path / "models" / "nano").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert public_name("models/nano") == "nano"
