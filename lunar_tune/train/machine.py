"""Where training runs and what is free there now.

An NVIDIA GPU is asked in a process of its own: one that has spoken to it keeps some of its memory while it lives.
`python -m lunar_tune.train.machine` is that process; with a precision it also times a product of matrices.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lunar_tune.train.plan import Kind

_CGROUP = Path("/sys/fs/cgroup")
# Metal lets a process wire two thirds of the memory, three quarters on larger machines (recommendedMaxWorkingSetSize)
_METAL_LARGE, _METAL_SHARE, _METAL_LARGE_SHARE = 36 << 30, 2 / 3, 3 / 4
_PATIENCE = 120.0  # seconds for torch to be imported and a GPU to wake
_SIDE, _TIMED = 1024, 0.3  # of the matrices, and seconds


@dataclass(frozen=True, slots=True)
class Machine:
    """Where training runs; `free` and `total` are bytes of the memory that it uses, 0 where nothing tells."""

    kind: Kind
    free: int
    total: int
    name: str = ""


def look(backend: str) -> Machine:
    """Return where a trainer would run now, and what is free there."""
    free, total = _main_memory()
    if sys.platform == "darwin" and platform.machine() == "arm64":
        share = _METAL_LARGE_SHARE if total > _METAL_LARGE else _METAL_SHARE
        wired = int(total * share)
        return Machine("metal" if backend == "mlx" else "mps", min(free, wired), wired, "Apple's GPU")
    if backend != "mlx" and shutil.which("nvidia-smi"):
        told = _ask()
        if told is not None and told["kind"] == "cuda":
            return Machine("cuda", told["free"], told["total"], told["name"])
    return Machine("cpu", free, total, "CPU")


def speed(backend: str, precision: str, threads: int) -> float | None:
    """Return multiplications and additions a second in a product of matrices here, None where it cannot be timed."""
    told = _ask(backend, precision, str(threads))
    return told["speed"] if told is not None else None


def _main_memory() -> tuple[int, int]:
    """Return bytes that are free without swapping, and all; a container's limit counts."""
    import psutil

    found = psutil.virtual_memory()
    free, total = int(found.available), int(found.total)
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        used = int((_CGROUP / "memory.current").read_text())
        lines = (_CGROUP / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return free, total
    pages = sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))  # given up when needed
    return min(free, max(0, limit - used + pages)), min(total, limit)


def _ask(*arguments: str) -> dict[str, Any] | None:
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "lunar_tune.train.machine", *arguments],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=True,
        )
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None
    return told


def _describe() -> dict[str, Any]:
    import torch

    if not torch.cuda.is_available():
        return {"kind": "cpu"}
    free, total = torch.cuda.mem_get_info()
    return {"kind": "cuda", "free": free, "total": total, "name": torch.cuda.get_device_name()}


def _time(product: Callable[[], object]) -> float:
    product()  # the first wakes the device
    begun, count = time.perf_counter(), 0
    while time.perf_counter() - begun < _TIMED:
        product()
        count += 1
    return 2 * _SIDE**3 * count / (time.perf_counter() - begun)


def _torch_speed(precision: str, threads: int) -> float:
    import torch

    if threads:
        torch.set_num_threads(threads)
    apple = torch.backends.mps.is_available()
    device = torch.device("cuda" if torch.cuda.is_available() else "mps" if apple else "cpu")
    matrix = torch.ones(_SIDE, _SIDE, dtype=getattr(torch, precision), device=device)
    return _time(lambda: (matrix @ matrix)[0, 0].item())


def _mlx_speed(precision: str) -> float:
    import mlx.core as mx

    matrix = mx.ones((_SIDE, _SIDE), dtype=getattr(mx, precision))
    return _time(lambda: mx.eval(matrix @ matrix))


def main(arguments: list[str]) -> None:
    """Print what is asked for as JSON: `[BACKEND PRECISION THREADS]`."""
    if not arguments:
        print(json.dumps(_describe()))
        return
    backend, precision, threads = arguments
    print(json.dumps({"speed": _mlx_speed(precision) if backend == "mlx" else _torch_speed(precision, int(threads))}))


if __name__ == "__main__":
    main(sys.argv[1:])
