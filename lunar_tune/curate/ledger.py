"""Every verdict, and the sum that must come out: turns read = turns kept + turns left out, by step and reason.

A ledger is itself the `report` that readers and steps are given.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from lunar_tune.artefacts import Draft, Verdict
from lunar_tune.curate.marks import LEARN
from lunar_tune.curate.redact import safe_name

UNSAID = ("unknown", "set aside without a reason")


class Ledger:
    """Collects verdicts; `turns_*` count assistant turns, `conversations_*` conversations."""

    def __init__(self) -> None:
        self.verdicts: list[Verdict] = []
        self.redacted: Counter[str] = Counter()
        self.conversations_read = self.conversations_kept = 0
        self.turns_read = self.turns_kept = 0
        self.turns_out: Counter[tuple[str, str]] = Counter()
        self.conversations_out: Counter[tuple[str, str]] = Counter()
        self.unreadable: Counter[tuple[str, str]] = Counter()
        self._open: dict[str, set[int]] = {}

    def __call__(self, verdict: Verdict) -> None:
        """Take a verdict. Those of readers name a thread, which may be somebody's address: its safe name is kept."""
        key = (verdict.step, verdict.reason)
        if verdict.id not in self._open:
            verdict = Verdict(safe_name(verdict.id), verdict.step, verdict.reason, verdict.detail, verdict.message)
            self.unreadable[key] += 1
        elif verdict.message is None:
            self.turns_out[key] += len(self._open.pop(verdict.id))
            self.conversations_out[key] += 1
        elif verdict.message in self._open[verdict.id]:
            self._open[verdict.id].remove(verdict.message)
            self.turns_out[key] += 1
        self.verdicts.append(verdict)

    def opened(self, draft: Draft) -> None:
        """Note a conversation that enters curation."""
        turns = {i for i, weight in enumerate(draft.weights) if weight == LEARN}
        self._open[draft.id] = turns
        self.conversations_read += 1
        self.turns_read += len(turns)

    def repeated(self, draft: Draft, verdict: Verdict) -> None:
        """Note a conversation that came in before under the same id."""
        key, turns = (verdict.step, verdict.reason), sum(weight == LEARN for weight in draft.weights)
        self.conversations_read += 1
        self.turns_read += turns
        self.conversations_out[key] += 1
        self.turns_out[key] += turns
        self.verdicts.append(verdict)

    def is_open(self, draft: Draft) -> bool:
        """Tell whether a conversation of this id is under way."""
        return draft.id in self._open

    def closed(self, draft: Draft) -> None:
        """Note a conversation that is kept; turns that a step set aside without a word are counted as such."""
        waiting = len(self._open.pop(draft.id, ()))
        learnt = sum(weight == LEARN for weight in draft.weights)
        self.conversations_kept += 1
        self.turns_kept += learnt
        if waiting != learnt:
            self.turns_out[UNSAID] += waiting - learnt

    def balanced(self) -> bool:
        """Tell whether the sum comes out; it does once the stream of drafts is used up."""
        return not self._open and self.turns_read == self.turns_kept + self.turns_out.total()

    def summary(self) -> dict[str, Any]:
        """Return the counts for a manifest: numbers and reasons only."""
        return {
            "conversations": {
                "read": self.conversations_read,
                "kept": self.conversations_kept,
                "left_out": _by_step(self.conversations_out),
            },
            "turns": {"read": self.turns_read, "kept": self.turns_kept, "left_out": _by_step(self.turns_out)},
            "unreadable": _by_step(self.unreadable),
            "redacted": dict(sorted(self.redacted.items())),
        }


def _by_step(counts: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    nested: dict[str, dict[str, int]] = {}
    for (step, reason), number in sorted((+counts).items()):
        nested.setdefault(step, {})[reason] = number
    return nested
