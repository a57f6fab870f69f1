"""How a step says what becomes of a message: learnt, context only, or left out of the row.

Built-in steps only mark; `curate` removes what is marked OUT once, at the end, so that indices in verdicts and signals
are those of the conversation as it was read. What the owner decided to keep is set aside by no judgement, only by what
makes a turn impossible to learn, or would have it learnt twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from lunar_tune.artefacts import Draft, Verdict
from lunar_tune.episodes import Episode
from lunar_tune.seams import Report

LEARN, CONTEXT, OUT = 1, 0, -1
STRUCTURAL = frozenset({"review", "dedup", "toolcalls", "turns"})
"""Steps that a decision to keep does not stop: a broken call cannot be learnt, and a shared turn is learnt once."""


def start(episode: Episode) -> Draft:
    """Return a draft in which every assistant turn is to be learnt."""
    return Draft(episode, tuple(LEARN if m.role == "assistant" else CONTEXT for m in episode.messages))


class Marker:
    """The marks of one draft while a step works on it; what changes is reported under the step's name."""

    def __init__(self, draft: Draft, step: str, report: Report) -> None:
        self.draft, self.step, self.report = draft, step, report
        self.messages = draft.episode.messages
        self.weights = list(draft.weights)
        self._spared: frozenset[int] = frozenset() if step in STRUCTURAL else draft.kept

    def set_aside(self, index: int, reason: str, detail: str = "") -> None:
        """Make an assistant turn context only; a turn that is not to be learnt anyway is not reported again.

        One that its owner decided to keep stays, unless the step is structural.
        """
        if self.weights[index] == LEARN and index not in self._spared:
            self.weights[index] = CONTEXT
            self.report(Verdict(self.draft.id, self.step, reason, detail, place(self.draft, index)))

    def leave_out(self, index: int, reason: str, detail: str = "") -> None:
        """Leave a message out of the row; for what its owner keeps as in `set_aside`."""
        if self.weights[index] != OUT and index not in self._spared:
            self.weights[index] = OUT
            self.report(Verdict(self.draft.id, self.step, reason, detail, place(self.draft, index)))

    def present(self) -> Iterator[int]:
        """Yield the indices of the messages that are still in."""
        return (i for i, weight in enumerate(self.weights) if weight != OUT)

    def exchange(self, index: int) -> range:
        """Return the indices from the user message that a message belongs to up to the next user message."""
        first = index
        while first > 0 and self.messages[first].role != "user":
            first -= 1
        last = index + 1
        while last < len(self.messages) and self.messages[last].role != "user":
            last += 1
        return range(first, last)

    def turns(self, indices: Iterable[int]) -> list[int]:
        """Return those of the indices that are assistant turns still in."""
        return [i for i in indices if self.messages[i].role == "assistant" and self.weights[i] != OUT]

    def set_exchange_aside(self, index: int, reason: str) -> None:
        """Make every assistant turn of a message's exchange context only."""
        for turn in self.turns(self.exchange(index)):
            self.set_aside(turn, reason)

    def done(self) -> Draft:
        """Return the draft with the new marks."""
        weights = tuple(self.weights)
        return self.draft if weights == self.draft.weights else replace(self.draft, weights=weights)


def place(draft: Draft, index: int) -> int:
    """Return where a message of a draft stood in the conversation as it came in.

    A step of a plugin that adds or removes messages loses the places; the index is then that of the message itself.
    """
    return draft.places[index] if len(draft.places) == len(draft.weights) else index


def prune(draft: Draft) -> Draft:
    """Return the draft without the messages marked OUT; signals on them go too, the others follow their message."""
    if OUT not in draft.weights:
        return replace(draft, places=draft.places or tuple(range(len(draft.weights))))
    kept = [i for i, weight in enumerate(draft.weights) if weight != OUT]
    now = {old: new for new, old in enumerate(kept)}
    signals = tuple(
        s if s.message is None else replace(s, message=now[s.message])
        for s in draft.episode.signals
        if s.message is None or s.message in now
    )
    episode = replace(draft.episode, messages=tuple(draft.episode.messages[i] for i in kept), signals=signals)
    return replace(
        draft,
        episode=episode,
        weights=tuple(draft.weights[i] for i in kept),
        kept=frozenset(now[i] for i in draft.kept if i in now),
        places=tuple(place(draft, i) for i in kept),
    )
