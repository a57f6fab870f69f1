"""Rows to ids and supervised mask, once: training, the token budget, losses and parity read the same tokens.

The pieces of a row's text are encoded separately, so the ids before an answer are what the server makes of the prompt.
A piece that would be encoded otherwise in one go is found (`boundary`), and its row is left out and reported, as is
everything else that does not become a token.
"""

from __future__ import annotations

import os
import re
import shutil
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from lunar_tune.artefacts import SPLITS, Dataset, Row, Split, TokenRow, Tokens, Verdict
from lunar_tune.chatml import WireMessage, WireTool
from lunar_tune.files import (
    finish_artefact,
    is_artefact,
    make_private_dir,
    read_json,
    read_jsonl,
    read_manifest,
    write_json,
    write_jsonl,
)
from lunar_tune.identity import content_id
from lunar_tune.seams import Prompt, Tokenizer

FORMAT = 1  # of a tokens directory
NEWEST = re.compile(
    "[\u1c89-\u1c8a\ua7cb-\ua7cd\ua7da-\ua7dc\U000105c0-\U000105f3\U00010d40-\U00010d65\U00010d6f-\U00010d85"
    "\U00010ec2-\U00010ec4\U00011380-\U00011389\U0001138b\U0001138e\U00011390-\U000113b5\U000113b7\U000113d1"
    "\U000113d3\U000116d0-\U000116e3\U00011bc0-\U00011be0\U00011bf0-\U00011bf9\U00013460-\U000143fa"
    "\U00016100-\U0001611d\U00016130-\U00016139\U00016d40-\U00016d6c\U00016d70-\U00016d79\U00018cff"
    "\U0001ccf0-\U0001ccf9\U0001e5d0-\U0001e5ed\U0001e5f0-\U0001e5fa]"
)
"""Letters and digits of Unicode 16: tokenizers 0.23 knows them as such, llama.cpp b11549 does not and splits otherwise.

Found by encoding every assigned character with both; no other one differs.
"""


def prompt_ids(
    messages: Sequence[WireMessage], tools: Sequence[WireTool], date: str, prompt: Prompt, tokenizer: Tokenizer
) -> list[int]:
    """Return the ids of the served prompt, up to the place where the answer begins; `date` is YYYY-MM-DD."""
    return tokenizer.encode(prompt.text(messages, tools, date))


def tokenize_row(row: Row, prompt: Prompt, tokenizer: Tokenizer) -> TokenRow:
    """Return a row's tokens, however long; the mask is 1 on supervised answers, their end of turn included."""
    ids: list[int] = []
    mask: list[int] = []
    for segment in prompt.segments(row):
        encoded = tokenizer.encode(segment.text)
        ids += encoded
        mask += [int(segment.supervised)] * len(encoded)
    return TokenRow(row["id"], tuple(ids), tuple(mask))


def fit_row(row: Row, prompt: Prompt, tokenizer: Tokenizer, window: int) -> tuple[TokenRow | None, list[Verdict]]:
    """Return a row's tokens within `window`, and what was left out of it.

    A longer row is cut after the last answer that fits: an answer is never cut through. A row is left out whole (None)
    with the reason `window` when no supervised answer fits, `unsupervised` when it has none, `boundary` when its pieces
    would be encoded otherwise in one go, `letters` for letters newer than llama.cpp, and `special` for a special
    token that the template does not know.
    """
    segments = prompt.segments(row)
    encoded = [tokenizer.encode(segment.text) for segment in segments]
    ids = tuple(id_ for part in encoded for id_ in part)
    if not any(segment.supervised for segment in segments):
        return None, [Verdict(row["id"], "tokens", "unsupervised", "no turn of weight 1")]
    text = "".join(segment.text for segment in segments)
    if NEWEST.search(text):
        return None, [Verdict(row["id"], "tokens", "letters", "letters or digits that llama.cpp does not know")]
    if tokenizer.encode(text) != list(ids):
        return None, [Verdict(row["id"], "tokens", "boundary", "pieces are encoded otherwise in one go")]
    if not _structural(prompt, tokenizer).issuperset(getattr(tokenizer, "special_ids", frozenset()).intersection(ids)):
        return None, [Verdict(row["id"], "tokens", "special", "a special token that the template does not know")]
    keep, length, kept_length = 0, 0, 0
    for index, segment in enumerate(segments):
        length += len(encoded[index])
        if length > window:
            break
        if segment.turn is not None or index == len(segments) - 1:
            keep, kept_length = index + 1, length
    verdicts: list[Verdict] = []
    if keep < len(segments):
        first = next((s.turn for s in segments[keep:] if s.turn is not None), None)
        if not any(segment.supervised for segment in segments[:keep]):
            return None, [Verdict(row["id"], "tokens", "window", f"{len(ids)} tokens, no answer within {window}")]
        verdicts.append(Verdict(row["id"], "tokens", "window", f"{len(ids) - kept_length} of {len(ids)} tokens", first))
    pairs = zip(segments[:keep], encoded[:keep], strict=True)
    mask = tuple(int(segment.supervised) for segment, part in pairs for _ in part)
    return TokenRow(row["id"], ids[:kept_length], mask), verdicts


