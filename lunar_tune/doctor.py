"""What is right and wrong with this machine, before a night is spent on it."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lunar_tune.errors import LunarError
from lunar_tune.settings import Settings

if TYPE_CHECKING:
    from lunar_tune.bases import Base

# name of the library, the extra that brings it, and what does not work without it
LIBRARIES = (
    ("torch", "peft", "training with PEFT"),
    ("peft", "peft", "training with PEFT"),
    ("bitsandbytes", "peft", "QLoRA with PEFT"),
    ("mlx_lm", "mlx", "training with MLX"),
    ("xllamacpp", "llamacpp", "judging and serving"),
    ("cyllama", "llamacpp", "scoring and Q4_K_M"),
    ("mlflow", "mlflow", "recording in MLflow"),
    ("ormsgpack", "langgraph", "reading LangGraph's checkpoints"),
    ("zstandard", "zstd", "reading logs that Zed and Codex compressed"),
)
EXPORT_COPIES = 2.5  # a 16-bit copy while exporting, the result, and the base's own GGUF, in sizes of the base
SUPERVISED = 0.2  # share of a long row that is the agent's own words


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, whether it is right, what was found, what helps."""

    check: str
    ok: bool
    detail: str
    cure: str = ""
    optional: bool = False


def examine(home: Path, settings: Settings) -> list[Finding]:
    """Return every finding, the most basic first; nothing is changed, no heavy library is loaded here."""
    return [*_libraries(), *_base(home, settings), _hub_cache(), *_registry(home, settings)]


def _libraries() -> Iterator[Finding]:
    for name, extra, use in LIBRARIES:
        there = importlib.util.find_spec(name) is not None
        cure = "" if there else f"pip install 'lunar-tune[{extra}]'"
        yield Finding(f"library {name}", there, use if there else f"missing: no {use}", cure, optional=True)


def _base(home: Path, settings: Settings) -> Iterator[Finding]:
    from lunar_tune.bases import find_base, too_small

    try:
        base = find_base(settings.train.base)
    except LunarError as error:
        yield Finding("base model", False, error.message, error.hint)
        return
    yield Finding("base model", True, f"{base.name} at {base.path}")
    if small := too_small(base.name, base.parameters):
        yield Finding("base size", False, small, "train on a base of 3B or more", optional=True)
    yield Finding("prompt family", *_family(settings, base))
    size = sum(file.stat().st_size for file in base.path.glob("*.safetensors"))
    missing = 0  # bytes still to be fetched
    try:
        whole = _whole(settings, base)
    except LunarError as error:
        yield Finding("base can be exported", False, error.message, error.hint)
    else:
        yield whole[0]
        missing = whole[1]
    folder = next(p for p in (home, *home.parents) if p.exists())
    free, needed = shutil.disk_usage(folder).free, max(size, 2 * base.parameters) * EXPORT_COPIES + missing
    cure = "" if free > needed else "free some space on that disk"
    yield Finding("disk", free > needed, f"{free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB needed", cure)
    yield _memory(settings, base)


def _family(settings: Settings, base: Base) -> tuple[bool, str, str]:
    from lunar_tune.prompts import prompt_of

    try:
        return True, prompt_of(settings.prompt, base.path, base.model_type).family, ""
    except LunarError as error:
        return False, error.message, error.hint


def _whole(settings: Settings, base: Base) -> tuple[Finding, int]:
    """Return what is to be said of the weights that the export needs, and how many bytes of them are still to come.

    Raises:
        LunarError: they are not known.
    """
    from lunar_tune.bases import base_here, packing_of, steps_to_get
    from lunar_tune.export.gguf import check_exportable
    from lunar_tune.export.same import differences
    from lunar_tune.workflow.ground import whole_name

    name = whole_name(settings, base)
    whole = base if name is None else base_here(name)
    if whole is not None:
        problems = [*(differences(base.path, whole.path) if name else []), *check_exportable(whole.path)]
        cure = "choose another --base" if name is None else "set export.base to the right weights"
        said = "; ".join(problems) or ("yes" if name is None else f"yes, with the weights of {name}")
        return Finding("base can be exported", not problems, said, cure if problems else ""), 0
    size = 2 * base.parameters  # 16 bits a weight
    packing = packing_of(base.config)
    detail = f"{base.name} is packed ({packing}): the export needs {name}, {size / 1e9:.1f} GB, which is not here yet"
    return Finding("base can be exported", False, detail, steps_to_get(str(name))), size


def _hub_cache() -> Finding:
    from lunar_tune.train.caches import hub_cache

    folder, size = hub_cache()
    return Finding("model hub's cache", True, f"{size / 1e9:.1f} GB at {folder}", optional=True)


def _memory(settings: Settings, base: Base) -> Finding:
    """Tell whether rows as long as the window can be trained on here, were all of the memory free."""
    from lunar_tune import plugins
    from lunar_tune.train.backends import choose_backend
    from lunar_tune.train.fit import choose, memory
    from lunar_tune.train.machine import look
    from lunar_tune.train.plan import Longest, read_shape

    try:
        shape, backend = read_shape(base.config, base.name), choose_backend(settings.train.backend, plugins.backends())
        machine = look(backend)
        machine = replace(machine, free=machine.total)
        row = Longest(settings.dataset.window, round(settings.dataset.window * SUPERVISED))
        plan = choose(shape, settings.train, backend, machine, row)
    except LunarError as error:
        return Finding("memory", False, error.message, error.hint)
    needed = memory(shape, settings.train, plan, backend, machine, row).total
    rows = f"rows of {row.tokens} tokens need about {needed / 1e9:.1f} GB ({plan.words()})"
    return Finding("memory", True, f"{machine.total / 1e9:.1f} GB of the {machine.name}; {rows}")


def _registry(home: Path, settings: Settings) -> Iterator[Finding]:
    from lunar_tune.deploy.promotion import choose_registry

    try:
        _, why = choose_registry(settings.deploy, home)
    except LunarError as error:
        yield Finding("registry", False, error.message, error.hint)
        return
    yield Finding("registry", True, why)
