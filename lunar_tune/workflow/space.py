"""An open workspace: where it is, what is set, who listens; and the finding of finished artefacts in it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lunar_tune.artefacts import SPLITS, Adapter, Dataset, Model, Run
from lunar_tune.errors import ArtefactMissing
from lunar_tune.files import artefacts_in, is_artefact, lock, make_private_dir, read_manifest
from lunar_tune.seams import Talk
from lunar_tune.settings import Settings

if TYPE_CHECKING:
    from lunar_tune.store import Store


@dataclass(frozen=True)
class Workspace:
    """An open workspace."""

    home: Path
    settings: Settings
    store: Store
    talk: Talk

    def work(self, name: str) -> Path:
        """Return the folder of unfinished work of an artefact, with whatever is there to go on with."""
        return make_private_dir(self.home / "work" / name)

    def fresh_work(self, name: str) -> Path:
        """Return that folder emptied, for work that cannot be gone on with."""
        shutil.rmtree(self.home / "work" / name, ignore_errors=True)
        return self.work(name)

    def sweep_work(self, keep: str = "") -> None:
        """Remove unfinished work that nobody will go on with: it only fills the disk."""
        for folder in (self.home / "work").glob("*"):
            if folder.name != keep:
                shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def open_workspace(home: Path, settings: Settings, talk: Talk, *, locked: bool = True) -> Iterator[Workspace]:
    """Open a workspace, alone in it unless `locked` is false (reading only).

    Raises:
        WorkspaceBusy: another run is using it.
    """
    from lunar_tune.store import Store

    make_private_dir(home)
    with lock(home / "lock") if locked else contextlib.nullcontext():
        store = Store(home)
        try:
            yield Workspace(home, settings, store, talk)
        finally:
            store.close()
            close = getattr(talk, "close", None)
            if close is not None:
                close()


def find_dataset(home: Path, name: str | None = None) -> Dataset:
    """Return a dataset by its id, the newest without one.

    Raises:
        ArtefactMissing: there is none.
    """
    path = _find(home / "datasets", name, "dataset", "lunar-tune harvest")
    manifest = read_manifest(path)
    return Dataset(path.name, path, {split: manifest["counts"][split] for split in SPLITS}, manifest)


def find_run(home: Path, name: str | None = None) -> Run:
    """Return a finished training run by its id, the newest without one.

    Raises:
        ArtefactMissing: there is none.
    """
    return load_run(_find(home / "runs", name, "training run", "lunar-tune train"))


def load_run(path: Path) -> Run:
    """Return the training run of a finished directory."""
    manifest = read_manifest(path)
    adapter = manifest["adapter"]
    return Run(path.name, path, Adapter(path / "adapter", int(adapter["rank"]), float(adapter["alpha"])), manifest)


def find_model(home: Path, name: str | None = None) -> Model:
    """Return a model version by its name, the newest without one.

    Raises:
        ArtefactMissing: there is none.
    """
    return load_model(_find(home / "models", name, "version", "lunar-tune export"))


def load_model(path: Path) -> Model:
    """Return the model version of a finished directory."""
    manifest: dict[str, Any] = read_manifest(path)
    gguf = path / manifest["gguf"]
    return Model(path.name, path, gguf, manifest["quant"], manifest["sha256"], manifest["created_at"], manifest)


def _find(folder: Path, name: str | None, kind: str, command: str) -> Path:
    if name is not None:
        if Path(name).name != name or not is_artefact(folder / name):
            raise ArtefactMissing(kind, name, command)
        return folder / name
    found = artefacts_in(folder)
    if not found:
        raise ArtefactMissing(kind, "", command)
    return found[-1]