def tokenize_dataset(
    dataset: Dataset,
    prompt: Prompt,
    tokenizer: Tokenizer,
    tokenizer_id: str,
    window: int,
    cache: Path,
    extra_train: Sequence[Row] = (),
) -> Tokens:
    """Tokenize every split, once, into `cache/tokens/<id>`, and reuse it when it is there.

    `extra_train` joins the train split (rehearsal). A supervised turn that the prompt cannot write faithfully becomes
    context and is reported. Files, per split: `<split>.ids.npy` (int32), `<split>.mask.npy` (uint8) over all rows in a
    row, `<split>.offsets.npy` (int64, rows + 1), `<split>.rows.json` (row ids); `left_out.jsonl`, one verdict a line.
    `counts[split]`: rows, tokens, supervised (tokens), neutralised (special tokens in texts), left_out per reason.
    """
    inputs = {
        "format": FORMAT,
        "dataset": dataset.id,
        "prompt": prompt.version,
        "tokenizer": tokenizer_id,
        "window": window,
        "extra_train": content_id("rows", list(extra_train)) if extra_train else None,
    }
    tokens_id = content_id("tokens", inputs)
    final = cache / "tokens" / tokens_id
    if not is_artefact(final):
        work = final.with_name(f".{tokens_id}.{os.getpid()}")
        shutil.rmtree(work, ignore_errors=True)
        make_private_dir(work)
        counts: dict[str, Any] = {}
        verdicts: list[dict[str, Any]] = []
        for name in SPLITS:
            extra = extra_train if name == "train" else ()
            split = _tokenize_split(chain(read_jsonl(dataset.split(name)), extra), prompt, tokenizer, window)
            split.write(work, name)
            counts[name] = split.counts()
            verdicts += [{"split": name, **asdict(verdict)} for verdict in split.left_out]
        write_jsonl(work / "left_out.jsonl", verdicts)
        finish_artefact(work, final, {"kind": "tokens", "id": tokens_id, "inputs": inputs, "splits": counts})
    return Tokens(tokens_id, final, read_manifest(final)["splits"])


def read_tokens(tokens: Tokens, split: Split) -> list[TokenRow]:
    """Return the rows of a split, in the order of the dataset."""
    import numpy

    ids, mask, offsets = (
        numpy.load(tokens.path / f"{split}.{part}.npy", mmap_mode="r") for part in ("ids", "mask", "offsets")
    )
    names = read_json(tokens.path / f"{split}.rows.json")
    bounds = zip(names, offsets[:-1], offsets[1:], strict=True)
    return [TokenRow(name, tuple(ids[a:b].tolist()), tuple(mask[a:b].tolist())) for name, a, b in bounds]


def left_out(tokens: Tokens) -> list[Verdict]:
    """Return what did not become tokens, and why."""
    found = []
    for line in read_jsonl(tokens.path / "left_out.jsonl"):
        line.pop("split")
        found.append(Verdict(**line))
    return found


