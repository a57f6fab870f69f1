"""Which version is current and which were so before: one small JSON file that is replaced as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lunar_tune.errors import ArtefactBroken
from lunar_tune.files import artefacts_in, read_json, read_manifest, write_json


@dataclass(frozen=True, slots=True)
class Pointer:
    """The current version, those that were current before (newest first), and since when (ISO-8601 UTC)."""

    version: str | None = None
    previous: tuple[str, ...] = ()
    since: str = ""

    def moved(self, version: str) -> Pointer:
        """Return the pointer at `version`.

        The history is a stack: a new version is laid on top, and going back to one of it takes off all above.
        """
        if version in self.previous:
            previous = self.previous[self.previous.index(version) + 1 :]
        else:
            previous = (self.version, *self.previous) if self.version is not None else self.previous
        return Pointer(version, previous, datetime.now(UTC).isoformat(timespec="seconds"))


def read_pointer(path: Path) -> Pointer:
    """Return the pointer in a file, an empty one when there is no file.

    Raises:
        ArtefactBroken: the file is something else.
    """
    try:
        value = read_json(path)
    except FileNotFoundError:
        return Pointer()
    if not isinstance(value, dict) or not isinstance(value.get("version"), str):
        raise ArtefactBroken(path, "it names no version")
    return Pointer(value["version"], tuple(map(str, value.get("previous", ()))), str(value.get("since", "")))


def write_pointer(path: Path, pointer: Pointer) -> None:
    """Replace the file; a reader sees the old pointer or the new one, never none."""
    write_json(path, asdict(pointer))


def evaluations_by_version(home: Path) -> dict[str, str]:
    """Return the id of the newest evaluation of each version that has one."""
    return {str(read_manifest(path).get("version")): path.name for path in artefacts_in(home / "evaluations")}


def row(version: str, manifest: dict[str, Any], path: Path | None, evaluation: str | None) -> dict[str, Any]:
    """Return one entry of `versions --json` but for `current` and `registry`; what is not known is None."""
    gguf = manifest.get("gguf")
    return {
        "version": version,
        "created_at": manifest.get("created_at"),
        "quant": manifest.get("quant"),
        "gguf": str(path / gguf) if path is not None and gguf else None,
        "sha256": manifest.get("sha256"),
        "evaluation": evaluation,
    }


def newest_first(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return `versions --json` entries, the newest first; one without a date comes last."""
    return sorted(rows, key=lambda entry: (_moment(entry["created_at"]), entry["version"]), reverse=True)


def _moment(text: str | None) -> float:
    """Return an ISO date as seconds; Ollama writes nanoseconds and its own time zone."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
