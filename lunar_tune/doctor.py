"""What is right and wrong with this machine, before a night is spent on it."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lunar_tune.errors import LunarError
from lunar_tune.settings import Settings

# name of the library, the extra that brings it, and what does not work without it
LIBRARIES = (
    ("torch", "peft", "training with PEFT"),
    ("peft", "peft", "training with PEFT"),
    ("bitsandbytes", "peft", "QLoRA with PEFT"),
    ("mlx_lm", "mlx", "training with MLX"),
    ("xllamacpp", "llamacpp", "judging and serving"),
    ("cyllama", "llamacpp", "scoring and Q4_K_M"),
    ("ormsgpack", "langgraph", "reading LangGraph's checkpoints"),
    ("zstandard", "zstd", "reading logs that Zed and Codex compressed"),
)
EXPORT_COPIES = 2.5  # a 16-bit copy while exporting, the result, and the base's own GGUF, in sizes of the base
TRAIN_COPIES = 1.6  # frozen weights, adapter, optimizer and activations of one row, in sizes of the base in memory


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, whether it is right, what was found, what helps."""

    check: str
    ok: bool
    detail: str
    cure: str = ""
    optional: bool = False


def examine(home: Path, settings: Settings) -> list[Finding]:
    """Return every finding, the most basic first; nothing is changed and no library is loaded that takes seconds."""
    return [*_libraries(), *_base(home, settings), *_registry(home, settings)]


def _libraries() -> Iterator[Finding]:
    for name, extra, use in LIBRARIES:
        there = importlib.util.find_spec(name) is not None
        cure = "" if there else f"pip install 'lunar-tune[{extra}]'"
        yield Finding(f"library {name}", there, use if there else f"missing: no {use}", cure, optional=True)


def _base(home: Path, settings: Settings) -> Iterator[Finding]:
    from lunar_tune.bases import find_base
    from lunar_tune.export.gguf import check_exportable

    try:
        base = find_base(settings.train.base)
    except LunarError as error:
        yield Finding("base model", False, error.message, error.hint)
        return
    yield Finding("base model", True, f"{base.name} at {base.path}")
    problem = "; ".join(check_exportable(base.path))
    yield Finding("base can be exported", not problem, problem or "yes", "" if not problem else "choose another --base")
    size = sum(file.stat().st_size for file in base.path.glob("*.safetensors"))
    folder = next(p for p in (home, *home.parents) if p.exists())
    free, needed = shutil.disk_usage(folder).free, size * EXPORT_COPIES
    cure = "" if free > needed else "free some space on that disk"
    yield Finding("disk", free > needed, f"{free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB needed", cure)
    memory, used = _memory(), size * TRAIN_COPIES
    cure = "" if memory > used else "train on a 4-bit base (--quantize-base 4bit) or a smaller one"
    yield Finding("memory", memory > used, f"{memory / 1e9:.1f} GB, about {used / 1e9:.1f} GB needed to train", cure)


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _registry(home: Path, settings: Settings) -> Iterator[Finding]:
    from lunar_tune.deploy.promotion import choose_registry

    try:
        _, why = choose_registry(settings.deploy, home)
    except LunarError as error:
        yield Finding("registry", False, error.message, error.hint)
        return
    yield Finding("registry", True, why)
