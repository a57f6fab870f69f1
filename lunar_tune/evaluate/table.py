"""An evaluation as a table: one line a metric, one column an arm, and the paired differences beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def comparison(document: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return (headers, rows of text) of an evaluation document; a figure that an arm lacks is "-"."""
    arms, paired = document["arms"], document["paired"]
    metrics = list(dict.fromkeys(metric for figures in arms.values() for metric in figures))
    headers = ["metric", *arms, *paired]
    rows = [
        [metric]
        + [_figure(metric, figures) for figures in arms.values()]
        + [_difference(pairs.get(metric)) for pairs in paired.values()]
        for metric in metrics
    ]
    return headers, rows


def _figure(metric: str, figures: Mapping[str, float]) -> str:
    if metric not in figures:
        return "-"
    return f"{figures[metric]:.0f}" if metric in ("turns", "conversations") else f"{figures[metric]:.3f}"


def _difference(pair: Mapping[str, float] | None) -> str:
    if pair is None:
        return "-"
    return f"{pair['delta']:+z.3f} ({pair['low']:z.3f} to {pair['high']:z.3f}, n={pair['n']})"
