"""A model's own unconfirmed output never teaches it: turns of our own versions are context unless rated well."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lunar_tune.artefacts import Draft
from lunar_tune.curate.marks import Marker
from lunar_tune.seams import Report
from lunar_tune.settings import CurateSettings


class Provenance:
    """Sets aside turns of models whose name starts with `settings.own_model`.

    A rating above 0 and not below `settings.min_rating` on a turn confirms its whole exchange: the person judged the
    outcome, calls included.
    """

    name = "provenance"

    def __init__(self, settings: CurateSettings) -> None:
        self.own, self.least = settings.own_model, settings.min_rating

    def __call__(self, drafts: Iterable[Draft], report: Report) -> Iterator[Draft]:
        """Yield every draft, its unconfirmed own turns set aside."""
        for draft in drafts:
            marker = Marker(draft, self.name, report)
            episode = draft.episode
            own = [
                i
                for i in marker.turns(range(len(episode.messages)))
                if self.own and (episode.messages[i].model or episode.model or "").startswith(self.own)
            ]
            if own:
                confirmed = self._confirmed(marker)
                for index in own:
                    if index not in confirmed:
                        marker.set_aside(index, "written by the tuned model and not rated well")
            yield marker.done()

    def _confirmed(self, marker: Marker) -> set[int]:
        confirmed: set[int] = set()
        for signal in marker.draft.episode.signals:
            good = isinstance(signal.value, (int, float)) and signal.value > 0 and signal.value >= self.least
            if signal.kind == "rating" and good:
                everything = range(len(marker.messages))
                confirmed.update(everything if signal.message is None else marker.exchange(signal.message))
        return confirmed
