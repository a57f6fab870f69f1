"""One rich log a format, in the documented shape, built row by row: `examples/<format>.py` has `build(folder) -> Path`.

What each reads as stands in `golden/<format>.jsonl`: its episodes, then what was lost, checked by hand once. Every cell
that a format fills with credentials holds `CANARY`.
"""

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

CANARY = "canary-9f27c1"


def names() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def example(name: str) -> ModuleType:
    return importlib.import_module(f"examples.{name}")


def build(name: str, folder: Path) -> Path:
    return example(name).build(folder)
