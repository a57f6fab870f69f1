"""What must never be trained in silence: looked at before the first step, and at every loss."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lunar_tune.artefacts import TokenRow
from lunar_tune.errors import BaseMissing, TrainingError

_REBUILD = "The tokens do not fit what is trained; delete HOME/cache and run `lunar-tune train` again."


@dataclass(frozen=True, slots=True)
class BaseFacts:
    """What the checks and the adapter need to know of a base; `ends` are its end-of-turn ids, if it names any."""

    layers: int
    vocabulary: int
    ends: frozenset[int]


def read_base(base: Path) -> BaseFacts:
    """Read a base's `config.json` and `generation_config.json`.

    Raises:
        BaseMissing: no readable config.json with the number of layers and the size of the vocabulary.
    """
    try:
        config = json.loads((base / "config.json").read_text(encoding="utf-8"))
        layers, vocabulary = int(config["num_hidden_layers"]), int(config["vocab_size"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BaseMissing(str(base), f"its config.json cannot be used ({type(error).__name__})") from error
    generation = base / "generation_config.json"
    extra = json.loads(generation.read_text(encoding="utf-8")) if generation.is_file() else {}
    return BaseFacts(layers, vocabulary, frozenset(_ids(config.get("eos_token_id")) + _ids(extra.get("eos_token_id"))))


def check_rows(train: Sequence[TokenRow], valid: Sequence[TokenRow], base: BaseFacts) -> list[str]:
    """Return what should be said before training, in words.

    Raises:
        TrainingError: nothing to train on, a row without a supervised token, no supervised end of turn, or ids and mask
            that fit neither each other nor the base.
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
        train,
        lambda row: row.supervised == 0,
        "have no supervised token: nothing in them would be learnt",
        "Leave context-only rows out of the training split; `lunar-tune dataset show` lists them.",
    )
    notes: list[str] = []
    if base.ends:
        _refuse(
            train,
            lambda row: not any(on and token in base.ends for token, on in zip(row.ids, row.mask, strict=True)),
            "never supervise an end-of-turn token: the model would not learn to stop",
            "The prompt family must close every answer with one of the base's end-of-turn tokens, inside the mask.",
        )
    else:
        notes.append("the base names no end-of-turn token, so whether answers end is unchecked")
    if not any(row.supervised for row in valid):
        notes.append("no validation rows: the last step's adapter is delivered, not the best")
    return notes


def check_loss(loss: float, norm: float, step: int) -> None:
    """Stop at a loss or gradient that is no number.

    Raises:
        TrainingError: naming the step and the cure.
    """
    if not (math.isfinite(loss) and math.isfinite(norm)):
        what = f"loss {loss}" if not math.isfinite(loss) else f"gradient norm {norm}"
        raise TrainingError(
            f"Training diverged at step {step}: {what}.",
            'Lower train.learning_rate, set train.clip to 1, or use train.precision = "float32"; '
            "the checkpoints before that step are kept.",
        )


def _refuse(rows: Sequence[TokenRow], wrong: Callable[[TokenRow], bool], what: str, hint: str) -> None:
    bad = [row.id for row in rows if wrong(row)]
    if bad:
        raise TrainingError(f"{len(bad)} of {len(rows)} rows {what}; the first is {bad[0]!r}.", hint)


def _ids(value: Any) -> list[int]:
    if value is None:
        return []
    return [int(item) for item in value] if isinstance(value, list) else [int(value)]
