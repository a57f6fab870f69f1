"""What a consumer is: the splits it has a place for, what a row becomes, the files beside them, and what it lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lunar_tune.artefacts import Dataset, Row, Split
from lunar_tune.dataset.export.recipe import Recipe
from lunar_tune.prompts.base import TemplatePrompt

Unsaid = Counter[str]  # what could not be expressed, in words, and how often


@dataclass(frozen=True)
class Source:
    """What is exported: a dataset, the prompt and the recipe of the workspace; `unsaid` collects what has no place."""

    dataset: Dataset
    prompt: TemplatePrompt
    recipe: Recipe
    unsaid: Unsaid = field(default_factory=Counter)


@dataclass(frozen=True)
class Consumer:
    """A trainer or service that reads an export.

    `rows` makes the consumer's rows of one row; `learnt` counts the answers to learn in one of them. `files` names
    the file of each split that has a place. `beside` gives the other files; it is told the number of rows by split.
    """

    name: str
    title: str
    files: Mapping[Split, str]
    rows: Callable[[Row, Source], Iterator[dict[str, Any]]]
    learnt: Callable[[Mapping[str, Any]], int]
    beside: Callable[[Source, Mapping[str, int]], Mapping[str, str]]
    weights: str
    """How the weights are carried over."""
    use: Callable[[Source], str]
    """How to load it, in Markdown."""
    notes: tuple[str, ...] = ()
    """What is never carried over."""
    header: str = ""
    """YAML that stands before the README, for those who read it."""
