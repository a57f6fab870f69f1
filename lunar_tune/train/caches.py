"""What libraries write beside our own files: kept inside the work folder and gone with it, but for the model hub's
cache.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from lunar_tune.files import make_private_dir

FOLDER = "caches"
# variables that name the places of caches, and the folder each gets. MLX compiles CPU kernels into TMPDIR.
PLACES = {
    "TMPDIR": "tmp",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
    "TORCH_EXTENSIONS_DIR": "extensions",
    "PYTORCH_KERNEL_CACHE_PATH": "kernels",
    "TORCH_HOME": "torch",
    "CUDA_CACHE_PATH": "cuda",
    "HF_MODULES_CACHE": "modules",
}
EVERYBODYS = "TMPDIR"  # set on many systems, for all programs: no wish about this one


def cache_places(work: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that keep a process's caches inside `work`; what `environment` itself names stays."""
    mine = [name for name in PLACES if name == EVERYBODYS or name not in environment]
    return {name: str(make_private_dir(work.absolute() / FOLDER / PLACES[name])) for name in mine}


def hub_cache() -> tuple[Path, int]:
    """Return the folder of the model hub's cache and its size in bytes, 0 where there is none."""
    from huggingface_hub.constants import HF_HUB_CACHE

    folder, size = Path(HF_HUB_CACHE), 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                # a snapshot's files are links to the blobs, which are counted
                size += os.stat(os.path.join(parent, name), follow_symlinks=False).st_size
            except FileNotFoundError:  # another program is downloading
                continue
    return folder, size
