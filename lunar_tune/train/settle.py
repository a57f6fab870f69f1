"""What settings mean that leave a choice to the machine, where no plan has chosen."""

from __future__ import annotations

from dataclasses import replace

from lunar_tune.settings import TrainSettings


def settled(settings: TrainSettings) -> TrainSettings:
    """Return settings without a choice left open: float32, nothing computed twice, one row's length a pass.

    A plan (`fit.choose`) has made its choices before this is called; a trainer used as a library has no plan.
    """
    return replace(
        settings,
        precision="float32" if settings.precision == "auto" else settings.precision,
        checkpointing="off" if settings.checkpointing == "auto" else settings.checkpointing,
        batch=settings.batch or 1,
    )
