"""A dataset looked at: its rows, their lengths in the tokens of a base that is here, and what training reads."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, groupby
from pathlib import Path
from typing import Any

from lunar_tune.artefacts import REHEARSED, SPLITS, Dataset, Row, Split, TokenRow
from lunar_tune.errors import LunarError
from lunar_tune.files import read_jsonl
from lunar_tune.seams import Prompt, Talk, Tokenizer
from lunar_tune.settings import Settings
from lunar_tune.workflow.ground import ground
from lunar_tune.workflow.learn import dataset_tokens
from lunar_tune.workflow.space import Workspace

MOST_COUNTED = 500  # rows, some seconds; more are looked at in a sample spread over the dataset


def counted_tokens(settings: Settings, dataset: Dataset, talk: Talk) -> dict[str, Any] | None:
    """Return the lengths of a dataset's rows as `content.facts()["tokens"]`, None without a tokenizer at hand.

    Nothing is fetched: the base is a folder, or a repository whose tokenizer was downloaded before.
    """
    from lunar_tune.dataset.content import Histogram
    from lunar_tune.tokens import tokenize_row

    found = _prompt_and_tokenizer(settings)
    total = sum(dataset.counts.values())
    if found is None or not total:
        return None
    prompt, tokenizer = found
    number = min(total, MOST_COUNTED)
    wanted = {index * total // number for index in range(number)}
    rows, answers = Histogram(), Histogram()
    every = chain.from_iterable(read_jsonl(dataset.split(split)) for split in SPLITS)
    for done, row in enumerate(row for index, row in enumerate(every) if index in wanted):
        talk.progress("counting tokens", done, number)
        tokens = tokenize_row(row, prompt, tokenizer)
        rows.add(len(tokens.ids))
        answers.add(tokens.supervised)
    talk.progress("counting tokens", number, number)
    sample = {} if number == total else {"sample": number}
    how = Path(settings.train.base).name if Path(settings.train.base).is_dir() else settings.train.base
    return {"how": how, **sample, "rows": rows.facts(), "answers": answers.facts()}


def _prompt_and_tokenizer(settings: Settings) -> tuple[Prompt, Tokenizer] | None:
    from lunar_tune.bases import load_tokenizer, model_type, tokenizer_here
    from lunar_tune.prompts import prompt_of

    folder = tokenizer_here(settings.train.base)
    if folder is None:
        return None
    try:
        return prompt_of(settings.prompt, folder, model_type(folder)), load_tokenizer(folder)
    except LunarError:
        return None  # a base that cannot be trained on either, which `train` says


def some_rows(dataset: Dataset, split: Split, number: int) -> Iterator[Row]:
    """Yield some rows of a split, spread over it."""
    total = dataset.counts[split]
    number = min(number, total)
    wanted = {index * total // number for index in range(number)}
    return (row for index, row in enumerate(read_jsonl(dataset.split(split))) if index in wanted)


def trained_rows(space: Workspace, dataset: Dataset, number: int) -> dict[str, Any]:
    """Return some rows of the very tokens that `train` reads, and the counts of all of them; nothing is trained.

    The rows are spread over the training split; from two on, one is a rehearsed one where the recipe rehearses.
    `pieces` are a row's text cut where supervision or a special token begins or ends: (text, supervised, special).

    Raises:
        BaseMissing, BaseNotExportable.
    """
    from lunar_tune.tokens import read_tokens

    on = ground(space)
    tokens = dataset_tokens(space, dataset, on)
    rows = read_tokens(tokens, "train")
    own = [row for row in rows if not row.id.startswith(REHEARSED)]
    rehearsed = [row for row in rows if row.id.startswith(REHEARSED)]
    mixed_in = 1 if rehearsed and number > 1 else 0
    shown = [*_spread(own, number - mixed_in), *_spread(rehearsed, mixed_in)]
    counts = tokens.counts["train"]
    return {
        "rows": len(rows),
        "rehearsed": len(rehearsed),
        "tokens": counts["tokens"],
        "supervised": counts["supervised"],
        "left_out": dict(counts["left_out"]),
        "shown": [_shown(row, on.tokenizer) for row in shown],
    }


def _spread(rows: list[TokenRow], number: int) -> list[TokenRow]:
    return rows if number >= len(rows) else [rows[index * len(rows) // number] for index in range(number)]


def _shown(row: TokenRow, tokenizer: Tokenizer) -> dict[str, Any]:
    special: frozenset[int] = getattr(tokenizer, "special_ids", frozenset())
    marked = [(id_, (bool(on), id_ in special)) for id_, on in zip(row.ids, row.mask, strict=True)]
    pieces = [
        (tokenizer.decode([id_ for id_, _ in run]), *marks) for marks, run in groupby(marked, key=lambda pair: pair[1])
    ]
    answers = sum(on and not before for before, on in zip((0, *row.mask), row.mask, strict=False))
    return {"id": row.id, "tokens": len(row.ids), "supervised": row.supervised, "answers": answers, "pieces": pieces}
