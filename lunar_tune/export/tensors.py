"""Tensors of safetensors files, read by rows into float32; nothing larger than what is asked for is in memory.

The format is a length, a JSON header and raw little-endian numbers. It is read directly because numpy has no bfloat16.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lunar_tune.errors import ExportError

Array = npt.NDArray[np.float32]
DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}
LARGEST_HEADER = 100_000_000  # the safetensors library's own limit


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a tensor lies: file, number format, shape and first byte."""

    path: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int


class Tensors:
    """The tensors of one or more safetensors files by name, in the order of the files."""

    def __init__(self, files: Sequence[Path]) -> None:
        """Read the headers.

        Raises:
            ExportError: a file is not safetensors, is cut short, or two files hold the same name.
        """
        self.entries: dict[str, Entry] = {}
        for path in files:
            for name, entry in _header(path).items():
                if name in self.entries:
                    raise ExportError(f"Two files of {str(path.parent)!r} hold the tensor {name!r}.")
                self.entries[name] = entry

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape."""
        return self.entries[name].shape

    def rows(self, name: str, start: int = 0, stop: int | None = None) -> Array:
        """Return rows [start, stop) of a tensor's first axis as float32.

        Raises:
            ExportError: as `stored_rows`.
        """
        return _float32(self.stored_rows(name, start, stop), self.entries[name].dtype)

    def stored_rows(self, name: str, start: int = 0, stop: int | None = None) -> npt.NDArray[Any]:
        """Return rows [start, stop) in the stored format; bfloat16 as uint16 of the same bits.

        Raises:
            ExportError: the tensor's format is none of `DTYPES`, or the file has become shorter.
        """
        entry = self.entries[name]
        if entry.dtype not in DTYPES:
            raise ExportError(
                f"The tensor {name!r} of {entry.path.name!r} is stored as {entry.dtype}, which is not read here."
            )
        stored = DTYPES[entry.dtype]
        stop = entry.shape[0] if stop is None else min(stop, entry.shape[0])
        count = (stop - start) * math.prod(entry.shape[1:])
        offset = entry.offset + start * math.prod(entry.shape[1:]) * stored.itemsize
        raw = np.fromfile(entry.path, dtype=stored, count=count, offset=offset)
        if raw.size != count:
            raise ExportError(f"{str(entry.path)!r} ends before the tensor {name!r} does.", "Fetch the file again.")
        return raw.reshape(stop - start, *entry.shape[1:])

    def gather(self, name: str, indices: Sequence[int]) -> Array:
        """Return the rows of these indices, in their order, as float32."""
        found = {index: self.rows(name, index, index + 1)[0] for index in sorted(set(indices))}
        return np.stack([found[index] for index in indices])


def _float32(raw: npt.NDArray[Any], dtype: str) -> Array:
    if dtype == "BF16":  # a bfloat16 is the upper half of a float32
        wide = raw.astype("<u4")
        wide <<= 16
        return wide.view("<f4")
    return raw.astype("<f4", copy=False)


def _header(path: Path) -> dict[str, Entry]:
    try:
        size = path.stat().st_size
        with path.open("rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            if not 2 <= length <= min(LARGEST_HEADER, size - 8):
                raise ValueError("its header has no sensible length")
            header = json.loads(handle.read(length))
        entries = {n: _entry(path, e, 8 + length, size) for n, e in header.items() if n != "__metadata__"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExportError(f"{str(path)!r} is not a readable safetensors file ({error}).", "Fetch it again.") from error
    return entries


def _entry(path: Path, fields: dict[str, Any], start: int, size: int) -> Entry:
    shape = tuple(int(n) for n in fields["shape"])
    first, last = fields["data_offsets"]
    if start + last > size:
        raise ValueError("it is shorter than its header says")
    if fields["dtype"] in DTYPES and last - first != math.prod(shape) * DTYPES[fields["dtype"]].itemsize:
        raise ValueError("a tensor's size is not that of its shape")
    return Entry(path, fields["dtype"], shape, start + first)


def checkpoint_files(base: Path) -> list[Path]:
    """Return a checkpoint folder's weight files: those of its index, else model.safetensors, else every *.safetensors.

    Raises:
        ExportError: none is there, one that the index names is not, or the index cannot be read.
    """
    index = base / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ExportError(f"{str(index)!r} cannot be read.", "Fetch the base again with --base.") from error
        files = [base / name for name in names]
    elif (base / "model.safetensors").is_file():
        files = [base / "model.safetensors"]
    else:
        files = sorted(base.glob("*.safetensors"))
    missing = [path.name for path in files if not path.is_file()]
    if not files or missing:
        found = f"lacks {', '.join(missing)}" if missing else "holds no *.safetensors file"
        raise ExportError(f"The base folder {str(base)!r} {found}.", "Fetch the base again with --base.")
    return files
