"""Files that are whole or absent: atomic writes, JSONL, artefact directories, locks, owner-only modes."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lunar_tune.errors import ArtefactBroken, DiskFull, WorkspaceBusy
from lunar_tune.identity import file_sha256

MANIFEST = "manifest.json"
PRIVATE_FILE, PRIVATE_DIR = 0o600, 0o700


def make_private_dir(path: Path) -> Path:
    """Create `path` and its missing parents, readable by the owner alone, and return it."""
    if not path.is_dir():
        for parent in reversed([path, *path.parents]):
            if not parent.exists():
                with contextlib.suppress(FileExistsError):
                    parent.mkdir(mode=PRIVATE_DIR)
    return path


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn "no space left" and "quota exceeded" into `DiskFull` naming `path`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(path, free=free_bytes(path.parent)) from error
        raise


def free_bytes(folder: Path) -> int:
    """Return how much this user may still write on the disk of `folder`, which need not exist yet."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    return shutil.disk_usage(there).free


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old bytes or all of the new ones, even across a power cut.

    Raises:
        DiskFull: no room; the old file is untouched.
    """
    make_private_dir(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with disk_errors(path):
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE)
            with os.fdopen(descriptor, "wb") as handle:
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_dir(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically; see `write_bytes`."""
    write_bytes(path, text.encode("utf-8", "surrogatepass"))


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically; keys keep their order."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read one JSON document.

    Raises:
        ArtefactBroken: the file is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ArtefactBroken(path, f"not JSON ({error})") from error


def write_jsonl(path: Path, rows: Iterable[Any]) -> int:
    """Write one compact JSON document a line, streaming, atomically; return how many."""
    make_private_dir(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    count = 0
    try:
        with disk_errors(path):
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE)
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogatepass", newline="\n") as handle:
                for row in rows:
                    handle.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")
                    count += 1
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return count


def read_jsonl(path: Path) -> Iterator[Any]:
    """Yield the documents of a JSONL file, one at a time.

    Raises:
        ArtefactBroken: a line is not JSON; the message names it.
    """
    with path.open(encoding="utf-8", errors="surrogatepass") as handle:
        for number, line in enumerate(handle, 1):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise ArtefactBroken(path, f"line {number} is not JSON ({error})") from error


def is_artefact(directory: Path) -> bool:
    """Tell whether a directory is a finished artefact: it has a manifest."""
    return (directory / MANIFEST).is_file()


def finish_artefact(work: Path, final: Path, manifest: dict[str, Any], known: Mapping[str, str] | None = None) -> Path:
    """Turn finished work into an artefact: hash its files, write the manifest last, rename once; return `final`.

    `manifest` gets the key `files`: relative name -> {"sha256", "bytes"}; `known` are hashes by name that were made
    while the files were written. When `final` exists already (the same inputs
    made the same content), the work is discarded.
    """
    names = sorted(p for p in work.rglob("*") if p.is_file() and p.name != MANIFEST)
    for path in names:  # whoever wrote it, a library included: what comes from logs is the owner's alone
        os.chmod(path, PRIVATE_FILE)
    hashes = known or {}
    listed = {
        name: {"sha256": hashes.get(name) or file_sha256(p), "bytes": p.stat().st_size}
        for p in names
        for name in (str(p.relative_to(work)),)
    }
    write_json(work / MANIFEST, {**manifest, "files": listed})
    make_private_dir(final.parent)
    if is_artefact(final):
        shutil.rmtree(work)
        return final
    if final.exists():  # a folder without a manifest is no artefact: left by hand or by an older crash
        shutil.rmtree(final)
    with disk_errors(final):
        os.replace(work, final)
    _sync_dir(final.parent)
    return final


def read_manifest(directory: Path) -> dict[str, Any]:
    """Return an artefact's manifest.

    Raises:
        ArtefactBroken: there is none, or it is not a JSON object.
    """
    if not is_artefact(directory):
        raise ArtefactBroken(directory, "it has no manifest")
    manifest = read_json(directory / MANIFEST)
    if not isinstance(manifest, dict):
        raise ArtefactBroken(directory / MANIFEST, "not a JSON object")
    return manifest


def artefacts_in(directory: Path) -> list[Path]:
    """Return the finished artefacts directly below `directory`, oldest first."""
    if not directory.is_dir():
        return []
    found = [p for p in directory.iterdir() if is_artefact(p)]
    return sorted(found, key=lambda p: ((p / MANIFEST).stat().st_mtime_ns, p.name))


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path` for this process; the system frees it if the process dies.

    Raises:
        WorkspaceBusy: somebody else holds it.
    """
    make_private_dir(path.parent)
    with path.open("a+") as handle:
        os.chmod(path, PRIVATE_FILE)
        try:
            _lock_handle(handle.fileno())
        except OSError as error:
            handle.seek(0)
            raise WorkspaceBusy(path, f"process {handle.read().strip() or 'unknown'}") from error
        handle.seek(0)
        handle.truncate()
        handle.write(str(os.getpid()))
        handle.flush()
        yield


def _lock_handle(descriptor: int) -> None:
    if os.name == "nt":  # pragma: no cover - exercised on Windows only
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _sync_dir(directory: Path) -> None:
    if os.name == "nt":  # pragma: no cover - directories cannot be opened there
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
