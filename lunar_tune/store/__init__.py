"""What a workspace remembers beside its artefacts: runs and judged answers, and the episodes of its logs."""

from lunar_tune.store.episodes import EpisodeStore
from lunar_tune.store.workspace import Store

__all__ = ["EpisodeStore", "Store"]
