"""A run's plan: frozen with what it began, lowered a notch where memory ran out, foreseen by `train --plan`."""

import json
import sqlite3
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from lunar_tune import workflow
from lunar_tune.artefacts import Adapter
from lunar_tune.cli import main
from lunar_tune.cli.output import Talk
from lunar_tune.errors import DiskFull, DoesNotFit, OutOfMemory
from lunar_tune.files import read_jsonl, write_json, write_jsonl
from lunar_tune.settings import DatasetSettings, DeploySettings, Settings, TrainSettings
from lunar_tune.train import machine, process
from lunar_tune.train.machine import Machine
from lunar_tune.workflow import fitting, forecast

ROOT = Path(__file__).parents[1]
SETTINGS = Settings(
    train=TrainSettings(base=str(ROOT / "fixtures/nano"), backend="peft", batch=2, accumulation=4, rehearsal=0.0),
    dataset=DatasetSettings(window=1024),
    deploy=DeploySettings(registry="local"),
)
ROOM = Machine("cpu", 8 << 30, 16 << 30, "CPU")


class Heard(Talk):
    """Keeps what is said."""

    def __init__(self):
        super().__init__(quiet=True)
        self.said = []

    def say(self, text):
        self.said.append(text)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fitting")
    db = sqlite3.connect(folder / "logs.db")
    db.executescript((ROOT / "fixtures/lunar_logs.sql").read_text(encoding="utf-8"))
    db.close()
    with workflow.open_workspace(folder / "home", SETTINGS, Talk(quiet=True)) as space:
        workflow.harvest(space, [str(folder / "logs.db")])
    return folder / "home"


@pytest.fixture
def space(home, monkeypatch):
    """A workspace with a dataset and no runs, on a machine with room."""
    monkeypatch.setattr(machine, "look", lambda backend: ROOM)
    with workflow.open_workspace(home, SETTINGS, Heard()) as opened:
        yield opened
        opened.sweep_work()
        for path in (home / "runs").glob("*/manifest.json"):
            path.unlink()


@pytest.fixture
def trainer(monkeypatch):
    """Stand in for the child process: what each start does is queued, the specs it got are kept."""
    started, fates = [], []

    def supervise(spec, on_event):
        started.append(spec)
        fate = fates.pop(0) if fates else None
        step = {"kind": "step", "step": 1, "steps": 1, "loss": 2.0, "tokens_per_second": 500.0}
        write_jsonl(spec.work / "metrics.jsonl", [step, {"kind": "end", "step": 1, "steps": 1, "valid_loss": 1.5}])
        if fate is not None:
            write_json(spec.work / "checkpoints" / "step-0000001" / "manifest.json", {})
            raise fate
        write_json(spec.work / "adapter" / "adapter_config.json", {})
        return Adapter(spec.work / "adapter", 6, 8.0)

    monkeypatch.setattr(process, "supervise", supervise)
    return started, fates


def train(space, **changes):
    asked = replace(space, settings=replace(SETTINGS, train=replace(SETTINGS.train, **changes)))
    return workflow.train(asked, workflow.find_dataset(space.home))


def full():
    return OutOfMemory("The training process was ended by SIGKILL.")


def test_memory_that_runs_out_steps_down_as_a_new_run_that_names_the_old_one(space, trainer):
    started, fates = trainer
    fates += [full(), full(), full()]
    run = train(space)
    taken = [
        (s.settings.checkpointing, s.settings.batch, s.settings.accumulation, s.settings.precision) for s in started
    ]
    assert taken == [
        ("off", 2, 4, "float32"), ("on", 2, 4, "float32"), ("on", 1, 8, "float32"), ("on", 1, 8, "bfloat16"),
    ]  # fmt: skip
    runs = [spec.work.name for spec in started]
    assert len(set(runs)) == 4
    assert run.id == runs[-1]
    assert run.manifest["stepped_down_from"] == runs[-2]
    assert run.manifest["recipe"]["precision"] == "bfloat16"
    assert run.manifest["recipe"]["checkpointing"] == "on"
    assert [line for line in space.talk.said if line.startswith("The training process was ended by SIGKILL. Stepping")]
    assert sum(runs[2] in line and "takes over from" in line for line in space.talk.said) >= 1
    assert not list((space.home / "work").iterdir())
    assert all(spec.settings.rank == SETTINGS.train.rank for spec in started)


