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
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

from lunar_tune.artefacts import SPLITS, Dataset, Row, Segment, Split, TokenRow, Tokens, Verdict
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

FORMAT = 3  # of a tokens directory
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


def row_tokens(row: Row, prompt: Prompt, tokenizer: Tokenizer, window: int) -> tuple[list[TokenRow], list[Verdict]]:
    """Return what of a row is trained and scored: `fit_rows`, with turns that cannot be written faithfully as context.

    What is left out is said; so is a row `nested` deeper than can be written.
    """
    try:
        unfaithful = prompt.unfaithful(row)
        pieces, left_out = fit_rows(_as_context(row, unfaithful), prompt, tokenizer, window)
    except RecursionError:
        return [], [Verdict(row["id"], "tokens", "nested", "arguments or a schema nested too deep")]
    return pieces, [*unfaithful, *left_out]


def whole(id_: str) -> str:
    """Return the id of the dataset row that a token row of this id is, or is a piece of."""
    return id_.partition("#")[0]


def fit_rows(row: Row, prompt: Prompt, tokenizer: Tokenizer, window: int) -> tuple[list[TokenRow], list[Verdict]]:
    """Return a row's tokens, each of at most `window`, and what was left out of it.

    A longer row becomes several at the boundaries of its exchanges, a request and what follows up to the next. Each has
    the system prompt, the tools, and the exchanges before its own as context: the last one where it fits, more up to
    half of the window. A turn is supervised in one of them, and an answer is never cut through; of an exchange that is
    too long alone the answers that fit are kept. A piece is named `<row>#<index of its first own message>`, the first
    one as the row.

    A row is left out whole (none) with the reason `window` when no supervised answer fits, `unsupervised` when it has
    none, `boundary` when its pieces would be encoded otherwise in one go, `letters` for letters newer than llama.cpp,
    and `special` for a special token that the template does not know.
    """
    segments = prompt.segments(row)
    encoded = [tokenizer.encode(segment.text) for segment in segments]
    ids = tuple(id_ for part in encoded for id_ in part)
    if not any(segment.supervised for segment in segments):
        return [], [Verdict(row["id"], "tokens", "unsupervised", "no turn of weight 1")]
    text = "".join(segment.text for segment in segments)
    if NEWEST.search(text):
        return [], [Verdict(row["id"], "tokens", "letters", "letters or digits that llama.cpp does not know")]
    if tokenizer.encode(text) != list(ids):
        return [], [Verdict(row["id"], "tokens", "boundary", "pieces are encoded otherwise in one go")]
    if not _structural(prompt, tokenizer).issuperset(getattr(tokenizer, "special_ids", frozenset()).intersection(ids)):
        return [], [Verdict(row["id"], "tokens", "special", "a special token that the template does not know")]
    if len(ids) <= window:
        mask = tuple(int(segment.supervised) for segment, part in zip(segments, encoded, strict=True) for _ in part)
        return [TokenRow(row["id"], ids, mask)], []
    rows, verdicts = _Windows(row, prompt, tokenizer, window).pieces()
    if not rows and all(verdict.reason == "window" for verdict in verdicts):
        return [], [Verdict(row["id"], "tokens", "window", f"{len(ids)} tokens, no answer within {window}")]
    return rows, verdicts


