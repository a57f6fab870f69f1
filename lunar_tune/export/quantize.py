"""Formats that only llama.cpp can write (Q4_K_M), and the whole way from base and adapter to a file of any format.

llama.cpp runs in a process of its own: it can abort on bad input, and its memory is the system's again afterwards.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from lunar_tune.artefacts import Adapter
from lunar_tune.errors import ExportError, MissingExtra
from lunar_tune.export.gguf import FILE_TYPES, Progress, check_room, write_gguf
from lunar_tune.export.header import tensor_types
from lunar_tune.export.layout import DIRECT, HALF
from lunar_tune.files import PRIVATE_FILE, disk_errors

MEANT = {  # tensor types of each format; anything else is a fallback
    "F32": {"F32"},
    "F16": {"F16", "F32"},
    "BF16": {"BF16", "F32"},
    "Q8_0": {"Q8_0", "F32"},
    "Q4_K_M": {"Q4_K", "Q6_K", "F32"},
}
Q4_SHARE = 0.45  # of the 16-bit size: Q6_K throughout, the worst case, is 0.41


@dataclass(frozen=True, slots=True)
class Exported:
    """A finished GGUF. `fallbacks` are tensors whose widths the format cannot hold, as "name: type"."""

    path: Path
    quant: str
    fallbacks: tuple[str, ...]


def export_gguf(
    base: Path,
    adapter: Adapter | None,
    out: Path,
    quant: str,
    *,
    chat_template: str,
    name: str,
    strength: float = 1.0,
    threads: int = 0,
    progress: Progress | None = None,
) -> Exported:
    """Write base + strength · adapter to the file `out` in any format of `MEANT`.

    Q4_K_M goes through a 16-bit file beside `out`, which is removed afterwards, also on failure. `threads` 0 means
    all processors.

    Raises:
        MissingExtra: the format needs cyllama; told before anything is written.
        BaseMissing, BaseNotExportable, ExportError, DiskFull: as `write_gguf` and `quantize`.
    """
    if quant not in MEANT:
        raise ExportError(f"The format {quant!r} is unknown.", f"Formats: {', '.join(MEANT)}.")
    write = partial(
        write_gguf, base, adapter, chat_template=chat_template, name=name, progress=progress, strength=strength
    )
    if quant in DIRECT:
        write(out, quant)
    else:
        _require_cyllama()
        half = out.with_name(f".{out.name}.{os.getpid()}.half")
        try:
            write(half, HALF, room_for=Q4_SHARE)
            quantize(half, out, quant, threads=threads)
        finally:
            half.unlink(missing_ok=True)
    return Exported(out, quant, tuple(fallbacks(out, quant)))


def quantize(source: Path, out: Path, quant: str, *, threads: int = 0) -> None:
    """Write a 16-bit GGUF in llama.cpp's format `quant`; a reader sees the whole file or none.

    Raises:
        MissingExtra: cyllama is not installed.
        ExportError: llama.cpp failed; the message has its last words.
        DiskFull: no room.
    """
    _require_cyllama()
    check_room(out, int(source.stat().st_size * Q4_SHARE))
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        with disk_errors(out):
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE))
            _run_llama_quantize(source, temporary, FILE_TYPES[quant], threads or os.cpu_count() or 1)
            with temporary.open("rb+") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)


def fallbacks(path: Path, quant: str) -> list[str]:
    """Return the tensors of a GGUF that are not of the types that the format means, as "name: type"."""
    found = tensor_types(path)
    return [f"{name}: {kind}" for name, kind in found.items() if kind not in MEANT[quant]]


def _require_cyllama() -> None:
    if find_spec("cyllama") is None:
        raise MissingExtra("cyllama", "llamacpp")


def _run_llama_quantize(source: Path, target: Path, file_type: int, threads: int) -> None:
    package_root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, (package_root, os.environ.get("PYTHONPATH"))))
    arguments = [str(source.resolve()), str(target.resolve()), str(file_type), str(threads)]
    done = subprocess.run(
        [sys.executable, "-m", "lunar_tune.export.llama_child", *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode == 0:
        return
    if done.returncode < 0:
        reason = f"ended by {signal.Signals(-done.returncode).name}"
    else:
        reason = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no message").strip()
    raise ExportError(
        f"llama.cpp could not quantize {source.name!r}: {reason}.", "Try --quant Q8_0, which needs no llama.cpp."
    )
