"""A base model: where it lies and what it is called by content.

`find_base` takes a folder or a Hugging Face repository (its local copy first) and reads only JSON and file headers;
whether the base can be shipped is for `export.check_exportable` to say.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lunar_tune.bases.packed import count, packing_of
from lunar_tune.errors import BaseMissing, DiskFull
from lunar_tune.identity import content_id, file_sha256
from lunar_tune.settings import usual_base

DOWNLOADED = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "*.safetensors",
    "*.safetensors.index.json",
)
_WANTED: dict[str, Any] = {"allow_patterns": list(DOWNLOADED), "ignore_patterns": ["*/*"]}
SAMPLE = 1 << 20  # bytes read at each end of a weight file for the base's id
LARGEST_HEADER = 100_000_000  # bytes; what the safetensors library itself accepts


@dataclass(frozen=True, slots=True)
class Base:
    """A base model's folder."""

    id: str
    name: str
    path: Path
    model_type: str
    config: Mapping[str, Any] = field(repr=False)
    parameters: int
    """Number of weights, from the safetensors headers; of packed ones what they were before."""
    tokenizer_id: str
    """SHA-256 of tokenizer.json; empty without one."""


class JsonTokenizer:
    """A `lunar_tune.seams.Tokenizer` made from a base's tokenizer.json.

    Qwen's composes characters (NFC), which llama.cpp does not: serving wins, and text is encoded as it is.
    """

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer as Loaded

        self._loaded = Loaded.from_file(str(path))
        if _composes(self._loaded.normalizer):
            self._loaded.normalizer = None
        self._loaded.no_truncation()
        self._loaded.no_padding()
        added = self._loaded.get_added_tokens_decoder()
        self.special_ids = frozenset(id_ for id_, token in added.items() if token.special)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; special tokens in it become their ids, none are added."""
        return list(self._loaded.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, special tokens included."""
        return str(self._loaded.decode(list(ids), skip_special_tokens=False))


def _composes(normalizer: Any) -> bool:
    return type(normalizer).__name__ == "NFC"


def load_tokenizer(base_path: Path) -> JsonTokenizer:
    """Return the tokenizer of a base's folder.

    Raises:
        BaseMissing: the folder has no tokenizer.json that can be read.
    """
    path = base_path / "tokenizer.json"
    if not path.is_file():
        raise BaseMissing(str(base_path), "the folder has no tokenizer.json")
    try:
        return JsonTokenizer(path)
    except Exception as error:  # the library raises bare exceptions
        raise BaseMissing(str(base_path), f"its tokenizer.json cannot be read ({error})") from error


