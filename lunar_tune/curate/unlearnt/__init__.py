"""What is not to be learnt however well it was liked: a file a reason, each a step of curation."""

from __future__ import annotations

from lunar_tune.curate.unlearnt.bursts import Bursts
from lunar_tune.curate.unlearnt.cutoff import CutOff
from lunar_tune.curate.unlearnt.fleeting import Fleeting
from lunar_tune.curate.unlearnt.injections import Injections
from lunar_tune.curate.unlearnt.refusals import Refusals
from lunar_tune.curate.unlearnt.scaffolding import Scaffolding
from lunar_tune.seams import Step
from lunar_tune.settings import CurateSettings


def unlearnt(settings: CurateSettings) -> tuple[Step, ...]:
    """Return the steps of this room, without those that `settings.skip` names."""
    steps: tuple[Step, ...] = (
        *(Scaffolding(), CutOff(), Fleeting(), Refusals(settings)),
        *(Injections(), Bursts(settings)),
    )
    return tuple(step for step in steps if step.name not in settings.skip)
