"""Every verdict, and the sum that must come out: turns read = turns kept + turns left out, by step and reason.

A ledger is itself the `report` that readers and steps are given. `settle` closes it: what a step lost without a word is
counted as lost, and a count that does not come out is an error, so that no dataset is written from it.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from lunar_tune.artefacts import Draft, Verdict
from lunar_tune.curate.marks import LEARN, place
from lunar_tune.curate.redact import safe_name
from lunar_tune.errors import BooksUnbalanced

UNSAID = ("unknown", "set aside without a reason")
LOST = ("unknown", "lost by a step without a reason")


class Ledger:
    """Collects verdicts; `turns_*` count assistant turns, `conversations_*` conversations."""

    def __init__(self) -> None:
        self.verdicts: list[Verdict] = []
        self.redacted: Counter[str] = Counter()
        self.decided: Counter[str] = Counter()
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
        """Note a conversation that is kept; turns that a step set aside without a word are given a verdict.

        Raises:
            BooksUnbalanced: a conversation that is not under way, or a turn that is learnt against its verdict.
        """
        waiting = self._open.get(draft.id)
        if waiting is None:
            raise BooksUnbalanced(f"{draft.id} comes out of curation though it did not go in, came out or was left out")
        learnt = [place(draft, i) for i, weight in enumerate(draft.weights) if weight == LEARN]
        known = len(draft.places) == len(draft.weights)  # else a plugin's step changed the number of messages
        against = len(set(learnt) - waiting) if known else len(learnt) - len(waiting)
        if against > 0:
            raise BooksUnbalanced(f"{against} turn(s) of {draft.id} are learnt against a verdict")
        unsaid = sorted(waiting - set(learnt)) if known else sorted(waiting)[len(learnt) :]
        for turn in unsaid:
            self(Verdict(draft.id, *UNSAID, message=turn))
        del self._open[draft.id]
        self.conversations_kept += 1
        self.turns_kept += len(learnt)

    def taken_back(self, verdict: Verdict, turns: int) -> None:
        """Note a kept conversation, of so many turns to learn, that the dataset has no room for."""
        key = (verdict.step, verdict.reason)
        self.conversations_kept -= 1
        self.turns_kept -= turns
        self.conversations_out[key] += 1
        self.turns_out[key] += turns
        self.verdicts.append(verdict)

    def balanced(self) -> bool:
        """Tell whether the sums come out; they do once the stream of drafts is used up."""
        turns = self.turns_read == self.turns_kept + self.turns_out.total()
        conversations = self.conversations_read == self.conversations_kept + self.conversations_out.total()
        return not self._open and turns and conversations and min(self.turns_out.values(), default=0) >= 0

    def settle(self) -> None:
        """Close the books at the end of the stream; conversations that never came out are counted as lost.

        Raises:
            BooksUnbalanced: turns read are not turns kept plus turns left out, or conversations are not.
        """
        for lost in list(self._open):
            self(Verdict(lost, *LOST))
        if not self.balanced():
            raise BooksUnbalanced(
                f"{self.turns_read} turns of {self.conversations_read} conversations were read, {self.turns_kept} of "
                f"{self.conversations_kept} are kept, {self.turns_out.total()} of {self.conversations_out.total()} are "
                "left out"
            )

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
            "review": dict(sorted(self.decided.items())),
        }


def _by_step(counts: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    nested: dict[str, dict[str, int]] = {}
    for (step, reason), number in sorted((+counts).items()):
        nested.setdefault(step, {})[reason] = number
    return nested
