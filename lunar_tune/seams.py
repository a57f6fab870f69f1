"""The protocols between rooms: Talk, Source, FileSource, Step, Prompt, Tokenizer, Backend, Runtime,
Scorer, Registry.

An interface shares no code.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from lunar_tune.artefacts import Adapter, Completion, Draft, Model, Reply, Row, Segment, TokenRow, TrainEvent, Verdict
from lunar_tune.chatml import WireMessage, WireTool
from lunar_tune.episodes import Episode
from lunar_tune.settings import TrainSettings

Report = Callable[[Verdict], None]  # a step or reader says what it left out, and why
OnEvent = Callable[[TrainEvent], None]


class Talk(Protocol):
    """How a stage tells a person what it does."""

    def say(self, text: str) -> None:
        """Say one line."""

    def progress(self, stage: str, done: float, total: float, note: str = "") -> None:
        """Say how far a stage is; `done == total` ends it."""

    def training(self, event: TrainEvent) -> None:
        """Show what happened in training; the event `end` ends it."""


class Source(Protocol):
    """A reader of one agent's log format, a SQLite database.

    A reader of a plugin may have a `version`: what it read before another one is read again.
    """

    name: str
    lacks: str
    """What the format does not store, in words for `lunar-tune sources`."""

    def recognises(self, db: sqlite3.Connection) -> bool:
        """Tell from the tables alone whether this is the format."""

    def threads(self, db: sqlite3.Connection) -> Iterable[tuple[str, str]]:
        """Yield (thread, stamp) of what can be read by itself: a conversation, or a family of forks by its root.

        The stamp changes whenever the thread grows or changes, and costs an index, not the content. A log that can only
        be read whole is the one thread "".
        """

    def read(
        self, db: sqlite3.Connection, path: Path, report: Report, only: Collection[str] | None = None
    ) -> Iterator[Episode]:
        """Yield episodes in the order of their start; what cannot be read is reported, never dropped in silence.

        `only` names the threads to read, as `threads` does; their episodes are the same as in a read of everything. An
        episode belongs to the thread of its name, of its name up to a `#`, or of its group.
        """


class FileSource(Protocol):
    """A reader of a log that is a file or a folder of files; as `Source` otherwise."""

    name: str
    lacks: str

    def recognises_path(self, path: Path) -> bool:
        """Tell from the first lines whether this is the format."""

    def threads_path(self, path: Path) -> Iterable[tuple[str, str]]:
        """Yield (thread, stamp), as `Source.threads`."""

    def read_path(self, path: Path, report: Report, only: Collection[str] | None = None) -> Iterator[Episode]:
        """Yield episodes, as `Source.read`."""


class Step(Protocol):
    """One step of curation: a stream in, a stream out, and a report of what it left out."""

    name: str

    def __call__(self, drafts: Iterable[Draft], report: Report) -> Iterator[Draft]:
        """Yield the drafts that go on, changed or not."""


class Tokenizer(Protocol):
    """Text to ids as the model's server does it; special tokens in the text become their ids, none are added."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, special tokens included."""


class Prompt(Protocol):
    """One family's template in one style: training, serving and reading answers are three views of it."""

    @property
    def family(self) -> str:
        """Return the family's name."""

    @property
    def style(self) -> str:
        """Return how tools and calls are written."""

    @property
    def version(self) -> str:
        """Return the content id of everything that shapes the text; part of every token id."""

    @property
    def serving_template(self) -> str:
        """Return the Jinja for the GGUF's tokenizer.chat_template."""

    @property
    def go_template(self) -> str:
        """Return the same for Ollama's Modelfile."""

    @property
    def stops(self) -> tuple[str, ...]:
        """Return the texts that end an answer."""

    def shaped(
        self, messages: Sequence[WireMessage], tools: Sequence[WireTool]
    ) -> tuple[list[WireMessage], list[WireTool]]:
        """Return messages and tools in the shape that the style's template takes, as the door passes them on."""

    def segments(self, row: Row) -> list[Segment]:
        """Return a dataset row's text in pieces; concatenated they are the training text."""

    def text(self, messages: Sequence[WireMessage], tools: Sequence[WireTool], date: str) -> str:
        """Return the served text up to the place where the assistant's answer begins; `date` is YYYY-MM-DD."""

    def parse(self, text: str, tools: Sequence[WireTool]) -> Reply:
        """Read what a model wrote; never raises: what is no call of an offered tool is content, with `problem` set."""

    def unfaithful(self, row: Row) -> list[Verdict]:
        """Name the supervised turns of a row that would not read back as what was said; they must not be learnt."""

    def neutralised(self, messages: Sequence[WireMessage], tools: Sequence[WireTool]) -> int:
        """Count the special tokens written inside texts, arguments, results and tools; they are rendered as text."""


class Backend(Protocol):
    """A trainer. It reads tokens and writes an adapter in PEFT's layout into `work`."""

    name: str

    def train(
        self,
        base: Path,
        train: Sequence[TokenRow],
        valid: Sequence[TokenRow],
        settings: TrainSettings,
        work: Path,
        on_event: OnEvent,
    ) -> Adapter:
        """Train from `base`, resuming from the newest checkpoint in `work/checkpoints` if there is one."""


class Runtime(Protocol):
    """Something that answers prompts given as token ids, greedily."""

    def complete(self, prompts: Sequence[Sequence[int]], *, max_tokens: int, stops: Sequence[str]) -> list[Completion]:
        """Return one completion a prompt, in order."""


class Scorer(Protocol):
    """Something that gives the log-probability of each supervised token under a model."""

    def score(self, rows: Sequence[TokenRow]) -> list[list[float]]:
        """Return, for each row, the natural-log probability of each supervised token given all before it."""


class Registry(Protocol):
    """Where versions live and where the agent finds the current one."""

    name: str

    def deploy(self, model: Model) -> None:
        """Make a version available without making it current; a no-op when it is there already."""

    def promote(self, version: str) -> None:
        """Make a version the one that the agent's next request meets."""

    def current(self) -> str | None:
        """Return the current version, None before the first."""

    def previous(self) -> list[str]:
        """Return the versions that were current before and are still held, newest first."""

    def versions(self) -> list[dict[str, Any]]:
        """Return what the registry holds, as in `versions --json`, newest first."""
