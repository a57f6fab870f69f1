"""The workspace as a registry: a version is its artefact directory, promotion moves `HOME/models/current.json`.

`lunar-tune serve` follows that pointer. It is replaced by one rename, so that a crash leaves the old or the new one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lunar_tune.artefacts import Model
from lunar_tune.deploy.pointer import evaluations_by_version, newest_first, read_pointer, row, write_pointer
from lunar_tune.errors import ArtefactBroken, RegistryError, VersionMissing
from lunar_tune.files import artefacts_in, is_artefact, read_manifest
from lunar_tune.identity import file_sha256


class LocalRegistry:
    """A `seams.Registry` in the workspace `home`."""

    name = "local"

    def __init__(self, home: Path) -> None:
        self.models = home / "models"
        self.pointer = self.models / "current.json"
        self._home = home

    def deploy(self, model: Model) -> None:
        """Check that the version is here, whole.

        Raises:
            RegistryError: it lies in another workspace.
            ArtefactBroken: its GGUF is gone or is not what the manifest says.
        """
        if model.path.resolve() != (self.models / model.version).resolve():
            raise RegistryError(
                f"Version {model.version!r} lies in {str(model.path)!r}, not in this workspace.",
                "`lunar-tune --home` names the workspace.",
            )
        if not model.gguf.is_file():
            raise ArtefactBroken(model.path, f"{model.gguf.name} is missing")
        if file_sha256(model.gguf) != model.sha256:
            raise ArtefactBroken(model.path, f"{model.gguf.name} is not the file that was exported")

    def promote(self, version: str) -> None:
        """Move the pointer to a version; a no-op when it is there already.

        Raises:
            VersionMissing: there is no such version.
            ArtefactBroken: its GGUF is gone.
        """
        path = self.models / version
        if Path(version).name != version or not is_artefact(path):
            raise VersionMissing(version, self._held())
        gguf = path / str(read_manifest(path).get("gguf"))
        if not gguf.is_file():
            raise ArtefactBroken(path, f"{gguf.name} is missing")
        pointer = read_pointer(self.pointer)
        if pointer.version != version:
            write_pointer(self.pointer, pointer.moved(version))

    def current(self) -> str | None:
        """Return the current version, None before the first."""
        return read_pointer(self.pointer).version

    def previous(self) -> list[str]:
        """Return the versions that were current before and are still held, newest first."""
        held = set(self._held())
        return [version for version in read_pointer(self.pointer).previous if version in held]

    def versions(self) -> list[dict[str, Any]]:
        """Return every version as in `versions --json`, newest first."""
        current, judged = self.current(), evaluations_by_version(self._home)
        rows = [
            {**row(path.name, read_manifest(path), path, judged.get(path.name)), "current": path.name == current}
            for path in artefacts_in(self.models)
        ]
        return newest_first([{**entry, "registry": self.name} for entry in rows])

    def _held(self) -> list[str]:
        return [path.name for path in artefacts_in(self.models)]