def tokenizer_here(name: str) -> Path | None:
    """Return the folder of a base's tokenizer.json where that is on this machine; nothing is fetched."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder if (folder / "tokenizer.json").is_file() else None
    from huggingface_hub import errors, try_to_load_from_cache

    try:
        found = try_to_load_from_cache(name, "tokenizer.json")
    except errors.HFValidationError:
        return None
    return Path(found).parent if isinstance(found, str) else None


def model_type(folder: Path) -> str:
    """Return what a base's config.json calls its kind, "" when it does not.

    Raises:
        BaseMissing: the folder has no config.json that can be read.
    """
    return str(_config(folder, folder.name).get("model_type", ""))


def base_here(name: str) -> Base | None:
    """Return the base `name` where all of it is on this machine; nothing is fetched.

    Raises:
        BaseMissing: it is here and cannot be read, or its name is none.
    """
    return find_base(name) if Path(name).expanduser().is_dir() or _local(name) is not None else None


def steps_to_get(name: str) -> str:
    """Return the steps, in words, that get a gated repository onto this machine."""
    return (
        f"Accept the licence at https://huggingface.co/{name}, make a token that may read it at "
        f"https://huggingface.co/settings/tokens, then run `hf auth login` and `hf download {name}`."
    )


def find_base(name: str) -> Base:
    """Return the base `name`: a folder, or a Hugging Face repository, which is downloaded if it is not here yet.

    The id is made of config.json, tokenizer.json and, for each weight file, its name, size, header and the first and
    last MiB: not of every byte, because hashing a 3B model at each start takes long. A change in the middle of a weight
    file that leaves its ends and its header as they were keeps the id.

    Raises:
        BaseMissing: no such folder or repository, no access to it, no network, or no config.json in it.
    """
    name = usual_base() if name == "auto" and not Path(name).is_dir() else name
    path = Path(name).expanduser()
    folder = path if path.is_dir() else _snapshot(name)
    config = _config(folder, name)
    tokenizer = folder / "tokenizer.json"
    tokenizer_id = file_sha256(tokenizer) if tokenizer.is_file() else ""
    weights, headers, _ = _read_weights(folder)
    parts = {
        "config": file_sha256(folder / "config.json"),
        "tokenizer": tokenizer_id,
        "weights": [_sample(weight) for weight in weights],
    }
    tensors = [named for header in headers for named in header.items()]
    return Base(
        id=content_id("base", parts),
        name=name if folder != path else folder.resolve().name,
        path=folder,
        model_type=str(config.get("model_type", "")),
        config=config,
        parameters=count(tensors, packing_of(config)),
        tokenizer_id=tokenizer_id,
    )


def _config(folder: Path, name: str) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BaseMissing(name, "the folder has no config.json") from None
    except ValueError as error:
        raise BaseMissing(name, f"its config.json is not JSON ({error})") from error
    if not isinstance(config, dict):
        raise BaseMissing(name, "its config.json is not an object")
    return config


def _snapshot(name: str) -> Path:
    """Return the local copy of a Hugging Face repository, downloaded if it is incomplete."""
    import httpx
    from huggingface_hub import errors, snapshot_download

    if (folder := _local(name)) is not None:
        return folder
    try:
        _require_room(name)
        return Path(snapshot_download(name, **_WANTED, local_files_only=False))
    except errors.GatedRepoError:
        missing = BaseMissing(name, "the repository is gated and this machine has no access to it")
        missing.hint = steps_to_get(name)
        raise missing from None
    except errors.RepositoryNotFoundError:
        missing = BaseMissing(name, "there is no such folder, and no such repository that this machine may read")
        missing.hint = (
            "Check the spelling of --base; for a private repository run `hf auth login` first, and for a gated one: "
            + steps_to_get(name)
        )
        raise missing from None
    except (
        errors.LocalEntryNotFoundError,
        errors.OfflineModeIsEnabled,
        errors.HfHubHTTPError,
        httpx.HTTPError,
        OSError,
    ):
        missing = BaseMissing(name, "it is not on this machine, and Hugging Face cannot be reached")
        missing.hint = f"Connect to the network once and run `hf download {name}`, or pass a folder with --base."
        raise missing from None


def _local(name: str) -> Path | None:
    """Return the whole local copy of a repository, None where there is none."""
    from huggingface_hub import errors, snapshot_download

    try:
        folder = Path(snapshot_download(name, **_WANTED, local_files_only=True))
    except errors.HFValidationError:
        raise BaseMissing(name, "there is no such folder, and the name is not one of a repository") from None
    except errors.LocalEntryNotFoundError:
        return None
    return folder if (folder / "config.json").is_file() and _read_weights(folder)[2] else None


def _require_room(name: str) -> None:
    """Make sure that what is still to be fetched of a repository fits on the disk.

    Raises:
        DiskFull: it does not.
    """
    from huggingface_hub import constants, snapshot_download

    files = snapshot_download(name, **_WANTED, local_files_only=False, dry_run=True)
    needed = sum(file.file_size or 0 for file in files if file.will_download)
    cache = Path(constants.HF_HUB_CACHE)
    free = shutil.disk_usage(next(path for path in (cache, *cache.parents) if path.exists())).free
    if needed > free:
        full = DiskFull(cache, needed, free)
        full.hint = f"Free some space for {name}, or name another place with the variable HF_HOME."
        raise full


def _read_weights(folder: Path) -> tuple[list[Path], list[dict[str, Any]], bool]:
    """Return the weight files, their headers, and whether all of them are there and whole."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError):
            return [], [], False
        files = [folder / name for name in names]
    else:
        files = sorted(folder.glob("model*.safetensors")) or sorted(folder.glob("consolidated*.safetensors"))
    found = {file: header for file in files if file.is_file() and (header := _header(file)) is not None}
    return list(found), list(found.values()), bool(files) and len(found) == len(files)


def _header(file: Path) -> dict[str, Any] | None:
    """Return a safetensors file's tensors by name, None when its header or its length is wrong."""
    size = file.stat().st_size
    with file.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        if not 0 < length <= min(size - 8, LARGEST_HEADER):
            return None
        try:
            header = json.loads(handle.read(length))
            header.pop("__metadata__", None)
            end = max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
    return dict(header) if size == 8 + length + end else None


def _sample(file: Path) -> list[Any]:
    size = file.stat().st_size
    digest = hashlib.sha256()
    with file.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        digest.update(handle.read(length + SAMPLE))
        handle.seek(max(0, size - SAMPLE))
        digest.update(handle.read(SAMPLE))
    return [file.name, size, digest.hexdigest()]
