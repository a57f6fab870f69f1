"""The built-in trainers, registered by the same hook as a plugin's; a factory explains what is missing."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterable
from importlib.util import find_spec

from lunar_tune.errors import MissingExtra, UsageError
from lunar_tune.hookspecs import hookimpl
from lunar_tune.seams import Backend


def make_peft() -> Backend:
    """Return the PyTorch trainer.

    Raises:
        MissingExtra: torch, transformers or peft is not installed.
    """
    _require(("torch", "transformers", "peft"), "peft")
    from lunar_tune.train.peft_backend import PeftBackend

    return PeftBackend()


def make_mlx() -> Backend:
    """Return the MLX trainer.

    Raises:
        MissingExtra: mlx or mlx-lm is not installed.
    """
    _require(("mlx", "mlx_lm"), "mlx")
    from lunar_tune.train.mlx_backend import MlxBackend

    return MlxBackend()


@hookimpl
def register_backends(register: Callable[[str, Callable[[], Backend]], None]) -> None:
    """Register the built-in trainers."""
    register("peft", make_peft)
    register("mlx", make_mlx)


def choose_backend(name: str, available: Iterable[str]) -> str:
    """Return the name of a registered trainer; "auto" is MLX on a Mac with Apple silicon that has it, else PEFT.

    Raises:
        UsageError: no trainer of that name.
    """
    names = sorted(available)
    if name == "auto":
        apple = sys.platform == "darwin" and platform.machine() == "arm64"
        name = "mlx" if apple and "mlx" in names and _installed("mlx_lm") else "peft"
    if name not in names:
        raise UsageError(f"No trainer {name!r} here.", f"--backend takes one of: auto, {', '.join(names)}.")
    return name


def _require(packages: Iterable[str], extra: str) -> None:
    for package in packages:
        if not _installed(package):
            raise MissingExtra(package.replace("_", "-"), extra)


def _installed(package: str) -> bool:
    return find_spec(package) is not None
