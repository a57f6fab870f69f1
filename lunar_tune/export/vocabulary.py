"""A checkpoint's tokenizer in GGUF's terms, and whether llama.cpp would cut text exactly as it does.

Four kinds: byte-level BPE behind the split regex of Llama 3 (`llama-bpe`), Qwen (`qwen2`) or Mistral (`tekken`), and
SentencePiece (`spm.py`). A tokenizer.json that does anything else is refused rather than approximated. Two differences
are llama.cpp's own: it does not take an apostrophe before U+017F (long s) for the contraction 's, as the regex's case
folding does, and it does not compose characters (NFC), as Qwen's tokenizer does; `bases` leaves that out too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lunar_tune.errors import ArtefactBroken
from lunar_tune.export import spm
from lunar_tune.files import read_json

LLAMA3, QWEN2, TEKKEN = "llama-bpe", "qwen2", "tekken"  # llama.cpp's names of the pre-tokenizers
LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_SPLIT = LLAMA3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")
TEKKEN_SPLIT = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPLITS = {LLAMA3_SPLIT: LLAMA3, QWEN2_SPLIT: QWEN2, TEKKEN_SPLIT: TEKKEN}
WHOLE_WORDS = (LLAMA3, TEKKEN)  # here llama.cpp looks a whole word up before it merges
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5  # gguf.TokenType


@dataclass(frozen=True, slots=True)
class Special:
    """The special tokens that the families of a pre-tokenizer need: begin, end of turn, and others where there are."""

    bos: str | None
    eot: str
    eom: str = ""
    pad: str = ""
    unknown: str = ""


SPECIAL = {
    LLAMA3: Special("<|begin_of_text|>", "<|eot_id|>", "<|eom_id|>", "<|finetune_right_pad_id|>"),
    QWEN2: Special(None, "<|im_end|>", pad="<|endoftext|>"),
    TEKKEN: Special("<s>", "</s>", pad="<pad>", unknown="<unk>"),
    spm.PRE: Special("<s>", "</s>", unknown="<unk>"),
}


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tokens by id, their GGUF types, merges as "left right", and the ids of the named special tokens.

    The end of a turn is the end-of-sequence token, as instruct models end every answer with it; what a tokenizer does
    not have is None. SentencePiece has `scores` instead of merges, and says whether a space comes first.
    """

    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[str, ...]
    bos: int | None
    eot: int
    eom: int | None
    pad: int | None
    pre: str = LLAMA3
    unknown: int | None = None
    scores: tuple[float, ...] = ()
    space_first: bool | None = None


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
    pre, problems = _kind(content)
    model = content.get("model") or {}
    added = {token["id"]: token for token in content.get("added_tokens") or []}
    texts = {index: text for text, index in (model.get("vocab") or {}).items()}
    texts |= {index: token["content"] for index, token in added.items()}
    ids = {text: index for index, text in texts.items()}
    if texts and max(texts) >= size:
        problems.append(f"the tokenizer's highest id is {max(texts)}, but the model has {size} rows (vocab_size)")
    special = SPECIAL[pre]
    problems += [f"the tokenizer has no {name}" for name in (special.bos, special.eot) if name and name not in ids]
    if not model.get("merges"):
        problems.append("tokenizer.json has no merges")
    if problems:
        return None, problems
    pieces = pre == spm.PRE
    types = tuple(_type(index, texts, added) for index in range(size))
    return Vocabulary(
        tokens=tuple(texts.get(index, f"[PAD{index}]") for index in range(size)),
        types=spm.types(types, texts, special.unknown) if pieces else types,
        merges=() if pieces else tuple(map(_merge, model["merges"])),
        bos=ids[special.bos] if special.bos else None,
        eot=ids[special.eot],
        eom=ids.get(special.eom),
        pad=ids.get(special.pad),
        pre=pre,
        unknown=ids.get(special.unknown),
        scores=spm.scores(content, texts, size) if pieces else (),
        space_first=spm.space_first(content) if pieces else None,
    ), []


def _type(index: int, texts: Mapping[int, str], added: Mapping[int, Mapping[str, Any]]) -> int:
    if index not in texts:
        return UNUSED
    if index not in added:
        return NORMAL
    return CONTROL if added[index].get("special") else USER_DEFINED


def _merge(merge: str | list[str]) -> str:
    """Return a merge as "left right"; the list form is transformers 4.45's. A space inside a part is written as Ġ."""
    return merge if isinstance(merge, str) else " ".join(part.replace(" ", chr(ord(" ") + 256)) for part in merge)


def _kind(content: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return llama.cpp's name of the pre-tokenizer, and what of the tokenizer llama.cpp would do otherwise."""
    model = content.get("model") or {}
    if model.get("type") != "BPE":
        return LLAMA3, [f"the tokenizer is {model.get('type')!r}, not byte-level BPE or SentencePiece's BPE"]
    stripping = [
        token["content"]
        for token in content.get("added_tokens") or []
        if token.get("lstrip") or token.get("rstrip") or token.get("single_word")
    ]
    problems = []
    if stripping:
        problems.append(f"added tokens that swallow white space or match whole words only: {', '.join(stripping[:5])}")
    if model.get("byte_fallback") and not _split(content):
        return spm.PRE, [*spm.problems(content), *problems]
    pre = SPLITS.get(_split(content), "")
    if not pre:
        known = "Llama 3's, Qwen's or Mistral's"
        problems.append(f"the tokenizer does not cut text with {known} split regex (pre_tokenizer of tokenizer.json)")
    normalizer = content.get("normalizer")
    if normalizer and not (pre == QWEN2 and normalizer.get("type") == "NFC"):
        problems.append("the tokenizer normalizes text, which llama.cpp does not")
    if pre in ("", *WHOLE_WORDS) and not model.get("ignore_merges") and not _merges_reach_every_token(content):
        problems.append("some entries of the vocabulary cannot be reached by merges and ignore_merges is off")
    if pre == QWEN2 and model.get("ignore_merges") and not _merges_reach_every_token(content):
        problems.append("ignore_merges is on, and some entries of the vocabulary cannot be reached by merges")
    odd = ("byte_fallback", "continuing_subword_prefix", "end_of_word_suffix", "dropout", "fuse_unk")
    problems += [f"the tokenizer's BPE uses {key}" for key in odd if model.get(key)]
    return pre or LLAMA3, problems


def _merges_reach_every_token(content: Mapping[str, Any]) -> bool:
    """Tell whether looking a whole word up first gives what merging gives, for every entry."""
    from tokenizers import Tokenizer

    merging = {**content, "model": {**content["model"], "ignore_merges": False}}
    model = Tokenizer.from_str(json.dumps(merging)).model
    added = {token["content"] for token in content.get("added_tokens") or []}
    return all(len(model.tokenize(text)) == 1 for text in content["model"]["vocab"] if text not in added)


def _split(content: Mapping[str, Any]) -> str:
    """Return the regex that a byte-level tokenizer cuts text with, "" for any other kind."""
    pre = content.get("pre_tokenizer") or {}
    parts = pre.get("pretokenizers") if pre.get("type") == "Sequence" else None
    if not isinstance(parts, list) or [part.get("type") for part in parts] != ["Split", "ByteLevel"]:
        return ""
    split, byte_level = parts
    plain = (
        split.get("behavior") == "Isolated"
        and not split.get("invert")
        and not byte_level.get("add_prefix_space")
        and not byte_level.get("use_regex")
    )
    return str((split.get("pattern") or {}).get("Regex", "")) if plain else ""
