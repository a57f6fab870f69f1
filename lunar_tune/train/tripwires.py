"""What must never be trained in silence: looked at before the first step, and at every loss."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lunar_tune.artefacts import TokenRow
from lunar_tune.errors import BaseMissing, TrainingError
from lunar_tune.tokens import tripwires

NAMED = 5  # rows that a message names
_REBUILD = "The tokens do not fit what is trained; delete HOME/cache and run `lunar-tune train` again."


@dataclass(frozen=True, slots=True)
class BaseFacts:
    """What the checks and the adapter need to know of a base.

    `ends` are its end-of-turn ids, if it names any; `context` is the longest row it sees whole, 0 if unknown.
    """

    layers: int
    vocabulary: int
    ends: frozenset[int]
    context: int = 0


def read_base(base: Path) -> BaseFacts:
    """Read a base's `config.json` and `generation_config.json`.

    Raises:
        BaseMissing: no readable config.json with the number of layers and the size of the vocabulary.
    """
    try:
        config = json.loads((base / "config.json").read_text(encoding="utf-8"))
        layers, vocabulary = int(config["num_hidden_layers"]), int(config["vocab_size"])
        context = _seen_at_a_time(config)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BaseMissing(str(base), f"its config.json cannot be used ({type(error).__name__})") from error
    generation = base / "generation_config.json"
    extra = json.loads(generation.read_text(encoding="utf-8")) if generation.is_file() else {}
    ends = frozenset(_ids(config.get("eos_token_id")) + _ids(extra.get("eos_token_id")))
    return BaseFacts(layers, vocabulary, ends, context)


def _seen_at_a_time(config: Mapping[str, Any]) -> int:
    """Return the longest row that every layer sees whole: a sliding window is as good as full attention within it."""
    lengths = [config.get("max_position_embeddings")]
    if config.get("use_sliding_window", config.get("model_type") == "mistral"):
        lengths.append(config.get("sliding_window"))
    return min((int(length) for length in lengths if length), default=0)


def check_rows(train: Sequence[TokenRow], valid: Sequence[TokenRow], base: BaseFacts) -> list[str]:
    """Return what should be said before training, in words.

    Raises:
        TrainingError: nothing to train on, a row without a supervised token, a supervised answer without its end of
            turn, a row longer than the base's context, or ids and mask that fit neither each other nor the base. Rows
            are named, and the cure.
    """
    if not train:
        raise TrainingError("There is nothing to train on: no training row.", "`lunar-tune dataset show` says why.")
    _refuse(
        [*train, *valid],
        lambda row: len(row.ids) != len(row.mask) or len(row.ids) < 2 or row.mask[0] != 0,
        "have ids and mask of different length, fewer than 2 tokens, or a supervised first token",
        _REBUILD,
    )
    _refuse(
        [*train, *valid],
        lambda row: min(row.ids) < 0 or max(row.ids) >= base.vocabulary,
        f"hold ids outside the base's vocabulary of {base.vocabulary}",
        _REBUILD,
    )
    _refuse(
        [*train, *valid],
        lambda row: 0 < base.context < len(row.ids),
        f"are longer than the {base.context} tokens that the base sees at a time",
        f"Set dataset.window to {base.context} or less.",
    )
    tripped = {(verdict.id, verdict.reason) for verdict in tripwires(train, base.ends)}
    _refuse(
        train,
        lambda row: (row.id, "unsupervised") in tripped,
        "have no supervised token: nothing in them would be learnt",
        "Leave context-only rows out of the training split; `lunar-tune dataset show` lists them.",
    )
    notes: list[str] = []
    if base.ends:
        _refuse(
            train,
            lambda row: (row.id, "endless") in tripped,
            "have an answer without a supervised end-of-turn token: the model would not learn to stop",
            "The prompt family must close every answer with one of the base's end-of-turn tokens, inside the mask; "
            "`lunar-tune train --show-tokens 3` shows both.",
        )
    else:
        notes.append("the base names no end-of-turn token, so whether answers end is unchecked")
    if not any(row.supervised for row in valid):
        notes.append("no validation rows: the last step's adapter is delivered, not the best")
    return notes


def check_loss(loss: float, norm: float, step: int, rows: Sequence[TokenRow]) -> None:
    """Stop at a loss or gradient of some rows that is no number; before the first update the base itself is at fault.

    Raises:
        TrainingError: naming the step, the rows and the cure.
    """
    if math.isfinite(loss) and math.isfinite(norm):
        return
    what = f"loss {loss}" if not math.isfinite(loss) else f"gradient norm {norm}"
    if step <= 1:
        raise TrainingError(
            f"Before anything was learnt the base gives {what} on {_names(rows)}.",
            'Use train.precision = "float32"; if it stays so, the weights are damaged: fetch the base again.',
        )
    raise TrainingError(
        f"Training diverged at step {step}: {what} on {_names(rows)}.",
        'Lower train.learning_rate, set train.clip to 1, or use train.precision = "float32"; '
        "the checkpoints before that step are kept.",
    )


def _refuse(rows: Sequence[TokenRow], wrong: Callable[[TokenRow], bool], what: str, hint: str) -> None:
    bad = [row for row in rows if wrong(row)]
    if bad:
        raise TrainingError(f"{len(bad)} of {len(rows)} rows {what}: {_names(bad)}.", hint)


def _names(rows: Sequence[TokenRow]) -> str:
    named = ", ".join(repr(row.id) for row in rows[:NAMED])
    return f"{named} and {len(rows) - NAMED} more" if len(rows) > NAMED else named


def _ids(value: Any) -> list[int]:
    if value is None:
        return []
    return [int(item) for item in value] if isinstance(value, list) else [int(value)]
