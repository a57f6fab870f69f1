"""An evaluation as one JSON document, in the shape of `evaluate --json`, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lunar_tune.artefacts import Evaluation, Outcome, Paired
from lunar_tune.evaluate.arms import ArmResult
from lunar_tune.evaluate.gate import Pairs


def evaluation_document(
    arms: Mapping[str, ArmResult], paired: Pairs, verdict: Outcome, reasons: Sequence[str]
) -> dict[str, Any]:
    """Return {"arms", "counts", "paired", "verdict", "reasons"}.

    `arms` holds figures per arm, `counts` how many things each figure is the mean of.
    """
    return {
        "arms": {name: arm.figures for name, arm in arms.items()},
        "counts": {name: arm.counts for name, arm in arms.items()},
        "paired": {name: {metric: asdict(pair) for metric, pair in pairs.items()} for name, pairs in paired.items()},
        "verdict": verdict,
        "reasons": list(reasons),
    }


def read_evaluation(evaluation_id: str, path: Path, document: Mapping[str, Any]) -> Evaluation:
    """Return the evaluation of an artefact directory from its document.

    Raises:
        KeyError, TypeError: the document has another shape.
    """
    paired = {
        name: {metric: Paired(**pair) for metric, pair in pairs.items()} for name, pairs in document["paired"].items()
    }
    return Evaluation(evaluation_id, path, document["arms"], paired, document["verdict"], tuple(document["reasons"]))
