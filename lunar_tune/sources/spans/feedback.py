"""What people, models and code thought of traces and spans, as signals: only a person's thumbs are a rating."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lunar_tune.episodes import Signal
from lunar_tune.sources.core import cells
from lunar_tune.sources.spans.attributes import Span, at, tree

GOOD = {"yes", "good", "correct", "pass", "passed", "positive", "thumbs up", "thumbsup", "up", "like", "👍", "true"}
BAD = {
    "no", "bad", "incorrect", "fail", "failed", "negative", "thumbs down", "thumbsdown", "down", "dislike", "👎",
    "false",
}  # fmt: skip
BAD_NAMES = (
    "toxic", "harm", "hallucinat", "error", "wrong", "bad", "unsafe", "fail", "refus", "bias", "leak", "violat",
    "issue",
)  # fmt: skip
PERSON = "HUMAN"
EVALUATION = "gen_ai.evaluation.result"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What somebody thought of a trace, of one of its spans, or of the whole session (`trace` is None).

    `who` is HUMAN, LLM_JUDGE, LLM, CODE, or EVALUATION where the log does not tell.
    """

    trace: str | None
    place: str
    name: str
    who: str
    value: Any = None
    by: str = ""
    rationale: str = ""
    span: str | None = None
    feedback: bool = True  # False for expectations and issues, which are no opinion of the answer


def evaluations(span: Span) -> Iterator[Judgement]:
    """Yield what OpenTelemetry's events of evaluations say of a span."""
    for event in span.events:
        if not isinstance(event, dict) or event.get("name") != EVALUATION:
            continue
        told = at(tree(cells.mapping(event.get("attributes"))), "gen_ai.evaluation")
        label, score = cells.text(at(told, "score.label")), at(told, "score.value")
        number = isinstance(score, (int, float))
        why = [f"score {score:g}" if label and number else None, cells.text(at(told, "explanation"))]
        yield Judgement(
            trace=span.trace,
            place=span.place,
            name=cells.text(at(told, "name")) or "",
            who="EVALUATION",
            value=label or (score if number else None),
            rationale=". ".join(part for part in why if part),
            span=span.id,
        )


def signal(judgement: Judgement) -> Signal:
    """Return what a judgement says as a signal, whose message is not known yet.

    A person's thumbs (true/false, ±1, or a word such as "yes") are a rating of +1 or -1, unless the name asks for
    something bad ("toxicity: true" is no praise). Numbers on a scale that the log does not tell, words, and whatever
    models and code say are annotations.
    """
    value, note = judgement.value, f"{judgement.who} {judgement.by}".strip() + f": {judgement.name}"
    note += f". {judgement.rationale}" if judgement.rationale else ""
    thumb = _thumb(value)
    bad_name = any(part in judgement.name.lower() for part in BAD_NAMES)
    if judgement.feedback and judgement.who == PERSON and thumb is not None and not bad_name:
        return Signal(kind="rating", value=thumb, note=note)
    if isinstance(value, bool):
        return Signal(kind="annotation", value="true" if value else "false", note=note)
    if isinstance(value, (int, float)) and math.isfinite(value):
        return Signal(kind="annotation", value=float(value), note=note)
    try:
        told = value if isinstance(value, str) or value is None else cells.dump(value)
    except RecursionError:
        told, note = None, f"{note} (nested too deeply)"
    return Signal(kind="annotation", value=told, note=note)


def _thumb(value: Any) -> float | None:
    if isinstance(value, bool):
        return 1.0 if value else -1.0
    if isinstance(value, (int, float)):
        return float(value) if value in (1, -1) else None
    word = " ".join(str(value).lower().replace("-", " ").replace("_", " ").split()) if isinstance(value, str) else ""
    return 1.0 if word in GOOD else -1.0 if word in BAD else None