def tripwires(rows: Iterable[TokenRow], end: int) -> list[Verdict]:
    """Name the rows that would train on nothing or never teach the model to stop; none of ours should.

    `end` is the id of the end-of-turn token. Reasons: `unsupervised`, no token is supervised; `endless`, a supervised
    answer whose last token is not the end of the turn.
    """
    found: list[Verdict] = []
    for row in rows:
        if not row.supervised:
            found.append(Verdict(row.id, "tokens", "unsupervised"))
        elif any(m and not following and id_ != end for id_, m, following in _with_next(row)):
            found.append(Verdict(row.id, "tokens", "endless"))
    return found


def end_id(prompt: Prompt, tokenizer: Tokenizer) -> int:
    """Return the id of the token that ends an answer: the first of the prompt's stops."""
    (id_,) = tokenizer.encode(prompt.stops[0])
    return id_


def first_difference(ours: Sequence[int], served: Sequence[int]) -> int | None:
    """Return the first position at which two prompts differ, None when they are the same."""
    if list(ours) == list(served):
        return None
    pairs = zip(ours, served, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(ours), len(served)))


@dataclass(slots=True)
class _Split:
    """The tokens of one split on their way to disk: four bytes a token, one a mask."""

    names: list[str] = field(default_factory=list)
    ids: array[int] = field(default_factory=lambda: array("i"))
    mask: bytearray = field(default_factory=bytearray)
    offsets: list[int] = field(default_factory=lambda: [0])
    left_out: list[Verdict] = field(default_factory=list)
    neutralised: int = 0

    def add(self, row: TokenRow) -> None:
        self.names.append(row.id)
        self.ids.extend(row.ids)
        self.mask.extend(row.mask)
        self.offsets.append(len(self.ids))

    def counts(self) -> dict[str, Any]:
        return {
            "rows": len(self.names),
            "tokens": len(self.ids),
            "supervised": sum(self.mask),
            "neutralised": self.neutralised,
            "left_out": dict(sorted(Counter(verdict.reason for verdict in self.left_out).items())),
        }

    def write(self, folder: Path, name: str) -> None:
        import numpy

        numpy.save(folder / f"{name}.ids.npy", numpy.frombuffer(self.ids, dtype=numpy.int32))
        numpy.save(folder / f"{name}.mask.npy", numpy.frombuffer(self.mask, dtype=numpy.uint8))
        numpy.save(folder / f"{name}.offsets.npy", numpy.array(self.offsets, dtype=numpy.int64))
        write_json(folder / f"{name}.rows.json", self.names)


def _tokenize_split(rows: Iterable[Row], prompt: Prompt, tokenizer: Tokenizer, window: int) -> _Split:
    split = _Split()
    for row in rows:
        try:
            verdicts = prompt.unfaithful(row)
            tokens, more = fit_row(_as_context(row, verdicts), prompt, tokenizer, window)
        except RecursionError:
            split.left_out.append(Verdict(row["id"], "tokens", "nested", "arguments or a schema nested too deep"))
            continue
        split.left_out += [*verdicts, *more]
        if tokens is not None:
            split.add(tokens)
            split.neutralised += prompt.neutralised(row["messages"], row.get("tools") or ())
    return split


def _as_context(row: Row, verdicts: Sequence[Verdict]) -> Row:
    """Return the row with the named turns as context only."""
    named = {verdict.message for verdict in verdicts}
    if not named:
        return row
    messages = [{**m, "weight": 0} if index in named else m for index, m in enumerate(row["messages"])]
    return {**row, "messages": messages}


def _structural(prompt: Prompt, tokenizer: Tokenizer) -> frozenset[int]:
    """Return the ids of the special tokens that the template itself writes."""
    return frozenset(
        tokenizer.encode(prompt.text([{"role": "user", "content": ""}], (), "2024-01-01") + prompt.stops[0])
    )


def _with_next(row: TokenRow) -> Iterable[tuple[int, int, int]]:
    return zip(row.ids, row.mask, (*row.mask[1:], 0), strict=True)
