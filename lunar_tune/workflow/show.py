"""A dataset looked at: its rows, and their lengths counted with the base's tokenizer where that is on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from lunar_tune.artefacts import SPLITS, Dataset, Row, Split
from lunar_tune.errors import LunarError
from lunar_tune.files import read_jsonl
from lunar_tune.seams import Prompt, Talk, Tokenizer
from lunar_tune.settings import Settings

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
    from lunar_tune.prompts import load_prompt

    folder = tokenizer_here(settings.train.base)
    if folder is None:
        return None
    try:
        return load_prompt(settings.prompt, model_type(folder)), load_tokenizer(folder)
    except LunarError:
        return None  # a base that cannot be trained on either, which `train` says


def some_rows(dataset: Dataset, split: Split, number: int) -> Iterator[Row]:
    """Yield some rows of a split, spread over it."""
    total = dataset.counts[split]
    number = min(number, total)
    wanted = {index * total // number for index in range(number)}
    return (row for index, row in enumerate(read_jsonl(dataset.split(split))) if index in wanted)
