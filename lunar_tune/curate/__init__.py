"""Curation: which turns of which conversations may be learnt. A stream of steps with a ledger.

Steps run in this order: redact, review (what the owner decided), dedup, toolcalls, turns, signals, what must not
be learnt (unlearnt), provenance, then those of plugins. Every turn that goes in is kept or has a verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from lunar_tune.artefacts import Draft, Verdict
from lunar_tune.curate.dedup import Dedup
from lunar_tune.curate.ledger import Ledger
from lunar_tune.curate.marks import LEARN, prune, start
from lunar_tune.curate.provenance import Provenance
from lunar_tune.curate.redact import Redact
from lunar_tune.curate.review import Review
from lunar_tune.curate.signals import Signals
from lunar_tune.curate.toolcalls import ToolCalls
from lunar_tune.curate.turns import Turns
from lunar_tune.curate.unlearnt import unlearnt
from lunar_tune.episodes import Episode
from lunar_tune.seams import Step
from lunar_tune.settings import CurateSettings
from lunar_tune.store.decisions import Decision

__all__ = ["Ledger", "curate"]


def curate(
    episodes: Iterable[Episode],
    settings: CurateSettings,
    ledger: Ledger,
    extra_steps: Sequence[Step] = (),
    decisions: Sequence[Decision] = (),
) -> Iterator[Draft]:
    """Yield the drafts that have something to learn; everything else is in the ledger, which balances at the end.

    Messages that were left out are gone from the drafts; `Draft.id` is the id of the (redacted) episode as it came in.
    `decisions` are those of the owner about turns.

    Raises:
        BooksUnbalanced: at the end of the stream, or where a step breaks its contract.
    """
    drafts: Iterable[Draft] = map(start, episodes)
    if settings.redact:
        redact = Redact(ledger.redacted, settings.names)
        drafts = redact(drafts, ledger)
    drafts = _enter(drafts, ledger)
    drafts = Review(decisions, ledger.decided)(drafts, ledger) if decisions else drafts
    built_in: tuple[Step, ...] = (
        *(Dedup(), ToolCalls(), Turns(), Signals(settings)),
        *unlearnt(settings),
        Provenance(settings),
    )
    for step in built_in:
        drafts = step(drafts, ledger)
    drafts = map(prune, drafts)
    for step in extra_steps:
        drafts = step(drafts, ledger)
    return _leave(drafts, ledger)


def _enter(drafts: Iterable[Draft], ledger: Ledger) -> Iterator[Draft]:
    """Name the drafts and open them in the ledger; the same conversation read from two files comes in once."""
    seen: set[str] = set()
    for draft in drafts:
        named = replace(draft, id=draft.episode.id)
        if named.id in seen:
            ledger.repeated(named, Verdict(named.id, "dedup", "the same conversation in another log"))
            continue
        seen.add(named.id)
        ledger.opened(named)
        yield named


def _leave(drafts: Iterable[Draft], ledger: Ledger) -> Iterator[Draft]:
    """Drop what has nothing to learn and close the rest."""
    for draft in drafts:
        if LEARN in draft.weights:
            ledger.closed(draft)
            yield draft
        elif ledger.is_open(draft):
            ledger(Verdict(draft.id, "curate", "nothing to learn"))
    ledger.settle()
