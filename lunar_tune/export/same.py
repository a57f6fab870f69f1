"""Can an adapter that was trained on one base be fused into another? Only where both are one model in other numbers.

A 4-bit or 8-bit base is trained on, and the GGUF is made of the full-precision weights it was packed from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from lunar_tune.errors import ArtefactBroken
from lunar_tune.export.shape import read_config, read_shape
from lunar_tune.files import read_json

_FREE = ("context", "window", "tied")  # a packed copy may say another length, and may store the output matrix by itself


def differences(trained: Path, whole: Path) -> list[str]:
    """Return every reason why an adapter of the base `trained` does not belong on `whole`; empty when it does.

    Compared are the sizes, the rotary embedding and the tokenizer; that the weights are the same before packing is not.

    Raises:
        BaseMissing: a folder has no config.json.
    """
    (one, problems), (other, _) = (read_shape(read_config(path), quantized=True) for path in (trained, whole))
    if one is None:
        return problems
    if other is None:
        return []  # which `check_exportable` says
    found = [
        f"{field.name} is {getattr(other, field.name)}, not {getattr(one, field.name)}"
        for field in fields(one)
        if field.name not in _FREE and getattr(one, field.name) != getattr(other, field.name)
    ]
    if _tokens(trained) != _tokens(whole):
        found.append("its tokenizer has other tokens or merges")
    return found


def _tokens(base: Path) -> tuple[dict[str, int], list[str], str]:
    """Return a tokenizer's texts by id, its merges and what it does to text before."""
    try:
        content: Mapping[str, Any] = dict(read_json(base / "tokenizer.json"))
        model = content["model"]
        texts = {**model["vocab"], **{token["content"]: token["id"] for token in content.get("added_tokens") or []}}
        merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model.get("merges") or []]
    except (ArtefactBroken, OSError, KeyError, TypeError, ValueError):
        return {}, [], ""
    return texts, merges, str(content.get("pre_tokenizer"))
