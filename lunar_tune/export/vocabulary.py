"""The tokenizer of a Llama 3 checkpoint in GGUF's terms, and whether llama.cpp would cut text exactly as it does.

llama.cpp's pre-tokenizer `llama-bpe` means: Llama 3's split regex, whole-word look-up before merges, a BOS in front. A
tokenizer.json that does anything else is refused rather than approximated. One difference is llama.cpp's own: it does
not take an apostrophe before U+017F (long s) for the contraction 's, as the regex's case folding does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lunar_tune.errors import ArtefactBroken
from lunar_tune.files import read_json

LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BOS, EOT, EOM, PAD = "<|begin_of_text|>", "<|eot_id|>", "<|eom_id|>", "<|finetune_right_pad_id|>"
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5  # gguf.TokenType


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tokens by id, their GGUF types, merges as "left right", and the ids of the named special tokens.

    The end of a turn is the end-of-sequence token, as Llama 3 Instruct ends every answer with it; `eom` and `pad` are
    None where the tokenizer has no such token.
    """

    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[str, ...]
    bos: int
    eot: int
    eom: int | None
    pad: int | None


def read_vocabulary(base: Path, size: int) -> tuple[Vocabulary | None, list[str]]:
    """Return (vocabulary of `size` rows, []) or (None, every reason why llama.cpp would tokenize otherwise).

    Ids that the tokenizer does not use (embedding rows padded to a round number) become unused tokens `[PADn]`, as
    llama.cpp's converter has them.
    """
    path = base / "tokenizer.json"
    if not path.is_file():
        return None, ["the folder has no tokenizer.json"]
    try:
        content = dict(read_json(path))
    except (ArtefactBroken, TypeError, ValueError):
        return None, ["its tokenizer.json cannot be read"]
    problems = _foreign_parts(content)
    model = content.get("model") or {}
    added = {token["id"]: token for token in content.get("added_tokens") or []}
    texts = {index: text for text, index in (model.get("vocab") or {}).items()}
    texts |= {index: token["content"] for index, token in added.items()}
    ids = {text: index for index, text in texts.items()}
    if texts and max(texts) >= size:
        problems.append(f"the tokenizer's highest id is {max(texts)}, but the model has {size} rows (vocab_size)")
    problems += [f"the tokenizer has no {name}" for name in (BOS, EOT) if name not in ids]
    if not model.get("merges"):
        problems.append("tokenizer.json has no merges")
    if problems:
        return None, problems
    tokens = tuple(texts.get(index, f"[PAD{index}]") for index in range(size))
    types = tuple(_type(index, texts, added) for index in range(size))
    merges = tuple(map(_merge, model["merges"]))
    return Vocabulary(tokens, types, merges, ids[BOS], ids[EOT], ids.get(EOM), ids.get(PAD)), []


def _type(index: int, texts: Mapping[int, str], added: Mapping[int, Mapping[str, Any]]) -> int:
    if index not in texts:
        return UNUSED
    if index not in added:
        return NORMAL
    return CONTROL if added[index].get("special") else USER_DEFINED


def _merge(merge: str | list[str]) -> str:
    """Return a merge as "left right"; the list form is transformers 4.45's. A space inside a part is written as Ġ."""
    return merge if isinstance(merge, str) else " ".join(part.replace(" ", chr(ord(" ") + 256)) for part in merge)


def _foreign_parts(content: Mapping[str, Any]) -> list[str]:
    problems = []
    model = content.get("model") or {}
    if model.get("type") != "BPE":
        return [f"the tokenizer is {model.get('type')!r}, not byte-level BPE"]
    if content.get("normalizer"):
        problems.append("the tokenizer normalizes text, which llama.cpp's llama-bpe does not")
    if not _is_llama3_split(content.get("pre_tokenizer") or {}):
        problems.append("the tokenizer does not cut text with Llama 3's split regex (pre_tokenizer of tokenizer.json)")
    if not model.get("ignore_merges") and not _merges_reach_every_token(content):
        problems.append("some entries of the vocabulary cannot be reached by merges and ignore_merges is off")
    odd = ("byte_fallback", "continuing_subword_prefix", "end_of_word_suffix", "dropout", "fuse_unk")
    problems += [f"the tokenizer's BPE uses {key}" for key in odd if model.get(key)]
    stripping = [
        token["content"]
        for token in content.get("added_tokens") or []
        if token.get("lstrip") or token.get("rstrip") or token.get("single_word")
    ]
    if stripping:
        problems.append(f"added tokens that swallow white space or match whole words only: {', '.join(stripping[:5])}")
    return problems


def _merges_reach_every_token(content: Mapping[str, Any]) -> bool:
    """Tell whether looking a whole word up first (as llama-bpe does) gives what merging gives, for every entry."""
    from tokenizers import Tokenizer

    model = Tokenizer.from_str(json.dumps(dict(content))).model
    added = {token["content"] for token in content.get("added_tokens") or []}
    return all(len(model.tokenize(text)) == 1 for text in content["model"]["vocab"] if text not in added)


def _is_llama3_split(pre: Mapping[str, Any]) -> bool:
    parts = pre.get("pretokenizers") if pre.get("type") == "Sequence" else None
    if not isinstance(parts, list) or [part.get("type") for part in parts] != ["Split", "ByteLevel"]:
        return False
    split, byte_level = parts
    return (
        (split.get("pattern") or {}).get("Regex") == LLAMA3_SPLIT
        and split.get("behavior") == "Isolated"
        and not split.get("invert")
        and not byte_level.get("add_prefix_space")
        and not byte_level.get("use_regex")
    )