def test_computing_twice_goes_on_from_the_old_run_s_checkpoints(space, trainer, monkeypatch):
    started, fates = trainer
    fates += [full(), KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        train(space)
    old, new = (spec.work for spec in started)
    assert (new / "checkpoints" / "step-0000001").is_dir()
    assert not old.exists()


def test_there_is_an_end_to_it(space, trainer):
    started, fates = trainer
    fates += [full() for _ in range(9)]
    with pytest.raises(OutOfMemory) as caught:
        train(space, precision="float32", checkpointing="on", quantize_base="4bit")
    assert len(started) == 2  # the batch was the only choice left
    assert "--plan" in caught.value.hint


def test_an_interrupted_run_goes_on_with_its_plan_whatever_is_free_by_then(space, trainer, monkeypatch):
    started, fates = trainer
    fates += [full(), KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        train(space)
    monkeypatch.setattr(machine, "look", lambda backend: Machine("cpu", 1, 1, "CPU"))
    run = train(space)
    assert run.id == started[1].work.name == started[2].work.name
    assert started[2].settings == started[1].settings
    assert any(line.startswith(f"going on with run {run.id}") for line in space.talk.said)


def test_a_finished_run_is_found_whatever_is_free(space, trainer, monkeypatch):
    started, _ = trainer
    run = train(space)
    monkeypatch.setattr(machine, "look", lambda backend: Machine("cpu", 1, 1, "CPU"))
    assert train(space).id == run.id
    assert len(started) == 1
    with pytest.raises(DoesNotFit):
        train(space, rank=7)


def test_nothing_that_fits_is_said_before_training(space, trainer, monkeypatch):
    monkeypatch.setattr(machine, "look", lambda backend: Machine("cpu", 1 << 20, 1 << 30, "CPU"))
    with pytest.raises(DoesNotFit, match=r"0\.0 GB are free"):
        train(space)
    assert trainer[0] == []


def test_a_torn_plan_is_made_anew(space, trainer):
    started, fates = trainer
    fates.append(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        train(space)
    (started[0].work / fitting.PLAN).write_text("{")
    assert train(space).id == started[0].work.name


def test_a_disk_without_room_for_the_night_is_said_before_training(space, trainer, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(forecast.shutil, "disk_usage", lambda path: usage(10, 9, 1 << 20))
    with pytest.raises(DiskFull) as caught:
        train(space)
    assert trainer[0] == []
    assert "checkpoints" in caught.value.hint
    assert "exported model" in caught.value.hint


def test_the_disk_of_a_night_counts_what_is_written_on_the_way():
    from lunar_tune.train.plan import Shape

    shape = Shape(3072, 8192, 28, 24, 8, 128, 128256, True)
    settings = replace(SETTINGS, train=replace(SETTINGS.train, rehearsal=0.2), deploy=DeploySettings(registry="ollama"))
    parts = forecast.disk_parts(settings, shape, 3_212_749_824, [])
    assert parts["while exporting"] == pytest.approx(6.43e9, rel=0.01)
    assert parts["base as GGUF"] == pytest.approx(6.43e9 + 2.02e9, rel=0.01)
    assert parts["exported model"] == parts["copy in Ollama"] == pytest.approx(2.02e9, rel=0.01)
    assert 0 < parts["adapter"] < parts["checkpoints"] < 2e8
    less = forecast.disk_parts(settings, shape, 3_212_749_824, ["F16", "Q4_K_M"])
    assert less["base as GGUF"] == 0
    direct = replace(settings, export=replace(settings.export, quant="Q8_0"))
    assert forecast.disk_parts(direct, shape, 3_212_749_824, [])["while exporting"] == 0


def test_what_a_run_would_take_is_foreseen_and_nothing_is_done(space, trainer, monkeypatch):
    started, _ = trainer
    monkeypatch.setattr(machine, "speed", lambda backend, precision, threads: 2e10)
    dataset = workflow.find_dataset(space.home)
    plan = workflow.plan_run(space, dataset)
    assert started == []
    assert plan["plan"] == {"batch": 2, "accumulation": 4, "checkpointing": "off", "precision": "float32"} | {
        "quantize_base": "none"
    }
    assert plan["memory"]["total"] < plan["free"]["memory"]
    assert plan["steps"] == -(-plan["rows"] // 8) * SETTINGS.train.epochs
    assert "GFLOP/s" in plan["time"]["from"]
    assert plan["energy"]["watt_hours"] == pytest.approx(plan["time"]["seconds"] * 65 / 3600, abs=0.1)
    assert plan["disk"]["needed"] == sum(plan["disk"]["parts"].values())
    run = train(space)
    after = workflow.plan_run(space, dataset)
    assert after["time"]["tokens_per_second"] == 500.0
    assert run.id in after["time"]["from"]
    json.dumps(after)


def test_rehearsed_rows_that_are_not_made_yet_are_counted(space, trainer, monkeypatch):
    monkeypatch.setattr(machine, "speed", lambda backend, precision, threads: None)
    dataset = workflow.find_dataset(space.home)
    rehearsing = replace(space, settings=replace(SETTINGS, train=replace(SETTINGS.train, rehearsal=0.2)))
    bare, full = (workflow.plan_run(which, dataset) for which in (space, rehearsing))
    assert full["rows"] - bare["rows"] == pytest.approx(dataset.counts["train"] * 0.25, abs=1)
    assert full["time"]["seconds"] is None
    assert full["energy"] is None


def test_the_command_prints_the_plan(home, capsys, monkeypatch):
    monkeypatch.setattr(machine, "speed", lambda backend, precision, threads: 1e10)
    options = ["--set", 'train.backend="peft"', "--set", "train.rehearsal=0.0", "--set", "deploy.registry=local"]
    flags = ["--base", str(ROOT / "fixtures/nano"), "--threads", "1", "--watts", "30"]
    assert main(["--home", str(home), *options, "train", "--plan", *flags]) == 0
    out = capsys.readouterr().out
    for word in ("weights", "checkpoints", "are free now", "tokens/s", "30 W (train.watts)"):
        assert word in out
    assert not list((home / "work").glob(f"*/{fitting.PLAN}"))


def test_events_keep_their_run(space, trainer):
    _, fates = trainer
    fates.append(full())
    run = train(space)
    assert [event["kind"] for event in read_jsonl(run.path / "metrics.jsonl")] == ["step", "end"]
    assert process._revive({"kind": "OutOfMemory", "message": "m", "hint": "h"}).__class__ is OutOfMemory
