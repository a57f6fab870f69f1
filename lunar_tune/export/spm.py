"""SentencePiece's BPE as tokenizer.json has it (Mistral v3), in llama.cpp's terms: scores instead of merges.

llama.cpp joins the two neighbours whose joined text has the best score. That is the list of merges exactly when every
way to make an entry is in the list and the list goes entry by entry; anything else is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

PRE = "default"  # llama.cpp's name; its kind is "llama"
UNKNOWN, BYTE = 2, 6  # gguf.TokenType
SPACE = "\u2581"  # what a space is written as


def problems(content: Mapping[str, Any]) -> list[str]:
    """Return every reason why llama.cpp would cut text otherwise."""
    model = content["model"]
    found = []
    if space_first(content) is None:
        found.append("the tokenizer's normalizer and pre_tokenizer are not those of a SentencePiece model")
    missing = [f"<0x{byte:02X}>" for byte in range(256) if f"<0x{byte:02X}>" not in model["vocab"]]
    if missing:
        found.append(f"the tokenizer has no bytes {', '.join(missing[:3])}")
    odd = ("continuing_subword_prefix", "end_of_word_suffix", "dropout", "ignore_merges")
    found += [f"the tokenizer's BPE uses {key}" for key in odd if model.get(key)]
    if model.get("merges") and not _entry_by_entry(content):
        found.append("its merges do not go entry by entry, so no scores say the same")
    return found


def space_first(content: Mapping[str, Any]) -> bool | None:
    """Tell whether a space is put before every text between special tokens; None: something else is done to it.

    `prepend_scheme` "first" puts one before the first text only; our prompts begin with a special token, so it does
    nothing there.
    """
    normalizer, pre = content.get("normalizer"), content.get("pre_tokenizer")
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    if pre is None and normalizer:
        parts = normalizer.get("normalizers") if normalizer.get("type") == "Sequence" else [normalizer]
        if parts == [{"type": "Prepend", "prepend": SPACE}, replace]:
            return True
        return False if parts == [replace] else None
    if normalizer or not pre or pre.get("type") != "Metaspace" or pre.get("replacement") != SPACE:
        return None
    return False if pre.get("split") is False and pre.get("prepend_scheme") in ("first", "never") else None


def scores(content: Mapping[str, Any], texts: Mapping[int, str], size: int) -> tuple[float, ...]:
    """Return each id's score: the later its merge, the lower."""
    order: dict[str, int] = {}
    for left, right in _merges(content):
        order.setdefault(left + right, len(order))
    return tuple(-float(order.get(texts.get(index, ""), 0)) for index in range(size))


def types(plain: Sequence[int], texts: Mapping[int, str], unknown: str) -> tuple[int, ...]:
    """Return the GGUF types, with the bytes and the unknown token as llama.cpp wants them."""
    bytes_ = {f"<0x{byte:02X}>" for byte in range(256)}
    special = {unknown: UNKNOWN}
    return tuple(
        BYTE if texts.get(index) in bytes_ else special.get(texts.get(index, ""), kind)
        for index, kind in enumerate(plain)
    )


def _merges(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    pairs = (merge.split(" ") if isinstance(merge, str) else merge for merge in content["model"]["merges"])
    return [(left, right) for left, right in pairs]


def _entry_by_entry(content: Mapping[str, Any]) -> bool:
    """Tell whether the merges of each entry stand together and are all the ways to make it of two entries."""
    vocabulary = content["model"]["vocab"]
    added = {token["content"] for token in content.get("added_tokens") or []}
    made: dict[str, set[tuple[str, str]]] = {}
    last = ""
    for left, right in _merges(content):
        if left + right != last and left + right in made:
            return False
        last = left + right
        made.setdefault(last, set()).add((left, right))
    for text in vocabulary:
        ways = {(text[:cut], text[cut:]) for cut in range(1, len(text))}
        ways = {(left, right) for left, right in ways if left in vocabulary and right in vocabulary}
        if text not in added and not text.startswith("<0x") and ways != made.get(text, set()):
            return False
    return True
