"""A run in MLflow's tracking store, fed from the run's own record (`metrics.jsonl`), which stays the source.

What is there already is not written again, so a run may be recorded while it goes on, after a crash, or at its end.
Nothing leaves the machine unless `train.mlflow_uri` says so, and MLflow's own telemetry is off.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lunar_tune.artefacts import TrainEvent
from lunar_tune.errors import MissingExtra, TrainingError
from lunar_tune.files import make_private_dir

EXPERIMENT = "lunar-tune"
TAG = "lunar_tune.run"  # on MLflow's run: our run's id
VARIABLE = "MLFLOW_TRACKING_URI"
METRICS = ("epoch", "loss", "valid_loss", "kl_new", "kl_old", "learning_rate", "tokens_per_second", "memory")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
# MLflow tries a silent server for minutes, during which training would wait
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
_BATCH = 1000  # metrics in one call, MLflow's limit


def tracking_uri(home: Path, wanted: str | None, environment: Mapping[str, str]) -> tuple[str, str]:
    """Return where runs are recorded, and what is to be said about it.

    `wanted` (the setting) goes before the environment, which is heeded only where it names this machine; else it is a
    database in the workspace.
    """
    if wanted:
        return wanted, ""
    named = environment.get(VARIABLE, "")
    if named and stays_here(named):
        return named, ""
    said = f"{VARIABLE} names another machine and is not used; train.mlflow_uri would send runs there" if named else ""
    return f"sqlite:///{home.absolute() / 'mlflow' / 'mlflow.db'}", said


def stays_here(uri: str) -> bool:
    """Tell whether a tracking URI is a path, a file or a server on this machine."""
    parts = urlsplit(uri)
    if parts.scheme in ("file", "sqlite"):
        return not parts.netloc
    if not parts.scheme:  # a bare word may be a cloud's name, such as "databricks"
        return not parts.netloc and (os.sep in uri or uri.startswith("."))
    return "://" in uri and parts.hostname in LOOPBACK


def without_password(uri: str) -> str:
    """Return a URI as it may be shown."""
    scheme, slashes, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{slashes}{host.rpartition('@')[2]}{slash}{path}"


def require_mlflow() -> None:
    """Make sure that MLflow can write.

    Raises:
        MissingExtra: it or what it needs for a database is not installed.
    """
    for package in ("mlflow", "sqlalchemy", "alembic"):
        if find_spec(package) is None:
            raise MissingExtra(package, "mlflow")


class MlflowRecord:
    """One of our runs in one tracking store.

    Raises:
        MissingExtra: MLflow or what it needs for a database is not installed.
        TrainingError: the store cannot be opened.
    """

    def __init__(self, uri: str, home: Path, run: str, params: Mapping[str, Any]) -> None:
        require_mlflow()
        os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true")
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        from mlflow.tracking import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        place = make_private_dir(home.absolute() / "mlflow")
        try:
            self.client: Any = MlflowClient(tracking_uri=uri)
            self.id = self._find(run) or self._create(run, place / "artifacts", params)
            self.there = {(key, metric.step) for key in METRICS for metric in self._history(key)}
        except Exception as error:  # a database's, a server's or MLflow's own
            said = (str(error).splitlines() or [type(error).__name__])[0]
            hint = "Set train.mlflow_uri to a store that works, or train.mlflow = false."
            raise TrainingError(f"MLflow cannot open {without_password(uri)!r}: {said}", hint) from error

    def write(self, events: Iterable[TrainEvent]) -> None:
        """Record the events that are not recorded yet, each value at its step."""
        from mlflow.entities import Metric

        fresh: dict[tuple[str, int], Any] = {}
        for event in events:
            for key in METRICS if event.kind in ("step", "valid") else ():
                value = getattr(event, key)
                if value is not None and (key, event.step) not in self.there:
                    at = round((event.at or 0.0) * 1000)
                    fresh[(key, event.step)] = Metric(key, float(value), at, event.step)
        metrics = list(fresh.values())
        for start in range(0, len(metrics), _BATCH):
            self.client.log_batch(self.id, metrics=metrics[start : start + _BATCH])
        self.there |= set(fresh)

    def finish(self, run: Path) -> None:
        """Record a finished run's figures and files: adapter, metrics.jsonl and manifest.json."""
        for path in sorted(run.iterdir()):
            if path.is_dir():
                self.client.log_artifacts(self.id, str(path), artifact_path=path.name)
            else:
                self.client.log_artifact(self.id, str(path))
        self.client.set_terminated(self.id, status="FINISHED")

    def stop(self, status: str) -> None:
        """Say that the run is not going on: KILLED or FAILED; it may be taken up again."""
        self.client.set_terminated(self.id, status=status)

    @property
    def finished(self) -> bool:
        """Whether the run is recorded to its end."""
        return bool(self.client.get_run(self.id).info.status == "FINISHED")

    def _find(self, run: str) -> str | None:
        experiment = self.client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            return None
        found = self.client.search_runs([experiment.experiment_id], f"tags.`{TAG}` = '{run}'", max_results=1)
        if not found:
            return None
        if found[0].info.status != "FINISHED":
            self.client.update_run(found[0].info.run_id, status="RUNNING")
        return str(found[0].info.run_id)

    def _create(self, run: str, artifacts: Path, params: Mapping[str, Any]) -> str:
        from mlflow.entities import Param

        experiment = self.client.get_experiment_by_name(EXPERIMENT)
        # a server says itself where its artefacts are
        kept = None if urlsplit(self.client.tracking_uri).scheme in ("http", "https") else artifacts.as_uri()
        number = experiment.experiment_id if experiment else self.client.create_experiment(EXPERIMENT, kept)
        made = self.client.create_run(number, run_name=run, tags={TAG: run})
        self.client.log_batch(made.info.run_id, params=[Param(key, str(value)) for key, value in params.items()])
        return str(made.info.run_id)

    def _history(self, key: str) -> list[Any]:
        return list(self.client.get_metric_history(self.id, key))