class _Windows:
    """A row that is longer than the window, in pieces."""

    def __init__(self, row: Row, prompt: Prompt, tokenizer: Tokenizer, window: int) -> None:
        self.row, self.prompt, self.tokenizer, self.window = row, prompt, tokenizer, window
        messages = row["messages"]
        self.head = next((i for i, message in enumerate(messages) if message["role"] != "system"), len(messages))
        self.starts = [
            i
            for i in range(self.head, len(messages))
            if i == self.head or (messages[i]["role"] == "user" and messages[i - 1]["role"] != "user")
        ]
        self.known: dict[str, list[int]] = {}

    def pieces(self) -> tuple[list[TokenRow], list[Verdict]]:
        """Return the pieces and the turns that are in none of them."""
        rows: list[TokenRow] = []
        verdicts: list[Verdict] = []
        at, number = 0, len(self.starts)
        while at < number:
            first, last = at, at + 1
            while first and self._length(first - 1, last) <= (self.window if first == at else self.window // 2):
                first -= 1
            while last < number and self._length(first, last + 1) <= self.window:
                last += 1
            piece, lost = self._piece(first, at, last)
            rows += [piece] if piece is not None and piece.supervised else []
            verdicts += lost
            at = last
        return rows, verdicts

    def _places(self, first: int, last: int) -> list[int]:
        """Return the indices of the messages of a piece: the head's, and those of the exchanges from first to last."""
        end = self.starts[last] if last < len(self.starts) else len(self.row["messages"])
        return [*range(self.head), *range(self.starts[first], end)]

    def _encoded(self, places: Sequence[int], own: int) -> list[tuple[Segment, list[int]]]:
        """Return segments with their ids; answers before message `own` are context."""
        messages = self.row["messages"]
        chosen = [{**messages[i], "weight": 0} if i < own and "weight" in messages[i] else messages[i] for i in places]
        segments = self.prompt.segments({**self.row, "messages": chosen})
        for segment in segments:
            if segment.text not in self.known:
                self.known[segment.text] = self.tokenizer.encode(segment.text)
        return [(segment, self.known[segment.text]) for segment in segments]

    def _length(self, first: int, last: int) -> int:
        return sum(len(part) for _, part in self._encoded(self._places(first, last), 0))

    def _piece(self, first: int, at: int, last: int) -> tuple[TokenRow | None, list[Verdict]]:
        """Return the piece of some exchanges, those before `at` as context, cut after the last answer that fits."""
        places, own = self._places(first, last), self.starts[at]
        pairs = self._encoded(places, own)
        ends = list(accumulate(len(part) for _, part in pairs))
        whole = ends[-1] <= self.window
        keep = len(pairs) if whole else 0
        for index, (segment, _) in enumerate(pairs):
            if not whole and segment.turn is not None and ends[index] <= self.window:
                keep = index + 1
        turns = {segment.turn for segment, _ in pairs[keep:] if segment.supervised and segment.turn is not None}
        lost = [
            Verdict(self.row["id"], "tokens", "window", f"{ends[-1]} tokens with its request", places[turn])
            for turn in sorted(turns)
        ]
        pairs = pairs[:keep]
        ids = tuple(id_ for _, part in pairs for id_ in part)
        if self.tokenizer.encode("".join(segment.text for segment, _ in pairs)) != list(ids):
            return None, [Verdict(self.row["id"], "tokens", "boundary", "a piece is encoded otherwise in one go", own)]
        mask = tuple(int(segment.supervised) for segment, part in pairs for _ in part)
        name = self.row["id"] if at == 0 else f"{self.row['id']}#{own}"
        return TokenRow(name, ids, mask), lost


def tokenize_dataset(
    dataset: Dataset,
    prompt: Prompt,
    tokenizer: Tokenizer,
    tokenizer_id: str,
    window: int,
    cache: Path,
    extra_train: Sequence[Row] = (),
    extra_valid: Sequence[Row] = (),
) -> Tokens:
    """Tokenize every split, once, into `cache/tokens/<id>`, and reuse it when it is there.

    A row longer than `window` becomes several (`fit_rows`). `extra_train` and `extra_valid` join these splits
    (rehearsal). A supervised turn that the prompt cannot write faithfully becomes context and is reported.
    Files, per split: `<split>.ids.npy` (int32), `<split>.mask.npy` (uint8) over all rows in a row,
    `<split>.offsets.npy` (int64, rows + 1), `<split>.rows.json` (row ids); `left_out.jsonl`, one verdict a line.
    `counts[split]`: rows, tokens, supervised (tokens), neutralised (special tokens in texts), left_out per reason.
    """
    inputs = {
        "format": FORMAT,
        "dataset": dataset.id,
        "prompt": prompt.version,
        "tokenizer": tokenizer_id,
        "window": window,
        "extra_train": content_id("rows", list(extra_train)) if extra_train else None,
        "extra_valid": content_id("rows", list(extra_valid)) if extra_valid else None,
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
            extra = {"train": extra_train, "valid": extra_valid}.get(name, ())
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


def tripwires(rows: Iterable[TokenRow], ends: Collection[int]) -> list[Verdict]:
    """Name the rows that would train on nothing or never teach the model to stop; none of ours should.

    `ends` are the ids of the end-of-turn tokens. Reasons: `unsupervised`, no token is supervised; `endless`, a
    supervised answer whose last token is none of them.
    """
    found: list[Verdict] = []
    for row in rows:
        if not row.supervised:
            found.append(Verdict(row.id, "tokens", "unsupervised"))
        elif any(m and not following and id_ not in ends for id_, m, following in _with_next(row)):
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
        pieces, left_out = row_tokens(row, prompt, tokenizer, window)
        split.left_out += left_out
        for piece in pieces:
            split.add(piece)
        if pieces:
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
    """Return the ids of the special tokens that the template itself writes, with tools, calls and results."""
    tool = {"type": "function", "function": {"name": "f", "description": "", "parameters": {}}}
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": {}}}
    said: list[WireMessage] = [
        {"role": "user", "content": ""},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": ""},
    ]
    return frozenset(tokenizer.encode(prompt.text(said, [tool], "2024-01-01") + prompt.stops[0]))


def _with_next(row: TokenRow) -> Iterable[tuple[int, int, int]]:
    return zip(row.ids, row.mask, (*row.mask[1:], 0), strict=True)
