"""A model's own unconfirmed output never teaches it: turns of our own versions are context unless rated well.

A log names the model as its agent asked for it: by name, with a tag (`lunar-custom:v-…`, `:latest`), with the registry,
provider or namespace before it (`localhost/`, `library/`, `ollama/`, `openai:`), or by the version alone, as a name or
within a path (`models/v-…/model.gguf`). All of these are recognised, in any case.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from lunar_tune.artefacts import Draft
from lunar_tune.curate.marks import LEARN, Marker
from lunar_tune.seams import Report
from lunar_tune.settings import CurateSettings

REASON = "written by the tuned model and not rated well"
_VERSION: Final = r"v-[0-9a-f]{16}(?![0-9a-z])"  # the form of a version's content id


class Provenance:
    """Sets aside turns of the models that `settings.own_model` names, and of any version of ours.

    A rating above 0 and not below `settings.min_rating` on a turn confirms its whole exchange: the person judged the
    outcome, calls included.
    """

    name = "provenance"

    def __init__(self, settings: CurateSettings) -> None:
        self.least = settings.min_rating
        self._pattern = _own(settings.own_model.split())
        self._known: dict[str, bool] = {}

    def __call__(self, drafts: Iterable[Draft], report: Report) -> Iterator[Draft]:
        """Yield every draft, its unconfirmed own turns set aside."""
        for draft in drafts:
            episode = draft.episode
            own = [
                index
                for index, message in enumerate(episode.messages)
                if draft.weights[index] == LEARN and self._is_own(message.model or episode.model or "")
            ]
            if not own:
                yield draft
                continue
            marker = Marker(draft, self.name, report)
            confirmed = self._confirmed(marker)
            for index in own:
                if index not in confirmed:
                    marker.set_aside(index, REASON)
            yield marker.done()

    def _is_own(self, model: str) -> bool:
        known = self._known.get(model)
        if known is None:
            known = self._pattern is not None and self._pattern.search(model.casefold()) is not None
            if len(self._known) < 10_000:  # a log with a name of its own for every turn
                self._known[model] = known
        return known

    def _confirmed(self, marker: Marker) -> set[int]:
        confirmed: set[int] = set()
        for signal in marker.draft.episode.signals:
            good = isinstance(signal.value, (int, float)) and signal.value > 0 and signal.value >= self.least
            if signal.kind == "rating" and good:
                everything = range(len(marker.messages))
                confirmed.update(everything if signal.message is None else marker.exchange(signal.message))
        return confirmed


def _own(names: list[str]) -> re.Pattern[str] | None:
    """Return a pattern of our models' names as parts of a name, None when none is given: then nothing is ours.

    A name goes on with a tag, a number or a mark, not with another letter ("lunar-customer" is somebody else's).
    """
    parts = [re.escape(name.casefold().removesuffix(":latest")) + "(?![a-z])" for name in names]
    return re.compile(rf"(?:^|[/:@\\ ])(?:{'|'.join([*parts, _VERSION])})") if parts else None
