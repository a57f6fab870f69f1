"""What judging an arm found: a value and a weight for every judged item of every metric, and samples of the answers.

An arm is a model in a way of use: the base, the version in use, the candidate. Figures and counts follow from the
items, so a figure cannot disagree with what was paired. The result is plain JSON and is kept by `arm_key`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lunar_tune.artefacts import TokenRow
from lunar_tune.evaluate.metrics import perplexity
from lunar_tune.evaluate.probes import Probe
from lunar_tune.evaluate.turns import HeldOutTurn
from lunar_tune.identity import content_id
from lunar_tune.settings import EvaluateSettings

JUDGING = 3  # raised when the rules of judging change, so that answers judged by older rules are judged again

Items = Mapping[str, tuple[float, float]]  # item id -> value, weight


@dataclass(frozen=True, slots=True)
class ArmResult:
    """An arm's items per metric, the conversation group of every item that has one, and the samples.

    A value is 0 or 1, a share, or (`nll`) nats per token; its weight is how many things it is the mean of.
    """

    items: Mapping[str, Items]
    groups: Mapping[str, str] = field(default_factory=dict)
    samples: Sequence[dict[str, Any]] = field(default=(), repr=False)

    @property
    def figures(self) -> dict[str, float]:
        """The weighted mean of every metric, `perplexity`, and the numbers of `turns` and `conversations` judged."""
        found = {
            metric: math.fsum(value * weight for value, weight in items.values()) / _weight(items)
            for metric, items in self.items.items()
            if items
        }
        if "nll" in found:
            found["perplexity"] = perplexity(found["nll"])
        turns = self.items.get("answers_cut_off", {})
        groups = {self.groups.get(turn, turn) for turn in turns}
        return found | {"turns": float(len(turns)), "conversations": float(len(groups))}

    @property
    def counts(self) -> dict[str, int]:
        """How many things each figure is the mean of: turns, calls, tokens or probes."""
        return {metric: round(_weight(items)) for metric, items in self.items.items() if items}

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain JSON."""
        items = {metric: {key: list(pair) for key, pair in found.items()} for metric, found in self.items.items()}
        return {"items": items, "groups": dict(self.groups), "samples": list(self.samples)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ArmResult:
        """Return the result that `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        items = {
            metric: {key: (float(value), float(weight)) for key, (value, weight) in found.items()}
            for metric, found in document["items"].items()
        }
        return cls(items, dict(document["groups"]), tuple(document["samples"]))


def arm_key(
    gguf_sha256: str,
    prompt_version: str,
    system: str | None,
    turns: Sequence[HeldOutTurn],
    probes: Sequence[Probe],
    rows: Sequence[TokenRow],
    settings: EvaluateSettings,
) -> str:
    """Return the content id of everything an arm's result depends on: an arm of the same key need not be judged again.

    Of the settings that is the answers' length; turns and probes count as they are, not as they were chosen.
    `system` is the system prompt that the turns are asked with, None for their own.
    """
    asked = [[probe.id, probe.group, probe.messages, probe.check] for probe in probes]
    scored = [[row.id, row.ids, row.mask] for row in rows]
    asked_turns = [system, [turn.id for turn in turns]]
    of = [JUDGING, gguf_sha256, prompt_version, asked_turns, asked, scored, settings.max_tokens]
    return content_id("arm", of)


def _weight(items: Items) -> float:
    return math.fsum(weight for _, weight in items.values())
