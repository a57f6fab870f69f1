"""Where runs are recorded is this machine's unless told otherwise; with MLflow installed, what its store then holds."""

import json

import pytest

from lunar_tune.artefacts import Adapter, Run, TrainEvent
from lunar_tune.errors import MissingExtra, TrainingError
from lunar_tune.settings import Settings, TrainSettings
from lunar_tune.train import mlflow_record
from lunar_tune.train.events import Recorder
from lunar_tune.train.mlflow_record import EXPERIMENT, TAG, MlflowRecord, stays_here, tracking_uri, without_password
from lunar_tune.workflow.space import Workspace
from lunar_tune.workflow.track import Tracker

RUN = "run-1"
INPUTS = {
    "recipe": {"rank": 6, "modules": ("up_proj",)}, "tokens": "tokens-1", "dataset": "dataset-1", "code": "1",
    "base_name": "/home/ann/nano",
}  # fmt: skip


@pytest.mark.parametrize(
    ("uri", "here"),
    [
        ("./mlruns", True),
        ("sqlite:////data/mlflow.db", True),
        ("file:///data/mlruns", True),
        ("http://127.0.0.1:5000", True),
        ("http://localhost:5000", True),
        ("http://[::1]:5000", True),
        ("postgresql://me:pw@localhost/mlflow", True),
        ("https://mlflow.example.com", False),
        ("http://localhost.example.com", False),
        ("http://127.0.0.1@example.com", False),
        ("file://server/share", False),
        ("databricks", False),
        ("databricks://profile", False),
        ("postgresql://db.example.com/mlflow", False),
    ],
)
def test_what_stays_on_this_machine(uri, here):
    assert stays_here(uri) == here


def test_the_workspace_is_the_default_and_another_machine_must_be_named_in_a_setting(tmp_path):
    own = f"sqlite:///{tmp_path}/mlflow/mlflow.db"
    assert tracking_uri(tmp_path, None, {}) == (own, "")
    assert tracking_uri(tmp_path, None, {"MLFLOW_TRACKING_URI": "http://localhost:5000"})[0] == "http://localhost:5000"
    uri, said = tracking_uri(tmp_path, None, {"MLFLOW_TRACKING_URI": "https://mlflow.example.com"})
    assert uri == own
    assert "train.mlflow_uri" in said
    assert tracking_uri(tmp_path, "https://mlflow.example.com", {})[0] == "https://mlflow.example.com"


def test_passwords_are_not_shown():
    assert without_password("https://me:pw@example.com/a") == "https://example.com/a"
    assert without_password("sqlite:////data/a@b.db") == "sqlite:////data/a@b.db"


def test_without_mlflow_its_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(mlflow_record, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"lunar-tune\[mlflow\]"):
        MlflowRecord("sqlite://", tmp_path, RUN, {})


class Ear:
    """A `Talk` that remembers."""

    def __init__(self):
        self.said, self.heard = [], []

    def say(self, text):
        self.said.append(text)

    def progress(self, *_):
        pass

    def training(self, event):
        self.heard.append(event)


@pytest.fixture
def space(tmp_path):
    settings = Settings(train=TrainSettings(mlflow=True))
    return Workspace(tmp_path, settings, None, Ear())


@pytest.fixture
def finished(tmp_path):
    """Return a function that makes a finished run of the record in the work folder."""

    def finish():
        path = tmp_path / "runs" / RUN
        (path / "adapter").mkdir(parents=True)
        (path / "adapter" / "adapter_model.safetensors").write_bytes(b"weights")
        (path / "metrics.jsonl").write_bytes((tmp_path / "work" / RUN / "metrics.jsonl").read_bytes())
        (path / "manifest.json").write_text(json.dumps({"id": RUN}))
        return Run(RUN, path, Adapter(path / "adapter", 6, 8.0), {})

    return finish


def events(first, last):
    for step in range(first, last + 1):
        yield TrainEvent(kind="step", step=step, steps=60, at=1e9 + step, loss=3 - step / 60, learning_rate=1e-4)
        if step % 20 == 0:
            yield TrainEvent(kind="valid", step=step, steps=60, at=1e9 + step, valid_loss=2.9 - step / 60)


def test_mlflow_in_trouble_costs_a_line_and_no_training(space, monkeypatch, finished):
    class Broken:
        def __init__(self, *_):
            pass

        def write(self, events):
            raise ConnectionError("no answer\nat all")

    monkeypatch.setattr(mlflow_record, "MlflowRecord", Broken)
    tracker = Tracker(space, RUN, INPUTS)
    record = Recorder(space.home / "work" / RUN, tracker.hear)
    for event in events(1, 60):
        record(event)
    tracker.done(finished())
    assert len(space.talk.heard) == 63
    troubles = [line for line in space.talk.said if "did not record" in line]
    assert troubles == ["MLflow did not record this (ConnectionError: no answer); training goes on"]


@pytest.mark.filterwarnings("ignore")  # MLflow uses what SQLAlchemy has deprecated
def test_a_run_is_in_the_store_with_its_figures_and_files(space, finished, monkeypatch):
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.com")
    tracker = Tracker(space, RUN, INPUTS)
    record = Recorder(space.home / "work" / RUN, tracker.hear)
    for event in events(1, 30):
        record(event)
    tracker.stopped(KeyboardInterrupt())
    client = tracker.record.client
    assert client.get_run(tracker.record.id).info.status == "KILLED"

    record.rewind(20)  # the run is taken up again from a checkpoint
    again = Tracker(space, RUN, INPUTS)
    assert again.record.id == tracker.record.id
    assert client.get_run(again.record.id).info.status == "RUNNING"
    record.on_event = again.hear
    for event in events(21, 60):
        record(event)
    again.done(finished())
    Tracker(space, RUN, INPUTS).done(Run(RUN, space.home / "runs" / RUN, Adapter(space.home, 6, 8.0), {}))

    experiment = client.get_experiment_by_name(EXPERIMENT)
    found = client.search_runs([experiment.experiment_id])
    assert len(found) == 1
    assert found[0].info.status == "FINISHED"
    assert found[0].data.tags[TAG] == RUN
    assert found[0].data.params["rank"] == "6"
    assert found[0].data.params["base_name"] == "nano", "no folder of this machine"
    losses = client.get_metric_history(again.record.id, "loss")
    assert [(m.step, m.timestamp) for m in losses] == [(n, (10**9 + n) * 1000) for n in range(1, 61)]
    assert [m.step for m in client.get_metric_history(again.record.id, "valid_loss")] == [20, 40, 60]
    names = {item.path for item in client.list_artifacts(again.record.id)}
    assert names == {"adapter", "metrics.jsonl", "manifest.json"}
    stored = list((space.home / "mlflow" / "artifacts").rglob("adapter_model.safetensors"))
    assert [path.read_bytes() for path in stored] == [b"weights"]
    assert any("MLFLOW_TRACKING_URI" in line for line in space.talk.said)


@pytest.mark.filterwarnings("ignore")  # MLflow uses what SQLAlchemy has deprecated
def test_a_store_that_cannot_be_opened_is_said_before_training(space, monkeypatch):
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    (space.home / "mlflow").mkdir()
    (space.home / "mlflow" / "mlflow.db").write_text("dear diary " * 100)
    with pytest.raises(TrainingError, match="MLflow cannot open"):
        Tracker(space, RUN, INPUTS)
