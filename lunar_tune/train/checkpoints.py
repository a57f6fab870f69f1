"""Checkpoints: adapter, optimizer, place in the data and random state, together and whole, under `work/checkpoints/`.

Each is an artefact (`step-0000050/`, manifest last) and a loadable PEFT adapter. The place in the data and every random
draw are functions of the seed and the step, so the step stands for both. Kept: the best by validation loss and the
last 2.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lunar_tune.errors import ArtefactBroken, DiskFull, TrainingError
from lunar_tune.files import (
    MANIFEST,
    artefacts_in,
    finish_artefact,
    free_bytes,
    is_artefact,
    make_private_dir,
    read_manifest,
    write_bytes,
)
from lunar_tune.identity import file_sha256
from lunar_tune.train.adapter import CONFIG, WEIGHTS, Arrays, write_adapter

OPTIMIZER = "optimizer.safetensors"
KEEP_LAST = 2
FORMAT = 1
# bytes that a checkpoint leaves free beside two copies of the adapter, which its delivery takes: the run's record and
# the workspace's database are written to the end
RESERVE = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete checkpoint; `valid_loss` is None where no validation was done."""

    path: Path
    step: int
    valid_loss: float | None
    recipe: str

    def weights(self) -> Arrays:
        """Return the adapter's tensors by PEFT name."""
        return _load(self.path / WEIGHTS)

    def moments(self) -> Arrays:
        """Return AdamW's moments: `m.` and `v.` before each tensor's name."""
        return _load(self.path / OPTIMIZER)


class Checkpoints:
    """The checkpoints of one run. `recipe` is the id of everything that shapes the numbers."""

    def __init__(self, work: Path, recipe: str) -> None:
        self.folder = work / "checkpoints"
        self.recipe = recipe

    def newest(self) -> Checkpoint | None:
        """Return the newest undamaged checkpoint; damaged ones and unfinished writes are removed.

        Raises:
            TrainingError: the checkpoint was made by other inputs.
        """
        for leftover in (*self.folder.glob(".writing-*"), *self.folder.glob("step-*")):
            if not (leftover.name.startswith("step-") and is_artefact(leftover)):
                shutil.rmtree(leftover, ignore_errors=True)
        for found in sorted(self._complete(), key=lambda c: -c.step):
            if found.recipe != self.recipe:
                raise TrainingError(
                    f"The checkpoints in {str(self.folder)!r} are of another recipe, base or set of rows.",
                    "Delete that folder to start anew.",
                )
            if _undamaged(found.path):
                return found
            _remove(found.path)
        return None

    def steps(self) -> int:
        """Return how many steps the newest checkpoint holds, 0 without any."""
        return max((found.step for found in self._complete()), default=0)

    def best(self) -> Checkpoint | None:
        """Return the checkpoint with the lowest validation loss, the earliest of equals; without any, the newest."""
        complete = self._complete()
        judged = [c for c in complete if c.valid_loss is not None]
        if judged:
            return min(judged, key=lambda c: (c.valid_loss, c.step))
        return max(complete, key=lambda c: c.step, default=None)

    def save(
        self, step: int, valid_loss: float | None, weights: Arrays, config: dict[str, Any], moments: Arrays
    ) -> Checkpoint:
        """Write a checkpoint and remove those that are no longer needed.

        Raises:
            DiskFull: no room, or not enough to go on afterwards; the older checkpoints are untouched.
        """
        from safetensors.numpy import save

        self.require_room(weights, 1)
        work = self.folder / f".writing-{os.getpid()}"
        shutil.rmtree(work, ignore_errors=True)
        make_private_dir(work)
        try:
            write_adapter(work, weights, config)
            write_bytes(work / OPTIMIZER, save({name: np.ascontiguousarray(moments[name]) for name in sorted(moments)}))
            manifest = {"format": FORMAT, "recipe": self.recipe, "step": step, "valid_loss": valid_loss}
            path = finish_artefact(work, self.folder / f"step-{step:07d}", manifest)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)  # on a full disk, what was written is room for those who go on
            raise
        self._prune()
        return Checkpoint(path, step, valid_loss, self.recipe)

    def require_room(self, weights: Arrays, count: int) -> None:
        """Make sure that `count` more checkpoints of an adapter fit, and what comes after them.

        Raises:
            DiskFull: they do not; nothing was written.
        """
        adapter = sum(value.nbytes for value in weights.values())
        # the adapter and AdamW's two moments of it; the end delivers a copy to the work folder and one to the runs
        needed, free = count * 3 * adapter + 2 * adapter + RESERVE, free_bytes(self.folder)
        if free < needed:
            raise DiskFull(self.folder, needed, free)

    def deliver(self, found: Checkpoint, target: Path) -> None:
        """Copy a checkpoint's adapter to `target`, and nothing else is there."""
        shutil.rmtree(target, ignore_errors=True)  # also what a killed delivery left
        for name in (WEIGHTS, CONFIG):
            write_bytes(target / name, (found.path / name).read_bytes())

    def _complete(self) -> list[Checkpoint]:
        found = []
        for path in (p for p in artefacts_in(self.folder) if p.name.startswith("step-")):
            try:
                manifest = read_manifest(path)
                found.append(Checkpoint(path, manifest["step"], manifest["valid_loss"], manifest["recipe"]))
            except (ArtefactBroken, KeyError):
                _remove(path)
        return found

    def _prune(self) -> None:
        kept = sorted(self._complete(), key=lambda c: c.step)
        best = self.best()
        for old in kept[:-KEEP_LAST]:
            if best is None or old.step != best.step:
                _remove(old.path)


def _remove(path: Path) -> None:
    (path / MANIFEST).unlink(missing_ok=True)  # first, so that a half-removed checkpoint never counts as one
    shutil.rmtree(path, ignore_errors=True)


def _undamaged(path: Path) -> bool:
    listed = read_manifest(path).get("files", {})
    names = (WEIGHTS, CONFIG, OPTIMIZER)
    return all(
        name in listed and (path / name).is_file() and file_sha256(path / name) == listed[name]["sha256"]
        for name in names
    )


def _load(path: Path) -> Arrays:
    from safetensors.numpy import load

    return {name: np.array(value) for name, value in load(path.read_bytes()).items()}
