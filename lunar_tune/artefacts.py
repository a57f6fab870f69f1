"""What the stages hand to each other: Draft, Verdict, Dataset, Tokens, Adapter, Run, Model, Evaluation, TrainEvent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lunar_tune.episodes import Episode, ToolCall

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
Outcome = Literal["promote", "refuse", "not-enough-evidence"]
Row = dict[str, Any]  # one line of train.jsonl; its keys are the contract of a dataset row
REHEARSED = "rehearsal-"  # what the ids of rows begin with that are the base's own answers, mixed in


@dataclass(frozen=True, slots=True)
class Draft:
    """An episode on its way through curation. `weights[i]` is 1 where assistant message i is to be learnt, else 0.

    `id` is the name in verdicts and rows: that of the episode as it came in, whatever the steps change. `kept` are the
    turns that their owner wants learnt, `places[i]` is where message i stood as the episode came in; empty, nothing was
    taken out of it yet.
    """

    episode: Episode
    weights: tuple[int, ...]
    id: str = ""
    kept: frozenset[int] = frozenset()
    places: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why something was left out: a whole episode (`message` is None) or one of its messages (by index).

    `detail` never holds the text of a log.
    """

    id: str
    step: str
    reason: str
    detail: str = ""
    message: int | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """A finished dataset directory. `counts` is rows per split."""

    id: str
    path: Path
    counts: Mapping[str, int]
    manifest: Mapping[str, Any] = field(repr=False)

    def split(self, name: Split) -> Path:
        """Return the JSONL file of a split."""
        return self.path / f"{name}.jsonl"


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a row's text; `turn` is the index (in the row's messages) of the assistant turn it is the answer of.

    `supervised` when that turn has weight 1. A piece that no answer is (header, user, tool) has `turn` None.
    """

    text: str
    turn: int | None = None
    supervised: bool = False


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One tokenized row: ids and, of the same length, 1 where the token is supervised (a target), else 0."""

    id: str
    ids: tuple[int, ...]
    mask: tuple[int, ...]

    @property
    def supervised(self) -> int:
        """Number of supervised tokens."""
        return sum(self.mask)


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a dataset, for one prompt and one tokenizer, on disk; `counts` as in the manifest."""

    id: str
    path: Path
    counts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter in PEFT's layout: scale = alpha / rank."""

    path: Path
    rank: int
    alpha: float

    @property
    def scale(self) -> float:
        """The factor on B·A."""
        return self.alpha / self.rank


@dataclass(frozen=True, slots=True)
class Run:
    """A finished training run."""

    id: str
    path: Path
    adapter: Adapter
    manifest: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Model:
    """A finished model version: one GGUF and its Modelfile in a directory of their own."""

    version: str
    path: Path
    gguf: Path
    quant: str
    sha256: str
    created_at: str
    manifest: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainEvent:
    """One line of metrics.jsonl. Losses are mean nats per supervised token; `memory` is bytes of peak use.

    `kl_new` and `kl_old` are KL(base || tuned), mean nats per supervised token, over a few validation rows and over a
    few rehearsed ones that are not trained on: how far the model moved, on what it learns and elsewhere.

    `at` is seconds since 1970, `best_step` the step whose adapter is delivered; `note` says what the figures do not.
    """

    kind: Literal["start", "step", "valid", "checkpoint", "end"]
    step: int
    steps: int
    epoch: float = 0.0
    at: float | None = None
    loss: float | None = None
    valid_loss: float | None = None
    kl_new: float | None = None
    kl_old: float | None = None
    learning_rate: float | None = None
    tokens_per_second: float | None = None
    memory: int | None = None
    seconds_left: float | None = None
    best_step: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote: the text without its end-of-turn token; `finish` is "length" when it was cut off."""

    text: str
    finish: Literal["stop", "length"] = "stop"


@dataclass(frozen=True, slots=True)
class Reply:
    """A completion read as an assistant turn.

    `problem` says what looked like a call and could not be read as one; then `content` is the whole text and `before`
    what stands in it before the first call.
    """

    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    problem: str | None = None
    before: str = ""


@dataclass(frozen=True, slots=True)
class Paired:
    """A paired difference: mean, two-sided interval, p value and number of pairs."""

    delta: float
    low: float
    high: float
    p: float
    n: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A finished evaluation: figures per arm, paired differences, the gate's verdict and its reasons in words."""

    id: str
    path: Path
    arms: Mapping[str, Mapping[str, float]]
    paired: Mapping[str, Mapping[str, Paired]]
    verdict: Outcome
    reasons: Sequence[str]
