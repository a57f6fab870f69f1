"""Known values out of texts, the longest first; a short one must stand alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

ANYWHERE = 12  # a value this long is replaced inside longer words too
# after which a value stands alone
_ESCAPE = re.compile(r"(?:(?<!\\)(?:\\\\)*\\+(?:[nrtbf]|u[0-9A-Fa-f]{4})|%(?:25){0,3}[0-9A-Fa-f]{2})\Z")


class Replacer:
    """A function from texts to texts in which every form is replaced."""

    def __init__(self, forms: Mapping[str, str]) -> None:
        self._forms = sorted(
            ((form, becomes) for form, becomes in forms.items() if form), key=lambda pair: (-len(pair[0]), pair[0])
        )
        self._becomes = dict(self._forms)

    def __call__(self, text: str) -> str:
        """Return the text with every form in it replaced."""
        places = self._places(text, [form for form, _ in self._forms if form in text])
        if not places:
            return text
        parts, at = [], 0
        for begin, end in places:
            parts += [text[at:begin], self._becomes[text[begin:end]]]
            at = end
        return "".join(parts) + text[at:]

    def _places(self, text: str, forms: Iterable[str]) -> list[tuple[int, int]]:
        taken: list[tuple[int, int]] = []
        for form in forms:
            at = text.find(form)
            while at >= 0:
                end = at + len(form)
                if stands(text, at, end, self._joint(form)) and not any(
                    begin < end and at < last for begin, last in taken
                ):
                    taken.append((at, end))
                at = text.find(form, end if taken and taken[-1] == (at, end) else at + 1)
        return sorted(taken)

    def _joint(self, form: str) -> str:
        """Return what joins a form to the word beside it: a name stands alone in `name_report` too."""
        return "\0" if self._becomes[form].startswith("<NAME_") else "_"


def stands(text: str, begin: int, end: int, joint: str = "_") -> bool:
    """Tell whether a value may be replaced in this place: it is long, or no part of a longer word."""
    if end - begin >= ANYWHERE and text[begin].isalnum():
        return True
    before = text[begin - 1 : begin]
    if (
        text[begin].isalnum()
        and (before.isalnum() or before == joint)
        and not _ESCAPE.search(text, max(0, begin - 8), begin)
    ):
        return False
    after = text[end : end + 1]
    return not (text[end - 1].isalnum() and (after.isalnum() or after == joint))
